use super::fixture::{EPOCH, Fixture, path};
use super::*;
use std::io::Seek as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

/// A root file system beside a canary.
fn fixture() -> Fixture {
    let fixture = Fixture::new(&["etc", "usr/lib", "run"], &[("canary", "canary"), ("root/etc/passwd", "inside")]);
    symlink("usr/lib", fixture.host("lib")).unwrap();
    fixture
}

fn assert_canary(fixture: &Fixture) {
    assert_eq!(std::fs::read(fixture.dir.path().join("canary")).unwrap(), b"canary");
}

#[test]
fn links_and_dots_stay_in_the_image() {
    let f = fixture();
    let outside = f.dir.path().join("canary");
    for (link, target) in [
        ("etc/abs", "/etc/passwd"),
        ("etc/up", "../../../../../../etc/passwd"),
        ("etc/host", outside.to_str().unwrap()),
        ("etc/self", "/proc/self/root/etc/hostname"),
        ("etc/new", "../run/new"),
        ("etc/chain", "abs"),
        ("etc/loop", "loop"),
        ("usr/abslib", "/lib"),
    ] {
        symlink(target, f.host(link)).unwrap();
    }
    for (text, resolved) in [
        ("/etc/passwd", Ok("/etc/passwd")),
        ("/../../etc/passwd", Ok("/etc/passwd")),
        ("/etc/../../..//./etc/shadow", Ok("/etc/shadow")),
        ("/lib/firmware", Ok("/usr/lib/firmware")),
        ("/usr/abslib/x", Ok("/usr/lib/x")),
        ("/lib/..", Ok("/usr")),
        ("/lib", Ok("/usr/lib")),
        ("/", Ok("/")),
        ("/etc/abs", Ok("/etc/passwd")),
        ("/etc/up", Ok("/etc/passwd")),
        ("/etc/chain", Ok("/etc/passwd")),
        ("/etc/new", Ok("/run/new")),
        ("/etc/host", Err(FileErrorCode::NotFound)),
        ("/etc/self", Err(FileErrorCode::NotFound)),
        ("/etc/loop", Err(FileErrorCode::Invalid)),
        ("/etc/passwd/x", Err(FileErrorCode::NotADirectory)),
        ("/etc/passwd/..", Err(FileErrorCode::NotADirectory)),
        ("/missing/x", Err(FileErrorCode::NotFound)),
    ] {
        let result = f.rootfs.resolve(&path(text)).map(|path| path.as_str().to_owned()).map_err(|error| error.code);
        assert_eq!(result.as_deref().map_err(|code| *code), resolved, "{text}");
    }
    assert_eq!(f.rootfs.resolve_entry(&path("/lib/../lib/abs")).unwrap().as_str(), "/usr/lib/abs");
    assert_eq!(f.rootfs.resolve_entry(&path("/etc/abs")).unwrap().as_str(), "/etc/abs");
    assert_eq!(f.rootfs.read(&path("/etc/up"), 100).unwrap(), b"inside");
}

#[test]
fn names_that_look_removed_and_a_renamed_root_resolve() {
    let f = fixture();
    std::fs::create_dir(f.host("etc/x (deleted)")).unwrap();
    assert_eq!(f.rootfs.resolve(&path("/etc/x (deleted)/y")).unwrap().as_str(), "/etc/x (deleted)/y");
    std::fs::rename(f.dir.path().join("root"), f.dir.path().join("moved")).unwrap();
    assert_eq!(f.rootfs.resolve(&path("/lib/y")).unwrap().as_str(), "/usr/lib/y");
}

#[test]
fn a_write_is_a_new_inode_with_its_attributes_and_time() {
    let f = fixture();
    std::fs::hard_link(f.host("etc/passwd"), f.host("run/other")).unwrap();
    f.rootfs.write(&path("/etc/passwd"), b"new", f.attrs(0o4750)).unwrap();
    assert_eq!(std::fs::read(f.host("run/other")).unwrap(), b"inside");
    let meta = f.rootfs.metadata(&path("/etc/passwd")).unwrap().unwrap();
    let expected = Metadata { kind: FileKind::File, size: 3, attrs: f.attrs(0o4750), links: 1, target: None };
    assert_eq!(meta, expected);
    for name in ["etc/passwd", "etc"] {
        assert_eq!(f.host(name).metadata().unwrap().mtime(), i64::try_from(EPOCH).unwrap(), "{name}");
    }
    assert_eq!(f.rootfs.list_dir(&path("/etc")).unwrap(), [("passwd".to_owned(), FileKind::File)]);
}

