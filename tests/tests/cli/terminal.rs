//! Questions, at a terminal of their own.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Stdio;

use nix::pty::openpty;
use piimg_tests::piimg;

use super::*;

const PROMPT: &str = " [y/N] ";

/// What came out of a run at a terminal.
struct Dialogue {
    code: Option<i32>,
    stdout: String,
    /// With what was typed, as a terminal shows it.
    screen: String,
}

/// Runs the program at a terminal and types one answer at each question; `early` is typed before it starts.
#[track_caller]
fn talk(scratch: &Scratch, args: &[&str], early: &str, answers: &[&str]) -> Dialogue {
    let terminal = openpty(None, None).unwrap();
    let mut master = File::from(terminal.master);
    master.write_all(early.as_bytes()).unwrap();
    let slave = File::from(terminal.slave);
    let mut command = scratch.command(piimg());
    command.args(args).stdin(slave.try_clone().unwrap()).stderr(slave).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    // The last copy on this side: the end of the program is then the end of what can be read.
    drop(command);
    let mut screen = Vec::new();
    let mut answers = answers.iter();
    let mut answered = 0;
    let mut buffer = [0; 4096];
    loop {
        // On Linux a terminal that nobody holds any more is an error, not an end.
        let length = master.read(&mut buffer).unwrap_or_default();
        if length == 0 {
            break;
        }
        screen.extend_from_slice(&buffer[..length]);
        let text = String::from_utf8_lossy(&screen).into_owned();
        if text.matches(PROMPT).count() > answered {
            answered += 1;
            let Some(answer) = answers.next() else {
                child.kill().unwrap();
                panic!("there is no answer to the last question of:\n{text}");
            };
            master.write_all(answer.as_bytes()).unwrap();
        }
    }
    let output = child.wait_with_output().unwrap();
    assert_eq!(answers.next(), None, "nothing asked for this answer");
    let taken = scratch.taken(&output);
    let screen = String::from_utf8_lossy(&screen).replace("\r\n", "\n");
    Dialogue { code: taken.code, stdout: taken.stdout, screen }
}

/// What a plugin was granted, by the lock file.
fn granted(scratch: &Scratch) -> Vec<String> {
    let lock = std::fs::read_to_string(scratch.path("piimg.lock")).unwrap();
    let (_, list) = lock.split_once("grant = [").unwrap();
    list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
}

/// A build that ends where it would make its output: after the grants are checked.
const BUILD: [&str; 5] = ["build", "--plugin", "asks.wasm", "--store", "."];
const NEEDED: [&str; 2] = ["fs:write:/etc/asks", "fs:write:/home/{params.user}/.asks"];

#[test]
fn grant_asks_and_writes_on_yes() {
    for (answers, grants) in [
        (["y\n", "y\n"], &["fs:write:/etc/asks", "fs:write:/home/{params.user}/.asks", "exec:id"][..]),
        (["yes\n", "n\n"], &NEEDED),
        ([" YES \n", "\n"], &NEEDED),
        (["Y\n", "\u{4}"], &NEEDED),
    ] {
        let scratch = with_guests(&["asks"]);
        let said = talk(&scratch, &["grant", "asks.wasm"], "", &answers);
        assert_eq!((said.code, said.stdout.as_str()), (Some(0), ""), "{}", said.screen);
        contains(
            &said.screen,
            &[
                "asks for:\n  fs:write:/etc/asks  (it says: a note for all)\n",
                "→ fs:write:/home/ubuntu/.asks  (it says: a note for the user)\nGrant these 2? [y/N] ",
                "`test/asks` can do without, but would use:\n  exec:id  (it says: tells who it is)\nGrant this too? [y/N] ",
            ],
        );
        assert_eq!(granted(&scratch), grants, "{answers:?}");
    }
}

#[test]
fn anything_but_yes_is_no_and_writes_nothing() {
    for answer in ["n\n", "\n", "no\n", "maybe y\n", "yy\n", "\u{4}", "ye\u{4}\u{4}"] {
        let scratch = with_guests(&["asks"]);
        let before = scratch.listing();
        let said = talk(&scratch, &["grant", "asks.wasm"], "", &[answer]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(GRANT), ""), "{answer:?}: {}", said.screen);
        contains(&said.screen, &["error:", "nothing was granted to `test/asks`\n"]);
        assert_eq!(scratch.listing(), before, "{answer:?}");
    }
}

#[test]
fn what_was_typed_before_the_question_is_no_answer() {
    let scratch = with_guests(&["asks"]);
    for (command, code) in [(&["grant", "asks.wasm"][..], GRANT), (&BUILD, GRANT)] {
        let said = talk(&scratch, command, "y\ny\ny\n", &["n\n"]);
        assert_eq!(said.code, Some(code), "{}", said.screen);
        assert!(!scratch.path("piimg.lock").exists(), "{}", said.screen);
    }
}

