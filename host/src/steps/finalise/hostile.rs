//! Trees that somebody made to have finalising read, change or remove what it must not.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, FileType, Mode};

use super::*;
use crate::rootfs::changes::changes;
use crate::ui::Printable as _;

const FSTAB_TEXT: &str = "PARTUUID={root_partuuid} / ext4 defaults 0 1\n";
const CMDLINE: &str = "/boot/firmware/cmdline.txt";

/// Two equal trees, of which one is finalised, and a directory outside of them that nothing may read or change.
struct Trees {
    dir: tempfile::TempDir,
}

impl Trees {
    fn new(tamper: &dyn Fn(&Path, &Path)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir_all(outside.join("pam.d")).unwrap();
        for name in ["shadow", "pam.d/login", "ssh_host_rsa_key", "wtmp"] {
            fs::write(outside.join(name), "secret of the host").unwrap();
        }
        for name in ["before", "after"] {
            let root = dir.path().join(name);
            fill_tree(&root);
            tamper(&root, &outside);
            settle_times(&root);
        }
        Self { dir }
    }

    fn after(&self) -> PathBuf {
        self.dir.path().join("after")
    }

    /// Finalises the one tree; returns the result, and what is different then.
    fn finalise(&self) -> (Result<()>, Vec<Change>) {
        let before = self.dir.path().join("before");
        let rootfs = Rootfs::open(&self.after(), 1_700_000_000).unwrap();
        let references = [CMDLINE.to_owned(), "/etc/default/missing".to_owned()];
        let identity = ImageNames {
            hostname: "pi",
            boot_partuuid: "aa-01",
            root_partuuid: "aa-02",
            fstab: FSTAB_TEXT,
            root_references: &references,
        };
        let outside = seen(&self.dir.path().join("outside"));
        let started = Instant::now();
        let result = run(&rootfs, &identity, &|_| false).map(drop);
        assert!(started.elapsed() < Duration::from_secs(5), "it waited for something");
        assert_eq!(seen(&self.dir.path().join("outside")), outside, "the host was changed");
        // Only names of the upper directory matter: the tree itself has them all.
        let found = changes(&self.after(), &before, &self.after()).unwrap();
        // Whether or not it came to its end, it changed nothing else.
        check(&found, &references, &[]).unwrap();
        (result, found)
    }
}

fn fill_tree(root: &Path) {
    for directory in [
        "boot/firmware",
        "etc/pam.d",
        "etc/ssh",
        "home/ann",
        "root/.cache/pip",
        "run/lock",
        "tmp",
        "usr/lib",
        "usr/share",
        "var/cache/apt/archives",
        "var/cache/debconf",
        "var/lib/apt/lists/partial",
        "var/lib/dbus",
        "var/lib/systemd",
        "var/log/apt",
        "var/tmp/x",
    ] {
        fs::create_dir_all(root.join(directory)).unwrap();
    }
    for (name, text) in [
        ("boot/firmware/cmdline.txt", "root=PARTUUID={root_partuuid}\n"),
        ("etc/fstab", "old\n"),
        ("etc/hosts", "127.0.0.1\tlocalhost\n10.0.0.1\tserver\n"),
        ("etc/machine-id", "0123456789abcdef"),
        ("etc/pam.d/login", "auth required pam_unix.so\n"),
        ("etc/passwd-", "old"),
        ("etc/shadow", "root:$6$secret\n"),
        ("etc/ssh/ssh_host_rsa_key", "key"),
        ("etc/ssh/sshd_config", "Port 22\n"),
        ("home/ann/diary", "dear\n"),
        ("root/.cache/pip/x", "x"),
        ("tmp/x", "x"),
        ("var/lib/apt/lists/x_Packages", "x"),
        ("var/log/apt/term.log", "x"),
        ("var/log/wtmp", "logins"),
    ] {
        fs::write(root.join(name), text).unwrap();
    }
}

/// Gives both trees the same times.
fn settle_times(root: &Path) {
    for path in walk(root) {
        let time = rustix::fs::Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = rustix::fs::Timestamps { last_access: time, last_modification: time };
        rustix::fs::utimensat(CWD, &path, &times, rustix::fs::AtFlags::SYMLINK_NOFOLLOW).unwrap();
    }
}

fn walk(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            found.extend(walk(&entry.path()));
        }
        found.push(entry.path());
    }
    found
}

