//! Computes the places and names of everything on the disk: pure arithmetic, no I/O.

use std::fmt;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Failure, Result};
use crate::ui::bytes;

/// Bytes in a sector of a master boot record.
pub const SECTOR: u64 = 512;

/// Partitions start and end on multiples of this: the erase block of common SD cards.
pub const ALIGNMENT: Bytes = Bytes::mib(4);

/// The boot partition starts here.
pub const BOOT_START: Bytes = Bytes::mib(8);

/// Length of the boot partition: room for two kernels with their initramfs, and for updates of both.
pub const BOOT_LENGTH: Bytes = Bytes::mib(512);

/// A length or offset in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Bytes(pub u64);

impl Bytes {
    pub const fn mib(count: u64) -> Self {
        Self(count << 20)
    }

    /// Rounds up to a multiple of `unit`.
    pub const fn round_up(self, unit: Self) -> Self {
        Self(self.0.next_multiple_of(unit.0))
    }

    /// Returns the sectors needed to hold it.
    pub const fn to_sectors(self) -> Sectors {
        Sectors(self.0.div_ceil(SECTOR))
    }
}

/// Formats a length in the one way in which lengths are printed.
impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bytes(self.0))
    }
}

/// A length or offset in sectors of 512 bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Sectors(pub u64);

impl Sectors {
    pub const fn to_bytes(self) -> Bytes {
        Bytes(self.0 * SECTOR)
    }
}

/// Type byte of a partition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PartitionType(pub u8);

impl PartitionType {
    /// FAT32 with block addresses: the type that every Pi's firmware accepts.
    pub const FAT32: Self = Self(0x0c);
    pub const LINUX: Self = Self(0x83);

    pub const fn is_linux(self) -> bool {
        self.0 == Self::LINUX.0
    }

    /// Returns whether it holds logical partitions.
    pub const fn is_extended(self) -> bool {
        matches!(self.0, 0x05 | 0x0f | 0x85)
    }

    /// Returns whether it stands for a table of another kind, with globally unique identifiers (GPT).
    pub const fn is_protective(self) -> bool {
        self.0 == 0xee
    }

    /// Returns whether firmware would look for boot files in a partition of this type.
    pub const fn is_fat(self) -> bool {
        matches!(self.0, 0x01 | 0x04 | 0x06 | 0x0b | 0x0c | 0x0e)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    pub kind: PartitionType,
    pub start: Sectors,
    pub length: Sectors,
}

impl Partition {
    /// Returns the first sector behind it.
    pub const fn end(&self) -> Sectors {
        Sectors(self.start.0 + self.length.0)
    }
}

/// Both partitions of an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    pub boot: Partition,
    pub root: Partition,
}

impl Layout {
    /// Places a boot and a root partition of at least the given lengths.
    ///
    /// # Errors
    /// [`Failure::usage`] if a length is zero or the disk would not fit into a master boot record.
    pub fn new(boot: Bytes, root: Bytes) -> Result<Self> {
        if boot.0 == 0 || root.0 == 0 {
            return Err(Failure::usage("a partition cannot be empty").into());
        }
        let too_long = || {
            Failure::usage(format!("an image with {boot} and {root} partitions does not fit into a master boot record"))
                .hint("the limit is 2 TiB; lower the extra space of the root file system")
        };
        let limit = Sectors(u64::from(u32::MAX)).to_bytes();
        if boot > limit || root > limit {
            return Err(too_long().into());
        }
        let place = |kind, start: Bytes, length: Bytes| Partition {
            kind,
            start: start.to_sectors(),
            length: length.round_up(ALIGNMENT).to_sectors(),
        };
        let boot = place(PartitionType::FAT32, BOOT_START, boot);
        let root = place(PartitionType::LINUX, boot.end().to_bytes(), root);
        if root.end().to_bytes() > limit {
            return Err(too_long().into());
        }
        Ok(Self { boot, root })
    }

    /// Returns the length of the image, which ends with its last partition.
    pub const fn total(&self) -> Bytes {
        self.root.end().to_bytes()
    }
}

/// Every number that names a disk or file system, derived from one seed so that equal builds get equal names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DiskIds {
    /// Never zero: the kernel makes no `PARTUUID` of a zero signature.
    pub disk_signature: u32,
    pub boot_volume_id: u32,
    pub root_uuid: String,
    /// Seed of the hashes of ext4 directories.
    pub root_hash_seed: String,
}

