//! The program as a user meets it: flags, messages and exit codes. No privilege, no network, no namespace.
//!
//! Every run here also shows that nothing is written and that a pipe gets no colours: [`Scratch::run`] checks it.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::process::Stdio;

use piimg_tests::{Scratch, guest, piimg};
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

/// What a run complained about that must fail, with an empty standard output.
#[track_caller]
fn fails(scratch: &Scratch, code: i32, args: &[&str]) -> String {
    let ran = scratch.run(args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(code), ""), "{args:?}: {}", ran.stderr);
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

const MINIMAL_SCOPES: [&str; 3] = ["pkg:install:htop", "fs:write:/etc/piimg-minimal", "exec:htop --version"];

// Help, version and usage.

#[test]
fn help_fits_and_lists_the_subcommands() {
    let scratch = Scratch::new();
    let help = fine(&scratch, &["--help"]);
    assert_eq!(help, fine(&scratch, &["-h"]));
    assert_eq!(help, fine(&scratch, &["help"]));
    for command in ["build", "plan", "verify", "boot", "inspect"] {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {command} "))), "{command}:\n{help}");
        let own = fine(&scratch, &[command, "--help"]);
        contains(&own, &[&format!("Usage: piimg {command} ")]);
        for line in help.lines().chain(own.lines()) {
            assert!(line.chars().count() <= 100, "{line:?} is too long");
        }
    }
    contains(&help, &["Exit codes: 0 done", "70 a bug in piimg."]);
    // The ways in which it starts itself are nobody's business.
    assert!(!help.contains("__"), "{help}");
}

#[test]
fn version_is_one_line() {
    let scratch = Scratch::new();
    let version = format!("piimg {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(fine(&scratch, &["--version"]), version);
    assert_eq!(fine(&scratch, &["-V"]), version);
}

#[test]
fn mistakes_on_the_command_line_are_usage() {
    let scratch = Scratch::new();
    for (args, message) in [
        (&["--frob"][..], "error: unexpected argument '--frob' found\n"),
        (&["plan", "--frob"], "error: unexpected argument '--frob' found\n"),
        (&["frob"], "error: unrecognized subcommand 'frob'\n"),
        (&["inspect"], "error: the following required arguments were not provided:\n  <FILE>\n"),
        (&["inspect", "a", "b"], "error: unexpected argument 'b' found\n"),
        (&["plan", "-q", "-v"], "error: the argument '--quiet' cannot be used with '--verbose'\n"),
        (&["plan", "--rootfs-extra-space-mb", "x"], "error: invalid value 'x' for '--rootfs-extra-space-mb <MIB>'"),
        (&["plan", "--imagedir", ""], "error: a value is required for '--imagedir <DIR>' but none was supplied\n"),
        (&["plan", "--emulation", "no"], "error: invalid value 'no' for '--emulation <HOW>'\n"),
        (&["plan", "--recipe", "none.toml"], "error: cannot read `none.toml`\n  caused by: No such file"),
    ] {
        let stderr = fails(&scratch, USAGE, args);
        assert!(stderr.starts_with(message), "{args:?}: {stderr}");
    }
    // Nothing at all is answered with the help, which is then no data.
    let ran = scratch.run::<&str>([]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(USAGE), ""));
    contains(&ran.stderr, &["Usage: piimg [OPTIONS] <COMMAND>", "  plan "]);
}

#[test]
fn timings_that_cannot_be_written_are_usage() {
    let scratch = Scratch::new();
    let stderr = fails(&scratch, USAGE, &["build", "--timings", "none/timings"]);
    assert!(
        stderr.starts_with("error: cannot create the file of timings `none/timings`\n  caused by: No such file"),
        "{stderr}"
    );
    contains(&fine(&scratch, &["build", "--help"]), &["--timings <FILE>"]);
}

// inspect.

