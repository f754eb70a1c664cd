//! Ubuntu's releases: what starts the Pi comes out of packages.

use std::io::Write as _;

use piimg_tests::repository::Package;

use super::archive::Archives;
use super::image::Image;
use super::{BOARDS, checks, steps};

/// What initramfs-tools asks of a kernel.
const CONFIG: &str = "CONFIG_RD_GZIP=y\nCONFIG_RD_ZSTD=y\n";

/// A kernel in the packages of Ubuntu, with device trees of these boards.
fn kernel(architecture: &str, version: &str, firmware: &str, boards: &[&str]) -> Vec<Package> {
    let of = |name: &str| Package::new(name, "1.0", architecture);
    let named = |kind: &str| format!("linux-{kind}-{version}-raspi");
    let trees = format!("/lib/firmware/{version}-raspi/device-tree");
    let mut modules = of(&named("modules"))
        .file(&format!("/lib/modules/{version}-raspi/modules.order"), "")
        .file(&format!("/lib/modules/{version}-raspi/modules.builtin"), "")
        .file(&format!("{trees}/overlays/overlay_map.dtb"), "map")
        .file(&format!("{trees}/overlays/vc4-kms-v3d.dtbo"), "overlay");
    // Those of 64 bits are sorted by their makers.
    let maker = if architecture == "arm64" { "broadcom/" } else { "" };
    for board in boards {
        modules = modules.file(&format!("{trees}/{maker}{board}.dtb"), *board);
    }
    // As Ubuntu's calls what others have laid down for a new kernel.
    let hooks = format!(
        "#!/bin/sh -e\n[ \"$1\" = configure ] || exit 0\n\
         run-parts --report --exit-on-error --arg={version}-raspi --arg=/boot/vmlinuz-{version}-raspi /etc/kernel/postinst.d\n"
    );
    // It may be compressed, and of one release must be.
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    packed.write_all(b"a kernel").unwrap();
    let packed = packed.finish().unwrap();
    let image = of(&named("image"))
        .depends(&format!("kmod, linux-base, {}", named("modules")))
        .field("Recommends", "initramfs-tools")
        .file(&format!("/boot/vmlinuz-{version}-raspi"), packed)
        .file(&format!("/boot/config-{version}-raspi"), CONFIG)
        .script("postinst", &hooks);
    let mut files = of(firmware);
    for name in ["bootcode.bin", "start.elf", "fixup.dat", "start4.elf", "fixup4.dat"] {
        files = files.file(&format!("/usr/lib/{firmware}/{name}"), name);
    }
    let meta = of("linux-image-raspi").depends(&format!("{}, {firmware}", named("image")));
    vec![meta, image, modules, files]
}

/// What every release of Ubuntu has beside its kernel.
fn common(architecture: &str) -> Vec<Package> {
    vec![
        // Compiling a real locale takes longer than all the rest of the build.
        Package::new("locales", "9:1.0", "all")
            .program("/usr/sbin/locale-gen", "#!/bin/sh -e\ncp /etc/locale.gen /usr/lib/locale/made\n")
            .file("/usr/lib/locale/about", "made up\n"),
        Package::new("ubuntu-keyring", "1.0", "all").file("/usr/share/keyrings/ubuntu-archive-keyring.gpg", "a ring\n"),
        Package::new("ubuntu-minimal", "1.0", architecture)
            .depends("apt, ubuntu-keyring, sudo, udev, netplan.io, kmod, passwd"),
        Package::new("sudo", "1.0", architecture),
        // What recipes and plugins ask for.
        Package::new("tree", "1.0", architecture).file("/usr/share/made-up/tree", "tree\n"),
        Package::new("extra", "1.0", "all").file("/usr/share/made-up/extra", "extra\n"),
        Package::new("bc", "1.0", architecture).depends("bc-data"),
        Package::new("bc-data", "1:2.0", "all").file("/usr/share/made-up/bc", "bc\n"),
    ]
}

