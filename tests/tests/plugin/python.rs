//! Plugins in Python, from the script to what is left in the image. The components are made once and kept in the target
//! directory, by the digest of all that they are made of; the first time needs a Python package index.

use std::path::{Path, PathBuf};

use piimg::plugin::info::requests;
use piimg::ui::{Ui, Verbosity};
use piimg_tests::target;

use super::*;

/// Builds the component of a script, by its path in this repository or its whole path. Tests of several processes wait for one another.
#[track_caller]
fn build(script: impl AsRef<Path>) -> (tempfile::TempDir, PathBuf, InspectedPlugin) {
    let place = target().join("python-tests");
    std::fs::create_dir_all(&place).unwrap();
    let lock = File::create(place.join("lock")).unwrap();
    lock.lock().unwrap();
    let output = tempfile::tempdir().unwrap();
    let component = output.path().join("plugin.wasm");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(script);
    let built =
        piimg::python::build(&engine(), &Home::at(&place), &script, Some(&component), &Ui::new(Verbosity::Quiet));
    let (path, info) = built.unwrap_or_else(|error| {
        panic!("{:?}\nit needs python3-venv and a package index: `cargo xtask setup`", report(&error))
    });
    (output, path, info)
}

/// `interface.function` of all that the component imports.
fn imported(plugin: &InspectedPlugin) -> Vec<String> {
    let named = |import: &piimg::plugin::info::ImportedInterface| {
        let interface = import.name.trim_start_matches("piimg:plugin/").to_owned();
        import.functions.iter().map(move |function| format!("{interface}.{function}")).collect::<Vec<_>>()
    };
    plugin.imports.iter().flat_map(named).collect()
}

#[test]
fn the_minimal_script_does_what_the_minimal_plugin_does() {
    let (_place, _, plugin) = build("plugins/python/minimal/customize_minimal.py");
    let scopes: Vec<String> = requests(&plugin.conf).into_iter().map(|request| request.scope.to_string()).collect();
    assert_eq!(scopes, ["pkg:install:htop", "fs:write:/etc/piimg-minimal", "exec:htop --version"]);
    assert_eq!(plugin.conf.image.hostname.as_deref(), Some("piimg-minimal"));
    assert_eq!(plugin.conf.image.rootfs_extra_space_mb, Some(200));
    // An audit's word that it can read no file, fetch nothing and change no user is a proof.
    let functions = imported(&plugin);
    assert!(
        functions.contains(&"fs.write".to_owned()) && functions.contains(&"process.run".to_owned()),
        "{functions:?}"
    );
    for absent in
        ["fs.read", "fs.rename", "fs.list-dir", "net.", "git.", "users.", "services.", "boot-config.", "wasi:"]
    {
        assert!(!functions.iter().any(|function| function.starts_with(absent)), "{absent} in {functions:?}");
    }
    let ran = run_plugin(image(), &plugin, &all(), &[], Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.read("etc/piimg-minimal").unwrap(), "HOSTNAME=box\nFLAVOUR=test\nRELEASE=bookworm\n");
    assert_eq!(ran.log, ["piimg/minimal-python: box is ready with htop 3.2.2"]);
    let again = run_plugin(image(), &plugin, &all(), &[], Limits::EXECUTE);
    assert_eq!(again.result.unwrap().fuel, ran.result.unwrap().fuel, "a run is deterministic to the instruction");
}

