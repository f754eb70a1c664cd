//! From a finished rootfs to an `.img`: partition table, FAT and ext4 written in user space, then checked.
//!
//! Works on ordinary files and descriptors: nothing here mounts, attaches or needs a privilege, and nothing
//! here knows a distribution or a plugin.

pub mod assemble;
pub mod bmap;
pub mod boot;
pub mod compress;
pub mod ext4;
pub mod fat;
pub mod inspect;
pub mod layout;
pub mod mbr;
pub mod models;
pub mod name;
mod occupied;
pub mod pass;
pub mod source;
pub mod verify;

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

/// A path under which a child process can open `file`, also when the file has no name (`O_TMPFILE`, memfd).
///
/// `/proc/self` would mean the child, and our descriptors are closed there.
pub fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}
