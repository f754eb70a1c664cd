//! Files of the image. Paths are absolute and never leave the image.
//!
//! What changes a file's attributes is set up first and done by `apply`:
//! `fs::write("/usr/local/bin/x", script).mode(0o755).apply()?`.

mod change;
mod unpack;

use crate::__private::bindings::piimg::plugin::fs as raw;
use crate::__private::bindings::piimg::plugin::types::{FileAttrs, Owner};
use crate::template::filled;
use crate::{Blob, Error, ErrorCode, Need, Needs};
pub(crate) use change::check_size;
pub use change::{Change, Copy, CreateDir, Install, Write, copy, create_dir, create_dir_all, install, write};
pub use raw::{Entry, FileKind, Metadata, Place};
pub use unpack::{Unpack, unpack};

/// A file or directory of which the plugin says what it will do with it; see [`reading`], [`writing`] and [`editing`].
#[derive(Clone, Copy, Debug)]
pub struct Use<'a> {
    path: &'a str,
    reads: bool,
    writes: bool,
}

/// Says that a path, or all that a pattern stands for, is read.
///
/// ```
/// # use piimg_plugin_sdk::{Needs, fs};
/// assert_eq!(fs::reading("/etc/passwd").needs()[0].scope(), "fs:read:/etc/passwd");
/// ```
#[must_use]
pub const fn reading(path: &str) -> Use<'_> {
    Use { path, reads: true, writes: false }
}

/// Says that a path, or all that a pattern stands for, is written.
///
/// ```
/// # use piimg_plugin_sdk::{Needs, fs};
/// assert_eq!(fs::writing("/opt/app/**").needs()[0].scope(), "fs:write:/opt/app/**");
/// ```
#[must_use]
pub const fn writing(path: &str) -> Use<'_> {
    Use { path, reads: false, writes: true }
}

/// Says that a file is read and changed, as by [`edit`], [`replace`], [`append`] and [`ensure_line`].
///
/// ```
/// # use piimg_plugin_sdk::{Needs, fs};
/// assert_eq!(fs::editing("/etc/app.conf").needs().len(), 2);
/// ```
#[must_use]
pub const fn editing(path: &str) -> Use<'_> {
    Use { path, reads: true, writes: true }
}

impl Needs for Use<'_> {
    fn needs(&self) -> Vec<Need> {
        let need = |verb: &str| Need::capability(format!("fs:{verb}:{}", self.path), format!("{verb}s {}", self.path));
        let kinds = [("read", self.reads), ("write", self.writes)];
        kinds.into_iter().filter(|(_, is_used)| *is_used).map(|(verb, _)| need(verb)).collect()
    }
}

/// Returns what is at the path, a final link not followed. Needs `fs:read`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// let is_directory = fs::stat("/srv")?.is_some_and(|it| it.kind == fs::FileKind::Directory);
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::Denied`].
pub fn stat(path: &str) -> Result<Option<Metadata>, Error> {
    Ok(raw::stat(path)?)
}

/// Returns whether anything is at the path, a final link not followed. Needs `fs:read`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// if !fs::exists("/etc/app.conf")? {
///     fs::write("/etc/app.conf", "").apply()?;
/// }
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::Denied`].
pub fn exists(path: &str) -> Result<bool, Error> {
    Ok(raw::stat(path)?.is_some())
}

/// Reads a UTF-8 text file of at most 4 MiB. Needs `fs:read`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// let hosts = fs::read_to_string("/etc/hosts")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Limit`], [`ErrorCode::Denied`].
pub fn read_to_string(path: &str) -> Result<String, Error> {
    Ok(raw::read_text(path)?)
}

/// Opens a file of any size. Needs `fs:read`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// let digest = fs::open("/usr/bin/env")?.digest()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn open(path: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::read(path)?))
}

/// Entries of a directory, sorted by name. Needs `fs:read` of the directory.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// for entry in fs::read_dir("/etc/cron.d")? {
///     println!("{}", entry.name);
/// }
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotADirectory`], [`ErrorCode::Denied`].
pub fn read_dir(path: &str) -> Result<Vec<Entry>, Error> {
    Ok(raw::list_dir(path)?)
}

/// Makes a symbolic link at `path` that says `target`. Needs `fs:write` of the link.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::symlink("/opt/app/current", "1.2")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::Exists`], [`ErrorCode::Denied`].
pub fn symlink(path: &str, target: &str) -> Result<(), Error> {
    Ok(raw::symlink(path, target)?)
}

/// Renames. Needs `fs:read` and `fs:write` of the source and `fs:write` of the destination, for a directory of everything
/// below them (`…/**`).
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::rename("/etc/app.conf.example", "/etc/app.conf")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn rename(source: &str, dest: &str) -> Result<(), Error> {
    Ok(raw::rename(source, dest)?)
}

/// Sets mode and owner. Needs `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::set_attrs("/etc/app.conf", 0o640, "root", "adm")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn set_attrs(path: &str, mode: u32, user: &str, group: &str) -> Result<(), Error> {
    Ok(raw::set_attrs(path, &attrs(mode, user, group), false)?)
}

