//! `--timings`: when what happened, for benchmarks. One JSON object on each line, times in seconds since piimg started.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::time::ClockId;
use serde::Serialize;

use crate::error::{Context as _, Failure, Result};
use crate::host_files::{Directory, Links};
use crate::ui::Printable as _;

/// The file, open, and the moment that its times count from.
///
/// Outer and inner process write to the same open file, one after the other.
#[derive(Debug)]
pub struct Timings {
    file: File,
    /// On the clock that all processes share, since its own beginning.
    base: Duration,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Line<'a> {
    Step {
        step: &'a str,
        result: &'a str,
        start: f64,
        seconds: f64,
    },
    Event {
        event: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        plugin: Option<&'a str>,
        at: f64,
    },
}

impl Timings {
    /// Creates the file; `started` is when piimg started.
    ///
    /// # Errors
    /// [`Failure::usage`] if it cannot be created.
    pub fn create(path: &Path, started: Instant) -> Result<Self> {
        let failed = || Failure::usage(format!("cannot create the file of timings `{}`", path.printable()));
        let name = path.file_name().and_then(|name| name.to_str()).context("it has no name").with_context(failed)?;
        let directory = path.parent().filter(|directory| *directory != Path::new("")).unwrap_or(Path::new("."));
        let directory = Directory::open(directory, Links::Followed).with_context(failed)?;
        let file = directory.start(name, 0o644).with_context(failed)?;
        Ok(Self { file, base: monotonic().saturating_sub(started.elapsed()) })
    }

    /// Goes on in the inner process with what the outer one has begun.
    pub fn resume(file: File, base: Duration) -> Self {
        Self { file, base }
    }

    pub fn base(&self) -> Duration {
        self.base
    }

    fn at(&self, moment: Instant) -> f64 {
        monotonic().saturating_sub(self.base).saturating_sub(moment.elapsed()).as_secs_f64()
    }

    pub(super) fn step(&self, step: &str, result: &str, started: Instant, took: Duration) -> std::io::Result<()> {
        self.write(&Line::Step { step, result, start: self.at(started), seconds: took.as_secs_f64() })
    }

    pub(super) fn event(&self, event: &str, plugin: Option<&str>, moment: Instant) -> std::io::Result<()> {
        self.write(&Line::Event { event, plugin, at: self.at(moment) })
    }

    fn write(&self, line: &Line<'_>) -> std::io::Result<()> {
        let mut text = serde_json::to_vec(line)?;
        text.push(b'\n');
        (&self.file).write_all(&text)
    }
}

impl AsFd for Timings {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

/// An [`Instant`] that another process understands.
fn monotonic() -> Duration {
    let time = rustix::time::clock_gettime(ClockId::Monotonic);
    Duration::try_from(time).expect("the clock is never before its beginning")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_processes_write_lines_of_one_clock() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("t");
        let started = Instant::now();
        let outer = Timings::create(&path, started).unwrap();
        let inner = Timings::resume(outer.file.try_clone().unwrap(), outer.base());
        inner.step("Write \"x\"", "1 MiB", Instant::now(), Duration::from_millis(1500)).unwrap();
        inner.event("first host call", Some("a/b"), Instant::now()).unwrap();
        outer.event("done", None, Instant::now()).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        let lines: Vec<serde_json::Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let times = [&lines[0]["start"], &lines[1]["at"], &lines[2]["at"]].map(|time| time.as_f64().unwrap());
        assert!(times[0] >= 0.0 && times.is_sorted() && times[2] <= started.elapsed().as_secs_f64(), "{text}");
        assert_eq!(lines[0]["step"], "Write \"x\"");
        assert_eq!((&lines[0]["result"], lines[0]["seconds"].as_f64()), (&"1 MiB".into(), Some(1.5)));
        assert_eq!((&lines[1]["event"], &lines[1]["plugin"]), (&"first host call".into(), &"a/b".into()));
        assert!(lines[2]["event"] == "done" && lines[2].get("plugin").is_none());
    }
}
