//! Finds the blocks of an ext4 file system that are in use: <https://docs.kernel.org/filesystems/ext4/globals.html>.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use super::superblock::{Fields, number};
use crate::error::{Context as _, Failure, Result};
use crate::image::layout::Bytes;

/// Bits of the superblock's features.
const SPARSE_SUPER: u64 = 0x1;
const BIGALLOC: u64 = 0x200;
const META_BG: u64 = 0x10;
const SPARSE_SUPER2: u64 = 0x200;
/// Flag of a group whose bitmap was never written: its own structures are all that is in it.
const BLOCK_UNINIT: u64 = 0x2;
/// Longest table of groups: that of a file system of 128 TiB.
const LONGEST_TABLE: u64 = 64 << 20;

/// Layout of a file system, in blocks.
#[derive(Debug, PartialEq, Eq)]
struct Geometry {
    block: u64,
    blocks: u64,
    /// First block of the first group.
    first: u64,
    blocks_per_group: u64,
    /// Length of a group's descriptor, in bytes.
    descriptor: u64,
    /// Blocks of a group's inode table.
    inode_table: u64,
    /// Blocks that the table may grow into.
    reserved: u64,
    /// Whether only some groups have copies of superblock and table.
    is_sparse: bool,
}

/// Returns every block that is in use in the ext4 at `start` of `image`, as bytes from there.
///
/// Inode tables and journal are among them; `mke2fs` leaves both as holes.
///
/// # Errors
/// If there is no ext4, or one with features that piimg's own have not.
pub(in crate::image) fn occupied(image: &File, start: Bytes) -> Result<Vec<Range<u64>>> {
    let failed = || "cannot read which blocks of the root file system are in use";
    let unknown = || Failure::build("the root partition holds no ext4 file system as piimg makes it");
    let geometry = Geometry::parse(&Fields::read(image, start)?).with_context(unknown)?;
    let mut table = vec![0; usize::try_from(geometry.table_length()).with_context(failed)?];
    image.read_exact_at(&mut table, start.0 + (geometry.first + 1) * geometry.block).with_context(failed)?;
    let mut ranges: Vec<Range<u64>> = std::iter::once(0..geometry.first).collect();
    let mut bitmap = vec![0; usize::try_from(geometry.block).with_context(failed)?];
    for (number, descriptor) in (0..).zip(table.chunks_exact(usize::try_from(geometry.descriptor)?)) {
        let group = Group::parse(descriptor);
        ranges.extend(geometry.structures(&group));
        if group.is_unwritten {
            ranges.push(geometry.copies(number));
        } else {
            let at = group.bitmap.checked_mul(geometry.block).and_then(|at| at.checked_add(start.0));
            image.read_exact_at(&mut bitmap, at.with_context(unknown)?).with_context(failed)?;
            ranges.extend(runs(&bitmap, &geometry.range(number)));
        }
    }
    Ok(merged(ranges, geometry.blocks).map(|range| range.start * geometry.block..range.end * geometry.block).collect())
}

impl Geometry {
    fn parse(fields: &Fields) -> Option<Self> {
        let (compatible, read_only) = (fields.u32(0x5c), fields.u32(0x64));
        let is_known =
            compatible & SPARSE_SUPER2 == 0 && fields.incompatible() & META_BG == 0 && read_only & BIGALLOC == 0;
        let block = fields.block()?;
        let it = Self {
            block,
            blocks: fields.all_blocks(),
            first: fields.u32(0x14),
            blocks_per_group: fields.u32(0x20),
            descriptor: if fields.is_wide() { fields.u16(0xfe) } else { 32 },
            inode_table: (fields.u32(0x28) * fields.u16(0x58)).div_ceil(block),
            reserved: fields.u16(0xce),
            is_sparse: read_only & SPARSE_SUPER != 0,
        };
        let is_possible = it.first < it.blocks
            && it.blocks < 1 << 48
            && (1..=8 * block).contains(&it.blocks_per_group)
            && (32..=block).contains(&it.descriptor)
            && it.table_length() <= LONGEST_TABLE;
        (is_known && is_possible).then_some(it)
    }

    fn groups(&self) -> u64 {
        (self.blocks - self.first).div_ceil(self.blocks_per_group)
    }

    /// Returns the length of the table of groups, in bytes.
    fn table_length(&self) -> u64 {
        self.groups().saturating_mul(self.descriptor)
    }

    /// Returns the blocks of a group.
    fn range(&self, group: u64) -> Range<u64> {
        let start = self.first + group * self.blocks_per_group;
        start..(start + self.blocks_per_group).min(self.blocks)
    }

    /// Returns the copies of superblock and table at the beginning of a group, with the blocks that the table may grow into.
    fn copies(&self, group: u64) -> Range<u64> {
        let is_power_of = |base: u64| {
            std::iter::successors(Some(base), |it| it.checked_mul(base))
                .take_while(|it| *it <= group)
                .any(|it| it == group)
        };
        let has_copies = !self.is_sparse || group <= 1 || [3, 5, 7].into_iter().any(is_power_of);
        let length = if has_copies { 1 + self.table_length().div_ceil(self.block) + self.reserved } else { 0 };
        let range = self.range(group);
        range.start..(range.start + length).min(range.end)
    }

    /// Returns a group's bitmaps and inode table, which may lie in another group.
    fn structures(&self, group: &Group) -> [Range<u64>; 3] {
        let of = |at: u64, length: u64| at..at.saturating_add(length);
        [of(group.bitmap, 1), of(group.inode_bitmap, 1), of(group.inodes, self.inode_table)]
    }
}

