use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};

use super::*;
use crate::sandbox::tool::Tool;

fn tool(program: &str, arguments: &[&str]) {
    Tool::new(program).args(arguments).run().unwrap();
}

/// An image of `tree`, as `mke2fs` makes it.
fn image(dir: &Path, tree: &Path) -> PathBuf {
    let image = dir.join("image");
    fs::File::create(&image).unwrap().set_len(16 << 20).unwrap();
    tool(
        "mke2fs",
        &["-q", "-t", "ext4", "-O", "^metadata_csum", "-d", tree.to_str().unwrap(), image.to_str().unwrap()],
    );
    image
}

fn extracted(dir: &Path, image: &Path, most: u64) -> Result<(PathBuf, Left)> {
    let (into, scratch) = (dir.join("into"), dir.join("scratch"));
    fs::create_dir(&into).unwrap();
    fs::create_dir(&scratch).unwrap();
    let (name, value) = ENVIRONMENT;
    let run = |script: String| Tool::new("debugfs").env(name, value).args(ARGUMENTS).arg(image).stdin(script).output();
    let debugfs = Debugfs { run: &run, scratch: &scratch, scratch_inside: scratch.to_str().unwrap() };
    extract(&debugfs, &into, Bytes(most)).map(|left| (into, left))
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

    let (into, left) = extracted(dir.path(), &image(dir.path(), &tree), 1 << 20).unwrap();
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
        ("sif <12> size 0x10000000000", "which its image cannot hold"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::write(tree.join("file"), "content").unwrap();
        let image = image(dir.path(), &tree);
        Tool::new("debugfs").args(["-w", "-f", "-"]).arg(&image).stdin(format!("{commands}\n")).run().unwrap();
        let bytes = fs::read(&image).unwrap();
        let found = bytes.windows(5).position(|window| window == b"zhere");
        if let Some(position) = found {
            fs::write(&image, [&bytes[..position], b"there", &bytes[position + 5..]].concat()).unwrap();
        }
        let error = extracted(dir.path(), &image, 1 << 20).unwrap_err();
        assert!(format!("{error:#}").contains(cause), "{commands}: {error:#}");
    }
}

#[test]
fn a_name_with_a_line_break_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let tree = dir.path().join("tree");
    fs::create_dir(&tree).unwrap();
    fs::write(tree.join("new\nline"), "").unwrap();
    let error = extracted(dir.path(), &image(dir.path(), &tree), 1 << 20).unwrap_err();
    assert!(format!("{error:#}").contains("has a name that cannot be read"), "{error:#}");
}
