use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::*;
use crate::image::layout::{PartitionType, Sectors};
use crate::sandbox::tool::Tool;

fn tool(program: &str, arguments: &[&str]) {
    Tool::new(program).args(arguments).run().unwrap();
}

/// An image of `tree`, as `mke2fs` makes it with these options.
fn image_with(dir: &Path, tree: &Path, options: &[&str]) -> PathBuf {
    let image = dir.join("image");
    fs::File::create(&image).unwrap().set_len(64 << 20).unwrap();
    let places = ["-d", tree.to_str().unwrap(), image.to_str().unwrap()];
    tool("mke2fs", &[&["-q", "-F", "-t", "ext4"], options, &places].concat());
    image
}

fn image(dir: &Path, tree: &Path) -> PathBuf {
    image_with(dir, tree, &["-O", "^metadata_csum"])
}

/// Has `debugfs` change the image.
fn change(image: &Path, commands: &str) {
    Tool::new("debugfs").args(["-w", "-f", "-"]).arg(image).stdin(format!("{commands}\n")).run().unwrap();
}

fn extracted(dir: &Path, image: &Path) -> Result<(PathBuf, Skipped)> {
    let (into, scratch) = (dir.join("into"), dir.join("scratch"));
    fs::create_dir(&into).unwrap();
    fs::create_dir(&scratch).unwrap();
    let (name, value) = ENVIRONMENT;
    let run = |script: String| Tool::new("debugfs").env(name, value).args(ARGUMENTS).arg(image).stdin(script).output();
    let debugfs = Debugfs { run: &run, scratch: &scratch, scratch_inside: scratch.to_str().unwrap() };
    let file = File::open(image).unwrap();
    let length = Bytes(file.metadata().unwrap().len()).to_sectors();
    let partition = Partition { kind: PartitionType::LINUX, start: Sectors(0), length };
    let room = Room::new(dir, "the disk", "the tree")?;
    extract(&debugfs, Source::new(&file, partition, room)?, &into, Attributes::OfFiles).map(|left| (into, left))
}

/// One user beside the owner may read, as `acl(5)` has it in an attribute.
fn access_list() -> Vec<u8> {
    let entries = [(1_u16, 7_u16, u32::MAX), (2, 5, 1000), (4, 5, u32::MAX), (16, 5, u32::MAX), (32, 0, u32::MAX)];
    let entry = |(tag, rights, id): (u16, u16, u32)| {
        [&tag.to_le_bytes()[..], &rights.to_le_bytes()[..], &id.to_le_bytes()[..]].concat()
    };
    [2_u32.to_le_bytes().to_vec(), entries.map(entry).concat()].concat()
}

