use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;

use super::*;

const EPOCH: u64 = 1_780_000_000;

/// A tree with every kind of entry and the names that scripts get wrong.
fn tree() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let at = |name: &str| dir.path().join(name);
    for name in ["etc/ssh", "usr/lib", "home/a b"] {
        std::fs::create_dir_all(at(name)).unwrap();
    }
    for (name, text) in [
        ("etc/hostname", "robot\n"),
        ("usr/lib/os-release", "ID=x\n"),
        ("home/a b/\"quoted\" <7> #", "q"),
        ("-f", "f"),
        ("empty", ""),
    ] {
        std::fs::write(at(name), text).unwrap();
    }
    std::fs::write(at("setuid"), vec![3; 70_000]).unwrap();
    std::fs::write(at("zeros"), vec![0; 70_000]).unwrap();
    std::fs::write(at("holes"), with_holes()).unwrap();
    std::fs::set_permissions(at("setuid"), PermissionsExt::from_mode(0o4755)).unwrap();
    std::fs::set_permissions(at("home/a b"), PermissionsExt::from_mode(0o1777)).unwrap();
    symlink("../usr/lib/os-release", at("etc/os-release")).unwrap();
    symlink("x".repeat(100), at("etc/long-link")).unwrap();
    let flags = rustix::fs::XattrFlags::empty();
    rustix::fs::setxattr(at("setuid"), "user.note", b"kept", flags).unwrap();
    for i in 0..300 {
        std::fs::hard_link(at("etc/hostname"), at(&format!("usr/lib/another name of the host's name {i:03}"))).unwrap();
    }
    dir
}

/// Zeros and data in turn, so often that the extents do not fit into an inode.
fn with_holes() -> Vec<u8> {
    (0..20_u8).flat_map(|number| vec![number % 2 * (number + 1); (64 << 10) + 5 * usize::from(number)]).collect()
}

fn write(tree: &Path, extra: Bytes) -> Result<(File, Superblock)> {
    let out = tempfile::tempfile().unwrap();
    let identity = DiskIds::derive(b"test");
    let tree = Tree::read(tree, EPOCH)?;
    let options = Ext4Options { identity: &identity, label: "rootfs" };
    let superblock = tree.write(&out, tree.partition_size(extra), &options)?;
    Ok((out, superblock))
}

fn check(out: &File) {
    let output = Tool::new("e2fsck").arg("-fn").arg(descriptor_path(out)).output().unwrap();
    assert_eq!(output.status, 0, "{}", output.tail());
}

#[test]
fn a_tree_arrives_whole() {
    let tree = tree();
    let (out, superblock) = write(tree.path(), Bytes::mib(20)).unwrap();
    check(&out);
    assert_eq!((superblock.label.as_str(), superblock.uuid), ("rootfs", DiskIds::derive(b"test").root_uuid));
    assert!(superblock.free >= Bytes::mib(20), "{}", superblock.free);
    let reader = Ext4Reader::open(&out, Bytes(0)).unwrap();
    assert_eq!(reader.read_text("/etc/hostname").unwrap().as_deref(), Some("robot\n"));
    assert_eq!(reader.read_text("/etc/os-release").unwrap().as_deref(), Some("ID=x\n"));
    assert_eq!(reader.read("/etc/none").unwrap(), None);
    assert_eq!(reader.read("/none/none").unwrap(), None);
    assert_eq!(reader.read("/setuid").unwrap().unwrap(), vec![3; 70_000]);
    assert_eq!(reader.read("/zeros").unwrap().unwrap(), vec![0; 70_000]);
    assert_eq!(reader.read("/holes").unwrap().unwrap(), with_holes());
    let attributes =
        Tool::new("debugfs").args(["-R", "ea_get /setuid user.note"]).arg(descriptor_path(&out)).run().unwrap();
    assert!(attributes.stdout_text().contains("kept"), "{attributes:?}");
    let root = reader.list("/").unwrap().unwrap();
    let names: Vec<(&str, u32)> = root.iter().map(|entry| (entry.name.as_str(), entry.mode)).collect();
    assert!(
        names.contains(&("-f", 0o100_644))
            && names.contains(&("zeros", 0o100_644))
            && names.contains(&("setuid", 0o104_755)),
        "{names:?}"
    );
    let home = reader.list("/home/a b").unwrap().unwrap();
    assert_eq!(home[0].name, "\"quoted\" <7> #");
    assert_eq!(reader.list("/usr/lib").unwrap().unwrap().len(), 301);
    assert_eq!(reader.list("/home").unwrap().unwrap()[0].mode, 0o041_777);
}

