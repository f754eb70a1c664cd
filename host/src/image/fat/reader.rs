//! Reading a FAT inside an image.

use std::fs::File;
use std::io::{Read as _, Write};

use fatfs::{Dir, FileSystem, FsOptions};
use fscommon::{BufStream, StreamSlice};
use serde::Serialize;

use crate::error::{Context as _, Failure, Result};
use crate::image::layout::{Bytes, Partition};

/// A foreign image can hold a directory that contains itself; nothing that boots is this deep or wide.
const DEEPEST: usize = 16;
const MOST_FILES: usize = 100_000;

type Disk = BufStream<StreamSlice<File>>;

/// A file of a boot partition.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FatFile {
    /// Relative to the partition's top, with `/`.
    pub path: String,
    pub size: u64,
}

/// Label, id and space of a FAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct FatSummary {
    pub label: String,
    pub volume_id: u32,
    pub free: Bytes,
}

/// A boot partition opened for reading.
pub struct FatReader {
    fs: FileSystem<Disk>,
}

impl std::fmt::Debug for FatReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FatReader").field("volume_id", &self.fs.volume_id()).finish()
    }
}

impl FatReader {
    /// Opens the FAT in `partition` of `image`, which is never written to.
    ///
    /// # Errors
    /// If there is no FAT.
    pub fn open(image: &File, partition: &Partition) -> Result<Self> {
        // A descriptor that can only be read makes sure of "never written to".
        let image = File::open(crate::image::descriptor_path(image)).context("cannot open the image again")?;
        let slice = StreamSlice::new(image, partition.start.to_bytes().0, partition.end().to_bytes().0)
            .context("cannot read the boot partition")?;
        let fs = FileSystem::new(BufStream::new(slice), FsOptions::new())
            .context("the boot partition holds no FAT file system")?;
        Ok(Self { fs })
    }

    /// # Errors
    /// If the file system is broken.
    pub fn summary(&self) -> Result<FatSummary> {
        let stats = self.fs.stats().context("cannot read the boot partition")?;
        let label = self.fs.read_volume_label_from_root_dir().context("cannot read the boot partition")?;
        Ok(FatSummary {
            label: label.unwrap_or_else(|| self.fs.volume_label()).trim_end().to_owned(),
            volume_id: self.fs.volume_id(),
            free: Bytes(u64::from(stats.free_clusters()) * u64::from(stats.cluster_size())),
        })
    }

    /// All files, sorted by path.
    ///
    /// # Errors
    /// If the file system is broken.
    pub fn list(&self) -> Result<Vec<FatFile>> {
        let mut files = Vec::new();
        list_into(&self.fs.root_dir(), "", 0, &mut files)?;
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(files)
    }

    /// The content of the file `path`; case is ignored, as FAT does.
    ///
    /// # Errors
    /// If the file does not exist or is longer than `limit` bytes.
    pub fn read(&self, path: &str, limit: u64) -> Result<Vec<u8>> {
        let file = self
            .fs
            .root_dir()
            .open_file(path)
            .with_context(|| format!("cannot open `{path}` on the boot partition"))?;
        let mut data = Vec::new();
        file.take(limit.saturating_add(1))
            .read_to_end(&mut data)
            .with_context(|| format!("cannot read `{path}` on the boot partition"))?;
        if u64::try_from(data.len()).is_ok_and(|length| length > limit) {
            return Err(
                Failure::build(format!("`{path}` on the boot partition is longer than {}", Bytes(limit))).into()
            );
        }
        Ok(data)
    }

    /// Copies the file `path` to `out`; returns its length.
    ///
    /// # Errors
    /// If the file does not exist or `out` cannot be written.
    pub fn copy_to(&self, path: &str, out: &mut impl Write) -> Result<u64> {
        let mut file = self
            .fs
            .root_dir()
            .open_file(path)
            .with_context(|| format!("cannot open `{path}` on the boot partition"))?;
        std::io::copy(&mut file, out).with_context(|| format!("cannot copy `{path}` from the boot partition"))
    }
}

fn list_into(dir: &Dir<'_, Disk>, prefix: &str, depth: usize, files: &mut Vec<FatFile>) -> Result<()> {
    if depth > DEEPEST {
        return Err(Failure::build(format!("`{prefix}` on the boot partition is nested too deeply")).into());
    }
    for entry in dir.iter() {
        let entry = entry.with_context(|| format!("cannot read `/{prefix}` on the boot partition"))?;
        let name = entry.file_name();
        if name == "." || name == ".." {
            continue;
        }
        if files.len() >= MOST_FILES {
            return Err(Failure::build(format!("the boot partition holds more than {MOST_FILES} files")).into());
        }
        let path = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
        if entry.is_dir() {
            list_into(&entry.to_dir(), &path, depth + 1, files)?;
        } else {
            files.push(FatFile { path, size: entry.len() });
        }
    }
    Ok(())
}
