//! Grants: what is missing, `piimg.lock` and `piimg grant`.

use super::*;

#[test]
fn missing_grants_are_named_once_with_the_command_that_gives_them() {
    let scratch = with_guests(&["minimal"]);
    let expected = "\
error: the plugin `piimg/minimal` needs capabilities that nobody granted:
  exec:htop --version  (it says: checks that the package works)
  fs:write:/etc/piimg-minimal  (it says: writes which image this is)
  pkg:install:htop  (listed in apt_get_packages)
  hint: to see, grant and keep it: piimg grant 'minimal.wasm'
";
    assert_eq!(fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]), expected);
    // A build that nobody allowed ends at the same place, before it touches anything.
    assert_eq!(fails(&scratch, GRANT, &["build", "--plugin", "minimal.wasm"]), expected);
}

#[test]
fn a_plan_without_grants_is_shown() {
    let scratch = with_guests(&["minimal", "asks"]);
    let ran = scratch.run(["plan", "--plugin", "minimal.wasm", "--plugin", "asks.wasm"]);
    assert_eq!(ran.code, Some(GRANT), "{}", ran.stderr);
    contains(
        &ran.stdout,
        &[
            "release     ",
            "hostname    ",
            "            3 capabilities that it needs are missing: see below\n",
            "            exec:id  [optional, not granted]  it says: tells who it is\n",
            "            2 capabilities that it needs are missing: see below\n",
        ],
    );
    let all = ran.stdout + &ran.stderr;
    assert_eq!(all.matches("fs:write:/etc/piimg-minimal").count(), 1, "each is named once: {all}");
    assert!(all.ends_with("  hint: to see, grant and keep it: piimg grant 'minimal.wasm' 'asks.wasm'\n"), "{all}");
    // The document says how each stands, and the exit code stays.
    let ran = scratch.run(["plan", "--plugin", "minimal.wasm", "--json"]);
    let document: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((ran.code, &document["plugins"][0]["requests"][0]["state"]), (Some(GRANT), &Value::from("missing")));
}

#[test]
fn only_what_is_still_missing_is_named() {
    let scratch = with_guests(&["minimal"]);
    let some = ["plan", "--plugin", "minimal.wasm", "--grant", "pkg:install:*", "--grant", "exec:htop --version"];
    let stderr = fails(&scratch, GRANT, &some);
    contains(
        &stderr,
        &["nobody granted:\n  fs:write:/etc/piimg-minimal  (it says: writes which image this is)\n  hint"],
    );
    assert!(!stderr.contains("htop"), "{stderr}");
}

#[test]
fn a_grant_of_each_scope_is_enough() {
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
            "  hint: to see, grant and keep it: piimg grant 'minimal.wasm' 'denied.wasm'\n",
        ],
    );
    assert!(!stderr.contains("/etc/optional"), "what it can do without is not missing: {stderr}");
}

#[test]
fn a_grant_that_is_no_capability_is_refused() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "minimal.wasm", "--grant", "gpio:17"]);
    assert_eq!(
        stderr,
        "error: cannot use `--grant`\n  caused by: `gpio:17` is no capability: its kind is not offered; there are `exec`, `fs:write`, `fs:read`, `svc`, `user`, `boot:config`, `boot:cmdline`, `pkg:install`, `pkg:remove`, `pkg:build`, `pkg:repo`, `pkg:pin`, `debconf`, `net`, `secret`, `asset`, each followed by `:` and a scope\n"
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
    let same = "error: the plugin `piimg/minimal` is another build than the one in the lock file, which asks for nothing new\n  \
                hint: to see, grant and keep it: piimg grant 'minimal.wasm'\n";
    assert_eq!(stderr, same);
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm", "--locked"]);
    assert_eq!(stderr, same.replace("keep it:", "keep it, without --locked:"));

    scratch.write("piimg.lock", lock("piimg/minimal", &format!("sha256:{}", "a".repeat(64)), &MINIMAL_SCOPES[..1]));
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    contains(&stderr, &["\nthe grants in the lock file are for another build of it and do not count\n  hint: to see"]);

    scratch.write("piimg.lock", lock("other/plugin", &format!("sha256:{}", "a".repeat(64)), &MINIMAL_SCOPES));
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    assert!(!stderr.contains("another build"), "{stderr}");
}

