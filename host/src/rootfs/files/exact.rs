//! Files of the image at their very places: no link is followed, not even one that stays in the image.
//!
//! What [`Rootfs`] offers is for those who name a file and are judged by where its path ends. piimg itself names files that
//! have a fixed place and a fixed meaning (`/etc/hosts`, `/tmp`). A link there was put by somebody who may not have been
//! granted what it leads to: to read through it would publish that, to write or to empty through it would destroy it.
//! So a link at the end of a path is a thing of its own, which is replaced or removed, and never read; a link on the way
//! is an error that names it.

use std::ffi::{CStr, CString};
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use rustix::fs::{AtFlags, FileType, OFlags};
use rustix::io::Errno;

use super::resolve::{Place, file_type, open_entry};
use super::{
    Attrs, FileError, FileErrorCode, FileKind, ImagePath, Metadata, Rootfs, describe, open_regular, read_whole, tree,
};
use crate::ui::printable;

/// A root file system in which no link is followed.
#[derive(Clone, Copy, Debug)]
pub struct Exact<'a> {
    rootfs: &'a Rootfs,
}

/// Treatment of an entry of a directory that is cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes, with all that is below it.
    Remove,
    /// A directory stays, and what is in it is asked about. Anything else goes.
    Enter,
    /// A file stays as it is, without its content. Anything else goes.
    Empty,
}

impl Rootfs {
    /// Returns a view of the same tree that follows no link at all.
    pub fn exact(&self) -> Exact<'_> {
        Exact { rootfs: self }
    }
}

