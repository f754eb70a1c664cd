//! Files of the image. Paths are absolute and never leave the image.
//!
//! What changes a file's attributes is set up first and done by `apply`:
//! `fs::write("/usr/local/bin/x", script).mode(0o755).apply()?`.

use crate::__private::bindings::piimg::plugin::fs as raw;
use crate::__private::bindings::piimg::plugin::types::{FileAttrs, Owner};
use crate::{Blob, Error, ErrorCode};
pub use raw::{Entry, FileKind, Metadata, Place};

/// Most bytes that travel in one call.
const MAX_CONTENT: usize = 4 << 20;

/// A change that is waiting for its attributes; nothing happens before [`Change::apply`].
#[must_use = "nothing happens before `apply`"]
#[derive(Debug)]
pub struct Change<'a, A> {
    path: &'a str,
    action: A,
    mode: Option<u32>,
    owner: Option<Owner>,
}

/// What a [`Change`] does. One type for each: a plugin imports only the functions that it uses, and what it does not
/// import it provably cannot do.
trait Action {
    const MODE: u32;
    fn apply(self, path: &str, attrs: Option<&FileAttrs>) -> Result<(), Error>;
}

/// Writes bytes; see [`write`].
#[derive(Debug)]
pub struct Write(Vec<u8>);

impl Action for Write {
    const MODE: u32 = 0o644;

    fn apply(self, path: &str, attrs: Option<&FileAttrs>) -> Result<(), Error> {
        check_size("write", &self.0)?;
        Ok(raw::write(path, &self.0, attrs)?)
    }
}

/// Writes a blob; see [`install`].
#[derive(Debug)]
pub struct Install<'a>(&'a Blob);

impl Action for Install<'_> {
    const MODE: u32 = 0o644;

    fn apply(self, path: &str, attrs: Option<&FileAttrs>) -> Result<(), Error> {
        Ok(raw::install(&self.0.0, path, attrs)?)
    }
}

/// Makes directories; see [`create_dir`].
#[derive(Debug)]
pub struct CreateDir {
    parents: bool,
}

impl Action for CreateDir {
    const MODE: u32 = 0o755;

    fn apply(self, path: &str, attrs: Option<&FileAttrs>) -> Result<(), Error> {
        Ok(raw::mkdir(path, attrs, self.parents)?)
    }
}

#[expect(private_bounds, reason = "which changes there are is the host's business")]
impl<A: Action> Change<'_, A> {
    /// Permission bits, such as 0o755.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// User and group by name.
    pub fn owner(mut self, user: &str, group: &str) -> Self {
        self.owner = Some(owner(user, group));
        self
    }

    /// Does it.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`] without the capability, [`ErrorCode::NotFound`] without the directory.
    pub fn apply(self) -> Result<(), Error> {
        // Without a word about them a file that exists keeps its attributes.
        let attrs = (self.mode.is_some() || self.owner.is_some())
            .then(|| FileAttrs { mode: self.mode.unwrap_or(A::MODE), owner: self.owner.unwrap_or_else(root) });
        self.action.apply(self.path, attrs.as_ref())
    }
}

fn root() -> Owner {
    Owner { user: "root".to_owned(), group: "root".to_owned() }
}

/// More would trap the plugin on its way to the host; an error can say what to do instead.
pub(crate) fn check_size(action: &str, data: &[u8]) -> Result<(), Error> {
    if data.len() > MAX_CONTENT {
        let message = format!(
            "cannot {action}: {} bytes in one call, of 4 MiB at most; use an asset and `fs::install`",
            data.len()
        );
        return Err(Error::new(ErrorCode::Limit, message));
    }
    Ok(())
}

/// Writes a file whole, 0o644 root:root if it is new. Needs `fs:write`.
pub fn write(path: &str, data: impl Into<Vec<u8>>) -> Change<'_, Write> {
    Change { path, action: Write(data.into()), mode: None, owner: None }
}

/// Writes a file from a blob of any size. Needs `fs:write`.
pub fn install<'a>(source: &'a Blob, dest: &'a str) -> Change<'a, Install<'a>> {
    Change { path: dest, action: Install(source), mode: None, owner: None }
}

/// Makes one directory, 0o755 root:root. Needs `fs:write`.
pub fn create_dir(path: &str) -> Change<'_, CreateDir> {
    Change { path, action: CreateDir { parents: false }, mode: None, owner: None }
}

/// Makes a directory and those above it that are missing. Needs `fs:write` of each one made.
pub fn create_dir_all(path: &str) -> Change<'_, CreateDir> {
    Change { path, action: CreateDir { parents: true }, mode: None, owner: None }
}

