//! Packs put together by hand, those that nobody's git would make among them.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::ZlibEncoder;

use super::object::{Format, Kind, ObjectId};
use super::*;

/// An object of a pack under construction.
enum Part {
    Whole(Kind, Vec<u8>),
    /// A delta of the part so many places before.
    Back(usize, Vec<u8>),
    Of(ObjectId, Vec<u8>),
}

fn head(code: u8, size: usize) -> Vec<u8> {
    let mut bytes = vec![code << 4 | u8::try_from(size & 0x0f).unwrap()];
    let mut rest = size >> 4;
    while rest > 0 {
        *bytes.last_mut().unwrap() |= 0x80;
        bytes.push(u8::try_from(rest & 0x7f).unwrap());
        rest >>= 7;
    }
    bytes
}

fn compressed(data: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(data).unwrap();
    encoder.finish().unwrap()
}

fn pack(parts: &[Part]) -> Vec<u8> {
    let mut bytes = [&b"PACK\0\0\0\x02"[..], &u32::try_from(parts.len()).unwrap().to_be_bytes()].concat();
    let mut places = Vec::new();
    for part in parts {
        places.push(bytes.len());
        let (head, data) = match part {
            Part::Whole(kind, data) => (head(*kind as u8 + 1, data.len()), data),
            Part::Back(count, data) => {
                let distance = bytes.len() - places[places.len() - 1 - count];
                assert!(distance < 128, "one byte tells it");
                ([head(6, data.len()), vec![u8::try_from(distance).unwrap()]].concat(), data)
            }
            Part::Of(id, data) => ([head(7, data.len()), hex::decode(id.to_string()).unwrap()].concat(), data),
        };
        bytes.extend(head);
        bytes.extend(compressed(data));
    }
    // Nobody looks at the sum of a pack whose objects have digests.
    bytes.extend([0; 20]);
    bytes
}

fn id(kind: Kind, content: &[u8]) -> ObjectId {
    ObjectId::of(kind, content, Format::Sha1).unwrap()
}

fn line(mode: &str, name: &[u8], id: &ObjectId) -> Vec<u8> {
    [mode.as_bytes(), b" ", name, b"\0", &hex::decode(id.to_string()).unwrap()].concat()
}

fn commit(tree: &[u8]) -> (ObjectId, Part, Part) {
    let text = format!("tree {}\nauthor a <a@b> 0 +0000\n\nm\n", id(Kind::Tree, tree)).into_bytes();
    (id(Kind::Commit, &text), Part::Whole(Kind::Commit, text), Part::Whole(Kind::Tree, tree.to_vec()))
}

fn read(pack: &[u8], commit: &ObjectId) -> Result<Snapshot, GitError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(pack).unwrap();
    Snapshot::read(file, commit)
}

const HELLO: &[u8] = b"hello\n";

fn hello() -> Part {
    Part::Whole(Kind::Blob, HELLO.to_vec())
}

/// A commit with one file, `greeting`, and its pack.
pub(crate) fn sample() -> (ObjectId, Vec<u8>) {
    let (id, commit, tree) = commit(&line("100644", b"greeting", &id(Kind::Blob, HELLO)));
    (id, pack(&[commit, tree, hello()]))
}

#[test]
fn deltas_are_followed_whatever_their_order() {
    let (long, twice) = (b"hello\nhello\n".to_vec(), b"hello\nhello\nhello\nhello\n".to_vec());
    let double = |length: u8| vec![length, 2 * length, 0x90, length, 0x90, length];
    let tree = [
        line("100644", b"a", &id(Kind::Blob, HELLO)),
        line("100755", b"b", &id(Kind::Blob, &long)),
        line("100644", b"c", &id(Kind::Blob, &twice)),
    ]
    .concat();
    let (wanted, text, lines) = commit(&tree);
    let by_place = pack(&[text, lines, hello(), Part::Back(1, double(6)), Part::Back(1, double(12))]);
    let (_, text, lines) = commit(&tree);
    let last = Part::Of(id(Kind::Blob, &long), double(12));
    let by_id = pack(&[last, Part::Of(id(Kind::Blob, HELLO), double(6)), text, hello(), lines]);
    for pack in [by_place, by_id] {
        let mut snapshot = read(&pack, &wanted).unwrap();
        let contents: Vec<_> =
            snapshot.entries().to_vec().iter().map(|entry| snapshot.content(entry).unwrap()).collect();
        assert_eq!(contents, [HELLO.to_vec(), long.clone(), twice.clone()]);
        assert_eq!(snapshot.entries()[1].kind, EntryKind::File { executable: true });
    }
}

