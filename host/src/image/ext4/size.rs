//! Computes the size of a root file system. Pure arithmetic: the walk that writes the script (`script.rs`) says what
//! there is.

use std::ops::Range;

use crate::image::layout::{ALIGNMENT, Bytes};

/// Bytes of a block.
pub(super) const BLOCK: u64 = 4096;

/// Bytes of an inode.
const INODE: u64 = 256;

/// One inode for so many bytes: also what a grown file system gets for its new space.
pub(super) const INODE_RATIO: u64 = 16_384;

/// Blocks of a group.
const GROUP: u64 = 8 * BLOCK;

/// Space that a tree takes in an ext4 file system.
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

    /// Adds a directory whose entries take so many bytes.
    pub(super) fn add_directory(&mut self, entries: u64) {
        self.inodes += 1;
        // The last entry of a block may not fit, and further names of a file reserve a block (see `script`).
        self.blocks += entries.div_ceil(BLOCK - 12 - entry_size(255)).max(1) + 1;
    }

    /// Adds a file of which only these blocks are stored.
    pub(super) fn add_file(&mut self, needed: &[Range<u64>]) {
        self.inodes += 1;
        let blocks: u64 = needed.iter().map(|range| range.end - range.start).sum();
        let pieces = needed.len() as u64;
        // Beyond four extents the inode needs blocks for the tree of them: 340 fit into one, and free space is in pieces.
        let tree = if pieces > 4 { pieces.div_ceil(100) } else { 0 };
        self.blocks += blocks + blocks * BLOCK / (64 << 20) + tree;
    }

    /// Adds a symbolic link to a target of `length` bytes.
    pub(super) fn add_symlink(&mut self, length: u64) {
        self.inodes += 1;
        // A shorter one is in the inode.
        self.blocks += u64::from(length >= 60);
    }
}

/// Bytes of a directory entry with a name of `length` bytes.
pub(super) fn entry_size(length: usize) -> u64 {
    (8 + u64::try_from(length).unwrap_or(255)).next_multiple_of(4)
}

/// Returns the length of a file system that holds `content` and has at least `extra` free: a multiple of 4 MiB.
pub(super) fn partition_size(content: &ContentSize, extra: Bytes) -> Bytes {
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

/// Returns the length of the journal in MiB.
pub(super) fn journal_mib(size: Bytes) -> u64 {
    const STEPS: [(u64, u64); 3] = [(256, 4), (1024, 16), (4096, 32)];
    STEPS.iter().find(|(below, _)| size < Bytes::mib(*below)).map_or(64, |(_, journal)| *journal)
}

/// Returns the overhead of the file system itself. The layout is described in
/// <https://docs.kernel.org/filesystems/ext4/overview.html>.
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
    fn what_is_stored_is_counted() {
        let mut size = ContentSize::default();
        size.add_directory(100);
        assert_eq!(size, ContentSize { blocks: 2, inodes: 1 });
        size.add_symlink(59);
        size.add_symlink(60);
        assert_eq!(size, ContentSize { blocks: 3, inodes: 3 });
        // Two blocks far from each other, and so many pieces that they need a tree.
        size.add_file(&[0..1, 1 << 30..(1 << 30) + 1]);
        assert_eq!(size, ContentSize { blocks: 5, inodes: 4 });
        let pieces: Vec<Range<u64>> = (0..101).map(|piece| piece * 32..piece * 32 + 16).collect();
        size.add_file(&pieces);
        assert_eq!(size, ContentSize { blocks: 5 + 101 * 16 + 2, inodes: 5 });
        size.add_file(&[]);
        assert_eq!(size.inodes, 6);
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
