//! The interface `services`.

use super::*;

/// Units as packages bring them, and two links as they make them.
fn image_with_units() -> tempfile::TempDir {
    let root = image();
    let lib = root.path().join("usr/lib/systemd/system");
    let wants = root.path().join("etc/systemd/system/multi-user.target.wants");
    for directory in [&lib, &wants] {
        std::fs::create_dir_all(directory).unwrap();
    }
    for (name, install) in [
        ("ssh.service", "WantedBy=multi-user.target\nAlias=sshd.service"),
        ("ssh.socket", "WantedBy=sockets.target"),
        ("getty@.service", "WantedBy=getty.target\nDefaultInstance=tty1"),
        ("apt-daily.timer", "WantedBy=timers.target"),
        ("alias.service", "WantedBy=multi-user.target\nAlias=ssh.service"),
    ] {
        std::fs::write(lib.join(name), format!("[Unit]\n[Install]\n{install}\n")).unwrap();
    }
    let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, root.path().join(at)).unwrap();
    link("/lib/systemd/system/ssh.service", "etc/systemd/system/multi-user.target.wants/ssh.service");
    link("/lib/systemd/system/ssh.service", "etc/systemd/system/sshd.service");
    root
}

/// Names and targets of all links below `/etc/systemd/system`, sorted.
fn unit_links(ran: &Ran) -> Vec<String> {
    let mut links = Vec::new();
    let mut directories = vec![ran.root.path().join("etc/systemd/system")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else if let Ok(target) = std::fs::read_link(entry.path()) {
                let path = entry.path();
                let name = path.strip_prefix(ran.root.path().join("etc/systemd/system")).unwrap();
                links.push(format!("{} {}", name.display(), target.display()));
            }
        }
    }
    links.sort();
    links
}

#[test]
fn units_get_the_links_that_systemctl_would_make() {
    let (ran, told) = settings(image_with_units(), "services", &all());
    let expected = [
        "install: ()",
        "enable: true",
        "again: false",
        "drop-in: ()",
        "instance: true",
        "disable: true",
        "mask: true",
        "unmask: true",
        "missing: needs svc:enable:getty@.timer",
        "other: needs svc:enable:ssh.service",
        "path: `../../passwd.service` is no unit: a unit's name has letters, digits and `:_.\\-`, at most one `@`, and begins with none of `.-@`",
        "part: `../../../x` is no name of a drop-in: letters, digits, `_` and `-`",
        "alias: cannot enable `alias.service`: its alias `ssh.service` is a unit already",
        "also: ()",
        "with also: needs svc:enable:ssh.socket",
    ];
    assert_eq!(told, expected);
    let expected = [
        "getty.target.wants/getty@ttyS1.service /usr/lib/systemd/system/getty@.service",
        "multi-user.target.wants/app.service /etc/systemd/system/app.service",
    ];
    assert_eq!(unit_links(&ran), expected);
    assert_eq!(ran.read("etc/systemd/system/app.service.d/10-nice.conf").as_deref(), Some("[Service]\nNice=5\n"));
    assert!(ran.commands.is_empty());
}

#[test]
fn units_without_grant_stay_as_they_are() {
    let (ran, told) = settings(image_with_units(), "services", &Granted::default());
    has_told(
        &told,
        &[
            "install: needs svc:install:app.service",
            "enable: needs svc:enable:app.service",
            "drop-in: needs svc:install:app.service",
            "disable: needs svc:disable:ssh.service",
            "mask: needs svc:mask:apt-daily.timer",
        ],
    );
    assert_eq!(unit_links(&ran).len(), 2);
    assert_eq!(ran.read("etc/systemd/system/app.service"), None);
}

#[test]
fn a_link_at_the_place_of_units_is_no_way_out() {
    let root = image_with_units();
    std::fs::remove_dir_all(root.path().join("etc/systemd")).unwrap();
    std::os::unix::fs::symlink("/opt", root.path().join("etc/systemd")).unwrap();
    std::fs::create_dir(root.path().join("opt/system")).unwrap();
    let (ran, told) = settings(root, "services", &all());
    assert_eq!(
        told[0],
        "install: `/etc/systemd/system/app.service` is really `/opt/system/app.service`: a link is in the way"
    );
    assert_eq!(std::fs::read_dir(ran.root.path().join("opt/system")).unwrap().count(), 0);
}