#[test]
fn equal_trees_give_equal_bytes() {
    let (first, second) = (tree(), tempfile::tempdir().unwrap());
    let at = |dir: &tempfile::TempDir, name: &str| -> PathBuf { dir.path().join(name) };
    // The copy's entries come in another order, and its change and access times differ.
    Tool::new("sh")
        .args([
            "-c",
            "cd \"$1\" && find . -mindepth 1 | sort -r \
             | tar -c --no-recursion --xattrs --xattrs-include='*' -T - \
             | tar -xp --xattrs --xattrs-include='*' -C \"$2\"",
            "sh",
        ])
        .args([first.path(), second.path()])
        .run()
        .unwrap();
    std::fs::set_permissions(second.path(), std::fs::metadata(first.path()).unwrap().permissions()).unwrap();
    std::fs::read(at(&second, "setuid")).unwrap();
    let bytes = |dir: &tempfile::TempDir| {
        use std::os::unix::fs::FileExt as _;
        let (out, superblock) = write(dir.path(), Bytes::mib(4)).unwrap();
        let mut bytes = vec![0; usize::try_from(superblock.size.0).unwrap()];
        out.read_exact_at(&mut bytes, 0).unwrap();
        bytes
    };
    let (a, b) = (bytes(&first), bytes(&second));
    assert_eq!(a.iter().zip(&b).position(|(a, b)| a != b), None);
}

#[test]
fn what_cannot_be_stored_is_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("two\nlines"), "").unwrap();
    let error = write(dir.path(), Bytes(0)).unwrap_err().to_string();
    assert!(error.contains("contains a line break"), "{error}");

    let dir = tempfile::tempdir().unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(dir.path().join("socket")).unwrap();
    let error = write(dir.path(), Bytes(0)).unwrap_err().to_string();
    assert_eq!(error, "cannot put `/socket` into an image: it is a device, pipe or socket");

    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("big"), vec![1; 20 << 20]).unwrap();
    let identity = DiskIds::derive(b"");
    let options = Ext4Options { identity: &identity, label: "rootfs" };
    let tree = Tree::read(dir.path(), EPOCH).unwrap();
    let error = tree.write(&tempfile::tempfile().unwrap(), Bytes::mib(16), &options).unwrap_err();
    assert_eq!(error.to_string(), "the root partition is too small for its files", "{error:?}");
}

#[test]
fn holes_take_no_room() {
    use std::os::unix::fs::FileExt as _;
    let dir = tempfile::tempdir().unwrap();
    let file = std::fs::File::create(dir.path().join("lastlog")).unwrap();
    file.set_len(20 << 30).unwrap();
    file.write_all_at(b"data", 10 << 30).unwrap();
    std::fs::File::create(dir.path().join("nothing")).unwrap().set_len(1 << 40).unwrap();
    // So many pieces that their list needs blocks of its own, and pieces of zeros that are no holes of this file.
    let pieces = std::fs::File::create(dir.path().join("pieces")).unwrap();
    for piece in 0..2000_u64 {
        pieces.write_all_at(&[1, 0], piece * (128 << 10)).unwrap();
    }
    pieces.write_all_at(&vec![0; 1 << 20], 400 << 20).unwrap();
    let (out, superblock) = write(dir.path(), Bytes::mib(8)).unwrap();
    check(&out);
    assert!(superblock.size < Bytes::mib(200), "{}", superblock.size);
    assert!(superblock.free >= Bytes::mib(8), "{}", superblock.free);
    let reader = Ext4Reader::open(&out, Bytes(0)).unwrap();
    let lengths: Vec<(String, u64)> =
        reader.list("/").unwrap().unwrap().into_iter().map(|entry| (entry.name, entry.size)).collect();
    for (name, length) in [("lastlog", 20 << 30), ("nothing", 1 << 40), ("pieces", 401 << 20)] {
        assert!(lengths.contains(&(name.to_owned(), length)), "{lengths:?}");
    }
}
