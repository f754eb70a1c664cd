//! `piimg audit` of plugins; with an image and a log it is in the system tests.

use super::*;

#[test]
fn an_audit_says_what_a_plugin_can_and_cannot_do() {
    let scratch = with_guests(&["asks"]);
    let text = fine(&scratch, &["audit", "asks.wasm"]);
    assert!(text.starts_with("test/asks 1.0.0: Asks\nsha256:"), "{text}");
    contains(
        &text,
        &[
            // The verdict comes before what it rests on.
            "\n\nrisk      high: it decides what runs on the Pi, or who gets in\n  high    ",
            "\ncannot    run commands, ",
            "\nunused    exec:id\n",
            "\nasks for the following, for these reasons in its author's words\n",
            "\n  write (fs:write)\n    /etc/asks\n      a note for all\n    /home/{params.user}/.asks\n",
            // It calls no function that runs a command, so that what it asks for is of no use.
            "\n  run (exec)\n    id\n      tells who it is; it can do without; it calls nothing that could use it\n",
        ],
    );
    let cannot =
        text.split("\ncannot    ").nth(1).unwrap().split("\nunused").next().unwrap().replace("\n         ", "");
    for claim in ["run commands", "install packages", "reach the network", "create users", "read files of the image"] {
        assert!(cannot.contains(claim), "{claim:?} is not in {cannot:?}");
    }
    assert!(!cannot.contains("write files"), "{cannot}");
    assert!(text.lines().all(|line| line.chars().count() <= 80), "{text}");
}

#[test]
fn what_a_new_version_could_do_more_is_the_difference() {
    let scratch = with_guests(&["asks", "asks-more"]);
    let text = fine(&scratch, &["audit", "asks-more.wasm", "asks.wasm"]);
    contains(
        &text,
        &["\nchanged   from test/asks 1.0.0 to test/asks 2.0.0\n  + asks for fs:write:/etc/asks.d/**  (low)\n  \
           - asked for fs:write:/home/{params.user}/.asks\n"],
    );
    let code = |args: &[&str]| scratch.run(args).code;
    assert_eq!(code(&["audit", "asks-more.wasm", "asks.wasm", "--fail-on-wider"]), Some(1));
    assert_eq!(code(&["audit", "asks.wasm", "asks.wasm", "--fail-on-wider"]), Some(0));
    contains(&fine(&scratch, &["audit", "asks.wasm", "asks.wasm"]), &["\n  it is the same code\n"]);
}

#[test]
fn another_code_that_asks_for_the_same_is_not_the_same() {
    let scratch = with_guests(&["asks"]);
    std::fs::copy(scratch.path("asks.wasm"), scratch.path("old.wasm")).unwrap();
    rebuilt(&scratch, "asks.wasm");
    let text = fine(&scratch, &["audit", "asks.wasm", "old.wasm"]);
    contains(&text.replace("\n          ", " "), &["\n  asks for the same; its code differs (--replay LOG "]);
    // Against what was granted to the old one, where that is known.
    let old = digest(&scratch, "old.wasm");
    scratch.write("piimg.lock", lock("test/asks", &old, &["fs:write:/etc/asks"]));
    let text = fine(&scratch, &["audit", "asks.wasm"]).replace("\n          ", " ");
    contains(
        &text,
        &[
            "\ngranted   to another build of it, in `piimg.lock`; it now asks for `fs:write:/home/{params.user}/.asks`, `exec:id`\n",
        ],
    );
    contains(&fine(&scratch, &["audit", "old.wasm"]), &["\ngranted   "]);
}

/// A log of a build with one call, whose answer was that it was done.
fn log(digest: &str, path: &str) -> String {
    let line = |value: Value| format!("{value}\n");
    let image = serde_json::json!({ "architecture": "arm64", "distribution": "debian", "release": "bookworm", "hostname": "h",
        "flavour": "f", "epoch": 1 });
    line(serde_json::json!({ "event": "begin", "log_version": 2, "plugin": "piimg/minimal", "plugin_version": "1.0.0",
        "digest": digest, "image": image, "params": {}, "granted": [], "fuel": 1_000_000_000_u64, "memory": 268_435_456 }))
        + &line(serde_json::json!({ "event": "call", "number": 1, "plugin": "piimg/minimal", "call": "fs.write",
            "args": { "path": path, "data": { "bytes": 1, "sha256": "00" }, "attrs": null }, "reply": "Done",
            "microseconds": 1 }))
}

