//! Checks that the texts of an image name its own partitions. Pure.

use std::collections::BTreeSet;

use crate::image::layout::partuuid;
use crate::image::mbr::Table;
use crate::image::models::{self, BootFiles, Model};
use crate::image::root;
use crate::rootfs::device::Device;
use crate::rootfs::fstab::{self, Entry};

/// Checks `root=` in the command lines that the expected models use, or all models if none is expected. `root` is the
/// number of the root partition.
pub(super) fn cmdline(boot: &BootFiles, table: &Table, root: Option<usize>, expected: &[Model]) -> Vec<String> {
    models::command_lines(boot, expected)
        .iter()
        .filter_map(|name| boot.text(name).map(|text| (name, text)))
        .flat_map(|(name, text)| root_of(name, text, table, root))
        .collect()
}

fn root_of(file: &str, text: &str, table: &Table, number: Option<usize>) -> Option<String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > 1 {
        return Some(format!("`{file}` has {lines} lines; firmware reads only the first"));
    }
    let Some(root) = root::named(text) else {
        return Some(format!("`{file}` has no `root=`"));
    };
    let own = number.map(|number| partuuid(table.disk_signature, number));
    let says = format!("`{file}` says `root={root}`");
    match Device::parse(root) {
        Device::PartUuid(id) if own.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(id)) => None,
        Device::PartUuid(_) => {
            let own = own.unwrap_or_else(|| "(none)".to_owned());
            Some(format!("{says}, but the root partition is PARTUUID={own}"))
        }
        device => unknown(&device).map(|why| format!("{says}, {why}")),
    }
}

