//! The SDK as other repositories get it: its archive builds a plugin elsewhere, and what an earlier one built runs.

#![expect(clippy::disallowed_methods, reason = "it runs what an author runs")]

use std::path::{Path, PathBuf};
use std::process::{Command as Host, Output};

use piimg_tests::target;

use super::shipped::image_with;
use super::*;

fn top() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().into()
}

#[track_caller]
fn succeeds(command: &mut Host) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}

/// Of the toolchain that builds this test.
fn cargo(directory: &Path) -> Host {
    let mut cargo = Host::new(env!("CARGO"));
    // What cargo itself tells this test is about another package.
    cargo.current_dir(directory).env_remove("RUSTFLAGS").env_remove("CARGO_ENCODED_RUSTFLAGS");
    cargo
}

const MANIFEST: &str = "[package]\nname = \"elsewhere\"\nversion = \"0.1.0\"\nedition = \"2024\"\n\n[lib]\n\
     crate-type = [\"cdylib\"]\n\n[dependencies]\npiimg-plugin-sdk = { path = \"../sdk\" }\n\n[workspace]\n";

/// The example of the read-me, which is in the archive.
fn example(sdk: &Path) -> String {
    let text = std::fs::read_to_string(sdk.join("README.md")).unwrap();
    let (_, from) = text.split_once("```rust\n").expect("the read-me shows a plugin");
    from.split_once("```").unwrap().0.to_owned()
}

#[test]
fn the_archive_of_the_sdk_builds_a_plugin_elsewhere() {
    let scratch = tempfile::tempdir().unwrap();
    let made = scratch.path().join("made");
    let package = ["package", "--package", "piimg-plugin-sdk", "--offline", "--no-verify", "--allow-dirty"];
    succeeds(cargo(&top()).args(package).arg("--target-dir").arg(&made));
    let archive = made.join("package").join(format!("piimg-plugin-sdk-{}.crate", env!("CARGO_PKG_VERSION")));
    let sdk = scratch.path().join("sdk");
    std::fs::create_dir(&sdk).unwrap();
    succeeds(Host::new("tar").args(["-xzf"]).arg(&archive).args(["--strip-components=1", "-C"]).arg(&sdk));
    for file in std::fs::read_dir(top().join("wit")).unwrap() {
        let file = file.unwrap();
        let packed = std::fs::read(sdk.join("wit").join(file.file_name())).unwrap();
        assert_eq!(packed, std::fs::read(file.path()).unwrap(), "{:?} is not as it is packed", file.file_name());
    }

    let plugin = scratch.path().join("plugin");
    std::fs::create_dir_all(plugin.join("src")).unwrap();
    std::fs::write(plugin.join("Cargo.toml"), MANIFEST).unwrap();
    std::fs::write(plugin.join("src/lib.rs"), example(&sdk)).unwrap();
    // The versions that this checkout was tested with, which are on this machine.
    std::fs::copy(top().join("Cargo.lock"), plugin.join("Cargo.lock")).unwrap();
    // Kept, so that a second run compiles the SDK alone; `tests/author.rs` builds with the same dependencies.
    let built = target().join("author");
    let strip = ["--config", "profile.release.strip=true"];
    let build = ["build", "--release", "--offline", "--lib", "--target", "wasm32-wasip2"];
    let build = [&build[..], &strip, &["--target-dir"]].concat();
    succeeds(cargo(&plugin).args(build).arg(&built));
    let component = built.join("wasm32-wasip2/release/elsewhere.wasm");
    let info = inspect(&engine(), &component, None).map_err(|error| report(&error)).unwrap();
    assert_eq!((info.conf.id.as_str(), info.conf.capabilities.len()), ("example/breadcrumb", 1));
    let ran = run_plugin(image(), &info, &all(), &[], Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.read("etc/breadcrumb").as_deref(), Some("was here\n"));
}

/// `tests/stored/README.md` says how it was made. It is never made anew.
#[test]
fn what_the_sdk_of_0_1_0_built_runs() {
    let component = top().join("tests/stored/sdk-0.1.0.wasm");
    let info = inspect(&engine(), &component, None).map_err(|error| report(&error)).unwrap();
    assert_eq!(info.conf.id, "piimg/minimal");
    let ran = run_plugin(image_with(&[]), &info, &all(), &[], Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    let note = ran.read("etc/piimg-minimal").unwrap();
    assert!(note.starts_with("HOSTNAME=box\nFLAVOUR=test\nDISTRIBUTION=debian\nRELEASE=bookworm\n"), "{note}");
    let command = &ran.commands[0];
    assert_eq!((command.program.as_str(), &command.args[..]), ("htop", &["--version".to_owned()][..]));
    assert_eq!(ran.log, ["piimg/minimal: box is ready with htop 3.2.2"]);
}