/// What is at the path, a final link not followed. Needs `fs:read`.
///
/// # Errors
/// [`ErrorCode::Denied`].
pub fn stat(path: &str) -> Result<Option<Metadata>, Error> {
    Ok(raw::stat(path)?)
}

/// Whether anything is at the path, a final link not followed. Needs `fs:read`.
///
/// # Errors
/// [`ErrorCode::Denied`].
pub fn exists(path: &str) -> Result<bool, Error> {
    Ok(raw::stat(path)?.is_some())
}

/// A UTF-8 text file of at most 4 MiB. Needs `fs:read`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Limit`], [`ErrorCode::Denied`].
pub fn read_to_string(path: &str) -> Result<String, Error> {
    Ok(raw::read_text(path)?)
}

/// Opens a file of any size. Needs `fs:read`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn open(path: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::read(path)?))
}

/// Entries of a directory, sorted by name. Needs `fs:read` of the directory.
///
/// # Errors
/// [`ErrorCode::NotADirectory`], [`ErrorCode::Denied`].
pub fn read_dir(path: &str) -> Result<Vec<Entry>, Error> {
    Ok(raw::list_dir(path)?)
}

/// Makes a symbolic link at `path` that says `target`. Needs `fs:write` of the link.
///
/// # Errors
/// [`ErrorCode::Exists`], [`ErrorCode::Denied`].
pub fn symlink(path: &str, target: &str) -> Result<(), Error> {
    Ok(raw::symlink(path, target)?)
}

/// Renames. Needs `fs:read` and `fs:write` of the source and `fs:write` of the destination, for a directory of everything
/// below them (`…/**`).
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn rename(source: &str, dest: &str) -> Result<(), Error> {
    Ok(raw::rename(source, dest)?)
}

/// Sets mode and owner. Needs `fs:write`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn set_attrs(path: &str, mode: u32, user: &str, group: &str) -> Result<(), Error> {
    Ok(raw::set_attrs(path, &attrs(mode, user, group), false)?)
}

/// Sets mode and owner of a directory and everything below it. Needs `fs:write:<path>/**`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn set_attrs_all(path: &str, mode: u32, user: &str, group: &str) -> Result<(), Error> {
    Ok(raw::set_attrs(path, &attrs(mode, user, group), true)?)
}

/// Sets the owner and keeps the mode, but for bits that lend rights. Needs `fs:write`.
///
/// # Errors
/// [`ErrorCode::NotFound`], also for a user or group that the image does not have; [`ErrorCode::Denied`].
pub fn set_owner(path: &str, user: &str, group: &str) -> Result<(), Error> {
    Ok(raw::set_owner(path, &owner(user, group), false)?)
}

/// Sets the owner of a directory and of everything below it, as `chown -R` does: modes stay, links are not followed. Needs
/// `fs:write:<path>/**`.
///
/// # Errors
/// As [`set_owner`].
pub fn set_owner_all(path: &str, user: &str, group: &str) -> Result<(), Error> {
    Ok(raw::set_owner(path, &owner(user, group), true)?)
}

fn attrs(mode: u32, user: &str, group: &str) -> FileAttrs {
    FileAttrs { mode, owner: owner(user, group) }
}

fn owner(user: &str, group: &str) -> Owner {
    Owner { user: user.to_owned(), group: group.to_owned() }
}

/// Removes a file, a link itself, or an empty directory. Needs `fs:write`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn remove(path: &str) -> Result<(), Error> {
    Ok(raw::remove(path, false)?)
}

/// Removes a directory and everything below it. Needs `fs:write:<path>/**`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn remove_all(path: &str) -> Result<(), Error> {
    Ok(raw::remove(path, true)?)
}

/// Makes sure that a text file has this line; true if it was added. Needs `fs:read` and `fs:write`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn ensure_line(path: &str, line: &str, place: &Place) -> Result<bool, Error> {
    Ok(raw::ensure_line(path, line, place)?)
}

/// Changes a text file with a function such as those of [`crate::text`]; true if it returned a new text. The file keeps
/// its attributes. Needs `fs:read` and `fs:write`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Limit`], [`ErrorCode::Denied`].
pub fn edit(path: &str, change: impl FnOnce(&str) -> Option<String>) -> Result<bool, Error> {
    match change(&read_to_string(path)?) {
        Some(text) => write(path, text).apply().map(|()| true),
        None => Ok(false),
    }
}

/// Replaces every occurrence of a text, literally, and returns how many there were. Needs `fs:read` and `fs:write`.
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn replace(path: &str, old: &str, new: &str) -> Result<u32, Error> {
    Ok(raw::replace(path, old, new)?)
}
