//! Edits of config.txt: the key that was meant has the value that was meant, and nothing else changes its meaning.

use arbitrary::{Result, Unstructured};
use piimg::rootfs::boot_config::{ConfigTxt, Place};

use super::naive::{choices, rest, word, words};

const LINES: [&str; 24] = [
    "[pi4]\n",
    "[PI4]\r\n",
    " [pi3] \n",
    "[all]\n",
    "[all]",
    "[none]\n",
    "[HDMI:0]\n",
    "[gpio4=1]\n",
    "[cm4\n",
    "k=1\n",
    "K = 2\r\n",
    "k=",
    "dtparam=audio=on\n",
    "dtparam=i2c\n",
    "#k=1\n",
    "# words\n",
    "\n",
    "\r\n",
    "include x\n",
    "initramfs a b\n",
    "=\n",
    "x=\u{a0}1\n",
    "\t",
    "kernel=a.img\n",
];
const SECTIONS: [&str; 7] = ["pi4", "PI4", "all", "hdmi:0", "none", "pi4]\nk=9\n[all", "cm4"];
const KEYS: [&str; 7] = ["k", "dtparam", "x", "include", "k\n", "", "kernel"];
const VALUES: [&str; 8] = ["1", "2", "audio=on", "", " 1", "1\nx=2", "[pi3]", "i2c"];

/// The lines that a board reads: the filters that are open, key and value, in the order of the file.
type Meaning = Vec<(Vec<String>, String, String)>;

/// Reads the meaning, and the lines that have no meaning.
fn read(text: &str) -> (Meaning, Vec<String>) {
    let (mut open, mut meaning, mut rest) = (Vec::<String>::new(), Vec::new(), Vec::new());
    for line in text.split('\n').map(str::trim) {
        if line.starts_with('[') && line.contains(']') {
            let name = line[1..].split(']').next().unwrap_or_default().trim().to_lowercase();
            if name == "all" {
                open.clear();
            } else {
                open.retain(|other| kind(other) != kind(&name));
                open.push(name);
            }
        } else if let Some((key, value)) = line.split_once('=').filter(|_| !line.starts_with('#')) {
            meaning.push((open.clone(), key.trim().to_lowercase(), value.trim().to_owned()));
        } else if !line.is_empty() {
            rest.push(line.to_owned());
        }
    }
    (meaning, rest)
}

/// Returns the kind of a filter: one replaces another of its kind.
fn kind(name: &str) -> &str {
    let digit = |rest: &str| rest.starts_with(|c: char| c.is_ascii_digit());
    let is_board = name.strip_prefix("pi").is_some_and(digit) || name.strip_prefix("cm").is_some_and(digit);
    if is_board {
        return "board";
    }
    name.find(|c: char| c.is_ascii_digit() || "=:".contains(c)).map_or(name, |end| &name[..end])
}

/// Returns whether something reads lines under the filters `one` and lines under `other`, of those that are tried here.
fn may_meet(one: &[String], other: &[String]) -> bool {
    let of_a_kind = |a: &str, b: &str| a == b || [("pi4", "cm4"), ("cm4", "pi4")].contains(&(a, b));
    !one.iter().any(|name| name == "none")
        && one.iter().all(|a| other.iter().all(|b| kind(a) != kind(b) || of_a_kind(a, b)))
}

/// Returns whether the last line of `key` that a board under `open` may read is one under exactly these, with `value`.
fn counts(meaning: &Meaning, open: &[String], key: &str, value: &str) -> bool {
    let last = meaning.iter().rfind(|entry| entry.1 == key && (entry.0 == open || may_meet(&entry.0, open)));
    last.is_some_and(|entry| entry.0 == open && entry.2 == value)
}

fn section(input: &mut Unstructured<'_>) -> Result<Option<String>> {
    Ok(if input.arbitrary()? { Some(word(input, &SECTIONS)?) } else { None })
}

pub(super) fn check(data: &[u8]) -> bool {
    choices(data, |input| {
        let changes = input.int_in_range(1..=3)?;
        let mut steps = Vec::new();
        for _ in 0..changes {
            steps.push((section(input)?, word(input, &KEYS)?, word(input, &VALUES)?, input.int_in_range(0..=3)?));
        }
        let mut text = words(input, &LINES, 12)?.concat();
        text.push_str(rest(input));
        let mut config = ConfigTxt::parse(&text);
        assert_eq!(config.print(), text);
        let mut changed = false;
        for (section, key, value, step) in steps {
            let Ok(place) = Place::new(section.as_deref(), &key) else { continue };
            let open: Vec<String> =
                section.iter().map(|name| name.to_ascii_lowercase()).filter(|name| name != "all").collect();
            changed |= change(&mut config, &place, (&open, &key, &value), step);
        }
        Ok(changed)
    })
}

/// Does one thing, and looks at what it did; whether that was anything.
fn change(config: &mut ConfigTxt, place: &Place<'_>, meant: (&[String], &str, &str), step: u8) -> bool {
    let (open, key, value) = meant;
    let before = config.print();
    let (old, old_rest) = read(&before);
    let is_meant = |entry: &&(Vec<String>, String, String)| entry.0 == open && entry.1 == key;
    let values = |meaning: &Meaning| -> Vec<String> {
        meaning.iter().filter(is_meant).map(|(_, _, value)| value.clone()).collect()
    };
    assert_eq!(config.values(place), values(&old), "{before:?} has other values of {meant:?}");
    let expected = match step {
        0 => config.set(place, value).map(|()| vec![value.to_owned()]),
        1 => config.add(place, value).map(|added| {
            let mut values = values(&old);
            let is_there = values.iter().any(|known| known == value);
            assert!(added || is_there, "{before:?} with {meant:?}");
            if added {
                // One that did not count goes, and comes again where it does.
                values.retain(|known| known != value);
                values.push(value.to_owned());
            }
            values
        }),
        2 => {
            let count = config.remove(place, None);
            assert_eq!(count, values(&old).len(), "{before:?} without {meant:?}");
            Ok(Vec::new())
        }
        _ => {
            let left: Vec<String> = values(&old).into_iter().filter(|known| known != value).collect();
            let count = config.remove(place, Some(value));
            assert_eq!(count, values(&old).len() - left.len(), "{before:?} without {meant:?}");
            Ok(left)
        }
    };
    let after = config.print();
    let Ok(expected) = expected else {
        assert_eq!(after, before, "what fails changes nothing");
        return false;
    };
    let (new, new_rest) = read(&after);
    if step == 0 {
        assert!(counts(&new, open, key, value), "no board reads {meant:?} in {after:?}, which was {before:?}");
    }
    assert_eq!(values(&new), expected, "{before:?} with {meant:?} is {after:?}");
    assert_eq!(new_rest, old_rest, "{before:?} with {meant:?} is {after:?}");
    let others = |meaning: &Meaning| -> Meaning { meaning.iter().filter(|entry| !is_meant(entry)).cloned().collect() };
    assert_eq!(others(&new), others(&old), "{before:?} with {meant:?} is {after:?}");
    assert_eq!(ConfigTxt::parse(&after), *config, "it is read as it is printed");
    after != before
}
