//! Finds what a trial changed: the copy before against the copy after.
//!
//! A build compares layers, and the kernel keeps owners and modes there. Here they are in memory, so that both trees are
//! described as the plugin sees them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::outcome::Entry;
use crate::error::{Context as _, Result};
use crate::rootfs::accounts::Accounts;
use crate::rootfs::changes::{Change, ChangeKind, notable};
use crate::rootfs::compare::Aspect;
use crate::rootfs::files::{FileKind, ImagePath, Metadata, Rootfs};

/// Longest file whose content is compared: one that is longer counts as changed if it was written.
const COMPARED: u64 = 1 << 20;

/// Everything in a tree.
#[derive(Debug, Default)]
pub(super) struct Snapshot(BTreeMap<String, Seen>);

#[derive(Debug)]
struct Seen {
    metadata: Metadata,
    /// Inode and change time: the same file with the same ones was not written.
    stamp: (u64, i64, i64),
    digest: Option<[u8; 32]>,
}

impl Snapshot {
    /// Looks at all of the tree, which lies at `copy`.
    ///
    /// # Errors
    /// If something in it cannot be read.
    pub(super) fn take(rootfs: &Rootfs, copy: &Path) -> Result<Self> {
        let mut snapshot = Self::default();
        snapshot.add(rootfs, copy, &ImagePath::root())?;
        Ok(snapshot)
    }

    fn add(&mut self, rootfs: &Rootfs, copy: &Path, path: &ImagePath) -> Result<()> {
        let failed = || format!("cannot look at `{}` of the copy", path.as_str());
        let metadata = rootfs.metadata(path)?.with_context(failed)?;
        let kind = metadata.kind;
        let place = copy.join(path.as_str().trim_start_matches('/'));
        let on_disk = fs::symlink_metadata(&place).with_context(failed)?;
        let digest = match kind {
            FileKind::File if metadata.size <= COMPARED => {
                let content = rootfs.read(path, COMPARED)?;
                Some(Sha256::digest(content).into())
            }
            _ => None,
        };
        let stamp = (on_disk.ino(), on_disk.ctime(), on_disk.ctime_nsec());
        self.0.insert(path.as_str().to_owned(), Seen { metadata, stamp, digest });
        if kind == FileKind::Directory {
            for (name, _) in rootfs.list_dir(path)? {
                self.add(rootfs, copy, &path.join(&name)?)?;
            }
        }
        Ok(())
    }

    /// Returns each entry as tests look at it.
    pub(super) fn entries(&self, accounts: Option<&Accounts>) -> BTreeMap<String, Entry> {
        self.0.iter().map(|(path, seen)| (path.clone(), Entry::of(&seen.metadata, accounts))).collect()
    }
}

/// Returns what is different, by path.
///
/// # Errors
/// If something in the copy cannot be read.
pub(super) fn changes(before: &Snapshot, after: &Snapshot, copy: &Path) -> Result<Vec<Change>> {
    let paths: BTreeSet<&String> = before.0.keys().chain(after.0.keys()).collect();
    let mut found = Vec::new();
    for path in paths {
        let (old, new) = (before.0.get(path), after.0.get(path));
        let kind = match (old, new) {
            (None, _) => ChangeKind::Added,
            (_, None) => ChangeKind::Removed,
            (Some(old), Some(new)) => match aspects(old, new) {
                aspects if aspects.is_empty() => continue,
                aspects => ChangeKind::Changed(aspects),
            },
        };
        // What is removed with its directory has no line of its own.
        if kind == ChangeKind::Removed && is_below_removed(path, before, after) {
            continue;
        }
        let is_dir = |seen: Option<&Seen>| seen.is_some_and(|seen| seen.metadata.kind == FileKind::Directory);
        let place = PathBuf::from(path.trim_start_matches('/'));
        found.push(Change {
            path: path.clone(),
            notable: notable(Path::new(path), &copy.join(&place), &kind, is_dir(old))?,
            kind,
            unreadable: false,
            directory: is_dir(old) || is_dir(new),
            place,
        });
    }
    Ok(found)
}

fn is_below_removed(path: &str, before: &Snapshot, after: &Snapshot) -> bool {
    let parent = Path::new(path).parent().and_then(Path::to_str);
    parent.is_some_and(|parent| before.0.contains_key(parent) && !after.0.contains_key(parent))
}

fn aspects(old: &Seen, new: &Seen) -> BTreeSet<Aspect> {
    let (a, b) = (&old.metadata, &new.metadata);
    let same_content = a.target == b.target
        && match (old.digest, new.digest) {
            (Some(one), Some(other)) => one == other,
            _ => a.kind != FileKind::File || old.stamp == new.stamp,
        };
    let both = a.kind == FileKind::File && b.kind == FileKind::File;
    [
        (Aspect::Type, a.kind != b.kind),
        (Aspect::Mode, a.attrs.mode != b.attrs.mode && a.kind != FileKind::Symlink),
        (Aspect::Owner, (a.attrs.uid, a.attrs.gid) != (b.attrs.uid, b.attrs.gid)),
        (Aspect::Size, both && a.size != b.size),
        (Aspect::Content, a.kind == b.kind && !same_content),
    ]
    .into_iter()
    .filter_map(|(aspect, differs)| differs.then_some(aspect))
    .collect()
}
