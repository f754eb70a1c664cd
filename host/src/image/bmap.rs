//! Makes the block map of an image: the blocks that must be written to a card, each run of them with its checksum
//! (<https://docs.yoctoproject.org/dev-manual/bmaptool.html>).
//!
//! The format is that of `bmaptool` (bmap 2.0), which skips what is not mapped. What is mapped follows from the
//! image's bytes alone, not from the holes of the file that holds it, so that equal images have equal block maps.

use std::fmt::Write as _;
use std::ops::Range;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::layout::Bytes;

/// Bytes of a block, as `bmaptool create` chooses them.
const BLOCK: usize = 4096;

const ZEROS: [u8; BLOCK] = [0; BLOCK];

/// Stands for the file's own checksum while that is computed.
const NO_CHECKSUM: &str = "0000000000000000000000000000000000000000000000000000000000000000";

/// A run of mapped blocks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlockRange {
    pub first: u64,
    /// The last one, included.
    pub last: u64,
    /// SHA-256 of the run's bytes.
    pub sha256: String,
}

/// The parts of an image that must be written.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bmap {
    /// Length of the whole image.
    pub length: Bytes,
    /// The ranges, in ascending order, with a gap between any two.
    pub ranges: Vec<BlockRange>,
}

impl Bmap {
    /// Blocks in all ranges.
    pub fn mapped_blocks(&self) -> u64 {
        self.ranges.iter().map(|range| range.last - range.first + 1).sum()
    }

    /// Returns the content of a `.bmap` file.
    pub fn to_xml(&self) -> String {
        let mut ranges = String::new();
        for BlockRange { first, last, sha256 } in &self.ranges {
            let blocks = if first == last { first.to_string() } else { format!("{first}-{last}") };
            writeln!(ranges, "    <Range chksum=\"{sha256}\"> {blocks} </Range>").expect("writing to a string");
        }
        let file = |checksum: &str| {
            format!(
                "<?xml version=\"1.0\" ?>\n\
                 <bmap version=\"2.0\">\n  \
                 <ImageSize> {} </ImageSize>\n  \
                 <BlockSize> {BLOCK} </BlockSize>\n  \
                 <BlocksCount> {} </BlocksCount>\n  \
                 <MappedBlocksCount> {} </MappedBlocksCount>\n  \
                 <ChecksumType> sha256 </ChecksumType>\n  \
                 <BmapFileChecksum> {checksum} </BmapFileChecksum>\n  \
                 <BlockMap>\n{ranges}  </BlockMap>\n\
                 </bmap>\n",
                self.length.0,
                self.length.0.div_ceil(BLOCK as u64),
                self.mapped_blocks()
            )
        };
        file(&hex::encode(Sha256::digest(file(NO_CHECKSUM))))
    }
}

/// Makes a [`Bmap`] while the image goes by.
#[derive(Debug)]
pub struct BmapBuilder {
    /// Blocks that are mapped whatever they hold, as ascending ranges; the last is looked at first.
    occupied: Vec<Range<u64>>,
    /// The next block.
    block: u64,
    length: u64,
    run: Option<(u64, Sha256)>,
    ranges: Vec<BlockRange>,
}

impl BmapBuilder {
    /// Begins a map in which the bytes `occupied` (any ranges in any order) are mapped even where they are zeros.
    pub fn new(occupied: &[Range<u64>]) -> Self {
        let block = BLOCK as u64;
        let mut occupied: Vec<Range<u64>> =
            occupied.iter().map(|bytes| bytes.start / block..bytes.end.div_ceil(block)).collect();
        occupied.sort_by_key(|blocks| std::cmp::Reverse(blocks.start));
        Self { occupied, block: 0, length: 0, run: None, ranges: Vec::new() }
    }

    /// Takes the image's next bytes: whole blocks, but for the image's end.
    pub fn add(&mut self, data: &[u8]) {
        for block in data.chunks(BLOCK) {
            if self.is_occupied() || *block != ZEROS[..block.len()] {
                self.run.get_or_insert_with(|| (self.block, Sha256::new())).1.update(block);
            } else {
                self.end_run();
            }
            self.block += 1;
        }
        self.length += data.len() as u64;
    }

