//! A path of the host, with how it may be followed: what the user named, or what a recipe was allowed to name.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags};
use serde::Serialize;

use super::{Directory, Links};

/// A file or directory of the host that piimg may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostPath {
    /// Path as it was written by whoever named it.
    shown: PathBuf,
    /// Absolute path without links, for a path that a recipe named. It is used as long as it has no link.
    place: Option<PathBuf>,
    /// It lies in the recipe's directory, and nobody but the recipe named it.
    is_recipes: bool,
}

impl HostPath {
    /// Makes a path that the user or piimg itself named: its links are followed.
    pub fn named(path: impl Into<PathBuf>) -> Self {
        Self { shown: path.into(), place: None, is_recipes: false }
    }

    /// Makes a path that a recipe names, once it was admitted; `place` is absolute and has no links.
    pub fn admitted(shown: PathBuf, place: PathBuf, is_recipes: bool) -> Self {
        Self { shown, place: Some(place), is_recipes }
    }

    /// Returns the path as it was written, for messages.
    pub fn shown(&self) -> &Path {
        &self.shown
    }

    /// Returns the path to open.
    pub fn path(&self) -> &Path {
        self.place.as_deref().unwrap_or(&self.shown)
    }

    /// Returns whether only the recipe says so: what is there may have come with the recipe.
    pub fn is_recipes(&self) -> bool {
        self.is_recipes
    }

    /// Returns the way in which a [`Directory`] of it is opened.
    pub fn links(&self) -> Links {
        if self.place.is_some() { Links::Refused } else { Links::Followed }
    }

    /// Returns a path below it, which is opened without following links.
    #[must_use]
    pub fn below(&self, name: &str) -> Self {
        Self {
            shown: self.shown.join(name),
            place: self.place.as_ref().map(|place| place.join(name)),
            is_recipes: self.is_recipes,
        }
    }

    /// Opens the file to read it.
    ///
    /// # Errors
    /// If there is not there, or the file system refuses.
    pub fn open(&self) -> io::Result<File> {
        let Some(place) = &self.place else { return File::open(&self.shown) };
        // Not blocking, for a pipe would wait for somebody who writes to it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let resolve = ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
        let file = File::from(rustix::fs::openat2(CWD, place, flags, Mode::empty(), resolve)?);
        if !file.metadata()?.is_file() {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok(file)
    }

    /// Opens the directory, and makes what is missing of it, as the user's umask wants it.
    ///
    /// # Errors
    /// If it is not there, a link is in its way that was not there before, or the file system refuses.
    pub fn create_directory(&self) -> io::Result<Directory> {
        Directory::create(self.path(), self.links(), 0o777)
    }
}

impl Serialize for HostPath {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.shown.serialize(serializer)
    }
}