/// Sets mode and owner of a directory and everything below it. Needs `fs:write:<path>/**`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::set_attrs_all("/srv/keys", 0o700, "root", "root")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn set_attrs_all(path: &str, mode: u32, user: &str, group: &str) -> Result<(), Error> {
    Ok(raw::set_attrs(path, &attrs(mode, user, group), true)?)
}

/// Sets the owner and keeps the mode, but for bits that lend rights. Needs `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::set_owner("/srv/data", "ann", "ann")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], also for a user or group that the image does not have; [`ErrorCode::Denied`].
pub fn set_owner(path: &str, user: &str, group: &str) -> Result<(), Error> {
    Ok(raw::set_owner(path, &owner(user, group), false)?)
}

/// Sets the owner of a directory and of everything below it, as `chown -R` does: modes stay, links are not followed. Needs
/// `fs:write:<path>/**`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::set_owner_all("/home/ann/work", "ann", "ann")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
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

/// Makes what [`owner`] makes, with the values of parameters.
pub(crate) fn filled_owner(user: &str, group: &str) -> Result<Owner, Error> {
    Ok(owner(&filled(user)?, &filled(group)?))
}

/// Removes a file, a link itself, or an empty directory. Needs `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::remove("/etc/motd")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn remove(path: &str) -> Result<(), Error> {
    Ok(raw::remove(path, false)?)
}

/// Removes a directory and everything below it. Needs `fs:write:<path>/**`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::remove_all("/usr/share/doc")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn remove_all(path: &str) -> Result<(), Error> {
    Ok(raw::remove(path, true)?)
}

/// Makes sure that a text file has this line; true if it was added. Needs `fs:read` and `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::ensure_line("/etc/modules", "i2c-dev", &fs::Place::End)?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Denied`].
pub fn ensure_line(path: &str, line: &str, place: &Place) -> Result<bool, Error> {
    Ok(raw::ensure_line(path, line, place)?)
}

/// Changes a text file with a function such as those of [`crate::text`]; true if it returned a new text. The file keeps
/// its attributes. Needs `fs:read` and `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::{fs, text};
/// fs::edit("/etc/login.defs", |old| text::with_option(old, "UMASK", ' ', "077"))?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`], [`ErrorCode::Limit`], [`ErrorCode::Denied`].
pub fn edit(path: &str, change: impl FnOnce(&str) -> Option<String>) -> Result<bool, Error> {
    match change(&read_to_string(path)?) {
        Some(text) => write(path, text).apply().map(|()| true),
        None => Ok(false),
    }
}

/// Adds a text at the end of a text file, which need not be there. Needs `fs:read` and `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::append("/etc/hosts", "10.0.0.1\tserver\n")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::Limit`] for more than 4 MiB together, [`ErrorCode::Denied`].
pub fn append(path: &str, text: &str) -> Result<(), Error> {
    let old = match raw::read_text(path).map_err(Error::from) {
        Err(error) if error.code() == ErrorCode::NotFound => String::new(),
        old => old?,
    };
    write(path, old + text).apply()
}

/// Replaces every occurrence of a text, literally, and returns how many there were: at least one. A text that is not there is
/// an error, for the file is another one than the author had in mind; see [`replace_any`]. Needs `fs:read` and `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::replace("/etc/ssh/sshd_config", "#PermitRootLogin prohibit-password", "PermitRootLogin no")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`] if there is no such file, or no such text in it; [`ErrorCode::Denied`].
pub fn replace(path: &str, old: &str, new: &str) -> Result<u32, Error> {
    match replace_any(path, old, new)? {
        0 => Err(Error::new(ErrorCode::NotFound, nothing_to_replace(path, old))),
        count => Ok(count),
    }
}

fn nothing_to_replace(path: &str, old: &str) -> String {
    let old: String = old.chars().take(100).collect();
    format!("`{}` is nowhere in `{}`: nothing was replaced", old.escape_debug(), path.escape_debug())
}

/// Replaces as [`replace`] does, where the text need not be there: then it returns 0. Needs `fs:read` and `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// let count = fs::replace_any("/etc/motd", "Debian", "Robot")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::NotFound`] if there is no such file; [`ErrorCode::Denied`].
pub fn replace_any(path: &str, old: &str, new: &str) -> Result<u32, Error> {
    Ok(raw::replace(path, old, new)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_not_there_is_named() {
        assert_eq!(nothing_to_replace("/etc/x", "a\nb"), "`a\\nb` is nowhere in `/etc/x`: nothing was replaced");
    }

    #[test]
    fn a_change_asks_for_what_it_touches() {
        let scopes = |needs: Vec<Need>| needs.iter().map(Need::scope).collect::<Vec<_>>();
        assert_eq!(scopes(copy("/a", "/b").needs()), ["fs:read:/a", "fs:write:/b"]);
        assert_eq!(scopes(write("/b", "x").mode(0o755).needs()), ["fs:write:/b"]);
        assert_eq!(scopes(editing("/c").needs()), ["fs:read:/c", "fs:write:/c"]);
    }
}
