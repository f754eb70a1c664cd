//! Finds the partition with the root file system: of several Linux partitions the one that the kernel's command line
//! names.

use std::fs::File;

use super::ext4::Superblock;
use super::layout::{Partition, partuuid};
use super::mbr::Table;
use super::models::{self, BootFiles};
use crate::error::{Failure, Result};
use crate::rootfs::device::Device;

/// Finds it in `table` of `image`; `boot` reads the boot partition, and is asked only where there is a choice. `None`
/// if there is no Linux partition.
///
/// # Errors
/// [`Failure::build`] if it is a logical partition, which is not in the table.
pub fn find<'a>(
    image: &File,
    table: &'a Table,
    boot: impl FnOnce() -> Option<BootFiles>,
) -> Result<Option<&'a (usize, Partition)>> {
    let linux = || table.partitions.iter().filter(|(_, partition)| partition.kind.is_linux());
    let has_logical = table.partitions.iter().any(|(_, partition)| partition.kind.is_extended());
    if linux().count() < 2 && !has_logical {
        return Ok(linux().next());
    }
    let Some(boot) = boot() else { return Ok(linux().next()) };
    let lines = models::command_lines(&boot, &[]);
    for root in lines.iter().filter_map(|line| boot.text(line)).filter_map(named) {
        let device = Device::parse(root);
        if let Some(number) = device.number().filter(|number| *number > 4 && has_logical) {
            let text = format!("its root file system is in partition {number}, a logical one, which piimg cannot read");
            return Err(Failure::build(text).hint("copy it to a primary partition").into());
        }
        if let Some(found) = linux().find(|(number, partition)| is(image, table, *number, partition, &device)) {
            return Ok(Some(found));
        }
    }
    Ok(linux().next())
}

/// Returns the `root=` parameter of a command line; the last one counts.
pub(super) fn named(cmdline: &str) -> Option<&str> {
    cmdline.split_whitespace().filter_map(|word| word.strip_prefix("root=")).next_back()
}

/// Returns whether a partition has this name.
fn is(image: &File, table: &Table, number: usize, partition: &Partition, device: &Device<'_>) -> bool {
    let superblock = || Superblock::read(image, partition.start.to_bytes()).ok();
    match device {
        Device::PartUuid(id) => partuuid(table.disk_signature, number).eq_ignore_ascii_case(id),
        Device::Uuid(id) => superblock().is_some_and(|it| it.uuid.eq_ignore_ascii_case(id)),
        Device::Label(label) => superblock().is_some_and(|it| it.label == *label),
        Device::Path(_) => device.number() == Some(number),
        Device::PartLabel(_) | Device::Other(_) => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::image::layout::{PartitionType, Sectors};

    #[test]
    fn the_command_line_says_which_partition_is_root() {
        let image = tempfile::tempfile().unwrap();
        let partition =
            |kind: u8, start| Partition { kind: PartitionType(kind), start: Sectors(start), length: Sectors(8) };
        let partitions =
            |kinds: &[u8]| kinds.iter().zip(1..).map(|(kind, number)| (number, partition(*kind, 64))).collect();
        for (kinds, cmdline, expected) in [
            (&[0x0c, 0x83][..], "root=/dev/mmcblk0p9", Ok(Some(2))),
            (&[0x0c, 0x83, 0x83], "console=tty1 root=PARTUUID=000000AB-03 rw", Ok(Some(3))),
            (&[0x0c, 0x83, 0x83], "root=/dev/mmcblk0p3", Ok(Some(3))),
            (&[0x0c, 0x83, 0x83], "root=/dev/sda2 root=/dev/sda3", Ok(Some(3))),
            // The table has another signature, or the name is of a file system that is not there.
            (&[0x0c, 0x83, 0x83], "root=PARTUUID=00000001-03", Ok(Some(2))),
            (&[0x0c, 0x83, 0x83], "root=LABEL=rootfs", Ok(Some(2))),
            (&[0x0c, 0x83, 0x83], "root=PARTUUID=000000ab-01", Ok(Some(2))),
            (&[0x0c, 0x05], "root=/dev/mmcblk0p6", Err("its root file system is in partition 6, a logical one")),
            (&[0x0c, 0x0f, 0x83], "root=/dev/mmcblk0p3", Ok(Some(3))),
            (&[0x0c, 0x82], "root=/dev/mmcblk0p2", Ok(None)),
        ] {
            let table = Table { disk_signature: 0xab, partitions: partitions(kinds) };
            let mut boot = BootFiles::default();
            boot.add_text("cmdline.txt", cmdline.to_owned());
            let found = find(&image, &table, || Some(boot)).map(|found| found.map(|(number, _)| *number));
            match (found, expected) {
                (Ok(found), Ok(expected)) => assert_eq!(found, expected, "{kinds:?} {cmdline}"),
                (Err(error), Err(cause)) => assert!(error.to_string().contains(cause), "{error}"),
                (found, _) => panic!("{kinds:?} {cmdline}: {found:?}"),
            }
        }
    }
}
