//! Recognises the format of a file by magic numbers. Pure.

use serde::{Deserialize, Serialize};

use crate::error::{Failure, Result};

/// Bytes that are looked at: the mark of btrfs is the last one.
pub(super) const HEAD: usize = 0x1_0048;

/// Formats that piimg accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// A partition table, and file systems.
    Image,
    /// A tree, as `tar` writes it.
    Tar,
}

/// Offset and bytes of a magic number, and the format's name.
type Mark = (usize, &'static [u8], &'static str);

/// File systems and what else a partition or a disk holds. Of two that a disk had, the marks of the first are left over at
/// most behind those of the second: the order is by their places, but for those that begin with what all have.
const FILE_SYSTEMS: [Mark; 16] = [
    (3, b"NTFS    ", "NTFS"),
    (3, b"EXFAT   ", "exFAT"),
    (82, b"FAT32", "a FAT"),
    (54, b"FAT1", "a FAT"),
    (0, b"XFSB", "XFS"),
    (0, b"hsqs", "SquashFS"),
    (0, b"LUKS\xba\xbe", "an encrypted volume (LUKS)"),
    (0x218, b"LVM2 001", "a physical volume of LVM"),
    (0x400, &[0x10, 0x20, 0xf5, 0xf2], "f2fs"),
    (0x400, &[0xe2, 0xe1, 0xf5, 0xe0], "EROFS"),
    (0x438, &[0x53, 0xef], "ext2, 3 or 4"),
    (0xff6, b"SWAPSPACE2", "swap space"),
    (0x1018, &[0xce, 0x26, 0xf5, 0x4b], "bcachefs"),
    (0x8001, b"CD001", "ISO 9660"),
    (0x1_0040, b"_BHRfS_M", "btrfs"),
    (0x1_0034, b"ReIsEr", "ReiserFS"),
];

/// Files that hold something else than their bytes say, each with the next step.
const WRAPPINGS: [(Mark, &str); 21] = [
    ((0, b"PK\x03\x04", "a ZIP archive"), UNPACK),
    ((0, b"7z\xbc\xaf\x27\x1c", "a 7z archive"), UNPACK),
    ((0, b"Rar!\x1a\x07", "a RAR archive"), UNPACK),
    ((0, b"BZh", "compressed with bzip2"), UNPACK),
    ((0, b"LZIP", "compressed with lzip"), UNPACK),
    ((0, &[0x5d, 0, 0], "compressed with lzma"), UNPACK),
    ((0, &[0x04, 0x22, 0x4d, 0x18], "compressed with lz4"), UNPACK),
    ((0, &[0xfd, b'7', b'z', b'X', b'Z', 0], "compressed twice"), UNPACK),
    ((0, &[0x28, 0xb5, 0x2f, 0xfd], "compressed twice"), UNPACK),
    ((0, &[0x1f, 0x8b], "compressed twice"), UNPACK),
    ((0, b"QFI\xfb", "a disk of a virtual machine (qcow2)"), CONVERT),
    ((0, b"KDMV", "a disk of a virtual machine (VMDK)"), CONVERT),
    ((0, b"vhdxfile", "a disk of a virtual machine (VHDX)"), CONVERT),
    ((0, b"conectix", "a disk of a virtual machine (VHD)"), CONVERT),
    ((0x40, &[0x7f, 0x10, 0xda, 0xbe], "a disk of a virtual machine (VDI)"), CONVERT),
    ((0, &[0x3a, 0xff, 0x26, 0xed], "a sparse image of Android"), "convert it with `simg2img`"),
    ((0, b"UF2\n", "firmware for a microcontroller (UF2)"), NO_IMAGE),
    ((0, b"\x7fELF", "a program"), NO_IMAGE),
    ((0, b"\0asm", "a plugin, or another program of WebAssembly"), NO_IMAGE),
    ((0, b"!<arch>\n", "a package or a library"), NO_IMAGE),
    ((0, b"%PDF", "a document"), NO_IMAGE),
];