impl<'a> Exact<'a> {
    /// Returns the tree for callers that follow links within it.
    pub fn rootfs(&self) -> &'a Rootfs {
        self.rootfs
    }

    /// Returns the directory that holds `path`, and the name in it; `None` if a directory on the way is missing.
    fn place(&self, path: &ImagePath, action: &'static str) -> Result<Option<Place>, FileError> {
        let fail = |errno| FileError::system(errno, action, path);
        let mut dir = open_entry(self.rootfs.root.as_fd(), ".", OFlags::PATH | OFlags::DIRECTORY).map_err(fail)?;
        let Some((parent, name)) = path.split().filter(|(parent, _)| parent.components().all(|it| it != "..")) else {
            let cause = "it does not end in a name of its own";
            return Err(FileError::new(FileErrorCode::Invalid, action, path, cause));
        };
        let mut current = ImagePath::root();
        for component in parent.components() {
            current = current.join(component)?;
            let entry = match open_entry(dir.as_fd(), component, OFlags::PATH) {
                Err(Errno::NOENT) => return Ok(None),
                entry => entry.map_err(fail)?,
            };
            check_directory(&entry, &current, action, path)?;
            dir = entry;
        }
        Ok(Some(Place { dir, name: Some(name.to_owned()) }))
    }

    /// Returns the entry at `path` itself, as an `O_PATH` descriptor; `None` if there is nothing.
    fn entry(&self, path: &ImagePath, action: &'static str) -> Result<Option<OwnedFd>, FileError> {
        let Some(Place { dir, name: Some(name) }) = self.place(path, action)? else { return Ok(None) };
        match open_entry(dir.as_fd(), &name, OFlags::PATH) {
            Err(Errno::NOENT) => Ok(None),
            entry => entry.map(Some).map_err(|errno| FileError::system(errno, action, path)),
        }
    }

    /// Returns the metadata of `path`; `None` if it does not exist.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] if a link is on the way, or a mount.
    pub fn metadata(&self, path: &ImagePath) -> Result<Option<Metadata>, FileError> {
        const ACTION: &str = "look at";
        self.entry(path, ACTION)?.map(|entry| describe(&self.rootfs.keeper, &entry, path, ACTION)).transpose()
    }

    /// Returns the content of a regular file of at most `limit` bytes; `None` if there is nothing.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for a link, there or on the way; [`FileErrorCode::NotAFile`] for what else is no file,
    /// which is not opened; [`FileErrorCode::Limit`] for a bigger one.
    pub fn read(&self, path: &ImagePath, limit: u64) -> Result<Option<Vec<u8>>, FileError> {
        const ACTION: &str = "read";
        let Some(entry) = self.entry(path, ACTION)? else { return Ok(None) };
        check_no_link(&entry, path, ACTION, path)?;
        read_whole(open_regular(&entry, path, ACTION)?, path, limit).map(Some)
    }

    /// Writes a file whole. Whatever is there makes way, but for a directory: a link is replaced, as is a pipe.
    ///
    /// # Errors
    /// [`FileErrorCode::NotFound`] without the directory; [`FileErrorCode::Invalid`] for a link on the way;
    /// [`FileErrorCode::NotAFile`] if a directory is there.
    pub fn write(&self, path: &ImagePath, data: &[u8], attrs: Attrs) -> Result<(), FileError> {
        const ACTION: &str = "write";
        tree::check_attrs(attrs, ACTION, path)?;
        let missing = || FileError::system(Errno::NOENT, ACTION, path);
        let place = self.place(path, ACTION)?.ok_or_else(missing)?;
        self.rootfs.touch(&place, false, path, ACTION)?;
        let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.rootfs.put(place, path, attrs, size, ACTION, |file: &mut File| file.write_all(data))
    }

    /// Makes a symbolic link, of which the target is only text.
    ///
    /// # Errors
    /// [`FileErrorCode::Exists`] if anything is there, [`FileErrorCode::NotFound`] without the directory;
    /// [`FileErrorCode::Invalid`] for a link on the way.
    pub fn symlink(&self, path: &ImagePath, target: &str) -> Result<(), FileError> {
        const ACTION: &str = "make the link";
        let missing = || FileError::system(Errno::NOENT, ACTION, path);
        self.rootfs.link_at(self.place(path, ACTION)?.ok_or_else(missing)?, path, target)
    }

    /// Removes what is at `path`, a link itself included, with all that is below it. Says whether there was anything.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for a link on the way, or a mount.
    pub fn remove(&self, path: &ImagePath) -> Result<bool, FileError> {
        const ACTION: &str = "remove";
        let Some(place) = self.place(path, ACTION)? else { return Ok(false) };
        self.rootfs.touch(&place, false, path, ACTION)?;
        let Place { dir, name } = place;
        let fail = |errno| FileError::system(errno, ACTION, path);
        let name = CString::new(name.unwrap_or_default()).map_err(|_| fail(Errno::INVAL))?;
        match rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => return Ok(false),
            stat => stat.map_err(fail)?,
        };
        tree::remove(dir.as_fd(), &name, path, 0)?;
        tree::set_time(dir.as_fd(), self.rootfs.epoch).map_err(fail)?;
        Ok(true)
    }

    /// Returns the directory at `path`, which is just that: neither a link to one nor a mount. `None` if there is
    /// nothing.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for a link, there or on the way; [`FileErrorCode::NotADirectory`].
    pub fn directory(&self, path: &ImagePath) -> Result<Option<OwnedFd>, FileError> {
        const ACTION: &str = "use the directory";
        let Some(entry) = self.entry(path, ACTION)? else { return Ok(None) };
        check_directory(&entry, path, ACTION, path)?;
        Ok(Some(entry))
    }

    /// Returns the entries of the directory at `path`, sorted by name; `None` if there is nothing.
    ///
    /// # Errors
    /// Those of [`Exact::directory`]; [`FileErrorCode::Invalid`] if a name is not UTF-8.
    pub fn list(&self, path: &ImagePath) -> Result<Option<Vec<(String, FileKind)>>, FileError> {
        let Some(directory) = self.directory(path)? else { return Ok(None) };
        super::entries(directory.as_fd(), path).map(Some)
    }

    /// Decides for each entry of the directory at `path`, and carries it out; true if there is a directory.
    ///
    /// # Errors
    /// Those of [`Exact::directory`].
    pub fn clear(&self, path: &ImagePath, fate: &dyn Fn(&CStr) -> Fate) -> Result<bool, FileError> {
        let Some(directory) = self.directory(path)? else { return Ok(false) };
        let place = Place { dir: directory, name: None };
        self.rootfs.touch(&place, true, path, "empty")?;
        self.clear_below(place.dir.as_fd(), path, fate, 0)?;
        Ok(true)
    }

    fn clear_below(
        &self,
        directory: BorrowedFd<'_>,
        path: &ImagePath,
        fate: &dyn Fn(&CStr) -> Fate,
        depth: usize,
    ) -> Result<(), FileError> {
        const ACTION: &str = "empty";
        let fail = |errno| FileError::system(errno, ACTION, path);
        tree::check_depth(depth, ACTION, path)?;
        let names = tree::names(directory).map_err(fail)?;
        if names.is_empty() {
            return Ok(());
        }
        for (name, kind) in names {
            match (fate(&name), kind) {
                (Fate::Enter, FileType::Directory) => {
                    let inner = tree::open_child(directory, &name).map_err(fail)?;
                    self.clear_below(inner.as_fd(), path, fate, depth + 1)?;
                }
                (Fate::Empty, FileType::RegularFile) => self.empty_file(directory, &name, path)?,
                _ => tree::remove(directory, &name, path, depth)?,
            }
        }
        tree::set_time(directory, self.rootfs.epoch).map_err(fail)
    }

    /// Replaces a file by an empty one with the same attributes: other names of the old file keep its content.
    fn empty_file(&self, directory: BorrowedFd<'_>, name: &CStr, path: &ImagePath) -> Result<(), FileError> {
        const ACTION: &str = "empty";
        let fail = |errno| FileError::system(errno, ACTION, path);
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        let attrs = Attrs { mode: stat.st_mode & 0o7777, uid: stat.st_uid, gid: stat.st_gid };
        let text = name.to_str().map_err(|_| fail(Errno::ILSEQ))?;
        let dir = directory.try_clone_to_owned().map_err(|error| FileError::io(&error, ACTION, path))?;
        self.rootfs.put(Place { dir, name: Some(text.to_owned()) }, path, attrs, 0, ACTION, |_| Ok(()))
    }

    /// Makes a directory and those above it that are missing; `attrs` go to the ones made.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for a link, there or on the way; [`FileErrorCode::NotADirectory`].
    pub fn make_dir_all(&self, path: &ImagePath, attrs: Attrs) -> Result<(), FileError> {
        const ACTION: &str = "make the directory";
        tree::check_attrs(attrs, ACTION, path)?;
        let mut current = ImagePath::root();
        for component in path.components() {
            current = current.join(component)?;
            if self.directory(&current)?.is_some() {
                continue;
            }
            let missing = || FileError::system(Errno::NOENT, ACTION, path);
            let place = self.place(&current, ACTION)?.ok_or_else(missing)?;
            self.rootfs.touch(&place, false, path, ACTION)?;
            self.rootfs.make_dir_at(place, &current, attrs)?;
        }
        Ok(())
    }
}

