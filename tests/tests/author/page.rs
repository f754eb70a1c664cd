//! Follows a page of `docs/`: writes the files that it shows and runs its commands, whose output must have the lines shown.
//!
//! A block of `console` has commands behind `$ ` and lines of their output, where `…` is any text. A block whose kind has
//! a path behind it (`rust src/lib.rs`) is that file. A block behind a comment that begins with [`NOT_RUN`] is left out.

use std::path::{Path, PathBuf};
use std::process::Command;

use piimg_tests::{piimg, target};

const NOT_RUN: &str = "<!-- Not run by the tests";

/// A thing that the page tells its reader to do.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    Write { path: String, text: String },
    Run { command: String, shows: Vec<String> },
}

/// Reads the steps of a page.
fn steps(page: &str) -> Vec<Step> {
    let (mut steps, mut lines, mut is_left_out) = (Vec::new(), page.lines(), false);
    while let Some(line) = lines.next() {
        let Some(kind) = line.strip_prefix("```") else {
            is_left_out = line.starts_with(NOT_RUN) || is_left_out && line.is_empty();
            continue;
        };
        let block: Vec<&str> = lines.by_ref().take_while(|line| *line != "```").collect();
        match kind.split_once(' ') {
            _ if std::mem::take(&mut is_left_out) => {}
            Some((_, path)) => steps.push(Step::Write { path: path.to_owned(), text: block.join("\n") + "\n" }),
            None if kind == "console" => steps.extend(commands(&block)),
            None => {}
        }
    }
    steps
}

fn commands(block: &[&str]) -> Vec<Step> {
    let mut found: Vec<Step> = Vec::new();
    for line in block {
        match (line.strip_prefix("$ "), found.last_mut()) {
            (Some(command), _) => found.push(Step::Run { command: command.to_owned(), shows: Vec::new() }),
            (None, Some(Step::Run { shows, .. })) => shows.push((*line).to_owned()),
            (None, _) => panic!("`{line}` stands before the first command of its block"),
        }
    }
    found
}

/// A place where a page is followed: `piimg` is the program, and the checkout of it lies beside the new plugin.
pub(crate) struct Reader {
    _place: tempfile::TempDir,
    /// Where the reader is.
    pub(crate) directory: PathBuf,
    repository: PathBuf,
    path: String,
}

impl Reader {
    pub(crate) fn new(repository: &Path) -> Self {
        let place = tempfile::tempdir().unwrap();
        std::os::unix::fs::symlink(repository, place.path().join("piimg")).unwrap();
        let programs = piimg().parent().unwrap().to_str().unwrap().to_owned();
        Self {
            directory: place.path().to_owned(),
            _place: place,
            repository: repository.to_owned(),
            path: format!("{programs}:{}", std::env::var("PATH").unwrap()),
        }
    }

    /// Does all that a page says.
    pub(crate) fn follow(&mut self, page: &str) {
        let text = std::fs::read_to_string(self.repository.join("docs").join(page)).unwrap();
        let steps = steps(&text);
        assert!(steps.len() > 2, "{page} has nothing to do: {steps:?}");
        for step in steps {
            match step {
                Step::Write { path, text } => std::fs::write(self.directory.join(path), text).unwrap(),
                Step::Run { command, shows } => self.run(&command, &shows),
            }
        }
    }

    fn run(&mut self, command: &str, shows: &[String]) {
        if let Some(directory) = command.strip_prefix("cd ") {
            self.directory.push(directory);
            // The same versions as here, which are at hand.
            std::fs::copy(self.repository.join("Cargo.lock"), self.directory.join("Cargo.lock")).unwrap();
            return;
        }
        // What is compiled is kept for the next run of the tests.
        let kept = target().join("author");
        let output = Command::new("sh")
            .args(["-c", command])
            .current_dir(&self.directory)
            .envs([("PATH", self.path.as_str()), ("CARGO_NET_OFFLINE", "true"), ("COLUMNS", "80")])
            .env("CARGO_TARGET_DIR", &kept)
            .env_remove("PIIMG_PLUGIN")
            .env_remove("PIIMG")
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (said, error) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "`{command}`:\n{said}\n{error}");
        has_lines(command, &said, shows);
        self.offer_components(&kept.join("wasm32-wasip2/release"));
    }

    /// Puts what was compiled where the recipe of a new plugin looks for it.
    fn offer_components(&self, built: &Path) {
        let place = self.directory.join("target/wasm32-wasip2/release");
        let Some(name) = self.directory.file_name().and_then(|name| name.to_str()) else { return };
        let component = built.join(format!("{}.wasm", name.replace('-', "_")));
        if self.directory.join("Cargo.toml").exists() && component.exists() {
            std::fs::create_dir_all(&place).unwrap();
            std::fs::copy(&component, place.join(component.file_name().unwrap())).unwrap();
        }
    }
}

/// Demands the lines, with others between them and in any order: tests end as they come.
#[track_caller]
fn has_lines(command: &str, said: &str, shows: &[String]) {
    for shown in shows {
        let is_there = said.lines().any(|line| fits(shown, line));
        assert!(is_there, "`{command}` does not show `{shown}`:\n{said}");
    }
}

/// Returns whether a line is the one that is shown, in which `…` is any text.
fn fits(shown: &str, line: &str) -> bool {
    let mut parts = shown.split('…');
    let Some(mut rest) = line.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, between)) = parts.split_last() else { return rest.is_empty() };
    for part in between {
        let Some(at) = rest.find(part) else { return false };
        rest = &rest[at + part.len()..];
    }
    rest.ends_with(last)
}

#[test]
fn a_page_is_read_as_it_is_meant() {
    let page = "Text.\n\n```console\n$ a\nx…z\n$ b\n```\n\n<!-- Not run by the tests: it is long. -->\n```console\n$ c\n```\n\n\
                ```rust src/lib.rs\nfn x() {}\n```\n\n```toml\nx = 1\n```\n";
    let run = |command: &str, shows: &[&str]| Step::Run {
        command: command.into(),
        shows: shows.iter().map(|line| (*line).to_owned()).collect(),
    };
    let file = Step::Write { path: "src/lib.rs".into(), text: "fn x() {}\n".into() };
    assert_eq!(steps(page), [run("a", &["x…z"]), run("b", &[]), file]);
    for (shown, line, expected) in
        [("x…z", "x, y, z", true), ("x…z", "x, y", false), ("x", "x", true), ("x", "xy", false), ("…", "", true)]
    {
        assert_eq!(fits(shown, line), expected, "{shown} and {line}");
    }
}