const UNPACK: &str = "unpack it, and give what was in it";
const CONVERT: &str = "convert it: qemu-img convert -O raw FILE FILE.img";
const NO_IMAGE: &str = "give an image with a boot and a root partition, such as those that piimg builds";
const TABLE: &str =
    "piimg reads disks with a master boot record, a FAT partition to boot from and an ext4 partition for the rest";

/// Tells what a file that begins with `head` is.
///
/// # Errors
/// [`Failure::usage`] if piimg has no use for it: what it is, and what to do about it.
pub(super) fn kind(head: &[u8]) -> Result<Kind> {
    let has = |(at, bytes, _): &Mark| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes));
    let refuse = |what: String, hint: &str| Err(Failure::usage(format!("it is {what}")).hint(hint).into());
    if head.is_empty() {
        return refuse("empty".into(), "was it copied or downloaded whole?");
    }
    if head.get(257..262) == Some(b"ustar") {
        return Ok(Kind::Tar);
    }
    if let Some(((.., what), hint)) = WRAPPINGS.iter().find(|(mark, _)| has(mark)) {
        return refuse((*what).to_owned(), hint);
    }
    let table = Entries::read(head);
    if let Some(table) = &table
        && table.has_boot_partition
    {
        return Ok(Kind::Image);
    }
    // At the second sector, of either length.
    if [512, 4096].iter().any(|at| head.get(*at..).is_some_and(|rest| rest.starts_with(b"EFI PART"))) {
        return refuse("a disk with another partition table (GPT)".into(), TABLE);
    }
    if let Some(found) = file_system(head) {
        return refuse(format!("{found}, and no disk with a partition table"), TABLE);
    }
    match table {
        Some(table) if table.has_any => Ok(Kind::Image),
        Some(_) => refuse("a disk with an empty partition table".into(), TABLE),
        None if is_intel_hex(head) => refuse("firmware for a microcontroller (Intel HEX)".into(), NO_IMAGE),
        None if is_web_page(head) => refuse("a web page".into(), "the download failed: look at it, and try again"),
        None => refuse("neither an image with a partition table nor a tar archive".into(), TABLE),
    }
}

/// Names the file system of a partition, or of a disk without a table, that begins with `head`.
pub(super) fn file_system(head: &[u8]) -> Option<&'static str> {
    FILE_SYSTEMS
        .iter()
        .find(|(at, bytes, _)| head.get(*at..).is_some_and(|rest| rest.starts_with(bytes)))
        .map(|it| it.2)
}

/// The entries of a master boot record.
struct Entries {
    has_any: bool,
    has_boot_partition: bool,
}

impl Entries {
    /// Parses a master boot record. Returns `None` for anything else, such as the first sector of a file system, which
    /// ends with the same two bytes.
    fn read(head: &[u8]) -> Option<Self> {
        let sector = head.get(..512).filter(|sector| sector.ends_with(&[0x55, 0xaa]))?;
        let is_file_system = FILE_SYSTEMS[..4].iter().any(|(at, bytes, _)| sector[*at..].starts_with(bytes));
        let entries: Vec<&[u8]> = sector[446..510].chunks(16).collect();
        // An entry is active, or not.
        if is_file_system || entries.iter().any(|entry| !matches!(entry[0], 0 | 0x80)) {
            return None;
        }
        let used: Vec<u8> = entries.iter().map(|entry| entry[4]).filter(|kind| *kind != 0).collect();
        let is_fat = |kind: &u8| crate::image::layout::PartitionType(*kind).is_fat();
        Some(Self { has_any: !used.is_empty(), has_boot_partition: used.iter().any(is_fat) })
    }
}

/// Lines of `:` and hexadecimal digits.
fn is_intel_hex(head: &[u8]) -> bool {
    let line = head.split(|byte| matches!(byte, b'\r' | b'\n')).next().unwrap_or_default();
    line.strip_prefix(b":").is_some_and(|rest| rest.len() >= 10 && rest.iter().all(u8::is_ascii_hexdigit))
}

