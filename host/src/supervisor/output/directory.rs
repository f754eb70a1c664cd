//! Unpacks the archive of a root file system to a directory, where nothing else can be reached.
//!
//! It belongs to the image's own users, which only root can arrange. The archive holds what packages and plugins made: so
//! it is unpacked in a private namespace that sees the directory and the host's programs alone, with root's own ids.

use std::fs::File;
use std::io::Seek as _;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Stdio;
use std::sync::Arc;

use crate::error::{Context, Failure, Result};
use crate::host_files::Directory;
use crate::sandbox::ending::{self, Bounds};
use crate::sandbox::id_map::IdMap;
use crate::sandbox::namespace::{self, Entry};
use crate::sandbox::numeric_ids::HiddenAccounts;
use crate::sandbox::process;
use crate::sandbox::tool::Tool;
use crate::store::remove_tree;
use crate::ui::{Printable as _, Ui};

/// Name of the tree in the directory of the result.
pub(super) const TREE: &str = "rootfs";

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
///
/// The tree is below a directory that only root can enter: it holds what an image has, programs that lend the rights of
/// their owner to whoever runs them among it, and it is chosen by whoever made packages and plugins. On an image these are
/// the image's own users; here they would be everybody with an account on this machine.
#[derive(Debug)]
pub(super) struct Unpacked {
    directory: Arc<Directory>,
    partial: String,
    name: String,
}

/// Unpacks `tar` in `directory`, for [`Unpacked::publish`] under `name`.
///
/// # Privileges
/// Root.
///
/// # Errors
/// If the file system refuses, or `tar` fails.
pub(super) fn unpack(directory: &Arc<Directory>, name: &str, tar: &File, ui: &Ui) -> Result<Unpacked> {
    let step = ui.step("Unpack the root file system");
    let partial = format!("{name}.partial");
    let shown = directory.path().join(&partial);
    let failed = || Failure::build(format!("cannot make the directory `{}`", shown.printable()));
    remove_tree(&directory.held(&partial)).with_context(failed)?;
    let outer = directory.subdirectory(&partial, 0o700).with_context(failed)?;
    let unpacked = Unpacked { directory: directory.clone(), partial, name: name.to_owned() };
    // A directory that somebody else put there meanwhile would be theirs, or open to others.
    let stat = outer.stat().with_context(failed)?;
    anyhow::ensure!(stat.st_uid == 0 && stat.st_mode & 0o077 == 0, failed());
    let tree = outer.subdirectory(TREE, 0o755).with_context(failed)?;
    let mut position = tar;
    position.rewind().context("cannot read the archive again")?;
    let job = serde_json::to_vec(&tar.as_raw_fd()).context("cannot describe the job")?;
    let entry = Entry {
        ids: IdMap { uid_base: 0, gid_base: 0 },
        role: "__unpack",
        store: &outer.held(TREE),
        files: vec![tar.as_fd()],
        hidden: Vec::new(),
    };
    let status = namespace::run(&entry, &job)?;
    drop(tree);
    if status != 0 {
        let what = "cannot unpack the root file system: `tar`";
        return Err(ending::failure(what, status, Bounds::default()).into());
    }
    step.done();
    Ok(unpacked)
}

impl Unpacked {
    /// Gives the directory its name, in place of one that has it; returns the name of the tree in it.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn publish(self, ui: &Ui) -> Result<String> {
        let target = self.directory.path().join(&self.name);
        let failed = || Failure::build(format!("cannot name the directory `{}`", target.printable()));
        let is_new = self.directory.rename_if_free(&self.partial, &self.name).with_context(failed)?;
        if !is_new {
            // The old tree is called `.partial` now, and removed when this is dropped.
            self.directory.exchange(&self.partial, &self.name).with_context(failed)?;
        }
        ui.info(&format!(
            "only root can enter `{}`: programs in it lend rights to whoever runs them, as set-user-id programs do",
            target.printable()
        ));
        Ok(format!("{}/{TREE}", self.name))
    }
}

impl Drop for Unpacked {
    fn drop(&mut self) {
        // The error that led here is the one to report.
        remove_tree(&self.directory.held(&self.partial)).ok();
    }
}

/// Implements `piimg __unpack`: enters the private namespace, where `/store` is the directory, and unpacks.
///
/// # Errors
/// If `tar` fails.
pub fn inside(arguments: &[String]) -> Result<()> {
    let job = namespace::enter(arguments)?;
    let number: i32 = serde_json::from_slice(&job).context("cannot read the job")?;
    let archive: File = process::adopt_fd(number)?.into();
    let _numbers = HiddenAccounts::new()?;
    Tool::new("tar")
        .args(["--extract", "--numeric-owner", "--same-owner", "--same-permissions", "--acls"])
        .args(["--xattrs", "--xattrs-include=*", "--directory=/store", "--file=-"])
        .run_between(archive.into(), Stdio::null())
}
