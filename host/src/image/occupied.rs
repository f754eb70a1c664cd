//! Finds the bytes of an image that must reach a card even where they are zeros.
//!
//! In a file a hole reads as zeros. On a card that was used before, a block that is not written keeps what it held,
//! and an allocation table, an inode table or a journal must not: only free space may. A block map of data alone
//! would give a broken file system on every card but a new one.

use std::fs::File;
use std::ops::Range;

use super::layout::{Bytes, SECTOR};
use super::{ext4, fat, mbr};
use crate::error::Result;

/// Returns the table, and what the file systems of `image` have not left free, as ranges of bytes.
///
/// # Errors
/// If the image has no table, or if one of its file systems cannot be read.
pub(super) fn occupied(image: &File) -> Result<Vec<Range<u64>>> {
    let table = mbr::read(image)?;
    let mut ranges: Vec<Range<u64>> = std::iter::once(0..SECTOR).collect();
    let mut add = |start: Bytes, found: Vec<Range<u64>>| {
        ranges.extend(found.into_iter().map(|range| start.0 + range.start..start.0 + range.end));
    };
    if let Some((_, boot)) = table.boot() {
        let start = boot.start.to_bytes();
        add(start, fat::occupied(image, start)?);
    }
    if let Some((_, root)) = table.root() {
        let start = root.start.to_bytes();
        add(start, ext4::occupied(image, start)?);
    }
    Ok(ranges)
}
