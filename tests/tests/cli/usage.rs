//! Help, mistakes on the command line, and how everything is printed.

use std::os::unix::ffi::OsStrExt as _;
use std::process::Stdio;

use piimg_tests::piimg;

use super::*;

#[test]
fn help_fits_and_lists_the_subcommands() {
    let scratch = Scratch::new();
    let help = fine(&scratch, &["--help"]);
    assert_eq!(help, fine(&scratch, &["-h"]));
    assert_eq!(help, fine(&scratch, &["help"]));
    for command in ["build", "plan", "grant", "plugin", "verify", "boot", "inspect"] {
        assert!(help.lines().any(|line| line.starts_with(&format!("  {command} "))), "{command}:\n{help}");
        let own = fine(&scratch, &[command, "--help"]);
        contains(&own, &[&format!("Usage: piimg {command} ")]);
        for line in help.lines().chain(own.lines()) {
            assert!(line.chars().count() <= 100, "{line:?} is too long");
        }
    }
    contains(&help, &["Exit codes: 0 done", "70 a bug in piimg."]);
    // The ways in which it starts itself are nobody's business.
    assert!(!help.contains("__"), "{help}");
}

#[test]
fn what_does_not_get_out_is_no_success() {
    let scratch = with_guests(&["denied"]);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    let output = scratch.command(piimg()).args(["inspect", "denied.wasm"]).stdout(full).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(HOST), "{said}");
    let reason = "error: cannot write to standard output\n  caused by: No space left on device";
    contains(&said, &[reason, "hint: is the disk full"]);
}

#[test]
fn a_service_without_a_path_finds_its_programs() {
    let scratch = Scratch::new();
    for path in [None, Some(""), Some(".")] {
        let mut command = scratch.command(piimg());
        command.args(["plan", "--release", "bookworm"]).env_remove("PATH");
        path.map(|path| command.env("PATH", path));
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{path:?}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn version_is_one_line() {
    let scratch = Scratch::new();
    let version = format!("piimg {}\n", env!("CARGO_PKG_VERSION"));
    assert_eq!(fine(&scratch, &["--version"]), version);
    assert_eq!(fine(&scratch, &["-V"]), version);
}

#[test]
fn mistakes_on_the_command_line_are_usage() {
    let scratch = Scratch::new();
    for (args, message) in [
        (&["--frob"][..], "error: unexpected argument '--frob' found\n"),
        (&["plan", "--frob"], "error: unexpected argument '--frob' found\n"),
        (&["frob"], "error: unrecognized subcommand 'frob'\n"),
        (&["inspect"], "error: the following required arguments were not provided:\n  <FILE>\n"),
        (&["inspect", "a", "b"], "error: unexpected argument 'b' found\n"),
        (&["plan", "-q", "-v"], "error: the argument '--quiet' cannot be used with '--verbose'\n"),
        (&["plan", "--rootfs-extra-space-mb", "x"], "error: invalid value 'x' for '--rootfs-extra-space-mb <MIB>'"),
        (&["plan", "--imagedir", ""], "error: a value is required for '--imagedir <DIR>' but none was supplied\n"),
        (&["plan", "--emulation", "no"], "error: invalid value 'no' for '--emulation <HOW>'\n"),
        (&["plan", "--recipe", "none.toml"], "error: cannot read `none.toml`\n  caused by: No such file"),
    ] {
        let stderr = fails(&scratch, USAGE, args);
        assert!(stderr.starts_with(message), "{args:?}: {stderr}");
    }
    // Nothing at all is answered with the help, which is then no data.
    let ran = scratch.run::<&str>([]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(USAGE), ""));
    contains(&ran.stderr, &["Usage: piimg [OPTIONS] <COMMAND>", "  plan "]);
}

#[test]
fn a_missing_file_is_named() {
    let scratch = Scratch::new();
    let stderr = fails(&scratch, USAGE, &["plan", "--plugin", "none.wasm"]);
    assert_eq!(
        stderr,
        "error: cannot read the plugin `none.wasm`\n  caused by: No such file or directory (os error 2)\n"
    );
    for command in ["inspect", "verify", "boot"] {
        let stderr = fails(&scratch, USAGE, &[command, "none.img"]);
        assert!(stderr.contains("`none.img`\n  caused by: No such file or directory (os error 2)\n"), "{stderr}");
    }
}

#[test]
fn quiet_keeps_quiet_about_no_error() {
    let scratch = with_guests(&["minimal"]);
    let plan = ["plan", "--plugin", "minimal.wasm"];
    let stderr = fails(&scratch, GRANT, &plan);
    for flag in ["-q", "--quiet"] {
        assert_eq!(fails(&scratch, GRANT, &[&plan[..], &[flag]].concat()), stderr);
    }
    for flag in ["-v", "--verbose"] {
        let said = scratch.run([&plan[..], &[flag]].concat()).stderr;
        let commands = said.strip_suffix(&stderr).unwrap_or_else(|| panic!("{said}"));
        assert!(
            !commands.is_empty() && commands.lines().all(|line| line.starts_with("$ gpg --homedir ")),
            "{commands}"
        );
    }
}

#[test]
fn a_log_for_developers_has_each_command() {
    let mut scratch = with_guests(&["minimal"]);
    let plan = ["plan", "--plugin", "minimal.wasm"];
    let stderr = fails(&scratch, GRANT, &plan);
    assert_eq!(scratch.run_to_write([&plan[..], &["--log-file", "by-flag"]].concat()).stderr, stderr);
    scratch.set("PIIMG_LOG", "by-variable");
    assert_eq!(scratch.run_to_write(plan).stderr, stderr);
    for name in ["by-flag", "by-variable"] {
        let log = std::fs::read_to_string(scratch.path(name)).unwrap();
        for part in [" decision piimg 0.1.0 runs as: ", " start    gpg --homedir ", " end      gpg: status 0 after 0."]
        {
            assert!(log.contains(part), "{part:?} is missing from:\n{log}");
        }
    }
    scratch.set("PIIMG_LOG", "none/at/all");
    assert!(fails(&scratch, USAGE, &plan).starts_with("error: cannot create the log `none/at/all`\n"));
}

/// Runs a command line on a terminal of its own; both streams come out as one.
fn on_terminal(scratch: &Scratch, line: &str) -> String {
    let line = format!("{} {line}", piimg().display());
    // A part of `bsdutils`, which is essential.
    let output = scratch.command("/usr/bin/script").args(["-qec", &line, "/dev/null"]).output().unwrap();
    scratch.taken(&output).stdout
}

#[test]
fn colours_are_for_terminals_and_can_be_refused() {
    let mut scratch = Scratch::new();
    scratch.set("TERM", "xterm");
    for line in ["inspect none", "frob"] {
        scratch.unset("NO_COLOR");
        assert!(on_terminal(&scratch, line).contains("\u{1b}["), "{line}");
        scratch.set("NO_COLOR", "1");
        let plain = on_terminal(&scratch, line);
        assert!(plain.starts_with("error: ") && !plain.contains('\u{1b}'), "{line}: {plain:?}");
    }
}

#[test]
fn an_argument_that_is_no_text_is_usage_or_a_path() {
    let scratch = Scratch::new();
    let odd = std::ffi::OsStr::from_bytes(b"\xff");
    let ran = scratch.run(["inspect".as_ref(), odd]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(USAGE), ""));
    let ran = scratch.run(["plan".as_ref(), "--hostname".as_ref(), odd]);
    assert_eq!((ran.code, ran.stdout.as_str()), (Some(USAGE), ""));
}

