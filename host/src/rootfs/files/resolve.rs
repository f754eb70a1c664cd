//! Resolves a path to a directory descriptor and one name, without ever leaving the image
//! (<https://man7.org/linux/man-pages/man2/openat2.2.html>).
//!
//! The kernel walks all directories of a path (`openat2`, where an absolute symbolic link means the image and
//! no mount is crossed). Only a *final* link is followed here, one step at a time, because the target of a
//! write need not exist and its place must be known before it does.

use std::ffi::CString;
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::{FileError, FileErrorCode, ImagePath};

/// Symbolic links followed at the end of a path, as many as the kernel follows within one.
const MAX_LINKS: usize = 40;
/// Tries when something in the tree was renamed during a walk, before giving up.
const MAX_RETRIES: usize = 128;

/// A place in the image: an open directory and the name of an entry, which need not exist.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) dir: OwnedFd,
    /// None: the directory itself (`/`, or a path that ends in `..`).
    pub(super) name: Option<String>,
}

/// Opens a path below `root`; `flags` normally hold `O_PATH`.
pub(super) fn open_in_root(root: BorrowedFd<'_>, path: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry(|| {
        rustix::fs::openat2(
            root,
            path,
            flags | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
        )
    })
}

/// Opens one entry of `dir` itself, a link included.
pub(super) fn open_entry(dir: BorrowedFd<'_>, name: &str, flags: OFlags) -> Result<OwnedFd, Errno> {
    retry(|| {
        rustix::fs::openat2(
            dir,
            name,
            flags | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV,
        )
    })
}

/// Returns the kernel answers EAGAIN when it cannot prove that a concurrent rename did not break a walk.
fn retry<T>(mut attempt: impl FnMut() -> Result<T, Errno>) -> Result<T, Errno> {
    for _ in 0..MAX_RETRIES {
        match attempt() {
            Err(Errno::AGAIN | Errno::INTR) => {}
            result => return result,
        }
    }
    Err(Errno::AGAIN)
}

/// Finds the place of `path`; the last component is followed if it is a link and `follow` says so.
pub(super) fn locate(
    root: BorrowedFd<'_>,
    path: &ImagePath,
    follow: bool,
    action: &'static str,
) -> Result<Place, FileError> {
    let fail = |errno| FileError::system(errno, action, path);
    let mut current = path.clone();
    for _ in 0..=MAX_LINKS {
        let Some((parent, name)) = current.split() else {
            let dir = open_in_root(root, current.as_str(), OFlags::PATH | OFlags::DIRECTORY).map_err(fail)?;
            return Ok(Place { dir, name: None });
        };
        let dir = open_in_root(root, parent.as_str(), OFlags::PATH | OFlags::DIRECTORY).map_err(fail)?;
        let target = match rustix::fs::readlinkat(&dir, name, Vec::new()) {
            Ok(target) if follow => target,
            // EINVAL: not a link.
            Ok(_) | Err(Errno::INVAL | Errno::NOENT) => return Ok(Place { dir, name: Some(name.to_owned()) }),
            Err(errno) => return Err(fail(errno)),
        };
        current = link_target(root, &dir, &target, path, action)?;
    }
    Err(fail(Errno::LOOP))
}

fn link_target(
    root: BorrowedFd<'_>,
    dir: &OwnedFd,
    target: &CString,
    path: &ImagePath,
    action: &'static str,
) -> Result<ImagePath, FileError> {
    let target = target.to_str().map_err(|_| {
        FileError::new(FileErrorCode::Invalid, action, path, "the target of its symbolic link is not UTF-8")
    })?;
    if target.starts_with('/') { ImagePath::parse(target) } else { canonical(root, dir, path, action)?.join(target) }
}

/// Returns the kernel's own path of an open file of the image.
///
/// The text of `/proc/self/fd` marks a removed file with a suffix that a name may also have, and it is old as
/// soon as it was read. So it counts only if it leads, without any link, to the same file again.
pub(super) fn canonical(
    root: BorrowedFd<'_>,
    fd: &OwnedFd,
    path: &ImagePath,
    action: &'static str,
) -> Result<ImagePath, FileError> {
    let fail = |errno| FileError::system(errno, action, path);
    let wanted = rustix::fs::fstat(fd).map_err(fail)?;
    for _ in 0..MAX_RETRIES {
        // Read anew each time: the image's directory itself may have been renamed.
        let base = fd_text(root.as_raw_fd()).map_err(fail)?;
        let text = fd_text(fd.as_raw_fd()).map_err(fail)?;
        let Some(inside) = strip_root(&base, &text) else { continue };
        let Ok(inside) = std::str::from_utf8(inside) else {
            return Err(FileError::new(FileErrorCode::Invalid, action, path, "its resolved path is not UTF-8"));
        };
        let inside = ImagePath::parse(if inside.is_empty() { "/" } else { inside })?;
        if let Ok(again) = open_without_links(root, &inside)
            && same_file(&wanted, &rustix::fs::fstat(&again).map_err(fail)?)
        {
            return Ok(inside);
        }
    }
    Err(FileError::new(FileErrorCode::NotFound, action, path, "it was moved or removed meanwhile"))
}

fn open_without_links(root: BorrowedFd<'_>, path: &ImagePath) -> Result<OwnedFd, Errno> {
    retry(|| {
        rustix::fs::openat2(
            root,
            path.as_str(),
            OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC,
            Mode::empty(),
            ResolveFlags::IN_ROOT | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV,
        )
    })
}

fn fd_text(fd: i32) -> Result<Vec<u8>, Errno> {
    rustix::fs::readlinkat(CWD, proc_path(fd), Vec::new()).map(CString::into_bytes)
}

/// Strips the prefix `base`. If the root is `/` itself, as in a mount of its own, the prefix is empty.
fn strip_root<'a>(base: &[u8], text: &'a [u8]) -> Option<&'a [u8]> {
    let base = if base == b"/" { b"".as_slice() } else { base };
    text.strip_prefix(base).filter(|rest| rest.is_empty() || rest.starts_with(b"/"))
}

/// Returns the link through which an `O_PATH` descriptor can be opened for real or have its attributes set.
pub(super) fn proc_path(fd: i32) -> String {
    format!("/proc/self/fd/{fd}")
}

pub(super) fn same_file(a: &Stat, b: &Stat) -> bool {
    (a.st_dev, a.st_ino) == (b.st_dev, b.st_ino)
}

pub(super) fn file_type(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_of_the_root_ends_at_a_component() {
        for (base, text, inside) in [
            ("/store/r", "/store/r/etc", Some("/etc")),
            ("/store/r", "/store/r", Some("")),
            ("/store/r", "/store/root/etc", None),
            ("/store/r", "/etc", None),
            ("/", "/etc", Some("/etc")),
            ("/", "/", Some("/")),
        ] {
            assert_eq!(strip_root(base.as_bytes(), text.as_bytes()), inside.map(str::as_bytes), "{base} {text}");
        }
    }

    #[test]
    fn retries_are_bounded() {
        let mut count = 0;
        let result: Result<(), _> = retry(|| {
            count += 1;
            Err(Errno::AGAIN)
        });
        assert_eq!((result, count), (Err(Errno::AGAIN), MAX_RETRIES));
    }
}
