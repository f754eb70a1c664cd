//! Partition tables and superblocks: numbers of anybody's choice, which no sum may overflow.

use piimg::image::ext4::Superblock;
use piimg::image::layout::Bytes;
use piimg::image::mbr;

use super::patched::{file, patched};

/// Makes a table of a boot and a root partition, and a superblock where the root partition starts.
fn whole() -> Vec<u8> {
    let mut bytes = vec![0; 4096];
    for (at, kind, start, length) in [(446, 0x0c, 1_u32, 2_u32), (462, 0x83, 3, 1000)] {
        bytes[at + 4] = kind;
        bytes[at + 8..at + 12].copy_from_slice(&start.to_le_bytes());
        bytes[at + 12..at + 16].copy_from_slice(&length.to_le_bytes());
    }
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    let superblock = &mut bytes[3 * 512 + 1024..];
    superblock[4] = 100;
    superblock[0x38..0x3a].copy_from_slice(&[0x53, 0xef]);
    bytes
}

pub(super) fn check(data: &[u8]) -> bool {
    let image = file(&patched(&whole(), data));
    let Ok(table) = mbr::read(&image) else { return false };
    assert!(table.partitions.len() <= 4);
    for (number, partition) in &table.partitions {
        assert!((1..=4).contains(number));
        // Neither wraps: the numbers of a table have 32 bits.
        assert!(partition.start.to_bytes() <= partition.end().to_bytes());
    }
    let Some((_, root)) = table.root() else { return false };
    let Ok(superblock) = Superblock::read(&image, root.start.to_bytes()) else { return false };
    assert!(superblock.size >= Bytes(0) && superblock.uuid.len() == 36);
    true
}