#[test]
fn inspect_shows_what_a_plugin_is_asks_for_and_can_call() {
    let scratch = with_guests(&["minimal"]);
    let text = fine(&scratch, &["inspect", "minimal.wasm"]);
    let digest = digest(&scratch, "minimal.wasm");
    let version = env!("CARGO_PKG_VERSION");
    let expected = format!(
        "\
plugin      piimg/minimal {version}: Minimal image
digest      {digest}
hostname    piimg-minimal
flavour     minimal
release     bookworm
free space  200 MiB
packages    htop
asks for
  pkg:install:htop  (it says: listed in apt_get_packages)
  fs:write:/etc/piimg-minimal  (it says: writes which image this is)
  exec:htop --version  (it says: checks that the package works)
can call
  piimg:plugin/log: write, panicked
  piimg:plugin/context: image
  piimg:plugin/fs: write
  piimg:plugin/process: run
  wasi:"
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(digest.starts_with("sha256:") && digest.len() == 71, "{digest}");
}

#[test]
fn inspect_claims_no_import_that_is_not_there() {
    let scratch = with_guests(&["panics"]);
    let text = fine(&scratch, &["inspect", "panics.wasm"]);
    contains(&text, &["plugin      test/panics 1.0.0: Panics\n", "asks for\ncan call\n  piimg:plugin/log: panicked\n"]);
    for absent in ["process", "piimg:plugin/fs", "packages", "sockets", "filesystem", "hostname"] {
        assert!(!text.contains(absent), "{absent} in:\n{text}");
    }
}

#[test]
fn inspect_as_json_says_the_same() {
    let scratch = with_guests(&["minimal"]);
    let info = json(&scratch, &["inspect", "--json", "minimal.wasm"]);
    assert_eq!(info["path"], "minimal.wasm");
    assert_eq!(info["conf"]["id"], "piimg/minimal");
    assert_eq!(info["conf"]["image"]["rootfs_extra_space_mb"], 200);
    let scopes: Vec<&str> =
        info["requests"].as_array().unwrap().iter().map(|request| request["scope"].as_str().unwrap()).collect();
    assert_eq!(scopes, MINIMAL_SCOPES);
    assert!(info["imports"].as_array().unwrap().iter().any(|import| import["name"] == "piimg:plugin/process"));
    assert!(info.get("bytes").is_none());
}

#[test]
fn what_is_no_plugin_is_told_in_one_sentence() {
    let scratch = Scratch::new();
    for (name, content, what) in [
        ("core.wasm", &b"\0asm\x01\0\0\0"[..], "is a core WebAssembly module, not a component"),
        ("core", b"\0asm\x01\0\0\0", "is a core WebAssembly module, not a component"),
        ("empty.wasm", b"", "is not a WebAssembly file"),
        ("text.wasm", b"#!/bin/sh\necho\n", "is not a WebAssembly file"),
        (
            "nothing.wasm",
            b"\0asm\x0d\0\x01\0",
            "is a component, but not a plugin: it does not export `piimg:plugin/customization`",
        ),
    ] {
        scratch.write(name, content);
        let expected = format!("error: `{name}` {what}\n{BUILD_HINT}");
        assert_eq!(fails(&scratch, USAGE, &["inspect", name]), expected);
        assert_eq!(fails(&scratch, USAGE, &["inspect", "--json", name]), expected);
        assert_eq!(fails(&scratch, USAGE, &["plan", "--plugin", name]), expected);
    }
}

#[test]
fn a_truncated_plugin_is_a_broken_component() {
    let scratch = Scratch::new();
    let whole = std::fs::read(guest("minimal")).unwrap();
    let far = [whole.len() / 100, whole.len() / 7, whole.len() / 2, whole.len() - 100, whole.len() - 1];
    for length in (0..16).chain(far) {
        scratch.write("cut.wasm", &whole[..length]);
        let stderr = fails(&scratch, USAGE, &["inspect", "cut.wasm"]);
        let what = match length {
            0..8 => "is not a WebAssembly file\n",
            8 => "is a component, but not a plugin: it does not export `piimg:plugin/customization`\n",
            _ => "is a broken component: unexpected end-of-file (at offset 0x",
        };
        assert!(stderr.starts_with(&format!("error: `cut.wasm` {what}")), "{length}: {stderr}");
        assert!(stderr.lines().count() == 2 && stderr.ends_with(BUILD_HINT), "{length}: {stderr}");
    }
}

#[test]
fn a_damaged_plugin_is_refused_without_a_crash() {
    let scratch = Scratch::new();
    let whole = std::fs::read(guest("panics")).unwrap();
    // The names and line tables at the end mean nothing; the code before does.
    for at in (0..24).map(|step| 8 + step * (whole.len() / 60)) {
        let mut damaged = whole.clone();
        damaged[at..at + 8].copy_from_slice(&[0xff; 8]);
        scratch.write("damaged.wasm", &damaged);
        let ran = scratch.run(["inspect", "damaged.wasm"]);
        assert!(matches!(ran.code, Some(0 | USAGE | PLUGIN)), "{at}: {ran:?}");
    }
}

#[test]
fn a_missing_file_is_named() {
    let scratch = Scratch::new();
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "none.wasm"]);
    assert_eq!(
        stderr,
        "error: cannot read the plugin `none.wasm`\n  caused by: No such file or directory (os error 2)\n"
    );
    for command in ["inspect", "verify", "boot"] {
        let stderr = fails(&scratch, USAGE, &[command, "none.img"]);
        assert!(stderr.contains("`none.img`\n  caused by: No such file or directory (os error 2)\n"), "{stderr}");
    }
}

#[test]
fn a_directory_is_no_plugin() {
    let scratch = Scratch::new();
    std::fs::create_dir(scratch.path("dir.wasm")).unwrap();
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "dir.wasm"]);
    assert_eq!(stderr, "error: cannot read the plugin `dir.wasm`\n  caused by: Is a directory (os error 21)\n");
}

#[test]
fn an_import_of_the_network_is_refused_by_name() {
    let scratch = with_guests(&["sockets"]);
    for args in [&["inspect", "sockets.wasm"][..], &["plan", "--plugin", "sockets.wasm", "--grant-requested"]] {
        let stderr = fails(&scratch, USAGE, args);
        let (first, hint) = stderr.split_once('\n').unwrap();
        assert!(first.starts_with("error: `sockets.wasm` imports `wasi:sockets/"), "{stderr}");
        assert!(first.ends_with("`, but a plugin has no network"), "{stderr}");
        assert_eq!(hint, "  hint: a plugin reaches the outside only through the functions of the plugin-sdk\n");
    }
}

#[test]
fn a_conf_that_calls_the_host_fails_with_a_hint() {
    let scratch = with_guests(&["conf-imports"]);
    for args in [&["inspect", "conf-imports.wasm"][..], &["plan", "--plugin", "conf-imports.wasm"]] {
        let stderr = fails(&scratch, PLUGIN, args);
        assert!(
            stderr.starts_with(
                "error: conf() of the plugin `conf-imports.wasm` failed: it called `piimg:plugin/context@0.1.0#image` in `conf` ("
            ),
            "{stderr}"
        );
        contains(&stderr, &["tests/guests/conf-imports/src/lib.rs:"]);
        assert!(
            stderr.ends_with(
                "\n  hint: conf() runs before anything is decided and cannot call the host; move the call to execute()\n"
            ),
            "{stderr}"
        );
    }
}

