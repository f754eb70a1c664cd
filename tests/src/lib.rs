//! Helpers that the tests share: where the built things are, a place to run the program in, and an image that is a
//! directory.

/// The plugin that the guide shows to those who come from `pi_image2` compiles.
#[cfg(doctest)]
#[doc = include_str!("../../docs/migrating-from-pi_image2.md")]
mod migrating {}

pub mod bench;
pub mod device_tree;
pub mod directory;
pub mod host;
pub mod ordinary;
pub mod properties;
pub mod repository;
mod scratch;

use std::path::PathBuf;
use std::process::Output;

use piimg::plugin::{CompileLimits, Engine};
use piimg::sandbox::parser::Parser;
pub use scratch::{Ran, Scratch};

/// Returns the engine, with workers of the program: a test program has no workers in it.
///
/// # Panics
/// If the program has not been built, or this machine cannot run an engine.
pub fn engine() -> Engine {
    Engine::of(piimg(), CompileLimits::USUAL).expect("this machine runs an engine")
}

/// Returns parsers of the program, for the same reason.
///
/// # Panics
/// If the program has not been built.
pub fn parser() -> Parser {
    Parser::of(piimg())
}

/// Returns the target directory that all members are built into.
pub fn target() -> PathBuf {
    profile().parent().expect("a profile's directory is in the target directory").into()
}

/// Returns the directory of the profile that this test was built in: the program of the same profile lies there.
fn profile() -> PathBuf {
    // A test program is in `<target>/<profile>/deps/`.
    let program = std::env::current_exe().expect("a test has a path");
    program.ancestors().nth(2).expect("a test is two levels below its profile's directory").into()
}

/// Returns the store of tests that build: kept, so that a second run bootstraps nothing.
pub fn system_store() -> PathBuf {
    target().join("system-store")
}

/// Finds a guest of `tests/guests`, or a plugin of `plugins`, built for wasm32-wasip2.
///
/// # Panics
/// If it has not been built, with what to do about it.
pub fn guest(name: &str) -> PathBuf {
    let name = name.replace('-', "_");
    let built = target().join("wasm32-wasip2/release");
    let candidates = [built.join(format!("guest_{name}.wasm")), built.join(format!("piimg_{name}.wasm"))];
    let path = candidates.iter().find(|path| path.exists()).unwrap_or(&candidates[0]).clone();
    assert!(
        path.exists(),
        "{} is missing: run `cargo xtask plugins`, or all tests with `cargo xtask test`",
        path.display()
    );
    path
}

/// Checks that piimg did what it was asked for.
///
/// # Panics
/// If it did not, with its error before all that it said until then: who shows a failed test cuts long texts.
#[track_caller]
pub fn expect_success(output: &Output) {
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        let (before, error) = said.rfind("error: ").map_or((&*said, "it named no error\n"), |at| said.split_at(at));
        panic!("piimg failed with {}:\n{error}before that it said:\n{before}", output.status);
    }
}

/// Returns the program, built in the profile of this test.
///
/// # Panics
/// If it has not been built, with what to do about it.
pub fn piimg() -> PathBuf {
    let path = profile().join("piimg");
    assert!(
        path.exists(),
        "{} is missing: run `cargo build`, with `--release` for a benchmark, or all tests with `cargo xtask test`",
        path.display()
    );
    path
}
