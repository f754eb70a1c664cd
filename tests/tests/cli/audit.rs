//! `piimg audit` of plugins; with an image and a log it is in the system tests.

use super::*;

#[test]
fn an_audit_says_what_a_plugin_can_and_cannot_do() {
    let scratch = with_guests(&["asks"]);
    let text = fine(&scratch, &["audit", "asks.wasm"]);
    contains(
        &text,
        &[
            "test/asks 1.0.0: Asks\nsha256:",
            "DECLARED                                          POSSIBLE  USED      CHANGED\n",
            "fs:write:/etc/asks                                yes       ?         ?\n    its author says: a note for all\n",
            "fs:write:/home/{params.user}/.asks                yes       ?         ?\n",
            // It calls no function that runs a command, so that what it asks for is of no use.
            "exec:id                                           never     ?         ?\n    can do without; its author says: tells who it is\n",
            "\nrisk    high\n",
            "\nunused  exec:id\n",
        ],
    );
    let cannot = text.split("\ncannot  ").nth(1).unwrap().split("\nunused").next().unwrap().replace("\n       ", "");
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
    assert!(
        text.starts_with(
            "from test/asks 1.0.0 to test/asks 2.0.0\n\
             + asks for  fs:write:/etc/asks.d/**\n\
             - asks for  fs:write:/home/{params.user}/.asks\n"
        ),
        "{text}"
    );
    let code = |args: &[&str]| scratch.run(args).code;
    assert_eq!(code(&["audit", "asks-more.wasm", "asks.wasm", "--fail-on-wider"]), Some(1));
    assert_eq!(code(&["audit", "asks.wasm", "asks.wasm", "--fail-on-wider"]), Some(0));
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
