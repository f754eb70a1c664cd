//! Reads the few fields of an ext4 superblock that piimg needs:
//! <https://docs.kernel.org/filesystems/ext4/super.html>.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use serde::Serialize;

use crate::error::{Context as _, Failure, Result};
use crate::image::layout::Bytes;

/// Bit of the incompatible features: blocks are counted in 64 bits.
const WIDE: u64 = 0x80;
/// Bit of the incompatible features: the journal holds changes that the file system does not.
const NEEDS_RECOVERY: u64 = 0x4;

/// The bytes of a superblock of ext2, ext3 or ext4.
#[derive(Debug)]
pub(super) struct Fields(pub(super) [u8; 1024]);

impl Fields {
    /// Reads those of the file system that starts at `start` of `image`.
    ///
    /// # Errors
    /// If the image ends before.
    pub(super) fn read(image: &File, start: Bytes) -> Result<Self> {
        let mut bytes = [0; 1024];
        image.read_exact_at(&mut bytes, start.0.saturating_add(1024)).context("cannot read the root file system")?;
        Ok(Self(bytes))
    }

    pub(super) fn u16(&self, at: usize) -> u64 {
        number(&self.0, at, 2)
    }

    pub(super) fn u32(&self, at: usize) -> u64 {
        number(&self.0, at, 4)
    }

    /// Returns the length of a block; `None` if this is no superblock.
    pub(super) fn block(&self) -> Option<u64> {
        let block = 1024_u64.checked_shl(u32::try_from(self.u32(0x18)).ok()?)?;
        (self.u16(0x38) == 0xef53 && (1024..=65_536).contains(&block)).then_some(block)
    }

    pub(super) fn incompatible(&self) -> u64 {
        self.u32(0x60)
    }

    pub(super) fn is_wide(&self) -> bool {
        self.incompatible() & WIDE != 0
    }

    /// Returns a number of blocks, whose upper half counts only if the file system is wide.
    pub(super) fn blocks(&self, low: usize, high: usize) -> u64 {
        self.u32(low) | if self.is_wide() { self.u32(high) << 32 } else { 0 }
    }

    /// Returns the number of all blocks.
    pub(super) fn all_blocks(&self) -> u64 {
        self.blocks(0x04, 0x150)
    }
}

/// Reads a little-endian number of at most eight bytes.
pub(super) fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    bytes[at..at + length].iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Facts that are told of a file system.
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
        let fields = Fields::read(image, start)?;
        Self::parse(&fields).ok_or_else(|| Failure::build("the root partition holds no ext4 file system").into())
    }

    fn parse(fields: &Fields) -> Option<Self> {
        let block = fields.block()?;
        let uuid = fields.0[0x68..0x78].iter().enumerate().fold(String::new(), |text, (i, byte)| {
            format!("{text}{}{byte:02x}", if matches!(i, 4 | 6 | 8 | 10) { "-" } else { "" })
        });
        let label = fields.0[0x78..0x88].split(|byte| *byte == 0).next()?;
        Some(Self {
            uuid,
            label: String::from_utf8_lossy(label).into_owned(),
            size: Bytes(fields.all_blocks().checked_mul(block)?),
            free: Bytes(fields.blocks(0x0c, 0x158).checked_mul(block)?),
            inodes: fields.u32(0x00),
            free_inodes: fields.u32(0x10),
            block: Bytes(block),
            needs_recovery: fields.incompatible() & NEEDS_RECOVERY != 0,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_superblock_is_read() {
        let mut bytes = [0; 1024];
        assert_eq!(Superblock::parse(&Fields(bytes)), None);
        bytes[0x38] = 0x53;
        bytes[0x39] = 0xef;
        bytes[0x18] = 2;
        bytes[0x04] = 10;
        bytes[0x78..0x7c].copy_from_slice(b"root");
        let found = Superblock::parse(&Fields(bytes)).unwrap();
        assert_eq!((found.size, found.label.as_str()), (Bytes(40_960), "root"));
        bytes[0x18] = 60;
        assert_eq!(Superblock::parse(&Fields(bytes)), None);
    }
}
