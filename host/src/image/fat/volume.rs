//! Reads the boot sector and the table of an untrusted FAT file system: where clusters lie and which follows which.
//!
//! Whatever the bytes say, each step ends: numbers are checked against the partition before they are used, and a
//! [`Taken`] follows each cluster once. The names of fields are those of Microsoft's "FAT: General Overview of On-Disk
//! Format".

use std::cell::RefCell;
use std::fs::File;
use std::os::unix::fs::FileExt as _;

use crate::error::{Context as _, Failure, Result, with_cause};
use crate::image::layout::Bytes;

/// Bytes of the table that are read at once.
const WINDOW: u64 = 64 << 10;

/// Longest cluster that Linux and Windows know.
const LONGEST_CLUSTER: u64 = 256 << 10;

/// Most clusters: an entry of FAT32 has 28 bits, and the last of these numbers mean something else.
const MOST_CLUSTERS: u64 = 0x0fff_fff5;

/// Bits of an entry of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Fat12,
    Fat16,
    Fat32,
}

/// Place of the top directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Top {
    /// FAT32: in clusters, like any other directory.
    Cluster(u32),
    /// FAT12 and FAT16: at a fixed place, in bytes from the partition's start.
    Fixed { at: u64, length: u64 },
}

/// Layout of the file system, by its boot sector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Geometry {
    kind: Kind,
    /// Start of the first table, in bytes from the partition's start.
    table: u64,
    table_length: u64,
    /// Start of the first cluster.
    data: u64,
    /// Bytes of a cluster.
    pub(super) cluster: u64,
    /// Number of clusters; they are numbered from 2.
    pub(super) count: u32,
    pub(super) top: Top,
    pub(super) volume_id: u32,
    pub(super) label: String,
}

impl Geometry {
    /// Reads a boot sector; `length` is that of the partition.
    pub(super) fn parse(sector: &[u8; 512], length: u64) -> Option<Self> {
        let short = |at: usize| u64::from(u16::from_le_bytes([sector[at], sector[at + 1]]));
        let long = |at: usize| u32::from_le_bytes([sector[at], sector[at + 1], sector[at + 2], sector[at + 3]]);
        let (bytes, tables) = (short(11), u64::from(sector[16]));
        let cluster = bytes * u64::from(sector[13]);
        if sector[510..] != [0x55, 0xaa]
            || !matches!(bytes, 512 | 1024 | 2048 | 4096)
            || !sector[13].is_power_of_two()
            || cluster > LONGEST_CLUSTER
            || !matches!(tables, 1 | 2)
        {
            return None;
        }
        // A length of 0 in the older field says that the newer one counts.
        let newer = |older: u64, newer: u64| if older == 0 { newer } else { older };
        let (is_fat32, entries) = (short(22) == 0, short(17));
        let table_length = newer(short(22), long(36).into()).checked_mul(bytes)?;
        let total = newer(short(19), long(32).into()).checked_mul(bytes)?;
        let table = short(14).checked_mul(bytes)?;
        let top = table.checked_add(table_length.checked_mul(tables)?)?;
        let top_length = (entries * 32).next_multiple_of(bytes);
        let data = top.checked_add(top_length)?;
        let count = total.checked_sub(data)? / cluster;
        let kind = match count {
            _ if is_fat32 => Kind::Fat32,
            0..4085 => Kind::Fat12,
            _ => Kind::Fat16,
        };
        let bits = match kind {
            Kind::Fat12 => 12,
            Kind::Fat16 => 16,
            Kind::Fat32 => 32,
        };
        // The first two entries belong to no cluster.
        let described = (table_length.checked_mul(8)? / bits).checked_sub(2)?;
        if table == 0 || total > length || count == 0 || count > described.min(MOST_CLUSTERS) {
            return None;
        }
        // From here the extended boot record, which FAT32 has further on.
        let extended = if is_fat32 { 64 } else { 36 };
        let label = if sector[extended + 2] == 0x29 { &sector[extended + 7..extended + 18] } else { &[] };
        Some(Self {
            kind,
            table,
            table_length,
            data,
            cluster,
            count: u32::try_from(count).ok()?,
            top: if is_fat32 { Top::Cluster(long(44)) } else { Top::Fixed { at: top, length: top_length } },
            volume_id: long(extended + 3),
            label: String::from_utf8_lossy(label).trim_end().to_owned(),
        })
    }
}

/// Meaning of a table entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    Free,
    Next(u32),
    /// The last one of a chain.
    End,
    /// Bad, or a number that means nothing.
    Broken,
}

/// A part of the table, as it was read last.
#[derive(Debug, Default)]
struct Window {
    at: u64,
    bytes: Vec<u8>,
}

/// A file system that can be read.
#[derive(Debug)]
pub(super) struct Volume {
    image: File,
    /// Start of the partition in the image.
    start: u64,
    pub(super) geometry: Geometry,
    window: RefCell<Window>,
}

