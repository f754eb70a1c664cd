//! What holds for images of every release.

use piimg::emulation::host_architecture;
use piimg::image::models::{BootFiles, Model, boot_plan};

use super::archive::Archives;
use super::image::Image;

/// Programs and packages are of the image's architecture, whoever's dpkg unpacked them, and archives are asked for no other.
#[track_caller]
pub(crate) fn architecture_is(archives: &Archives, image: &Image) {
    let foreign = archives.release().foreign_architectures.iter().map(String::as_str);
    let all: Vec<&str> = [archives.architecture()].into_iter().chain(foreign).collect();
    // dpkg needs no list of one.
    let listed = image.root("/var/lib/dpkg/arch");
    assert!(listed.lines().eq(all.iter().copied()) || (listed.is_empty() && all.len() == 1), "{listed}");
    let status = image.root("/var/lib/dpkg/status");
    let dpkg = status.split("\n\n").find(|stanza| stanza.starts_with("Package: dpkg\n")).unwrap();
    assert!(dpkg.contains(&format!("\nArchitecture: {}\n", all[0])), "{dpkg}");
    // As ELF has them.
    let (class, machine) = if all[0] == "armhf" { (1, 0x28) } else { (2, 0xb7) };
    let program = image.program("/usr/bin/dpkg");
    assert_eq!((&program[..5], program[18]), (&[0x7f, b'E', b'L', b'F', class][..], machine));
    if let Some(native) = archives.native_dpkg() {
        let says = |name: &str| memchr::memmem::find(&native, format!("{name}\0").as_bytes()).is_some();
        assert!(says(all[0]) && !says(host_architecture()), "the native dpkg is not one for {}", all[0]);
    }
    for path in archives.asked() {
        let Some((_, list)) = path.split_once("/binary-") else { continue };
        let name = list.split('/').next().unwrap();
        assert!(all.contains(&name) || name == host_architecture(), "nobody needs {path}");
    }
}

/// `piimg verify` accepts the image for each of the models, and these are the kernel and the device tree of each.
#[track_caller]
pub(crate) fn boots_with(image: &Image, models: &[(&str, &str, &str)]) {
    let mut files = BootFiles::new(image.boot_files());
    files.add_text("config.txt", image.boot("config.txt"));
    for (model, kernel, device_tree) in models {
        let plan = boot_plan(&files, Model::from_name(model).unwrap()).unwrap();
        assert_eq!((plan.kernel.as_str(), plan.device_tree.as_str()), (*kernel, *device_tree), "{model}");
    }
    image.is_verified_for(models.iter().map(|(model, ..)| *model));
}

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