#[test]
fn a_build_asks_before_it_starts() {
    let scratch = with_guests(&["asks"]);
    let asked = talk(&scratch, &["grant", "asks.wasm"], "", &["n\n"]).screen;
    let asked = asked.split_once(PROMPT).unwrap().0;
    let before = scratch.listing();
    let said = talk(&scratch, &BUILD, "", &["n\n"]);
    assert_eq!((said.code, said.stdout.as_str()), (Some(GRANT), ""), "{}", said.screen);
    assert!(said.screen.starts_with(asked), "it asks in the same words: {}", said.screen);
    contains(
        &said.screen,
        &["the plugin `test/asks` needs capabilities that nobody granted:\n", "keep it: piimg grant 'asks.wasm'\n"],
    );
    assert_eq!(scratch.listing(), before, "a no writes nothing and starts nothing");

    let said = talk(&scratch, &BUILD, "", &["y\n", "n\n"]);
    assert_eq!(granted(&scratch), NEEDED, "{}", said.screen);
    assert!(!said.screen.contains("nobody granted") && said.code != Some(GRANT), "{}", said.screen);
    // The second time there is nothing to ask.
    let again = talk(&scratch, &BUILD, "", &[]);
    assert!(again.code == said.code && !again.screen.contains(PROMPT), "{}", again.screen);
}

#[test]
fn a_build_asks_for_no_more_than_it_needs() {
    let scratch = with_guests(&["asks", "minimal"]);
    // A flag is for this build, and is not kept.
    let with_flag = [&BUILD[..], &["--grant", "fs:write:/etc/*"]].concat();
    let said = talk(&scratch, &with_flag, "", &["y\n", "n\n"]);
    contains(&said.screen, &["Grant this? [y/N] "]);
    assert_eq!(granted(&scratch), NEEDED[1..]);
    // Nobody is asked where a yes would not help, or is not wanted.
    scratch.write("policy.toml", "version = 1\nallow = [\"exec\"]\n");
    for more in
        [&["--policy", "policy.toml"][..], &["--locked"], &["--plugin", "minimal.wasm", "--policy", "policy.toml"]]
    {
        let said = talk(&scratch, &[&BUILD[..], more].concat(), "", &[]);
        assert_eq!(said.code, Some(GRANT), "{more:?}: {}", said.screen);
    }
    // A plan asks nobody and writes nothing.
    let said = talk(&scratch, &["plan", "--plugin", "minimal.wasm"], "", &[]);
    assert_eq!(said.code, Some(GRANT), "{}", said.screen);
}

#[test]
fn a_question_is_heard_by_the_quiet_too() {
    let scratch = with_guests(&["asks"]);
    let said = talk(&scratch, &["-q", "grant", "asks.wasm"], "", &["n\n"]);
    contains(&said.screen, &["asks for:\n", "Grant these 2? [y/N] "]);
}

#[test]
fn half_a_terminal_is_none() {
    let scratch = with_guests(&["asks"]);
    let terminal = openpty(None, None).unwrap();
    let slave = File::from(terminal.slave);
    // The answer is there; the question would be seen by nobody.
    File::from(terminal.master.try_clone().unwrap()).write_all(b"y\n").unwrap();
    let output = scratch.command(piimg()).args(["grant", "asks.wasm"]).stdin(slave).output().unwrap();
    let ran = scratch.taken(&output);
    assert_eq!(ran.code, Some(GRANT), "{ran:?}");
    assert!(ran.stderr.starts_with("error: there is no terminal to ask at:\n"), "{ran:?}");
}

#[test]
fn a_plugins_text_cannot_steer_the_terminal_that_asks() {
    let scratch = with_guests(&["wishes"]);
    let said = talk(&scratch, &["grant", "wishes.wasm"], "", &["n\n"]);
    contains(&said.screen, &["fs:write:/etc/wish  (it says: harmless\\u{d}\\u{1b}[1A\\u{202e})\n"]);
    let (question, _) = said.screen.split_once(PROMPT).unwrap();
    assert!(!question.contains('\u{1b}') && !question.contains('\u{202e}'), "{question:?}");
}

#[test]
fn a_recipe_is_trusted_with_what_was_shown_and_no_more() {
    let scratch = with_guests(&["secrets", "wants-asset"]);
    scratch.write(
        "piimg.toml",
        "plugins = [\"secrets.wasm\", \"wants-asset.wasm\"]\n[assets]\nlogo = \"/etc/hostname\"\n[secrets]\ntoken = \"cmd:echo \u{202e}\"\n",
    );
    let args = ["plan", "--grant-requested", "--trust-recipe"];
    let before = scratch.listing();
    for answer in ["n\n", "\n", "maybe\n"] {
        let said = talk(&scratch, &args, "y\n", &[answer]);
        assert_eq!((said.code, said.stdout.as_str()), (Some(GRANT), ""), "{}", said.screen);
    }
    let said = talk(&scratch, &args, "", &["y\n"]);
    assert_eq!(said.code, Some(0), "{}", said.screen);
    contains(
        &said.screen,
        &[
            "wants to use what is not its own:\n",
            "\n  reads `/etc/hostname`, as the asset `logo`\n",
            "\n  runs the command `echo \\u{202e}`, for the secret `token`\nLet it, for this time? [y/N] ",
        ],
    );
    contains(&said.stdout, &["asset       logo, from /etc/hostname\n", "from the command `echo \\u{202e}`\n"]);
    assert_eq!(scratch.listing(), before, "a yes is for one time");
    // Where there is nothing to be trusted with, nobody is asked.
    scratch.write("piimg.toml", "");
    assert_eq!(talk(&scratch, &["plan", "--trust-recipe"], "", &[]).code, Some(0));
}
