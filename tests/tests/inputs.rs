//! The properties of `tests/src/properties`, each with many made-up inputs and with every seed that is kept: none panics,
//! and what each promises of every input holds. The inputs are the same in every run; `PIIMG_INPUTS=N` makes more of them,
//! and `cargo xtask fuzz` searches for them with more cunning.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::collections::BTreeSet;
use std::fs;

use piimg_tests::properties::{ALL, Property, fuzz_directory};

/// Inputs for each property, if nobody asks for more.
const USUAL: usize = 4000;

/// xorshift64: as good as it must be to cut and mix inputs.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 % u64::try_from(limit.max(1)).unwrap()).unwrap()
    }

    fn bytes(&mut self, most: usize) -> Vec<u8> {
        (0..self.below(most + 1)).map(|_| u8::try_from(self.below(256)).unwrap()).collect()
    }

    /// Pieces put together, a whole seed or chance alone; then cut, doubled, or with a byte changed.
    fn input(&mut self, seeds: &[Vec<u8>], words: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match self.below(3) {
            0 if !words.is_empty() => {
                (0..=self.below(7)).flat_map(|_| words[self.below(words.len())].clone()).collect()
            }
            1 if !seeds.is_empty() => seeds[self.below(seeds.len())].clone(),
            _ if words.is_empty() => self.bytes(200),
            _ => words[self.below(words.len())].clone(),
        };
        for _ in 0..self.below(4) {
            let at = self.below(input.len() + 1);
            match self.below(6) {
                0 => input.truncate(at),
                1 => input.extend_from_within(..at.min(64)),
                2 if at < input.len() => input[at] = u8::try_from(self.below(256)).unwrap(),
                3 => drop(input.splice(at..at, self.bytes(4))),
                _ if words.is_empty() => input.extend(self.bytes(16)),
                _ => drop(input.splice(at..at, words[self.below(words.len())].iter().copied())),
            }
        }
        input
    }
}

/// The inputs that are kept for a property, in the order of their names.
fn seeds(property: &Property) -> Vec<Vec<u8>> {
    let directory = fuzz_directory().join("seeds").join(property.name);
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let paths: BTreeSet<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.into_iter().map(|path| fs::read(path).unwrap()).collect()
}

/// The words of its grammar: one a line, in quotes, with `\\`, `\"` and `\xNN`.
fn words(property: &Property) -> Vec<Vec<u8>> {
    let path = fuzz_directory().join("words").join(format!("{}.dict", property.name));
    let Ok(text) = fs::read_to_string(path) else { return Vec::new() };
    let word = |line: &str| -> Vec<u8> {
        let quoted = line.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap();
        let (mut word, mut rest) = (Vec::new(), quoted.as_bytes());
        while let Some((first, after)) = rest.split_first() {
            rest = after;
            match (first, after) {
                (b'\\', [b'x', high, low, after @ ..]) => {
                    let digits = [*high, *low];
                    word.push(u8::from_str_radix(std::str::from_utf8(&digits).unwrap(), 16).unwrap());
                    rest = after;
                }
                (b'\\', [plain, after @ ..]) => {
                    word.push(*plain);
                    rest = after;
                }
                (plain, _) => word.push(*plain),
            }
        }
        word
    };
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(word).collect()
}

/// Checks an input, and names it if the property does not hold.
fn holds(property: &Property, input: &[u8]) -> bool {
    let name = property.name;
    std::panic::catch_unwind(|| (property.check)(input)).unwrap_or_else(|_| {
        let path = std::env::temp_dir().join(format!("piimg-{name}"));
        fs::write(&path, input).unwrap();
        panic!(
            "the property `{name}` does not hold of {:?}, which is in {}",
            String::from_utf8_lossy(input),
            path.display()
        );
    })
}

fn check(name: &str) {
    let property = ALL.iter().find(|property| property.name == name).unwrap();
    let number = std::env::var("PIIMG_INPUTS").map_or(USUAL, |number| number.parse().unwrap()) / property.cost;
    let (seeds, words) = (seeds(property), words(property));
    let mut random = Random(0x0070_6969_6d67 ^ u64::try_from(name.len()).unwrap() << 40);
    let kept = seeds.iter().filter(|seed| holds(property, seed)).count();
    assert!(kept > 0 || seeds.is_empty(), "no seed of `{name}` comes to what it is about");
    let made = (0..number).filter(|_| holds(property, &random.input(&seeds, &words))).count();
    let wanted = number / property.share;
    assert!(made >= wanted.max(1), "only {made} of {number} inputs came to what `{name}` is about, not {wanted}");
}

/// A test for each property, so that they run side by side and are told apart.
macro_rules! tests {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            check(stringify!($name));
        })*

        #[test]
        fn every_property_has_a_test_and_a_fuzz_target() {
            let tests = BTreeSet::from([$(stringify!($name)),*]);
            let properties: BTreeSet<&str> = ALL.iter().map(|property| property.name).collect();
            assert_eq!(tests, properties);
            let manifest: toml::Table = fs::read_to_string(fuzz_directory().join("Cargo.toml")).unwrap().parse().unwrap();
            let targets = manifest["bin"].as_array().unwrap().iter().map(|bin| bin["name"].as_str().unwrap());
            assert_eq!(targets.collect::<BTreeSet<_>>(), properties);
            for name in properties {
                let target = fs::read_to_string(fuzz_directory().join(format!("fuzz_targets/{name}.rs"))).unwrap();
                assert!(target.contains(&format!("check(\"{name}\", data)")), "{target}");
            }
        }
    };
}

tests! {
    accounts boot build_info calls cmdline component conf config coverage device_tree fat git listing lock message path policy
    request scope table template transcript unpack url
}
