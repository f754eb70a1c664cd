//! Keeps owners and modes of files: in the file system, or in memory where the caller may not give files away.
//!
//! An ordinary user cannot give a file to `root`, nor read one of mode 0. A trial of a plugin therefore keeps attributes in
//! memory, by inode, and leaves each file readable and writable for the caller. What host functions see and set is the same.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Stat, Uid};
use rustix::io::Errno;

use super::Attrs;
use super::resolve::{file_type, proc_path};

const MODE_BITS: u32 = 0o7777;
/// Bits that lend rights. The kernel takes them from a file that changes hands
/// ([chown(2)](https://man7.org/linux/man-pages/man2/chown.2.html)).
const LENDING: u32 = 0o6000;

/// Home of attributes.
#[derive(Debug, Default)]
pub(super) enum Keeper {
    #[default]
    FileSystem,
    /// By inode of the one file system that the tree is on; what has no entry belongs to root.
    Memory(Mutex<BTreeMap<u64, Attrs>>),
}

impl Keeper {
    /// Returns one that remembers in place of asking the kernel.
    pub(super) fn in_memory() -> Self {
        Self::Memory(Mutex::default())
    }

    /// Returns the attributes of a file of which `stat` tells.
    pub(super) fn attrs(&self, stat: &Stat) -> Attrs {
        let mode = stat.st_mode & MODE_BITS;
        match self {
            Self::FileSystem => Attrs { mode, uid: stat.st_uid, gid: stat.st_gid },
            Self::Memory(kept) => {
                let known = lock(kept).get(&stat.st_ino).copied();
                known.unwrap_or(Attrs { mode, uid: 0, gid: 0 })
            }
        }
    }

    /// Gives owner and mode to the file behind `fd`. The owner comes first: a change of owner clears the set-user-id bits.
    pub(super) fn apply(&self, fd: BorrowedFd<'_>, attrs: Attrs) -> Result<(), Errno> {
        match self {
            Self::FileSystem => {
                chown(fd, (attrs.uid, attrs.gid))?;
                chmod(fd, attrs.mode)
            }
            Self::Memory(kept) => {
                let stat = rustix::fs::fstat(fd)?;
                let own = if file_type(&stat) == FileType::Directory { 0o700 } else { 0o600 };
                chmod(fd, attrs.mode | own)?;
                lock(kept).insert(stat.st_ino, attrs);
                Ok(())
            }
        }
    }

    /// Gives the file behind `fd`, a link included, to a user and a group.
    pub(super) fn chown(&self, fd: BorrowedFd<'_>, owner: (u32, u32)) -> Result<(), Errno> {
        let Self::Memory(kept) = self else { return chown(fd, owner) };
        let stat = rustix::fs::fstat(fd)?;
        let Attrs { mut mode, .. } = self.attrs(&stat);
        if file_type(&stat) == FileType::RegularFile {
            mode &= !LENDING;
        }
        lock(kept).insert(stat.st_ino, Attrs { mode, uid: owner.0, gid: owner.1 });
        Ok(())
    }

    /// Notes that `name` in `dir` was made just now and is root's: its inode may have been that of another file.
    pub(super) fn made(&self, dir: impl AsFd, name: &str) -> Result<(), Errno> {
        let Self::Memory(kept) = self else { return Ok(()) };
        let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW)?;
        lock(kept).insert(stat.st_ino, Attrs { mode: stat.st_mode & MODE_BITS, uid: 0, gid: 0 });
        Ok(())
    }
}

fn lock(kept: &Mutex<BTreeMap<u64, Attrs>>) -> MutexGuard<'_, BTreeMap<u64, Attrs>> {
    kept.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Sets the mode. `fchmod` does not take `O_PATH` descriptors; the link in /proc leads to exactly this file.
fn chmod(fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
    rustix::fs::chmodat(CWD, proc_path(fd.as_raw_fd()), Mode::from_raw_mode(mode), AtFlags::empty())
}

fn chown(fd: BorrowedFd<'_>, (uid, gid): (u32, u32)) -> Result<(), Errno> {
    rustix::fs::chownat(fd, "", Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)), AtFlags::EMPTY_PATH)
}