/// Starts a service when it is installed, as a package with a script of System V's does.
fn service() -> Package {
    let script = "#!/bin/sh\n### BEGIN INIT INFO\n# Provides: robot-service\n# Required-Start:\n# Required-Stop:\n\
                  # Default-Start: 2 3 4 5\n# Default-Stop: 0 1 6\n### END INIT INFO\ntouch /started\n";
    let start = "#!/bin/sh -e\ncp /usr/sbin/policy-rc.d /usr/share/robot-service/policy\n\
                 invoke-rc.d robot-service start || echo $? >/usr/share/robot-service/status\n";
    Package::new("robot-service", "1.0", "all")
        .program("/etc/init.d/robot-service", script)
        .file("/usr/share/robot-service/about", "made up\n")
        .script("postinst", start)
}

fn archives(name: &str, version: &str, firmware: &str, boards: &[&str], ros: &[&str]) -> Archives {
    let mut packages = kernel("arm64", version, firmware, boards);
    packages.extend(common("arm64"));
    let ros = ros.iter().map(|name| Package::new(name, "1.0", "all").file(&format!("/opt/ros/{name}"), "ros\n"));
    Archives::new(name, "arm64", packages, &[("ros", ros.collect())])
}

/// What holds for each of them.
#[track_caller]
fn check_common(archives: &Archives, image: &Image) {
    checks::architecture_is(archives, image);
    let used = archives.release().repositories_for(archives.architecture());
    let mut used: Vec<&str> = used.map(|repository| repository.name.as_str()).collect();
    used.sort_unstable();
    checks::packages_come_from(archives, image, &used);
    assert!(!image.names("/etc/apt").contains(&"sources.list".to_owned()), "{:?}", image.names("/etc/apt"));
    checks::partitions_are_named(image);
    checks::first_boot_is_prepared(image);
    let files = image.boot_files();
    for name in ["config.txt", "initrd.img", "bootcode.bin", "start4.elf", "overlays/vc4-kms-v3d.dtbo"] {
        assert!(files.iter().any(|file| file == name), "{name} is missing from {files:?}");
    }
    assert!(image.root("/etc/netplan/50-piimg.yaml").contains("dhcp4: true"));
    assert!(image.stat("/etc/netplan/50-piimg.yaml").contains("Mode:  0600"));
    assert_eq!(image.root("/usr/lib/locale/made"), "en_US.UTF-8 UTF-8\n");
}

#[test]
fn jammy_is_as_it_says() {
    let ros = ["ros-humble-ros-base", "python3-rosdep", "python3-colcon-common-extensions"];
    let mut archives = archives("jammy", "5.15.0-1069", "linux-firmware-raspi", &BOARDS[..7], &ros);
    let tool = Package::new("robot-tool", "1.0", "arm64").file("/opt/robot-tool", "ours\n");
    archives.add_own("robots", &[tool, service()]);
    let image = archives.build(&["--repository", "ros", "--update-lock"]);
    check_common(&archives, &image);
    assert!(image.boot("config.txt").contains("\nkernel=vmlinuz\n") || image.boot("config.txt").starts_with("kernel="));
    assert!(image.boot_files().contains(&"vmlinuz".to_owned()));
    assert!(image.stat("/opt/ros/ros-humble-ros-base").contains("Type: regular"));
    assert_eq!(image.root("/opt/robot-tool"), "ours\n");
    // A package of the recipe wanted to start its service, and met what forbids it, which is not in the image.
    assert_eq!(image.root("/usr/share/robot-service/policy"), "#!/bin/sh\nexit 101\n");
    for path in ["/started", "/usr/sbin/policy-rc.d"] {
        assert!(!image.stat(path).contains("Type:"), "{path} is there: {}", image.stat(path));
    }

    // The packages are in the lock, and a build that keeps to it finds them so.
    let lock = std::fs::read_to_string(archives.path("piimg.lock")).unwrap();
    for name in
        ["\"linux-image-raspi:arm64\"", "\"libc6:arm64\"", "\"ros-humble-ros-base:all\"", "\"robot-tool:arm64\""]
    {
        assert!(lock.contains(&format!("\n{name} = {{ version = \"")), "{name} is missing from:\n{lock}");
    }
    let again = archives.build(&["--repository", "ros", "--locked", "--offline"]);
    assert_eq!(again.0, image.0, "nothing of it has changed");
    steps::with_a_lock(&archives, &["--repository", "ros"]);
    std::fs::write(archives.path("piimg.lock"), &lock).unwrap();
    let other = lock.replacen(
        "\"linux-image-raspi:arm64\" = { version = \"1.0\"",
        "\"linux-image-raspi:arm64\" = { version = \"0.9\"",
        1,
    );
    assert_ne!(other, lock);
    std::fs::write(archives.path("piimg.lock"), other).unwrap();
    let said = archives.fails(&["--repository", "ros", "--locked", "--offline"]);
    assert!(
        said.contains("1 package differs from the lock file:\n  - linux-image-raspi:arm64 is 1.0, locked is 0.9"),
        "{said}"
    );
    // One that was never fetched.
    let said = archives.fails(&["--repository", "ros", "--offline", "--package", "ros-humble-desktop"]);
    assert!(said.contains("the archive has no package `ros-humble-desktop`"), "{said}");
    steps::come_to_the_same(&archives, &["--repository", "ros"]);
}

