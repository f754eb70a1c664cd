//! What the author of a plugin does first: a new repository that builds, tests, lints and is checked, without network.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg")]

#[path = "author/page.rs"]
mod page;

use std::path::Path;
use std::process::{Command, Output};

use piimg_tests::{piimg, target};

/// The top of this repository.
fn repository() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap()
}

/// Runs piimg or cargo there, offline. What is compiled is kept for the next run of the test.
fn run(program: &Path, dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(program);
    command.current_dir(dir).args(arguments).env("CARGO_NET_OFFLINE", "true").env("PIIMG", piimg());
    command.env("CARGO_TARGET_DIR", target().join("author")).env_remove("PIIMG_PLUGIN").output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn succeed(program: &Path, dir: &Path, arguments: &[&str]) -> String {
    let output = run(program, dir, arguments);
    assert!(output.status.success(), "{arguments:?}:\n{}\n{}", text(&output.stdout), text(&output.stderr));
    text(&output.stdout)
}

/// The tutorial from its first command to the plan of an image, and the other page's way with a new plugin.
#[test]
fn what_the_pages_tell_authors_to_do_works() {
    let mut reader = page::Reader::new(repository());
    reader.follow("tutorial.md");
    let (cargo, dir) = (Path::new(env!("CARGO")), reader.directory.clone());
    succeed(cargo, &dir, &["fmt", "--check"]);
    succeed(cargo, &dir, &["clippy", "--all-targets", "--", "-D", "warnings"]);
    page::Reader::new(repository()).follow("testing-plugins.md");
}

#[test]
fn a_new_plugin_builds_tests_and_lints_at_once() {
    let place = tempfile::tempdir().unwrap();
    let (program, cargo) = (piimg(), Path::new(env!("CARGO")));
    let sdk = repository().to_str().unwrap();
    assert_eq!(succeed(&program, place.path(), &["plugin", "new", "my-hello", "--sdk", sdk]), "my-hello\n");
    let dir = place.path().join("my-hello");
    // The same versions as here, which are at hand.
    std::fs::copy(repository().join("Cargo.lock"), dir.join("Cargo.lock")).unwrap();
    let component = succeed(&program, &dir, &["plugin", "build"]);
    assert!(component.ends_with("my_hello.wasm\n"), "{component}");
    let length = std::fs::metadata(component.trim_end()).unwrap().len();
    assert!(length < 200_000, "{length} bytes: it is not stripped");
    succeed(&program, &dir, &["plugin", "test"]);
    // That its bytes are the same twice is seen on the page's plugin.
    let checked = succeed(&program, &dir, &["plugin", "check", "--once"]);
    assert!(checked.ends_with("\nnothing is wrong\n"), "{checked}");
    succeed(cargo, &dir, &["fmt", "--check"]);
    succeed(cargo, &dir, &["clippy", "--all-targets", "--", "-D", "warnings"]);
    // Also without `piimg plugin`.
    succeed(cargo, &dir, &["test"]);
    let audit = succeed(&program, &dir, &["audit", component.trim_end()]);
    assert!(audit.contains("example/my-hello"), "{audit}");
    a_wider_request_is_found(&program, &dir);
}

/// On the same repository, for compiling is what takes time.
fn a_wider_request_is_found(program: &Path, dir: &Path) {
    let path = dir.join("src/lib.rs");
    let source = std::fs::read_to_string(&path).unwrap();
    let wider = source.replace("fs:write:/etc/motd\"", "fs:write:/etc/**\"");
    std::fs::write(&path, wider.replace(".capability(\"asset", ".capability(\"exec:true\", \"x\").capability(\"asset"))
        .unwrap();
    let checked = succeed(program, dir, &["plugin", "check", "--once"]);
    assert!(checked.contains("warning: `exec:true` is requested, and no function that it calls needs it"), "{checked}");
    assert!(checked.contains("warning: no test has run this component"), "{checked}");
    succeed(program, dir, &["plugin", "test"]);
    let checked = succeed(program, dir, &["plugin", "check", "--once"]);
    let expected = "warning: `fs:write:/etc/**` is wider than what the tests used: request `fs:write:/etc/motd`";
    assert!(checked.contains(expected), "{checked}");
    std::fs::write(&path, source.replace("            .capability(\"fs:write:/etc/motd\", \"the greeting\")\n", ""))
        .unwrap();
    let output = run(program, dir, &["plugin", "check", "--once"]);
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("error: it calls functions that need `fs:write`, and conf() requests none"));
    std::fs::write(&path, "no rust\n").unwrap();
    let output = run(program, dir, &["plugin", "build"]);
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(1), String::new()));
    assert!(text(&output.stderr).contains("the plugin in `.` does not compile"), "{}", text(&output.stderr));
}

#[test]
fn what_is_in_the_way_of_a_new_plugin_is_named() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("full")).unwrap();
    std::fs::write(place.path().join("full/notes"), "x").unwrap();
    for (arguments, cause) in [
        (&["Hello"][..], "`Hello` is no name for a plugin: it must be lowercase"),
        (&["full"], "the directory has files in it"),
        (&["full/notes"], "something that is no directory is there"),
        (&["new-one", "--sdk", "full"], "there is no SDK in `full`"),
        (&["none/deep"], "cannot make the plugin `none/deep`"),
    ] {
        let output = run(&piimg(), place.path(), &[&["plugin", "new"], arguments].concat());
        assert!(matches!(output.status.code(), Some(2 | 3)), "{arguments:?}: {}", text(&output.stderr));
        assert!(text(&output.stderr).contains(cause), "{arguments:?}: {}", text(&output.stderr));
    }
    let names: Vec<_> = std::fs::read_dir(place.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["full"], "nothing half written is left");
    let output = run(&piimg(), place.path(), &["plugin", "build", "full"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("`full` is no plugin: there is no `Cargo.toml`"), "{}", text(&output.stderr));
}