// plan: grants.

#[test]
fn missing_grants_are_named_with_both_ways_to_give_them() {
    let scratch = with_guests(&["minimal"]);
    let digest = digest(&scratch, "minimal.wasm");
    let expected = format!(
        r#"error: the plugin `piimg/minimal` needs capabilities that nobody granted:
  pkg:install:htop  (it says: listed in apt_get_packages)
  fs:write:/etc/piimg-minimal  (it says: writes which image this is)
  exec:htop --version  (it says: checks that the package works)
  hint: for this build: --grant 'pkg:install:htop' --grant 'fs:write:/etc/piimg-minimal' --grant 'exec:htop --version'
  hint: for good, in `piimg.lock` (a new file begins with `version = 1`):
        [[plugin]]
        id = "piimg/minimal"
        digest = "{digest}"
        grant = [
          "pkg:install:htop",
          "fs:write:/etc/piimg-minimal",
          "exec:htop --version",
        ]
"#
    );
    assert_eq!(fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]), expected);
    // A build that nobody allowed ends at the same place, before it touches anything.
    assert_eq!(fails(&scratch, GRANT, &["build", "--plugin", "minimal.wasm"]), expected);
}

#[test]
fn only_what_is_still_missing_is_named() {
    let scratch = with_guests(&["minimal"]);
    let some = ["plan", "--plugin", "minimal.wasm", "--grant", "pkg:install:*", "--grant", "exec:htop --version"];
    let stderr = fails(&scratch, GRANT, &some);
    contains(
        &stderr,
        &[
            "nobody granted:\n  fs:write:/etc/piimg-minimal  (it says: writes which image this is)\n  hint",
            "  hint: for this build: --grant 'fs:write:/etc/piimg-minimal'\n",
            "grant = [\n          \"fs:write:/etc/piimg-minimal\",\n        ]\n",
        ],
    );
    assert!(!stderr.contains("htop"), "{stderr}");
}

#[test]
fn the_hinted_flags_are_enough() {
    let scratch = with_guests(&["minimal"]);
    let mut args = vec!["plan", "--plugin", "minimal.wasm"];
    args.extend(MINIMAL_SCOPES.iter().flat_map(|scope| ["--grant", scope]));
    let granted = fine(&scratch, &args);
    assert_eq!(granted, fine(&scratch, &["plan", "--plugin", "minimal.wasm", "--grant-requested"]));
    contains(&granted, &["  exec:htop --version  [granted]  it says: checks that the package works\n"]);
}

#[test]
fn a_narrower_grant_is_not_enough() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(
        &scratch,
        GRANT,
        &[
            "plan",
            "--plugin",
            "minimal.wasm",
            "--grant",
            "pkg:install:htop",
            "--grant",
            "fs:write:/etc/**",
            "--grant",
            "exec:htop",
        ],
    );
    contains(&stderr, &["nobody granted:\n  exec:htop --version  (it says: checks that the package works)\n"]);
}

#[test]
fn several_plugins_are_refused_together() {
    let scratch = with_guests(&["minimal", "denied"]);
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm", "--plugin", "denied.wasm"]);
    contains(
        &stderr,
        &[
            "error: the plugin `piimg/minimal` needs capabilities",
            "\nthe plugin `test/denied` needs capabilities that nobody granted:\n  fs:write:/etc/allowed  (it says: a file it may have)\n",
            "--grant 'pkg:install:htop'",
            "--grant 'fs:write:/etc/allowed'",
        ],
    );
    assert!(!stderr.contains("/etc/optional"), "what it can do without is not missing: {stderr}");
}

#[test]
fn a_grant_that_is_no_capability_is_refused() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "minimal.wasm", "--grant", "net:example.org"]);
    assert_eq!(
        stderr,
        "error: cannot use `--grant`\n  caused by: `net:example.org` is no capability: its kind is not offered; there are `fs:read`, `fs:write`, `exec`, `pkg:install`, `pkg:remove`, `asset`, each followed by `:` and a scope\n"
    );
}

#[test]
fn one_plugin_cannot_take_part_twice() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "minimal.wasm", "--plugin", "./minimal.wasm"]);
    assert_eq!(stderr, "error: the plugin `piimg/minimal` is there twice\n");
}

// plan: piimg.lock.

#[test]
fn the_lock_grants_to_a_digest() {
    let scratch = with_guests(&["minimal"]);
    let digest = digest(&scratch, "minimal.wasm");
    scratch.write("piimg.lock", lock("piimg/minimal", &digest, &MINIMAL_SCOPES));
    contains(&fine(&scratch, &["plan", "--plugin", "minimal.wasm"]), &["[granted]"]);

    scratch.write("piimg.lock", lock("piimg/minimal", &format!("sha256:{}", "a".repeat(64)), &MINIMAL_SCOPES));
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    contains(
        &stderr,
        &["\nthe grants in `piimg.lock` are for another build of it and do not count\n  hint: for this build"],
    );
    assert_eq!(stderr.matches(&"a".repeat(64)).count(), 0, "{stderr}");

    scratch.write("piimg.lock", lock("other/plugin", &format!("sha256:{}", "a".repeat(64)), &MINIMAL_SCOPES));
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    assert!(!stderr.contains("another build"), "{stderr}");
}

