//! Whether the texts of an image name its own partitions. Pure.

use std::collections::BTreeSet;

use super::Expectations;
use crate::image::layout::partuuid;
use crate::image::mbr::Table;
use crate::image::models::{self, BootFiles, Model};
use crate::rootfs::fstab::{self, Entry};

/// What is wrong with `root=` in the command lines that the expected models (or, without any, all) use.
pub(super) fn cmdline(boot: &BootFiles, table: &Table, expected: &Expectations) -> Vec<String> {
    let models: &[Model] = if expected.models.is_empty() { &Model::ALL } else { &expected.models };
    let files: BTreeSet<String> =
        models.iter().filter_map(|model| models::boot_plan(boot, *model).ok()).map(|plan| plan.cmdline).collect();
    let files = if files.is_empty() { BTreeSet::from(["cmdline.txt".to_owned()]) } else { files };
    files
        .iter()
        .filter_map(|name| boot.text(name).map(|text| (name, text)))
        .flat_map(|(name, text)| root_of(name, text, table))
        .collect()
}

fn root_of(file: &str, text: &str, table: &Table) -> Option<String> {
    let lines = text.lines().filter(|line| !line.trim().is_empty()).count();
    if lines > 1 {
        return Some(format!("`{file}` has {lines} lines; firmware reads only the first"));
    }
    let Some(root) = text.split_whitespace().find_map(|word| word.strip_prefix("root=")) else {
        return Some(format!("`{file}` has no `root=`"));
    };
    let number = table.root().map(|(number, _)| *number);
    let own = number.map(|number| partuuid(table.disk_signature, number));
    if let Some(id) = root.strip_prefix("PARTUUID=") {
        if own.as_deref().is_some_and(|own| own.eq_ignore_ascii_case(id)) {
            return None;
        }
        return Some(format!(
            "`{file}` says `root={root}`, but the root partition is PARTUUID={}",
            own.unwrap_or_else(|| "(none)".to_owned())
        ));
    }
    root.starts_with("/dev/")
        .then(|| format!("`{file}` says `root={root}`, which depends on the kind of disk; use PARTUUID="))
}

/// What is wrong with the entries of `fstab`; `names` are the labels and UUIDs of the image's file systems.
pub(super) fn fstab(text: Option<&str>, names: &BTreeSet<String>, table: &Table) -> Vec<String> {
    let Some(text) = text else {
        return vec!["`/etc/fstab` does not exist".to_owned()];
    };
    // What the system starts without may be on any disk.
    let needed = fstab::entries(text).filter(|entry| !entry.is_optional() || entry.place == "/");
    let mut findings: Vec<String> = needed.filter_map(|entry| wrong_device(&entry, names, table)).collect();
    if !fstab::entries(text).any(|entry| entry.place == "/") {
        findings.push("`/etc/fstab` has no entry for `/`".to_owned());
    }
    findings
}

fn wrong_device(entry: &Entry<'_>, names: &BTreeSet<String>, table: &Table) -> Option<String> {
    let Entry { device, place, .. } = *entry;
    let says = format!("`/etc/fstab` mounts `{device}` on `{place}`");
    if let Some(id) = device.strip_prefix("PARTUUID=") {
        let own: Vec<String> =
            table.partitions.iter().map(|(number, _)| partuuid(table.disk_signature, *number)).collect();
        let Some(at) = own.iter().position(|own| own.eq_ignore_ascii_case(id)) else {
            return Some(format!("{says}, but the image's partitions are {}", own.join(" and ")));
        };
        let number = table.partitions[at].0;
        let meant = if place == "/" { table.root() } else { table.boot() };
        let misplaced =
            matches!(place, "/" | "/boot/firmware" | "/boot") && meant.is_some_and(|(meant, _)| *meant != number);
        return misplaced.then(|| format!("{says}, which is the wrong partition"));
    }
    if device.starts_with("LABEL=") || device.starts_with("UUID=") {
        return (!names.contains(device)).then(|| {
            format!("{says}, which is in no partition of the image: only with the option `nofail` it starts without")
        });
    }
    device.starts_with("/dev/mmcblk").then(|| format!("{says}, which depends on the kind of disk; use PARTUUID="))
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
            ("console=tty1", Some("has no `root=`")),
            ("root=PARTUUID=000000ab-02\nquiet\n", Some("has 2 lines")),
        ] {
            let found = root_of("cmdline.txt", text, &table());
            assert_eq!(found.is_some(), finding.is_some(), "{text}: {found:?}");
            assert!(found.unwrap_or_default().contains(finding.unwrap_or_default()), "{text}");
        }
    }

    #[test]
    fn fstab_names_partitions_of_the_image() {
        let names = BTreeSet::from(["LABEL=rootfs".to_owned()]);
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
        ] {
            let found = fstab(Some(&format!("{good}{text}")), &names, &table());
            assert_eq!(found.len(), usize::from(finding.is_some()), "{text}: {found:?}");
            assert!(found.concat().contains(finding.unwrap_or_default()), "{found:?}");
        }
        assert_eq!(fstab(Some("LABEL=rootfs / ext4"), &names, &table()), [""; 0]);
        assert_eq!(fstab(Some("# x"), &names, &table()), ["`/etc/fstab` has no entry for `/`"]);
        assert_eq!(fstab(None, &names, &table()), ["`/etc/fstab` does not exist"]);
    }
}
