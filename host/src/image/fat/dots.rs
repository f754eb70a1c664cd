//! Corrects what `fatfs` 0.3 gets wrong in new directories, so that checkers and firmware see a clean file system.
//!
//! It gives `.` and `..` long names, which may not be, and lets `..` name the cluster of the root directory where the
//! format wants 0.

use std::io::{self, Read, Seek, SeekFrom, Write};

/// Bytes of a directory entry.
const ENTRY: usize = 32;

/// Attribute bits of a long name's part, and of a directory.
const LONG_NAME: u8 = 0x0f;
const DIRECTORY: u8 = 0x10;

/// First byte of an unused entry.
const UNUSED: u8 = 0xe5;

/// Layout of the file system, by its boot sector.
#[derive(Clone, Copy, Debug)]
struct Geometry {
    table: u64,
    data: u64,
    cluster: u64,
    root: u32,
}

impl Geometry {
    fn read(disk: &mut (impl Read + Seek)) -> io::Result<Self> {
        let mut sector = [0; 512];
        read_at(disk, 0, &mut sector)?;
        let short = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let long = |at: usize| u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]);
        let bytes = short(0x0b);
        let table = short(0x0e) * bytes;
        Ok(Self {
            table,
            data: table + u64::from(sector[0x10]) * u64::from(long(0x24)) * bytes,
            cluster: u64::from(sector[0x0d]) * bytes,
            root: long(0x2c),
        })
    }

    fn offset(&self, cluster: u32) -> u64 {
        self.data + u64::from(cluster.saturating_sub(2)) * self.cluster
    }

    fn next(&self, disk: &mut (impl Read + Seek), cluster: u32) -> io::Result<Option<u32>> {
        let mut entry = [0; 4];
        read_at(disk, self.table + u64::from(cluster) * 4, &mut entry)?;
        let next = u32::from_le_bytes(entry) & 0x0fff_ffff;
        Ok((2..0x0fff_fff7).contains(&next).then_some(next))
    }
}

/// Corrects every directory of the FAT32 on `disk`, which `fatfs` has just written.
pub(super) fn correct(disk: &mut (impl Read + Write + Seek)) -> io::Result<()> {
    let geometry = Geometry::read(disk)?;
    let mut waiting = vec![geometry.root];
    while let Some(directory) = waiting.pop() {
        for child in children(disk, &geometry, directory)? {
            // Parents are read before their children are corrected, so each is visited once.
            correct_directory(disk, &geometry, child, if directory == geometry.root { 0 } else { directory })?;
            waiting.push(child);
        }
    }
    Ok(())
}

/// Returns the first clusters of the directories in `directory`.
fn children(disk: &mut (impl Read + Seek), geometry: &Geometry, directory: u32) -> io::Result<Vec<u32>> {
    let mut found = Vec::new();
    let mut cluster = Some(directory);
    let mut bytes = vec![0; usize::try_from(geometry.cluster).unwrap_or_default()];
    while let Some(number) = cluster {
        read_at(disk, geometry.offset(number), &mut bytes)?;
        for entry in bytes.chunks_exact(ENTRY) {
            if !matches!(entry[0], 0 | UNUSED | b'.') && entry[11] != LONG_NAME && entry[11] & DIRECTORY != 0 {
                found.push(u32::from_le_bytes([entry[26], entry[27], entry[20], entry[21]]));
            }
        }
        cluster = geometry.next(disk, number)?;
    }
    Ok(found)
}

/// Puts `.` and `..` first and marks the entries that their long names took as unused.
fn correct_directory(
    disk: &mut (impl Read + Write + Seek),
    geometry: &Geometry,
    directory: u32,
    parent: u32,
) -> io::Result<()> {
    let mut entries = [0; 4 * ENTRY];
    read_at(disk, geometry.offset(directory), &mut entries)?;
    let is = |at: usize, name: &[u8; 11]| {
        &entries[at * ENTRY..at * ENTRY + 11] == name && entries[at * ENTRY + 11] & DIRECTORY != 0
    };
    let mut corrected = entries;
    let second = if is(1, b".          ") && is(3, b"..         ") {
        corrected.copy_within(ENTRY..2 * ENTRY, 0);
        corrected.copy_within(3 * ENTRY..4 * ENTRY, ENTRY);
        corrected[2 * ENTRY..].fill(0);
        corrected[2 * ENTRY] = UNUSED;
        corrected[3 * ENTRY] = UNUSED;
        ENTRY
    } else if is(0, b".          ") && is(1, b"..         ") {
        ENTRY
    } else {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "a directory does not start with `.` and `..`"));
    };
    let [a, b, c, d] = parent.to_le_bytes();
    corrected[second + 26..second + 28].copy_from_slice(&[a, b]);
    corrected[second + 20..second + 22].copy_from_slice(&[c, d]);
    disk.seek(SeekFrom::Start(geometry.offset(directory)))?;
    disk.write_all(&corrected)
}

fn read_at(disk: &mut (impl Read + Seek), at: u64, buffer: &mut [u8]) -> io::Result<()> {
    disk.seek(SeekFrom::Start(at))?;
    disk.read_exact(buffer)
}
