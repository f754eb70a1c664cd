//! Holds what serving a plugin's calls needs in a build and in a trial alike: the tree, the call that is served, and who is
//! meant by it. How commands, packages and downloads are answered is another matter.

use std::fs::File;
use std::io::Seek as _;
use std::path::Path;

use crate::error::{Context as _, Result};
use crate::image::command_lines;
use crate::image::parsing::{self, LONGEST};
use crate::plugin::workbench::{CallError, Command, ErrorCode, InstalledPackage};
use crate::report::Who;
use crate::rootfs::accounts::{Accounts, User};
use crate::rootfs::files::{ImagePath, Rootfs, Touched};
use crate::rootfs::packages::{self, Package};
use crate::sandbox::free_space::Room;
use crate::sandbox::parser::Parser;
use crate::ui::Printable as _;

/// The tree that a plugin works on, and its call.
#[derive(Debug)]
pub(super) struct Served {
    rootfs: Rootfs,
    number: u64,
    name: String,
}

impl Served {
    /// Takes a tree that remembers what is touched. What was touched so far is nobody's change.
    pub(super) fn new(rootfs: Rootfs) -> Self {
        rootfs.take_touched();
        Self { rootfs, number: 0, name: String::new() }
    }

    pub(super) fn rootfs(&self) -> &Rootfs {
        &self.rootfs
    }

    pub(super) fn command_lines(&self) -> Result<Vec<ImagePath>> {
        command_lines::command_lines(&self.rootfs)
    }

    pub(super) fn begin_call(&mut self, number: u64, name: &str) {
        (self.number, self.name) = (number, name.to_owned());
    }

    /// Returns what piimg touched for the call, and the call; `None` if it touched nothing.
    pub(super) fn end_call(&mut self) -> Option<(Who, Vec<Touched>)> {
        let touched = self.rootfs.take_touched();
        (!touched.is_empty()).then(|| (Who::Call(self.number, std::mem::take(&mut self.name)), touched))
    }

    /// Names a command of the call as the one who changed something.
    pub(super) fn by_command(&self, command: &Command) -> Who {
        Who::command(self.number, &command.argv())
    }

    /// Returns the user that a command runs as; `None` if that is root.
    ///
    /// # Errors
    /// If the image has no such user.
    pub(super) fn user(&self, command: &Command) -> Result<Option<User>> {
        let Some(name) = command.user.as_deref().filter(|name| *name != "root") else { return Ok(None) };
        let user = Accounts::read(&self.rootfs)?.user(name);
        let missing = || CallError::new(ErrorCode::NotFound, format!("the image has no user `{name}`"));
        Ok(Some(user.ok_or_else(missing)?))
    }

    /// Returns the installed package of that name.
    pub(super) fn package(&self, name: &str) -> Result<Option<InstalledPackage>> {
        let installed = packages::installed(&self.rootfs)?;
        Ok(installed.into_values().find(|package| package.name == name).map(shown))
    }
}

/// Returns a package as plugins are told of it.
pub(super) fn shown(package: Package) -> InstalledPackage {
    InstalledPackage { name: package.name, version: package.version, architecture: package.architecture }
}

/// Returns what is in a compressed file, as a file without a name in `place`.
///
/// # Errors
/// If the file is damaged, or there is no room for what is in it.
pub(super) fn unpacked(file: &File, place: &Path) -> Result<File> {
    let mut compressed = file;
    compressed.rewind().context("cannot read it again")?;
    let mut room = Room::new(place, &place.printable(), "what is in the archive")?;
    let whole = tempfile::tempfile_in(place).with_context(|| format!("cannot write to `{}`", place.printable()))?;
    parsing::unpack(&Parser::default(), file, &whole, LONGEST, &mut room)?;
    Ok(whole)
}
