//! The files of a tree's boot directory that hold a kernel's command line.

use std::collections::BTreeMap;

use crate::error::Result;
use crate::image::models::{self, BootFiles};
use crate::rootfs::boot_config::DIRECTORY;
use crate::rootfs::files::{FileKind, ImagePath, Rootfs};
use crate::rootfs::text;

/// Longest text that is looked at.
const LONGEST_TEXT: u64 = 1 << 20;

/// Returns the files with a command line of some model's kernel: `config.txt` may name others than `cmdline.txt`
/// (<https://www.raspberrypi.com/documentation/computers/config_txt.html#cmdline>).
///
/// # Errors
/// If the boot directory cannot be read.
pub fn command_lines(rootfs: &Rootfs) -> Result<Vec<ImagePath>> {
    let mut paths = BTreeMap::new();
    list(rootfs, &ImagePath::parse(DIRECTORY)?, "", &mut paths)?;
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
    Ok(lines.cloned().collect())
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
        let path = |name: &str| vec![ImagePath::parse(&format!("/boot/firmware/{name}")).unwrap()];
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
