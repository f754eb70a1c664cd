//! Raspberry Pi OS: Debian, with kernels and firmware of another archive, whose scripts fill the boot partition.

use piimg::recipe::release::{Release, Releases};
use piimg_tests::repository::Package;

use super::archive::Archives;
use super::hostile::{ORDINARY, Probes};
use super::image::Image;
use super::{BOARDS, checks};

/// As the distribution's, for a new kernel.
const KERNEL_HOOK: &str = "#!/bin/sh -e
case $1 in *-v6) name= ;; *-2712) name=_2712 ;; *) name=${1##*-v} ;; esac
cp /boot/vmlinuz-$1 /boot/firmware/kernel$name.img
cp /usr/lib/linux-image-$1/broadcom/*.dtb /boot/firmware/
mkdir -p /boot/firmware/overlays
cp /usr/lib/linux-image-$1/overlays/* /boot/firmware/overlays/
";
/// And for its initramfs.
const INITRAMFS_HOOK: &str = "#!/bin/sh -e
case $1 in *-v6) name= ;; *-2712) name=_2712 ;; *) name=${1##*-v} ;; esac
cp \"$2\" /boot/firmware/initramfs$name
";

/// Device trees of the boards that a kernel is for.
fn boards(kernel: &str) -> &'static [&'static str] {
    match kernel {
        "v6" => &["bcm2708-rpi-zero-w"],
        "v7" => {
            &["bcm2709-rpi-2-b", "bcm2710-rpi-3-b", "bcm2710-rpi-3-b-plus", "bcm2710-rpi-cm3", "bcm2710-rpi-zero-2-w"]
        }
        "v7l" => &["bcm2711-rpi-4-b", "bcm2711-rpi-400", "bcm2711-rpi-cm4", "bcm2711-rpi-cm4s"],
        _ => &BOARDS,
    }
}

/// The kernels that the release names; one for another architecture as `linux-image-rpi-v8:arm64`.
fn kernels(release: &Release, architecture: &str) -> Vec<Package> {
    let named = release.packages.iter().filter_map(|name| name.strip_prefix("linux-image-rpi-"));
    named
        .flat_map(|name| {
            let (name, architecture) = name.split_once(':').unwrap_or((name, architecture));
            kernel(name, architecture)
        })
        .collect()
}

fn kernel(name: &str, architecture: &str) -> [Package; 2] {
    let of = |name: &str| Package::new(name, "1.0", architecture);
    let version = format!("6.12.1-{name}");
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
    for board in boards(name) {
        image = image.file(&format!("{trees}/broadcom/{board}.dtb"), *board);
    }
    [of(&format!("linux-image-rpi-{name}")).depends(&format!("linux-image-{version}")), image]
}

fn firmware() -> Package {
    let mut files = Package::new("raspi-firmware", "1.0", "all")
        // A kernel of another architecture needs it too.
        .field("Multi-Arch", "foreign")
        .program("/etc/kernel/postinst.d/z50-raspi-firmware", KERNEL_HOOK)
        .program("/etc/initramfs/post-update.d/z50-raspi-firmware", INITRAMFS_HOOK)
        .script("postinst", "#!/bin/sh -e\ncp /usr/lib/raspi-firmware/* /boot/firmware/\n");
    for name in ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"] {
        files = files.file(&format!("/usr/lib/raspi-firmware/{name}"), name);
    }
    files
}

fn build(name: &str, architecture: &str) -> (Archives, Image) {
    let release = Releases::builtin().unwrap().get(name).unwrap().clone().resolved(architecture);
    let probes = Probes::new();
    let mut packages = kernels(&release, architecture);
    packages.push(firmware());
    packages.push(
        Package::new("raspberrypi-archive-keyring", "1.0", "all")
            .depends(ORDINARY)
            .file("/usr/share/keyrings/raspberrypi-archive-keyring.pgp", "a ring\n"),
    );
    packages.push(probes.ordinary.clone());
    let archives = Archives::new(name, architecture, vec![probes.essential.clone()], &[("raspberrypi", packages)]);
    let image = archives.build(&[]);
    probes.found_nothing(&archives, &image);
    checks::architecture_is(&archives, &image);
    checks::partitions_are_named(&image);
    checks::first_boot_is_prepared(&image);
    (archives, image)
}

#[track_caller]
fn check_boot_files(image: &Image, names: &[&str]) {
    let files = image.boot_files();
    for name in names.iter().chain(&["bcm2712-rpi-5-b.dtb", "overlays/vc4-kms-v3d.dtbo"]) {
        assert!(files.iter().any(|file| file == name), "{name} is missing from {files:?}");
    }
    let config = image.boot("config.txt");
    for line in ["auto_initramfs=1", "dtoverlay=vc4-kms-v3d"] {
        assert!(config.lines().any(|found| found == line), "{line} is missing from:\n{config}");
    }
}

/// Builds the release with the suite of Debian that it stands on.
fn check(name: &str, suite: &str) {
    let (archives, image) = build(name, "arm64");
    checks::packages_come_from(&archives, &image, &["raspberrypi"]);
    // Debian's own is what mmdebstrap chooses for the suite, with updates and security.
    let list = image.root("/etc/apt/sources.list");
    for suite in [suite.to_owned(), format!("{suite}-updates"), format!("{suite}-security")] {
        let has = |line: &str| line.starts_with("deb ") && line.split(' ').any(|word| word == suite);
        assert!(list.lines().any(has), "{suite} is missing from:\n{list}");
    }
    check_boot_files(&image, &["kernel8.img", "kernel_2712.img", "initramfs8", "initramfs_2712"]);
    assert!(image.boot("config.txt").lines().any(|line| line == "arm_64bit=1"));
}

#[test]
fn bookworm_is_as_it_says() {
    check("raspios-bookworm", "bookworm");
}

#[test]
fn trixie_is_as_it_says() {
    check("raspios-trixie", "trixie");
}

/// Programs of 32 bits: Raspbian's, whose kernel depends on the board, and is one of 64 bits for later ones.
#[test]
fn bookworm_starts_boards_of_32_bits() {
    let (archives, image) = build("raspios-bookworm", "armhf");
    checks::packages_come_from(&archives, &image, &["raspberrypi", "raspbian"]);
    // None of them is Debian's.
    assert!(!image.names("/etc/apt").contains(&"sources.list".to_owned()), "{:?}", image.names("/etc/apt"));
    let sources = image.root("/etc/apt/sources.list.d/raspbian.sources");
    assert!(sources.contains("\nArchitectures: armhf\n"), "of the kernel's it has none:\n{sources}");
    check_boot_files(&image, &["kernel7l.img", "initramfs", "initramfs7", "initramfs7l", "initramfs8"]);
    // The firmware chooses by the board, where nothing is said.
    assert!(!image.boot("config.txt").contains("arm_64bit"), "{}", image.boot("config.txt"));
    checks::boots_with(
        &image,
        &[
            ("zerow", "kernel.img", "bcm2708-rpi-zero-w.dtb"),
            ("pi2", "kernel7.img", "bcm2709-rpi-2-b.dtb"),
            ("pi3", "kernel7.img", "bcm2710-rpi-3-b.dtb"),
            ("pi3+", "kernel7.img", "bcm2710-rpi-3-b-plus.dtb"),
            ("pi3a+", "kernel7.img", "bcm2710-rpi-3-b-plus.dtb"),
            ("cm3", "kernel7.img", "bcm2710-rpi-cm3.dtb"),
            ("cm3+", "kernel7.img", "bcm2710-rpi-cm3.dtb"),
            ("zero2w", "kernel7.img", "bcm2710-rpi-zero-2-w.dtb"),
            ("pi4", "kernel8.img", "bcm2711-rpi-4-b.dtb"),
            ("pi400", "kernel8.img", "bcm2711-rpi-400.dtb"),
            ("cm4", "kernel8.img", "bcm2711-rpi-cm4.dtb"),
            ("cm4s", "kernel8.img", "bcm2711-rpi-cm4s.dtb"),
            ("pi500", "kernel8.img", "bcm2712-rpi-500.dtb"),
            ("cm5", "kernel8.img", "bcm2712-rpi-cm5-cm5io.dtb"),
            ("cm5lite", "kernel8.img", "bcm2712-rpi-cm5l-cm5io.dtb"),
            ("pi5", "kernel8.img", "bcm2712-rpi-5-b.dtb"),
        ],
    );
}