/// Returns everything that can be seen of a tree without following a link.
fn seen(root: &Path) -> BTreeMap<PathBuf, String> {
    let of = |path: &Path| {
        let metadata = fs::symlink_metadata(path).unwrap();
        let content = match () {
            () if metadata.is_file() => fs::read_to_string(path).unwrap(),
            () if metadata.is_symlink() => fs::read_link(path).unwrap().to_string_lossy().into_owned(),
            () => String::new(),
        };
        format!("{:o} {} {} {content}", metadata.mode(), metadata.uid(), metadata.mtime())
    };
    walk(root).into_iter().map(|path| (path.clone(), of(&path))).collect()
}

/// Puts a link in place of whatever is at `path`.
fn put_link(root: &Path, path: &str, target: impl AsRef<Path>) {
    let place = root.join(path);
    match fs::symlink_metadata(&place) {
        Ok(metadata) if metadata.is_dir() => fs::remove_dir_all(&place).unwrap(),
        Ok(_) => fs::remove_file(&place).unwrap(),
        Err(_) => {}
    }
    symlink(target, place).unwrap();
}

/// Ways to lead a link to `inside` of the image, or to `host`.
fn targets(inside: &str, host: &Path) -> Vec<PathBuf> {
    vec![
        inside.into(),
        format!("../../../..{inside}").into(),
        format!("/usr/../.{inside}").into(),
        host.to_owned(),
        format!("/proc/self/root{inside}").into(),
    ]
}

#[test]
fn an_ordinary_tree_is_finalised_within_what_may_change() {
    let trees = Trees::new(&|_, _| {});
    let (result, found) = trees.finalise();
    result.unwrap();
    let paths: Vec<String> = found.iter().map(|change| format!("{} {}", change.path, change.kind)).collect();
    for expected in [
        "/etc/fstab changed (size, content, time)",
        "/etc/hostname added",
        "/etc/passwd- removed",
        "/etc/ssh/ssh_host_rsa_key removed",
        "/root/.cache/pip removed",
        "/run/lock removed",
        "/tmp/x removed",
        "/var/lib/apt/lists/partial removed",
        "/var/log/apt/term.log removed",
        "/var/log/wtmp changed (size, content, time)",
        "/var/tmp/x removed",
    ] {
        assert!(paths.iter().any(|path| path == expected), "`{expected}` is not in {paths:#?}");
    }
    for kept in ["etc/pam.d/login", "etc/shadow", "etc/ssh/sshd_config", "home/ann/diary", "var/log/apt"] {
        assert!(trees.after().join(kept).exists(), "{kept}");
    }
}

#[test]
fn a_link_in_place_of_a_file_is_replaced_and_not_read() {
    for file in ["etc/hosts", "etc/hostname", "etc/machine-id", "etc/fstab", "etc/passwd-"] {
        for way in 0..5 {
            let trees = Trees::new(&|root, outside| {
                put_link(root, file, &targets("/etc/shadow", &outside.join("shadow"))[way]);
            });
            let (result, _) = trees.finalise();
            result.unwrap_or_else(|error| panic!("{file} {way}: {error:#}"));
            let after = trees.after();
            assert_eq!(fs::read_to_string(after.join("etc/shadow")).unwrap(), "root:$6$secret\n");
            for path in walk(&after).into_iter().filter(|path| path.is_file() && !path.ends_with("etc/shadow")) {
                let text = fs::read_to_string(&path).unwrap();
                assert!(!text.contains("secret"), "{} was published in {}", file, path.printable());
            }
            let left = fs::symlink_metadata(after.join(file));
            assert!(left.is_err() || left.is_ok_and(|left| left.is_file() && left.mode() & 0o7777 == 0o644), "{file}");
        }
    }
}

