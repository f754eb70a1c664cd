use super::*;
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::sandbox::free_space::Room;

fn path(text: &str) -> ImagePath {
    ImagePath::parse(text).unwrap()
}

#[test]
fn owners_and_modes_are_kept_without_the_right_to_give_files_away() {
    let copy = tempfile::tempdir().unwrap();
    let rootfs = Rootfs::open(copy.path(), 1).unwrap().keeping_attrs();
    let attrs = |rootfs: &Rootfs, at: &str| rootfs.metadata(&path(at)).unwrap().unwrap().attrs;
    rootfs.make_dir(&path("/d"), Attrs { mode: 0o500, uid: 7, gid: 8 }).unwrap();
    for wanted in [
        Attrs { mode: 0o000, uid: 1000, gid: 1001 },
        Attrs { mode: 0o4755, uid: 0, gid: 0 },
        Attrs { mode: 0o640, uid: 0, gid: 42 },
    ] {
        rootfs.write(&path("/d/f"), b"x", wanted).unwrap();
        assert_eq!(attrs(&rootfs, "/d/f"), wanted);
        assert_eq!(rootfs.read(&path("/d/f"), 9).unwrap(), b"x", "root reads whatever the mode is");
    }
    assert_eq!(attrs(&rootfs, "/d"), Attrs { mode: 0o500, uid: 7, gid: 8 });
    rootfs.write(&path("/d/s"), b"x", Attrs { mode: 0o6755, uid: 0, gid: 0 }).unwrap();
    rootfs.set_owner(&path("/d/s"), (5, 6), false).unwrap();
    assert_eq!(attrs(&rootfs, "/d/s"), Attrs { mode: 0o755, uid: 5, gid: 6 }, "as chown(2) does");
    rootfs.set_owner(&path("/d"), (9, 9), true).unwrap();
    assert_eq!(attrs(&rootfs, "/d/f"), Attrs { mode: 0o640, uid: 9, gid: 9 });
    // The inode of a file that is gone may come again, and its owner must not.
    for _ in 0..20 {
        rootfs.remove(&path("/d/f"), false).ok();
        rootfs.symlink(&path("/d/f"), "x").unwrap();
        assert_eq!(attrs(&rootfs, "/d/f").uid, 0);
        rootfs.remove(&path("/d/f"), false).unwrap();
        rootfs.write(&path("/d/f"), b"x", Attrs { mode: 0o600, uid: 77, gid: 77 }).unwrap();
    }
}

#[test]
fn a_base_is_copied_and_stays_as_it_is() {
    let (base, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    fs::create_dir(base.path().join("etc")).unwrap();
    fs::write(base.path().join("etc/motd"), "hello\n").unwrap();
    std::os::unix::fs::symlink("/etc", base.path().join("link")).unwrap();
    let scenario = Scenario { base: Some(base.path().into()), ..Scenario::default() };
    let rootfs = base::fill(copy.path(), &scenario, 1).unwrap();
    rootfs.write(&path("/link/motd"), b"changed\n", Attrs { mode: 0o644, uid: 3, gid: 0 }).unwrap();
    assert_eq!(fs::read_to_string(base.path().join("etc/motd")).unwrap(), "hello\n");
    assert_eq!(fs::read_to_string(copy.path().join("etc/motd")).unwrap(), "changed\n");
}

/// An archive of entries: type, name, target of a link, content.
fn archive(place: &Path, entries: &[(tar::EntryType, &str, Option<&Path>, &[u8])]) -> File {
    let mut archive = tar::Builder::new(Vec::new());
    for (kind, name, link, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(*kind);
        header.set_size(u64::try_from(data.len()).unwrap());
        header.set_mode(0o644);
        header.set_uid(5);
        header.set_gid(6);
        if let Some(link) = link {
            header.set_link_name(link).unwrap();
        }
        archive.append_data(&mut header, name, *data).unwrap();
    }
    fs::write(place, archive.into_inner().unwrap()).unwrap();
    File::open(place).unwrap()
}

#[test]
fn an_archive_cannot_lead_out_of_the_copy() {
    use tar::EntryType::{Regular, Symlink};
    let (outside, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let canary = outside.path().join("canary");
    fs::write(&canary, "sings\n").unwrap();
    let place = outside.path().join("base.tar");
    let rootfs = Rootfs::open(copy.path(), 1).unwrap().keeping_attrs();
    let mut room = Room::new(outside.path(), "here", "the archive").unwrap();
    let bad = archive(&place, &[(Symlink, "out", Some(outside.path()), b""), (Regular, "out/canary", None, b"silent")]);
    let error = format!("{:#}", base::unpack_all(&bad, &rootfs, &mut room).unwrap_err());
    assert!(error.contains("cannot unpack `out/canary`"), "{error}");
    assert_eq!(fs::read_to_string(&canary).unwrap(), "sings\n");
    let good = archive(&place, &[(Regular, "deep/er/file", None, b"x")]);
    base::unpack_all(&good, &rootfs, &mut room).unwrap();
    let found = rootfs.metadata(&path("/deep/er/file")).unwrap().unwrap().attrs;
    assert_eq!(found, Attrs { mode: 0o644, uid: 5, gid: 6 });
}