#[test]
fn the_hinted_lines_make_a_lock() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    let (_, lines) = stderr.split_once("`version = 1`):\n").unwrap();
    let lines: String = lines.lines().map(|line| format!("{}\n", line.trim_start())).collect();
    let version = if lines.contains("version = ") { "" } else { "version = 1\n" };
    scratch.write("piimg.lock", format!("{version}{lines}"));
    fine(&scratch, &["plan", "--plugin", "minimal.wasm"]);
}

#[test]
fn the_lock_is_beside_the_recipe() {
    let scratch = with_guests(&["minimal"]);
    let digest = digest(&scratch, "minimal.wasm");
    std::fs::create_dir(scratch.path("robot")).unwrap();
    scratch.write("robot/piimg.toml", "plugins = [\"../minimal.wasm\"]\n");
    fails(&scratch, GRANT, &["plan", "--recipe", "robot/piimg.toml"]);
    scratch.write("robot/piimg.lock", lock("piimg/minimal", &digest, &MINIMAL_SCOPES));
    fine(&scratch, &["plan", "--recipe", "robot/piimg.toml"]);
}

#[test]
fn mistakes_in_the_lock_are_named() {
    let scratch = Scratch::new();
    let digest = format!("sha256:{}", "a".repeat(64));
    for (text, cause) in [
        ("version = 1\n[[plugin\n".to_owned(), "TOML parse error at line 2, column 9\n"),
        ("version = 1\n\n[[plugin]]\nid = 3\n".to_owned(), "TOML parse error at line 4, column 6\n"),
        ("version = 1\nplugins = []\n".to_owned(), "TOML parse error at line 2, column 1\n"),
        ("version = 2\n".to_owned(), "version 2 is not known; this piimg writes version 1\n"),
        (String::new(), "TOML parse error at line 1, column 1\n"),
        (lock("a/b", "sha256:12", &[]), "the digest of `a/b` is not `sha256:` and 64 lowercase hexadecimal digits\n"),
        (
            lock("a/b", &digest, &["fs:write:etc"]),
            "in the grants of `a/b`\n  caused by: `fs:write:etc` is no capability: ",
        ),
    ] {
        scratch.write("piimg.lock", &text);
        let stderr = fails(&scratch, USAGE, &["plan"]);
        assert!(
            stderr.starts_with(&format!("error: cannot use `piimg.lock`\n  caused by: {cause}")),
            "{text}: {stderr}"
        );
    }
    scratch.write("piimg.lock", b"\xff\xfe");
    let stderr = fails(&scratch, USAGE, &["plan"]);
    assert!(stderr.starts_with("error: cannot read `piimg.lock`\n  caused by: "), "{stderr}");
}

// plan: piimg.toml.

#[test]
fn mistakes_in_the_recipe_are_named_with_their_line() {
    let scratch = Scratch::new();
    for (text, place, what) in [
        (
            "release = \"trixie\"\nhostnam = \"x\"\n",
            "line 2, column 1",
            "    2 | hostnam = \"x\"\n      | ^^^^^^^\n    unknown field `hostnam`, expected one of `release`, ",
        ),
        ("[user]\nnam = \"x\"\n", "line 2, column 1", "unknown field `nam`, expected one of `name`, "),
        ("release = \n", "line 1, column 11", "string values must be quoted"),
        ("\n\nrootfs-extra-space-mb = -1\n", "line 3, column 25", "invalid value: integer `-1`, expected u32\n"),
        ("hostname = \"a\"\nhostname = \"b\"\n", "line 2, column 1", "duplicate key"),
        ("source-date-epoch = \"now\"\n", "line 1, column 21", "invalid type: string \"now\", expected u64\n"),
    ] {
        scratch.write("piimg.toml", text);
        let stderr = fails(&scratch, USAGE, &["plan"]);
        let start = format!("error: cannot use `piimg.toml`\n  caused by: TOML parse error at {place}\n");
        assert!(stderr.starts_with(&start), "{text}: {stderr}");
        contains(&stderr, &[what]);
    }
}

#[test]
fn everything_wrong_with_a_recipe_is_said_at_once() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "hostname = \"a b\"\nrelease = \"potato\"\nrootfs-extra-space-mb = 2000000\n");
    assert_eq!(
        fails(&scratch, USAGE, &["plan"]),
        "\
error: 3 things are wrong with this build:
  - there is no release `potato` (from the recipe); piimg knows: bookworm, trixie
  - the hostname `a b` (from the recipe) may hold only ASCII letters, digits and `-` (RFC 1123)
  - rootfs-extra-space-mb `2000000` must be at most 1048576 MiB (1 TiB)
"
    );
    let stderr =
        fails(&scratch, USAGE, &["plan", "--flavour", "../x", "--mirror", "ftp://h/", "--param", "x", "--asset", "y"]);
    contains(
        &stderr,
        &[
            "error: 7 things are wrong with this build:\n",
            "  - the flavour `../x` (from the command line) must be 1 to 64 ASCII letters",
            "  - the mirror `ftp://h/` must be a http, https, file or copy URL without spaces\n",
            "  - --param `x` must be ID:NAME=VALUE\n",
            "  - --asset `y` must be NAME=PATH\n",
        ],
    );
}