#[test]
fn the_hinted_command_is_enough() {
    let scratch = with_guests(&["minimal"]);
    let stderr = fails(&scratch, GRANT, &["plan", "--plugin", "minimal.wasm"]);
    contains(&stderr, &["piimg grant 'minimal.wasm'\n"]);
    grants(&scratch, &["grant", "--yes", "minimal.wasm"]);
    fine(&scratch, &["plan", "--plugin", "minimal.wasm"]);
}

#[test]
fn the_lock_is_beside_the_recipe() {
    let scratch = with_guests(&["minimal"]);
    let digest = digest(&scratch, "minimal.wasm");
    std::fs::create_dir(scratch.path("robot")).unwrap();
    std::fs::rename(scratch.path("minimal.wasm"), scratch.path("robot/minimal.wasm")).unwrap();
    scratch.write("robot/piimg.toml", "plugins = [\"minimal.wasm\"]\n");
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

// piimg grant.

/// The lock file, which must be there.
#[track_caller]
fn locked(scratch: &Scratch) -> String {
    std::fs::read_to_string(scratch.path("piimg.lock")).unwrap()
}

/// What a run said that may write `piimg.lock`, must be fine and has no data.
#[track_caller]
fn grants(scratch: &Scratch, args: &[&str]) -> String {
    let ran = scratch.run_to_write(args);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(0), ""), "{args:?}: {}", ran.stderr);
    ran.stderr
}

/// The beginning of a digest, as a question shows it.
fn short(digest: &str) -> &str {
    &digest[..19]
}

#[test]
fn without_a_terminal_nothing_is_granted() {
    let scratch = with_guests(&["asks"]);
    let digest = digest(&scratch, "asks.wasm");
    let expected = format!(
        "\
error: there is no terminal to ask at:
the plugin `test/asks` 1.0.0 (asks.wasm, {}…) asks for:
  fs:write:/etc/asks  (it says: a note for all)
  fs:write:/home/{{params.user}}/.asks → fs:write:/home/ubuntu/.asks  (it says: a note for the user)
Grant these 2?
`test/asks` can do without, but would use:
  exec:id  (it says: tells who it is)
Grant this too?
  hint: to agree to all of it: piimg grant --yes 'asks.wasm'
",
        short(&digest)
    );
    assert_eq!(fails(&scratch, GRANT, &["grant", "asks.wasm"]), expected);
}

