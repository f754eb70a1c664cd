//! How an imported root file system names its partitions, said anew for the image that is built on it. Pure.

use crate::build::finalise::{BOOT_PARTUUID, ROOT_PARTUUID};
use crate::rootfs::boot_config::DIRECTORY as BOOT;

/// `/etc/fstab`, with placeholders.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Fstab {
    pub(super) text: String,
    /// What named the root file system before.
    pub(super) root: Option<String>,
    /// What else of a disk is mounted, and where: the image that is built has no such partition.
    pub(super) others: Vec<(String, String)>,
}

/// Puts placeholders in place of what names root and boot file system in `old`; a line that it lacks is taken from
/// `release`, which has both.
///
/// # Errors
/// Where the boot partition is mounted, if that is another place than it is here.
pub(super) fn fstab(old: &str, release: &str) -> Result<Fstab, String> {
    let mut fstab = Fstab { text: String::new(), root: None, others: Vec::new() };
    let mut missing: Vec<&str> = release.lines().collect();
    for line in old.lines() {
        let mut words = line.split_whitespace();
        let entry = match (words.next(), words.next()) {
            (Some(device), Some(place)) if !device.starts_with('#') => Some((device, place)),
            _ => None,
        };
        let Some((device, place)) = entry else {
            fstab.text += &format!("{line}\n");
            continue;
        };
        let placeholder = match place {
            "/" => ROOT_PARTUUID,
            BOOT => BOOT_PARTUUID,
            "/boot" => return Err(place.to_owned()),
            _ => {
                if is_of_disk(device) {
                    fstab.others.push((device.to_owned(), place.to_owned()));
                }
                fstab.text += &format!("{line}\n");
                continue;
            }
        };
        if place == "/" {
            fstab.root = Some(device.to_owned());
        }
        missing.retain(|line| line.split_whitespace().nth(1) != Some(place));
        fstab.text += &format!("{}\n", line.replacen(device, &format!("PARTUUID={placeholder}"), 1));
    }
    for line in missing.into_iter().filter(|line| !line.trim().is_empty()) {
        fstab.text += &format!("{line}\n");
    }
    Ok(fstab)
}

fn is_of_disk(device: &str) -> bool {
    ["/dev/", "UUID=", "LABEL=", "PARTUUID=", "PARTLABEL=", "ID="].iter().any(|start| device.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    const RELEASE: &str = "PARTUUID={root_partuuid} / ext4 defaults,noatime 0 1\n\
                           PARTUUID={boot_partuuid} /boot/firmware vfat defaults 0 2\n";

    #[test]
    fn partitions_are_named_anew_and_the_rest_stays() {
        let old = "# static\nproc  /proc proc defaults 0 0\n\
                   LABEL=root\t/ ext4 defaults,commit=30 0 1\nPARTUUID=1234-01  /boot/firmware  vfat  ro 0 2\n\
                   /dev/sda1 /data ext4 nofail 0 0\ntmpfs /tmp tmpfs size=1m 0 0\n";
        let fstab = fstab(old, RELEASE).unwrap();
        assert_eq!(
            fstab.text,
            "# static\nproc  /proc proc defaults 0 0\n\
             PARTUUID={root_partuuid}\t/ ext4 defaults,commit=30 0 1\nPARTUUID={boot_partuuid}  /boot/firmware  vfat  ro 0 2\n\
             /dev/sda1 /data ext4 nofail 0 0\ntmpfs /tmp tmpfs size=1m 0 0\n"
        );
        assert_eq!(fstab.root.as_deref(), Some("LABEL=root"));
        assert_eq!(fstab.others, [("/dev/sda1".to_owned(), "/data".to_owned())]);
    }

    #[test]
    fn a_tree_that_mounts_nothing_gets_the_releases_lines() {
        for old in ["", "# UNCONFIGURED FSTAB FOR BASE SYSTEM\n"] {
            let fstab = fstab(old, RELEASE).unwrap();
            assert_eq!((fstab.text, fstab.root), (format!("{old}{RELEASE}"), None));
        }
    }

    #[test]
    fn another_place_of_the_boot_partition_is_refused() {
        let old = "PARTUUID=1-01 /boot vfat defaults 0 2\nPARTUUID=1-02 / ext4 defaults 0 1\n";
        assert_eq!(fstab(old, RELEASE), Err("/boot".to_owned()));
    }
}
