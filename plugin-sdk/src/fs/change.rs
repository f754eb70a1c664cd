//! Changes that are set up first and done by `apply`.

use super::{filled_owner, owner, raw, reading, writing};
use crate::__private::bindings::piimg::plugin::types::{FileAttrs, Owner};
use crate::template::filled;
use crate::{Blob, Error, ErrorCode, Need, Needs};

/// Most bytes that travel in one call.
const MAX_CONTENT: usize = 4 << 20;

/// A change that is waiting for its attributes; nothing happens before [`Change::apply`].
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::write("/etc/app.conf", "on = true\n").mode(0o640).owner("root", "adm").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[must_use = "nothing happens before `apply`"]
#[derive(Debug)]
pub struct Change<'a, A> {
    path: &'a str,
    action: A,
    mode: Option<u32>,
    owner: Option<Owner>,
}

/// An action of a [`Change`]. One type for each: a plugin imports only the functions that it uses, and what it does not
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

/// Copies a file of the image; see [`copy`].
#[derive(Debug)]
pub struct Copy<'a>(&'a str);

impl Action for Copy<'_> {
    const MODE: u32 = 0o644;

    fn apply(self, path: &str, attrs: Option<&FileAttrs>) -> Result<(), Error> {
        Ok(raw::install(&raw::read(&filled(self.0)?)?, path, attrs)?)
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
    /// Sets the permission bits, such as 0o755.
    pub fn mode(mut self, mode: u32) -> Self {
        self.mode = Some(mode);
        self
    }

    /// Sets user and group, by name.
    pub fn owner(mut self, user: &str, group: &str) -> Self {
        self.owner = Some(owner(user, group));
        self
    }

    /// Does it.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`] without the capability, [`ErrorCode::NotFound`] without the directory.
    pub fn apply(self) -> Result<(), Error> {
        let owner = self.owner.map(|owner| filled_owner(&owner.user, &owner.group)).transpose()?;
        // Without a word about them a file that exists keeps its attributes.
        let attrs = (self.mode.is_some() || owner.is_some())
            .then(|| FileAttrs { mode: self.mode.unwrap_or(A::MODE), owner: owner.unwrap_or_else(root) });
        self.action.apply(&filled(self.path)?, attrs.as_ref())
    }
}

fn root() -> Owner {
    Owner { user: "root".to_owned(), group: "root".to_owned() }
}

/// Checks the length: more would trap the plugin on its way to the host, and an error can say what to do instead.
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
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::write("/usr/local/bin/hello", "#!/bin/sh\necho hello\n").mode(0o755).apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub fn write(path: &str, data: impl Into<Vec<u8>>) -> Change<'_, Write> {
    Change { path, action: Write(data.into()), mode: None, owner: None }
}

/// Writes a file from a blob of any size. Needs `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::{assets, fs};
/// fs::install(&assets::open("model.bin")?, "/opt/model.bin").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub fn install<'a>(source: &'a Blob, dest: &'a str) -> Change<'a, Install<'a>> {
    Change { path: dest, action: Install(source), mode: None, owner: None }
}

/// Copies a file of the image, of any size, as 0o644 root:root unless told otherwise. Needs `fs:read` of the source and
/// `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::copy("/usr/share/app/default.conf", "/etc/app.conf").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub fn copy<'a>(source: &'a str, dest: &'a str) -> Change<'a, Copy<'a>> {
    Change { path: dest, action: Copy(source), mode: None, owner: None }
}

impl Needs for Change<'_, Copy<'_>> {
    fn needs(&self) -> Vec<Need> {
        [reading(self.action.0).needs(), writing(self.path).needs()].concat()
    }
}

impl Needs for Change<'_, Write> {
    fn needs(&self) -> Vec<Need> {
        writing(self.path).needs()
    }
}

impl Needs for Change<'_, Install<'_>> {
    fn needs(&self) -> Vec<Need> {
        writing(self.path).needs()
    }
}

impl Needs for Change<'_, CreateDir> {
    fn needs(&self) -> Vec<Need> {
        writing(self.path).needs()
    }
}

/// Makes one directory, 0o755 root:root. Needs `fs:write`.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::create_dir("/srv/data").mode(0o770).owner("root", "video").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub fn create_dir(path: &str) -> Change<'_, CreateDir> {
    Change { path, action: CreateDir { parents: false }, mode: None, owner: None }
}

/// Makes a directory and those above it that are missing. Needs `fs:write` of each one made.
///
/// ```no_run
/// # use piimg_plugin_sdk::fs;
/// fs::create_dir_all("/opt/app/share/icons").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub fn create_dir_all(path: &str) -> Change<'_, CreateDir> {
    Change { path, action: CreateDir { parents: true }, mode: None, owner: None }
}
