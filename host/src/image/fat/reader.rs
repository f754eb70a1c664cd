//! Reads the FAT inside an untrusted image.
//!
//! It ends whatever the image holds: no cluster is followed twice, so a chain that leads back into itself, a directory in
//! itself and two files of one cluster are refused, and depth and number of entries have a limit.

use std::cell::OnceCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;

use serde::{Deserialize, Serialize};

use super::volume::{Taken, Top, Volume};
use crate::error::{Context as _, Failure, Result};
use crate::image::layout::{Bytes, Partition};
use crate::ui::printable;

/// Nothing that boots is this deep or wide.
const DEEPEST: usize = 16;
const MOST_ENTRIES: usize = 100_000;

/// Longest directory: 65,536 entries are the most that the format has.
const LONGEST_DIRECTORY: u64 = 65_536 * ENTRY as u64;

/// Bytes of a directory entry.
const ENTRY: usize = 32;

/// First byte of an entry: of the end, and of one that was removed.
const END: u8 = 0;
const REMOVED: u8 = 0xe5;

/// Attribute bits.
const VOLUME: u8 = 0x08;
const DIRECTORY: u8 = 0x10;
const LONG_NAME: u8 = 0x0f;

/// Bits that say that a short name is to be shown in small letters: its stem, its ending.
const SMALL: [u8; 2] = [0x08, 0x10];

/// Offsets of the 13 characters in a part of a long name.
const CHARACTERS: [usize; 13] = [1, 3, 5, 7, 9, 14, 16, 18, 20, 22, 24, 28, 30];

/// A file of a boot partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FatFile {
    /// Relative to the partition's top, with `/`.
    pub path: String,
    pub size: u64,
}

/// Label, id and space of a FAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FatSummary {
    pub label: String,
    pub volume_id: u32,
    pub free: Bytes,
}

/// A file, and where it begins.
#[derive(Debug)]
struct Found {
    file: FatFile,
    /// 0 if it is empty.
    first: u32,
}

/// Index of the directories, read once.
#[derive(Debug, Default)]
struct Index {
    /// Sorted by path.
    files: Vec<Found>,
    /// Position among the files, by lower-case path.
    by_name: BTreeMap<String, usize>,
    label: Option<String>,
}

/// A boot partition opened for reading.
#[derive(Debug)]
pub struct FatReader {
    pub(super) volume: Volume,
    index: OnceCell<Index>,
}

impl FatReader {
    /// Opens the FAT in `partition` of `image`, which is never written to.
    ///
    /// # Errors
    /// If there is no FAT.
    pub fn open(image: &File, partition: &Partition) -> Result<Self> {
        let volume = Volume::open(image, partition.start.to_bytes(), partition.length.to_bytes())?;
        Ok(Self { volume, index: OnceCell::new() })
    }

    /// # Errors
    /// If the file system is broken.
    pub fn summary(&self) -> Result<FatSummary> {
        let geometry = &self.volume.geometry;
        Ok(FatSummary {
            label: self.index()?.label.clone().unwrap_or_else(|| geometry.label.clone()),
            volume_id: geometry.volume_id,
            free: Bytes(self.volume.free()? * geometry.cluster),
        })
    }

    /// Returns all files, sorted by path.
    ///
    /// # Errors
    /// If the file system is broken.
    pub fn list(&self) -> Result<Vec<FatFile>> {
        Ok(self.index()?.files.iter().map(|found| found.file.clone()).collect())
    }