impl DiskIds {
    /// Derives the identity from `seed`, which should cover all inputs of the build.
    pub fn derive(seed: &[u8]) -> Self {
        Self {
            disk_signature: number(&digest("disk signature", seed)).max(1),
            boot_volume_id: number(&digest("boot volume", seed)),
            root_uuid: uuid(&digest("root uuid", seed)),
            root_hash_seed: uuid(&digest("root hash seed", seed)),
        }
    }

    /// Returns the `PARTUUID` of the boot partition.
    pub fn boot_partuuid(&self) -> String {
        partuuid(self.disk_signature, 1)
    }

    /// Returns the `PARTUUID` of the root partition.
    pub fn root_partuuid(&self) -> String {
        partuuid(self.disk_signature, 2)
    }
}

/// Returns the kernel's name of partition `number` (from 1) on a disk with this signature, such as `1234abcd-02`:
/// <https://docs.kernel.org/admin-guide/kernel-parameters.html>.
pub fn partuuid(disk_signature: u32, number: usize) -> String {
    format!("{disk_signature:08x}-{number:02x}")
}

fn digest(purpose: &str, seed: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update("piimg ").chain_update(purpose).chain_update([0]).chain_update(seed).finalize().into()
}

fn number(digest: &[u8; 32]) -> u32 {
    let [a, b, c, d, ..] = *digest;
    u32::from_be_bytes([a, b, c, d])
}

/// Returns a version 4 UUID in form, so that no tool takes its bits for a time or an address.
fn uuid(digest: &[u8; 32]) -> String {
    let mut bytes: [u8; 16] = std::array::from_fn(|i| digest[i]);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    bytes.iter().enumerate().fold(String::with_capacity(36), |mut text, (i, byte)| {
        if matches!(i, 4 | 6 | 8 | 10) {
            text.push('-');
        }
        text.push_str(&format!("{byte:02x}"));
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn partitions_follow_each_other_on_the_grid() {
        for (boot, root, boot_length, root_start, total) in
            [(512, 1000, 512, 520, 1520), (256, 1, 256, 264, 268), (257, 1001, 260, 268, 1272)]
        {
            let layout = Layout::new(Bytes::mib(boot), Bytes::mib(root)).unwrap();
            assert_eq!(layout.boot.start, Sectors(16384));
            assert_eq!(layout.boot.length.to_bytes(), Bytes::mib(boot_length));
            assert_eq!(layout.root.start.to_bytes(), Bytes::mib(root_start));
            assert_eq!(layout.total(), Bytes::mib(total));
        }
    }

    #[test]
    fn a_master_boot_record_has_an_end() {
        let rest = (2 << 20) - 520 - 4;
        assert!(Layout::new(BOOT_LENGTH, Bytes::mib(rest)).is_ok());
        for (boot, root) in [(512, rest + 4), (512, 4 << 20), (u64::MAX >> 20, 1), (1, u64::MAX >> 20)] {
            let error = Layout::new(Bytes::mib(boot), Bytes::mib(root)).unwrap_err();
            assert!(error.to_string().contains("does not fit into a master boot record"), "{error}");
        }
        assert_eq!(Layout::new(Bytes(0), Bytes(1)).unwrap_err().to_string(), "a partition cannot be empty");
    }

    #[test]
    fn names_depend_on_the_seed_alone() {
        let identity = DiskIds::derive(b"seed");
        assert_eq!(identity, DiskIds::derive(b"seed"));
        assert_ne!(identity, DiskIds::derive(b"seed2"));
        assert_ne!(identity.root_uuid, identity.root_hash_seed);
        assert_eq!(identity.root_uuid.len(), 36);
        assert_eq!(&identity.root_uuid[14..15], "4");
        assert_eq!(identity.root_partuuid(), format!("{:08x}-02", identity.disk_signature));
        assert_eq!(partuuid(0xab, 1), "000000ab-01");
    }

    #[test]
    fn lengths_are_printed_in_one_way() {
        for length in [12, 4096, 512 << 20, 1_610_612_736, 1_700_000_000, 1_073_741_823] {
            assert_eq!(Bytes(length).to_string(), bytes(length));
        }
    }
}
