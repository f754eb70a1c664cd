//! Finds what cannot become a tree here, before anything is copied. Pure.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::inode::{Entry, Inode, Kind, flags};
use super::{DEEPEST, ROOT};
use crate::error::{Failure, Result};
use crate::image::layout::Bytes;
use crate::image::parsing::LONGEST;
use crate::sandbox::id_map::IDS;
use crate::ui::Printable as _;

/// Refuses what cannot be taken over, by its path; the partition holds `most`, in blocks of `block` bytes.
pub(super) fn check(
    tree: &BTreeMap<u32, Vec<Entry>>,
    inodes: &BTreeMap<u32, Inode>,
    most: Bytes,
    block: u64,
) -> Result<()> {
    let failure = |number: u32, text: &str| {
        let path = find(tree, number);
        Failure::build(format!("`{}` of the root file system {text}", path.printable()))
    };
    let blocks = inodes.values().flat_map(|inode| &inode.runs).fold(0, |sum: u64, run| sum.saturating_add(run.blocks));
    let total = Bytes(blocks.saturating_mul(block));
    if total > most {
        let text = format!("the files of the root file system have blocks of {total}, which its partition cannot hold");
        return Err(Failure::build(text).hint("`e2fsck` can repair it").into());
    }
    let files = || inodes.iter().filter(|(_, inode)| inode.kind == Kind::File);
    let length = files().fold(0, |sum: u64, (_, inode)| sum.saturating_add(inode.size));
    if let Some((number, inode)) = files().max_by_key(|(_, inode)| inode.size).filter(|_| length > LONGEST.0) {
        let text = format!("is {} long, holes included: all files together can have {LONGEST} here", Bytes(inode.size));
        return Err(failure(*number, &text).hint("remove it there, or make it shorter").into());
    }
    for (number, inode) in inodes {
        let failure = |text: &str| failure(*number, text);
        if inode.has(flags::ENCRYPTED) {
            let failure = failure("is encrypted: nobody can read it without the key of its machine");
            return Err(failure.hint("decrypt it there, or copy it into a directory that is not encrypted").into());
        }
        if let Some(id) = [inode.owner, inode.group].into_iter().find(|id| *id >= IDS) {
            let failure = failure(&format!("belongs to the user or group {id}: a build has those below {IDS} alone"));
            return Err(failure.hint("give it another owner there, or remove it: containers have such files").into());
        }
    }
    Ok(())
}

/// Returns the first path of an inode.
fn find(tree: &BTreeMap<u32, Vec<Entry>>, number: u32) -> PathBuf {
    fn below(tree: &BTreeMap<u32, Vec<Entry>>, from: u32, number: u32, path: &Path, depth: usize) -> Option<PathBuf> {
        if from == number {
            return Some(path.to_owned());
        }
        let entries = tree.get(&from).filter(|_| depth <= DEEPEST)?;
        let name = |entry: &Entry| path.join(String::from_utf8_lossy(&entry.name).as_ref());
        entries.iter().find_map(|entry| below(tree, entry.inode, number, &name(entry), depth + 1))
    }
    below(tree, ROOT, number, Path::new("/"), 0).unwrap_or_default()
}
