//! Makes the boot partition: writes a FAT32 file system from a directory of the rootfs, and reads it back.
//!
//! Equal trees give equal bytes: names are sorted and every time is the build's.

mod disk;
mod dots;
mod occupied;
mod reader;
#[cfg(test)]
mod tests;
mod volume;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, Write as _};

use fatfs::{Date, DateTime, Dir, FatType, FileSystem, FormatVolumeOptions, FsOptions, Time};

use disk::Disk;

use super::layout::{Bytes, SECTOR};
use super::name::Utc;
use crate::error::{Context as _, Failure, Result};
use crate::rootfs::files::{FileKind, ImagePath, Rootfs};

pub(in crate::image) use occupied::occupied;
pub use reader::{FatFile, FatReader, FatSummary};

/// FAT32 needs more than 65,525 clusters; with clusters of one sector and both tables that is this much.
const SHORTEST: Bytes = Bytes::mib(36);

/// Length from which on clusters have 4 KiB, as `mkfs.fat` would choose.
const LONG_CLUSTERS: Bytes = Bytes::mib(260);

/// Longest file that FAT32 can hold.
const LONGEST_FILE: u64 = u32::MAX as u64;

/// Label and date of a boot partition.
#[derive(Clone, Debug)]
pub struct FatOptions {
    pub volume_id: u32,
    /// Label of at most 11 characters of `A-Z a-z 0-9 _ -`.
    pub label: String,
    /// The time of every file, seconds since 1970.
    pub epoch: u64,
}

/// Writes the directory `dir` of `source` as a FAT32 file system of length `size` to the start of `out`.
///
/// Returns the bytes left free.
///
/// # Errors
/// [`Failure::build`] naming the path if a file is neither file nor directory, if two names differ only in
/// case, if FAT cannot store a name, or if the files do not fit.
pub fn write_fat(source: &Rootfs, dir: &ImagePath, out: &File, size: Bytes, options: &FatOptions) -> Result<Bytes> {
    let entries = plan(source, dir)?;
    out.set_len(0).and_then(|()| out.set_len(size.0)).context("cannot make the boot partition's file")?;
    let mut disk = Disk::open(out, tables(size)).context("cannot read the boot partition's file")?;
    format(&mut disk, size, options)?;
    let clock: &'static Clock = Box::leak(Box::new(Clock::new(options.epoch)?));
    disk.rewind().context("cannot read the new boot partition")?;
    let fs = FileSystem::new(&mut disk, FsOptions::new().time_provider(clock))
        .context("cannot open the new boot partition")?;
    let stats = fs.stats().context("cannot read the new boot partition")?;
    let cluster = u64::from(stats.cluster_size());
    let room = u64::from(stats.free_clusters()) * cluster;
    let needed = needed(&entries, cluster);
    if needed > room {
        return Err(Failure::build(format!(
            "the boot partition is too small: `{dir}` needs {}, it has room for {}",
            Bytes(needed),
            Bytes(room)
        ))
        .hint("make the boot partition larger in the recipe")
        .into());
    }
    copy(source, dir, &entries, &fs.root_dir())?;
    let free = u64::from(fs.stats().context("cannot read the new boot partition")?.free_clusters()) * cluster;
    fs.unmount().context("cannot finish the boot partition")?;
    dots::correct(&mut disk).and_then(|()| disk.store()).context("cannot finish the boot partition")?;
    Ok(Bytes(free))
}

/// Bytes of a cluster.
fn cluster_length(size: Bytes) -> u32 {
    if size < LONG_CLUSTERS { 512 } else { 4096 }
}

/// Returns an upper bound for the length of the reserved sectors and both tables.
fn tables(size: Bytes) -> usize {
    let clusters = size.0 / u64::from(cluster_length(size));
    usize::try_from((clusters * 8 + (64 << 10)).min(size.0)).unwrap_or(usize::MAX)
}

/// A directory's entries by name.
type Entries = BTreeMap<String, Entry>;

#[derive(Debug)]
enum Entry {
    File(u64),
    Directory(Entries),
}

/// Reads the names below `dir` and refuses what FAT cannot hold, before anything is written.
fn plan(source: &Rootfs, dir: &ImagePath) -> Result<Entries> {
    let mut entries = Entries::new();
    let mut folded: BTreeMap<String, String> = BTreeMap::new();
    for (name, kind) in source.list_dir(dir)? {
        let path = dir.join(&name)?;
        if !storable(&name) {
            return Err(Failure::build(format!(
                "the boot partition cannot hold `{path}`: FAT does not allow this name"
            ))
            .into());
        }
        if let Some(other) = folded.insert(name.to_lowercase(), name.clone()) {
            return Err(Failure::build(format!(
                "the boot partition cannot hold both `{other}` and `{name}` of `{dir}`: FAT ignores case"
            ))
            .into());
        }
        let entry = match kind {
            FileKind::Directory => Entry::Directory(plan(source, &path)?),
            FileKind::File => {
                let size = source.metadata(&path)?.map_or(0, |metadata| metadata.size);
                if size > LONGEST_FILE {
                    return Err(Failure::build(format!(
                        "the boot partition cannot hold `{path}`: {} is more than FAT allows",
                        Bytes(size)
                    ))
                    .into());
                }
                Entry::File(size)
            }
            FileKind::Symlink => {
                return Err(
                    Failure::build(format!("the boot partition cannot hold `{path}`: it is a symbolic link")).into()
                );
            }
            FileKind::Other => {
                return Err(Failure::build(format!(
                    "the boot partition cannot hold `{path}`: it is a device, pipe or socket"
                ))
                .into());
            }
        };
        entries.insert(name, entry);
    }
    Ok(entries)
}