#[test]
fn a_compression_that_is_none_is_refused() {
    let scratch = Scratch::new();
    let format = "must be `none`, `zstd`, `zstd:LEVEL`, `xz` or `xz:LEVEL`";
    for (how, rule) in [
        ("bzip2", format),
        ("", format),
        ("zstd:99", "must have a level from 1 to 19"),
        ("xz:ultra", "must have a level from 0 to 9"),
    ] {
        let expected = format!("error: the compression `{how}` {rule}\n");
        assert_eq!(fails(&scratch, USAGE, &["plan", &format!("--compress={how}")]), expected);
        scratch.write("piimg.toml", format!("compress = {how:?}\n"));
        assert_eq!(fails(&scratch, USAGE, &["plan"]), expected);
        scratch.write("piimg.toml", "");
    }
}

#[test]
fn a_plan_says_how_the_image_is_compressed() {
    let scratch = Scratch::new();
    let how = |args: &[&str]| json(&scratch, &[&["plan", "--json"], args].concat())["plan"]["compression"].clone();
    assert_eq!(how(&[]), Value::Null);
    assert_eq!(how(&["--compress", "zstd"]), "zstd:10");
    scratch.write("piimg.toml", "compress = \"xz:9\"\n");
    assert_eq!(how(&[]), "xz:9");
    contains(&fine(&scratch, &["plan"]), &["-custom-trixie-raspberry-pi.img.xz\n"]);
    assert_eq!(how(&["--compress", "none"]), Value::Null);
    contains(&fine(&scratch, &["plan", "--compress", "none"]), &["-custom-trixie-raspberry-pi.img\n"]);
}

#[test]
fn a_pi_5_is_refused_where_the_kernel_does_not_boot_it() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "models = [\"pi4\", \"pi5\"]\n");
    for (release, title) in [("trixie", "Debian 13"), ("bookworm", "Debian 12")] {
        assert_eq!(
            fails(&scratch, USAGE, &["plan", "--release", release]),
            format!("error: {title} does not boot on `pi5`; it boots on: pi3, zero2w, pi4\n")
        );
    }
}

#[test]
fn a_foreign_architecture_is_refused() {
    let stderr = fails(&Scratch::new(), USAGE, &["plan", "--arch", "amd64"]);
    assert_eq!(stderr, "error: Debian 13 has no architecture `amd64` here; it has: arm64\n");
}

#[test]
fn parameters_without_a_plugin_are_refused() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, USAGE, &["plan", "--param", "a/b:c=1"]);
    assert_eq!(stderr, "error: there is no plugin `a/b` to give `c` to\n");
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "minimal.wasm", "--param", "piimg/minimal:c=1"]);
    assert_eq!(stderr, "error: the plugin `piimg/minimal` has no parameter `c`\n");
}

// plan: the seven parameters.

/// The image directory of `wishes`, which a shell would not take as one word.
const IMAGES: &str = "/wished/images; id";

/// What the plan says of the seven parameters.
fn seven(document: &Value) -> Vec<String> {
    let plan = &document["plan"];
    let packages: Vec<&str> = plan["packages"]
        .as_array()
        .unwrap()
        .iter()
        .chain(plan["plugins"].as_array().unwrap().iter().flat_map(|plugin| plugin["packages"].as_array().unwrap()))
        .map(|name| name.as_str().unwrap())
        .collect();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let mut values: Vec<String> = ["hostname", "extra_space_mb", "store", "flavour"].map(|key| text(&plan[key])).into();
    values.extend([text(&plan["release"]["name"]), text(&plan["imagedir"]), packages.join(" ")]);
    values
}

/// Root's store is the system's.
fn is_root() -> bool {
    std::fs::metadata("/proc/self").unwrap().uid() == 0
}

const WISHES: [&str; 5] = ["plan", "--json", "--grant-requested", "--param", "test/wishes:colour=red"];

#[test]
fn without_a_word_the_seven_parameters_have_defaults() {
    let scratch = Scratch::new();
    let store = if is_root() { "/var/cache/piimg" } else { "$DIR/cache/piimg" };
    assert_eq!(seven(&json(&scratch, &["plan", "--json"])), ["raspberrypi", "500", store, "custom", "trixie", ".", ""]);
    let text = fine(&scratch, &["plan"]);
    contains(&text, &["release     Debian 13 trixie (arm64), ", "hostname    raspberrypi\n", "free space  500 MiB"]);
    assert_eq!(text, fine(&scratch, &["-q", "plan"]), "a plan is data");
}

#[test]
fn the_seven_parameters_come_from_flag_then_file_then_plugin() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm", "--allow-plugin-paths"]);
    let by_plugin = ["wished", "42", "/wished/rootfs", "bread", "bookworm", IMAGES, "htop"];
    assert_eq!(seven(&json(&scratch, &args)), by_plugin);

    scratch.write(
        "piimg.toml",
        "hostname = \"file\"\nrootfs-extra-space-mb = 1\nrootfs = \"/file/rootfs\"\nflavour = \"paper\"\n\
         release = \"trixie\"\nimagedir = \"/file/images\"\npackages = [\"nano\"]\n",
    );
    let by_file = ["file", "1", "/file/rootfs", "paper", "trixie", "/file/images", "nano htop"];
    assert_eq!(seven(&json(&scratch, &args)), by_file);
    // A directory that the user chose needs no consent.
    args.pop();
    assert_eq!(seven(&json(&scratch, &args)), by_file);

    args.extend(["--hostname", "flag", "--rootfs-extra-space-mb", "2", "--store", "/flag/rootfs"]);
    args.extend(["--flavour", "wave", "--release", "bookworm", "--imagedir", "/flag/images", "--package", "vim"]);
    let by_flag = ["flag", "2", "/flag/rootfs", "wave", "bookworm", "/flag/images", "nano vim htop"];
    assert_eq!(seven(&json(&scratch, &args)), by_flag);
}