/// Refuses a link at `at`, a part of `path`.
fn check_no_link(
    entry: &OwnedFd,
    at: &ImagePath,
    action: &'static str,
    path: &ImagePath,
) -> Result<FileType, FileError> {
    let fail = |errno| FileError::system(errno, action, path);
    let kind = file_type(&rustix::fs::fstat(entry).map_err(fail)?);
    if kind != FileType::Symlink {
        return Ok(kind);
    }
    let target = rustix::fs::readlinkat(entry, "", Vec::new()).map_err(fail)?;
    let (at_text, target) = (printable(at.as_str()), printable(&target.to_string_lossy()));
    let what = if at == path { "it".to_owned() } else { format!("`{at_text}`") };
    let cause = format!("{what} is a symbolic link to `{target}`, and links are not followed here");
    Err(FileError::new(FileErrorCode::Invalid, action, path, cause))
}

fn check_directory(entry: &OwnedFd, at: &ImagePath, action: &'static str, path: &ImagePath) -> Result<(), FileError> {
    if check_no_link(entry, at, action, path)? == FileType::Directory {
        return Ok(());
    }
    let what = if at == path { "it".to_owned() } else { format!("`{}`", printable(at.as_str())) };
    Err(FileError::new(FileErrorCode::NotADirectory, action, path, format!("{what} is not a directory")))
}

#[cfg(test)]
mod tests;
