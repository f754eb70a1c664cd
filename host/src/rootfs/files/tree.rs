//! Removes whole directory trees and sets their attributes, entry by entry through open directories.
//!
//! No link is followed and no mount is crossed: each directory is opened from its parent's descriptor.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps};
use rustix::io::Errno;

use super::keeper::Keeper;
use super::resolve::{file_type, open_entry, proc_path};
use super::{Attrs, FileError, FileErrorCode, ImagePath};

/// Deepest nesting that is walked: one descriptor is open per level.
const MAX_DEPTH: usize = 512;
/// Entries of one directory that are listed.
const MAX_ENTRIES: usize = 200_000;
const MODE_BITS: u32 = 0o7777;
/// `chown` reads it as "leave it as it is".
const NO_ID: u32 = u32::MAX;

/// Names in an open directory, without `.` and `..`, in no order.
pub(super) fn names(dir: BorrowedFd<'_>) -> Result<Vec<(CString, FileType)>, Errno> {
    let mut names = Vec::new();
    // `O_PATH` descriptors cannot be read; `.` opens the same directory anew.
    let readable = open_entry(dir, ".", OFlags::RDONLY | OFlags::DIRECTORY)?;
    for entry in Dir::new(readable)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        if names.len() == MAX_ENTRIES {
            return Err(Errno::TOOBIG);
        }
        let kind = match entry.file_type() {
            FileType::Unknown => file_type(&rustix::fs::statat(dir, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?),
            kind => kind,
        };
        names.push((entry.file_name().to_owned(), kind));
    }
    Ok(names)
}

/// Removes an entry of `dir`, with all that is below it.
pub(super) fn remove(dir: BorrowedFd<'_>, name: &CStr, path: &ImagePath, depth: usize) -> Result<(), FileError> {
    const ACTION: &str = "remove";
    let fail = |errno| FileError::system(errno, ACTION, path);
    let stat = rustix::fs::statat(dir, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
    if file_type(&stat) != FileType::Directory {
        return rustix::fs::unlinkat(dir, name, AtFlags::empty()).map_err(fail);
    }
    let inner = open_child(dir, name).map_err(fail)?;
    check_depth(depth, ACTION, path)?;
    for (child, _) in names(inner.as_fd()).map_err(fail)? {
        remove(inner.as_fd(), &child, path, depth + 1)?;
    }
    rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR).map_err(fail)
}

/// Opens a directory of `dir` that is just that, neither a link nor a mount.
pub(super) fn open_child(dir: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    use rustix::fs::ResolveFlags;
    rustix::fs::openat2(
        dir,
        name,
        OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC,
        Mode::empty(),
        ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
    )
}

pub(super) fn check_depth(depth: usize, action: &'static str, path: &ImagePath) -> Result<(), FileError> {
    if depth < MAX_DEPTH {
        return Ok(());
    }
    let cause = format!("directories are nested more than {MAX_DEPTH} levels deep");
    Err(FileError::new(FileErrorCode::Limit, action, path, cause))
}

/// Refuses attributes that cannot be meant.
pub(super) fn check_attrs(attrs: Attrs, action: &'static str, path: &ImagePath) -> Result<(), FileError> {
    let cause = if attrs.mode & !MODE_BITS != 0 {
        format!("mode {:o} has more than the bits {MODE_BITS:o}", attrs.mode)
    } else if attrs.uid == NO_ID || attrs.gid == NO_ID {
        format!("{NO_ID} is not a user or group number")
    } else {
        return Ok(());
    };
    Err(FileError::new(FileErrorCode::Invalid, action, path, cause))
}

/// Access and modification time of the file behind `fd`.
pub(super) fn set_time(fd: BorrowedFd<'_>, seconds: i64) -> Result<(), Errno> {
    rustix::fs::utimensat(CWD, proc_path(fd.as_raw_fd()), &timestamps(seconds), AtFlags::empty())
}

/// Sets the times of the entry `name` of `dir`, a link included.
pub(super) fn set_time_at(dir: BorrowedFd<'_>, name: &str, seconds: i64) -> Result<(), Errno> {
    rustix::fs::utimensat(dir, name, &timestamps(seconds), AtFlags::SYMLINK_NOFOLLOW)
}

fn timestamps(seconds: i64) -> Timestamps {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Timestamps { last_access: time, last_modification: time }
}

/// A pass over a tree for its attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Pass {
    /// Finds what would be refused, so that a refusal leaves the tree untouched.
    Check,
    Apply,
}

/// Description of setting attributes, for errors.
pub(super) const SET: &str = "change the attributes of";

/// Attributes that a tree is to have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Wanted {
    /// Numbers of user and group.
    pub(super) owner: (u32, u32),
    /// `None` leaves each file its own.
    pub(super) mode: Option<u32>,
}

impl Wanted {
    /// Gives the attributes to a file or directory, and these bits of the mode too.
    pub(super) fn apply(self, keeper: &Keeper, fd: BorrowedFd<'_>, more: u32) -> Result<(), Errno> {
        let (uid, gid) = self.owner;
        match self.mode {
            Some(mode) => keeper.apply(fd, Attrs { mode: mode | more, uid, gid }),
            None => keeper.chown(fd, self.owner),
        }
    }
}

/// Walks the tree at `fd` (an `O_PATH` descriptor of any file) and gives the attributes to everything in it.
///
/// A directory may be searched by whoever may read it, as with `chmod`'s `X`; links get the owner only.
pub(super) fn set(
    keeper: &Keeper,
    fd: &OwnedFd,
    wanted: Wanted,
    pass: Pass,
    path: &ImagePath,
    depth: usize,
) -> Result<(), FileError> {
    let fail = |errno| FileError::system(errno, SET, path);
    let stat = rustix::fs::fstat(fd).map_err(fail)?;
    let kind = file_type(&stat);
    match kind {
        FileType::Directory => {
            check_depth(depth, SET, path)?;
            for (name, _) in names(fd.as_fd()).map_err(fail)? {
                let Ok(text) = name.to_str() else {
                    return Err(FileError::new(FileErrorCode::Invalid, SET, path, "a name below it is not UTF-8"));
                };
                let child = open_entry(fd.as_fd(), text, OFlags::PATH).map_err(fail)?;
                set(keeper, &child, wanted, pass, &path.join(text)?, depth + 1)?;
            }
        }
        FileType::RegularFile => check_single(&stat, SET, path)?,
        FileType::Symlink => {}
        _ => {
            return Err(FileError::new(
                FileErrorCode::NotAFile,
                SET,
                path,
                "it is neither a regular file nor a directory",
            ));
        }
    }
    if pass == Pass::Check {
        return Ok(());
    }
    let done = match kind {
        FileType::Directory => wanted.apply(keeper, fd.as_fd(), wanted.mode.map_or(0, |mode| (mode & 0o444) >> 2)),
        FileType::Symlink => keeper.chown(fd.as_fd(), wanted.owner),
        _ => wanted.apply(keeper, fd.as_fd(), 0),
    };
    done.map_err(fail)
}

/// Refuses a file with several names: it would change at the others too, where nobody granted it.
pub(super) fn check_single(stat: &rustix::fs::Stat, action: &'static str, path: &ImagePath) -> Result<(), FileError> {
    if stat.st_nlink <= 1 {
        return Ok(());
    }
    let cause = format!("it has {} hard links; write it anew to give it an inode of its own", stat.st_nlink);
    Err(FileError::new(FileErrorCode::Invalid, action, path, cause))
}
