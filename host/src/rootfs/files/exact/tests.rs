use std::os::unix::fs::symlink;
use std::path::PathBuf;

use rustix::fs::CWD;

use super::super::fixture::{Fixture, path};
use super::*;
use crate::ui::Printable as _;

/// A root file system beside another directory.
fn fixture() -> Fixture {
    let files = ["root/etc/shadow", "root/etc/pam.d/login", "outside/canary"].map(|name| (name, "secret"));
    Fixture::new(&["etc/pam.d", "var/log", "tmp"], &files)
}

fn outside(fixture: &Fixture) -> PathBuf {
    fixture.dir.path().join("outside")
}

fn assert_untouched(fixture: &Fixture) {
    for path in [outside(fixture).join("canary"), fixture.host("etc/shadow"), fixture.host("etc/pam.d/login")] {
        assert_eq!(std::fs::read(&path).unwrap(), b"secret", "{}", path.printable());
    }
}

#[test]
fn a_link_at_the_end_is_never_read_and_makes_way() {
    let f = fixture();
    let tree = f.rootfs.exact();
    let canary = outside(&f).join("canary");
    for target in
        ["/etc/shadow", "shadow", "../etc/./shadow", "../../../etc/shadow", "hosts", "/none", canary.to_str().unwrap()]
    {
        symlink(target, f.host("etc/hosts")).unwrap();
        let error = tree.read(&path("/etc/hosts"), 100).unwrap_err();
        assert_eq!(
            (error.code, error.cause()),
            (FileErrorCode::Invalid, &*format!("it is a symbolic link to `{target}`, and links are not followed here"))
        );
        assert_eq!(tree.metadata(&path("/etc/hosts")).unwrap().unwrap().kind, FileKind::Symlink);
        tree.write(&path("/etc/hosts"), b"new", f.attrs(0o600)).unwrap();
        assert!(f.host("etc/hosts").symlink_metadata().unwrap().is_file());
        assert_eq!(tree.read(&path("/etc/hosts"), 100).unwrap().unwrap(), b"new");
        assert!(tree.remove(&path("/etc/hosts")).unwrap());
    }
    assert!(!tree.remove(&path("/etc/hosts")).unwrap());
    assert_eq!(tree.read(&path("/etc/hosts"), 100).unwrap(), None);
    assert_untouched(&f);
}

#[test]
fn a_link_on_the_way_is_named_and_nothing_is_changed() {
    let f = fixture();
    let tree = f.rootfs.exact();
    for target in [PathBuf::from("/etc"), "etc".into(), "../../../../etc".into(), outside(&f), "cache".into()] {
        symlink(&target, f.host("cache")).unwrap();
        let (file, below) = (path("/cache/shadow"), path("/cache/pam.d/login"));
        for error in [
            tree.read(&file, 100).unwrap_err(),
            tree.metadata(&file).unwrap_err(),
            tree.write(&file, b"x", f.attrs(0o644)).unwrap_err(),
            tree.remove(&file).unwrap_err(),
            tree.remove(&below).unwrap_err(),
            tree.list(&path("/cache/pam.d")).unwrap_err(),
            tree.clear(&path("/cache/pam.d"), &|_| Fate::Remove).unwrap_err(),
        ] {
            let expected = format!("`/cache` is a symbolic link to `{}`", target.printable());
            assert!(error.cause().starts_with(&expected), "{error}");
            assert_eq!(error.code, FileErrorCode::Invalid);
        }
        for error in [
            tree.list(&path("/cache")).unwrap_err(),
            tree.directory(&path("/cache")).unwrap_err(),
            tree.clear(&path("/cache"), &|_| Fate::Remove).unwrap_err(),
            tree.make_dir_all(&path("/cache"), f.attrs(0o755)).unwrap_err(),
            tree.make_dir_all(&path("/cache/new/x"), f.attrs(0o755)).unwrap_err(),
        ] {
            let expected = format!("it is a symbolic link to `{}`", target.printable());
            assert!(error.cause().starts_with(&expected), "{error}");
        }
        assert!(!f.host("etc/new").exists() && !outside(&f).join("new").exists());
        assert!(tree.remove(&path("/cache")).unwrap());
        assert_untouched(&f);
    }
}

