//! What the tests share: where the built things are, a place to run the program in, and an image that is a directory.

pub mod bench;
pub mod device_tree;
pub mod directory;
pub mod host;
pub mod ordinary;
pub mod properties;
pub mod repository;
mod scratch;

use std::path::PathBuf;

use piimg::plugin::{CompileLimits, Engine};
use piimg::sandbox::parser::Parser;
pub use scratch::{Ran, Scratch};

/// The engine, with workers of the program: a test program is none.
///
/// # Panics
/// If the program has not been built, or this machine cannot run an engine.
pub fn engine() -> Engine {
    Engine::of(piimg(), CompileLimits::USUAL).expect("this machine runs an engine")
}

/// Returns parsers of the program, likewise.
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

/// The store of tests that build: kept, so that a second run bootstraps nothing.
pub fn system_store() -> PathBuf {
    target().join("system-store")
}

/// A guest of `tests/guests`, or a plugin of `plugins`, built for wasm32-wasip2.
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
