//! A program of the host in a box, for files that strangers made: what a hole in it could reach is one directory.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use nix::mount::{MntFlags, umount2};

use super::command::{Bind, BoxCommand};
use super::mounts;
use super::names::ACCOUNTS;
use crate::error::{Context, Result};

/// Where the program finds the directory that it may write to.
pub const WORK: &str = "/files";

/// An empty directory that a caller may show something at.
pub const INPUT: &str = "/input";

/// What a box covers, or has to find.
const OWN: [&str; 7] = ["dev", "proc", "run", "tmp", "sys", "files", "input"];

/// A root file system of the host's programs, for commands that may write to one directory and to nothing else.
#[derive(Debug)]
pub struct HostBox {
    command: BoxCommand,
}

impl HostBox {
    /// Makes the root file system at `root`, a directory that does not exist yet; commands see `work` as [`WORK`].
    ///
    /// # Privileges
    /// Uid 0 of the build's private namespace.
    ///
    /// # Errors
    /// If the root file system cannot be made.
    pub fn new(root: &Path, work: &Path) -> Result<Self> {
        let failed = "cannot prepare a box for the host's programs";
        fs::create_dir(root).context(failed)?;
        // Only a mount can become the root directory.
        mounts::bind(root, root)?;
        let mut made = Self { command: BoxCommand::new(root, Vec::<String>::new()) };
        for name in OWN {
            fs::create_dir(root.join(name)).context(failed)?;
        }
        fs::create_dir(root.join("etc")).context(failed)?;
        for file in ACCOUNTS {
            // Nobody is known here by name.
            fs::write(root.join(file.trim_start_matches('/')), "").context(failed)?;
        }
        let binds = &mut made.command.binds;
        binds.push(Bind { source: work.to_owned(), target: WORK.into(), writable: true });
        // Programs and libraries alone: no configuration.
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

    /// A command in the box, with nothing in its environment but what every box has.
    pub fn command(&self, argv: impl IntoIterator<Item = impl Into<String>>) -> BoxCommand {
        BoxCommand { argv: argv.into_iter().map(Into::into).collect(), ..self.command.clone() }
    }
}

impl Drop for HostBox {
    fn drop(&mut self) {
        // What cannot be unmounted now goes with the namespace.
        umount2(&self.command.root, MntFlags::MNT_DETACH).ok();
    }
}