/// The archive and the store of this one are not those of any other test's: it bootstraps five times.
#[cfg(feature = "long")]
#[test]
fn a_lock_holds_and_the_store_ends() {
    let ros = ["ros-humble-ros-base", "python3-rosdep", "python3-colcon-common-extensions"];
    let mut archives = archives("jammy", "5.15.0-1069", "linux-firmware-raspi", &BOARDS[..7], &ros);
    let tool = Package::new("robot-tool", "1.0", "arm64").file("/opt/robot-tool", "ours\n");
    archives.add_own("robots", &[tool, service()]);
    super::lasting::when_the_archive_moves_on(&mut archives, &["--repository", "ros"]);
    super::lasting::with_a_store_that_ends(&archives, &["--repository", "ros"]);
}

#[test]
fn focal_starts_an_unpacked_kernel() {
    let boards = ["bcm2710-rpi-3-b", "bcm2710-rpi-3-b-plus", "bcm2711-rpi-4-b"];
    let ros = ["ros-noetic-ros-base", "python3-rosdep"];
    let archives = archives("focal", "5.4.0-1100", "linux-firmware-raspi2", &boards, &ros);
    let image = archives.build(&["--repository", "ros"]);
    check_common(&archives, &image);
    assert_eq!(image.boot("vmlinux"), "a kernel");
    assert!(image.boot("config.txt").contains("kernel=vmlinux\n"));
    assert!(image.stat("/etc/kernel/postinst.d/zzz-unpack-kernel").contains("Mode:  0755"));
}

/// Of 32 bits the kernel unpacks itself.
#[test]
fn focal_starts_boards_of_32_bits() {
    let boards = ["bcm2709-rpi-2-b", "bcm2710-rpi-3-b", "bcm2710-rpi-3-b-plus", "bcm2711-rpi-4-b"];
    let mut packages = kernel("armhf", "5.4.0-1100", "linux-firmware-raspi2", &boards);
    packages.extend(common("armhf"));
    let archives = Archives::new("focal", "armhf", packages, &[]);
    let image = archives.build(&[]);
    checks::architecture_is(&archives, &image);
    checks::packages_come_from(&archives, &image, &["ubuntu"]);
    checks::partitions_are_named(&image);
    let config = image.boot("config.txt");
    for line in ["kernel=vmlinuz", "initramfs initrd.img followkernel", "arm_64bit=0"] {
        assert!(config.lines().any(|found| found == line), "{line} is missing from:\n{config}");
    }
    assert!(!image.names("/etc/kernel/postinst.d").contains(&"zzz-unpack-kernel".to_owned()));
    checks::boots_with(
        &image,
        &[
            ("pi2", "vmlinuz", "bcm2709-rpi-2-b.dtb"),
            ("pi3", "vmlinuz", "bcm2710-rpi-3-b.dtb"),
            ("pi3+", "vmlinuz", "bcm2710-rpi-3-b-plus.dtb"),
            ("pi4", "vmlinuz", "bcm2711-rpi-4-b.dtb"),
        ],
    );
}

#[test]
fn noble_starts_a_pi_5() {
    let ros = ["ros-jazzy-ros-base", "python3-rosdep", "python3-colcon-common-extensions"];
    let archives = archives("noble", "6.8.0-1018", "linux-firmware-raspi", &BOARDS, &ros);
    let image = archives.build(&["--repository", "ros"]);
    check_common(&archives, &image);
    assert!(image.boot_files().contains(&"bcm2712-rpi-5-b.dtb".to_owned()));
    assert!(image.boot("config.txt").contains("dtoverlay=vc4-kms-v3d\n"));
}