    /// Returns the content of the file `path`; case is ignored, as FAT does.
    ///
    /// # Errors
    /// If the file does not exist or is longer than `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let mut data = Vec::new();
        self.copy_to(path, limit, &mut data)?;
        Ok(data)
    }

    /// Copies the file `path` to `out`; returns its length.
    ///
    /// # Errors
    /// If the file does not exist, is longer than `limit` bytes, or `out` cannot be written.
    pub fn copy_to(&self, path: &str, limit: u64, out: &mut impl Write) -> Result<u64> {
        let shown = printable(path);
        let index = self.index()?;
        let found = index.by_name.get(&path.to_lowercase()).and_then(|at| index.files.get(*at));
        let found = found
            .with_context(|| Failure::build(format!("cannot open `{shown}` on the boot partition: it is not there")))?;
        let size = found.file.size;
        if size > limit {
            let text = format!("`{shown}` on the boot partition is longer than {}", Bytes(limit));
            return Err(Failure::build(text).into());
        }
        let mut buffer = vec![0; usize::try_from(self.volume.geometry.cluster).expect("a cluster is short")];
        let (mut left, mut next) = (size, found.first);
        while left > 0 {
            let cut_off = || Failure::build(format!("`{shown}` on the boot partition is cut off"));
            let place = self.volume.place(next).with_context(cut_off)?;
            let length = usize::try_from(left).map_or(buffer.len(), |left| left.min(buffer.len()));
            self.volume.read(place, &mut buffer[..length])?;
            out.write_all(&buffer[..length])
                .with_context(|| format!("cannot copy `{shown}` from the boot partition"))?;
            left -= u64::try_from(length).expect("a short length");
            if left > 0 {
                next = self.volume.next(next)?.with_context(cut_off)?;
            }
        }
        Ok(size)
    }

    fn index(&self) -> Result<&Index> {
        if let Some(index) = self.index.get() {
            return Ok(index);
        }
        let index = Walk::new(&self.volume).run()?;
        Ok(self.index.get_or_init(|| index))
    }
}

/// A walk through all directories.
struct Walk<'a> {
    volume: &'a Volume,
    taken: Taken,
    index: Index,
    entries: usize,
}

impl<'a> Walk<'a> {
    fn new(volume: &'a Volume) -> Self {
        Self { volume, taken: Taken::new(&volume.geometry), index: Index::default(), entries: 0 }
    }

    fn run(mut self) -> Result<Index> {
        let content = match self.volume.geometry.top {
            Top::Cluster(first) => self.directory(first, "/")?,
            Top::Fixed { at, length } => {
                let mut content = vec![0; usize::try_from(length).expect("65,535 entries are short")];
                self.volume.read(at, &mut content)?;
                content
            }
        };
        self.enter(&content, "", 0)?;
        self.index.files.sort_by(|a, b| a.file.path.cmp(&b.file.path));
        // Of two files of one name the first counts, as for firmware.
        for (at, found) in self.index.files.iter().enumerate().rev() {
            self.index.by_name.insert(found.file.path.to_lowercase(), at);
        }
        Ok(self.index)
    }

    /// Returns the content of the directory that begins at this cluster.
    fn directory(&mut self, first: u32, path: &str) -> Result<Vec<u8>> {
        let cluster = self.volume.geometry.cluster;
        let (mut content, mut next) = (Vec::new(), Some(first));
        while let Some(current) = next {
            let place = self.take(current, path)?;
            let start = content.len();
            content.resize(start + usize::try_from(cluster).expect("a cluster is short"), 0);
            if u64::try_from(content.len()).expect("a length fits") > LONGEST_DIRECTORY {
                return Err(Failure::build(format!("`{path}` on the boot partition has too many entries")).into());
            }
            self.volume.read(place, &mut content[start..])?;
            next = self.volume.next(current)?;
        }
        Ok(content)
    }

    /// Follows the clusters of a file, which must be enough for its size.
    fn file(&mut self, first: u32, size: u64, path: &str) -> Result<()> {
        let mut needed = size.div_ceil(self.volume.geometry.cluster);
        let mut next = (first != 0).then_some(first);
        while let Some(current) = next {
            self.take(current, path)?;
            needed = needed.saturating_sub(1);
            next = self.volume.next(current)?;
        }
        if needed > 0 {
            return Err(Failure::build(format!("`{path}` on the boot partition is cut off")).into());
        }
        Ok(())
    }

    /// Returns the place of a cluster that belongs to nothing else.
    fn take(&mut self, cluster: u32, path: &str) -> Result<u64> {
        let is_new = self.taken.take(self.volume, cluster);
        self.volume.place(cluster).filter(|_| is_new).with_context(|| {
            Failure::build(format!(
                "`{path}` on the boot partition has clusters that lead back into it, are another file's or are none"
            ))
        })
    }

