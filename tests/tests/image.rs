//! A whole image from a small tree, checked with the tools that others use for it: `sfdisk`, `mtools`, `debugfs` and
//! both file-system checkers. Needs no privilege.

#![expect(clippy::unwrap_used, reason = "a test says what went wrong by panicking, also in its helpers")]

#[path = "image/hostile.rs"]
mod hostile;
#[path = "image/packed.rs"]
mod packed;

use std::fs::File;
use std::ops::Range;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use piimg::image::assemble::assemble;
use piimg::image::compress::Compression;
use piimg::image::ext4::{Ext4Options, Tree};
use piimg::image::fat::{FatOptions, write_fat};
use piimg::image::inspect::{FileSystemInfo, inspect};
use piimg::image::layout::{Bytes, DiskIds, Layout};
use piimg::image::mbr;
use piimg::image::models::Model;
use piimg::image::pass::pass;
use piimg::image::verify::{Expectations, Outcome, VerifyReport, verify};
use piimg::rootfs::files::{ImagePath, Rootfs};
use piimg::sandbox::tool::Tool;
use piimg_tests::device_tree::device_tree;
use piimg_tests::parser;
use sha2::{Digest as _, Sha256};
use tempfile::{NamedTempFile, TempDir, tempdir, tempfile};

const EPOCH: u64 = 1_780_000_000;

fn identity() -> DiskIds {
    DiskIds::derive(b"golden")
}

/// The files that a Pi 4 needs, and a root file system of a few files.
fn tree() -> TempDir {
    let dir = tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    for name in ["start4.elf", "fixup4.dat", "kernel8.img", "bcm2711-rpi-4-b.dtb", "overlays/vc4-kms-v3d.dtbo"] {
        write(&format!("boot/firmware/{name}"), name);
    }
    write("boot/firmware/config.txt", "arm_64bit=1\n[pi4]\narm_boost=1\n[all]\n");
    write(
        "boot/firmware/cmdline.txt",
        &format!("console=tty1 root=PARTUUID={} rootwait\n", identity().root_partuuid()),
    );
    write(
        "etc/fstab",
        &format!(
            "PARTUUID={} / ext4 defaults 0 1\nPARTUUID={} /boot/firmware vfat defaults 0 2\n",
            identity().root_partuuid(),
            identity().boot_partuuid()
        ),
    );
    write("etc/hostname", "robot\n");
    write("etc/machine-id", "uninitialized\n");
    write("etc/ssh/sshd_config", "");
    write("usr/lib/os-release", "PRETTY_NAME=\"Test 1\"\n");
    std::os::unix::fs::symlink("../usr/lib/os-release", dir.path().join("etc/os-release")).unwrap();
    dir
}

/// Builds the image as a build does: the boot partition's files are not in the root partition.
fn build(tree: &Path) -> anyhow::Result<NamedTempFile> {
    let identity = identity();
    let (boot, root, image) = (tempfile()?, tempfile()?, NamedTempFile::new()?);
    let boot_size = Bytes::mib(64);
    let fat = FatOptions { volume_id: identity.boot_volume_id, label: "bootfs".to_owned(), epoch: EPOCH };
    write_fat(&Rootfs::open(tree, EPOCH)?, &ImagePath::parse("/boot/firmware")?, &boot, boot_size, &fat)?;
    let staged = tempdir()?;
    Tool::new("cp").arg("-a").arg(tree.join(".")).arg(staged.path()).run()?;
    std::fs::remove_dir_all(staged.path().join("boot/firmware"))?;
    std::fs::create_dir(staged.path().join("boot/firmware"))?;
    let staged = Tree::read(staged.path(), EPOCH)?;
    let root_size = staged.partition_size(Bytes::mib(16));
    staged.write(&root, root_size, &Ext4Options { identity: &identity, label: "rootfs" })?;
    assemble(image.as_file(), &Layout::new(boot_size, root_size)?, identity.disk_signature, &boot, &root)?;
    Ok(image)
}

fn expectations() -> Expectations {
    Expectations { models: vec![Model::Pi4], identity: Some(identity()), free: Some(Bytes::mib(16)), on_purpose: None }
}

fn check(image: &NamedTempFile) -> VerifyReport {
    verify(image.as_file(), &expectations(), &parser()).unwrap()
}

/// The findings of an image built from the tree that `change` has changed.
fn findings(change: impl FnOnce(&Path)) -> Vec<String> {
    let tree = tree();
    change(tree.path());
    let image = build(tree.path()).unwrap();
    check(&image).findings().into_iter().map(|(_, finding)| finding.to_owned()).collect()
}

