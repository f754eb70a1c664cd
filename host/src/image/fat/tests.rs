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

/// A file system of three files and a directory, to be spoilt.
struct Spoilt {
    out: File,
    table: u64,
    data: u64,
}

impl Spoilt {
    fn new() -> Self {
        use std::os::unix::fs::FileExt as _;
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("dir")).unwrap();
        for (name, length) in [("a.txt", 2000), ("b.txt", 2000), ("dir/c.txt", 10)] {
            std::fs::write(dir.path().join(name), vec![b'x'; length]).unwrap();
        }
        let (out, _) = write_size(dir.path(), Bytes::mib(36)).unwrap();
        let mut sector = [0; 512];
        out.read_exact_at(&mut sector, 0).unwrap();
        let table = u64::from(u16::from_le_bytes([sector[14], sector[15]])) * 512;
        let length = u64::from(u32::from_le_bytes(sector[36..40].try_into().unwrap())) * 512;
        Self { out, table, data: table + 2 * length }
    }

    fn write(&self, at: u64, bytes: &[u8]) {
        use std::os::unix::fs::FileExt as _;
        self.out.write_all_at(bytes, at).unwrap();
    }

    /// Where the entry of that short name is in the directory at that cluster, and its first cluster.
    fn entry(&self, directory: u32, name: &[u8; 11]) -> (u64, u32) {
        use std::os::unix::fs::FileExt as _;
        let start = self.data + u64::from(directory - 2) * 512;
        let mut content = [0; 512];
        self.out.read_exact_at(&mut content, start).unwrap();
        let at = content.chunks(32).position(|entry| entry[..11] == *name).unwrap();
        let entry = &content[at * 32..];
        let first = u32::from(u16::from_le_bytes([entry[26], entry[27]]));
        (start + u64::try_from(at).unwrap() * 32, first)
    }

    fn link(&self, cluster: u32, next: u32) {
        self.write(self.table + u64::from(cluster) * 4, &next.to_le_bytes());
    }

    fn open(&self) -> Result<FatReader> {
        let length = Bytes::mib(36).to_sectors();
        FatReader::open(&self.out, &Partition { kind: PartitionType::FAT32, start: Sectors(0), length })
    }

    /// What a reader says.
    fn says(&self) -> String {
        match self.open().and_then(|reader| Ok((reader.list()?, reader.summary()?))) {
            Ok((files, _)) => format!("{} files", files.len()),
            Err(error) => format!("{error:#}"),
        }
    }
}

#[test]
fn a_hostile_file_system_ends_and_says_why() {
    const A: &[u8; 11] = b"A       TXT";
    const B: &[u8; 11] = b"B       TXT";
    const DIR: &[u8; 11] = b"DIR        ";
    const LEADS_BACK: &str = "has clusters that lead back into it, are another file's or are none";
    type Case<'a> = (&'a str, &'a dyn Fn(&Spoilt), String);
    let of = |path: &str| format!("`{path}` on the boot partition {LEADS_BACK}");
    let cases: [Case<'_>; 14] = [
        ("nothing", &|_| {}, "3 files".into()),
        ("a file's chain leads to itself", &|fat| fat.link(fat.entry(2, A).1, fat.entry(2, A).1), of("a.txt")),
        ("a file's chain leads back", &|fat| fat.link(fat.entry(2, A).1 + 2, fat.entry(2, A).1), of("a.txt")),
        ("a file's chain leads into another", &|fat| fat.link(fat.entry(2, A).1 + 1, fat.entry(2, B).1), of("b.txt")),
        ("the top directory leads to itself", &|fat| fat.link(2, 2), of("/")),
        ("a directory leads to itself", &|fat| fat.link(fat.entry(2, DIR).1, fat.entry(2, DIR).1), of("dir")),
        (
            "a directory is the top directory",
            &|fat| fat.write(fat.entry(2, DIR).0 + 26, &2_u16.to_le_bytes()),
            of("dir"),
        ),
        (
            "a directory has itself as an entry",
            &|fat| {
                let (_, dir) = fat.entry(2, DIR);
                let (at, _) = fat.entry(dir, b"C       TXT");
                fat.write(at + 11, &[0x10]);
                fat.write(at + 26, &u16::try_from(dir).unwrap().to_le_bytes());
            },
            of("dir/c.txt"),
        ),
        ("a file begins nowhere", &|fat| fat.write(fat.entry(2, A).0 + 20, &[0xff, 0x0f]), of("a.txt")),
        (
            "a chain leads to a free cluster",
            &|fat| fat.link(fat.entry(2, A).1, 60_000),
            "a chain of clusters of the boot partition leads to one that is no file's".into(),
        ),
        (
            "a file is longer than its chain",
            &|fat| fat.write(fat.entry(2, A).0 + 28, &u32::MAX.to_le_bytes()),
            "`a.txt` on the boot partition is cut off".into(),
        ),
        (
            "a name with a slash",
            &|fat| fat.write(fat.entry(2, A).0 - 32 + 1, b"/"),
            "the boot partition has a file `/.txt` in `/`, which is no name".into(),
        ),
        (
            "a table that is too short",
            &|fat| fat.write(36, &1_u32.to_le_bytes()),
            "the boot partition holds no FAT file system".into(),
        ),
        (
            "a file system that is longer than its partition",
            &|fat| fat.write(32, &u32::MAX.to_le_bytes()),
            "the boot partition holds no FAT file system".into(),
        ),
    ];
    for (what, spoil, said) in cases {
        let fat = Spoilt::new();
        spoil(&fat);
        assert_eq!(fat.says(), said, "{what}");
    }
    let fat = Spoilt::new();
    fat.out.set_len(fat.data).unwrap();
    assert_eq!(fat.says(), "the boot partition is cut off");
}