/// Returns why no Pi finds a partition by this name, if that is so.
fn unknown(device: &Device<'_>) -> Option<&'static str> {
    match device {
        Device::Path(_) => Some("which depends on the kind of disk; use PARTUUID="),
        Device::PartLabel(_) => Some("but partitions of a master boot record have no labels; use PARTUUID="),
        _ => None,
    }
}

/// Checks the entries of `fstab`; `names` are the labels and UUIDs of the image's file systems. See
/// <https://man7.org/linux/man-pages/man5/fstab.5.html>.
pub(super) fn fstab(text: Option<&str>, names: &BTreeSet<String>, table: &Table, root: Option<usize>) -> Vec<String> {
    let Some(text) = text else {
        return vec!["`/etc/fstab` does not exist".to_owned()];
    };
    // What the system starts without may be on any disk.
    let needed = fstab::entries(text).filter(|entry| !entry.is_optional() || entry.place == "/");
    let mut findings: Vec<String> = needed.filter_map(|entry| wrong_device(&entry, names, table, root)).collect();
    if !fstab::entries(text).any(|entry| entry.place == "/") {
        findings.push("`/etc/fstab` has no entry for `/`".to_owned());
    }
    findings
}

fn wrong_device(entry: &Entry<'_>, names: &BTreeSet<String>, table: &Table, root: Option<usize>) -> Option<String> {
    let Entry { device, place, .. } = *entry;
    let says = match entry.is_swap() {
        true => format!("`/etc/fstab` swaps to `{device}`"),
        false => format!("`/etc/fstab` mounts `{device}` on `{place}`"),
    };
    let named = Device::parse(device);
    let name = match named {
        Device::PartUuid(id) => {
            let own: Vec<String> =
                table.partitions.iter().map(|(number, _)| partuuid(table.disk_signature, *number)).collect();
            let Some(at) = own.iter().position(|own| own.eq_ignore_ascii_case(id)) else {
                return Some(format!("{says}, but the image's partitions are {}", own.join(" and ")));
            };
            let number = table.partitions[at].0;
            let meant = if place == "/" { root } else { table.boot().map(|(number, _)| *number) };
            let misplaced =
                matches!(place, "/" | "/boot/firmware" | "/boot") && meant.is_some_and(|meant| meant != number);
            return misplaced.then(|| format!("{says}, which is the wrong partition"));
        }
        Device::Label(label) => format!("LABEL={label}"),
        Device::Uuid(id) => format!("UUID={id}"),
        _ => return unknown(&named).map(|why| format!("{says}, {why}")),
    };
    // The letters of an id have no case.
    let is_there = |known: &String| *known == name || name.starts_with("UUID=") && known.eq_ignore_ascii_case(&name);
    (!names.iter().any(is_there)).then(|| {
        format!("{says}, which is in no partition of the image: only with the option `nofail` it starts without")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layout::{Bytes, Layout};

    fn table() -> Table {
        let layout = Layout::new(Bytes::mib(64), Bytes::mib(64)).unwrap();
        Table { disk_signature: 0xab, partitions: vec![(1, layout.boot), (2, layout.root)] }
    }

    #[test]
    fn the_root_device_is_the_root_partition() {
        for (text, finding) in [
            ("console=tty1 root=PARTUUID=000000ab-02 rootwait\n", None),
            ("root=PARTUUID=000000AB-02", None),
            ("root=LABEL=rootfs", None),
            ("root=PARTUUID=000000ac-02", Some("but the root partition is PARTUUID=000000ab-02")),
            ("root=PARTUUID=000000ab-01", Some("but the root partition is PARTUUID=000000ab-02")),
            ("root=/dev/mmcblk0p2", Some("depends on the kind of disk")),
            ("root=/dev/disk/by-label/rootfs", None),
            ("root=/dev/disk/by-partuuid/000000ab-02", None),
            ("root=/dev/disk/by-partuuid/000000ab-01", Some("but the root partition is PARTUUID=000000ab-02")),
            ("root=PARTLABEL=root", Some("have no labels")),
            ("root=/dev/sda2 root=LABEL=rootfs", None),
            ("console=tty1", Some("has no `root=`")),
            ("root=PARTUUID=000000ab-02\nquiet\n", Some("has 2 lines")),
        ] {
            let found = root_of("cmdline.txt", text, &table(), Some(2));
            assert_eq!(found.is_some(), finding.is_some(), "{text}: {found:?}");
            assert!(found.unwrap_or_default().contains(finding.unwrap_or_default()), "{text}");
        }
    }

    #[test]
    fn fstab_names_partitions_of_the_image() {
        let names = ["LABEL=rootfs", "UUID=12AB-34CD", "UUID=0a-b"].map(str::to_owned).into();
        let good = "PARTUUID=000000ab-02 / ext4 defaults 0 1\n";
        for (text, finding) in [
            ("", None),
            ("# c\nproc /proc proc defaults 0 0\nPARTUUID=000000ab-01 /boot/firmware vfat\ntmpfs /tmp tmpfs\n", None),
            (
                "PARTUUID=000000ac-01 /boot/firmware vfat",
                Some("but the image's partitions are 000000ab-01 and 000000ab-02"),
            ),
            ("PARTUUID=000000ab-02 /boot/firmware vfat", Some("the wrong partition")),
            ("LABEL=other /data ext4", Some("in no partition of the image")),
            ("LABEL=other /data ext4 defaults,nofail 0 2\n/dev/mmcblk1p1 /card vfat noauto", None),
            ("/dev/mmcblk0p1 /boot vfat", Some("depends on the kind of disk")),
            ("/dev/sda1 /boot vfat", Some("depends on the kind of disk")),
            ("UUID=12ab-34cd /boot vfat", None),
            ("/dev/disk/by-uuid/0A-B /data ext4", None),
            ("UUID=\"0a-c\" /data ext4", Some("in no partition of the image")),
            ("PARTLABEL=boot /boot vfat", Some("have no labels")),
            ("/dev/sda3 none swap sw", Some("`/etc/fstab` swaps to `/dev/sda3`, which depends on the kind of disk")),
            ("/swapfile none swap sw", None),
        ] {
            let found = fstab(Some(&format!("{good}{text}")), &names, &table(), Some(2));
            assert_eq!(found.len(), usize::from(finding.is_some()), "{text}: {found:?}");
            assert!(found.concat().contains(finding.unwrap_or_default()), "{found:?}");
        }
        assert_eq!(fstab(Some("LABEL=rootfs / ext4"), &names, &table(), Some(2)), [""; 0]);
        assert_eq!(fstab(Some("# x"), &names, &table(), Some(2)), ["`/etc/fstab` has no entry for `/`"]);
        assert_eq!(fstab(None, &names, &table(), Some(2)), ["`/etc/fstab` does not exist"]);
    }
}