#[test]
fn a_plan_as_json_says_who_gets_what() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm", "--allow-plugin-paths"]);
    let document = json(&scratch, &args);
    let plugin = &document["plan"]["plugins"][0];
    assert_eq!(plugin["id"], "test/wishes");
    assert_eq!(plugin["params"], serde_json::json!({ "colour": "red", "count": "3" }));
    assert_eq!(document["plugins"][0]["granted"], serde_json::json!(["fs:write:/etc/wish", "pkg:install:htop"]));
}

#[test]
fn a_plugins_directories_need_consent() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm"]);
    let stderr = fails(&scratch, USAGE, &args);
    let lines: Vec<&str> = stderr.lines().collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    assert_eq!(lines[0], "error: 2 things are wrong with this build:");
    for (line, parameter, flag, path) in
        [(lines[1], "rootfs", "--store", "/wished/rootfs"), (lines[2], "imagedir", "--imagedir", IMAGES)]
    {
        contains(
            line,
            &[
                &format!(
                    "  - `test/wishes` wants to use the host directory `{path}` as {parameter}: agree with {flag} "
                ),
                "--allow-plugin-paths",
            ],
        );
    }
    // Agreeing to one of them leaves the other.
    args.extend(["--store", "/wished/rootfs"]);
    let stderr = fails(&scratch, USAGE, &args);
    contains(&stderr, &[&format!("error: `test/wishes` wants to use the host directory `{IMAGES}` as imagedir: ")]);
    args.extend(["--imagedir", "here"]);
    assert_eq!(json(&scratch, &args)["plan"]["imagedir"], "here");
}

#[test]
fn a_plugins_own_parameters_are_checked() {
    let scratch = with_guests(&["wishes"]);
    let plan = ["plan", "--plugin", "wishes.wasm", "--allow-plugin-paths", "--grant-requested"];
    let stderr = fails(&scratch, USAGE, &plan);
    assert_eq!(stderr, "error: `test/wishes` needs a value for `colour`: --param 'test/wishes:colour=…'\n");
    scratch.write("piimg.toml", "[params.\"test/wishes\"]\ncolour = \"blue\"\ncount = 10\nsize = 1\n");
    assert_eq!(
        fails(&scratch, USAGE, &plan),
        "\
error: 3 things are wrong with this build:
  - the parameter `colour` of `test/wishes` must be one of red, green, not `blue`
  - the parameter `count` of `test/wishes` must be a whole number from 1 to 9, not `10`
  - the plugin `test/wishes` has no parameter `size`
"
    );
    scratch.write("piimg.toml", "[params.\"test/wishes\"]\ncolour = \"green\"\ncount = 9\n");
    fine(&scratch, &plan);
}

// The environment.

#[test]
fn a_date_that_is_none_is_refused() {
    let mut scratch = Scratch::new();
    for text in ["tomorrow", "-1", "1.5", " 1", "99999999999999999999999"] {
        scratch.set("SOURCE_DATE_EPOCH", text);
        let expected = format!("error: SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds\n");
        assert_eq!(fails(&scratch, USAGE, &["plan"]), expected);
        assert_eq!(fails(&scratch, USAGE, &["build"]), expected);
    }
    scratch.set("SOURCE_DATE_EPOCH", "1700000000");
    assert_eq!(json(&scratch, &["plan", "--json"])["plan"]["epoch"], 1_700_000_000);
}

#[test]
fn a_missing_program_is_named_with_its_package() {
    let mut scratch = Scratch::new();
    scratch.set("PATH", "/nowhere");
    let stderr = fails(&scratch, HOST, &["plan"]);
    let (first, hint) = stderr.split_once('\n').unwrap();
    assert!(first.starts_with("error: this machine lacks programs that the build needs: mmdebstrap"), "{stderr}");
    assert!(hint.starts_with("  hint: install them: sudo apt-get install "), "{stderr}");
    contains(hint, &["mmdebstrap"]);
}

#[test]
fn looking_needs_neither_home_nor_path() {
    let mut scratch = with_guests(&["minimal"]);
    for variable in ["HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME"] {
        scratch.unset(variable);
    }
    fine(&scratch, &["inspect", "minimal.wasm"]);
}

#[test]
fn without_a_home_the_store_must_be_named() {
    let mut scratch = Scratch::new();
    scratch.unset("HOME");
    scratch.unset("XDG_CACHE_HOME");
    if is_root() {
        contains(&fine(&scratch, &["plan"]), &["store       /var/cache/piimg\n"]);
    } else {
        assert_eq!(
            fails(&scratch, USAGE, &["plan"]),
            "error: there is no HOME to keep the store in\n  hint: choose a directory with --store\n"
        );
    }
}

#[test]
fn quiet_keeps_quiet_about_no_error() {
    let scratch = with_guests(&["minimal"]);
    let plan = ["plan", "--plugin", "minimal.wasm"];
    let stderr = fails(&scratch, GRANT, &plan);
    for flag in ["-q", "--quiet", "-v", "--verbose"] {
        let mut args = plan.to_vec();
        args.push(flag);
        assert_eq!(fails(&scratch, GRANT, &args), stderr);
    }
}

