//! The result of a run, as a test sees it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;
use serde_json::Value;
use tempfile::TempDir;

/// The form in which piimg writes it; `host/src/steps/trial/outcome.rs` has its other side.
#[derive(Debug, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) digest: String,
    error: Option<Problem>,
    problems: Vec<String>,
    log: Vec<LogLine>,
    calls: Vec<Call>,
    commands: Vec<Vec<String>>,
    package_requests: Vec<String>,
    uses: BTreeMap<String, Uses>,
    settings: BTreeMap<String, String>,
    refused: Vec<Refused>,
    changes: Vec<Change>,
    entries: BTreeMap<String, Entry>,
}

impl Outcome {
    /// Returns the scopes that were asked for and allowed.
    pub(crate) fn used(&self) -> Vec<&str> {
        self.uses.iter().filter(|(_, uses)| uses.allowed > 0).map(|(scope, _)| scope.as_str()).collect()
    }
}

#[derive(Debug, Deserialize)]
struct Problem {
    messages: Vec<String>,
    hints: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Uses {
    allowed: u64,
}

#[derive(Debug, Deserialize)]
struct Change {
    path: String,
}

/// A line that the plugin logged or printed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct LogLine {
    /// `error`, `warn`, `info`, `debug` or `trace`.
    pub level: String,
    /// The line.
    pub text: String,
}

/// A call of a host function.
#[derive(Clone, Debug, Deserialize)]
#[non_exhaustive]
pub struct Call {
    /// Its place among all, from 1.
    pub number: u64,
    /// Interface and function, such as `fs.write`.
    #[serde(rename = "call")]
    pub function: String,
    /// Arguments by name.
    #[serde(default)]
    pub args: Value,
    /// The answer that the plugin got.
    pub reply: Value,
}

/// A capability that the gate refused.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Refused {
    /// The narrowest one that would have allowed it.
    pub scope: String,
    /// The number of the call.
    pub call: u64,
    /// Its function, such as `fs.write`.
    pub function: String,
}

/// An entry of the image.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[non_exhaustive]
pub struct Entry {
    /// `file`, `directory`, `link` or `other`.
    pub kind: String,
    /// Permission bits.
    pub mode: u32,
    /// Number of the user.
    pub uid: u32,
    /// Number of the group.
    pub gid: u32,
    user: Option<String>,
    group: Option<String>,
    /// Bytes.
    pub size: u64,
    /// Target of a symbolic link.
    pub target: Option<String>,
}

impl Entry {
    /// Returns the user's name in the image; empty if it has none.
    pub fn user(&self) -> &str {
        self.user.as_deref().unwrap_or_default()
    }

    /// Returns the group's name in the image; empty if it has none.
    pub fn group(&self) -> &str {
        self.group.as_deref().unwrap_or_default()
    }
}

/// A run that came to its end.
#[derive(Debug)]
pub struct Ran {
    outcome: Outcome,
    place: TempDir,
}

impl Ran {
    pub(crate) fn new(outcome: Outcome, place: TempDir) -> Self {
        Self { outcome, place }
    }

    /// Returns the text of a file of the image.
    ///
    /// # Panics
    /// If there is no such file, or it is no text.
    #[track_caller]
    pub fn read(&self, path: &str) -> String {
        let bytes = self.read_bytes(path);
        String::from_utf8(bytes).unwrap_or_else(|_| panic!("`{path}` of the image is no text: use read_bytes"))
    }

    /// Returns the bytes of a file of the image.
    ///
    /// # Panics
    /// If there is no such file. Links are not followed: they may lead out of the copy.
    #[track_caller]
    pub fn read_bytes(&self, path: &str) -> Vec<u8> {
        let entry = self.entry(path);
        assert!(entry.kind == "file", "`{path}` of the image is no file, but a {}", entry.kind);
        let place = self.place.path().join("image").join(path.trim_start_matches('/'));
        fs::read(place).unwrap_or_else(|error| panic!("cannot read `{path}` of the image: {error}"))
    }

