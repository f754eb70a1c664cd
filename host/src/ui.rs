//! The only place that prints.
//!
//! Standard output carries data (a path, JSON); everything else goes to standard error: a live line with a
//! bar and the time on a terminal, plain lines otherwise. `NO_COLOR` is obeyed.

mod ask;
mod printable;
mod timings;

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use console::{Style, Term};
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::error::{Context as _, Failure, Kind, Result, report, with_cause};

use printable::shown;
pub use printable::{Printable, json, printable};
pub use timings::Timings;

/// How much is said.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    #[default]
    Normal,
    /// Also what each program prints.
    Verbose,
}

/// The way to the user. Cheap to clone; all clones write to the same streams.
#[derive(Clone, Debug)]
pub struct Ui {
    verbosity: Verbosity,
    /// The live lines of all running steps, if there is a terminal.
    live: Option<MultiProgress>,
    timings: Option<Arc<Timings>>,
    /// Why data did not get to standard output.
    lost: Arc<OnceLock<String>>,
}

impl Ui {
    pub fn new(verbosity: Verbosity) -> Self {
        let is_live = std::io::stderr().is_terminal() && verbosity != Verbosity::Quiet;
        Self { verbosity, live: is_live.then(MultiProgress::new), timings: None, lost: Arc::default() }
    }

    /// Also writes down when each step ended.
    #[must_use]
    pub fn with_timings(self, timings: Timings) -> Self {
        Self { timings: Some(Arc::new(timings)), ..self }
    }

    pub fn timings(&self) -> Option<&Timings> {
        self.timings.as_deref()
    }

    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Writes one line of data to standard output, [`printable`] whatever is in it.
    pub fn data(&self, line: &str) {
        self.write_out(printable(line).as_bytes());
    }

    /// Writes a value to standard output as JSON, [`printable`] and with the same meaning.
    ///
    /// # Errors
    /// If it cannot be written as JSON.
    pub fn json(&self, value: &impl Serialize) -> Result<()> {
        self.write_out(json(value).context("cannot write JSON")?.as_bytes());
        Ok(())
    }

    /// Writes a path of the host to standard output: byte for byte where a program reads it, else [`printable`].
    pub fn path(&self, path: &Path) {
        if std::io::stdout().is_terminal() {
            self.data(&path.to_string_lossy());
        } else {
            self.write_out(path.as_os_str().as_bytes());
        }
    }

    /// Starts a step; the title is an imperative or a participle, without full stop.
    pub fn step(&self, title: impl Into<String>) -> Step {
        Step::start(self.clone(), &title.into())
    }

    pub fn info(&self, message: &str) {
        if self.verbosity != Verbosity::Quiet {
            self.line(&shown(message));
        }
    }

    /// What a question is about: said also where `--quiet` wants to hear of nothing.
    pub fn say(&self, message: &str) {
        self.line(&shown(message));
    }

    /// A line that only `--verbose` shows, such as the output of a program.
    pub fn detail(&self, message: &str) {
        if self.verbosity == Verbosity::Verbose {
            self.line(&Style::new().for_stderr().dim().apply_to(shown(message)).to_string());
        }
    }

    pub fn warn(&self, message: &str) {
        let label = Style::new().for_stderr().yellow().bold().apply_to("warning:").to_string();
        self.line(&format!("{label} {}", shown(message)));
    }

    pub fn hint(&self, message: &str) {
        let label = Style::new().for_stderr().cyan().apply_to("hint:").to_string();
        self.line(&format!("  {label} {}", shown(message)));
    }

    /// Prints `error` with its causes and hints and returns the exit code that belongs to it.
    pub fn error(&self, error: &anyhow::Error) -> i32 {
        let report = report(error);
        let red = Style::new().for_stderr().red().bold();
        // Messages quote file names, recipes and plugins: all of it may be hostile.
        let mut messages = report.messages.iter().map(|message| shown(message.trim_end()));
        let mut text = format!("{} {}", red.apply_to("error:"), messages.next().unwrap_or_default());
        for cause in messages {
            // A cause of several lines (the end of a program's output) is indented below its label.
            let cause = cause.replace('\n', "\n    ");
            write!(text, "\n  caused by: {cause}").expect("writing to a string");
        }
        self.line(&text);
        for hint in &report.hints {
            self.hint(&hint.replace('\n', "\n        "));
        }
        if report.kind == Kind::Bug {
            self.hint("this is a bug in piimg; please report it with the lines above");
        }
        report.kind as i32
    }

    /// Writes down when something happened that is no step, if there are timings.
    pub fn event(&self, event: &str, plugin: Option<&str>, moment: Instant) {
        self.record(|timings| timings.event(event, plugin, moment));
    }

    fn record(&self, write: impl FnOnce(&Timings) -> std::io::Result<()>) {
        if let Some(Err(error)) = self.timings().map(write) {
            self.warn(&format!("cannot write the timings: {error}"));
        }
    }

    /// One line to standard output.
    fn write_out(&self, line: &[u8]) {
        match std::io::stdout().write_all(&[line, b"\n"].concat()) {
            // Whoever closed the pipe has read enough; there is no one left to tell.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(self.lost.set(error.to_string())),
            _ => {}
        }
    }

