//! The root file system as a directory: its archive, unpacked where nothing else can be reached.
//!
//! It belongs to the image's own users, which only root can arrange. The archive holds what packages and plugins made: so
//! it is unpacked in a private namespace that sees the directory and the host's programs alone, with root's own ids.

use std::fs::{self, File};
use std::io::Seek as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rustix::fs::{CWD, RenameFlags};

use crate::error::{Context, Failure, Result};
use crate::sandbox::names::NumbersOnly;
use crate::sandbox::private::{self, Entry, IdMap};
use crate::sandbox::tool::Tool;
use crate::store::remove_tree;
use crate::ui::Ui;

/// # Errors
/// [`Failure::host`] for anybody but root.
pub(super) fn check_user() -> Result<()> {
    if rustix::process::getuid().is_root() {
        return Ok(());
    }
    Err(Failure::host("only root can make a directory whose files belong to the users of the image")
        .hint("run piimg with sudo, or take the archive: --output tar")
        .into())
}

/// A directory that has not got its name yet; it is removed if it never gets it. One that a killed build left is removed
/// by the next build of that name.
#[derive(Debug)]
pub(super) struct Unpacked {
    partial: PathBuf,
    target: PathBuf,
}

/// Unpacks `tar` in `directory`, for [`Unpacked::publish`] under `name`.
///
/// # Privileges
/// Root.
///
/// # Errors
/// If the file system refuses, or `tar` fails.
pub(super) fn unpack(directory: &Path, name: &str, tar: &File, ui: &Ui) -> Result<Unpacked> {
    let step = ui.step("Unpack the root file system");
    let partial = directory.join(format!("{name}.partial"));
    let failed = || Failure::build(format!("cannot make the directory `{}`", partial.display()));
    if fs::symlink_metadata(&partial).is_ok() {
        remove_tree(&partial).with_context(failed)?;
    }
    fs::DirBuilder::new().mode(0o755).create(&partial).with_context(failed)?;
    let unpacked = Unpacked { partial, target: directory.join(name) };
    let mut position = tar;
    position.rewind().context("cannot read the archive again")?;
    let job = serde_json::to_vec(&tar.as_raw_fd()).context("cannot describe the job")?;
    let entry = Entry {
        ids: IdMap { uid_base: 0, gid_base: 0 },
        role: "__unpack",
        store: &unpacked.partial,
        files: vec![tar.as_fd()],
        hidden: Vec::new(),
    };
    let status = private::run(&entry, &job)?;
    if status != 0 {
        let text = format!("cannot unpack the root file system: it ended with status {status}");
        return Err(Failure::build(text).into());
    }
    step.done();
    Ok(unpacked)
}

impl Unpacked {
    /// Gives the directory its name, in place of one that has it; returns the name.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn publish(self) -> Result<String> {
        let failed = || Failure::build(format!("cannot name the directory `{}`", self.target.display()));
        if fs::symlink_metadata(&self.target).is_ok() {
            // What was there is then called `.partial`, and is dropped with this.
            rustix::fs::renameat_with(CWD, &self.partial, CWD, &self.target, RenameFlags::EXCHANGE)
                .with_context(failed)?;
        } else {
            fs::rename(&self.partial, &self.target).with_context(failed)?;
        }
        Ok(self.target.file_name().unwrap_or_default().to_string_lossy().into_owned())
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        if fs::symlink_metadata(&self.partial).is_ok() {
            // The error that brought us here is the one to report.
            remove_tree(&self.partial).ok();
        }
    }
}

/// `piimg __unpack`: enters the private namespace, where `/store` is the directory, and unpacks.
///
/// # Errors
/// If `tar` fails.
pub fn inside(arguments: &[String]) -> Result<()> {
    let job = private::enter(arguments)?;
    let number: i32 = serde_json::from_slice(&job).context("cannot read the job")?;
    let archive: File = private::adopt_fd(number)?.into();
    let _numbers = NumbersOnly::new()?;
    Tool::new("tar")
        .args(["--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--acls"])
        .args(["--xattrs", "--xattrs-include=*", "--directory=/store", "--file=-"])
        .run_between(archive.into(), Stdio::null())
}