#[test]
fn a_tree_comes_out_as_it_went_in() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("d/deep")).unwrap();
    fs::write(tree.join("a"), "hello").unwrap();
    fs::write(tree.join("d/\u{e9} \"quoted\" 'name'"), "x").unwrap();
    fs::write(tree.join(OsStr::from_bytes(b"d/\xff")), "y").unwrap();
    fs::hard_link(tree.join("a"), tree.join("d/again")).unwrap();
    let long = "/very/long".repeat(20);
    std::os::unix::fs::symlink("short", tree.join("short")).unwrap();
    std::os::unix::fs::symlink(&long, tree.join("long")).unwrap();
    let acl = access_list();
    for (name, value) in [("user.note", &b"\0\xff"[..]), ("system.posix_acl_access", &acl)] {
        rustix::fs::lsetxattr(tree.join("a"), name, value, XattrFlags::empty()).unwrap();
    }
    rustix::fs::mknodat(CWD, tree.join("pipe"), rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
    rustix::fs::chmodat(CWD, tree.join("d"), Mode::from_raw_mode(0o1770), AtFlags::empty()).unwrap();
    let time = Timespec { tv_sec: 1_700_000_000, tv_nsec: 0 };
    let times = Timestamps { last_access: time, last_modification: time };
    rustix::fs::utimensat(CWD, tree.join("a"), &times, AtFlags::empty()).unwrap();

    let (into, left) = extracted(dir.path(), &image(dir.path(), &tree)).unwrap();
    assert_eq!(left.special, [into.join("pipe")]);
    for path in ["a", "d", "d/deep", "d/\u{e9} \"quoted\" 'name'", "short", "long"] {
        let (old, new) =
            (fs::symlink_metadata(tree.join(path)).unwrap(), fs::symlink_metadata(into.join(path)).unwrap());
        assert_eq!((old.mode(), old.uid(), old.gid()), (new.mode(), new.uid(), new.gid()), "{path}");
    }
    assert_eq!(fs::read(into.join(OsStr::from_bytes(b"d/\xff"))).unwrap(), b"y");
    let metadata = fs::metadata(into.join("a")).unwrap();
    assert_eq!(metadata.mtime(), 1_700_000_000);
    assert_eq!((metadata.nlink(), metadata.ino()), (2, fs::metadata(into.join("d/again")).unwrap().ino()));
    assert_eq!(fs::read(into.join("a")).unwrap(), b"hello");
    assert_eq!(fs::read_link(into.join("short")).unwrap(), Path::new("short"));
    assert_eq!(fs::read_link(into.join("long")).unwrap(), Path::new(&long));
    for (name, expected) in [("user.note", &b"\0\xff"[..]), ("system.posix_acl_access", &acl)] {
        let mut value = [0; 64];
        let length = rustix::fs::lgetxattr(into.join("a"), name, &mut value[..]).unwrap();
        assert_eq!(&value[..length], expected, "{name}");
    }
    assert!(!into.join(LOST).exists());
    assert!(fs::read_dir(&into).unwrap().all(|entry| !entry.unwrap().file_type().unwrap().is_fifo()));
}

#[test]
fn a_file_system_that_is_no_tree_is_refused() {
    for (commands, cause) in [
        // A file in the place of a link that leads out, by a second entry of its name: see below.
        ("symlink there /etc\nln <12> zhere", "File exists"),
        // A directory within itself.
        ("mkdir a\nln <2> a/up", "has two parents"),
        ("mkdir a\nmkdir b\nln a b/a", "has two parents"),
        ("sif <12> size 0x10000000000", "`/file` of the root file system is 1 TiB long, holes included"),
        ("sif <12> flags 0x80800", "`/file` of the root file system is encrypted"),
        ("sif <12> uid 65536", "`/file` of the root file system belongs to the user or group 65536"),
        ("sif <12> gid 4294967294", "`/file` of the root file system belongs to the user or group 4294967294"),
        ("sif <12> block[5] 999999999", "it has blocks outside of the file system"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), "content").unwrap();
        let image = image(dir.path(), &tree);
        change(&image, commands);
        let bytes = fs::read(&image).unwrap();
        let found = memchr::memmem::find(&bytes, b"zhere");
        if let Some(position) = found {
            fs::write(&image, [&bytes[..position], b"there", &bytes[position + 5..]].concat()).unwrap();
        }
        let error = extracted(dir.path(), &image).map(|_| commands).unwrap_err();
        assert!(format!("{error:#}").contains(cause), "{commands}: {error:#}");
    }
}

#[test]
fn a_name_with_a_line_break_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("new\nline"), "").unwrap();
    let error = extracted(dir.path(), &image(dir.path(), &tree)).unwrap_err();
    assert!(format!("{error:#}").contains("has a name that cannot be read"), "{error:#}");
}