#[test]
fn a_write_through_a_link_lands_inside() {
    let f = fixture();
    let outside = f.dir.path().join("canary");
    symlink(&outside, f.host("etc/host")).unwrap();
    symlink("/run/new", f.host("etc/new")).unwrap();
    assert_eq!(f.rootfs.write(&path("/etc/host"), b"x", f.attrs(0o644)).unwrap_err().code, FileErrorCode::NotFound);
    f.rootfs.write(&path("/etc/new"), b"x", f.attrs(0o644)).unwrap();
    assert_eq!(std::fs::read(f.host("run/new")).unwrap(), b"x");
    assert!(f.host("etc/new").is_symlink());
    assert_canary(&f);
}

#[test]
fn only_regular_files_are_opened_and_nothing_blocks() {
    let f = fixture();
    f.fifo("etc/fifo");
    for text in ["/etc/fifo", "/etc", "/"] {
        let p = path(text);
        assert_eq!(f.rootfs.read(&p, 10).unwrap_err().code, FileErrorCode::NotAFile, "{text}");
        assert_eq!(f.rootfs.write(&p, b"", f.attrs(0o644)).unwrap_err().code, FileErrorCode::NotAFile, "{text}");
    }
    let error = f.rootfs.open_file(&path("/etc/fifo")).unwrap_err();
    assert_eq!(error.to_string(), "cannot open `/etc/fifo`: it is a device, FIFO or socket");
    assert_eq!(f.rootfs.metadata(&path("/etc/fifo")).unwrap().unwrap().kind, FileKind::Other);
    assert!(f.rootfs.set_attrs(&path("/etc"), f.attrs(0o755), true).unwrap_err().to_string().contains("/etc/fifo"));
}

#[test]
fn a_failed_write_leaves_nothing() {
    let f = fixture();
    let fill = |_: &mut File| Err(std::io::Error::other("no space"));
    let error = f.rootfs.replace(&path("/etc/passwd"), f.attrs(0o644), 0, "write", fill).unwrap_err();
    assert_eq!(error.to_string(), "cannot write `/etc/passwd`: no space");
    assert_eq!(std::fs::read(f.host("etc/passwd")).unwrap(), b"inside");
    assert_eq!(f.rootfs.list_dir(&path("/etc")).unwrap().len(), 1);
}

#[test]
fn limits_and_impossible_attributes_are_named() {
    let f = fixture();
    let passwd = path("/etc/passwd");
    assert_eq!(f.rootfs.read(&passwd, 6).unwrap(), b"inside");
    let error = f.rootfs.read(&passwd, 5).unwrap_err();
    assert_eq!((error.code, error.cause()), (FileErrorCode::Limit, "it is bigger than 5 bytes"));
    let error = f.rootfs.write(&passwd, b"", f.attrs(0o100_644)).unwrap_err();
    assert!(error.cause().contains("more than the bits 7777"), "{error}");
    let error = f.rootfs.write(&passwd, b"", Attrs { mode: 0o644, uid: u32::MAX, gid: 0 }).unwrap_err();
    assert!(error.cause().contains("not a user or group number"), "{error}");
}

#[test]
fn a_host_file_is_copied_from_its_beginning() {
    let f = fixture();
    let mut source = File::open(f.dir.path().join("canary")).unwrap();
    source.seek(std::io::SeekFrom::End(0)).unwrap();
    assert_eq!(f.rootfs.install(&source, &path("/usr/lib/blob"), f.attrs(0o600)).unwrap(), 6);
    assert_eq!(std::fs::read(f.host("usr/lib/blob")).unwrap(), b"canary");
    let directory = File::open(f.dir.path()).unwrap();
    let error = f.rootfs.install(&directory, &path("/usr/lib/blob"), f.attrs(0o600)).unwrap_err();
    assert_eq!(error.cause(), "the source is not a regular file");
}

