//! What recipes for CI run beside piimg itself.

use std::path::Path;
use std::process::Output;

use super::*;

/// Runs a program in the scratch directory, with `piimg` on the path.
fn run(scratch: &Scratch, program: &str, arguments: &[&str]) -> Output {
    let piimg = piimg_tests::piimg();
    let path = format!("{}:{}", piimg.parent().unwrap().display(), std::env::var("PATH").unwrap());
    scratch.command(program).env("PATH", path).args(arguments).output().unwrap()
}

fn git(scratch: &Scratch, arguments: &[&str]) {
    let own = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"];
    let output = run(scratch, "git", &[&own[..], arguments].concat());
    assert!(output.status.success(), "{arguments:?}: {output:?}");
}

/// Keeps all files of the scratch directory in a commit.
fn commit(scratch: &Scratch) {
    git(scratch, &["add", "--all"]);
    git(scratch, &["commit", "--quiet", "--message", "as it is"]);
}

#[test]
fn a_change_with_which_a_plugin_could_do_more_is_refused() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/ci/audit-against");
    let scratch = Scratch::new();
    scratch.guest("asks-more");
    std::fs::rename(scratch.path("asks-more.wasm"), scratch.path("more.wasm")).unwrap();
    scratch.guest("asks");
    std::fs::rename(scratch.path("asks.wasm"), scratch.path("plugin.wasm")).unwrap();
    let audit = |plugins: &[&str]| {
        let output = run(&scratch, script.to_str().unwrap(), &[&["main"][..], plugins].concat());
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status.code(), text(&output.stdout), text(&output.stderr))
    };
    git(&scratch, &["init", "--quiet"]);
    std::fs::rename(scratch.path("more.wasm"), scratch.path(".git/more.wasm")).unwrap();
    commit(&scratch);

    let (code, said, _) = audit(&["plugin.wasm"]);
    assert_eq!(code, Some(0), "{said}");
    contains(&said, &["\n  it is the same code\n"]);

    std::fs::copy(scratch.path(".git/more.wasm"), scratch.path("plugin.wasm")).unwrap();
    let (code, said, _) = audit(&["plugin.wasm"]);
    assert_eq!(code, Some(1), "{said}");
    contains(&said, &["\n  + asks for fs:write:/etc/asks.d/**  (low)\n"]);

    // One that is new is shown; one of two that could do more is enough.
    std::fs::copy(scratch.path("plugin.wasm"), scratch.path("new.wasm")).unwrap();
    let (code, said, complaint) = audit(&["new.wasm"]);
    assert_eq!(code, Some(0), "{complaint}");
    contains(&complaint, &["new.wasm is not in main: this is all that it can do\n"]);
    contains(&said, &["\nasks for the following"]);
    assert_eq!(audit(&["plugin.wasm", "new.wasm"]).0, Some(1));

    let (code, _, complaint) = audit(&["no.wasm"]);
    assert_eq!(code, Some(USAGE), "{complaint}");
    contains(&complaint, &["no.wasm"]);
    // Nothing of the other commit stays.
    let trees = run(&scratch, "git", &["worktree", "list"]);
    assert_eq!(String::from_utf8_lossy(&trees.stdout).lines().count(), 1);
}