#[test]
fn what_is_no_file_is_not_opened() {
    let f = fixture();
    let tree = f.rootfs.exact();
    f.fifo("etc/fifo");
    let error = tree.read(&path("/etc/fifo"), 100).unwrap_err();
    assert_eq!((error.code, error.cause()), (FileErrorCode::NotAFile, "it is a device, FIFO or socket"));
    assert_eq!(tree.read(&path("/etc"), 100).unwrap_err().cause(), "it is a directory");
    assert_eq!(tree.list(&path("/etc/fifo")).unwrap_err().code, FileErrorCode::NotADirectory);
    assert_eq!(tree.read(&path("/etc/fifo/x"), 1).unwrap_err().cause(), "`/etc/fifo` is not a directory");
    assert_eq!(tree.write(&path("/etc"), b"", f.attrs(0o644)).unwrap_err().code, FileErrorCode::NotAFile);
    tree.write(&path("/etc/fifo"), b"new", f.attrs(0o644)).unwrap();
    assert_eq!(std::fs::read(f.host("etc/fifo")).unwrap(), b"new");
    let error = tree.read(&path("/etc/shadow"), 5).unwrap_err();
    assert_eq!((error.code, error.cause()), (FileErrorCode::Limit, "it is bigger than 5 bytes"));
}

#[test]
fn paths_without_a_place_of_their_own_are_refused() {
    let f = fixture();
    let tree = f.rootfs.exact();
    for text in ["/", "/etc/..", "/tmp/../etc/shadow", "/.."] {
        let error = tree.remove(&path(text)).unwrap_err();
        assert_eq!(
            (error.code, error.cause()),
            (FileErrorCode::Invalid, "it does not end in a name of its own"),
            "{text}"
        );
    }
    assert!(tree.metadata(&path("/none/x")).unwrap().is_none());
    assert_eq!(tree.write(&path("/none/x"), b"", f.attrs(0o644)).unwrap_err().code, FileErrorCode::NotFound);
    assert_untouched(&f);
}

#[test]
fn clearing_keeps_what_it_is_told_to_and_follows_nothing() {
    use std::os::unix::ffi::OsStrExt as _;
    use std::os::unix::fs::PermissionsExt as _;
    let f = fixture();
    let tree = f.rootfs.exact();
    std::fs::create_dir_all(f.host("var/log/app/deep")).unwrap();
    for name in ["var/log/app/deep/x", "var/log/wtmp", "var/log/app/wtmp"] {
        std::fs::write(f.host(name), "text").unwrap();
    }
    std::fs::set_permissions(f.host("var/log/wtmp"), std::fs::Permissions::from_mode(0o664)).unwrap();
    std::fs::hard_link(f.host("var/log/wtmp"), f.host("etc/second")).unwrap();
    symlink("/etc/pam.d", f.host("var/log/pam")).unwrap();
    symlink(outside(&f), f.host("var/log/app/host")).unwrap();
    symlink("/etc/shadow", f.host("var/log/app/deep/wtmp")).unwrap();
    f.fifo("var/log/fifo");
    std::fs::write(f.host("var/log").join(std::ffi::OsStr::from_bytes(b"\xff\xfe")), "").unwrap();
    let fate = |name: &CStr| if name.to_bytes() == b"wtmp" { Fate::Empty } else { Fate::Enter };
    assert!(tree.clear(&path("/var/log"), &fate).unwrap());
    let left = |directory: &str| -> Vec<String> {
        let entries = tree.list(&path(directory)).unwrap().unwrap();
        entries.into_iter().map(|(name, kind)| format!("{name} {kind:?}")).collect()
    };
    assert_eq!(left("/var/log"), ["app Directory", "wtmp File"]);
    assert_eq!(left("/var/log/app"), ["deep Directory", "wtmp File"]);
    assert_eq!(left("/var/log/app/deep"), [""; 0]);
    let wtmp = tree.metadata(&path("/var/log/wtmp")).unwrap().unwrap();
    assert_eq!((wtmp.size, wtmp.attrs.mode, wtmp.links), (0, 0o664, 1));
    assert_eq!(std::fs::read(f.host("etc/second")).unwrap(), b"text", "its other name keeps the content");
    assert!(tree.clear(&path("/var/log"), &|_| Fate::Remove).unwrap());
    assert_eq!(left("/var/log"), [""; 0]);
    assert!(!tree.clear(&path("/none"), &|_| Fate::Remove).unwrap());
    assert_untouched(&f);
}

#[test]
fn a_racing_link_is_not_followed() {
    let f = fixture();
    let tree = f.rootfs.exact();
    let (real, link) = (f.host("tmp"), f.host("aside"));
    symlink("/etc/pam.d", &link).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                rustix::fs::renameat_with(CWD, &real, CWD, &link, rustix::fs::RenameFlags::EXCHANGE).unwrap();
            }
        });
        for _ in 0..500 {
            // Either outcome is right; only the place matters.
            tree.write(&path("/tmp/login"), b"x", f.attrs(0o644)).ok();
            tree.clear(&path("/tmp"), &|_| Fate::Remove).ok();
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    assert_untouched(&f);
    assert!(f.host("etc/pam.d").is_dir());
}