fn is_web_page(head: &[u8]) -> bool {
    let start = head.trim_ascii_start();
    let start = start.strip_prefix(b"\xef\xbb\xbf").unwrap_or(start);
    ["<!doctype html", "<html"]
        .iter()
        .any(|tag| start.get(..tag.len()).is_some_and(|it| it.eq_ignore_ascii_case(tag.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::report;

    /// A disk with partitions of these types.
    fn disk(kinds: &[u8]) -> Vec<u8> {
        let mut head = vec![0; HEAD];
        for (at, kind) in kinds.iter().enumerate() {
            head[446 + 16 * at + 4] = *kind;
            head[446 + 16 * at + 8] = 1;
        }
        head[510..512].copy_from_slice(&[0x55, 0xaa]);
        head
    }

    fn with(mut head: Vec<u8>, at: usize, bytes: &[u8]) -> Vec<u8> {
        head[at..at + bytes.len()].copy_from_slice(bytes);
        head
    }

    #[test]
    fn images_and_archives_are_known() {
        assert_eq!(kind(&disk(&[0x0c, 0x83])).unwrap(), Kind::Image);
        // Left over from what the disk was before, or beside a hybrid table.
        assert_eq!(kind(&with(disk(&[0x0c, 0x83]), 0x438, &[0x53, 0xef])).unwrap(), Kind::Image);
        assert_eq!(kind(&with(disk(&[0x0c, 0xee, 0x83]), 512, b"EFI PART")).unwrap(), Kind::Image);
        // What it lacks is said by who looks for it.
        assert_eq!(kind(&disk(&[0x83])).unwrap(), Kind::Image);
        assert_eq!(kind(&with(vec![0; 1024], 257, b"ustar")).unwrap(), Kind::Tar);
    }

    #[test]
    fn other_files_are_named_with_the_next_step() {
        let zeros = || vec![0; HEAD];
        for (head, what, hint) in [
            (vec![], "it is empty", "copied"),
            (
                b"hello".to_vec(),
                "it is neither an image with a partition table nor a tar archive",
                "master boot record",
            ),
            (zeros(), "it is neither an image", "master boot record"),
            (disk(&[]), "it is a disk with an empty partition table", "master boot record"),
            (with(disk(&[0xee]), 512, b"EFI PART"), "it is a disk with another partition table (GPT)", "master boot"),
            (with(disk(&[0x0c]), 3, b"NTFS    "), "it is NTFS, and no disk", "FAT partition"),
            (with(disk(&[0x0c]), 82, b"FAT32   "), "it is a FAT, and no disk", "ext4 partition"),
            (with(disk(&[0, 0xef]), 0x8001, b"CD001"), "it is ISO 9660, and no disk", "master boot"),
            (with(zeros(), 0x1_0040, b"_BHRfS_M"), "it is btrfs, and no disk", "master boot"),
            (with(zeros(), 0x400, &[0x10, 0x20, 0xf5, 0xf2]), "it is f2fs, and no disk", "master boot"),
            (with(zeros(), 0x438, &[0x53, 0xef]), "it is ext2, 3 or 4, and no disk", "master boot"),
            (b"PK\x03\x04...".to_vec(), "it is a ZIP archive", "unpack it"),
            (b"QFI\xfb\0\0\0\x03".to_vec(), "it is a disk of a virtual machine (qcow2)", "qemu-img convert"),
            (b":020000041000EA\r\n".to_vec(), "it is firmware for a microcontroller (Intel HEX)", "boot and a root"),
            (b"\n<!DOCTYPE HTML><title>404".to_vec(), "it is a web page", "download failed"),
            (b"\x1f\x8b\x08".to_vec(), "it is compressed twice", "unpack it"),
        ] {
            let report = report(&kind(&head).unwrap_err());
            assert!(report.messages[0].starts_with(what), "{report:?}");
            assert!(report.hints[0].contains(hint), "{report:?}");
        }
    }

    #[test]
    fn file_systems_are_named() {
        assert_eq!(file_system(&with(vec![0; HEAD], 0x1_0040, b"_BHRfS_M")), Some("btrfs"));
        assert_eq!(file_system(&[]), None);
    }
}
