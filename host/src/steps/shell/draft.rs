//! Describes what was changed in a shell, for a plugin that does the same.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Result};
use crate::rootfs::accounts::Accounts;
use crate::rootfs::changes::{Change, ChangeKind};
use crate::rootfs::compare::Aspect;
use crate::rootfs::files::Rootfs;
use crate::ui::Printable as _;

/// Longest file that goes into a plugin, and most bytes of all: what is longer is better an asset.
const LONGEST: u64 = 1 << 20;
const MOST: u64 = 16 << 20;

/// Change that a plugin makes again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DraftEntry {
    /// Absolute.
    pub path: String,
    pub made: Made,
    pub mode: u32,
    pub user: String,
    pub group: String,
}

/// Kind of such a change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Made {
    Removed,
    /// With all that was in it.
    TreeRemoved,
    Directory,
    File(Vec<u8>),
    /// A link that says this, in place of what was there if something was.
    Link {
        target: String,
        replaces: bool,
    },
    /// Mode and owner alone.
    Attributes,
    /// No plugin makes it, for this reason.
    Nothing(String),
}

/// Returns the entries for `changes`, of which the tree at `after` is the result.
///
/// # Errors
/// If something of the tree cannot be read.
pub(super) fn gather(changes: &[Change], after: &Path) -> Result<Vec<DraftEntry>> {
    let accounts = Accounts::read(&Rootfs::open(after, 0)?)?;
    let mut left = MOST;
    changes.iter().map(|change| entry(change, after, &accounts, &mut left)).collect()
}

fn entry(change: &Change, after: &Path, accounts: &Accounts, left: &mut u64) -> Result<DraftEntry> {
    let of = |made| DraftEntry { path: change.path.clone(), made, mode: 0, user: String::new(), group: String::new() };
    if change.unreadable || change.path.contains(['*', '?', '[', '{']) {
        return Ok(of(Made::Nothing("no capability can name it".to_owned())));
    }
    if change.path.starts_with("/var/lib/dpkg/") {
        return Ok(of(Made::Nothing("it is dpkg's: list packages in conf() instead".to_owned())));
    }
    if change.kind == ChangeKind::Removed {
        return Ok(of(if change.directory { Made::TreeRemoved } else { Made::Removed }));
    }
    let place = after.join(&change.place);
    let failed = || format!("cannot read `{}`", place.printable());
    // The tree is the image's: no link in it is followed.
    let metadata = fs::symlink_metadata(&place).with_context(failed)?;
    let is_new = match &change.kind {
        ChangeKind::Changed(aspects) => {
            aspects.iter().any(|aspect| matches!(aspect, Aspect::Type | Aspect::Size | Aspect::Content))
        }
        _ => true,
    };
    let kind = metadata.file_type();
    let made = if kind.is_symlink() {
        match fs::read_link(&place).with_context(failed)?.into_os_string().into_string() {
            Ok(target) => Made::Link { target, replaces: change.kind != ChangeKind::Added },
            Err(_) => Made::Nothing("what the link says is no text".to_owned()),
        }
    } else if !is_new {
        Made::Attributes
    } else if kind.is_dir() {
        Made::Directory
    } else if !kind.is_file() {
        Made::Nothing("it is a device, a pipe or a socket".to_owned())
    } else if metadata.len() > LONGEST.min(*left) {
        Made::Nothing("it is too long for a plugin: give it as an asset".to_owned())
    } else {
        *left -= metadata.len();
        Made::File(fs::read(&place).with_context(failed)?)
    };
    let name = |known: Option<&str>, number: u32| known.map_or_else(|| number.to_string(), str::to_owned);
    Ok(DraftEntry {
        mode: metadata.mode() & 0o7777,
        user: name(accounts.user_name(metadata.uid()), metadata.uid()),
        group: name(accounts.group_name(metadata.gid()), metadata.gid()),
        ..of(made)
    })
}
