//! Reads and edits `/etc/fstab` (<https://man7.org/linux/man-pages/man5/fstab.5.html>): mounts, and the names of an
//! image's own two partitions. Pure.
//!
//! From the base layer on, the partitions are named by placeholders, and finalising puts the image's own names in their place.
//! Lines that a package, a command or a plugin adds stay, and so do the options of the image's own two.

use super::boot_config::DIRECTORY as BOOT;
use super::device::Device;

/// Stands for the root partition's `PARTUUID` until the image is finalised.
pub const ROOT_PARTUUID: &str = "{root_partuuid}";
/// Stands for the boot partition's `PARTUUID`.
pub const BOOT_PARTUUID: &str = "{boot_partuuid}";

/// A line that mounts something; the fields of `fstab`(5) that matter here, as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    pub device: &'a str,
    /// Mount point, without slashes at its end.
    pub place: &'a str,
    pub kind: &'a str,
    pub options: &'a str,
}

impl<'a> Entry<'a> {
    /// Parses a line of `fstab` (<https://man7.org/linux/man-pages/man5/fstab.5.html>). Returns `None` for a comment,
    /// and for less than two fields.
    fn parse(line: &'a str) -> Option<Self> {
        let mut fields = line.split_whitespace();
        let device = fields.next().filter(|device| !device.starts_with('#'))?;
        let place = fields.next()?;
        let trimmed = place.trim_end_matches('/');
        let (kind, options) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        Some(Self { device, place: if trimmed.is_empty() { place } else { trimmed }, kind, options })
    }

    /// Returns whether a system starts without the device.
    pub fn is_optional(&self) -> bool {
        self.options.split(',').any(|option| ["nofail", "noauto"].contains(&option))
    }

    /// Returns whether it is a disk's partition, or a disk.
    pub fn is_of_disk(&self) -> bool {
        Device::parse(self.device).is_of_disk()
    }

    /// Returns whether it is memory's place on a disk, and is mounted nowhere.
    pub fn is_swap(&self) -> bool {
        self.kind == "swap"
    }

    /// Returns the placeholder of what is mounted there, if that is one of the image's own partitions.
    fn placeholder(&self) -> Option<&'static str> {
        match self.place {
            "/" => Some(ROOT_PARTUUID),
            BOOT => Some(BOOT_PARTUUID),
            _ => None,
        }
    }
}

/// Returns the lines that mount something.
pub fn entries(text: &str) -> impl Iterator<Item = Entry<'_>> {
    text.lines().filter_map(Entry::parse)
}

/// Returns `old` without the lines for swap space.
pub fn without_swap(old: &str) -> String {
    let swaps = |line: &&str| Entry::parse(line).is_some_and(|entry| entry.is_swap());
    old.split_inclusive('\n').filter(|line| !swaps(line)).collect()
}

/// Names the partitions of the image by placeholders in `old`: in the last line for each, of which there is one
/// afterwards. A line that `old` lacks is taken from `release`, which has both. Everything else stays.
pub fn with_placeholders(old: &str, release: &str) -> String {
    let lines: Vec<&str> = old.lines().collect();
    let counts = |at: usize, place: &str| {
        let later = lines[at + 1..].iter().filter_map(|line| Entry::parse(line));
        later.into_iter().all(|entry| entry.place != place)
    };
    let mut text = String::new();
    for (at, line) in lines.iter().enumerate() {
        let own = Entry::parse(line).and_then(|entry| Some((entry, entry.placeholder()?)));
        match own {
            Some((entry, _)) if !counts(at, entry.place) => continue,
            Some((entry, placeholder)) => text += &line.replacen(entry.device, &format!("PARTUUID={placeholder}"), 1),
            None => text += line,
        }
        text += "\n";
    }
    let is_there = |place: &str| entries(old).any(|entry| entry.place == place);
    for line in release.lines().filter(|line| Entry::parse(line).is_some_and(|entry| !is_there(entry.place))) {
        text += &format!("{line}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "PARTUUID={root_partuuid} / ext4 defaults,noatime 0 1\n\
                           PARTUUID={boot_partuuid} /boot/firmware vfat defaults 0 2\n";

    #[test]
    fn partitions_are_named_and_the_rest_stays() {
        let old = "# static\nproc  /proc proc defaults 0 0\n\
                   LABEL=root\t/ ext4 defaults,commit=30 0 1\nPARTUUID=1234-01  /boot/firmware/  vfat  ro 0 2\n\
                   /dev/sda1 /data ext4 nofail 0 0\ntmpfs /tmp tmpfs size=1m 0 0\n";
        assert_eq!(
            with_placeholders(old, RELEASE),
            "# static\nproc  /proc proc defaults 0 0\n\
             PARTUUID={root_partuuid}\t/ ext4 defaults,commit=30 0 1\nPARTUUID={boot_partuuid}  /boot/firmware/  vfat  ro 0 2\n\
             /dev/sda1 /data ext4 nofail 0 0\ntmpfs /tmp tmpfs size=1m 0 0\n"
        );
        assert_eq!(with_placeholders(RELEASE, RELEASE), RELEASE);
    }

    #[test]
    fn a_tree_that_mounts_nothing_gets_the_releases_lines() {
        for old in ["", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n", "tmpfs /tmp tmpfs size=1m\n"] {
            assert_eq!(with_placeholders(old, RELEASE), format!("{old}{RELEASE}"));
        }
    }

    #[test]
    fn a_partition_is_mounted_as_the_last_line_says() {
        let old = format!("{RELEASE}UUID=ab / ext4 ro 0 1\n");
        let boot = RELEASE.lines().nth(1).unwrap();
        assert_eq!(with_placeholders(&old, RELEASE), format!("{boot}\nPARTUUID={{root_partuuid}} / ext4 ro 0 1\n"));
    }

    #[test]
    fn lines_that_swap_are_taken_out() {
        let old = "# swap\nUUID=1 none swap sw 0 0\n/swap /ignored swap\ntmpfs /swap tmpfs\n/x none swap sw";
        assert_eq!(without_swap(old), "# swap\ntmpfs /swap tmpfs\n");
    }

    #[test]
    fn entries_are_read_as_mount_reads_them() {
        let text = "  /dev/sda1\t/data/  ext4  rw,nofail 0 0\n#/dev/sdb1 /x ext4\nproc\n\nLABEL=a / ext4";
        let found: Vec<Entry<'_>> = entries(text).collect();
        assert_eq!(
            found,
            [
                Entry { device: "/dev/sda1", place: "/data", kind: "ext4", options: "rw,nofail" },
                Entry { device: "LABEL=a", place: "/", kind: "ext4", options: "" }
            ]
        );
        assert!(found[0].is_optional() && found[0].is_of_disk() && !found[1].is_optional());
    }
}
