//! Output of `debugfs` for a file system of anybody's: whatever it is, nothing is made outside the tree, and it ends.

use std::cell::Cell;
use std::fs;

use piimg::image::ext4::extract::{Attributes, Debugfs, Source, extract};
use piimg::image::layout::{Bytes, Partition, PartitionType, Sectors};
use piimg::sandbox::free_space::Room;
use piimg::sandbox::tool::Output;

use super::patched::file;

/// Between two answers in the input.
const END: u8 = 0x1e;

/// More runs than the walk through any tree of so few directories takes.
const MOST_RUNS: usize = 200;

/// Blocks of 1 KiB, of which the second is the superblock.
fn file_system() -> Vec<u8> {
    let mut bytes = vec![b'x'; 64 << 10];
    bytes[1024..2048].fill(0);
    bytes[1024 + 0x38..][..2].copy_from_slice(&[0x53, 0xef]);
    bytes
}

pub(super) fn check(data: &[u8]) -> bool {
    let dir = tempfile::tempdir().expect("a directory can be made");
    let (into, scratch) = (dir.path().join("into"), dir.path().join("scratch"));
    for path in [&into, &scratch] {
        fs::create_dir(path).expect("a directory can be made");
    }
    fs::write(dir.path().join("canary"), "x").expect("a file can be written");
    let answers: Vec<&[u8]> = data.split(|byte| *byte == END).collect();
    let (next, runs) = (Cell::new(0), Cell::new(0));
    let run = |script: String| -> anyhow::Result<Output> {
        runs.set(runs.get() + 1);
        assert!(runs.get() <= MOST_RUNS, "it does not end");
        let mut stdout = Vec::new();
        for command in script.lines() {
            stdout.extend_from_slice(format!("debugfs: {command}\n").as_bytes());
            if let Some(number) = command.strip_prefix("dump <").and_then(|rest| rest.split_once('>')) {
                fs::write(scratch.join(number.0), "content").expect("a file can be written");
                continue;
            }
            stdout.extend_from_slice(answers[next.get() % answers.len()]);
            stdout.push(b'\n');
            next.set(next.get() + 1);
        }
        Ok(Output { status: 0, stdout, stderr: Vec::new() })
    };
    let debugfs = Debugfs { run: &run, scratch: &scratch, scratch_inside: "/files/scratch" };
    let image = file(&file_system());
    let partition = Partition {
        kind: PartitionType::LINUX,
        start: Sectors(0),
        length: Bytes(file_system().len() as u64).to_sectors(),
    };
    let room = Room::new(dir.path(), "the disk", "the tree").expect("it is there");
    let source = Source::new(&image, partition, room).expect("it has a superblock");
    let done = extract(&debugfs, source, &into, Attributes::OfFiles).is_ok();
    let mut names: Vec<_> =
        fs::read_dir(dir.path()).expect("it is there").map(|entry| entry.expect("it is there").file_name()).collect();
    names.sort();
    assert_eq!(names, ["canary", "into", "scratch"]);
    assert_eq!(fs::read(dir.path().join("canary")).expect("it is there"), b"x");
    done || next.get() > 1
}
