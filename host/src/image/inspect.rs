//! Describes an image as data for `piimg inspect`. It reads any image, not only piimg's own.

use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use serde::Serialize;

use super::ext4::{Ext4Reader, Superblock};
use super::fat::{FatFile, FatSummary};
use super::layout::{Bytes, Partition, partuuid};
use super::mbr::Table;
use super::models::{self, Model};
use super::parsing::BootPartition;
use super::{root, source};
use crate::error::{Context as _, Result};
use crate::sandbox::parser::Parser;

/// An image taken apart.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Inspection {
    pub size: Bytes,
    /// Disk space that it takes on the host.
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
    /// Parts that could not be read, with reasons.
    pub unreadable: Vec<String>,
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
/// If it has no partition table or cannot be read; a file system that is not understood is left out, and told.
pub fn inspect(image: &File, parser: &Parser) -> Result<Inspection> {
    let metadata = image.metadata().context("cannot read the image")?;
    let table = source::table(image, parser)?;
    let mut unreadable = Vec::new();
    // Whatever cannot be read leaves the rest to be told.
    let mut told = |error: anyhow::Error| unreadable.push(format!("{error:#}"));
    let boot = table.boot().and_then(|(_, boot)| BootPartition::read(parser, image, boot).map_err(&mut told).ok());
    let found = root::find(image, &table, || boot.as_ref().map(BootPartition::boot_files));
    let found = found.map_err(&mut told).ok().flatten();
    let root = found.map(|(_, root)| Ext4Reader::open(image, root.start.to_bytes())).transpose()?;
    let mut text = |path: &str| root.as_ref().and_then(|root| root.read_text(path).map_err(&mut told).ok().flatten());
    let hostname = text("/etc/hostname").map(|name| name.trim().to_owned()).filter(|name| !name.is_empty());
    let os = text("/etc/os-release").and_then(|text| pretty_name(&text));
    unreadable.dedup();
    let files = boot.as_ref().map(BootPartition::boot_files).unwrap_or_default();
    let partitions = table.partitions.iter().map(|(number, partition)| {
        let fat = boot.as_ref().filter(|_| table.boot().is_some_and(|(boot, _)| boot == number));
        describe(image, parser, &table, *number, partition, fat)
    });
    Ok(Inspection {
        size: Bytes(metadata.len()),
        allocated: Bytes(metadata.blocks() * 512),
        disk_signature: format!("{:08x}", table.disk_signature),
        partitions: partitions.collect(),
        models: models::bootable(&files),
        cmdline: files.text("cmdline.txt").map(|text| text.trim().to_owned()),
        boot_files: boot.map(|boot| boot.files).unwrap_or_default(),
        hostname,
        os,
        unreadable,
    })
}

/// Describes a partition. `boot` is its content if it is the one that firmware boots from.
fn describe(
    image: &File,
    parser: &Parser,
    table: &Table,
    number: usize,
    partition: &Partition,
    boot: Option<&BootPartition>,
) -> PartitionInfo {
    let is_first = table.boot().is_some_and(|(first, _)| *first == number);
    let fat = || match boot {
        Some(boot) => Some(boot.summary.clone()),
        None if is_first => None,
        None => BootPartition::read(parser, image, partition).ok().map(|boot| boot.summary),
    };
    let ext4 = || Superblock::read(image, partition.start.to_bytes()).ok();
    PartitionInfo {
        number,
        partuuid: partuuid(table.disk_signature, number),
        kind: partition.kind.0,
        start: partition.start.to_bytes(),
        length: partition.length.to_bytes(),
        file_system: if partition.kind.is_fat() {
            fat().map(FileSystemInfo::Vfat)
        } else {
            ext4().map(FileSystemInfo::Ext4)
        },
    }
}

/// Returns `PRETTY_NAME` of an `os-release` file:
/// <https://www.freedesktop.org/software/systemd/man/latest/os-release.html>.
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