#[test]
fn a_script_ends_with_words() {
    let (_place, _, plugin) = build("tests/guests-python/customize_endings.py");
    let ran = |what: &str| run_plugin(image(), &plugin, &all(), &[("do", what)], Limits::EXECUTE);
    let told = |what: &str| {
        let ran = ran(what);
        ran.result.as_ref().unwrap();
        ran.log.iter().map(|line| line.trim_start_matches("test/endings-python: ").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(
        told("print_and_log"),
        ["to standard output", "to standard error", "a warning of logging", "for the author", "without an end of line"]
    );
    assert_eq!(told("leave_well"), [""; 0]);
    assert_eq!(told("clocks"), ["clocks 1700000000 2023-11-14T22:13:20+00:00 2023-11-14 2023 0.0"]);
    assert_eq!(told("chance"), told("chance"), "random numbers follow from the component");
    assert_eq!(told("late"), ["late {\"a\": 1} True"]);
    assert_eq!(told("caught"), ["caught ENOENT HostError"]);
    let files = told("files");
    assert_eq!(files[0], "lines ['one', 'two']");
    assert_eq!(
        files[1],
        "left [('/etc/out', ['a', 'copy'], []), ('/etc/out/a', ['d'], ['link']), ('/etc/out/a/d', [], ['c']), \
         ('/etc/out/copy', [], ['c'])] True 0o100750"
    );

    for (what, kind, message) in [
        ("fail", Kind::Plugin, "ValueError: the shelf is empty (customize_endings.py:"),
        ("fail_within", Kind::Plugin, "RuntimeError: cannot read the settings (customize_endings.py:"),
        ("leave", Kind::Plugin, "sys.exit('nothing to do here') (customize_endings.py:"),
        ("hard", Kind::Plugin, "os._exit() is not for plugins: use sys.exit()"),
        ("pythons_files", Kind::Plugin, "Python's own `os.mkdir` finds no file here: write `from piimg import"),
        ("paths", Kind::Plugin, "Python's own `os.mkdir` finds no file here"),
        ("exists", Kind::Plugin, "Python's own `os.stat` finds no file here"),
        ("syntax", Kind::Plugin, "SyntaxError: invalid syntax (<string>, line 1) (customize_endings.py:"),
        ("waits", Kind::Plugin, "this would wait for ever: there are no threads in a component (customize_endings.py:"),
        ("asks", Kind::Plugin, "EOFError: EOF when reading a line (customize_endings.py:"),
        ("half", Kind::Plugin, "`fs.mkdir` was given '/etc/out/\\udcff', which is not UTF-8"),
        ("wrong_type", Kind::Plugin, "TypeError: `context.param` wants str where it was given 5, a value of type int"),
        ("lost", Kind::Plugin, "cannot write `/etc/out/big`: 5242880 bytes are more than 4 MiB"),
        (
            "unknown_function",
            Kind::Plugin,
            "this component has no function `process.run`: `conf` asks for nothing that needs it",
        ),
        ("refused", Kind::Grant, "/etc/shadow"),
    ] {
        let ran = ran(what);
        let report = ran.failure(kind);
        assert!(report.messages.iter().any(|line| line.contains(message)), "{what}: {report:?}");
        assert!(
            ran.log.iter().any(|line| line.contains("File \"customize_endings.py\", line ") || what == "lost"),
            "{what}: {:?}",
            ran.log
        );
    }
    let causes = ran("fail_within");
    assert!(
        causes
            .failure(Kind::Plugin)
            .messages
            .iter()
            .any(|line| line.contains("KeyError: 'missing' (customize_endings.py:"))
    );
    let caught = ran("caught");
    assert_eq!((caught.read("etc/out/half").as_deref(), caught.read("etc/out/none")), (Some("whole\n"), None));
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it runs what an author runs")]
fn a_new_script_is_tested_and_built() {
    let place = tempfile::tempdir().unwrap();
    let run = |program: &Path, dir: &Path, arguments: &[&str]| {
        let mut command = std::process::Command::new(program);
        command.current_dir(dir).args(arguments);
        command.env("PYTHONPATH", Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugin-sdk/python/src"));
        let output = command.output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (status, said) = run(&piimg_tests::piimg(), place.path(), &["plugin", "new", "my-hello", "--python"]);
    assert_eq!(status, Some(0), "{said}");
    assert!(said.contains("next: cd 'my-hello' && piimg plugin build customize_my_hello.py"), "{said}");
    let dir = place.path().join("my-hello");
    let pytest = ["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider"];
    let (status, said) = run(Path::new("/usr/bin/python3"), &dir, &pytest);
    assert!(status == Some(0) && said.contains("2 passed"), "{said}");
    let (status, said) = run(&piimg_tests::piimg(), &dir, &["plugin", "test"]);
    assert_eq!(status, Some(2), "{said}");
    assert!(said.contains("it is written in Python: run its tests with pytest"), "{said}");

    let (_place, _, plugin) = build(dir.join("customize_my_hello.py"));
    assert_eq!(plugin.conf.id, "example/my-hello");
    let asset = || [("logo.txt".to_owned(), std::fs::File::open(dir.join("assets/logo.txt")).unwrap())].into();
    let ran =
        run_with_assets(&engine(), image(), &plugin, &all(), (&[("greeting", "Hello")], asset()), Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.read("etc/motd").as_deref(), Some("Hello to box.\n"));
    assert_eq!(ran.log, ["example/my-hello: the greeting is in place"]);
}
