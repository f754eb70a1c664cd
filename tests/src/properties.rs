//! Properties of every input that somebody else may choose, whatever it is. Each has one home here, and is
//! tried in two ways: with a bounded number of made-up inputs in the ordinary tests (`tests/inputs.rs`), and for as long
//! as one likes by a fuzzer that looks at which branches an input takes (`cargo xtask fuzz`, `tests/fuzz/`).
//!
//! Where a property says what the right answer is, the answer is found a second time, in the plainest way that there is
//! and without a look at how piimg finds it.

mod accounts;
mod boot;
mod build_info;
mod calls;
mod cmdline;
mod component;
mod conf;
mod config;
mod coverage;
mod device_tree;
mod fat;
mod git;
mod listing;
mod lock;
mod message;
mod naive;
mod patched;
mod path;
mod policy;
mod request;
mod scope;
mod table;
mod template;
mod transcript;
mod unpack;
mod url;

use std::path::PathBuf;

/// A property of inputs of one kind.
#[derive(Clone, Copy, Debug)]
pub struct Property {
    /// Also of its fuzz target, and of its files in `tests/fuzz/seeds` and `tests/fuzz/words`.
    pub name: &'static str,
    /// Panics if it does not hold. True if the input came to what the property is about, and was not merely refused.
    pub check: fn(&[u8]) -> bool,
    /// Number of made-up inputs of which at least one must come to that: otherwise they test nothing.
    pub share: usize,
    /// The time that an input takes, in times of a parser's.
    pub cost: usize,
}

const fn property(name: &'static str, check: fn(&[u8]) -> bool, share: usize) -> Property {
    Property { name, check, share, cost: 1 }
}

impl Property {
    /// Files are made and looked at for each input, or much is read.
    const fn costly(self) -> Self {
        Self { cost: 8, ..self }
    }
}

pub const ALL: [Property; 24] = [
    property("accounts", accounts::check, 10),
    property("boot", boot::check, 10).costly(),
    property("build_info", build_info::check, 200),
    property("calls", calls::check, 20).costly(),
    property("cmdline", cmdline::check, 5),
    property("component", component::check, 1000).costly(),
    property("conf", conf::check, 20),
    property("config", config::check, 5),
    property("coverage", coverage::check, 50),
    property("device_tree", device_tree::check, 20),
    property("fat", fat::check, 20).costly(),
    property("git", git::check, 40).costly(),
    property("listing", listing::check, 20).costly(),
    property("lock", lock::check, 20),
    property("message", message::check, 20),
    property("path", path::check, 10).costly(),
    property("policy", policy::check, 20),
    property("request", request::check, 20),
    property("scope", scope::check, 20),
    property("table", table::check, 20).costly(),
    property("template", template::check, 20),
    property("transcript", transcript::check, 20),
    property("unpack", unpack::check, 20).costly(),
    property("url", url::check, 20),
];

/// Checks one input, for a fuzz target.
///
/// # Panics
/// If the property does not hold, or there is none of that name.
pub fn check(name: &str, data: &[u8]) {
    let property = ALL.iter().find(|property| property.name == name).expect("a fuzz target is named as its property");
    (property.check)(data);
}

/// Returns where the fuzz targets are, with the inputs to begin with (`seeds/NAME/`, where what was once found stays,
/// too) and the words of each grammar (`words/NAME.dict`, in the form that libFuzzer reads).
pub fn fuzz_directory() -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "fuzz"].iter().collect()
}
