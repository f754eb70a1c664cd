//! The few fields of an ext4 superblock that piimg reports.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use serde::Serialize;

use crate::error::{Context as _, Failure, Result};
use crate::image::layout::Bytes;

/// What an ext2, 3 or 4 superblock says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Superblock {
    pub uuid: String,
    pub label: String,
    pub size: Bytes,
    pub free: Bytes,
    pub inodes: u64,
    pub free_inodes: u64,
    /// Length of a block.
    #[serde(skip)]
    pub(super) block: Bytes,
    /// Whether the journal holds changes that the file system does not: it was copied while it was used.
    #[serde(skip)]
    pub needs_recovery: bool,
}

impl Superblock {
    /// Reads the superblock of the file system that starts at `start` of `image`.
    ///
    /// # Errors
    /// If there is no such file system.
    pub fn read(image: &File, start: Bytes) -> Result<Self> {
        let mut bytes = [0; 1024];
        image.read_exact_at(&mut bytes, start.0.saturating_add(1024)).context("cannot read the root file system")?;
        Self::parse(&bytes).ok_or_else(|| Failure::build("the root partition holds no ext4 file system").into())
    }

    fn parse(bytes: &[u8; 1024]) -> Option<Self> {
        let u32_at =
            |at: usize| u64::from(u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]));
        if bytes[0x38..0x3a] != [0x53, 0xef] {
            return None;
        }
        let block =
            1024_u64.checked_shl(u32::try_from(u32_at(0x18)).ok()?).filter(|block| (1024..=65_536).contains(block))?;
        // Lengths have upper halves if the file system counts blocks in 64 bits.
        let wide = u32_at(0x60) & 0x80 != 0;
        let blocks = |low: usize, high: usize| u32_at(low) | if wide { u32_at(high) << 32 } else { 0 };
        let uuid = bytes[0x68..0x78].iter().enumerate().fold(String::new(), |text, (i, byte)| {
            format!("{text}{}{byte:02x}", if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" })
        });
        let label = bytes[0x78..0x88].split(|byte| *byte == 0).next()?;
        Some(Self {
            uuid,
            label: String::from_utf8_lossy(label).into_owned(),
            size: Bytes(blocks(0x04, 0x150).checked_mul(block)?),
            free: Bytes(blocks(0x0c, 0x158).checked_mul(block)?),
            inodes: u32_at(0x00),
            free_inodes: u32_at(0x10),
            block: Bytes(block),
            needs_recovery: u32_at(0x60) & 0x4 != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_superblock_is_read() {
        let mut bytes = [0; 1024];
        assert_eq!(Superblock::parse(&bytes), None);
        bytes[0x38] = 0x53;
        bytes[0x39] = 0xef;
        bytes[0x18] = 2;
        bytes[0x04] = 10;
        bytes[0x78..0x7c].copy_from_slice(b"root");
        let found = Superblock::parse(&bytes).unwrap();
        assert_eq!((found.size, found.label.as_str()), (Bytes(40_960), "root"));
        bytes[0x18] = 60;
        assert_eq!(Superblock::parse(&bytes), None);
    }
}