    fn enter(&mut self, content: &[u8], prefix: &str, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Failure::build(format!("`{prefix}` on the boot partition is nested too deeply")).into());
        }
        let mut long = LongName::default();
        for entry in content.chunks_exact(ENTRY) {
            let entry: &[u8; ENTRY] = entry.try_into().expect("a chunk is as long as it is");
            let attributes = entry[11];
            match (entry[0], attributes) {
                (END, _) => break,
                (REMOVED, _) => long = LongName::default(),
                (_, LONG_NAME) => long.add(entry),
                (b'.', _) if attributes & DIRECTORY != 0 => long = LongName::default(),
                (_, _) if attributes & VOLUME != 0 => {
                    if depth == 0 && self.index.label.is_none() {
                        self.index.label = Some(text(&entry[..11]).trim_end().to_owned());
                    }
                    long = LongName::default();
                }
                _ => self.add(entry, &std::mem::take(&mut long), prefix, depth)?,
            }
        }
        Ok(())
    }

    fn add(&mut self, entry: &[u8; ENTRY], long: &LongName, prefix: &str, depth: usize) -> Result<()> {
        self.entries += 1;
        if self.entries > MOST_ENTRIES {
            return Err(Failure::build(format!("the boot partition holds more than {MOST_ENTRIES} files")).into());
        }
        let name = long.of(entry).unwrap_or_else(|| short_name(entry));
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\0']) {
            let text = format!("the boot partition has a file `{}` in `/{prefix}`, which is no name", printable(&name));
            return Err(Failure::build(text).into());
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        let half = |at: usize| u32::from(u16::from_le_bytes([entry[at], entry[at + 1]]));
        let first = half(26) | if matches!(self.volume.geometry.top, Top::Cluster(_)) { half(20) << 16 } else { 0 };
        if entry[11] & DIRECTORY != 0 {
            let content = self.directory(first, &printable(&path))?;
            return self.enter(&content, &path, depth + 1);
        }
        let size = u64::from(u32::from_le_bytes([entry[28], entry[29], entry[30], entry[31]]));
        self.file(first, size, &printable(&path))?;
        self.index.files.push(Found { file: FatFile { path, size }, first });
        Ok(())
    }
}

/// Parts of a long name, which stand before the entry that they name, the last part first.
#[derive(Debug, Default)]
struct LongName {
    /// Parts by their numbers, from 1.
    parts: Vec<[u16; 13]>,
    /// The number that must come next; 0 when all are there.
    next: u8,
    checksum: u8,
}

impl LongName {
    fn add(&mut self, entry: &[u8; ENTRY]) {
        const LAST: u8 = 0x40;
        let number = entry[0] & 0x3f;
        if entry[0] & LAST != 0 && (1..=20).contains(&number) {
            *self = Self { parts: Vec::new(), next: number, checksum: entry[13] };
        } else if number != self.next || number == 0 || entry[13] != self.checksum {
            *self = Self::default();
            return;
        }
        self.parts.push(CHARACTERS.map(|at| u16::from_le_bytes([entry[at], entry[at + 1]])));
        self.next = number - 1;
    }

    /// Returns the name, if all of it is there and it is that of `entry`.
    fn of(&self, entry: &[u8; ENTRY]) -> Option<String> {
        let checksum = entry[..11].iter().fold(0_u8, |sum, byte| sum.rotate_right(1).wrapping_add(*byte));
        if self.parts.is_empty() || self.next != 0 || checksum != self.checksum {
            return None;
        }
        let characters = self.parts.iter().rev().flatten().copied();
        let name: Vec<u16> = characters.take_while(|character| *character != 0).collect();
        Some(String::from_utf16_lossy(&name))
    }
}

fn short_name(entry: &[u8; ENTRY]) -> String {
    let mut raw = entry[..11].to_vec();
    if raw[0] == 0x05 {
        // Stands for a first byte that would mean "removed".
        raw[0] = REMOVED;
    }
    let part = |bytes: &[u8], small: u8| {
        let name = text(bytes).trim_end().to_owned();
        if entry[12] & small == 0 { name } else { name.to_lowercase() }
    };
    let (stem, ending) = (part(&raw[..8], SMALL[0]), part(&raw[8..], SMALL[1]));
    if ending.is_empty() { stem } else { format!("{stem}.{ending}") }
}

/// Decodes a short name. Its code page is unknown; all of them agree on ASCII.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| if byte.is_ascii() { char::from(*byte) } else { char::REPLACEMENT_CHARACTER }).collect()
}
