//! Users and groups of the host, which mean nothing in an image.

use std::path::Path;

use nix::mount::{MntFlags, umount2};

use super::mounts;
use crate::error::Result;

/// Where programs look up the names of users and groups.
pub const ACCOUNTS: [&str; 2] = ["/etc/passwd", "/etc/group"];

/// While it lives, programs that this process starts know users and groups by their numbers alone.
///
/// GNU tar writes the names in access control lists, whatever it is told of numbers, and looks for them here.
#[derive(Debug)]
pub struct NumbersOnly {
    hidden: Vec<&'static Path>,
}

impl NumbersOnly {
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

impl Drop for NumbersOnly {
    fn drop(&mut self) {
        for path in &self.hidden {
            // What cannot be unmounted now goes with the namespace.
            umount2(*path, MntFlags::MNT_DETACH).ok();
        }
    }
}
