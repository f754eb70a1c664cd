//! What holds for images of every release.

use super::archive::Archives;
use super::image::Image;

/// The image takes its packages from the release's own repositories, these, and knows nothing of the build's.
#[track_caller]
pub(crate) fn packages_come_from(archives: &Archives, image: &Image, names: &[&str]) {
    let release = archives.release();
    for name in names {
        let repository = release.repositories.iter().find(|repository| repository.name == *name).unwrap();
        let ring = &release.keyrings[&repository.signed_by].image;
        let sources = image.root(&format!("/etc/apt/sources.list.d/{name}.sources"));
        for line in [
            format!("URIs: {}", repository.uris.join(" ")),
            format!("Suites: {}", repository.suites.join(" ")),
            format!("Components: {}", repository.components.join(" ")),
            format!("Signed-By: {ring}"),
        ] {
            assert!(sources.lines().any(|found| found == line), "{line:?} is missing from:\n{sources}");
        }
        assert!(image.stat(ring).contains("Mode:  0644"), "{ring}: {}", image.stat(ring));
    }
    let mut parts = image.names("/etc/apt/sources.list.d");
    parts.retain(|name| !name.starts_with('.'));
    parts.sort();
    let expected: Vec<String> = names.iter().map(|name| format!("{name}.sources")).collect();
    assert_eq!(parts, expected);
    for name in image.names("/etc/apt/apt.conf.d") {
        assert!(!name.contains("mmdebstrap"), "{name}");
    }
    let whole = std::fs::read(&image.0).unwrap();
    for address in archives.addresses() {
        assert_eq!(memchr::memmem::find(&whole, address.as_bytes()), None, "the build's {address} is in the image");
    }
}

/// Kernel and file system table mean the partitions of this image.
#[track_caller]
pub(crate) fn partitions_are_named(image: &Image) {
    let cmdline = image.boot("cmdline.txt");
    let root = cmdline.split(' ').find_map(|word| word.strip_prefix("root=")).unwrap();
    assert!(root.starts_with("PARTUUID=") && root.ends_with("-02"), "{cmdline}");
    let fstab = image.root("/etc/fstab");
    for start in [format!("{root} / ext4 "), format!("{} /boot/firmware vfat ", root.replace("-02", "-01"))] {
        assert!(fstab.lines().any(|line| line.starts_with(&start)), "{start:?} is missing from:\n{fstab}");
    }
}

/// The first user, the groups and the services of the first boot are there, and nothing that is one machine's own.
#[track_caller]
pub(crate) fn first_boot_is_prepared(image: &Image) {
    let passwd = image.root("/etc/passwd");
    assert!(passwd.lines().any(|line| line.starts_with("ubuntu:x:1000:1000:")), "{passwd}");
    let group = image.root("/etc/group");
    for name in ["sudo", "adm", "dialout", "video", "gpio", "i2c", "spi"] {
        let line = group.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap_or_default();
        assert!(line.ends_with(":ubuntu"), "{name}: {line:?}");
    }
    let shadow = image.root("/etc/shadow");
    let line = shadow.lines().find(|line| line.starts_with("ubuntu:$6$")).unwrap();
    assert_eq!(line.split(':').nth(2), Some("0"), "the first login must change the password");
    for unit in ["piimg-grow-root.service", "piimg-ssh-host-keys.service"] {
        let wanted = image.names("/etc/systemd/system/multi-user.target.wants");
        assert!(wanted.iter().any(|name| name == unit), "{unit} is not among {wanted:?}");
    }
    assert!(image.stat("/etc/udev/rules.d/60-pi-buses.rules").contains("Type: regular"));
    assert_eq!(image.root("/etc/machine-id"), "");
    assert_eq!(image.root("/etc/hostname"), "raspberrypi\n");
    assert!(image.names("/etc/ssh").iter().all(|name| !name.starts_with("ssh_host_")));
}
