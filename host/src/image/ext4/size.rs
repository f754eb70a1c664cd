//! How large a root file system must be: a walk over the tree, then arithmetic.

use std::collections::BTreeSet;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use crate::error::{Context as _, Result};
use crate::image::layout::{ALIGNMENT, Bytes};
use crate::ui::Printable as _;

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;

/// Bytes of an inode.
const INODE: u64 = 256;

/// One inode for so many bytes: also what a grown file system gets for its new space.
pub(super) const INODE_RATIO: u64 = 16_384;

/// Blocks of a group.
const GROUP: u64 = 8 * BLOCK;

/// What a tree takes in an ext4 file system.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ContentSize {
    /// Blocks of files, directories and long symbolic links; a file with several names counts once.
    pub blocks: u64,
    pub inodes: u64,
}

impl ContentSize {
    pub const fn bytes(&self) -> Bytes {
        Bytes(self.blocks * BLOCK)
    }
}

/// Measures `tree`.
///
/// # Errors
/// If a directory cannot be read.
pub fn content_size(tree: &Path) -> Result<ContentSize> {
    let mut size = ContentSize { blocks: 0, inodes: 1 };
    add_directory(tree, &mut size, &mut BTreeSet::new())?;
    Ok(size)
}

fn add_directory(dir: &Path, size: &mut ContentSize, seen: &mut BTreeSet<(u64, u64)>) -> Result<()> {
    let mut names = 0;
    for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.printable()))? {
        let entry = entry.with_context(|| format!("cannot read `{}`", dir.printable()))?;
        let metadata = entry.metadata().with_context(|| format!("cannot read `{}`", entry.path().printable()))?;
        names += entry_size(entry.file_name().as_bytes().len());
        if metadata.is_dir() {
            size.inodes += 1;
            add_directory(&entry.path(), size, seen)?;
            continue;
        }
        if metadata.nlink() > 1 && !seen.insert((metadata.dev(), metadata.ino())) {
            continue;
        }
        size.inodes += 1;
        size.blocks +=
            if metadata.is_symlink() { u64::from(metadata.len() >= 60) } else { file_blocks(metadata.len()) };
    }
    // The last entry of a block may not fit, and further names of a file reserve a block (see `script`).
    size.blocks += names.div_ceil(BLOCK - 12 - entry_size(255)).max(1) + 1;
    Ok(())
}

/// Bytes of a directory entry with a name of `length` bytes.
pub(super) fn entry_size(length: usize) -> u64 {
    (8 + u64::try_from(length).unwrap_or(255)).next_multiple_of(4)
}

/// Blocks of a file, with one of its extent tree for each 64 MiB beyond what the inode itself can describe.
fn file_blocks(length: u64) -> u64 {
    length.div_ceil(BLOCK) + length / (64 << 20)
}

/// Length of a file system that holds `content` and has at least `extra` free: a multiple of 4 MiB.
pub fn partition_size(content: &ContentSize, extra: Bytes) -> Bytes {
    // Fragments, attributes and what a measurement cannot know.
    let payload = content.blocks * BLOCK + content.blocks * BLOCK / 100 + extra.0;
    let mut size = Bytes(payload);
    loop {
        let next = Bytes(payload + overhead(size, content.inodes)).round_up(ALIGNMENT);
        if next <= size {
            return size;
        }
        size = next;
    }
}

/// Inodes of a file system of `size` that must hold `used`, with room for the image's life.
pub(super) fn inode_count(size: Bytes, used: u64) -> u64 {
    (size.0 / INODE_RATIO).max(used + used / 4 + 256)
}

/// Length of the journal in MiB.
pub(super) fn journal_mib(size: Bytes) -> u64 {
    const STEPS: [(u64, u64); 3] = [(256, 4), (1024, 16), (4096, 32)];
    STEPS.iter().find(|(below, _)| size < Bytes::mib(*below)).map_or(64, |(_, journal)| *journal)
}

/// What the file system itself takes of `size`.
fn overhead(size: Bytes, used_inodes: u64) -> u64 {
    let groups = size.0.div_ceil(GROUP * BLOCK).max(1);
    let descriptors = (groups * 64).div_ceil(BLOCK);
    // Copies of the superblock lie in groups 0, 1 and the powers of 3, 5 and 7, each followed by the descriptors
    // and what is reserved for their growth.
    let copies = 2 + [3_u64, 5, 7].iter().map(|base| u64::from(groups.ilog(*base)) + 1).sum::<u64>();
    let reserved = BLOCK / 4;
    let inodes = inode_count(size, used_inodes) * INODE + groups * BLOCK;
    let maps = groups * 2;
    let lost_and_found = 4;
    (copies.min(groups) * (1 + descriptors + reserved) + maps + lost_and_found + 16) * BLOCK
        + inodes
        + (journal_mib(size) << 20)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_measured_in_blocks_and_inodes() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("empty"), "").unwrap();
        std::fs::write(dir.path().join("short"), "x").unwrap();
        std::fs::write(dir.path().join("long"), vec![1; 4097]).unwrap();
        std::fs::hard_link(dir.path().join("long"), dir.path().join("again")).unwrap();
        std::os::unix::fs::symlink("x".repeat(59), dir.path().join("fast")).unwrap();
        std::os::unix::fs::symlink("x".repeat(60), dir.path().join("slow")).unwrap();
        // One block of `short`, two of `long`, one of `slow`, two of the directory.
        assert_eq!(content_size(dir.path()).unwrap(), ContentSize { blocks: 6, inodes: 6 });
    }

    #[test]
    fn sizes_leave_what_was_asked_for() {
        for (blocks, inodes, extra) in [(1, 1, 0), (250_000, 19_000, 0), (250_000, 19_000, 2000), (10, 500_000, 10)] {
            let content = ContentSize { blocks, inodes };
            let size = partition_size(&content, Bytes::mib(extra));
            assert_eq!(size.0 % ALIGNMENT.0, 0);
            assert!(size.0 >= content.bytes().0 + (extra << 20) + overhead(size, inodes));
            assert!(inode_count(size, inodes) > inodes);
        }
    }

    #[test]
    fn the_journal_grows_with_the_file_system() {
        for (size, journal) in [(100, 4), (256, 16), (2000, 32), (4096, 64), (100_000, 64)] {
            assert_eq!(journal_mib(Bytes::mib(size)), journal);
        }
    }
}