#[test]
fn what_another_code_does_otherwise_is_shown_from_the_log_of_the_old_one() {
    let scratch = with_guests(&["minimal", "asks"]);
    let text = log(&digest(&scratch, "asks.wasm"), "/etc/old");
    scratch.write("old.jsonl", &text);
    let ran = scratch.run(["audit", "minimal.wasm", "asks.wasm", "--replay", "old.jsonl"]);
    assert_eq!(ran.code, Some(1), "{}", ran.stderr);
    assert!(
        ran.stdout.starts_with("not the same, after 0 calls: call 1 was fs.write "),
        "{}{}",
        ran.stdout,
        ran.stderr
    );
    let stderr = fails(&scratch, USAGE, &["audit", "asks.wasm", "minimal.wasm", "--replay", "old.jsonl"]);
    contains(&stderr, &["the audit log has no run of this build of `piimg/minimal`"]);
}

#[test]
fn an_audit_fails_from_the_rank_that_is_asked_for() {
    let scratch = with_guests(&["minimal"]);
    for (risk, expected) in [("low", 1), ("high", 1), ("critical", 0)] {
        assert_eq!(scratch.run(["audit", "minimal.wasm", "--fail-on", risk]).code, Some(expected), "{risk}");
    }
    let ran = scratch.run(["audit", "minimal.wasm", "--fail-on", "some"]);
    assert_eq!(ran.code, Some(USAGE));
    assert!(ran.stderr.contains("there are low, medium, high and critical"), "{}", ran.stderr);
}

/// The names that the schema requires of an object are all that it has.
#[track_caller]
fn has_what_the_schema_says(value: &Value, schema: &Value) {
    let required = schema["required"].as_array().unwrap().iter().map(|name| name.as_str().unwrap());
    let required: std::collections::BTreeSet<&str> = required.collect();
    assert_eq!(
        value.as_object().unwrap().keys().map(String::as_str).collect::<std::collections::BTreeSet<_>>(),
        required
    );
}

#[test]
fn the_json_form_has_what_its_schema_says() {
    let scratch = with_guests(&["asks", "minimal"]);
    let found = json(&scratch, &["audit", "minimal.wasm", "asks.wasm", "--json"]);
    let schema: Value = serde_json::from_str(include_str!("../../../docs/audit.schema.json")).unwrap();
    has_what_the_schema_says(&found, &schema);
    let audit = &schema["properties"]["audit"];
    has_what_the_schema_says(&found["audit"], audit);
    has_what_the_schema_says(&found["audit"]["rows"][0], &audit["properties"]["rows"]["items"]);
    has_what_the_schema_says(&found["audit"]["findings"][0], &audit["properties"]["findings"]["items"]);
    has_what_the_schema_says(&found["difference"], &schema["properties"]["difference"]["oneOf"][1]);
    assert_eq!(found["audit"]["rows"][0]["possible"], "yes");
}

#[test]
fn the_readme_of_each_plugin_shows_its_audit() {
    let names = ["access-point", "base", "breadcrumb", "cloud-init", "desktop", "hardening", "ros"];
    let scratch = with_guests(&names);
    // Without the digest: another compiler makes other code.
    let without_digest =
        |text: &str| text.lines().filter(|line| !line.starts_with("sha256:")).collect::<Vec<_>>().join("\n");
    for name in names {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../plugins").join(name).join("README.md");
        let readme = std::fs::read_to_string(&path).unwrap();
        let shown = readme.split("$ piimg audit ").nth(1).unwrap().split("```").next().unwrap();
        let (_, shown) = shown.split_once('\n').unwrap();
        let told = fine(&scratch, &["audit", &format!("{name}.wasm")]);
        assert_eq!(without_digest(shown), without_digest(&told), "{}", path.display());
    }
}