#[test]
fn a_good_image_passes_every_check() {
    let image = build(tree().path()).unwrap();
    let report = check(&image);
    assert!(report.passed(), "{report:#?}");
    assert_eq!(report.models, [Model::Pi4]);
    let names: Vec<&str> = report.checks.iter().map(|check| check.name).collect();
    assert_eq!(
        names,
        [
            "partition table",
            "image length",
            "boot file system",
            "root file system",
            "boot files",
            "device trees",
            "root device",
            "fstab",
            "first boot"
        ]
    );
}

#[test]
fn other_tools_see_the_same_image() {
    let image = build(tree().path()).unwrap();
    let path = image.path().to_str().unwrap();

    let table = Tool::new("sfdisk").args(["--json", path]).run().unwrap();
    let table: serde_json::Value = serde_json::from_slice(&table.stdout).unwrap();
    let table = &table["partitiontable"];
    assert_eq!(
        (table["label"].as_str(), table["id"].as_str()),
        (Some("dos"), Some(format!("{:#010x}", identity().disk_signature).as_str()))
    );
    let partitions: Vec<_> =
        table["partitions"].as_array().unwrap().iter().map(|p| (p["start"].as_u64(), p["type"].as_str())).collect();
    assert_eq!(partitions, [(Some(16_384), Some("c")), (Some(147_456), Some("83"))]);
    assert_eq!(table["partitions"][0]["size"], 131_072);

    let listing = Tool::new("mdir").args(["-b", "-/", "-i", &format!("{path}@@8M"), "::"]).run().unwrap().stdout_text();
    let mut names: Vec<&str> = listing.lines().filter(|line| !line.ends_with('/')).collect();
    names.sort_unstable();
    assert_eq!(
        names,
        [
            "::/bcm2711-rpi-4-b.dtb",
            "::/cmdline.txt",
            "::/config.txt",
            "::/fixup4.dat",
            "::/kernel8.img",
            "::/overlays/vc4-kms-v3d.dtbo",
            "::/start4.elf"
        ]
    );
    let content =
        Tool::new("mtype").args(["-i", &format!("{path}@@8M"), "::/overlays/vc4-kms-v3d.dtbo"]).run().unwrap();
    assert_eq!(content.stdout_text(), "overlays/vc4-kms-v3d.dtbo");

    let root = format!("{path}?offset={}", 147_456 * 512);
    let stat = Tool::new("debugfs").args(["-R", "stat /etc/hostname", &root]).run().unwrap().stdout_text();
    for line in stat.lines().filter(|line| line.contains("time: ")) {
        let earlier_is_kept = line.trim_start().starts_with("mtime");
        assert!(earlier_is_kept || line.contains(&format!("{EPOCH:#010x}")), "{line}");
    }
    assert!(stat.contains("Mode:  0644"), "{stat}");
    let features = Tool::new("debugfs").args(["-R", "features", &root]).run().unwrap().stdout_text();
    assert!(features.contains("has_journal") && !features.contains("orphan_file"), "{features}");
}

#[test]
fn two_builds_have_the_same_bytes_and_holes() {
    let digest = || {
        let image = build(tree().path()).unwrap();
        let metadata = image.as_file().metadata().unwrap();
        assert!(metadata.blocks() * 512 < metadata.len() / 2, "{} of {}", metadata.blocks() * 512, metadata.len());
        Sha256::digest(std::fs::read(image.path()).unwrap())
    };
    let first = digest();
    // Change times differ by more than a second now.
    std::thread::sleep(std::time::Duration::from_millis(1100));
    assert_eq!(first, digest());
}

#[test]
fn an_image_says_what_it_is() {
    let image = build(tree().path()).unwrap();
    let found = inspect(image.as_file(), &parser()).unwrap();
    assert_eq!((found.hostname.as_deref(), found.os.as_deref()), (Some("robot"), Some("Test 1")));
    assert_eq!(found.models, [Model::Pi4]);
    assert_eq!(found.partitions.len(), 2);
    assert_eq!(found.partitions[1].partuuid, identity().root_partuuid());
    assert!(found.allocated < found.size);
    assert_eq!(found.unreadable, [""; 0]);
    let labels: Vec<&str> = found
        .partitions
        .iter()
        .map(|partition| match partition.file_system.as_ref().unwrap() {
            FileSystemInfo::Vfat(fat) => fat.label.as_str(),
            FileSystemInfo::Ext4(ext4) => ext4.label.as_str(),
        })
        .collect();
    assert_eq!(labels, ["bootfs", "rootfs"]);
    assert!(serde_json::to_string(&found).unwrap().contains("\"pi4\""));
}

