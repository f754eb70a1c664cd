//! A shell in the image, which has a terminal whoever starts it.

use std::io::Write as _;
use std::process::Stdio;

use super::*;

/// Runs `piimg shell` with these arguments, and types `typed`.
fn shell(dir: &Path, arguments: &[&str], typed: &str) -> Output {
    let mut command = Command::new(piimg());
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", "1750000000").env("TERM", "vt100").arg("shell");
    command.args(["--release", "bookworm", "--store"]).arg(system_store()).args(arguments);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

#[test]
fn a_shell_is_in_the_image_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let script = "tty -s && echo a terminal; echo $TERM; uname -n; id -u; echo x > /etc/new; rm /etc/issue.net; \
                  mkdir /opt/new; touch /opt/new/file; stty size";
    let output = shell(dir.path(), &["--", "sh", "-c", script], "");
    piimg_tests::expect_success(&output);
    let said = text(&output.stdout).replace('\r', "");
    for expected in [
        "a terminal\nvt100\nimage\n0\n",
        "\n/etc/issue.net  removed\n",
        "\n/etc/new  added\n",
        "\n/opt/new/  added\n",
        "\n/opt/new/file  added\n",
    ] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
    assert!(!said.contains("/root"), "{said}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0, "an image was made");

    // What is typed gets there, to its end; a shell's status is not that of piimg.
    let output = shell(dir.path(), &[], "test -e /etc/new || echo it is $((6 * 7))\nfalse\n");
    piimg_tests::expect_success(&output);
    let said = text(&output.stdout);
    assert!(said.contains("it is 42\r\n"), "{said}");
    assert!(text(&output.stderr).contains("nothing was changed"), "{said}{}", text(&output.stderr));

    let output = shell(dir.path(), &["--", "sh", "-c", "cat; exit 3"], "typed\n");
    assert_eq!(output.status.code(), Some(1), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("typed\r\ntyped\r\n"), "{}", text(&output.stdout));
    let expected = "error: `sh -c cat; exit 3` in the image ended with status 3\n";
    assert!(text(&output.stderr).contains(expected), "{}", text(&output.stderr));
    let output = shell(dir.path(), &["--", "no-such-program"], "");
    assert_eq!(output.status.code(), Some(3), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("the image has no program `no-such-program`"), "{}", text(&output.stdout));
}

#[test]
fn nobody_is_waited_for_where_a_plugin_fails_and_nobody_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let output = build_with("runs", dir.path(), 1_750_000_000, &["--shell-on-failure"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("error: --shell-on-failure needs a terminal"), "{}", text(&output.stderr));
}

#[test]
fn what_was_changed_becomes_a_plugin_that_passes_its_test() {
    let dir = tempfile::tempdir().unwrap();
    let script = "printf 'a\\nb\\n' > /etc/new; head -c 3000 /dev/zero > /opt/blob; chmod 755 /opt/blob; mkdir /opt/d; \
                  ln -s /etc/new /opt/d/l; rm /etc/issue.net; chown ubuntu:ubuntu /opt/d; rm -r /etc/apt; chmod 600 /etc/hosts; \
                  ln -sfn x /etc/mtab; mkfifo /opt/pipe; touch '/opt/a*b' '/opt/\"quoted\"'";
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let draft = ["--draft", "field-draft", "--sdk", top.to_str().unwrap()];
    let output = shell(dir.path(), &[&draft[..], &["--", "sh", "-c", script]].concat(), "");
    piimg_tests::expect_success(&output);
    let place = dir.path().join("field-draft");
    let source = std::fs::read_to_string(place.join("src/lib.rs")).unwrap();
    for expected in [
        ".capability(\"fs:write:/etc/apt/**\", \"was removed\")",
        ".capability(\"fs:write:/etc/new\", \"was made\")",
        "fs::remove_all(\"/etc/apt\")?;",
        "fs::write(\"/etc/new\", \"a\\nb\\n\").apply()?;",
        "fs::write(\"/opt/blob\", include_bytes!(\"../files/1-blob\").as_slice()).mode(0o755).apply()?;",
        "fs::create_dir_all(\"/opt/d\").owner(\"ubuntu\", \"ubuntu\").apply()?;",
        "fs::symlink(\"/opt/d/l\", \"/etc/new\")?;",
        "// `/opt/pipe` was changed, and nothing is done here: it is a device, a pipe or a socket.",
        "// `/opt/a*b` was changed, and nothing is done here: no capability can name it.",
    ] {
        assert!(source.contains(expected), "{expected} is missing:\n{source}");
    }
    // Offline, with the versions and what was compiled of this repository.
    std::fs::copy(top.join("Cargo.lock"), place.join("Cargo.lock")).unwrap();
    let mut test = Command::new(piimg());
    test.current_dir(&place).args(["plugin", "test"]).env("CARGO_NET_OFFLINE", "true").env("PIIMG", piimg());
    let output = test.env("CARGO_TARGET_DIR", piimg_tests::target().join("author")).output().unwrap();
    assert!(output.status.success(), "{}\n{}\n{source}", text(&output.stdout), text(&output.stderr));

    let output = shell(dir.path(), &[&draft[..], &["--", "true"]].concat(), "");
    assert_eq!(output.status.code(), Some(2), "a draft is not written over another one");
    assert!(text(&output.stderr).contains("the directory has files in it"), "{}", text(&output.stderr));
}

/// Has `script` run a command line on a terminal, and types `typed`.
fn on_a_terminal(dir: &Path, line: &str, typed: &str) -> (Option<i32>, String) {
    let mut command = Command::new("script");
    command.current_dir(dir).args(["--quiet", "--echo", "never", "--return", "--command", line, "/dev/null"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(typed.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    (output.status.code(), text(&output.stdout).replace('\r', ""))
}

#[test]
fn a_shell_opens_where_a_plugin_failed_or_did_what_it_may_not() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!("--param 'test/runs:script=echo made > /opt/made # {}'", std::process::id());
    for (plugin, arguments, file, content, status) in
        [("runs", script.as_str(), "/opt/made", "\nmade\n", 5), ("denied", "", "/etc/allowed", "\nfine\n", 4)]
    {
        let line = format!(
            "{} build --release bookworm --imagedir images --store {} --plugin {} --grant-requested {arguments} \
             --shell-on-failure",
            piimg().display(),
            system_store().display(),
            guest(plugin).display()
        );
        let (code, said) =
            on_a_terminal(dir.path(), &line, &format!("echo; cat {file}; echo it is $((6 * 7))\nexit\n"));
        assert_eq!(code, Some(status), "{said}");
        for expected in [&format!("The plugin test/{plugin} failed: "), content, "it is 42\n", "error: "] {
            assert!(said.replace("\u{1b}[0m", "").contains(expected), "{expected:?} is missing:\n{said}");
        }
    }
}

#[test]
fn what_was_changed_is_kept_in_an_image_if_it_is_wanted() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo x > /etc/new; echo by hand >> /etc/issue; rm /etc/issue.net";
    let output = shell(dir.path(), &["--keep", "--imagedir", "images", "--", "sh", "-c", script], "");
    piimg_tests::expect_success(&output);
    let said = text(&output.stdout).replace('\r', "");
    for expected in ["/etc/new  added\n", "/etc/issue  ", "/etc/issue.net  removed\n"] {
        assert!(said.contains(expected), "{expected:?} is missing:\n{said}");
    }
    let image = dir.path().join(said.lines().last().unwrap());
    let file = std::fs::File::open(&image).unwrap();
    let table = piimg::image::mbr::read(&file).unwrap();
    let root = Ext4Reader::open(&file, table.root().unwrap().1.start.to_bytes()).unwrap();
    assert_eq!(root.read_text("/etc/new").unwrap().unwrap(), "x\n");
    assert!(root.read_text("/etc/issue").unwrap().unwrap().ends_with("by hand\n"));
    assert_eq!(root.read_text("/etc/issue.net").unwrap(), None);
    for (path, packaged) in [("/etc/new", false), ("/etc/issue", true)] {
        let told = Command::new(piimg()).arg("blame").arg(&image).arg(path).output().unwrap();
        piimg_tests::expect_success(&told);
        let told = text(&told.stdout);
        assert!(told.contains("changed by hand, in `piimg shell --keep`"), "{told}");
        assert_eq!(told.contains("package base-files"), packaged, "{told}");
    }
    let verified = Command::new(piimg()).arg("verify").arg(&image).output().unwrap();
    piimg_tests::expect_success(&verified);

    // No other build has it.
    let output = shell(dir.path(), &["--", "test", "!", "-e", "/etc/new"], "");
    piimg_tests::expect_success(&output);
}

#[test]
fn a_failed_build_says_where_the_next_one_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let run = |script: &str| {
        let script = format!("test/runs:script={script} # {}", std::process::id());
        build_with("runs", dir.path(), 1_750_000_000, &["--param", &script])
    };
    let goes_on = "goes on where the last build failed, at `Run the plugin test/runs`";
    let output = run("echo made > /opt/made");
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    let kept = "hint: the layers before `Run the plugin test/runs` are kept: the next build goes on there";
    assert!(text(&output.stderr).contains(kept), "{}", text(&output.stderr));
    assert!(!text(&output.stderr).contains(goes_on), "{}", text(&output.stderr));
    for is_told in [true, false] {
        let (_, _, said) = built(dir.path(), &run("true"));
        assert_eq!(said.contains(goes_on), is_told, "{said}");
        assert!(said.contains("Bootstrap bookworm (arm64): unchanged"), "{said}");
    }
}
