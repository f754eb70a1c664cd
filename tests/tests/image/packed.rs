//! Compressed images, and disks that are none for piimg, as the commands get them.

#![expect(clippy::disallowed_methods, reason = "the tests run what the user runs")]

use std::process::Command;

use super::*;

/// What piimg prints of the file `name` in `dir`: its status, its data and what it says beside.
fn piimg(dir: &Path, arguments: &[&str]) -> (Option<i32>, String, String) {
    let output = Command::new(piimg_tests::piimg()).current_dir(dir).args(arguments).output().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    (output.status.code(), text(output.stdout), text(output.stderr))
}

#[test]
fn a_compressed_image_is_looked_at_as_any_other() {
    let (dir, plugin) = (tempdir().unwrap(), piimg_tests::guest("minimal"));
    std::fs::copy(build(tree().path()).unwrap().path(), dir.path().join("a.img")).unwrap();
    let commands: [(&[&str], i32); 3] =
        [(&["verify", "--model", "pi4"], 0), (&["inspect"], 0), (&["audit", plugin.to_str().unwrap(), "--image"], 2)];
    let ran = |name: &str| {
        let mut all: Vec<_> =
            commands.iter().map(|(words, _)| piimg(dir.path(), &[words, &[name][..]].concat())).collect();
        all.push(piimg(dir.path(), &["blame", name, "/etc/hostname"]));
        all
    };
    // How much of it is stored is the file system's matter.
    let data =
        |text: &str| text.lines().filter(|line| !line.starts_with("size ")).map(str::to_owned).collect::<Vec<_>>();
    let plain = ran("a.img");
    assert!(plain[0].1.contains("ok       boot files: complete for pi4\n"), "{:?}", plain[0]);
    for (program, ending) in [("xz", "xz"), ("zstd", "zst"), ("gzip", "gz")] {
        let name = format!("a.img.{ending}");
        Tool::new(program).args(["-k", "-1", "-q"]).arg(dir.path().join("a.img")).run().unwrap();
        for (packed, plain) in ran(&name).iter().zip(&plain) {
            assert_eq!((packed.0, data(&packed.1)), (plain.0, data(&plain.1)), "{name}: {packed:?}");
            assert!(packed.2.contains(&format!("Unpack {name}")), "{packed:?}");
        }
        std::fs::remove_file(dir.path().join(name)).unwrap();
    }
    for ((words, code), ran) in commands.iter().zip(&plain) {
        assert_eq!(ran.0, Some(*code), "{words:?}: {ran:?}");
    }
    assert!(plain[2].2.contains("the image `a.img` does not tell how it was built"), "{:?}", plain[2]);
    assert!(plain[3].1.contains("no package's list names it"), "{:?}", plain[3]);
}

#[test]
fn what_is_cut_off_or_has_no_end_is_told() {
    let dir = tempdir().unwrap();
    let image = build(tree().path()).unwrap();
    Tool::new("zstd").args(["-q", "-1", "-o"]).arg(dir.path().join("a.img.zst")).arg(image.path()).run().unwrap();
    let packed = std::fs::read(dir.path().join("a.img.zst")).unwrap();
    std::fs::write(dir.path().join("cut.img.zst"), &packed[..packed.len() / 2]).unwrap();
    let (code, _, said) = piimg(dir.path(), &["verify", "cut.img.zst"]);
    assert_eq!(code, Some(1), "{said}");
    assert!(
        said.contains("error: cannot unpack `cut.img.zst`\n  caused by: cannot unpack it: is it damaged?"),
        "{said}"
    );
}

/// Each command names what it was given, and says what it would take.
#[test]
fn other_disks_are_named() {
    let dir = tempdir().unwrap();
    let disk = |name: &str| {
        let file = File::options().read(true).write(true).create_new(true).open(dir.path().join(name)).unwrap();
        file.set_len(16 << 20).unwrap();
        file
    };
    disk("gpt.img");
    let gpt = Tool::new("sfdisk").arg("-q").arg(dir.path().join("gpt.img"));
    gpt.stdin("label: gpt\nsize=2MiB, type=uefi\ntype=linux\n").run().unwrap();
    disk("ext4.img");
    Tool::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(dir.path().join("ext4.img")).run().unwrap();
    disk("btrfs.img").write_all_at(b"_BHRfS_M", 0x1_0040).unwrap();
    std::fs::write(dir.path().join("pico.hex"), ":020000041000EA\r\n:00000001FF\r\n").unwrap();
    std::fs::write(dir.path().join("a.tar"), [&[0; 257][..], b"ustar", &[0; 800]].concat()).unwrap();
    for (name, cause, hint) in [
        ("gpt.img", "it is a disk with another partition table (GPT)", "master boot record"),
        ("ext4.img", "it is ext2, 3 or 4, and no disk with a partition table", "master boot record"),
        ("btrfs.img", "it is btrfs, and no disk with a partition table", "master boot record"),
        ("pico.hex", "it is firmware for a microcontroller (Intel HEX)", "a boot and a root partition"),
        ("a.tar", "it is a tar archive, not an image", "piimg build --base"),
    ] {
        for words in [&["inspect", name][..], &["boot", name], &["blame", name, "/etc/hostname"]] {
            let (code, data, said) = piimg(dir.path(), words);
            assert_eq!((code, data.as_str()), (Some(2), ""), "{words:?}: {said}");
            let error =
                format!("error: `{name}` is not a Raspberry Pi image that piimg understands\n  caused by: {cause}");
            assert!(said.contains(&error) && said.contains("hint: ") && said.contains(hint), "{words:?}: {said}");
        }
        let (code, data, _) = piimg(dir.path(), &["verify", name]);
        assert_eq!((code, data.lines().count()), (Some(1), 1), "{data}");
        assert!(data.starts_with(&format!("FAILED   partition table: {cause}")) && data.contains(hint), "{data}");
        if name != "a.tar" {
            let (code, _, said) = piimg(dir.path(), &["plan", "--base", name]);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains("error: cannot build on `") && said.contains(cause) && said.contains(hint), "{said}");
        }
    }
}