#[test]
fn yes_writes_the_lock_and_the_plan_takes_it() {
    let scratch = with_guests(&["asks"]);
    let digest = digest(&scratch, "asks.wasm");
    fails(&scratch, GRANT, &["plan", "--locked", "--plugin", "asks.wasm"]);
    let said = grants(&scratch, &["grant", "--yes", "asks.wasm"]);
    assert!(said.starts_with("the plugin `test/asks` 1.0.0 (asks.wasm, "), "{said}");
    assert!(said.ends_with("\n`test/asks` has 3 capabilities in `piimg.lock`\n"), "{said}");
    let list = "[\n  \"fs:write:/etc/asks\",\n  \"fs:write:/home/{params.user}/.asks\",\n  \"exec:id\",\n]";
    let expected = format!(
        "# What plugins may do, by the digest of each. `piimg grant` writes it; it may be edited.\nversion = 1\n\n\
         [[plugin]]\nid = \"test/asks\"\ndigest = \"{digest}\"\nrequest = {list}\ngrant = {list}\n"
    );
    assert_eq!(locked(&scratch), expected);
    let text = fine(&scratch, &["plan", "--plugin", "asks.wasm"]);
    assert_eq!(text, fine(&scratch, &["plan", "--locked", "--plugin", "asks.wasm"]));
    contains(
        &text,
        &[
            "  fs:write:/etc/asks  [granted]  it says: a note for all\n",
            "  fs:write:/home/{params.user}/.asks → fs:write:/home/ubuntu/.asks  [granted]  it says: a note for the user\n",
            "  exec:id  [granted]  it says: tells who it is\n",
        ],
    );
    assert_eq!(fine(&scratch, &["-q", "plan", "--plugin", "asks.wasm"]), text);
    // All is there: nothing is asked, nothing written.
    let ran = scratch.run(["grant", "asks.wasm"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (Some(0), "`test/asks` has all of it already, in `piimg.lock`\n"));
}

#[test]
fn the_plan_says_which_optional_capabilities_are_not_granted() {
    let scratch = with_guests(&["denied"]);
    let plan = ["plan", "--plugin", "denied.wasm", "--grant", "fs:write:/etc/allowed"];
    contains(&fine(&scratch, &plan), &["  fs:write:/etc/optional  [optional, not granted]  it says: a file it can do"]);
    let document = json(&scratch, &[&plan[..], &["--json"]].concat());
    let states: Vec<&Value> =
        document["plugins"][0]["requests"].as_array().unwrap().iter().map(|request| &request["state"]).collect();
    assert_eq!(states, ["granted", "missing"]);
}

#[test]
fn only_what_was_typed_is_granted() {
    let scratch = with_guests(&["asks", "minimal"]);
    for (scope, message) in [
        ("fs:write:/etc/**", "error: no plugin asks for `fs:write:/etc/**`, or for more than it\n"),
        ("exec:id root", "error: no plugin asks for `exec:id root`, or for more than it\n"),
        ("net:x", "error: cannot use `--only`\n  caused by: `net:x` is no capability"),
    ] {
        let stderr = fails(&scratch, USAGE, &["grant", "--yes", "asks.wasm", "--only", scope]);
        assert!(stderr.starts_with(message), "{stderr}");
    }
    let only = ["--only", "exec:id", "--only", "fs:write:/home/ubuntu/.asks"];
    let said = grants(&scratch, &[&["grant", "--yes", "asks.wasm"], &only[..]].concat());
    contains(
        &said,
        &[
            "  exec:id  (it says: tells who it is)\n  fs:write:/home/ubuntu/.asks  (it says: a note for the user)\n",
            "warning: `test/asks` says that it also needs `fs:write:/etc/asks`, `fs:write:/home/{params.user}/.asks`: ",
        ],
    );
    assert!(locked(&scratch).ends_with("grant = [\n  \"exec:id\",\n  \"fs:write:/home/ubuntu/.asks\",\n]\n"));
    fails(&scratch, GRANT, &["plan", "--plugin", "asks.wasm"]);
    // The rest, of one plugin and of another at once.
    let said = grants(&scratch, &["grant", "--yes", "asks.wasm", "minimal.wasm"]);
    assert!(said.starts_with("the plugin `test/asks` 1.0.0 (") && said.contains(") was not granted:\n"), "{said}");
    assert!(!said.contains("exec:id"), "{said}");
    fine(&scratch, &["plan", "--locked", "--plugin", "asks.wasm", "--plugin", "minimal.wasm"]);
}

#[test]
fn another_build_that_asks_for_the_same_is_one_line() {
    let scratch = with_guests(&["asks"]);
    grants(&scratch, &["grant", "--yes", "asks.wasm"]);
    let before = locked(&scratch);
    rebuilt(&scratch, "asks.wasm");
    let refused = fails(&scratch, GRANT, &["plan", "--plugin", "asks.wasm"]);
    contains(
        &refused,
        &["error: the plugin `test/asks` is another build than the one in the lock file, which asks for nothing new\n"],
    );
    let digest = digest(&scratch, "asks.wasm");
    let line = format!(
        "`test/asks` 1.0.0 (asks.wasm, {}…) is another build, which asks for nothing new. \
         Grant it the 3 that the other had and it asks for?\n",
        short(&digest)
    );
    let stderr = fails(&scratch, GRANT, &["grant", "asks.wasm"]);
    assert!(stderr.starts_with(&format!("error: there is no terminal to ask at:\n{line}  hint: ")), "{stderr}");
    grants(&scratch, &["grant", "--yes", "asks.wasm"]);
    let old = before.split('"').find(|text| text.starts_with("sha256:")).unwrap();
    assert_eq!(locked(&scratch), before.replace(old, &digest), "nothing but the digest has changed");
    fine(&scratch, &["plan", "--locked", "--plugin", "asks.wasm"]);
}

#[test]
fn of_a_wider_build_only_the_difference_is_shown() {
    let scratch = with_guests(&["asks", "asks-more"]);
    grants(&scratch, &["grant", "--yes", "asks.wasm"]);
    let digest = digest(&scratch, "asks-more.wasm");
    let expected = format!(
        "\
error: there is no terminal to ask at:
the plugin `test/asks` 2.0.0 (asks-more.wasm, {}…) is another build than the one in the lock file, and asks for more:
  fs:write:/etc/asks.d/**  (it says: more notes)
it asks no longer for:
  fs:write:/home/{{params.user}}/.asks
Grant this, beside 2 that the other had?
  hint: to agree to all of it: piimg grant --yes 'asks-more.wasm'
",
        short(&digest)
    );
    assert_eq!(fails(&scratch, GRANT, &["grant", "asks-more.wasm"]), expected);
    grants(&scratch, &["grant", "--yes", "asks-more.wasm"]);
    let lock = locked(&scratch);
    assert!(lock.contains(&digest) && lock.matches("[[plugin]]").count() == 1 && !lock.contains("params"), "{lock}");
    assert!(
        lock.ends_with("grant = [\n  \"fs:write:/etc/asks\",\n  \"exec:id\",\n  \"fs:write:/etc/asks.d/**\",\n]\n")
    );
}

#[test]
fn what_others_were_granted_stays_as_it_was_written() {
    let scratch = with_guests(&["asks"]);
    let others = "# our own\nversion = 1 # the only one\n\n# from the shop\n[[plugin]]\nid = \"other/plugin\"\n\
                  digest = \"sha256:0000000000000000000000000000000000000000000000000000000000000000\"\n\
                  grant = [\"exec:sh **\"] # trusted\n";
    scratch.write("piimg.lock", others);
    grants(&scratch, &["grant", "--yes", "asks.wasm"]);
    let lock = locked(&scratch);
    assert!(lock.starts_with(&format!("{others}\n[[plugin]]\nid = \"test/asks\"\n")), "{lock}");
    let said = grants(&scratch, &["grant", "--revoke", "asks.wasm"]);
    assert_eq!(
        said,
        "`test/asks` lost 3 grants in `piimg.lock`\n  fs:write:/etc/asks\n  fs:write:/home/{params.user}/.asks\n  exec:id\n"
    );
    assert_eq!(locked(&scratch), others);
}

#[test]
fn grants_are_revoked_by_file_or_id_whole_or_one_by_one() {
    let scratch = with_guests(&["asks"]);
    let revoke = |args: &[&str]| grants(&scratch, &[&["grant", "--revoke"], args].concat());
    assert_eq!(revoke(&["test/asks"]), "`test/asks` has nothing of that in `piimg.lock`\n");
    assert!(!scratch.path("piimg.lock").exists());
    grants(&scratch, &["grant", "--yes", "asks.wasm"]);
    assert_eq!(revoke(&["test/asks", "--only", "exec:sh"]), "`test/asks` has nothing of that in `piimg.lock`\n");
    assert_eq!(revoke(&["test/asks", "--only", "exec:id"]), "`test/asks` lost 1 grant in `piimg.lock`\n  exec:id\n");
    contains(&fine(&scratch, &["plan", "--plugin", "asks.wasm"]), &["exec:id  [optional, not granted]"]);
    // The file of the plugin may be another build by now, or gone.
    rebuilt(&scratch, "asks.wasm");
    contains(&revoke(&["asks.wasm"]), &["`test/asks` lost 2 grants in `piimg.lock`\n"]);
    assert!(!locked(&scratch).contains("[[plugin]]"), "{}", locked(&scratch));
}

#[test]
fn the_lock_is_written_beside_the_recipe_whose_plugins_are_meant() {
    let scratch = with_guests(&["asks"]);
    contains(&fails(&scratch, USAGE, &["grant", "--yes"]), &["error: there is no plugin to grant anything to\n"]);
    std::fs::create_dir(scratch.path("robot")).unwrap();
    std::fs::rename(scratch.path("asks.wasm"), scratch.path("robot/asks.wasm")).unwrap();
    scratch.write("robot/piimg.toml", "plugins = [\"asks.wasm\"]\n[params.\"test/asks\"]\nuser = \"ann\"\n");
    let refused = fails(&scratch, GRANT, &["plan", "--recipe", "robot/piimg.toml"]);
    contains(&refused, &["keep it: piimg grant --recipe 'robot/piimg.toml' 'robot/asks.wasm'\n"]);
    let said = grants(&scratch, &["grant", "--yes", "--recipe", "robot/piimg.toml"]);
    contains(&said, &["fs:write:/home/{params.user}/.asks → fs:write:/home/ann/.asks", "in `robot/piimg.lock`\n"]);
    assert!(scratch.path("robot/piimg.lock").exists() && !scratch.path("piimg.lock").exists());
    contains(&fine(&scratch, &["plan", "--recipe", "robot/piimg.toml"]), &["→ fs:write:/home/ann/.asks  [granted]"]);
}

#[test]
fn locked_takes_no_other_grant() {
    let scratch = with_guests(&["asks", "panics"]);
    for flag in [&["--grant", "exec:id"][..], &["--grant-requested"]] {
        let stderr = fails(&scratch, USAGE, &[&["plan", "--locked"], flag].concat());
        assert!(stderr.starts_with("error: the argument '--locked' cannot be used with '--grant"), "{stderr}");
    }
    // Not even a plugin that asks for nothing, for nobody looked at this build of it.
    let stderr = fails(&scratch, GRANT, &["plan", "--locked", "--plugin", "panics.wasm"]);
    assert_eq!(
        stderr,
        "error: the plugin `test/panics` is not in the lock file, by its digest\n  hint: to see, grant and keep it, without --locked: piimg grant 'panics.wasm'\n"
    );
    let said = grants(&scratch, &["grant", "--yes", "panics.wasm"]);
    contains(&said, &["asks for nothing that it could not do without\n", "`test/panics` has 0 capabilities in"]);
    fine(&scratch, &["plan", "--locked", "--plugin", "panics.wasm"]);
    let stderr = fails(&scratch, GRANT, &["plan", "--locked", "--plugin", "panics.wasm", "--plugin", "asks.wasm"]);
    contains(&stderr, &["error: the plugin `test/asks` is not in the lock file"]);
}

#[test]
fn a_parameter_cannot_widen_a_scope() {
    let scratch = with_guests(&["asks"]);
    grants(&scratch, &["grant", "--yes", "asks.wasm"]);
    for (value, cause) in [
        ("../etc", "it has `/` in it, with which another segment begins"),
        ("..", "it is no name"),
        ("", "it is empty"),
        ("*", "it has the wildcard `*` in it"),
        ("{params.user}", "it has `{` or `}` in it, which are for parameters"),
        ("a\u{202e}", "it has control or invisible characters in it"),
    ] {
        let param = format!("test/asks:user={value}");
        let shown = value.replace('\u{202e}', "\\u{202e}");
        let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "asks.wasm", "--param", &param]);
        assert_eq!(
            stderr,
            format!(
                "error: the plugin `test/asks` cannot ask for `fs:write:/home/{{params.user}}/.asks`\n  caused by: the value \
                 `{shown}` of the parameter `user` cannot stand in `fs:write:/home/{{params.user}}/.asks`: {cause}\n"
            )
        );
        let stderr = fails(&scratch, USAGE, &["grant", "asks.wasm", "--param", &param]);
        contains(&stderr, &["error: cannot ask for a grant\n", cause]);
    }
    // The lock holds the text before that: another user needs no other grant.
    let ann = ["plan", "--plugin", "asks.wasm", "--param", "test/asks:user=ann"];
    contains(&fine(&scratch, &ann), &["→ fs:write:/home/ann/.asks  [granted]"]);
}

#[test]
fn a_lock_that_cannot_be_written_or_read_is_named() {
    let scratch = with_guests(&["asks"]);
    scratch.write("piimg.lock", "version = 2\n");
    let stderr = fails(&scratch, USAGE, &["grant", "--yes", "asks.wasm"]);
    contains(&stderr, &["error: cannot use `piimg.lock`\n  caused by: version 2 is not known"]);
    std::fs::remove_file(scratch.path("piimg.lock")).unwrap();
    std::fs::create_dir(scratch.path("piimg.lock")).unwrap();
    let stderr = fails(&scratch, USAGE, &["grant", "--yes", "asks.wasm"]);
    contains(&stderr, &["error: cannot read `piimg.lock`\n  caused by: it is no regular file"]);
}
