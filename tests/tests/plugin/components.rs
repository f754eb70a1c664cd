//! Files that are no component, or hardly one: each is refused by name, and nothing of it is run.

use super::*;

/// A component with nothing in it.
const EMPTY: &[u8] = b"\0asm\x0d\0\x01\0";
/// A module, which is not a component.
const MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Sections of a component, by their numbers in the binary format.
const CORE_MODULE: u8 = 1;
const COMPONENT: u8 = 4;
const TYPES: u8 = 7;

struct Place {
    dir: tempfile::TempDir,
    engine: Engine,
}

impl Place {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap(), engine: engine() }
    }

    /// What is said of a file with that content.
    fn look(&self, content: &[u8]) -> Result<InspectedPlugin, Report> {
        let path = self.dir.path().join("bad.wasm");
        std::fs::write(&path, content).unwrap();
        inspect(&self.engine, &path, None).map_err(|error| report(&error))
    }

    fn refused(&self, what: &str, content: &[u8]) -> String {
        let report = self.look(content).expect_err(what);
        assert_eq!(report.kind, Kind::Usage, "{what}: {report:?}");
        assert!(report.messages[0].contains("bad.wasm`"), "{what}: {report:?}");
        assert!(report.messages.iter().all(|message| !message.contains('\u{1b}')), "{what}: {report:?}");
        report.messages.join(": ")
    }
}

fn section(number: u8, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![number];
    let mut length = content.len();
    loop {
        let more = length >> 7 != 0;
        bytes.push(u8::try_from(length & 0x7f).unwrap() | if more { 0x80 } else { 0 });
        length >>= 7;
        if !more {
            break;
        }
    }
    bytes.extend_from_slice(content);
    bytes
}

fn component(sections: &[Vec<u8>]) -> Vec<u8> {
    [EMPTY.to_vec(), sections.concat()].concat()
}

#[test]
fn what_is_no_component_is_refused() {
    let place = Place::new();
    for (what, content) in [
        ("nothing", &b""[..]),
        ("text", b"#!/bin/sh\nrm -rf /\n"),
        ("escapes", b"\x1b[2J\x1b]0;x\x07"),
        ("zip", b"PK\x03\x04\x14\0\0\0\x08\0"),
        ("elf", b"\x7fELF\x02\x01\x01\0"),
        ("magic alone", b"\0asm"),
        ("version 0", b"\0asm\0\0\x01\0"),
        ("version 99", b"\0asm\x99\0\x01\0"),
        ("a module", MODULE),
        ("an empty component", EMPTY),
        ("a section too long", b"\0asm\x0d\0\x01\0\x01\xff\xff\xff\xff\x0f"),
        ("a section of no kind", b"\0asm\x0d\0\x01\0\x7f\x00"),
    ] {
        place.refused(what, content);
    }
    let message = place.refused("a module", MODULE);
    assert!(message.contains("component"), "{message}");
}

#[test]
fn a_file_that_goes_on_and_on_is_refused() {
    let place = Place::new();
    let path = place.dir.path().join("bad.wasm");
    std::fs::File::create(&path).unwrap().set_len(1 << 40).unwrap();
    let report = report(&inspect(&place.engine, &path, None).unwrap_err());
    assert_eq!(report.kind, Kind::Usage);
    assert!(report.messages[0].ends_with("bad.wasm` is too big; at most 256 MiB are read"), "{report:?}");
    let report = self::report(&inspect(&place.engine, place.dir.path(), None).unwrap_err());
    assert!(report.messages.join(" ").contains("cannot read the plugin `"), "{report:?}");
}

#[test]
fn nesting_and_counts_without_end_are_refused() {
    let place = Place::new();
    let mut nested = component(&[]);
    for _ in 0..5000 {
        nested = component(&[section(COMPONENT, &nested)]);
    }
    place.refused("components in components", &nested);
    // As many types as a number can say, of which none follows.
    place.refused("types", &component(&[section(TYPES, b"\xff\xff\xff\xff\x0f")]));
    // Records of records: each type names the one before it twice.
    let mut records = vec![0x64];
    for number in 0..100_u8 {
        let before = if number == 0 { 0x73 } else { number - 1 };
        records.extend_from_slice(&[0x6f, 2, before, before]);
    }
    place.refused("tuples of tuples", &component(&[section(TYPES, &records)]));
    let many = section(CORE_MODULE, MODULE).repeat(20_000);
    place.refused("modules", &component(&[many]));
}

#[test]
fn a_plugin_cut_off_anywhere_is_refused() {
    let place = Place::new();
    let whole = std::fs::read(guest("fails")).unwrap();
    // Most of it are names of functions and lines, which no reader looks at.
    let (every, step) = if cfg!(feature = "long") { (1500, 1999) } else { (400, 9973) };
    let cuts = (0..every).chain((every..whole.len()).step_by(step)).chain([whole.len() - 1]);
    for cut in cuts {
        place.refused(&format!("the first {cut} bytes"), &whole[..cut]);
    }
    place.look(&whole).unwrap();
}

#[test]
fn a_plugin_with_a_wrong_byte_is_run_or_refused() {
    let place = Place::new();
    let whole = std::fs::read(guest("fails")).unwrap();
    // xorshift64: the same bytes each time.
    let mut state = 88_172_645_463_325_252_u64;
    for _ in 0..40 {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        let mut wrong = whole.clone();
        let place_in = usize::try_from(state % u64::try_from(whole.len()).unwrap()).unwrap();
        wrong[place_in] ^= u8::try_from(1 + (state >> 32) % 255).unwrap();
        if let Err(report) = place.look(&wrong) {
            assert!(matches!(report.kind, Kind::Usage | Kind::Plugin), "byte {place_in}: {report:?}");
        }
    }
}
