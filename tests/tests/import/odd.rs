//! An image with what is odd but real: other partitions, names and command lines, texts in Latin-1, holes, swap, a journal.

use std::fs;
use std::os::unix::fs::MetadataExt as _;

use piimg::image::assemble::copy_extents;
use piimg::image::ext4::{Ext4Reader, device_in};
use piimg::image::layout::{Bytes, partuuid};
use piimg::image::mbr;
use piimg::image::parsing::BootPartition;
use piimg::recipe::release::Releases;
use piimg::sandbox::tool::Tool;

use super::{File, Path, PathBuf, Place};

/// Where the partitions of the odd image are: boot, data, root, swap.
const BOOT: Bytes = Bytes::mib(8);
const DATA: Bytes = Bytes::mib(520);
const ROOT: Bytes = Bytes::mib(528);

/// Makes it of an image that was built, beside that.
fn odd_image(image: &Path) -> PathBuf {
    let odd = image.with_file_name("ODD.img");
    let source = File::open(image).unwrap();
    let table = mbr::read(&source).unwrap();
    let (boot, root) = (table.boot().unwrap().1, table.root().unwrap().1);
    let end = Bytes(ROOT.0 + root.length.to_bytes().0);
    let out = File::options().read(true).write(true).create_new(true).open(&odd).unwrap();
    out.set_len(end.0 + (8 << 20)).unwrap();
    for (partition, to) in [(boot, BOOT), (root, ROOT)] {
        copy_extents(&source, partition.start.to_bytes(), partition.length.to_bytes(), &out, to).unwrap();
    }
    let sectors = |length: Bytes| length.to_sectors().0;
    let line = |start: Bytes, length: Bytes, kind: &str| {
        format!("start={}, size={}, type={kind}\n", sectors(start), sectors(length))
    };
    let lines = [
        "label: dos\nlabel-id: 0x0badcafe\n".to_owned(),
        line(BOOT, boot.length.to_bytes(), "c"),
        line(DATA, Bytes::mib(8), "83"),
        line(ROOT, root.length.to_bytes(), "83"),
        line(end, Bytes::mib(8), "82"),
    ];
    Tool::new("sfdisk").args(["--no-reread", "--no-tell-kernel", "-q"]).arg(&odd).stdin(lines.concat()).run().unwrap();
    let data = device_in(&odd, DATA);
    Tool::new("mke2fs").args(["-q", "-F", "-t", "ext4"]).arg(data).arg("8M").run().unwrap();
    change_boot(&odd);
    change_root(&odd);
    odd
}

/// Names in capitals, and another command line.
fn change_boot(odd: &Path) {
    let place = odd.parent().unwrap();
    let drive = format!("{}@@{}", odd.display(), BOOT.0);
    let mtools =
        |program: &str, words: &[&str]| Tool::new(program).args(["-i", &drive]).args(words).run().unwrap().stdout;
    let text = |name: &str| mtools("mtype", &[&format!("::/{name}")]);
    let config = [text("config.txt"), b"# M\xfcller\ncmdline=PI.TXT\n".to_vec()].concat();
    let cmdline = String::from_utf8(text("cmdline.txt")).unwrap();
    let words = cmdline.split_whitespace().filter(|word| !word.starts_with("root="));
    let cmdline = format!("{} root=PARTUUID=0BADCAFE-03\n", words.collect::<Vec<_>>().join(" "));
    mtools("mdel", &["::/config.txt", "::/cmdline.txt"]);
    for (name, content) in [("CONFIG.TXT", config), ("PI.TXT", cmdline.into_bytes())] {
        fs::write(place.join(name), content).unwrap();
        mtools("mcopy", &[place.join(name).to_str().unwrap(), "::/"]);
    }
}

