//! What an image holds, as data for `piimg inspect`. Any image can be asked, also a foreign one.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use serde::Serialize;

use super::ext4::{Ext4Reader, Superblock};
use super::fat::{FatFile, FatReader, FatSummary};
use super::layout::{Bytes, Partition, partuuid};
use super::mbr::{self, Table};
use super::models::{self, BootFiles, Model};
use crate::error::{Context as _, Result};

/// Longest text that is read from a boot partition.
const LONGEST_TEXT: u64 = 1 << 20;

/// An image taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    pub size: Bytes,
    /// What it takes on the host's disk.
    pub allocated: Bytes,
    /// Eight hexadecimal digits.
    pub disk_signature: String,
    pub partitions: Vec<PartitionInfo>,
    /// The boot partition's files, sorted.
    pub boot_files: Vec<FatFile>,
    /// The models that its boot files can start.
    pub models: Vec<Model>,
    pub hostname: Option<String>,
    /// `PRETTY_NAME` of the operating system.
    pub os: Option<String>,
    pub cmdline: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartitionInfo {
    /// Number, from 1.
    pub number: usize,
    pub partuuid: String,
    /// Type byte of the table.
    pub kind: u8,
    pub start: Bytes,
    pub length: Bytes,
    pub file_system: Option<FileSystemInfo>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum FileSystemInfo {
    Vfat(FatSummary),
    Ext4(Superblock),
}

/// Takes `image` apart.
///
/// # Errors
/// If it has no partition table or cannot be read; a file system that is not understood is left out.
pub fn inspect(image: &File) -> Result<Inspection> {
    let metadata = image.metadata().context("cannot read the image")?;
    let table = mbr::read(image)?;
    let (boot_files, boot) = read_boot(image, &table).unwrap_or_default();
    let root = table.root().map(|(_, root)| Ext4Reader::open(image, root.start.to_bytes())).transpose()?;
    let text = |path: &str| root.as_ref().and_then(|root| root.read_text(path).ok().flatten());
    Ok(Inspection {
        size: Bytes(metadata.len()),
        allocated: Bytes(metadata.blocks() * 512),
        disk_signature: format!("{:08x}", table.disk_signature),
        partitions: table
            .partitions
            .iter()
            .map(|(number, partition)| describe(image, &table, *number, partition))
            .collect(),
        models: models::bootable(&boot),
        cmdline: boot.text("cmdline.txt").map(|text| text.trim().to_owned()),
        boot_files,
        hostname: text("/etc/hostname").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty()),
        os: text("/etc/os-release").and_then(|text| pretty_name(&text)),
    })
}

/// The files of the boot partition, with the texts that firmware reads.
///
/// # Errors
/// If there is no boot partition or its file system is broken.
pub fn read_boot(image: &File, table: &Table) -> Result<(Vec<FatFile>, BootFiles)> {
    let (_, partition) = table.boot().context("the image has no boot partition")?;
    let reader = FatReader::open(image, partition)?;
    let files = reader.list()?;
    let mut boot = BootFiles::new(files.iter().map(|file| &file.path));
    for file in files.iter().filter(|file| BootFiles::is_text(&file.path) && file.size <= LONGEST_TEXT) {
        let text = reader.read(&file.path, LONGEST_TEXT)?;
        boot.add_text(&file.path, String::from_utf8_lossy(&text).into_owned());
    }
    Ok((files, boot))
}

fn describe(image: &File, table: &Table, number: usize, partition: &Partition) -> PartitionInfo {
    let fat = || FatReader::open(image, partition).and_then(|reader| reader.summary()).map(FileSystemInfo::Vfat);
    let ext4 = || Superblock::read(image, partition.start.to_bytes()).map(FileSystemInfo::Ext4);
    PartitionInfo {
        number,
        partuuid: partuuid(table.disk_signature, number),
        kind: partition.kind.0,
        start: partition.start.to_bytes(),
        length: partition.length.to_bytes(),
        file_system: if partition.kind.is_fat() { fat().ok() } else { ext4().ok() },
    }
}

/// `PRETTY_NAME` of an `os-release` file.
fn pretty_name(text: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.trim().strip_prefix("PRETTY_NAME="))?;
    Some(value.trim_matches(['"', '\'']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unquoted() {
        for (text, name) in
            [("ID=x\nPRETTY_NAME=\"A B\"\n", Some("A B")), ("PRETTY_NAME=A", Some("A")), ("NAME=A", None)]
        {
            assert_eq!(pretty_name(text).as_deref(), name);
        }
    }
}
