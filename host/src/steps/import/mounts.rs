//! Selects, from the mounts of somebody's image, those that the new image can have.

use crate::error::{Failure, Result};
use crate::rootfs::boot_config::DIRECTORY as BOOT;
use crate::rootfs::device::Device;
use crate::rootfs::files::{FileKind, ImagePath, Rootfs};
use crate::rootfs::fstab;
use crate::ui::{Step, printable};

/// Refuses an image that mounts what the image that is built cannot have, and names what it mounts of other disks.
pub(super) fn check(fstab: &str, step: &Step) -> Result<()> {
    let others = fstab::entries(fstab).filter(|entry| !entry.is_swap() && !["/", BOOT].contains(&entry.place));
    for entry in others.filter(fstab::Entry::is_of_disk) {
        let (device, place) = (printable(entry.device), printable(entry.place));
        if place == "/boot" {
            return Err(Failure::build("its boot partition is mounted at `/boot`, as in older releases")
                .hint(format!("piimg builds on images that mount it at {BOOT}"))
                .into());
        }
        if !entry.is_optional() {
            return Err(Failure::build(format!(
                "it mounts `{device}` at `{place}`, which the image that is built does not have: it would not start"
            ))
            .hint("in its `/etc/fstab`, give that line the option `nofail`, or remove it")
            .into());
        }
        step.warn(&format!("it mounts `{device}` at `{place}` where that is there; the data is not taken over"));
    }
    Ok(())
}

/// Takes out what swaps, and returns the rest of `fstab`: partitions to swap to are not in the image that is built, and a file
/// has holes there, with which no kernel swaps to it.
pub(super) fn without_swap(fstab: &str, rootfs: &Rootfs, step: &Step) -> Result<String> {
    for entry in fstab::entries(fstab).filter(fstab::Entry::is_swap) {
        let device = printable(entry.device);
        if Device::parse(entry.device).is_of_disk() {
            step.warn(&format!(
                "it swaps to `{device}`, which the image does not have: the line is taken out of its fstab"
            ));
            continue;
        }
        step.warn(&format!("it swaps to the file `{device}`, which the image does not get: make one on the Pi"));
        let Ok(path) = ImagePath::parse(entry.device) else { continue };
        let tree = rootfs.exact();
        if tree.metadata(&path)?.is_some_and(|metadata| metadata.kind == FileKind::File) {
            tree.remove(&path)?;
        }
    }
    Ok(fstab::without_swap(fstab))
}
