//! Implements `--json-events`, for programs that watch a build: what happens as it happens. One JSON object per line, times in
//! seconds since piimg started. `docs/results.md` describes them.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::error::{Context as _, Failure, Result};
use crate::host_files::{Directory, Links};
use crate::log::now;
use crate::ui::Printable as _;

/// The file, open, and the moment that its times count from.
///
/// Outer and inner process write to the same open file, each a line in one call.
#[derive(Debug)]
pub struct Events {
    file: File,
    /// Start time on the clock that all processes share.
    base: Duration,
}

/// Something that happens.
#[derive(Debug, Serialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub(super) enum Event<'a> {
    StepBegins {
        step: &'a str,
    },
    /// A step's work at the moment; at most one in a second for each step.
    StepGoesOn {
        step: &'a str,
        note: &'a str,
        position: u64,
        /// 0 if nobody knows.
        total: u64,
    },
    StepEnds {
        step: &'a str,
        result: &'a str,
        ok: bool,
        start: f64,
        seconds: f64,
    },
    Message {
        level: Level,
        text: &'a str,
    },
    Error {
        messages: &'a [String],
        hints: &'a [String],
    },
    FirstHostCall {
        plugin: &'a str,
    },
    Result {
        path: &'a str,
    },
    Ends {
        code: i32,
    },
}

/// Importance of a message.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Level {
    Info,
    Warning,
    Hint,
}

#[derive(Debug, Serialize)]
struct Line<'a> {
    #[serde(flatten)]
    event: &'a Event<'a>,
    at: f64,
}

impl Events {
    /// Creates the file; `started` is when piimg started.
    ///
    /// # Errors
    /// [`Failure::usage`] if it cannot be created.
    pub fn create(path: &Path, started: Instant) -> Result<Self> {
        Ok(Self { file: Self::create_file(path, "file of events")?, base: now().saturating_sub(started.elapsed()) })
    }

    /// Creates a file that is written to line by line; `what` names it in a message.
    ///
    /// # Errors
    /// [`Failure::usage`] if it cannot be created.
    pub fn create_file(path: &Path, what: &str) -> Result<File> {
        let failed = || Failure::usage(format!("cannot create the {what} `{}`", path.printable()));
        let name = path.file_name().and_then(|name| name.to_str()).context("it has no name").with_context(failed)?;
        let directory = path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
        let directory = Directory::open(directory, Links::Followed).with_context(failed)?;
        directory.start(name, 0o644).with_context(failed)
    }

    /// Goes on in the inner process with what the outer one has begun.
    pub fn resume(file: File, base: Duration) -> Self {
        Self { file, base }
    }

    pub fn base(&self) -> Duration {
        self.base
    }

    /// Returns the seconds until a moment of this process.
    pub(super) fn at(&self, moment: Instant) -> f64 {
        now().saturating_sub(self.base).saturating_sub(moment.elapsed()).as_secs_f64()
    }

    pub(super) fn write(&self, event: &Event<'_>, moment: Instant) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(&Line { event, at: self.at(moment) })?;
        text.push(b'\n');
        (&self.file).write_all(&text)
    }
}

impl AsFd for Events {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_processes_write_lines_of_one_clock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let started = Instant::now();
        let outer = Events::create(&path, started).unwrap();
        let inner = Events::resume(outer.file.try_clone().unwrap(), outer.base());
        inner.write(&Event::StepBegins { step: "Write \"x\"" }, Instant::now()).unwrap();
        inner.write(&Event::FirstHostCall { plugin: "a/b" }, Instant::now()).unwrap();
        inner.write(&Event::Message { level: Level::Warning, text: "two\nlines" }, Instant::now()).unwrap();
        outer.write(&Event::Ends { code: 0 }, Instant::now()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let mut lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let times: Vec<f64> = lines.iter().map(|line| line["at"].as_f64().unwrap()).collect();
        assert!(times[0] >= 0.0 && times.is_sorted() && times[3] <= started.elapsed().as_secs_f64(), "{text}");
        lines.iter_mut().for_each(|line| drop(line.as_object_mut().unwrap().remove("at")));
        let expected = [
            r#"{"event":"step-begins","step":"Write \"x\""}"#,
            r#"{"event":"first-host-call","plugin":"a/b"}"#,
            r#"{"event":"message","level":"warning","text":"two\nlines"}"#,
            r#"{"event":"ends","code":0}"#,
        ];
        assert_eq!(lines, expected.map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()));
    }
}
