//! Images and compressed files that were made to do harm: whatever reads one ends, in time, and says why.

use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use piimg::image::inspect;
use piimg::image::parsing::{BootPartition, recognise, unpack};
use piimg::sandbox::free_space::Room;
use piimg::sandbox::parser::{Limits, Parser};

use super::*;

/// Where the boot partition starts, its first table, and its first cluster.
const BOOT: u64 = 8 << 20;

struct Fat {
    table: u64,
    data: u64,
}

fn fat(file: &File) -> Fat {
    let mut sector = [0; 512];
    file.read_exact_at(&mut sector, BOOT).unwrap();
    let table = BOOT + u64::from(u16::from_le_bytes([sector[14], sector[15]])) * 512;
    let length = u64::from(u32::from_le_bytes(sector[36..40].try_into().unwrap())) * 512;
    Fat { table, data: table + 2 * length }
}

/// Both tables say that what follows `cluster` is `next`.
fn link(file: &File, cluster: u32, next: u32) {
    let Fat { table, data } = fat(file);
    for table in [table, table + (data - table) / 2] {
        file.write_all_at(&next.to_le_bytes(), table + u64::from(cluster) * 4).unwrap();
    }
}

/// What an image that was spoilt comes to: what cannot be read of it, and the findings.
fn looked_at(spoil: impl FnOnce(&File)) -> (Vec<String>, Vec<String>) {
    let image = build(tree().path()).unwrap();
    let file = image.as_file();
    spoil(file);
    let unreadable = match inspect::inspect(file, &parser()) {
        Ok(inspection) => inspection.unreadable,
        Err(error) => vec![format!("{error:#}")],
    };
    let report = verify(file, &Expectations::default(), &parser()).unwrap();
    assert!(!report.passed(), "{report:#?}");
    let findings = report.findings().into_iter().map(|(check, finding)| format!("{check}: {finding}")).collect();
    (unreadable, findings)
}

#[track_caller]
fn has(lines: &[String], text: &str) {
    assert!(lines.iter().any(|line| line.contains(text)), "{text:?} is missing from {lines:#?}");
}

#[test]
fn clusters_that_lead_back_are_named() {
    for (next, path) in [(2, "/"), (3, "/")] {
        let (unreadable, findings) = looked_at(|file| {
            link(file, 2, next);
            link(file, 3, 2);
        });
        let said = format!("`{path}` on the boot partition has clusters that lead back into it");
        assert!(unreadable.len() == 1 && unreadable[0].starts_with(&said), "{unreadable:?}");
        has(&findings, &format!("boot partition: {said}"));
        has(&findings, "boot file system: ");
    }
}

#[test]
fn a_directory_in_itself_is_named() {
    let (unreadable, findings) = looked_at(|file| {
        // The directory of overlays begins where the top directory does.
        let Fat { data, .. } = fat(file);
        let mut top = [0; 2048];
        file.read_exact_at(&mut top, data).unwrap();
        let at = top.chunks(32).position(|entry| entry.starts_with(b"OVERLAYS") && entry[11] == 0x10).unwrap();
        file.write_all_at(&2_u16.to_le_bytes(), data + at as u64 * 32 + 26).unwrap();
        file.write_all_at(&[0, 0], data + at as u64 * 32 + 20).unwrap();
    });
    has(&unreadable, "`overlays` on the boot partition has clusters that lead back into it");
    has(&findings, "boot partition: `overlays` on the boot partition");
}

#[test]
fn an_absurd_superblock_is_refused() {
    let superblock = 147_456 * 512 + 1024;
    type Spoil<'a> = (&'a str, u64, &'a [u8]);
    let cases: [Spoil<'_>; 5] = [
        ("2^32 blocks, and as many more in the upper half", 0x04, &[0xff; 4]),
        ("blocks of 2^60 bytes", 0x18, &[50, 0, 0, 0]),
        ("2^32 inodes", 0x00, &[0xff; 4]),
        ("groups of one block", 0x20, &[1, 0, 0, 0]),
        ("a descriptor of a group that is as long as the file system", 0xfe, &[0xff, 0xff]),
    ];
    for (what, at, bytes) in cases {
        let (_, findings) = looked_at(|file| file.write_all_at(bytes, superblock + at).unwrap());
        assert!(findings.iter().any(|finding| finding.starts_with("root file system: ")), "{what}: {findings:#?}");
    }
}

#[test]
fn a_table_may_say_what_it_likes() {
    let entry = |kind: u8, start: u32, length: u32| {
        [&[0, 0, 0, 0, kind, 0, 0, 0][..], &start.to_le_bytes(), &length.to_le_bytes()].concat()
    };
    let (_, findings) = looked_at(|file| file.write_all_at(&entry(0x83, 16_390, 147_456), 462).unwrap());
    has(&findings, "partitions 1 and 2 overlap");
    // An extended partition whose first logical one is the table itself, for ever.
    let (_, findings) = looked_at(|file| {
        file.write_all_at(&entry(0x05, 0, u32::MAX), 478).unwrap();
        file.write_all_at(&entry(0x0f, 1, 100), 494).unwrap();
        let chain = [vec![0; 446], entry(0x83, 1, 1), entry(0x05, 0, 100), vec![0; 32], vec![0x55, 0xaa]].concat();
        file.write_all_at(&chain, 512).unwrap();
    });
    has(&findings, "the image is cut off");
    let (unreadable, findings) = looked_at(|file| {
        file.write_all_at(&[entry(0x0c, u32::MAX, u32::MAX), entry(0x83, u32::MAX, u32::MAX)].concat(), 446).unwrap();
    });
    has(&unreadable, "cannot read the boot partition");
    has(&findings, "the image is cut off");
    has(&findings, "root file system: cannot read the root file system");
    let (unreadable, findings) = looked_at(|file| file.set_len(BOOT + 4096).unwrap());
    has(&unreadable, "the boot partition is cut off");
    has(&findings, "the image is cut off");
}