#[test]
fn a_plan_leaves_no_trace() {
    // `Scratch::run` compares for every run; this one has all inputs there are.
    let scratch = with_guests(&["minimal"]);
    scratch.write("piimg.toml", "plugins = [\"minimal.wasm\"]\nimagedir = \"images\"\nstore = \"store\"\n");
    let before = scratch.listing();
    fine(&scratch, &["plan", "--grant-requested"]);
    fine(&scratch, &["plan", "--grant-requested", "--refresh", "--json"]);
    assert_eq!(scratch.listing(), before);
    assert!(!scratch.path("images").exists() && !scratch.path("store").exists());
}

/// Runs a command line on a terminal of its own; both streams come out as one.
fn on_terminal(scratch: &Scratch, line: &str) -> String {
    let line = format!("{} {line}", piimg().display());
    // A part of `bsdutils`, which is essential.
    let output = scratch.command("/usr/bin/script").args(["-qec", &line, "/dev/null"]).output().unwrap();
    scratch.taken(&output).stdout
}

#[test]
fn colours_are_for_terminals_and_can_be_refused() {
    let mut scratch = Scratch::new();
    scratch.set("TERM", "xterm");
    for line in ["inspect none", "frob"] {
        scratch.unset("NO_COLOR");
        assert!(on_terminal(&scratch, line).contains("\u{1b}["), "{line}");
        scratch.set("NO_COLOR", "1");
        let plain = on_terminal(&scratch, line);
        assert!(plain.starts_with("error: ") && !plain.contains('\u{1b}'), "{line}: {plain:?}");
    }
}

#[test]
fn a_plugins_text_cannot_move_the_cursor() {
    let scratch = with_guests(&["wishes"]);
    let shown = "harmless\\u{d}\\u{1b}[1A\\u{202e}";
    let text = fine(&scratch, &["inspect", "wishes.wasm"]);
    contains(&text, &["test/wishes 1.0.0: Wishes\\u{1b}[2J\n", shown]);
    let plan = ["plan", "--plugin", "wishes.wasm", "--allow-plugin-paths", "--param", "test/wishes:colour=red"];
    contains(&fails(&scratch, GRANT, &plan), &[shown]);
    let mut granted = plan.to_vec();
    granted.push("--grant-requested");
    contains(&fine(&scratch, &granted), &[shown]);
    // In JSON the format's own escapes do it.
    granted.push("--json");
    let document = json(&scratch, &granted);
    assert_eq!(document["plugins"][0]["requests"][1]["reason"], "harmless\r\u{1b}[1A\u{202e}");
}

#[test]
fn a_users_own_text_is_shown_escaped() {
    let stderr = fails(&Scratch::new(), USAGE, &["plan", "--hostname", "\u{1b}[31mx"]);
    contains(&stderr, &["the hostname `\\u{1b}[31mx` (from the command line)"]);
}

// Files that are no image.

/// Files that are no image, by name.
fn no_images() -> (Scratch, [&'static str; 4]) {
    let scratch = with_guests(&["panics"]);
    scratch.write("empty.img", "");
    scratch.write("text.img", "hello\n");
    scratch.write("zeros.img", vec![0; 1 << 20]);
    (scratch, ["empty.img", "text.img", "zeros.img", "panics.wasm"])
}

#[test]
fn verify_reports_a_missing_table_as_finding() {
    let (scratch, files) = no_images();
    for file in files {
        let ran = scratch.run(["verify", file]);
        assert_eq!((ran.code, ran.stderr.as_str()), (Some(1), ""), "{file}");
        assert!(ran.stdout.starts_with("FAILED   partition table: "), "{}", ran.stdout);
        assert_eq!(ran.stdout.lines().count(), 1, "{}", ran.stdout);
        let ran = scratch.run(["verify", "--json", file]);
        let report: Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!((ran.code, &report["checks"][0]["outcome"]), (Some(1), &Value::from("failed")));
    }
}

#[test]
fn inspect_and_boot_refuse_what_is_no_image() {
    let (scratch, files) = no_images();
    for file in files {
        for command in ["inspect", "boot"] {
            if (command, file) == ("inspect", "panics.wasm") {
                continue;
            }
            let ran = scratch.run([command, file]);
            assert!(matches!(ran.code, Some(1 | USAGE)) && ran.stdout.is_empty(), "{command} {file}: {ran:?}");
            contains(&ran.stderr, &["error: ", "partition table"]);
        }
    }
}

#[test]
fn an_unknown_model_is_refused() {
    let (scratch, files) = no_images();
    for command in ["verify", "boot"] {
        assert_eq!(
            fails(&scratch, USAGE, &[command, "--model", "pi9", files[0]]),
            "error: there is no model `pi9`; piimg knows: pi3, pi3+, zero2w, pi4, pi400, cm4, pi5\n"
        );
    }
}

#[test]
fn an_argument_that_is_no_text_is_usage_or_a_path() {
    let scratch = Scratch::new();
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    let ran = scratch.run(["inspect".as_ref(), odd]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(USAGE), ""));
    let ran = scratch.run(["plan".as_ref(), "--hostname".as_ref(), odd]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(USAGE), ""));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let scratch = with_guests(&["minimal"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for stdout in [Stdio::from(writer), Stdio::from(full)] {
        let output = scratch.command(piimg()).args(["inspect", "minimal.wasm"]).stdout(stdout).output().unwrap();
        let ran = scratch.taken(&output);
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        assert!(ran.code.is_none_or(|code| code != 101), "{ran:?}");
    }
}

#[test]
fn inspect_of_a_directory_is_usage() {
    let scratch = Scratch::new();
    for name in ["dir", "dir.wasm"] {
        std::fs::create_dir(scratch.path(name)).unwrap();
        let stderr = fails(&scratch, USAGE, &["inspect", name]);
        contains(&stderr, &[&format!("`{name}`"), "Is a directory"]);
    }
}

#[test]
fn what_is_no_image_is_named() {
    let (scratch, _) = no_images();
    for command in ["inspect", "boot"] {
        for file in ["empty.img", "text.img", "zeros.img"] {
            let ran = scratch.run([command, file]);
            contains(&ran.stderr, &[file]);
            assert!(!ran.stderr.contains("fill whole buffer"), "{ran:?}");
        }
    }
}

#[test]
fn a_missing_plugin_is_not_called_an_image() {
    let stderr = fails(&Scratch::new(), USAGE, &["inspect", "none.wasm"]);
    assert!(!stderr.contains("image"), "{stderr}");
}

#[test]
fn a_grant_is_checked_even_without_plugins() {
    contains(&fails(&Scratch::new(), USAGE, &["plan", "--grant", "nonsense"]), &["`nonsense` is no capability"]);
}

#[test]
fn a_missing_asset_is_known_before_the_build() {
    contains(&fails(&Scratch::new(), USAGE, &["plan", "--asset", "logo=none.png"]), &["none.png"]);
}

#[test]
fn a_date_that_is_no_text_is_refused() {
    let mut scratch = Scratch::new();
    scratch.set("SOURCE_DATE_EPOCH", std::ffi::OsStr::from_bytes(b"\xff"));
    contains(&fails(&scratch, USAGE, &["plan"]), &["SOURCE_DATE_EPOCH"]);
}

#[test]
fn text_of_files_and_the_environment_is_escaped() {
    let mut scratch = Scratch::new();
    fails(&scratch, USAGE, &["inspect", "\u{1b}[31mx"]);
    scratch.write("piimg.toml", "\"host\\u001b[31m\" = \"x\"\n");
    fails(&scratch, USAGE, &["plan"]);
    std::fs::remove_file(scratch.path("piimg.toml")).unwrap();
    scratch.write("piimg.lock", lock("a", "sha256:1", &[]).replace("\"a\"", "\"\\u001b[31m\""));
    fails(&scratch, USAGE, &["plan"]);
    std::fs::remove_file(scratch.path("piimg.lock")).unwrap();
    scratch.set("SOURCE_DATE_EPOCH", "\u{1b}[31m");
    fails(&scratch, USAGE, &["plan"]);
}

#[test]
fn the_hinted_lines_alone_make_a_lock() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    contains(&stderr, &["version = 1"]);
}

