//! `piimg build`, as far as it comes without a namespace.

use super::*;

#[test]
fn events_that_cannot_be_written_are_usage() {
    let scratch = Scratch::new();
    let stderr = fails(&scratch, USAGE, &["build", "--json-events", "none/events"]);
    assert!(
        stderr.starts_with("error: cannot create the file of events `none/events`\n  caused by: No such file"),
        "{stderr}"
    );
    contains(&fine(&scratch, &["build", "--help"]), &["--json-events <FILE>"]);
}

#[test]
fn events_have_the_error_and_the_end_of_a_build_that_cannot_be() {
    let scratch = Scratch::new();
    let ran = scratch.run_to_write(["build", "--json-events", "events", "--release", "none"]);
    assert_eq!(ran.code, Some(USAGE), "{ran:?}");
    let text = std::fs::read_to_string(scratch.path("events")).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [error, ends] = &lines[..] else { panic!("{text}") };
    assert_eq!(error["event"], "error");
    assert!(error["messages"][0].as_str().unwrap().contains("`none`"), "{text}");
    assert_eq!((&ends["event"], &ends["code"]), (&"ends".into(), &USAGE.into()));
}
