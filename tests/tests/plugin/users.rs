//! The interface `users`.

use super::*;

pub(super) fn image_with_accounts() -> tempfile::TempDir {
    let root = image();
    let etc = root.path().join("etc");
    std::fs::create_dir(etc.join("skel")).unwrap();
    for (name, text) in [
        ("passwd", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n"),
        ("group", "root:x:0:\nsudo:x:27:\nvideo:x:44:\n"),
        ("shadow", "root:*:19000:0:99999:7:::\n"),
        ("gshadow", "root:*::\nsudo:*::\nvideo:*::\n"),
        ("subuid", ""),
        ("subgid", ""),
        ("login.defs", "UMASK 022\nHOME_MODE\t0750\n"),
        ("skel/.profile", "hello\n"),
    ] {
        std::fs::write(etc.join(name), text).unwrap();
    }
    root
}

#[test]
fn accounts_are_made_as_useradd_would() {
    let (ran, told) = settings(image_with_accounts(), "users", &all());
    let expected = [
        "group: true",
        "user: true",
        "again: false",
        "service: true",
        "keys: 1",
        "keys again: 0",
        "root: the name `root` is not a plugin's to change",
        "second root: cannot make the user `toor`: the number 0 is not between 100 and 999",
        "smuggled: `/bin/sh\\u{a}root2::0:0::/:/bin/sh` is not a plain path: no `..`, `//`, `:`, `,` and white space",
        "home: `/etc` cannot be a home: it is not below /home/, /var/lib/, /srv/, /opt/",
        "sudo: needs user:group:sudo",
        "package's: the user `daemon` exists already, with the number 1",
        "options: cannot authorize a key for `ann`: it does not begin with a type of key, such as `ssh-ed25519`; options are refused",
        "daemon's keys: `daemon` has the number 1: it is no account of a person",
        "other's keys: needs user:keys:ubuntu",
    ];
    assert_eq!(told, expected);
    let read = |path: &str| ran.read(path).unwrap();
    assert!(
        read("etc/passwd")
            .ends_with("\nann:x:1001:1001::/home/ann:/bin/bash\napp:x:999:999::/nonexistent:/usr/sbin/nologin\n")
    );
    assert_eq!(read("etc/group"), "root:x:0:\nsudo:x:27:\nvideo:x:44:ann\nfield:x:1000:ann\nann:x:1001:\napp:x:999:\n");
    // The day of the build's fixed time.
    assert_eq!(read("etc/shadow"), "root:*:19000:0:99999:7:::\nann:!:19675:0:99999:7:::\napp:!:19675::::::\n");
    assert_eq!(read("etc/subuid"), "ann:100000:65536\n");
    assert_eq!(read("home/ann/.profile"), "hello\n");
    let keys = std::fs::metadata(ran.root.path().join("home/ann/.ssh/authorized_keys")).unwrap();
    assert_eq!((keys.mode() & 0o7777, keys.uid()), (0o600, 1001));
    let home = std::fs::metadata(ran.root.path().join("home/ann")).unwrap();
    assert_eq!((home.mode() & 0o7777, home.uid(), home.gid()), (0o750, 1001, 1001));
}

#[test]
fn accounts_without_grant_stay_as_they_are() {
    let root = image_with_accounts();
    let before = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    // Root may be asked for with a wildcard, and is still not given.
    let granted = Granted { scopes: scopes_of("--grant", &["user:group:video"]).unwrap(), ..Granted::default() };
    let (ran, told) = settings(root, "users", &granted);
    has_told(&told, &["group: needs user:group:field", "user: needs user:create:ann", "keys: needs user:keys:ann"]);
    assert_eq!(ran.read("etc/passwd"), Some(before));
    assert_eq!(ran.read("etc/group").as_deref(), Some("root:x:0:\nsudo:x:27:\nvideo:x:44:\n"));
}

#[test]
fn links_at_the_place_of_accounts_are_no_way_out() {
    let root = image_with_accounts();
    std::os::unix::fs::symlink("/opt", root.path().join("home")).unwrap();
    let (ran, told) = settings(root, "users", &all());
    assert_eq!(told[1], "user: `/home/ann` is really `/opt/ann`: a link is in the way");
    assert!(!ran.root.path().join("opt/ann").exists());
}