/// Descriptor of a group: <https://docs.kernel.org/filesystems/ext4/group_descr.html>.
struct Group {
    bitmap: u64,
    inode_bitmap: u64,
    inodes: u64,
    is_unwritten: bool,
}

impl Group {
    fn parse(bytes: &[u8]) -> Self {
        let wide = |low, high| number(bytes, low, 4) | if bytes.len() >= 64 { number(bytes, high, 4) << 32 } else { 0 };
        Self {
            bitmap: wide(0x00, 0x20),
            inode_bitmap: wide(0x04, 0x24),
            inodes: wide(0x08, 0x28),
            is_unwritten: number(bytes, 0x12, 2) & BLOCK_UNINIT != 0,
        }
    }
}

/// Returns the runs of bits that are set in the bitmap of a range of blocks.
fn runs(bitmap: &[u8], blocks: &Range<u64>) -> Vec<Range<u64>> {
    let mut runs: Vec<Range<u64>> = Vec::new();
    let bits = bitmap.iter().flat_map(|byte| (0..8).map(move |bit| byte >> bit & 1 == 1));
    for (block, _) in blocks.clone().zip(bits).filter(|(_, is_set)| *is_set) {
        match runs.last_mut().filter(|last| last.end == block) {
            Some(last) => last.end += 1,
            None => runs.push(block..block + 1),
        }
    }
    runs
}

/// Sorts and joins ranges, up to `end`.
fn merged(mut ranges: Vec<Range<u64>>, end: u64) -> impl Iterator<Item = Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::new();
    for range in ranges.into_iter().map(|range| range.start..range.end.min(end)).filter(|range| !range.is_empty()) {
        match joined.last_mut().filter(|last| last.end >= range.start) {
            Some(last) => last.end = last.end.max(range.end),
            None => joined.push(range),
        }
    }
    joined.into_iter()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::tool::Tool;

    /// What `dumpe2fs` says: the lists of free blocks, one for each group, turned around.
    fn by_dumpe2fs(path: &str) -> Vec<Range<u64>> {
        let text = Tool::new("dumpe2fs").arg(path).output().unwrap();
        let text = String::from_utf8(text.stdout).unwrap();
        let field = |name: &str| -> u64 {
            text.lines().find_map(|line| line.strip_prefix(name)).unwrap().trim().parse().unwrap()
        };
        let (block, count) = (field("Block size:"), field("Block count:"));
        let (mut ranges, mut position) = (Vec::new(), 0);
        // The one of the whole file system, a number, is not indented.
        for list in text.lines().filter_map(|line| line.strip_prefix("  Free blocks:")) {
            for free in list.split(',').map(str::trim).filter(|free| !free.is_empty()) {
                let (first, last) = free.split_once('-').unwrap_or((free, free));
                ranges.push(position..first.parse().unwrap());
                position = last.parse::<u64>().unwrap() + 1;
            }
        }
        ranges.push(position..count);
        ranges.retain(|range| !range.is_empty());
        ranges.into_iter().map(|range| range.start * block..range.end * block).collect()
    }

    #[test]
    fn dumpe2fs_finds_the_same() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("content"), vec![7; 3 << 20]).unwrap();
        for (number, (blocks, options)) in [
            ("40000", &["-t", "ext4", "-b", "4096", "-O", super::super::FEATURES][..]),
            ("700000", &["-t", "ext4", "-b", "4096", "-O", super::super::FEATURES]),
            ("60000", &["-t", "ext4", "-b", "1024"]),
            ("60000", &["-t", "ext4", "-b", "1024", "-O", "^64bit,^flex_bg,^resize_inode"]),
            ("60000", &["-t", "ext2", "-b", "1024", "-O", "^sparse_super,^resize_inode"]),
            ("40000", &["-t", "ext4", "-b", "2048", "-O", "^metadata_csum,uninit_bg,64bit"]),
            ("9000", &["-t", "ext3", "-b", "4096"]),
        ]
        .into_iter()
        .enumerate()
        {
            let path = dir.path().join(number.to_string());
            let path = path.to_str().unwrap();
            let content = dir.path().join("content");
            let make = Tool::new("mke2fs").without_sync().args(["-q", "-F"]).args(options).arg(path).arg(blocks);
            make.run().unwrap();
            Tool::new("debugfs")
                .without_sync()
                .args(["-w", "-R", &format!("write {} content", content.display()), path])
                .run()
                .unwrap();
            let found = occupied(&File::open(path).unwrap(), Bytes(0)).unwrap();
            assert_eq!(found, by_dumpe2fs(path), "{options:?}");
        }
    }

    #[test]
    fn what_is_no_file_system_of_ours_is_refused() {
        let mut bytes = [0; 1024];
        assert_eq!(Geometry::parse(&Fields(bytes)), None);
        for (at, value) in [(0x04, 100), (0x18, 2), (0x20, 32_768), (0x28, 16), (0x38, 0xef53)] {
            bytes[at..at + 2].copy_from_slice(&u16::to_le_bytes(value));
        }
        assert!(Geometry::parse(&Fields(bytes)).is_some());
        for (at, value) in [(0x18, 60), (0x20, 0), (0x14, 100), (0x60, 0x10), (0x65, 0x2), (0x38, 0)] {
            let mut wrong = bytes;
            wrong[at..at + 2].copy_from_slice(&u16::to_le_bytes(value));
            assert_eq!(Geometry::parse(&Fields(wrong)), None, "{value} at {at:#x}");
        }
    }
}
