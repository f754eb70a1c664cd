//! Removes a tree that was made by somebody who did not want it removed.
//!
//! No path of it is ever put together and no more than two directories are open at a time, so that neither the depth of
//! the tree nor the length of its names matters: a directory with content is first moved to the top.

use std::ffi::CString;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags};
use rustix::io::Errno;

use crate::error::{Context as _, Result};
use crate::ui::Printable as _;

/// Removes `path` with all that is below it. No link is followed; what is not there is no error.
///
/// # Errors
/// If the file system refuses, which leaves a part of it.
pub(crate) fn remove_tree(path: &Path) -> Result<()> {
    let removed = match rustix::fs::unlinkat(CWD, path, AtFlags::empty()) {
        Err(Errno::ISDIR) => empty(path).and_then(|()| rustix::fs::unlinkat(CWD, path, AtFlags::REMOVEDIR)),
        other => other,
    };
    match removed {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(errno).with_context(|| format!("cannot remove `{}` from the store", path.printable())),
    }
}

/// Removes everything in the directory.
fn empty(path: &Path) -> Result<(), Errno> {
    let top = rustix::fs::open(path, flags(), Mode::empty())?;
    let mut left = names(top.as_fd())?;
    let mut number = 0_u64;
    while let Some(name) = left.pop() {
        if remove_entry(top.as_fd(), &name)? {
            continue;
        }
        let directory = open(top.as_fd(), &name)?;
        for child in names(directory.as_fd())? {
            if !remove_entry(directory.as_fd(), &child)? {
                left.push(lift(&directory, &child, &top, &mut number)?);
            }
        }
        rustix::fs::unlinkat(&top, &name, AtFlags::REMOVEDIR)?;
    }
    Ok(())
}

/// Removes a file, or a directory that has no content; false for one that has.
fn remove_entry(dir: BorrowedFd<'_>, name: &CString) -> Result<bool, Errno> {
    match rustix::fs::unlinkat(dir, name, AtFlags::empty()) {
        Err(Errno::ISDIR) => {}
        other => return other.map(|()| true),
    }
    match rustix::fs::unlinkat(dir, name, AtFlags::REMOVEDIR) {
        Ok(()) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST) => Ok(false),
        Err(errno) => Err(errno),
    }
}

/// Moves a directory to the top, under a name that nothing there has.
fn lift(from: &OwnedFd, child: &CString, top: &OwnedFd, number: &mut u64) -> Result<CString, Errno> {
    loop {
        *number += 1;
        let name = CString::new(number.to_string()).expect("digits");
        match rustix::fs::renameat_with(from, child, top, &name, RenameFlags::NOREPLACE) {
            Ok(()) => return Ok(name),
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(errno),
        }
    }
}

fn names(dir: BorrowedFd<'_>) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(dir)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

/// Opens a directory of `dir`, whatever mode was given to it.
fn open(dir: BorrowedFd<'_>, name: &CString) -> Result<OwnedFd, Errno> {
    match rustix::fs::openat(dir, name, flags(), Mode::empty()) {
        Err(Errno::ACCESS) => {
            // Only for an owner who is not root of the namespace. It is no link: that would have been removed as a file.
            rustix::fs::chmodat(dir, name, Mode::RWXU, AtFlags::empty())?;
            rustix::fs::openat(dir, name, flags(), Mode::empty())
        }
        opened => opened,
    }
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn a_tree_goes_however_deep_it_is_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("wide/1")).unwrap();
        for number in 0..300 {
            fs::write(tree.join(format!("wide/{number}.x\n")), "").unwrap();
        }
        fs::write(dir.path().join("canary"), "x").unwrap();
        symlink(dir.path(), tree.join("wide/1/out")).unwrap();
        symlink("/", tree.join("root")).unwrap();
        // Deeper than descriptors may be open, and longer than a path may be; beside names that are used for moving.
        let mut deep = rustix::fs::open(&tree, flags(), Mode::empty()).unwrap();
        for _ in 0..5000 {
            rustix::fs::mkdirat(&deep, "1", Mode::RWXU).unwrap();
            rustix::fs::mkdirat(&deep, "2", Mode::RWXU).unwrap();
            deep = rustix::fs::openat(&deep, "1", flags(), Mode::empty()).unwrap();
        }
        fs::create_dir_all(tree.join("closed/in")).unwrap();
        fs::set_permissions(tree.join("closed"), Permissions::from_mode(0o000)).unwrap();
        remove_tree(&tree).unwrap();
        assert!(!tree.exists());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
        remove_tree(&tree).unwrap();
        symlink(dir.path(), &tree).unwrap();
        remove_tree(&tree).unwrap();
        assert_eq!(fs::read(dir.path().join("canary")).unwrap(), b"x");
        let error = remove_tree(&dir.path().join("canary/x")).unwrap_err().to_string();
        assert!(error.starts_with("cannot remove `") && error.ends_with("` from the store"), "{error}");
    }
}
