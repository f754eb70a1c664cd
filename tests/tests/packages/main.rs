//! Packages lie below everything that plugins write, for real: nothing of a plugin is seen by a run of apt or dpkg.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg")]

mod archive;
mod wishes;

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piimg::image::ext4::Ext4Reader;
use piimg_tests::{guest, piimg, system_store};

fn build(dir: &Path, epoch: u64, arguments: &[&str]) -> Output {
    build_with("poisons", dir, epoch, arguments)
}

fn build_with(plugin: &str, dir: &Path, epoch: u64, arguments: &[&str]) -> Output {
    let mut command = Command::new(piimg());
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", epoch.to_string());
    command.args(["build", "--release", "bookworm", "--imagedir", "images", "--store"]).arg(system_store());
    command.arg("--plugin").arg(guest(plugin)).arg("--grant-requested");
    command.args(arguments).output().unwrap()
}

/// Set for the guest.
fn param(name: &str, value: &str) -> [String; 2] {
    ["--param".to_owned(), format!("test/poisons:{name}={value}")]
}

fn strings(arguments: &[String]) -> Vec<&str> {
    arguments.iter().map(String::as_str).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[track_caller]
fn built(dir: &Path, output: &Output) -> (PathBuf, Ext4Reader, String) {
    let said = text(&output.stderr);
    assert!(output.status.success(), "{said}");
    let image = dir.join(text(&output.stdout).trim_end());
    let file = std::fs::File::open(&image).unwrap();
    let table = piimg::image::mbr::read(&file).unwrap();
    (image, Ext4Reader::open(&file, table.root().unwrap().1.start.to_bytes()).unwrap(), said)
}

#[test]
fn no_package_run_sees_what_a_plugin_wrote() {
    let dir = tempfile::tempdir().unwrap();
    // Another script is another run, in whatever store.
    let own = format!("test ! -e /poisoned # {}", std::process::id());
    let arguments = [param("install", "tree"), param("script", &own)].concat();
    let (_, root, said) = built(dir.path(), &build(dir.path(), 1_750_000_000, &strings(&arguments)));
    for expected in ["starts again: Install tree", "new: tree", "there: true", "status 0:"] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
    assert_eq!(root.read_text("/poisoned").unwrap(), None);
    assert!(root.read_text("/etc/dpkg/dpkg.cfg.d/zz").unwrap().unwrap().contains("/poisoned"));
    assert!(root.read_text("/var/lib/dpkg/status").unwrap().unwrap().contains("Package: tree\nStatus: install ok"));

    // The next build knows what the plugin asks for, also at another time, and installs nothing.
    let (_, _, said) = built(dir.path(), &build(dir.path(), 1_750_000_000, &strings(&arguments)));
    assert!(!said.contains("starts again") && !said.contains("new: tree"), "{said}");

    // A changed plugin runs, and finds the package where it was.
    let changed = [param("install", "tree"), param("script", &format!("{own} changed"))].concat();
    let (_, _, said) = built(dir.path(), &build(dir.path(), 1_750_000_001, &strings(&changed)));
    for expected in ["new: tree", "Bootstrap bookworm (arm64): unchanged", "Install tree: unchanged"] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
}

#[test]
fn what_a_plugin_has_the_package_manager_do_is_its_own() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("test/runs:script=echo tar hold | dpkg --set-selections # {}", std::process::id());
    let output = build_with("runs", dir.path(), 1_750_000_000, &["--param", &script]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    let finding = said.lines().find(|line| line.trim_start().starts_with("/var/lib/dpkg/status "));
    assert!(finding.is_some_and(|line| line.contains(", `sh -c")), "{said}");
}

#[test]
fn what_a_plugin_is_built_with_is_not_in_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("mkdir -p /opt/poisons && echo 6*7 | bc > /opt/poisons/made # {}", std::process::id());
    let (_, root, said) = built(dir.path(), &build(dir.path(), 1_750_000_000, &strings(&param("script", &script))));
    assert_eq!(root.read_text("/opt/poisons/made").unwrap().as_deref(), Some("42\n"), "{said}");
    assert_eq!(root.read_text("/usr/bin/bc").unwrap(), None);
    assert!(!root.read_text("/var/lib/dpkg/status").unwrap().unwrap().contains("Package: bc\n"));
}

#[test]
fn what_the_recipe_wants_is_not_removed() {
    let dir = tempfile::tempdir().unwrap();
    let arguments = [&["--package".to_owned(), "tree".to_owned()], &param("remove", "tree")[..]].concat();
    let output = build(dir.path(), 1_750_000_000, &strings(&arguments));
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("cannot remove `tree`: the recipe lists it"), "{said}");
}