/// The root partition may be the third one, and no ext4.
#[test]
fn the_root_partition_is_the_one_that_the_command_line_names() {
    let image = build(tree().path()).unwrap();
    let file = image.as_file();
    let mut entries = [0; 64];
    file.read_exact_at(&mut entries, 446).unwrap();
    // The second partition moves to the third place; one of data, within the gap before the first, takes its own.
    entries.copy_within(16..32, 32);
    entries[24..32].copy_from_slice(&[0, 8, 0, 0, 0, 8, 0, 0]);
    file.write_all_at(&entries, 446).unwrap();
    let report = verify(file, &Expectations::default(), &parser()).unwrap();
    let findings: Vec<&str> = report.findings().into_iter().map(|(_, finding)| finding).collect();
    // The command line names the second one, which holds data now.
    assert!(findings.contains(&"the root partition holds no ext4 file system"), "{findings:?}");
    let drive = format!("{}@@8M", image.path().display());
    let dir = tempdir().unwrap();
    let cmdline = dir.path().join("cmdline.txt");
    let third = identity().root_partuuid().replace("-02", "-03");
    std::fs::write(&cmdline, format!("console=tty1 root=PARTUUID={third}\n")).unwrap();
    Tool::new("mcopy").args(["-o", "-i", &drive]).arg(&cmdline).arg("::/cmdline.txt").run().unwrap();
    let report = verify(file, &Expectations::default(), &parser()).unwrap();
    let findings: Vec<&str> = report.findings().into_iter().map(|(_, finding)| finding).collect();
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert!(
        findings[0].contains("mounts `PARTUUID=") && findings[0].ends_with("which is the wrong partition"),
        "{findings:?}"
    );
    assert_eq!(inspect(file, &parser()).unwrap().hostname.as_deref(), Some("robot"));
    // Another file system in it is named.
    let start = mbr::read(file).unwrap().partitions[2].1.start.to_bytes().0;
    file.write_all_at(&[0; 2048], start).unwrap();
    file.write_all_at(&[0x10, 0x20, 0xf5, 0xf2], start + 0x400).unwrap();
    let report = verify(file, &Expectations::default(), &parser()).unwrap();
    let named = "the root partition holds f2fs, not ext4; piimg reads and builds root file systems of ext4 alone";
    assert!(report.findings().contains(&("root file system", named)), "{report:#?}");
}

#[test]
fn a_plugin_is_tried_on_the_files_of_an_image() {
    let (dir, tree) = (tempdir().unwrap(), tree());
    let sub = tree.path().join("usr/bin");
    std::fs::create_dir_all(&sub).unwrap();
    std::fs::write(sub.join("mount"), "x").unwrap();
    Tool::new("chmod").arg("4711").arg(sub.join("mount")).run().unwrap();
    std::fs::copy(build(tree.path()).unwrap().path(), dir.path().join("a.img")).unwrap();
    Tool::new("xz").args(["-k", "-0", "-q"]).arg(dir.path().join("a.img")).run().unwrap();
    let plugin = piimg_tests::guest("minimal");
    for (image, kept) in [("a.img", "plain"), ("a.img.xz", "unpacked")] {
        let run = ["plugin", "run", plugin.to_str().unwrap(), "--rootfs", image, "--keep", kept];
        let (code, data, said) = piimg(dir.path(), &[&run[..], &["--command", "htop --version"]].concat());
        assert_eq!(code, Some(0), "{said}");
        assert!(data.starts_with("/etc/\n  piimg-minimal  added by call "), "{data}");
        let read = |path: &str| std::fs::read_to_string(dir.path().join(kept).join(path)).unwrap();
        assert_eq!(read("etc/hostname"), "robot\n");
        assert_eq!(read("boot/firmware/config.txt"), "arm_64bit=1\n[pi4]\narm_boost=1\n[all]\n");
        assert_eq!(read("boot/firmware/overlays/vc4-kms-v3d.dtbo"), "overlays/vc4-kms-v3d.dtbo");
        assert_eq!(read("usr/bin/mount"), "x");
        let link = std::fs::read_link(dir.path().join(kept).join("etc/os-release")).unwrap();
        assert_eq!(link, Path::new("../usr/lib/os-release"));
    }
    std::fs::write(dir.path().join("b.img"), "x").unwrap();
    let (code, _, said) = piimg(dir.path(), &["plugin", "run", plugin.to_str().unwrap(), "--rootfs", "b.img"]);
    assert_eq!(code, Some(2), "{said}");
    assert!(said.contains("it is neither an image with a partition table nor a tar archive"), "{said}");
}
