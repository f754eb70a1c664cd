//! Boot partitions: whatever one holds, reading it ends, and what is read of it is no more than it can hold.

use piimg::image::fat::FatReader;
use piimg::image::layout::{Bytes, Partition, PartitionType, Sectors};

use super::naive::assert_printable;
use super::patched::{file, patched};

/// Sectors: the boot sector, a table, a hundred clusters.
const LENGTH: u8 = 102;
const SECTOR: usize = 512;

/// Makes a FAT32 with a directory, a file in it, and a file of a long name and of two clusters beside it.
fn whole() -> Vec<u8> {
    let mut bytes = vec![0; usize::from(LENGTH) * SECTOR];
    bytes[11..17].copy_from_slice(&[0, 2, 1, 1, 0, 1]);
    bytes[32..40].copy_from_slice(&[LENGTH, 0, 0, 0, 1, 0, 0, 0]);
    bytes[44] = 2;
    bytes[66..71].copy_from_slice(&[0x29, 1, 2, 3, 4]);
    bytes[510..512].copy_from_slice(&[0x55, 0xaa]);
    for (cluster, next) in [(2_usize, u32::MAX), (3, u32::MAX), (4, 5), (5, u32::MAX), (6, u32::MAX)] {
        bytes[SECTOR + cluster * 4..][..4].copy_from_slice(&next.to_le_bytes());
    }
    let entry = |name: &[u8; 11], kind: u8, first: u8, size: u16| {
        let mut entry = [0; 32];
        entry[..11].copy_from_slice(name);
        (entry[11], entry[26]) = (kind, first);
        entry[28..30].copy_from_slice(&size.to_le_bytes());
        entry
    };
    let mut long = entry(b"\x41k\0e\0r\0n\0e\0", 0x0f, 0, 0);
    let short = entry(b"KERNEL  IMG", 0x20, 4, 700);
    long[13] = short[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
    long[14..16].copy_from_slice(&[b'l', 0]);
    let top = [long, short, entry(b"D          ", 0x10, 3, 0)].concat();
    bytes[2 * SECTOR..][..top.len()].copy_from_slice(&top);
    bytes[3 * SECTOR..][..32].copy_from_slice(&entry(b"CONFIG  TXT", 0x20, 6, 100));
    bytes
}

pub(super) fn check(data: &[u8]) -> bool {
    let image = file(&patched(&whole(), data));
    let length = u64::from(LENGTH) * 512;
    let partition = Partition { kind: PartitionType::FAT32, start: Sectors(0), length: Bytes(length).to_sectors() };
    let read = || -> anyhow::Result<(FatReader, u64)> {
        let reader = FatReader::open(&image, &partition)?;
        let free = reader.summary()?.free.0;
        Ok((reader, free))
    };
    let (reader, free) = match read() {
        Ok(read) => read,
        Err(error) => {
            assert_printable(&format!("{error:#}"));
            return false;
        }
    };
    assert!(free <= length);
    let files = reader.list().expect("it was listed for its summary");
    assert!(files.is_sorted_by(|a, b| a.path <= b.path));
    // No byte belongs to two files.
    assert!(files.iter().map(|file| file.size).sum::<u64>() <= length, "{files:?}");
    for file in &files {
        assert!(file.path.split('/').all(|name| !matches!(name, "" | "." | "..")), "{file:?}");
        let content = reader.read(&file.path, length).expect("all that is listed can be read");
        let same = files.iter().filter(|other| other.path.to_lowercase() == file.path.to_lowercase()).count();
        assert!(content.len() as u64 == file.size || same > 1, "{file:?}");
    }
    true
}
