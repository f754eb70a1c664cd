//! Finds the clusters of a FAT32 file system that are in use.

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;

use crate::error::{Context as _, Failure, Result};
use crate::image::layout::Bytes;

/// Longest table: 2^28 clusters of four bytes are the most that FAT32 has.
const LONGEST_TABLE: u64 = 1 << 30;

/// Layout of a file system, in bytes from its start.
#[derive(Debug, PartialEq, Eq)]
struct Geometry {
    /// The first table.
    table: Range<u64>,
    /// The first cluster.
    data: u64,
    cluster: u64,
}

/// Returns the boot sector, both tables, and all clusters in use of the FAT32 at `start` of `image`, as bytes from
/// there.
///
/// # Errors
/// If there is no FAT32.
pub(in crate::image) fn occupied(image: &File, start: Bytes) -> Result<Vec<Range<u64>>> {
    let failed = || "cannot read the allocation table of the boot partition";
    let mut sector = [0; 512];
    image.read_exact_at(&mut sector, start.0).with_context(failed)?;
    let geometry = Geometry::parse(&sector).context(Failure::build("the boot partition holds no FAT32 file system"))?;
    let length = usize::try_from(geometry.table.end - geometry.table.start).with_context(failed)?;
    let mut table = vec![0; length];
    image.read_exact_at(&mut table, start.0 + geometry.table.start).with_context(failed)?;
    Ok(geometry.occupied(&table))
}

impl Geometry {
    /// Reads a boot sector, by the names of Microsoft's specification.
    fn parse(sector: &[u8; 512]) -> Option<Self> {
        let u16_at = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let (sector_length, reserved, tables) = (u16_at(11), u16_at(14), u64::from(sector[16]));
        let cluster = sector_length * u64::from(sector[13]);
        // Older kinds have a length of their tables here, and FAT32 has it further on.
        if u16_at(22) != 0 || cluster == 0 || sector[510..] != [0x55, 0xaa] {
            return None;
        }
        let table_length = (u16_at(36) | u16_at(38) << 16) * sector_length;
        let table = reserved * sector_length..reserved * sector_length + table_length;
        let data = table.start + tables * table_length;
        (1..=LONGEST_TABLE).contains(&table_length).then_some(Self { table, data, cluster })
    }

    fn occupied(&self, table: &[u8]) -> Vec<Range<u64>> {
        let mut ranges: Vec<Range<u64>> = std::iter::once(0..self.data).collect();
        // The first two entries belong to no cluster, and the upper four bits of each to nobody.
        let entries =
            table.chunks_exact(4).map(|entry| u32::from_le_bytes([entry[0], entry[1], entry[2], entry[3] & 15]));
        for (entry, number) in entries.skip(2).zip(0..) {
            let start = self.data + number * self.cluster;
            match ranges.last_mut() {
                _ if entry == 0 => {}
                Some(last) if last.end == start => last.end += self.cluster,
                _ => ranges.push(start..start + self.cluster),
            }
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sector(change: impl FnOnce(&mut [u8; 512])) -> [u8; 512] {
        let mut sector = [0; 512];
        sector[11..17].copy_from_slice(&[0, 2, 8, 32, 0, 2]);
        sector[36] = 100;
        sector[510..].copy_from_slice(&[0x55, 0xaa]);
        change(&mut sector);
        sector
    }

    #[test]
    fn only_a_fat32_is_understood() {
        let geometry = Geometry { table: 16_384..67_584, data: 118_784, cluster: 4096 };
        assert_eq!(Geometry::parse(&sector(|_| {})), Some(geometry));
        assert_eq!(Geometry::parse(&sector(|sector| sector[22] = 1)), None);
        assert_eq!(Geometry::parse(&sector(|sector| sector[13] = 0)), None);
        assert_eq!(Geometry::parse(&sector(|sector| sector[36] = 0)), None);
        assert_eq!(Geometry::parse(&sector(|sector| sector[510] = 0)), None);
    }

    #[test]
    fn free_clusters_are_left_out() {
        let geometry = Geometry { table: 0..32, data: 64, cluster: 10 };
        let table: Vec<u8> = [0x0fff_fff8_u32, 0x0fff_ffff, 3, 0x0fff_ffff, 0, 0xf000_0000, 7, 0]
            .iter()
            .flat_map(|e| e.to_le_bytes())
            .collect();
        assert_eq!(geometry.occupied(&table), [0..84, 104..114]);
        let table: Vec<u8> = [0_u32, 0, 0, 1].iter().flat_map(|entry| entry.to_le_bytes()).collect();
        assert_eq!(geometry.occupied(&table), [0..64, 74..84]);
    }
}
