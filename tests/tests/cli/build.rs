//! `piimg build`, as far as it comes without a namespace.

use super::*;

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
