//! The program as a user meets it: flags, messages and exit codes. No privilege, no network, no namespace.
//!
//! Every run here also shows that nothing is written and that a pipe gets no colours: [`Scratch::run`] checks it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

mod audit;
mod before;
mod build;
mod cache;
mod ci;
mod doctor;
mod grant;
mod host;
mod images;
mod inspect;
mod plan;
mod policy;
mod schema;
mod secrets;
mod site;
mod terminal;
mod usage;

use piimg_tests::Scratch;
use serde_json::Value;

const USAGE: i32 = 2;
const HOST: i32 = 3;
const GRANT: i32 = 4;
const PLUGIN: i32 = 5;

const BUILD_HINT: &str = "  hint: build the plugin with `cargo build --release --target wasm32-wasip2`, as a `cdylib` that calls `piimg_plugin_sdk::plugin!`\n";

/// What a run printed that must be fine.
#[track_caller]
fn fine(scratch: &Scratch, args: &[&str]) -> String {
    let ran = scratch.run(args);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), ""), "{args:?}");
    assert!(ran.stdout.ends_with('\n'), "{args:?}");
    ran.stdout
}

/// What a run complained about that must fail, with an empty standard output; a plan that lacks only grants is shown there.
#[track_caller]
fn fails(scratch: &Scratch, code: i32, args: &[&str]) -> String {
    let ran = scratch.run(args);
    let shows_plan = code == GRANT && args.contains(&"plan") && ran.stdout.starts_with("release     ");
    assert_eq!(ran.code, Some(code), "{args:?}: {}", ran.stderr);
    assert!(ran.stdout.is_empty() || shows_plan, "{args:?}: {}", ran.stdout);
    assert!(ran.stderr.starts_with("error: ") && ran.stderr.ends_with('\n'), "{args:?}: {}", ran.stderr);
    ran.stderr
}

#[track_caller]
fn json(scratch: &Scratch, args: &[&str]) -> Value {
    let text = fine(scratch, args);
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}:\n{text}"))
}

#[track_caller]
fn contains(text: &str, expected: &[&str]) {
    for part in expected {
        assert!(text.contains(part), "{part:?} is missing from:\n{text}");
    }
}

/// A scratch directory with `NAME.wasm` in it.
fn with_guests(names: &[&str]) -> Scratch {
    let scratch = Scratch::new();
    names.iter().for_each(|name| scratch.guest(name));
    scratch
}

/// The identity of a guest in the scratch directory.
#[track_caller]
fn digest(scratch: &Scratch, file: &str) -> String {
    json(scratch, &["inspect", file, "--json"])["digest"].as_str().unwrap().to_owned()
}

/// A `piimg.lock` with one plugin.
fn lock(id: &str, digest: &str, grants: &[&str]) -> String {
    format!("version = 1\n[[plugin]]\nid = {id:?}\ndigest = {digest:?}\ngrant = {grants:?}\n")
}

/// Another build of the plugin in `file`: a component with something behind it that means nothing.
fn rebuilt(scratch: &Scratch, file: &str) {
    let mut component = std::fs::read(scratch.path(file)).unwrap();
    // A custom section of two bytes, with a name of one.
    component.extend([0, 2, 1, b'x']);
    scratch.write(file, component);
}

const MINIMAL_SCOPES: [&str; 3] = ["pkg:install:htop", "fs:write:/etc/piimg-minimal", "exec:htop --version"];
