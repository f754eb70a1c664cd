//! `--policy`: a ceiling that narrows what may be granted.

use super::*;

/// A scratch directory with `asks.wasm`, all of it granted, and a policy.
fn under(policy: &str) -> Scratch {
    let scratch = with_guests(&["asks"]);
    let ran = scratch.run_to_write(["grant", "--yes", "asks.wasm"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    scratch.write("policy.toml", policy);
    scratch
}

const PLAN: [&str; 5] = ["plan", "--plugin", "asks.wasm", "--policy", "policy.toml"];

#[test]
fn what_the_policy_does_not_allow_is_refused_whatever_is_granted() {
    let scratch = under("version = 1\nallow = [\"fs:write:/etc/**\", \"exec\"]\n");
    let expected = "\
error: the plugin `test/asks` needs capabilities that are not allowed here:
  fs:write:/home/{params.user}/.asks → fs:write:/home/ubuntu/.asks  [not in `policy.toml`]  (it says: a note for the user)
  hint: only a change of `policy.toml` could allow it
";
    assert_eq!(fails(&scratch, GRANT, &PLAN), expected);
    for more in [&["--grant", "fs:write:/**"][..], &["--grant-requested"], &["--locked"]] {
        assert_eq!(fails(&scratch, GRANT, &[&PLAN[..], more].concat()), expected);
    }
    assert_eq!(fails(&scratch, GRANT, &["build", "--plugin", "asks.wasm", "--policy", "policy.toml"]), expected);
    // It is what comes of the parameter that is bounded.
    scratch.write("policy.toml", "version = 1\nallow = [\"fs:write:/etc/**\", \"exec\", \"fs:write:/home/ann/**\"]\n");
    fails(&scratch, GRANT, &PLAN);
    fine(&scratch, &[&PLAN[..], &["--param", "test/asks:user=ann"]].concat());
}

#[test]
fn an_optional_capability_beyond_it_is_shown_and_not_given() {
    let scratch = under("version = 1\nallow = [\"fs:write\"]\n");
    contains(
        &fine(&scratch, &PLAN),
        &["  exec:id  [optional, not allowed by `policy.toml`]  it says: tells who it is\n"],
    );
    let document = json(&scratch, &[&PLAN[..], &["--json"]].concat());
    let requests = &document["plugins"][0]["requests"];
    assert_eq!(requests[2]["state"], serde_json::json!({ "forbidden": "policy.toml" }));
    assert_eq!(
        (&requests[1]["means"], &requests[1]["state"]),
        (&"fs:write:/home/ubuntu/.asks".into(), &"granted".into())
    );
}

#[test]
fn grants_beyond_it_are_neither_proposed_nor_written() {
    let scratch = with_guests(&["asks"]);
    scratch.write("policy.toml", "version = 1\nallow = [\"fs:write\"]\n");
    let ran = scratch.run_to_write(["grant", "--yes", "--policy", "policy.toml", "asks.wasm"]);
    assert_eq!(ran.code, Some(0), "{ran:?}");
    let note = "`policy.toml` does not allow `test/asks` what it can do without: exec:id  (it says: tells who it is)\n";
    assert!(ran.stderr.starts_with(note) && ran.stderr.ends_with("has 2 capabilities in `piimg.lock`\n"), "{ran:?}");
    scratch.write("policy.toml", "version = 1\nallow = [\"fs:write:/etc/**\"]\n");
    for more in [&["--yes"][..], &["--yes", "--only", "fs:write:/home/ubuntu/.asks"]] {
        let stderr = fails(&scratch, GRANT, &[&["grant", "--policy", "policy.toml", "asks.wasm"], more].concat());
        contains(&stderr, &["cannot be granted what is not allowed here:\n", "[not in `policy.toml`]"]);
    }
}

#[test]
fn a_plugin_may_have_more_by_id_and_digest() {
    let scratch = with_guests(&["asks"]);
    let digest = digest(&scratch, "asks.wasm");
    let plan = ["plan", "--grant-requested", "--plugin", "asks.wasm", "--policy", "policy.toml"];
    for (table, allowed) in [
        ("[plugin.\"test/asks\"]\nallow = [\"fs:write\", \"exec\"]".to_owned(), true),
        ("[plugin.\"test/other\"]\nallow = [\"fs:write\", \"exec\"]".to_owned(), false),
        (format!("[plugin.\"test/asks\"]\nallow = [\"fs:write\"]\ndigests = [\"{digest}\"]"), true),
        (format!("[plugin.\"test/asks\"]\nallow = [\"fs:write\"]\ndigests = [\"sha256:{}\"]", "0".repeat(64)), false),
    ] {
        scratch.write("policy.toml", format!("version = 1\nallow = []\n{table}\n"));
        let ran = scratch.run(plan);
        assert_eq!(ran.code, Some(if allowed { 0 } else { GRANT }), "{table}: {}", ran.stderr);
    }
}

#[test]
fn mistakes_in_the_policy_are_named_with_file_and_line() {
    let scratch = Scratch::new();
    for (text, line, cause) in [
        ("version = 1\nallow = []\ndeny = []\n", 3, "unknown field `deny`"),
        (
            "version = 1\nallow = [\n  \"exec\",\n  \"fs:write:etc\",\n]\n",
            4,
            "`fs:write:etc` is no capability: the path is not absolute",
        ),
        ("version = 3\nallow = []\n", 1, "version 3 is not known; this piimg reads version 1"),
        ("version = 1\n", 1, "missing field `allow`"),
        ("version = 1\nallow = [\"\u{1b}[2J\"]\n", 2, "TOML parse error"),
    ] {
        scratch.write("policy.toml", text);
        for command in [&["plan"][..], &["build"]] {
            let stderr = fails(&scratch, USAGE, &[command, &["--policy", "policy.toml"]].concat());
            let start =
                format!("error: cannot use `policy.toml`\n  caused by: TOML parse error at line {line}, column ");
            assert!(stderr.starts_with(&start) && stderr.contains(cause), "{text}: {stderr}");
        }
    }
    let stderr = fails(&scratch, USAGE, &["plan", "--policy", "none.toml"]);
    contains(&stderr, &["error: cannot read `none.toml`\n  caused by: No such file or directory"]);
}
