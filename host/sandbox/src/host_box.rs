//! Runs a program of the host on untrusted files in a box from which only one directory can be reached.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, umount2};

use super::command::{Bind, BoxCommand};
use super::mounts;
use super::numeric_ids::ACCOUNTS;
use crate::error::{Context, Result};

/// Path of the writable directory inside.
pub const WORK: &str = "/files";

/// An empty directory at which a caller may mount something.
pub const INPUT: &str = "/input";

/// Directories that a box mounts over, or requires.
const OWN: [&str; 7] = ["dev", "proc", "run", "tmp", "sys", "files", "input"];

/// A root file system with the host's programs, for commands that may write to one directory only.
#[derive(Debug)]
pub struct HostBox {
    command: BoxCommand,
}

impl HostBox {
    /// Makes the root file system at `root`, which must not exist yet; commands see `work` as [`WORK`].
    ///
    /// # Privileges
    /// Uid 0 of the build's private namespace.
    ///
    /// # Errors
    /// If the root file system cannot be made.
    pub fn new(root: &Path, work: &Path) -> Result<Self> {
        let failed = "cannot prepare a box for the host's programs";
        fs::create_dir(root).context(failed)?;
        // `pivot_root` requires a mount point: <https://man7.org/linux/man-pages/man2/pivot_root.2.html>.
        mounts::bind(root, root)?;
        let mut made = Self { command: BoxCommand::new(root, Vec::<String>::new()) };
        for name in OWN {
            fs::create_dir(root.join(name)).context(failed)?;
        }
        fs::create_dir(root.join("etc")).context(failed)?;
        for file in ACCOUNTS {
            // No user or group has a name here.
            fs::write(root.join(file.trim_start_matches('/')), "").context(failed)?;
        }
        let binds = &mut made.command.binds;
        binds.push(Bind { source: work.to_owned(), target: WORK.into(), writable: true });
        // Only programs and libraries: no configuration.
        for name in mounts::HOST_DIRECTORIES.into_iter().filter(|name| *name != "etc") {
            let source = Path::new("/").join(name);
            let Ok(metadata) = fs::symlink_metadata(&source) else { continue };
            if metadata.is_symlink() {
                symlink(fs::read_link(&source).context(failed)?, root.join(name)).context(failed)?;
            } else {
                fs::create_dir(root.join(name)).context(failed)?;
                binds.push(Bind { target: source.clone(), source, writable: false });
            }
        }
        Ok(made)
    }

    /// Makes a command in the box, with the standard environment of a box only.
    pub fn command(&self, argv: impl IntoIterator<Item = impl Into<String>>) -> BoxCommand {
        BoxCommand { argv: argv.into_iter().map(Into::into).collect(), ..self.command.clone() }
    }
}

impl Drop for HostBox {
    fn drop(&mut self) {
        // The namespace's end unmounts whatever is left.
        umount2(&self.command.root, MntFlags::MNT_DETACH).ok();
    }
}
