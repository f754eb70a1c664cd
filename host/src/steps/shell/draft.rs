//! Describes what was changed in a shell, for a plugin that does the same.

use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Result};
use crate::rootfs::accounts::Accounts;
use crate::rootfs::changes::{Change, ChangeKind};
use crate::rootfs::compare::Aspect;
use crate::rootfs::files::{Exact, FileKind, ImagePath, Rootfs};

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
    let rootfs = Rootfs::open(after, 0)?;
    let (tree, accounts) = (rootfs.exact(), Accounts::read(&rootfs)?);
    let mut left = MOST;
    changes.iter().map(|change| entry(change, &tree, &accounts, &mut left)).collect()
}

fn entry(change: &Change, tree: &Exact<'_>, accounts: &Accounts, left: &mut u64) -> Result<DraftEntry> {
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
    let path = ImagePath::parse(&change.path)?;
    let metadata = tree.metadata(&path)?.with_context(|| format!("`{path}` is gone"))?;
    let is_new = match &change.kind {
        ChangeKind::Changed(aspects) => {
            aspects.iter().any(|aspect| matches!(aspect, Aspect::Type | Aspect::Size | Aspect::Content))
        }
        _ => true,
    };
    let made = match metadata.kind {
        FileKind::Symlink => match metadata.target {
            Some(target) => Made::Link { target, replaces: change.kind != ChangeKind::Added },
            None => Made::Nothing("what the link says is no text".to_owned()),
        },
        FileKind::Other => Made::Nothing("it is a device, a pipe or a socket".to_owned()),
        _ if !is_new => Made::Attributes,
        FileKind::Directory => Made::Directory,
        FileKind::File if metadata.size > LONGEST.min(*left) => {
            Made::Nothing("it is too long for a plugin: give it as an asset".to_owned())
        }
        FileKind::File => {
            *left -= metadata.size;
            Made::File(tree.read(&path, LONGEST)?.unwrap_or_default())
        }
    };
    let attrs = metadata.attrs;
    let name = |known: Option<&str>, number: u32| known.map_or_else(|| number.to_string(), str::to_owned);
    Ok(DraftEntry {
        mode: attrs.mode,
        user: name(accounts.user_name(attrs.uid), attrs.uid),
        group: name(accounts.group_name(attrs.gid), attrs.gid),
        ..of(made)
    })
}