#[test]
fn what_finalise_reads_and_fills_must_be_a_file() {
    let fifo = |root: &Path, path: &str| {
        fs::remove_file(root.join(path)).unwrap();
        rustix::fs::mknodat(CWD, root.join(path), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    };
    let file = &CMDLINE[1..];
    for way in 0..5 {
        let trees = Trees::new(&|root, outside| {
            put_link(root, file, &targets("/etc/shadow", &outside.join("shadow"))[way]);
        });
        let error = format!("{:#}", trees.finalise().0.unwrap_err());
        assert!(error.starts_with(&format!("cannot read `{CMDLINE}`: it is a symbolic link to ")), "{error}");
    }
    let trees = Trees::new(&|root, _| fifo(root, file));
    let error = format!("{:#}", trees.finalise().0.unwrap_err());
    assert_eq!(error, format!("cannot read `{CMDLINE}`: it is a device, FIFO or socket"));
    // What is written whatever was there makes way.
    let trees = Trees::new(&|root, _| {
        fifo(root, "etc/hosts");
        fifo(root, "etc/fstab");
        fifo(root, "etc/machine-id");
    });
    trees.finalise().0.unwrap();
    assert!(fs::read_to_string(trees.after().join("etc/hosts")).unwrap().contains("127.0.1.1\tpi pi.local"));
}

#[test]
fn a_link_in_place_of_a_directory_is_never_emptied() {
    for directory in EMPTIED.into_iter().chain([LOGS, "/etc/ssh"]) {
        for way in 0..5 {
            let trees = Trees::new(&|root, outside| {
                put_link(root, &directory[1..], &targets("/etc/pam.d", &outside.join("pam.d"))[way]);
            });
            let (result, _) = trees.finalise();
            // A path of the host leads to nothing in the image, or to the link itself where the tests have their files.
            let loops = way == 3 && trees.dir.path().starts_with(directory);
            let dangles = way >= 3 && directory != "/etc/ssh" && !loops;
            match result {
                Ok(()) => assert!(dangles, "{directory} {way}"),
                Err(error) => {
                    let error = format!("{error:#}");
                    let named =
                        error.contains(&format!("`{directory}`")) && error.contains("it is a symbolic link to `");
                    assert!(named && !dangles, "{directory} {way}: {error}");
                }
            }
            assert!(trees.after().join("etc/pam.d/login").exists(), "{directory} {way}");
        }
    }
}

#[test]
fn directories_on_the_way_are_directories() {
    for (directory, target) in [
        ("var", "/etc"),
        ("var/lib", "/etc/pam.d"),
        ("var/cache", "/home"),
        ("var/lib/apt", "/home"),
        ("var/lib/systemd", "/etc"),
        ("var/lib/dbus", "../../etc"),
        ("root", "/home/ann"),
        ("boot", "/etc"),
        ("boot/firmware", "/etc"),
        ("etc", "/usr"),
    ] {
        let trees = Trees::new(&|root, _| put_link(root, directory, target));
        let error = format!("{:#}", trees.finalise().0.unwrap_err());
        assert!(error.contains(&format!("`/{directory}` is a symbolic link to `{target}`")), "{directory}: {error}");
        assert!(trees.after().join("home/ann/diary").exists());
        assert!(directory == "etc" || trees.after().join("etc/pam.d/login").exists());
    }
}

#[test]
fn a_link_into_what_is_emptied_anyway_stays() {
    for (link, target) in [
        ("var/tmp", "/tmp"),
        ("var/log", "/tmp"),
        ("tmp", "/var/tmp"),
        ("tmp", "/run/lock/x"),
        ("root/.cache", "/data/cache"),
        ("run", "/var/tmp/x"),
    ] {
        let trees = Trees::new(&|root, _| put_link(root, link, target));
        trees.finalise().0.unwrap_or_else(|error| panic!("{link}: {error:#}"));
        assert_eq!(fs::read_link(trees.after().join(link)).unwrap(), Path::new(target));
        // An absolute link would lead this test to the host's own.
        assert!(link == "var/tmp" || !trees.after().join("var/tmp/x").exists());
    }
    for (link, other) in [("tmp", "tmp"), ("tmp", "var/tmp")] {
        let trees = Trees::new(&|root, _| {
            put_link(root, other, format!("/{link}"));
            put_link(root, link, format!("/{other}"));
        });
        let error = format!("{:#}", trees.finalise().0.unwrap_err());
        assert!(error.contains("it is a symbolic link"), "{error}");
    }
}

#[test]
fn links_within_what_is_emptied_are_removed_and_not_entered() {
    let trees = Trees::new(&|root, outside| {
        for (number, target) in targets("/etc/pam.d", &outside.join("pam.d")).iter().enumerate() {
            for directory in EMPTIED.into_iter().chain([LOGS, "/var/log/apt"]) {
                symlink(target, root.join(&directory[1..]).join(format!("l{number}"))).unwrap();
            }
            put_link(root, &format!("etc/ssh/ssh_host_{number}"), target);
        }
        put_link(root, "var/log/wtmp", outside.join("wtmp"));
        put_link(root, "var/log/btmp", "/etc/shadow");
        fs::hard_link(root.join("etc/shadow"), root.join("var/log/lastlog")).unwrap();
        for name in ["tmp/fifo", "var/log/fifo", "etc/ssh/ssh_host_fifo"] {
            rustix::fs::mknodat(CWD, root.join(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        }
    });
    trees.finalise().0.unwrap();
    let after = trees.after();
    assert_eq!(fs::read_to_string(after.join("etc/shadow")).unwrap(), "root:$6$secret\n");
    assert_eq!(fs::metadata(after.join("var/log/lastlog")).unwrap().len(), 0);
    let left: Vec<PathBuf> = walk(&after).into_iter().filter(|path| path.is_symlink()).collect();
    assert_eq!(left, [after.join("etc/systemd/system/multi-user.target.wants/piimg-ssh-host-keys.service")]);
    for directory in EMPTIED {
        assert_eq!(fs::read_dir(after.join(&directory[1..])).unwrap().count(), 0, "{directory}");
    }
    assert!(after.join("etc/ssh/sshd_config").exists());
}

#[test]
fn files_in_place_of_directories_and_the_other_way_round_are_named() {
    let swap = |root: &Path, path: &str| {
        let place = root.join(path);
        if place.is_dir() {
            fs::remove_dir_all(&place).unwrap();
            fs::write(&place, "x").unwrap();
        } else {
            fs::remove_file(&place).unwrap();
            fs::create_dir(&place).unwrap();
        }
    };
    for (path, cause) in [
        ("tmp", "it is not a directory"),
        ("var/log", "it is not a directory"),
        ("etc/ssh", "it is not a directory"),
        ("var/cache", "`/var/cache` is not a directory"),
        ("etc/hosts", "it is a directory"),
        ("etc/machine-id", "it is a directory"),
    ] {
        let trees = Trees::new(&|root, _| swap(root, path));
        let error = format!("{:#}", trees.finalise().0.unwrap_err());
        assert!(error.ends_with(cause), "{path}: {error}");
    }
    // What is removed is removed whatever it is.
    let trees = Trees::new(&|root, _| {
        swap(root, "etc/passwd-");
        fs::write(root.join("etc/passwd-/x"), "").unwrap();
        fs::set_permissions(root.join("etc/passwd-"), fs::Permissions::from_mode(0o700)).unwrap();
    });
    trees.finalise().0.unwrap();
    assert!(!trees.after().join("etc/passwd-").exists());
}

#[test]
fn any_other_change_is_a_bug_that_names_it() {
    type Change<'a> = &'a dyn Fn(&Path);
    let cases: [(&str, &str, Change<'_>); 9] = [
        ("/etc/pam.d/login", "removed", &|root| fs::remove_file(root.join("etc/pam.d/login")).unwrap()),
        ("/etc/pam.d", "removed", &|root| fs::remove_dir_all(root.join("etc/pam.d")).unwrap()),
        ("/etc/shadow", "changed (size, content)", &|root| fs::write(root.join("etc/shadow"), "").unwrap()),
        ("/etc/shadow", "changed (mode)", &|root| {
            fs::set_permissions(root.join("etc/shadow"), fs::Permissions::from_mode(0o666)).unwrap();
        }),
        ("/tmp/new", "added", &|root| fs::write(root.join("tmp/new"), "").unwrap()),
        ("/tmp", "changed (mode)", &|root| {
            fs::set_permissions(root.join("tmp"), fs::Permissions::from_mode(0o777)).unwrap();
        }),
        ("/var/log/new.log", "added", &|root| fs::write(root.join("var/log/new.log"), "").unwrap()),
        ("/etc/ssh/sshd_config", "removed", &|root| fs::remove_file(root.join("etc/ssh/sshd_config")).unwrap()),
        ("/usr/share/piimg/other", "added", &|root| {
            fs::create_dir(root.join("usr/share/piimg")).unwrap();
            fs::write(root.join("usr/share/piimg/build.json"), "").unwrap();
            fs::write(root.join("usr/share/piimg/other"), "").unwrap();
        }),
    ];
    for (path, kind, change) in cases {
        let trees = Trees::new(&|_, _| {});
        change(&trees.after());
        settle_times(&trees.after());
        let found = changes(&trees.after(), &trees.dir.path().join("before"), &trees.after()).unwrap();
        let error = check(&found, &[], &[]).unwrap_err();
        assert_eq!(crate::error::report(&error).kind, crate::error::Kind::Bug);
        let expected = format!("finalising changed what it must not: `{path}` {kind}");
        assert_eq!(error.to_string(), expected);
    }
}