#[test]
fn a_missing_boot_file_is_named() {
    let found = findings(|tree| std::fs::remove_file(tree.join("boot/firmware/start4.elf")).unwrap());
    assert_eq!(found, ["pi4 does not boot: missing `start4.elf` (the firmware)"]);
}

#[test]
fn an_image_that_boots_nothing_fails_without_expectations() {
    let tree = tree();
    std::fs::remove_file(tree.path().join("boot/firmware/kernel8.img")).unwrap();
    let report = verify(build(tree.path()).unwrap().as_file(), &Expectations::default(), &parser()).unwrap();
    let findings = report.findings();
    assert_eq!(findings[0], ("boot files", "no Pi can boot from this image"));
    assert_eq!(findings[1], ("boot files", "pi4 does not boot: missing `kernel8.img` (the kernel)"));
}

#[test]
fn another_disks_names_are_found() {
    let found = findings(|tree| {
        std::fs::write(tree.join("boot/firmware/cmdline.txt"), "root=PARTUUID=deadbeef-02\n").unwrap();
        std::fs::write(tree.join("etc/fstab"), "PARTUUID=deadbeef-02 / ext4 defaults 0 1\n").unwrap();
    });
    let own = identity();
    assert_eq!(
        found,
        [
            format!(
                "`cmdline.txt` says `root=PARTUUID=deadbeef-02`, but the root partition is PARTUUID={}",
                own.root_partuuid()
            ),
            format!(
                "`/etc/fstab` mounts `PARTUUID=deadbeef-02` on `/`, but the image's partitions are {} and {}",
                own.boot_partuuid(),
                own.root_partuuid()
            ),
        ]
    );
}

#[test]
fn what_must_differ_between_devices_is_found() {
    let found = findings(|tree| {
        std::fs::write(tree.join("etc/ssh/ssh_host_rsa_key"), "secret").unwrap();
        std::fs::write(tree.join("etc/machine-id"), "0123456789abcdef0123456789abcdef\n").unwrap();
    });
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found[0].starts_with("`/etc/ssh/ssh_host_rsa_key` is in the image"), "{}", found[0]);
    assert!(found[1].starts_with("`/etc/machine-id` is `0123456789abcdef0123456789abcdef`"), "{}", found[1]);
}