#[test]
fn directories_and_links_are_made_once() {
    let f = fixture();
    let deep = path("/lib/a/b");
    assert_eq!(f.rootfs.make_dir(&deep, f.attrs(0o750)).unwrap_err().code, FileErrorCode::NotFound);
    f.rootfs.make_dir_all(&deep, f.attrs(0o2750)).unwrap();
    f.rootfs.make_dir_all(&deep, f.attrs(0o700)).unwrap();
    assert_eq!(f.rootfs.metadata(&path("/usr/lib/a")).unwrap().unwrap().attrs.mode, 0o2750);
    assert_eq!(f.rootfs.make_dir(&deep, f.attrs(0o750)).unwrap_err().code, FileErrorCode::Exists);
    let error = f.rootfs.make_dir_all(&path("/etc/passwd/x"), f.attrs(0o755)).unwrap_err();
    assert_eq!(error.code, FileErrorCode::NotADirectory);

    f.rootfs.symlink(&path("/etc/l"), "/anywhere").unwrap();
    assert_eq!(f.rootfs.symlink(&path("/etc/l"), "x").unwrap_err().code, FileErrorCode::Exists);
    assert_eq!(f.rootfs.symlink(&path("/etc/m"), "").unwrap_err().code, FileErrorCode::Invalid);
    let meta = f.rootfs.metadata(&path("/etc/l")).unwrap().unwrap();
    assert_eq!((meta.kind, meta.target.as_deref()), (FileKind::Symlink, Some("/anywhere")));
    assert_eq!(f.rootfs.metadata(&path("/etc/none")).unwrap(), None);
}

#[test]
fn renaming_moves_the_link_itself() {
    let f = fixture();
    f.rootfs.rename(&path("/lib"), &path("/run/lib")).unwrap();
    assert_eq!(std::fs::read_link(f.host("run/lib")).unwrap(), Path::new("usr/lib"));
    let error = f.rootfs.rename(&path("/usr"), &path("/usr/lib/usr")).unwrap_err();
    assert_eq!(error.code, FileErrorCode::Invalid);
    assert_eq!(f.rootfs.rename(&path("/"), &path("/x")).unwrap_err().cause(), "the path does not end in a name");
}

#[test]
fn removal_takes_links_not_their_targets() {
    let f = fixture();
    std::fs::create_dir_all(f.host("run/tree/deep/er")).unwrap();
    symlink("/etc", f.host("run/tree/etc")).unwrap();
    symlink(f.dir.path(), f.host("run/tree/deep/host")).unwrap();
    f.fifo("run/tree/fifo");
    let tree = path("/run/tree");
    let error = f.rootfs.remove(&tree, false).unwrap_err();
    assert_eq!((error.code, error.cause()), (FileErrorCode::Exists, "the directory is not empty"));
    f.rootfs.remove(&tree, true).unwrap();
    assert!(!f.host("run/tree").exists());
    assert_eq!(f.rootfs.read(&path("/etc/passwd"), 10).unwrap(), b"inside");
    assert_canary(&f);
    f.rootfs.remove(&path("/lib"), true).unwrap();
    assert!(f.host("usr/lib").is_dir());
    for text in ["/", "/etc/..", "/.."] {
        assert_eq!(f.rootfs.remove(&path(text), true).unwrap_err().code, FileErrorCode::Invalid, "{text}");
    }
    assert_eq!(f.rootfs.remove(&path("/none"), true).unwrap_err().code, FileErrorCode::NotFound);
}