#[test]
fn what_is_no_pack_or_not_the_commit_says_why() {
    let (wanted, good) = sample();
    let (other, ..) = commit(b"");
    let (_, text, tree) = commit(&line("100644", b"greeting", &id(Kind::Blob, HELLO)));
    let without_file = pack(&[text, tree]);
    let (_, text, tree) = commit(&line("100644", b"greeting", &id(Kind::Blob, HELLO)));
    let changed = pack(&[text, tree, Part::Whole(Kind::Blob, b"hallo\n".to_vec())]);
    let lone = pack(&[Part::Of(other.clone(), vec![6, 6, 0x90, 6])]);
    let unfit = pack(&[hello(), Part::Back(1, vec![7, 6, 0x90, 6])]);
    let mut far = pack(&[hello(), Part::Back(1, vec![6, 6, 0x90, 6])]);
    let place = far.len() - 20 - compressed(&[6, 6, 0x90, 6]).len() - 1;
    far[place] = 3;
    let mut longer = good.clone();
    longer[12] += 1;
    let mut kind = good.clone();
    kind[12] = 0x50;
    let mut bits = good.clone();
    bits[20] ^= 0x55;
    let cases: [(&[u8], &ObjectId, &str); 13] = [
        (b"", &wanted, "it is too short"),
        (b"<html>nothing</html>", &wanted, "it does not begin as one"),
        (&good[..30], &wanted, "an object cannot be decompressed"),
        (&good[..12], &wanted, "it ends too early"),
        (&bits, &wanted, "an object cannot be decompressed"),
        (&longer, &wanted, "another length than it says"),
        (&kind, &wanted, "an object of an unknown kind"),
        (&lone, &wanted, "a delta of an object that is not in it"),
        (&far, &wanted, "a delta of nothing"),
        (&unfit, &wanted, "a delta does not fit its object"),
        (&good, &other, "does not hold the commit"),
        (&changed, &wanted, "does not hold the blob ce013625030ba8dba906f756967f9e9ca394464a"),
        (&without_file, &wanted, "does not hold the blob ce013625030ba8dba906f756967f9e9ca394464a"),
    ];
    for (pack, commit, cause) in cases {
        let error = read(pack, commit).unwrap_err();
        assert!(error.to_string().contains(cause), "{cause}: {error}");
        assert_eq!(error.fault, Fault::Damaged, "{error}");
    }
    // The blob that is named as the commit is none.
    let error = read(&good, &id(Kind::Blob, HELLO)).unwrap_err();
    assert!(error.to_string().contains("does not hold the commit ce01"), "{error}");
}

#[test]
fn a_small_pack_that_holds_too_much_is_given_up() {
    // The length alone is read; 4 GiB are never asked for.
    let mut pack = [&b"PACK\0\0\0\x02\0\0\0\x01"[..], &head(3, 4 << 30)].concat();
    pack.extend(compressed(&[0; 100]));
    let error = read(&pack, &sample().0).unwrap_err();
    assert_eq!((error.fault, error.to_string().as_str()), (Fault::Limit, "the commit has a file of more than 256 MiB"));
    // A tree in which each directory has the one below it a hundred times.
    let mut parts = vec![hello()];
    let (mut mode, mut below) = ("100644", id(Kind::Blob, HELLO));
    let mut tree = Vec::new();
    for _ in 0..5 {
        tree = (10..100).flat_map(|name| line(mode, name.to_string().as_bytes(), &below)).collect::<Vec<u8>>();
        below = id(Kind::Tree, &tree);
        parts.push(Part::Whole(Kind::Tree, tree.clone()));
        mode = "40000";
    }
    let (wanted, text, _) = commit(&tree);
    parts.push(text);
    let error = read(&self::pack(&parts), &wanted).unwrap_err();
    let expected = (Fault::Limit, "the commit has more than 200000 files".to_owned());
    assert_eq!((error.fault, error.to_string()), expected);
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let blob = id(Kind::Blob, HELLO);
    let deep = vec![b'x'; 256];
    for (lines, cause) in [
        (vec![("100644", &b".git"[..])], "`.git` of the commit would be the data of a repository"),
        (vec![("40000", b".GIT")], "`.GIT` of the commit would be the data of a repository"),
        (vec![("100644", b"..")], "`..` of the commit leads elsewhere"),
        (vec![("100644", b".")], "`.` of the commit leads elsewhere"),
        (vec![("100644", b"../../etc/passwd")], "`../../etc/passwd` of the commit leads elsewhere"),
        (vec![("100644", b"/etc/passwd")], "`/etc/passwd` of the commit leads elsewhere"),
        (vec![("100644", b"")], "has a file without a name"),
        (vec![("120000", b"a"), ("100644", b"a/passwd")], "`a/passwd` of the commit leads elsewhere"),
        (vec![("120000", b"a"), ("100644", b"a")], "`a` of the commit is there twice"),
        (vec![("100644", b"a\xff")], "has a name that is not UTF-8"),
        (vec![("100644", &deep)], "is too long"),
        (vec![("160000", b"library")], "`library` of the commit is a submodule"),
        (vec![("104755", b"su")], "`su` of the commit has the mode 104755, which is none of git's"),
        (vec![("20666", b"tty")], "`tty` of the commit has the mode 20666"),
        (vec![("100644", b"a\x1b[2J"), ("100644", b"a\x1b[2J")], "`a\\u{1b}[2J` of the commit is there twice"),
    ] {
        let tree: Vec<u8> = lines.iter().flat_map(|(mode, name)| line(mode, name, &blob)).collect();
        let (wanted, text, tree) = commit(&tree);
        let error = read(&pack(&[text, tree, hello()]), &wanted).unwrap_err();
        assert!(error.to_string().contains(cause), "{cause}: {error}");
        assert_eq!(error.fault, Fault::Refused, "{error}");
    }
    for target in [&b""[..], b"a\0b", b"\xff", &[b'x'; 4096]] {
        let (wanted, text, tree) = commit(&line("120000", b"link", &id(Kind::Blob, target)));
        let error = read(&pack(&[text, tree, Part::Whole(Kind::Blob, target.to_vec())]), &wanted).unwrap_err();
        assert!(error.to_string().contains("`link` of the commit is a link that leads nowhere"), "{error}");
    }
    for broken in [&b"100644"[..], b"100644 a", b"100644 a\0short", b"x a\0aaaaaaaaaaaaaaaaaaaa"] {
        let (wanted, text, tree) = commit(broken);
        let error = read(&pack(&[text, tree]), &wanted).unwrap_err();
        assert!(error.to_string().contains("of the commit cannot be read"), "{error}");
    }
}