#[test]
fn no_line_ends_with_blanks() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "hostnam = 1\n");
    let stderr = fails(&scratch, USAGE, &["plan"]);
    assert!(stderr.lines().all(|line| line == line.trim_end()), "{stderr:?}");
}

#[test]
fn a_hinted_directory_is_quoted() {
    let scratch = with_guests(&["wishes"]);
    let mut args = WISHES.to_vec();
    args.extend(["--plugin", "wishes.wasm"]);
    contains(&fails(&scratch, USAGE, &args), &[&format!("--imagedir '{IMAGES}'")]);
}

#[test]
fn a_named_store_needs_no_home() {
    let mut scratch = Scratch::new();
    scratch.unset("HOME");
    scratch.unset("XDG_CACHE_HOME");
    contains(&fine(&scratch, &["plan", "--store", "/srv/store"]), &["store       /srv/store\n"]);
}

#[test]
fn rules_read_as_sentences() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "packages = [\"A;\"]\n[user]\nname = \"root\"\n");
    let stderr = fails(&scratch, USAGE, &["plan"]);
    for glued in ["`A;` a package", "`root` root"] {
        assert!(!stderr.contains(glued), "{stderr}");
    }
}

#[test]
fn a_plan_keeps_no_compiled_code() {
    use std::os::unix::fs::PermissionsExt as _;

    let scratch = with_guests(&["minimal"]);
    let compiled = scratch.path("store/compiled");
    std::fs::create_dir_all(&compiled).unwrap();
    // `Scratch::run` sees to it that nothing is written, whether the directory can be used or not.
    for mode in [0o700, 0o777] {
        std::fs::set_permissions(&compiled, std::fs::Permissions::from_mode(mode)).unwrap();
        fine(&scratch, &["plan", "--plugin", "minimal.wasm", "--grant-requested", "--store", "store"]);
    }
}

// doctor.

#[test]
fn a_comparison_of_nothing_foreign_is_refused() {
    let scratch = Scratch::new();
    let compare = ["doctor", "--compare-emulation", "--package", "dash", "--arch"];
    let host = if cfg!(target_arch = "x86_64") { "amd64" } else { "arm64" };
    let stderr = fails(&scratch, USAGE, &[&compare[..], &[host]].concat());
    assert_eq!(stderr, format!("error: this machine runs {host} programs by itself\n"));
    let stderr = fails(&scratch, USAGE, &[&compare[..], &["m68k"]].concat());
    assert_eq!(stderr, "error: piimg cannot run programs of the architecture `m68k`\n");
    let stderr = fails(&scratch, USAGE, &["doctor", "--compare-emulation", "--arch", "armhf"]);
    assert_eq!(stderr, "error: Debian 13 has no architecture `armhf` here; it has: arm64\n");
    let stderr = fails(&scratch, USAGE, &["doctor", "--compare-emulation", "--release", "sarge"]);
    contains(&stderr, &["error: there is no release `sarge`"]);
    let stderr = fails(&scratch, USAGE, &["doctor", "--arch", "armhf"]);
    contains(&stderr, &["--compare-emulation"]);
}