#[test]
fn too_deep_a_tree_is_refused() {
    let f = fixture();
    let mut dir = File::open(f.host("run")).unwrap();
    for _ in 0..600 {
        rustix::fs::mkdirat(&dir, "d", Mode::RWXU).unwrap();
        dir = File::from(rustix::fs::openat(&dir, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap());
    }
    let error = f.rootfs.remove(&path("/run/d"), true).unwrap_err();
    assert_eq!((error.code, error.cause()), (FileErrorCode::Limit, "directories are nested more than 512 levels deep"));
}

#[test]
fn recursive_attributes_keep_directories_searchable_and_refuse_hard_links_first() {
    let f = fixture();
    std::fs::create_dir(f.host("run/d")).unwrap();
    std::fs::write(f.host("run/d/file"), "").unwrap();
    symlink("/etc/passwd", f.host("run/d/link")).unwrap();
    std::fs::set_permissions(f.host("etc/passwd"), std::fs::Permissions::from_mode(0o600)).unwrap();
    f.rootfs.set_attrs(&path("/run"), f.attrs(0o755), false).unwrap();
    f.rootfs.set_attrs(&path("/run/d"), f.attrs(0o750), true).unwrap();
    std::fs::create_dir(f.host("run/d/sub")).unwrap();
    f.rootfs.set_attrs(&path("/run"), f.attrs(0o640), true).unwrap();
    let mode = |text: &str| f.rootfs.metadata(&path(text)).unwrap().unwrap().attrs.mode;
    let modes = [mode("/run"), mode("/run/d/sub"), mode("/run/d/file"), mode("/etc/passwd")];
    assert_eq!(modes, [0o750, 0o750, 0o640, 0o600]);

    std::fs::hard_link(f.host("etc/passwd"), f.host("run/d/hard")).unwrap();
    let error = f.rootfs.set_attrs(&path("/run"), f.attrs(0o777), true).unwrap_err();
    assert!(error.to_string().contains("/run/d/hard`: it has 2 hard links"), "{error}");
    assert_eq!(mode("/run/d/file"), 0o640);
}

#[test]
fn a_recursive_owner_keeps_modes_and_links() {
    let f = fixture();
    std::fs::create_dir(f.host("run/d")).unwrap();
    for (name, mode) in [("plain", 0o640), ("program", 0o4755)] {
        std::fs::write(f.host("run/d").join(name), "").unwrap();
        std::fs::set_permissions(f.host("run/d").join(name), std::fs::Permissions::from_mode(mode)).unwrap();
    }
    symlink("/etc/passwd", f.host("run/d/link")).unwrap();
    let Attrs { uid, gid, .. } = f.attrs(0);
    // Root can show that it changes; an ordinary user can only give what it has.
    let owner = if uid == 0 { (7, 8) } else { (uid, gid) };
    f.rootfs.set_owner(&path("/run/d"), owner, true).unwrap();
    let attrs = |text: &str| f.rootfs.metadata(&path(text)).unwrap().unwrap().attrs;
    for name in ["/run/d", "/run/d/plain", "/run/d/program", "/run/d/link"] {
        assert_eq!((attrs(name).uid, attrs(name).gid), owner, "{name}");
    }
    assert_eq!([attrs("/run/d/plain").mode, attrs("/run/d/program").mode], [0o640, 0o755]);
    assert_eq!((attrs("/etc/passwd").uid, attrs("/run").uid), (uid, uid));
    std::fs::hard_link(f.host("etc/passwd"), f.host("run/d/hard")).unwrap();
    let error = f.rootfs.set_owner(&path("/run/d"), owner, true).unwrap_err();
    assert!(error.to_string().contains("/run/d/hard`: it has 2 hard links"), "{error}");
    assert!(f.rootfs.set_owner(&path("/run/d"), (u32::MAX, 0), true).is_err());
}

#[test]
fn a_racing_link_never_leads_outside() {
    let f = fixture();
    std::fs::create_dir(f.dir.path().join("outside")).unwrap();
    std::fs::create_dir(f.host("etc/dir")).unwrap();
    let (real, link) = (f.host("etc/dir"), f.host("etc/aside"));
    symlink(f.dir.path().join("outside"), &link).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &real, CWD, &link, rustix::fs::RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..3000 {
            // Either outcome is right; only the place matters.
            f.rootfs.write(&path("/etc/dir/file"), b"x", f.attrs(0o644)).ok();
            f.rootfs.remove(&path("/etc/dir/file"), true).ok();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_eq!(std::fs::read_dir(f.dir.path().join("outside")).unwrap().count(), 0);
    assert_canary(&f);
}
