//! Raspberry Pi OS: Debian, with kernels and firmware of another archive, whose scripts fill the boot partition.

use piimg_tests::repository::Package;

use super::archive::Archives;
use super::{BOARDS, alone, checks};

/// As the distribution's, for a new kernel.
const KERNEL_HOOK: &str = "#!/bin/sh -e
case $1 in *-2712) name=_2712 ;; *) name=8 ;; esac
cp /boot/vmlinuz-$1 /boot/firmware/kernel$name.img
cp /usr/lib/linux-image-$1/broadcom/*.dtb /boot/firmware/
mkdir -p /boot/firmware/overlays
cp /usr/lib/linux-image-$1/overlays/* /boot/firmware/overlays/
";
/// And for its initramfs.
const INITRAMFS_HOOK: &str = "#!/bin/sh -e
case $1 in *-2712) name=_2712 ;; *) name=8 ;; esac
cp \"$2\" /boot/firmware/initramfs$name
";

fn kernel(version: &str, meta: &str, boards: &[&str]) -> Vec<Package> {
    let of = |name: &str| Package::new(name, "1.0", "arm64");
    let trees = format!("/usr/lib/linux-image-{version}");
    let hooks = format!(
        "#!/bin/sh -e\n[ \"$1\" = configure ] || exit 0\n\
         run-parts --report --exit-on-error --arg={version} --arg=/boot/vmlinuz-{version} /etc/kernel/postinst.d\n"
    );
    let mut image = of(&format!("linux-image-{version}"))
        .depends("kmod, linux-base, initramfs-tools, raspi-firmware")
        .file(&format!("/boot/vmlinuz-{version}"), "a kernel")
        .file(&format!("/boot/config-{version}"), "CONFIG_RD_GZIP=y\nCONFIG_RD_ZSTD=y\n")
        .file(&format!("/lib/modules/{version}/modules.order"), "")
        .file(&format!("/lib/modules/{version}/modules.builtin"), "")
        .file(&format!("{trees}/overlays/vc4-kms-v3d.dtbo"), "overlay")
        .script("postinst", &hooks);
    for board in boards {
        image = image.file(&format!("{trees}/broadcom/{board}.dtb"), *board);
    }
    vec![of(meta).depends(&format!("linux-image-{version}")), image]
}

fn firmware() -> Package {
    let mut files = Package::new("raspi-firmware", "1.0", "all")
        .program("/etc/kernel/postinst.d/z50-raspi-firmware", KERNEL_HOOK)
        .program("/etc/initramfs/post-update.d/z50-raspi-firmware", INITRAMFS_HOOK)
        .script("postinst", "#!/bin/sh -e\ncp /usr/lib/raspi-firmware/* /boot/firmware/\n");
    for name in ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"] {
        files = files.file(&format!("/usr/lib/raspi-firmware/{name}"), name);
    }
    files
}

/// Builds the release with the suite of Debian that it stands on.
fn check(name: &str, suite: &str) {
    let _alone = alone();
    let mut packages = kernel("6.12.1-v8", "linux-image-rpi-v8", &BOARDS);
    packages.extend(kernel("6.12.1-2712", "linux-image-rpi-2712", &BOARDS));
    packages.push(firmware());
    packages.push(
        Package::new("raspberrypi-archive-keyring", "1.0", "all")
            .file("/usr/share/keyrings/raspberrypi-archive-keyring.pgp", "a ring\n"),
    );
    let archives = Archives::new(name, "arm64", Vec::new(), &[("raspberrypi", packages)]);
    let image = archives.build(&[]);
    checks::packages_come_from(&archives, &image, &["raspberrypi"]);
    // Debian's own is what mmdebstrap chooses for the suite, with updates and security.
    let list = image.root("/etc/apt/sources.list");
    for suite in [suite.to_owned(), format!("{suite}-updates"), format!("{suite}-security")] {
        let has = |line: &str| line.starts_with("deb ") && line.split(' ').any(|word| word == suite);
        assert!(list.lines().any(has), "{suite} is missing from:\n{list}");
    }
    checks::partitions_are_named(&image);
    checks::first_boot_is_prepared(&image);
    let files = image.boot_files();
    for name in [
        "kernel8.img",
        "kernel_2712.img",
        "initramfs8",
        "initramfs_2712",
        "bcm2712-rpi-5-b.dtb",
        "overlays/vc4-kms-v3d.dtbo",
    ] {
        assert!(files.iter().any(|file| file == name), "{name} is missing from {files:?}");
    }
    let config = image.boot("config.txt");
    for line in ["auto_initramfs=1", "arm_64bit=1", "dtoverlay=vc4-kms-v3d"] {
        assert!(config.lines().any(|found| found == line), "{line} is missing from:\n{config}");
    }
}

#[test]
fn bookworm_is_as_it_says() {
    check("raspios-bookworm", "bookworm");
}

#[test]
fn trixie_is_as_it_says() {
    check("raspios-trixie", "trixie");
}