    /// Ends the map.
    pub fn finish(mut self) -> Bmap {
        self.end_run();
        Bmap { length: Bytes(self.length), ranges: self.ranges }
    }

    fn is_occupied(&mut self) -> bool {
        while self.occupied.pop_if(|blocks| blocks.end <= self.block).is_some() {}
        self.occupied.last().is_some_and(|blocks| blocks.start <= self.block)
    }

    fn end_run(&mut self) {
        if let Some((first, hash)) = self.run.take() {
            self.ranges.push(BlockRange { first, last: self.block - 1, sha256: hex::encode(hash.finalize()) });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// One byte for each block, `.` for zeros; the last block is one byte shorter.
    fn image(blocks: &str) -> Vec<u8> {
        let mut data: Vec<u8> = blocks.bytes().flat_map(|byte| [if byte == b'.' { 0 } else { byte }; BLOCK]).collect();
        data.pop();
        data
    }

    fn map(data: &[u8], occupied: &[Range<u64>], step: usize) -> Bmap {
        let mut builder = BmapBuilder::new(occupied);
        data.chunks(step * BLOCK).for_each(|part| builder.add(part));
        builder.finish()
    }

    #[test]
    fn data_and_what_is_occupied_is_mapped() {
        type Pairs<'a> = &'a [(u64, u64)];
        let b = BLOCK as u64;
        let cases: &[(&str, Pairs<'_>, Pairs<'_>)] = &[
            ("", &[], &[]),
            ("....", &[], &[]),
            ("a...", &[], &[(0, 0)]),
            (".ab.", &[], &[(1, 2)]),
            ("a..b", &[], &[(0, 0), (3, 3)]),
            ("....", &[(0, 1)], &[(0, 0)]),
            ("....", &[(b - 1, b + 1)], &[(0, 1)]),
            ("....", &[(3 * b, 4 * b), (b, 2 * b)], &[(1, 1), (3, 3)]),
            ("a...b", &[(b, 3 * b), (b, 4 * b)], &[(0, 4)]),
            (".....", &[(0, 2 * b), (b, b + 1), (3 * b, 9 * b)], &[(0, 1), (3, 4)]),
        ];
        for (blocks, occupied, expected) in cases {
            let data = image(blocks);
            let occupied: Vec<Range<u64>> = occupied.iter().map(|(start, end)| *start..*end).collect();
            let bmap = map(&data, &occupied, 3);
            let found: Vec<(u64, u64)> = bmap.ranges.iter().map(|range| (range.first, range.last)).collect();
            assert_eq!(found, *expected, "{blocks:?} {occupied:?}");
            assert_eq!(bmap, map(&data, &occupied, 1));
            for range in &bmap.ranges {
                let at = |block: u64| usize::try_from(block * b).unwrap().min(data.len());
                let bytes = &data[at(range.first)..at(range.last + 1)];
                assert_eq!(range.sha256, hex::encode(Sha256::digest(bytes)), "{blocks:?}");
            }
        }
    }

    #[test]
    fn the_file_names_its_own_checksum() {
        let bmap = map(&image("ab..c"), &[], 1);
        let xml = bmap.to_xml();
        for line in [
            "  <ImageSize> 20479 </ImageSize>",
            "  <BlockSize> 4096 </BlockSize>",
            "  <BlocksCount> 5 </BlocksCount>",
            "  <MappedBlocksCount> 3 </MappedBlocksCount>",
            &format!("    <Range chksum=\"{}\"> 0-1 </Range>", bmap.ranges[0].sha256),
            &format!("    <Range chksum=\"{}\"> 4 </Range>", bmap.ranges[1].sha256),
        ] {
            assert!(xml.lines().any(|found| found == line), "{line:?} is missing from:\n{xml}");
        }
        let (before, rest) = xml.split_once("<BmapFileChecksum> ").unwrap();
        let (checksum, after) = rest.split_once(' ').unwrap();
        let zeroed = format!("{before}<BmapFileChecksum> {NO_CHECKSUM} {after}");
        assert_eq!(checksum, hex::encode(Sha256::digest(zeroed)));
    }
}