    /// Returns what is at a path of the image.
    ///
    /// # Panics
    /// If there is nothing.
    #[track_caller]
    pub fn entry(&self, path: &str) -> &Entry {
        let found = self.outcome.entries.get(path);
        found.unwrap_or_else(|| panic!("the image has no `{path}`; the plugin changed {:?}", self.changed()))
    }

    /// Returns whether the image has something at a path.
    pub fn exists(&self, path: &str) -> bool {
        self.outcome.entries.contains_key(path)
    }

    /// Returns the paths that are different, sorted.
    pub fn changed(&self) -> Vec<&str> {
        self.outcome.changes.iter().map(|change| change.path.as_str()).collect()
    }

    /// Returns all calls of host functions.
    pub fn calls(&self) -> &[Call] {
        &self.outcome.calls
    }

    /// Returns the commands that were run, each as it would be typed.
    pub fn commands(&self) -> Vec<String> {
        self.outcome.commands.iter().map(|argv| argv.join(" ")).collect()
    }

    /// Returns what the plugin asked of packages, in words.
    pub fn package_requests(&self) -> &[String] {
        &self.outcome.package_requests
    }

    /// Returns what the plugin logged and printed.
    pub fn log(&self) -> &[LogLine] {
        &self.outcome.log
    }

    /// Returns whether a line of the log contains the text.
    pub fn has_logged(&self, text: &str) -> bool {
        self.outcome.log.iter().any(|line| line.text.contains(text))
    }

    /// Returns what the gate refused; the plugin may have done without.
    pub fn refused(&self) -> &[Refused] {
        &self.outcome.refused
    }

    /// Returns what the plugin settled for the whole image, such as keys of config.txt.
    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.outcome.settings
    }

    /// Returns the scopes that were used.
    pub fn used(&self) -> Vec<&str> {
        self.outcome.used()
    }

    /// Writes the audit log to a file, for [`Trial::replay`](crate::Trial::replay).
    ///
    /// # Panics
    /// If it cannot be written.
    #[track_caller]
    pub fn save_log(&self, path: impl AsRef<Path>) {
        fs::copy(self.place.path().join("audit.jsonl"), path).expect("the audit log can be copied");
    }

    /// Returns what is wrong with the run or the test; `None` if nothing is.
    pub(crate) fn fault(&self) -> Option<String> {
        let mut lines = Vec::new();
        if let Some(error) = &self.outcome.error {
            lines.push(error.messages.join(": "));
            // Problems say better what a test has to do than a flag of the program.
            if self.outcome.problems.is_empty() && self.outcome.refused.is_empty() {
                lines.extend(error.hints.iter().map(|hint| format!("hint: {hint}")));
            }
            lines.extend(self.outcome.refused.iter().map(|refused| {
                format!(
                    "refused: `{scope}` in call {}, {}: the test grants other scopes; add .grant({scope:?}), or look \
                     whether conf() requests it",
                    refused.call,
                    refused.function,
                    scope = refused.scope
                )
            }));
        }
        lines.extend(self.outcome.problems.iter().cloned());
        if lines.is_empty() {
            return None;
        }
        lines.extend(self.outcome.log.iter().map(|line| format!("{}: {}", line.level, line.text)));
        Some(lines.join("\n"))
    }

    #[track_caller]
    pub(crate) fn into_failed(self) -> Failed {
        assert!(self.outcome.problems.is_empty(), "{}", self.outcome.problems.join("\n"));
        let Some(error) = &self.outcome.error else {
            panic!("the plugin must fail, and it came to its end; it changed {:?}", self.changed())
        };
        Failed { message: error.messages.join(": "), ran: self }
    }
}

/// A run that failed.
#[derive(Debug)]
pub struct Failed {
    message: String,
    /// The run before the failure.
    ran: Ran,
}

impl Failed {
    /// Returns why, with all causes in one line.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// Returns what it did before. A build drops all of it.
    pub fn before(&self) -> &Ran {
        &self.ran
    }
}
