use std::path::Path;

use super::*;
use crate::image::layout::{Partition, PartitionType, Sectors};

const EPOCH: u64 = 1_780_000_000;

fn options() -> FatOptions {
    FatOptions { volume_id: 0x1234_5678, label: "bootfs".to_owned(), epoch: EPOCH }
}

fn write_size(dir: &Path, size: Bytes) -> Result<(File, Bytes)> {
    let rootfs = Rootfs::open(dir, EPOCH)?;
    let out = tempfile::tempfile().unwrap();
    let free = write_fat(&rootfs, &ImagePath::root(), &out, size, &options())?;
    Ok((out, free))
}

fn refusal(dir: &Path) -> String {
    write_size(dir, Bytes::mib(64)).unwrap_err().to_string()
}

#[test]
fn files_read_back_with_label_and_space() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("overlays/deep")).unwrap();
    let long = vec![7; 300_000];
    std::fs::write(dir.path().join("kernel8.img"), &long).unwrap();
    std::fs::write(dir.path().join("empty"), "").unwrap();
    std::fs::write(dir.path().join("overlays/deep/A long name with Größe.dtbo"), "x").unwrap();
    let (out, free) = write_size(dir.path(), Bytes::mib(64)).unwrap();
    let partition = Partition { kind: PartitionType::FAT32, start: Sectors(0), length: Bytes::mib(64).to_sectors() };
    let reader = FatReader::open(&out, &partition).unwrap();
    assert_eq!(reader.summary().unwrap(), FatSummary { label: "bootfs".to_owned(), volume_id: 0x1234_5678, free });
    let names: Vec<String> = reader.list().unwrap().into_iter().map(|file| file.path).collect();
    assert_eq!(names, ["empty", "kernel8.img", "overlays/deep/A long name with Größe.dtbo"]);
    assert_eq!(reader.read("KERNEL8.IMG", 300_000).unwrap(), long);
    assert_eq!(
        reader.read("kernel8.img", 100).unwrap_err().to_string(),
        "`kernel8.img` on the boot partition is longer than 100 B"
    );
    assert!(reader.read("none", 1).unwrap_err().to_string().contains("cannot open `none`"));
}

#[test]
fn what_fat_cannot_hold_is_named() {
    use std::os::unix::fs::symlink;
    let case = tempfile::tempdir().unwrap();
    std::fs::create_dir(case.path().join("d")).unwrap();
    std::fs::write(case.path().join("d/Name"), "").unwrap();
    std::fs::write(case.path().join("d/nAME"), "").unwrap();
    assert_eq!(refusal(case.path()), "the boot partition cannot hold both `Name` and `nAME` of `/d`: FAT ignores case");
    let link = tempfile::tempdir().unwrap();
    symlink("target", link.path().join("link")).unwrap();
    assert_eq!(refusal(link.path()), "the boot partition cannot hold `/link`: it is a symbolic link");
    for name in ["a:b", "dot.", "space ", "a\\b"] {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(name), "").unwrap();
        let refusal = refusal(dir.path());
        assert!(refusal.contains("FAT does not allow this name"), "{refusal}");
    }
}

#[test]
fn too_many_bytes_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    File::create(dir.path().join("big")).unwrap().set_len(70 << 20).unwrap();
    let refusal = refusal(dir.path());
    assert!(refusal.starts_with("the boot partition is too small: `/` needs 70 MiB, it has room for 6"), "{refusal}");
    let short = write_size(dir.path(), Bytes::mib(20)).unwrap_err().to_string();
    assert_eq!(short, "a boot partition of 20 MiB is too small for FAT32");
}

#[test]
fn a_full_partition_is_still_good() {
    let dir = tempfile::tempdir().unwrap();
    for i in 0..200 {
        std::fs::write(dir.path().join(format!("a file with a long name {i}")), [1; 100]).unwrap();
    }
    let (_, free) = write_size(dir.path(), Bytes::mib(36)).unwrap();
    File::create(dir.path().join("rest")).unwrap().set_len(free.0 - 2048).unwrap();
    let (_, left) = write_size(dir.path(), Bytes::mib(36)).unwrap();
    assert!(left.0 <= 2048, "{left}");
}

#[test]
fn labels_and_years_are_checked() {
    for text in ["", "twelve chars", "a b", "ä"] {
        assert!(label(text).unwrap_err().to_string().contains("cannot be the label"), "{text}");
    }
    assert_eq!(&label("BOOT_1").unwrap(), b"BOOT_1     ");
    assert_eq!(Clock::new(0).unwrap_err().to_string(), "FAT cannot store the year 1970");
}