    /// The exit code of a command that came to `code`: it did not do what was asked if its data is lost.
    pub fn finish(&self, code: i32) -> i32 {
        match self.lost.get() {
            Some(why) if code == 0 => {
                let failure =
                    Failure::host("cannot write to standard output").hint("is the disk full that it leads to?");
                self.error(&with_cause(anyhow::anyhow!("{why}"), failure))
            }
            _ => code,
        }
    }

    /// One write per line, so that lines of several processes do not mix; live lines make way for it.
    fn line(&self, text: &str) {
        let line = format!("{text}\n");
        let write = || {
            // Nowhere is left to report that standard error is gone.
            std::io::stderr().write_all(line.as_bytes()).ok();
        };
        match &self.live {
            Some(live) => live.suspend(write),
            None => write(),
        }
    }
}

/// A running step: a live line on a terminal, one plain line when it ends.
///
/// Dropping it without [`Step::done`] marks it as failed.
#[derive(Debug)]
pub struct Step {
    ui: Ui,
    title: String,
    started: Instant,
    bar: Option<ProgressBar>,
    finished: bool,
}

impl Step {
    fn start(ui: Ui, title: &str) -> Self {
        let title = printable(title);
        let bar = ui.live.as_ref().map(|live| {
            let bar = live.add(ProgressBar::new_spinner().with_style(spinner()).with_message(title.clone()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        Self { ui, title, started: Instant::now(), bar, finished: false }
    }

    /// Shows a bar of `total` units from here on.
    pub fn title(&self) -> &str {
        &self.title
    }

    pub fn set_total(&self, total: u64) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_style(progress());
        }
    }

    pub fn set_position(&self, position: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
    }

    /// Says what the step is doing now (the package being unpacked, the file being written).
    pub fn note(&self, note: &str) {
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {}", self.title, console::truncate_str(&printable(note), 50, "…")));
        }
    }

    /// Like [`Ui::info`].
    pub fn line(&self, message: &str) {
        self.ui.info(message);
    }

    /// Like [`Ui::detail`].
    pub fn detail(&self, message: &str) {
        self.ui.detail(message);
    }

    /// Like [`Ui::warn`].
    pub fn warn(&self, message: &str) {
        self.ui.warn(message);
    }

    /// Ends the step well and says how long it took.
    pub fn done(self) {
        self.finish("");
    }

    /// Ends the step well; `result` says what came of it, e.g. `unchanged, from the store`.
    pub fn done_with(self, result: &str) {
        self.finish(result);
    }

    fn finish(mut self, result: &str) {
        self.finished = true;
        let mark = Style::new().for_stderr().green().apply_to("✓").to_string();
        let took = self.started.elapsed();
        self.close(&mark, result, took);
        self.ui.record(|timings| timings.step(&self.title, result, self.started, took));
    }

    fn close(&self, mark: &str, result: &str, took: Duration) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let took = seconds(took);
        let result = if result.is_empty() { String::new() } else { format!(": {}", printable(result)) };
        if self.ui.verbosity != Verbosity::Quiet {
            self.ui.line(&format!("{mark} {}{result} ({took})", self.title));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            let mark = Style::new().for_stderr().red().apply_to("✗").to_string();
            self.close(&mark, "", self.started.elapsed());
        }
    }
}

/// `0.4 s`, `12 s`, `3 min 07 s`.
pub fn seconds(time: Duration) -> String {
    let whole = time.as_secs();
    match whole {
        0..10 => format!("{:.1} s", time.as_secs_f64()),
        10..60 => format!("{whole} s"),
        _ => format!("{} min {:02} s", whole / 60, whole % 60),
    }
}

/// Lengths for people: `512 MiB`, `1.4 GiB`.
#[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
pub fn bytes(length: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = length as f64;
    let mut unit = 0;
    // What would be rounded to 1024 is 1 of the next one.
    while value >= 1023.5 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    let decimal = (value * 10.0).round() / 10.0;
    let value = if value >= 100.0 { value.round() } else { decimal };
    format!("{value} {}", UNITS[unit])
}

/// A word as a shell takes it, to be copied from a hint.
pub fn shell_quoted(text: &str) -> String {
    format!("'{}'", printable(text).replace('\'', r"'\''"))
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {elapsed}").expect("the template is valid")
}

fn progress() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {wide_msg} [{bar:25.cyan}] {percent:>3} % {elapsed}")
        .expect("the template is valid")
        .progress_chars("━╸ ")
}

/// Columns of the terminal, 80 where there is none.
pub fn columns() -> usize {
    Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_and_times_read_well() {
        for (length, text) in [
            (0, "0 B"),
            (1023, "1023 B"),
            (1 << 20, "1 MiB"),
            ((1 << 20) - 1, "1 MiB"),
            (1_500_000_000, "1.4 GiB"),
            ((2 << 30) - (1 << 20), "2 GiB"),
            (512 << 20, "512 MiB"),
        ] {
            assert_eq!(bytes(length), text);
        }
        for (millis, text) in [(400, "0.4 s"), (12_000, "12 s"), (187_000, "3 min 07 s")] {
            assert_eq!(seconds(Duration::from_millis(millis)), text);
        }
    }
}
