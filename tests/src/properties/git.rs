//! Answers of a server that was asked for a commit: whatever it sends, there is that commit or nothing.

use std::fs::File;

use piimg::git::{EntryKind, ObjectId, Snapshot, take};

use super::naive::assert_printable;

/// The commit in `tests/fuzz/seeds/git/answer`: a link, two texts of which one is a part of the other, and a script.
const COMMIT: &str = "3d35ccbfac405de16bc65df1857352823c60172c";

/// Longer than that answer.
const MOST: u64 = 4096;

pub(super) fn check(data: &[u8]) -> bool {
    let commit = ObjectId::parse(COMMIT).expect("it is a whole id");
    let mut file = tempfile::tempfile().expect("a file can be made");
    let snapshot = match take(data, &commit, &mut file, MOST) {
        Ok(snapshot) => snapshot,
        Err(error) => {
            assert_printable(&error.to_string());
            assert!(length(&file) <= MOST, "more was written than may be");
            return false;
        }
    };
    check_files(snapshot);
    true
}

fn length(file: &File) -> u64 {
    file.metadata().expect("it is open").len()
}

fn check_files(mut snapshot: Snapshot) {
    let link = EntryKind::Symlink { target: "src/deep/run".into() };
    let text = EntryKind::File { executable: false };
    let expected = [
        ("link", link),
        ("one", text.clone()),
        ("src", EntryKind::Directory),
        ("two", text),
        ("src/deep", EntryKind::Directory),
        ("src/deep/run", EntryKind::File { executable: true }),
    ];
    let entries = snapshot.entries().to_vec();
    let found: Vec<_> = entries.iter().map(|entry| (entry.path.as_str(), entry.kind.clone())).collect();
    assert_eq!(found, expected);
    let mut content = |at: usize| snapshot.content(&entries[at]).expect("it was read before");
    let (one, two, run) = (content(1), content(3), content(5));
    assert_eq!(run, b"#!/bin/sh\necho hello\n");
    assert_eq!(one.len(), 301);
    assert_eq!(two, [b"more ", &one[..300], b" and more\n"].concat());
}
