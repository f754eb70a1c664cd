//! Hides the host's names of users and groups, which mean nothing in an image.

use std::path::Path;

use nix::mount::{MntFlags, umount2};

use super::mounts;
use crate::error::Result;

/// Files in which programs look up the names of users and groups.
pub const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// Hides names of users and groups from programs that this process starts, as long as the value lives.
///
/// GNU tar writes names into access control lists even with `--numeric-owner`, and looks them up in these files.
#[derive(Debug)]
pub struct HiddenAccounts {
    hidden: Vec<&'static Path>,
}

impl HiddenAccounts {
    /// Covers the files.
    ///
    /// # Privileges
    /// Uid 0 of the build's private namespace.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn new() -> Result<Self> {
        let mut only = Self { hidden: Vec::new() };
        for path in ACCOUNTS.map(Path::new).into_iter().filter(|path| path.exists()) {
            mounts::bind(Path::new("/dev/null"), path)?;
            only.hidden.push(path);
        }
        Ok(only)
    }
}

impl Drop for HiddenAccounts {
    fn drop(&mut self) {
        for path in &self.hidden {
            // The namespace's end unmounts whatever is left.
            umount2(*path, MntFlags::MNT_DETACH).ok();
        }
    }
}