impl Volume {
    /// # Errors
    /// If there is no FAT in this part of the image.
    pub(super) fn open(image: &File, start: Bytes, length: Bytes) -> Result<Self> {
        let image = image.try_clone().context("cannot open the image again")?;
        let mut sector = [0; 512];
        image.read_exact_at(&mut sector, start.0).context("cannot read the boot partition")?;
        let geometry = Geometry::parse(&sector, length.0)
            .context(Failure::build("the boot partition holds no FAT file system"))?;
        Ok(Self { image, start: start.0, geometry, window: RefCell::default() })
    }

    /// Fills `buffer` with what is at that byte of the partition.
    pub(super) fn read(&self, at: u64, buffer: &mut [u8]) -> Result<()> {
        // Within the partition, whose end is far below where this could wrap.
        self.image.read_exact_at(buffer, self.start.saturating_add(at)).map_err(|error| match error.kind() {
            std::io::ErrorKind::UnexpectedEof => Failure::build("the boot partition is cut off").into(),
            _ => with_cause(error.into(), "cannot read the boot partition"),
        })
    }

    /// Returns the place of a cluster, in bytes from the partition's start; `None` if there is no such cluster.
    pub(super) fn place(&self, cluster: u32) -> Option<u64> {
        let index = cluster.checked_sub(2).filter(|index| *index < self.geometry.count)?;
        Some(self.geometry.data + u64::from(index) * self.geometry.cluster)
    }

    /// Clusters that belong to no file.
    pub(super) fn free(&self) -> Result<u64> {
        let mut free = 0;
        for cluster in 2..self.geometry.count + 2 {
            free += u64::from(self.entry(cluster)? == Entry::Free);
        }
        Ok(free)
    }

    /// Returns the cluster behind this one, none behind the last.
    pub(super) fn next(&self, cluster: u32) -> Result<Option<u32>> {
        match self.entry(cluster)? {
            Entry::Next(next) => Ok(Some(next)),
            Entry::End => Ok(None),
            Entry::Free | Entry::Broken => {
                Err(Failure::build("a chain of clusters of the boot partition leads to one that is no file's").into())
            }
        }
    }

    /// Returns the entry of a cluster that [`Volume::place`] knows.
    fn entry(&self, cluster: u32) -> Result<Entry> {
        let number = u64::from(cluster);
        let (at, mask, is_odd) = match self.geometry.kind {
            Kind::Fat12 => (number + number / 2, 0xfff, number % 2 == 1),
            Kind::Fat16 => (number * 2, 0xffff, false),
            Kind::Fat32 => (number * 4, 0x0fff_ffff, false),
        };
        let four = self.table(at)?;
        let value = (u32::from_le_bytes(four) >> if is_odd { 4 } else { 0 }) & mask;
        Ok(match value {
            0 => Entry::Free,
            value if value >= mask - 7 => Entry::End,
            value if self.place(value).is_some() => Entry::Next(value),
            _ => Entry::Broken,
        })
    }

    /// Reads four bytes of the table. Bytes behind its end have no meaning for the caller.
    fn table(&self, at: u64) -> Result<[u8; 4]> {
        let mut window = self.window.borrow_mut();
        let inside = |window: &Window| {
            let offset = usize::try_from(at.checked_sub(window.at)?).ok()?;
            window.bytes.get(offset..)?.first_chunk::<4>().copied()
        };
        if let Some(four) = inside(&window) {
            return Ok(four);
        }
        let start = at - at % WINDOW;
        // An entry may lie across the end of a window, and the last one of the table is read with what is not there.
        let mut bytes = vec![0; usize::try_from(WINDOW).expect("short") + 4];
        let there = usize::try_from(self.geometry.table_length.saturating_sub(start))
            .map_or(bytes.len(), |rest| rest.min(bytes.len()));
        self.read(self.geometry.table + start, &mut bytes[..there])?;
        *window = Window { at: start, bytes };
        inside(&window).context(Failure::bug("a window of the table is too short"))
    }
}

/// Clusters that were followed: each may be a part of one file, once.
#[derive(Debug)]
pub(super) struct Taken {
    bits: Vec<u64>,
}

impl Taken {
    pub(super) fn new(geometry: &Geometry) -> Self {
        let words = (u64::from(geometry.count) + 2).div_ceil(64);
        Self { bits: vec![0; usize::try_from(words).expect("28 bits")] }
    }

    /// Takes a cluster; returns `false` if it was taken before, or does not exist.
    pub(super) fn take(&mut self, volume: &Volume, cluster: u32) -> bool {
        let (word, bit) = (usize::try_from(cluster / 64).expect("32 bits fit"), 1 << (cluster % 64));
        let is_new = volume.place(cluster).is_some() && self.bits[word] & bit == 0;
        if is_new {
            self.bits[word] |= bit;
        }
        is_new
    }
}
