//! `piimg inspect` of plugins.

use piimg_tests::guest;

use super::*;

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
  pkg:install:htop  (listed in apt_get_packages)
  fs:write:/etc/piimg-minimal  (it says: writes which image this is)
  exec:htop --version  (it says: checks that the package works)
can call
  piimg:plugin/log: write, panicked
  piimg:plugin/context: image, param
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

#[test]
fn looking_needs_neither_home_nor_path() {
    let mut scratch = with_guests(&["minimal"]);
    for variable in ["HOME", "PATH", "TMPDIR", "XDG_CACHE_HOME"] {
        scratch.unset(variable);
    }
    fine(&scratch, &["inspect", "minimal.wasm"]);
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
fn a_missing_plugin_is_not_called_an_image() {
    let stderr = fails(&Scratch::new(), USAGE, &["inspect", "none.wasm"]);
    assert!(!stderr.contains("image"), "{stderr}");
}
