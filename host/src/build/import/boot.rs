//! The boot partition of an image that somebody else made: its files, and those of them that name the root partition.

use std::collections::BTreeMap;
use std::fs::File;

use super::{BOOT_FILE, DIRECTORY};
use crate::error::Result;
use crate::image::layout::{BOOT_LENGTH, Bytes, Partition};
use crate::image::models::{self, BootFiles};
use crate::image::parsing::{self, BootPartition};
use crate::rootfs::boot_config::DIRECTORY as BOOT;
use crate::rootfs::files::{Fate, FileKind, ImagePath, Rootfs};
use crate::rootfs::text;
use crate::sandbox::parser::Parser;

/// What the files of a boot partition may come to: the whole partition here.
const LIMIT: Bytes = BOOT_LENGTH;

/// Longest text of it that is looked at.
const LONGEST_TEXT: u64 = 1 << 20;

/// Names that the firmware, plugins and piimg know. In a FAT they may be spelled in other cases, and are the same.
const KNOWN: [&str; 3] = ["config.txt", "cmdline.txt", "overlays"];

/// Copies the files of the boot partition to where it is mounted. What it covers there goes.
pub(super) fn take(parser: &Parser, whole: &File, partition: &Partition, rootfs: &Rootfs) -> Result<()> {
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

/// A path, with the names that are known as they are known.
fn spelled(path: &str) -> String {
    let part = |part| KNOWN.into_iter().find(|known| known.eq_ignore_ascii_case(part)).unwrap_or(part);
    path.split('/').map(part).collect::<Vec<_>>().join("/")
}

/// The files of the tree with a command line of some model's kernel: `config.txt` may name others than `cmdline.txt`.
pub(super) fn command_lines(rootfs: &Rootfs) -> Result<Vec<String>> {
    let mut paths = BTreeMap::new();
    list(rootfs, &ImagePath::parse(BOOT)?, "", &mut paths)?;
    let mut files = BootFiles::new(paths.keys());
    for (name, path) in paths.iter().filter(|(name, _)| BootFiles::is_text(name)) {
        // One that is longer is no text that the firmware reads.
        if let Ok(Some(data)) = rootfs.exact().read(path, LONGEST_TEXT) {
            files.add_text(name, text::decode(&data));
        }
    }
    // A FAT has no case.
    let known: BTreeMap<String, &ImagePath> = paths.iter().map(|(name, path)| (name.to_lowercase(), path)).collect();
    let lines =
        models::command_lines(&files, &[]).into_iter().filter_map(|name| known.get(&name.to_lowercase()).copied());
    Ok(lines.map(|path| path.as_str().to_owned()).collect())
}

/// Adds what is below `directory`, by its name relative to the partition's top.
fn list(rootfs: &Rootfs, directory: &ImagePath, above: &str, paths: &mut BTreeMap<String, ImagePath>) -> Result<()> {
    for (name, kind) in rootfs.exact().list(directory)?.unwrap_or_default() {
        let (path, name) = (directory.join(&name)?, format!("{above}{name}"));
        match kind {
            FileKind::Directory => list(rootfs, &path, &format!("{name}/"), paths)?,
            FileKind::File => drop(paths.insert(name, path)),
            _ => {}
        }
    }
    Ok(())
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

    #[test]
    fn the_command_line_is_where_the_configuration_says() {
        let dir = tempfile::tempdir().unwrap();
        let boot = dir.path().join("boot/firmware");
        std::fs::create_dir_all(boot.join("next")).unwrap();
        for name in ["start4.elf", "fixup4.dat", "Kernel8.img", "bcm2711-rpi-4-b.dtb", "cmdline.txt", "PI4.TXT"] {
            std::fs::write(boot.join(name), "").unwrap();
        }
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        let lines = |config: &[u8]| {
            std::fs::write(boot.join("config.txt"), config).unwrap();
            command_lines(&rootfs).unwrap()
        };
        let path = |name: &str| vec![format!("/boot/firmware/{name}")];
        assert_eq!(lines(b"# M\xfcller\narm_64bit=1\n"), path("cmdline.txt"));
        assert_eq!(lines(b"arm_64bit=1\ncmdline=pi4.txt\n"), path("PI4.TXT"));
        // The prefix leads to no kernel, so that the firmware leaves it out.
        assert_eq!(lines(b"arm_64bit=1\nos_prefix=next/\n"), path("cmdline.txt"));
        for name in ["kernel8.img", "bcm2711-rpi-4-b.dtb", "cmdline.txt"] {
            std::fs::write(boot.join("next").join(name), "").unwrap();
        }
        assert_eq!(lines(b"arm_64bit=1\nos_prefix=next/\n"), path("next/cmdline.txt"));
    }
}
