//! Grants: what is missing, and `piimg.lock`.

use super::*;

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

#[test]
fn a_grant_is_checked_even_without_plugins() {
    contains(&fails(&Scratch::new(), USAGE, &["plan", "--grant", "nonsense"]), &["`nonsense` is no capability"]);
}

#[test]
fn the_hinted_lines_alone_make_a_lock() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    contains(&stderr, &["version = 1"]);
}