/// A file system that nobody had in mind is read as any other one.
#[test]
fn file_systems_of_all_kinds_are_read() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    let contents: Vec<(String, Vec<u8>)> = [0, 1, 59, 60, 61, 100, 150, 1023, 1024, 4096, 9000, 200_000]
        .into_iter()
        .map(|length: usize| {
            (format!("d/{length}"), (0..length).map(|at| u8::try_from(at % 251 + 1).unwrap()).collect())
        })
        .collect();
    for (name, content) in &contents {
        fs::write(tree.join(name), content).unwrap();
    }
    fs::File::create(tree.join("lastlog")).unwrap().set_len(400 << 20).unwrap();
    let hole = fs::File::create(tree.join("hole")).unwrap();
    hole.set_len((3 << 30) + 5).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&hole, b"end\n", (3 << 30) + 1).unwrap();
    let long = "x".repeat(90);
    std::os::unix::fs::symlink(&long, tree.join("link")).unwrap();
    for options in [
        &["-O", "inline_data"][..],
        &["-O", "inline_data", "-I", "1024"],
        &["-b", "1024"],
        &["-b", "65536"],
        &["-O", "bigalloc", "-C", "65536"],
        &["-O", "meta_bg,^resize_inode"],
        &["-O", "ea_inode", "-b", "1024"],
        &["-O", "encrypt,verity,casefold"],
        &["-O", "^filetype,^dir_index"],
        &["-O", "^has_journal,quota,project,mmp,large_dir"],
        // The last, for it takes the end of the hole away.
        &["-O", "^extents,^64bit"],
    ] {
        let place = tempfile::tempdir().unwrap();
        // What an older file system cannot hold.
        let is_old = options.iter().any(|option| option.contains("^extents"));
        hole.set_len(if is_old { 5 } else { (3 << 30) + 5 }).unwrap();
        // One that fits into a block of its own, and one that needs an inode of its own.
        let value = vec![7; if options.contains(&"ea_inode") { 3000 } else { 700 }];
        rustix::fs::lsetxattr(tree.join("d/1"), "user.big", &value, XattrFlags::empty()).unwrap();
        let image = image_with(place.path(), &tree, options);
        // Set aside and never written, behind the end of a file and before.
        if !is_old {
            change(&image, "fallocate /d/9000 3 40\nfallocate /lastlog 3 40");
        }
        let (into, left) = extracted(place.path(), &image).unwrap_or_else(|error| panic!("{options:?}: {error:#}"));
        assert_eq!(left, Skipped::default(), "{options:?}");
        for (name, content) in &contents {
            assert!(fs::read(into.join(name)).unwrap() == *content, "{options:?}: {name}");
        }
        let mut found = vec![0; 4000];
        let length = rustix::fs::lgetxattr(into.join("d/1"), "user.big", &mut found[..]).unwrap();
        assert_eq!(found[..length], value, "{options:?}");
        assert_eq!(fs::read_link(into.join("link")).unwrap(), Path::new(&long), "{options:?}");
        for name in ["lastlog", "hole"] {
            let (was, is) = (fs::metadata(tree.join(name)).unwrap(), fs::metadata(into.join(name)).unwrap());
            assert_eq!(was.len(), is.len(), "{options:?}: {name}");
            assert!(is.blocks() <= 256, "{options:?}: {name} has {} blocks", is.blocks());
        }
        if !is_old {
            let mut end = [0; 4];
            let file = fs::File::open(into.join("hole")).unwrap();
            std::os::unix::fs::FileExt::read_exact_at(&file, &mut end, (3 << 30) + 1).unwrap();
            assert_eq!(&end, b"end\n", "{options:?}");
        }
    }
}

#[test]
fn what_gets_lost_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir_all(tree.join("d")).unwrap();
    fs::write(tree.join("a"), "a").unwrap();
    fs::write(tree.join("b"), "b").unwrap();
    let image = image_with(dir.path(), &tree, &["-O", "casefold"]);
    change(&image, "sif /a flags 0x80010\nsif /b flags 0x180030\nsif /d flags 0x40080000");
    let (into, left) = extracted(dir.path(), &image).unwrap();
    let told: Vec<(&str, &Path, usize)> =
        left.flags.iter().map(|(what, (path, count))| (*what, path.as_path(), *count)).collect();
    let (a, b, d) = (into.join("a"), into.join("b"), into.join("d"));
    let expected = [
        ("can only grow (`chattr +a`)", b.as_path(), 1),
        ("cannot be changed (`chattr +i`)", a.as_path(), 2),
        ("has a digest that the kernel compares (fs-verity)", b.as_path(), 1),
        ("ignores the case of names", d.as_path(), 1),
    ];
    assert_eq!(told, expected);
    assert_eq!(fs::read(b).unwrap(), b"b");
}