#[test]
fn absurd_counts_end() {
    // A directory of as many entries as fit, each of a cluster of its own that is a directory of the same.
    let fat = Spoilt::new();
    let mut next = 1000;
    let mut fill = |first: u32, clusters: u32, kind: u8| {
        for cluster in first..first + clusters {
            fat.link(cluster, if cluster + 1 == first + clusters { 0x0fff_ffff } else { cluster + 1 });
            let mut content = Vec::new();
            for entry in 0..16 {
                let mut bytes = [0; 32];
                bytes[..11].copy_from_slice(format!("{:06}{entry:02}   ", cluster - first).as_bytes());
                bytes[11] = kind;
                if kind == 0x10 {
                    bytes[20..22].copy_from_slice(&u16::try_from(next >> 16).unwrap().to_le_bytes());
                    bytes[26..28].copy_from_slice(&u16::try_from(next & 0xffff).unwrap().to_le_bytes());
                    next += 4000;
                }
                content.extend_from_slice(&bytes);
            }
            fat.write(fat.data + u64::from(cluster - 2) * 512, &content);
        }
    };
    fill(2, 1, 0x10);
    for directory in 0..16 {
        fill(1000 + directory * 4000, 3999, 0);
    }
    assert_eq!(fat.says(), "the boot partition holds more than 100000 files");
    // And one directory alone of more than the format has.
    let fat = Spoilt::new();
    for cluster in 2..5000 {
        fat.link(cluster, cluster + 1);
        fat.write(fat.data + u64::from(cluster - 2) * 512, &[0xe5; 512]);
    }
    assert_eq!(fat.says(), "`/` on the boot partition has too many entries");
    // Directories in one another.
    let fat = Spoilt::new();
    for depth in 0..20 {
        let (cluster, next) = (if depth == 0 { 2 } else { 100 + depth }, 101 + depth);
        let mut content = [0; 512];
        content[..12].copy_from_slice(b"D          \x10");
        content[26..28].copy_from_slice(&u16::try_from(next).unwrap().to_le_bytes());
        fat.link(cluster, 0x0fff_ffff);
        fat.write(fat.data + u64::from(cluster - 2) * 512, &content);
    }
    assert!(fat.says().ends_with("D/D/D` on the boot partition is nested too deeply"), "{}", fat.says());
}

/// As `mkfs.fat` makes them, filled by mtools: the older kinds are read too.
#[test]
fn every_kind_of_fat_is_read() {
    use crate::sandbox::tool::Tool;
    for (bits, mebibytes) in [("12", 2), ("16", 32), ("32", 64)] {
        let dir = tempfile::tempdir().unwrap();
        let image = dir.path().join("image");
        File::create(&image).unwrap().set_len(mebibytes << 20).unwrap();
        Tool::new("mkfs.fat").args(["-F", bits, "-n", "OLD", "-i", "12345678"]).arg(&image).run().unwrap();
        let content: Vec<u8> = (0..200_000_u32).map(|number| number.to_le_bytes()[1]).collect();
        for (name, content) in [("A long name of a file.bin", &content[..]), ("small.txt", b"hello\n")] {
            let path = dir.path().join(name);
            std::fs::write(&path, content).unwrap();
            Tool::new("mcopy").arg("-i").arg(&image).arg(&path).arg(format!("::{name}")).run().unwrap();
        }
        Tool::new("mmd").arg("-i").arg(&image).arg("::sub").run().unwrap();
        Tool::new("mcopy")
            .arg("-i")
            .arg(&image)
            .arg(dir.path().join("small.txt"))
            .arg("::sub/SMALL.TXT")
            .run()
            .unwrap();
        let length = Bytes::mib(mebibytes).to_sectors();
        let partition = Partition { kind: PartitionType::FAT32, start: Sectors(0), length };
        let reader = FatReader::open(&File::open(&image).unwrap(), &partition).unwrap();
        let names: Vec<String> = reader.list().unwrap().into_iter().map(|file| file.path).collect();
        assert_eq!(names, ["A long name of a file.bin", "small.txt", "sub/SMALL.TXT"], "FAT{bits}");
        assert_eq!(reader.read("a LONG name of a file.bin", 1 << 20).unwrap(), content, "FAT{bits}");
        let summary = reader.summary().unwrap();
        assert_eq!((summary.label.as_str(), summary.volume_id), ("OLD", 0x1234_5678), "FAT{bits}");
        let free = Tool::new("fsck.fat").args(["-n", "-v"]).arg(&image).run().unwrap().stdout_text();
        let used: u64 = free.rsplit_once("files, ").unwrap().1.split('/').next().unwrap().parse().unwrap();
        let cluster = reader.volume.geometry.cluster;
        assert_eq!(summary.free.0 / cluster + used, u64::from(reader.volume.geometry.count), "FAT{bits}: {free}");
    }
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
