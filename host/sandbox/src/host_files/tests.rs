use std::fs;
use std::os::unix::fs::{MetadataExt as _, symlink};

use super::*;

#[test]
fn nothing_is_written_through_a_link() {
    let dir = tempfile::tempdir().unwrap();
    let canary = dir.path().join("canary");
    fs::write(&canary, "sings").unwrap();
    let place = dir.path().join("place");
    fs::create_dir(&place).unwrap();
    let directory = Directory::open(&place, Links::Followed).unwrap();
    let link = |name: &str| symlink(&canary, place.join(name)).unwrap();
    for name in ["replaced", "started", "named", "new"] {
        link(name);
    }
    directory.replace("replaced", b"new", 0o644).unwrap();
    directory.start("started", 0o644).unwrap().write_all(b"new").unwrap();
    let mut unnamed = directory.create_unnamed(Mode::from_raw_mode(0o644)).unwrap().unwrap();
    unnamed.write_all(b"new").unwrap();
    directory.name(&unnamed, "named").unwrap();
    assert!(directory.create_new("new", Mode::RUSR).is_err());
    assert!(directory.open_file("new").unwrap_err().to_string().contains("symbolic link"));
    for name in ["replaced", "started", "named"] {
        assert_eq!(fs::read(place.join(name)).unwrap(), b"new", "{name}");
        assert!(!place.join(name).is_symlink(), "{name}");
    }
    assert_eq!(fs::read(&canary).unwrap(), b"sings");
    assert_eq!(fs::read_dir(&place).unwrap().count(), 4, "nothing else is left");
}

#[test]
fn another_directory_in_its_place_gets_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (place, elsewhere) = (dir.path().join("place"), dir.path().join("elsewhere"));
    fs::create_dir(&place).unwrap();
    fs::create_dir(&elsewhere).unwrap();
    let directory = Directory::open(&place, Links::Followed).unwrap();
    fs::rename(&place, dir.path().join("moved")).unwrap();
    symlink(&elsewhere, &place).unwrap();
    directory.replace("a", b"x", 0o644).unwrap();
    assert!(directory.held("a").exists());
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    assert!(dir.path().join("moved/a").exists());
}

#[test]
fn links_on_the_way_are_followed_for_the_user_alone() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path().canonicalize().unwrap();
    fs::create_dir(dir.join("real")).unwrap();
    symlink("real", dir.join("link")).unwrap();
    let path = dir.join("link/a/b");
    let error = Directory::create(&path, Links::Refused, 0o777).unwrap_err().to_string();
    assert_eq!(error, "`link` is a symbolic link");
    assert!(!dir.join("real/a").exists());
    Directory::create(&path, Links::Followed, 0o777).unwrap();
    assert_eq!(dir.join("real/a/b").metadata().unwrap().mode() & 0o777, 0o777 & !umask());
    Directory::create(&dir.join("real/c"), Links::Refused, 0o700).unwrap();
    assert_eq!(dir.join("real/c").metadata().unwrap().mode() & 0o777, 0o700);
    assert!(Directory::open(&dir.join("none"), Links::Followed).is_err());
}

#[test]
fn what_is_no_file_is_not_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path(), Links::Followed).unwrap();
    rustix::fs::mkfifoat(&directory, "pipe", Mode::RUSR | Mode::WUSR).unwrap();
    fs::create_dir(dir.path().join("directory")).unwrap();
    for name in ["pipe", "directory"] {
        let expected = format!("`{name}` is there and is no file");
        assert_eq!(directory.replace(name, b"x", 0o644).unwrap_err().to_string(), expected);
        assert_eq!(directory.start(name, 0o644).unwrap_err().to_string(), expected);
        assert!(directory.open_file(name).unwrap_err().to_string().contains("no regular file"));
    }
    for name in ["", ".", "..", "a/b", "../x"] {
        assert!(directory.replace(name, b"x", 0o644).unwrap_err().to_string().contains("no name of a file"));
    }
    assert_eq!(directory.names().unwrap().len(), 2);
}

#[test]
fn a_file_has_the_mode_that_was_meant() {
    let dir = tempfile::tempdir().unwrap();
    let directory = Directory::open(dir.path(), Links::Followed).unwrap();
    directory.replace("a", b"x", 0o666).unwrap();
    directory.replace_with("b", b"x", Mode::from_raw_mode(0o666), |_| Ok(())).unwrap();
    let mode = |name: &str| dir.path().join(name).metadata().unwrap().mode() & 0o777;
    assert_eq!((mode("a"), mode("b")), (0o666 & !umask(), 0o666));
    assert_eq!(directory.read("a", 1).unwrap().unwrap(), b"x");
    assert!(directory.read("a", 0).unwrap_err().to_string().contains("longer than 0 bytes"));
    assert!(directory.read("none", 1).unwrap().is_none());
}