#[test]
fn a_closed_pipe_is_no_panic() {
    let scratch = with_guests(&["minimal"]);
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let full = std::fs::File::options().write(true).open("/dev/full").unwrap();
    for stdout in [Stdio::from(writer), Stdio::from(full)] {
        let output = scratch.command(piimg()).args(["inspect", "minimal.wasm"]).stdout(stdout).output().unwrap();
        let ran = scratch.taken(&output);
        assert!(!ran.stderr.contains("panicked"), "{ran:?}");
        assert!(ran.code.is_none_or(|code| code != 101), "{ran:?}");
    }
}

#[test]
fn text_of_files_and_the_environment_is_escaped() {
    let mut scratch = Scratch::new();
    fails(&scratch, USAGE, &["inspect", "\u{1b}[31mx"]);
    scratch.write("piimg.toml", "\"host\\u001b[31m\" = \"x\"\n");
    fails(&scratch, USAGE, &["plan"]);
    std::fs::remove_file(scratch.path("piimg.toml")).unwrap();
    scratch.write("piimg.lock", lock("a", "sha256:1", &[]).replace("\"a\"", "\"\\u001b[31m\""));
    fails(&scratch, USAGE, &["plan"]);
    std::fs::remove_file(scratch.path("piimg.lock")).unwrap();
    scratch.set("SOURCE_DATE_EPOCH", "\u{1b}[31m");
    fails(&scratch, USAGE, &["plan"]);
}

#[test]
fn no_line_ends_with_blanks() {
    let scratch = Scratch::new();
    scratch.write("piimg.toml", "hostnam = 1\n");
    let stderr = fails(&scratch, USAGE, &["plan"]);
    assert!(stderr.lines().all(|line| line == line.trim_end()), "{stderr:?}");
}