/// Returns whether FAT can store `name` so that every system reads the same name back.
fn storable(name: &str) -> bool {
    name.encode_utf16().count() <= 255
        && !name.ends_with(['.', ' '])
        && !name.starts_with(' ')
        && !name.contains(|c: char| c.is_control() || "\"*/:<>?\\|".contains(c))
}

/// Bytes that `entries` take in whole clusters.
fn needed(entries: &Entries, cluster: u64) -> u64 {
    let table = |entries: &Entries| {
        // 32 bytes for each 13 characters of a long name, for the short name, and for `.` and `..`.
        let slots: u64 = entries.keys().map(|name| name.encode_utf16().count().div_ceil(13) as u64 + 1).sum();
        ((slots + 2) * 32).next_multiple_of(cluster)
    };
    entries.values().fold(table(entries), |sum, entry| match entry {
        Entry::File(size) => sum + size.next_multiple_of(cluster),
        Entry::Directory(below) => sum + needed(below, cluster),
    })
}

fn copy(source: &Rootfs, dir: &ImagePath, entries: &Entries, out: &Dir<'_, &mut Disk<'_>>) -> Result<()> {
    let mut buffer = vec![0; 1 << 16];
    for (name, entry) in entries {
        let path = dir.join(name)?;
        let failed = || format!("cannot write `{path}` to the boot partition");
        match entry {
            Entry::Directory(below) => copy(source, &path, below, &out.create_dir(name).with_context(failed)?)?,
            Entry::File(_) => {
                let mut input = source.open_file(&path)?;
                let mut output = out.create_file(name).with_context(failed)?;
                loop {
                    let count = input.read(&mut buffer).with_context(|| format!("cannot read `{path}`"))?;
                    if count == 0 {
                        break;
                    }
                    output.write_all(&buffer[..count]).with_context(failed)?;
                }
                output.flush().with_context(failed)?;
            }
        }
    }
    Ok(())
}

fn format(disk: &mut Disk<'_>, size: Bytes, options: &FatOptions) -> Result<()> {
    if size < SHORTEST {
        return Err(Failure::usage(format!("a boot partition of {size} is too small for FAT32"))
            .hint(format!("it needs {SHORTEST}"))
            .into());
    }
    let sectors = u32::try_from(size.0 / SECTOR)
        .context(Failure::usage(format!("a boot partition of {size} is too large for FAT32")))?;
    let options = FormatVolumeOptions::new()
        .fat_type(FatType::Fat32)
        .bytes_per_sector(512)
        .bytes_per_cluster(cluster_length(size))
        .total_sectors(sectors)
        .volume_id(options.volume_id)
        .volume_label(label(&options.label)?);
    fatfs::format_volume(disk, options).context("cannot format the boot partition")
}

/// Returns the label padded to its field.
fn label(text: &str) -> Result<[u8; 11]> {
    let plain = |c: &u8| c.is_ascii_alphanumeric() || b"_-".contains(c);
    if text.len() > 11 || !text.bytes().all(|c| plain(&c)) || text.is_empty() {
        return Err(Failure::usage(format!("`{text}` cannot be the label of a boot partition"))
            .hint("use 1 to 11 letters, digits, `_` or `-`")
            .into());
    }
    let mut field = [b' '; 11];
    field[..text.len()].copy_from_slice(text.as_bytes());
    Ok(field)
}

/// The build's time, for every entry. FAT stores local time; piimg stores UTC.
///
/// `fatfs` asks for a clock that lives for ever; one per file system of 32 bytes is leaked for it.
#[derive(Debug)]
struct Clock(DateTime);

impl Clock {
    fn new(epoch: u64) -> Result<Self> {
        let utc = Utc::from_epoch(epoch);
        if !(1980..=2107).contains(&utc.year) {
            return Err(Failure::usage(format!("FAT cannot store the year {}", utc.year))
                .hint("set SOURCE_DATE_EPOCH to a later time")
                .into());
        }
        let field = |value: u64| u16::try_from(value).expect("a part of a date is short");
        Ok(Self(DateTime {
            date: Date { year: field(utc.year), month: field(utc.month), day: field(utc.day) },
            time: Time { hour: field(utc.hour), min: field(utc.minute), sec: field(utc.second), millis: 0 },
        }))
    }
}

impl fatfs::TimeProvider for Clock {
    fn get_current_date(&self) -> Date {
        self.0.date
    }

    fn get_current_date_time(&self) -> DateTime {
        self.0
    }
}