#[test]
fn what_scripts_of_packages_made_for_one_machine_is_named_and_not_refused() {
    let tree = tree();
    let put = |name: &str, text: &str| {
        let path = tree.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    let key = "-----BEGIN PRIVATE KEY-----\nAA\n";
    put("etc/app/made.pem", key);
    put("etc/app/brought.pem", key);
    put("etc/app/wanted.pem", key);
    put("opt/tool/deep/er/key", key);
    put("var/lib/app/id", "0192f5a0-6c1e-4a59-9d3b-0123456789ab");
    put("var/lib/dpkg/info/app.list", "/etc/app\n/etc/app/brought.pem\n");
    let image = build(tree.path()).unwrap();
    let on_purpose = ["/etc/app/wanted.pem", "/opt/tool/"].map(str::to_owned).into();
    let expected = Expectations { on_purpose: Some(on_purpose), ..expectations() };
    let report = verify(image.as_file(), &expected, &parser()).unwrap();
    assert!(report.passed(), "{report:?}");
    let check = report.checks.iter().find(|check| check.name == "keys and ids").unwrap();
    let notes = [("/etc/app/made.pem", "a private key"), ("/var/lib/app/id", "an id")]
        .map(|(path, what)| format!("`{path}` looks like {what}, and is the same on every card of this image"));
    assert_eq!(check.outcome, Outcome::Noted(notes.to_vec()));
}

#[test]
fn lines_of_config_txt_that_do_nothing_are_found() {
    let found = findings(|tree| {
        let boot = tree.join("boot/firmware");
        std::fs::write(boot.join("bcm2711-rpi-4-b.dtb"), device_tree(&[("__symbols__", &[("gpio", b"x")])])).unwrap();
        let overlay = device_tree(&[("__fixups__", &[("uart0", b"x")])]);
        std::fs::write(boot.join("overlays/disable-bt.dtbo"), overlay).unwrap();
        let mut config = std::fs::read_to_string(boot.join("config.txt")).unwrap();
        config += "dtoverlay=disable-bt\ndtoverlay=i2c-rtc,ds3231\ndtoverlay=\ndtparam=spi=on\n[pi5]\ndtparam=x\n";
        std::fs::write(boot.join("config.txt"), config).unwrap();
    });
    let does_nothing = |line: &str, reason: &str| format!("`{line}` in `config.txt` does nothing: {reason}");
    assert_eq!(
        found,
        [
            does_nothing(
                "dtoverlay=disable-bt",
                "`overlays/disable-bt.dtbo` needs the labels uart0, which `bcm2711-rpi-4-b.dtb` does not have"
            ),
            does_nothing("dtoverlay=i2c-rtc,ds3231", "there is no `overlays/i2c-rtc.dtbo` on the boot partition"),
            does_nothing("dtparam=spi=on", "`bcm2711-rpi-4-b.dtb` takes no parameters"),
        ]
    );
}

#[test]
fn what_does_not_fit_is_refused() {
    let tree = tree();
    let boot = tree.path().join("boot/firmware");
    File::create(boot.join("huge.bin")).unwrap().set_len(100 << 20).unwrap();
    let full = build(tree.path()).unwrap_err().to_string();
    assert!(
        full.starts_with("the boot partition is too small: `/boot/firmware` needs 100 MiB, it has room for 6"),
        "{full}"
    );
    std::fs::remove_file(boot.join("huge.bin")).unwrap();
    std::fs::write(boot.join("KERNEL8.IMG"), "").unwrap();
    let collision = build(tree.path()).unwrap_err().to_string();
    assert_eq!(
        collision,
        "the boot partition cannot hold both `KERNEL8.IMG` and `kernel8.img` of `/boot/firmware`: FAT ignores case"
    );
}

#[test]
fn damage_is_found() {
    let image = build(tree().path()).unwrap();
    let file = image.as_file();
    let length = file.metadata().unwrap().len();
    // Both tables of the FAT, then the bitmap area of the ext4, each on its own.
    for (offset, check) in
        [((8 << 20) + 32 * 512, "boot file system"), (147_456 * 512 + 1024 + 0x58, "root file system")]
    {
        let mut saved = [0; 64];
        file.read_exact_at(&mut saved, offset).unwrap();
        file.write_all_at(&[0x55; 64], offset).unwrap();
        let report = report_of(file);
        assert!(report.findings().iter().any(|(name, _)| *name == check), "{check}: {report:#?}");
        file.write_all_at(&saved, offset).unwrap();
    }
    file.set_len(length - 4096).unwrap();
    let report = report_of(file);
    assert!(report.findings().iter().any(|(_, finding)| finding.starts_with("the image is cut off")), "{report:#?}");
    file.set_len(length + 7).unwrap();
    let report = report_of(file);
    assert!(report.findings().contains(&("image length", "7 bytes follow the last partition")), "{report:#?}");
    file.set_len(0).unwrap();
    assert_eq!(report_of(file).findings(), [("partition table", "it is empty; was it copied or downloaded whole?")]);
}

fn report_of(file: &File) -> VerifyReport {
    verify(file, &expectations(), &parser()).unwrap()
}

/// The bytes that a block map names, with their checksums; read from the file's text.
fn mapped(xml: &str) -> Vec<(Range<usize>, String)> {
    let field = |text: &str, after: &str, until: &str| {
        let (_, rest) = text.split_once(after).unwrap();
        rest.split_once(until).unwrap().0.trim().to_owned()
    };
    let block: usize = field(xml, "<BlockSize>", "<").parse().unwrap();
    let length: usize = field(xml, "<ImageSize>", "<").parse().unwrap();
    let ranges = xml.lines().filter(|line| line.contains("<Range "));
    ranges
        .map(|line| {
            let blocks = field(line, ">", "<");
            let (first, last) = blocks.split_once('-').unwrap_or((&blocks, &blocks));
            let (first, last): (usize, usize) = (first.parse().unwrap(), last.parse().unwrap());
            (first * block..((last + 1) * block).min(length), field(line, "chksum=\"", "\""))
        })
        .collect()
}

#[test]
fn one_pass_gives_checksum_map_and_compressed_image() {
    let image = build(tree().path()).unwrap();
    let bytes = std::fs::read(image.path()).unwrap();
    let dir = tempdir().unwrap();
    let (digests, none) = pass(image.as_file(), None, &mut |_| true).unwrap();
    assert_eq!((digests.sha256.as_str(), none), (digest(&bytes).as_str(), None));
    assert_eq!(digests.bmap.length, Bytes(bytes.len() as u64));
    let ranges = mapped(&digests.bmap.to_xml());
    let starts: Vec<usize> = ranges.iter().map(|(range, _)| range.start).collect();
    assert_eq!(starts, [0, 8 << 20, 147_456 * 512], "the table and both file systems");
    for (range, checksum) in ranges {
        assert_eq!(digest(&bytes[range.clone()]), checksum, "{range:?}");
    }
    for (name, compression, program) in [("zst", Compression::Zstd(3), "zstd"), ("xz", Compression::Xz(0), "xz")] {
        let path = dir.path().join(name);
        let out = File::create(&path).unwrap();
        let mut heard = Vec::new();
        let mut watch = |position: Bytes| {
            heard.push(position);
            true
        };
        let (same, compressed) = pass(image.as_file(), Some((compression, &out)), &mut watch).unwrap();
        assert_eq!(same, digests);
        assert!(heard.is_sorted() && heard.len() > 50, "{heard:?}");
        let written = std::fs::read(&path).unwrap();
        let compressed = compressed.unwrap();
        assert_eq!((compressed.sha256, compressed.length), (digest(&written), Bytes(written.len() as u64)));
        let back = Tool::new(program).args(["--decompress", "--stdout"]).arg(&path).run().unwrap();
        assert!(back.stdout == bytes, "{program} gives another image");
    }
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn what_is_mapped_is_enough_for_a_used_card() {
    let image = build(tree().path()).unwrap();
    let bytes = std::fs::read(image.path()).unwrap();
    let (digests, _) = pass(image.as_file(), None, &mut |_| true).unwrap();
    let card = tempfile().unwrap();
    let old = vec![0xa5; 1 << 20];
    (0..bytes.len()).step_by(old.len()).for_each(|at| card.write_all_at(&old, at as u64).unwrap());
    for (range, _) in mapped(&digests.bmap.to_xml()) {
        card.write_all_at(&bytes[range.clone()], range.start as u64).unwrap();
    }
    let report = report_of(&card);
    assert!(report.passed(), "{report:#?}");
    assert!(digests.bmap.mapped_blocks() * 4096 < bytes.len() as u64 / 2, "{}", digests.bmap.mapped_blocks());
}

#[test]
fn bmaptool_takes_the_map() {
    let image = build(tree().path()).unwrap();
    let dir = tempdir().unwrap();
    let (map, card) = (dir.path().join("map"), dir.path().join("card"));
    let (digests, _) = pass(image.as_file(), None, &mut |_| true).unwrap();
    let xml = digests.bmap.to_xml();
    let copy = || Tool::new("bmaptool").args(["copy", "--bmap"]).args([&map, image.path(), &card]).output().unwrap();
    std::fs::write(&map, &xml).unwrap();
    let output = copy();
    assert_eq!(output.status, 0, "{}", output.tail());
    assert!(std::fs::read(&card).unwrap() == std::fs::read(image.path()).unwrap());
    // That it looks at the checksums: of a block, and of the map.
    let wrong = xml.replace(&digests.bmap.ranges[1].sha256, &digests.bmap.ranges[0].sha256);
    std::fs::write(&map, wrong).unwrap();
    assert!(copy().tail().contains("checksum mismatch"), "{}", copy().tail());
    image.as_file().write_all_at(b"!", 8 << 20).unwrap();
    std::fs::write(&map, &xml).unwrap();
    assert!(copy().tail().contains("checksum mismatch"), "{}", copy().tail());
}

#[test]
fn a_pass_that_cannot_end_says_why() {
    let image = build(tree().path()).unwrap();
    let full = File::options().write(true).open("/dev/full").unwrap();
    for compression in [Compression::Zstd(1), Compression::Xz(0)] {
        let error = pass(image.as_file(), Some((compression, &full)), &mut |_| true).unwrap_err();
        let error = format!("{error:#}");
        assert!(error.starts_with("cannot write the compressed file: No space left on device"), "{error}");
    }
    let out = tempfile().unwrap();
    let error = pass(image.as_file(), Some((Compression::Zstd(1), &out)), &mut |at| at < Bytes::mib(20)).unwrap_err();
    assert_eq!(format!("{error:#}"), "what was written was not read to its end");
    image.as_file().set_len(100).unwrap();
    let error = pass(image.as_file(), None, &mut |_| true).unwrap_err();
    assert_eq!(format!("{error:#}"), "the file is shorter than a partition table");
}