#[test]
fn a_file_system_of_garbage_is_no_answer() {
    // The same garbage in each run.
    let mut state = 7_u64;
    let mut garbage = vec![0; 4 << 20];
    garbage.iter_mut().for_each(|byte| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        *byte = state.to_le_bytes()[7];
    });
    let (unreadable, findings) = looked_at(|file| file.write_all_at(&garbage, BOOT).unwrap());
    has(&unreadable, "the boot partition holds no FAT file system");
    has(&findings, "boot partition: the boot partition holds no FAT file system");
    // Behind the superblock, which still says where everything is.
    let (_, findings) = looked_at(|file| file.write_all_at(&garbage, 147_456 * 512 + 4096).unwrap());
    has(&findings, "root file system: `e2fsck` reports: ");
}

/// Bytes that no hole takes, packed in each way.
fn bombs(length: usize) -> [(&'static str, Vec<u8>); 3] {
    let content = vec![b'x'; length];
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    gzip.write_all(&content).unwrap();
    let dir = tempdir().unwrap();
    let path = dir.path().join("content");
    std::fs::write(&path, &content).unwrap();
    let packed = |program: &str| Tool::new(program).args(["-9", "--stdout"]).arg(&path).run().unwrap().stdout;
    [("gzip", gzip.finish().unwrap()), ("xz", packed("xz")), ("zstd", packed("zstd"))]
}

fn room(directory: &Path) -> Room {
    Room::new(directory, "the place", "what is in it").unwrap()
}

#[test]
fn a_bomb_ends_where_a_limit_says() {
    let dir = tempdir().unwrap();
    let file = |content: &[u8]| {
        let file = tempfile().unwrap();
        (&file).write_all(content).unwrap();
        file
    };
    for (name, bomb) in bombs(64 << 20) {
        assert!(bomb.len() < 128 << 10, "{name}: {} bytes", bomb.len());
        let (bomb, out) = (file(&bomb), tempfile().unwrap());
        let longest = |length| unpack(&parser(), &bomb, &out, length, &mut room(dir.path()));
        let error = longest(Bytes::mib(16)).unwrap_err().to_string();
        assert_eq!(error, "it is longer than 16 MiB when it is unpacked", "{name}");
        assert!(out.metadata().unwrap().len() <= 17 << 20, "{name}");
        longest(Bytes::mib(64)).unwrap();
        assert_eq!(out.metadata().unwrap().len(), 64 << 20, "{name}");
        // What is cut off is damaged, whatever came out before.
        bomb.set_len(bomb.metadata().unwrap().len() - 3).unwrap();
        let error = longest(Bytes::mib(64)).unwrap_err().to_string();
        assert_eq!(error, "cannot unpack it: is it damaged?", "{name}");
    }
    // More than there is memory for: its dictionary has 64 MiB.
    let [_, (_, xz), _] = bombs(80 << 20);
    let little = Parser::of(piimg_tests::piimg()).within(Limits { memory: 40 << 20, ..Limits::UNPACK });
    let error = unpack(&little, &file(&xz), &tempfile().unwrap(), Bytes::mib(100), &mut room(dir.path())).unwrap_err();
    assert_eq!(error.to_string(), "cannot unpack it: is it damaged?");
}

#[test]
fn a_reading_that_takes_too_long_is_ended() {
    let dir = tempdir().unwrap();
    let path = dir.path().join("zeros.xz");
    let script = "head --bytes=1G /dev/zero | xz -0 > \"$0\"";
    Tool::new("sh").args(["-c", script]).arg(&path).run().unwrap();
    let packed = File::open(path).unwrap();
    let hasty = Parser::of(piimg_tests::piimg()).within(Limits { time: Duration::from_secs(1), ..Limits::UNPACK });
    let out = tempfile().unwrap();
    let error = unpack(&hasty, &packed, &out, Bytes::mib(1 << 20), &mut room(dir.path())).unwrap_err().to_string();
    assert_eq!(error, "reading it took more than 1 s of computing");
    assert_eq!(out.metadata().unwrap().blocks(), 0, "zeros take no room");
}

#[test]
fn a_parser_is_not_believed() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempdir().unwrap();
    let program = dir.path().join("parser");
    let image = build(tree().path()).unwrap();
    let (_, boot) = *mbr::read(image.as_file()).unwrap().boot().unwrap();
    let said = |script: &str| {
        std::fs::write(
            &program,
            format!("#!/bin/bash\n[[ $2 =~ socket..([0-9]+) ]]; to=${{BASH_REMATCH[1]}}\n{script}\n"),
        )
        .unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        BootPartition::read(&Parser::of(&program), image.as_file(), &boot).unwrap_err().to_string()
    };
    assert_eq!(said("yes >&$to"), "what reads it broke, and sent what is no message");
    // An answer of which not all is there, one that is none, and data that nobody asked for.
    assert_eq!(said("printf '\\3\\20\\0\\0\\0' >&$to"), "what reads it ended with status 0");
    assert_eq!(said("printf '\\3\\2\\0\\0\\0\\377\\377' >&$to"), "what reads it broke, and sent what is no message");
    assert_eq!(said("printf '\\1\\1\\0\\0\\0x' >&$to"), "what reads it sends what nobody asked for");
    assert_eq!(said("kill -SEGV $$"), "what reads it crashed (SIGSEGV)");
    let none = Parser::of(dir.path().join("none"));
    let error = recognise(&none, image.as_file()).unwrap_err();
    assert!(format!("{error:#}").starts_with("cannot start a worker process: No such file"), "{error:#}");
}