fn change_root(odd: &Path) {
    let place = odd.parent().unwrap();
    let file = File::open(odd).unwrap();
    let reader = Ext4Reader::open(&file, ROOT).unwrap();
    let changed = [
        ("passwd", &b"old:x:1500:100:M\xfcller:/nonexistent:/bin/false\n"[..]),
        ("hosts", b"10.0.0.1\tm\xfcller\n"),
        ("fstab", b"# M\xfcller\nUUID=0a0a-0b0b none swap sw 0 0\n/swapfile none swap sw 0 0\nLABEL=data /data ext4 nofail 0 2\n"),
    ];
    let mut commands = String::from("cd /etc\n");
    for (name, more) in changed {
        let old = reader.read(&format!("/etc/{name}")).unwrap().unwrap_or_default();
        fs::write(place.join(name), [&old[..], more].concat()).unwrap();
        commands += &format!("rm {name}\nwrite {} {name}\n", place.join(name).display());
    }
    commands += "sif hostname flags 0x80010\ncd /\nwrite /dev/null swapfile\nsif swapfile size 0x100000\n\
                 cd /srv\nwrite /dev/null hole\nsif hole size 0x500000000\nfeature needs_recovery\n";
    Tool::new("debugfs").args(["-w", "-f", "-"]).arg(device_in(odd, ROOT)).stdin(commands).run().unwrap();
}

#[test]
fn an_odd_image_is_built_on() {
    let place = Place(tempfile::tempdir().unwrap());
    let (first, said) = place.build(&["--release", "bookworm", "--flavour", "plain"]);
    // A plan promises just what the boot files start.
    let releases = Releases::builtin().unwrap();
    let models = releases.get("bookworm").unwrap().clone().resolved("arm64").models.join(", ");
    assert!(said.contains(&format!("boots on {models}")), "{models}:\n{said}");
    let odd = odd_image(&first[0]);
    fs::remove_file(&first[0]).unwrap();
    let (built, said) = place.build(&["--release", "bookworm", "--base", odd.to_str().unwrap(), "--flavour", "odd"]);
    for expected in [
        "it has 4 partitions, of which the boot and the root partition are taken",
        "`/etc/hostname` cannot be changed (`chattr +i`): an image has no such flags",
        "it swaps to `UUID=0a0a-0b0b`, which the image does not have: the line is taken out of its fstab",
        "it swaps to the file `/swapfile`, which the image does not get",
        "it mounts `LABEL=data` at `/data` where that is there; the data is not taken over",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
    let file = File::open(&built[0]).unwrap();
    assert!(file.metadata().unwrap().len() < 4 << 30, "holes are stored: {}", file.metadata().unwrap().size());
    let table = mbr::read(&file).unwrap();
    let root = Ext4Reader::open(&file, table.root().unwrap().1.start.to_bytes()).unwrap();
    let bytes = |path: &str| root.read(path).unwrap().unwrap();
    let contains = |path: &str, part: &[u8]| bytes(path).windows(part.len()).any(|window| window == part);
    assert!(contains("/etc/passwd", b"old:x:1500:100:M\xfcller:/nonexistent:"));
    assert!(contains("/etc/hosts", b"10.0.0.1\tm\xfcller\n"));
    assert!(contains("/etc/fstab", b"# M\xfcller\n") && contains("/etc/fstab", b"LABEL=data /data ext4 nofail 0 2\n"));
    assert!(!contains("/etc/fstab", b"swap"));
    assert_eq!(root.read("/swapfile").unwrap(), None);
    let hole = root.list("/srv").unwrap().unwrap();
    assert_eq!(hole.iter().map(|entry| (entry.name.as_str(), entry.size)).collect::<Vec<_>>(), [("hole", 20 << 30)]);
    let boot = BootPartition::read(&piimg_tests::parser(), &file, &table.boot().unwrap().1).unwrap();
    let names: Vec<&str> = boot.files.iter().map(|file| file.path.as_str()).collect();
    assert!(names.contains(&"config.txt") && names.contains(&"PI.TXT") && !names.contains(&"cmdline.txt"), "{names:?}");
    let root = format!("root=PARTUUID={}", partuuid(table.disk_signature, 2));
    let files = boot.boot_files();
    assert!(files.text("pi.txt").unwrap().contains(&root), "{:?}", files.text("pi.txt"));
}
