//! Imports the boot partition of an image that somebody else made: its files.

use std::fs::File;

use super::{BOOT_FILE, DIRECTORY};
use crate::error::Result;
use crate::image::layout::{BOOT_LENGTH, Bytes, Partition};
use crate::image::parsing::{self, BootPartition};
use crate::rootfs::boot_config::DIRECTORY as BOOT;
use crate::rootfs::files::{Fate, ImagePath, Rootfs};
use crate::sandbox::parser::Parser;

/// Most bytes of a boot partition's files: the whole partition here.
const LIMIT: Bytes = BOOT_LENGTH;

/// Names that the firmware, plugins and piimg know. In a FAT they may be spelled in other cases, and are the same.
const KNOWN: [&str; 3] = ["config.txt", "cmdline.txt", "overlays"];

/// Copies the files of the boot partition to where it is mounted. What it covers there goes.
pub(in crate::steps) fn take(parser: &Parser, whole: &File, partition: &Partition, rootfs: &Rootfs) -> Result<()> {
    let (tree, directory) = (rootfs.exact(), ImagePath::parse(BOOT)?);
    tree.make_dir_all(&directory, DIRECTORY)?;
    tree.clear(&directory, &|_| Fate::Remove)?;
    let files = BootPartition::read(parser, whole, partition)?.files;
    let paths: Vec<String> = files.into_iter().map(|file| file.path).collect();
    let write = |index: usize, content: &[u8]| -> Result<()> {
        let path = directory.join(&spelled(&paths[index]))?;
        if let Some(parent) = path.parent() {
            tree.make_dir_all(&parent, DIRECTORY)?;
        }
        Ok(tree.write(&path, content, BOOT_FILE)?)
    };
    let (mut current, mut content) = (None, Vec::new());
    parsing::read_files(parser, whole, partition, &paths, LIMIT, &mut |index, data| {
        if let Some(done) = current.replace(index).filter(|done| *done != index) {
            write(done, &content)?;
            content.clear();
        }
        content.extend_from_slice(data);
        Ok(())
    })?;
    current.map_or(Ok(()), |last| write(last, &content))
}

/// Returns a path, with the names that are known as they are known.
fn spelled(path: &str) -> String {
    let part = |part| KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(part)).unwrap_or(part);
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_are_known_are_spelled_as_they_are() {
        for (path, expected) in [
            ("CONFIG.TXT", "config.txt"),
            ("Overlays/README", "overlays/README"),
            ("x/CmdLine.txt", "x/cmdline.txt"),
            ("KERNEL8.IMG", "KERNEL8.IMG"),
        ] {
            assert_eq!(spelled(path), expected);
        }
    }
}
