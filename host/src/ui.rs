//! Prints. Nothing else does.
//!
//! Standard output carries data (a path, JSON); everything else goes to standard error: a live line with a
//! bar and the time on a terminal, plain lines otherwise. `NO_COLOR` is obeyed.

mod ask;
mod events;
mod groups;
mod step;
mod step_times;

use std::fmt::Write as _;
use std::io::{ErrorKind, IsTerminal as _, Write as _};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Instant;

use console::{Style, Term};
use indicatif::MultiProgress;
use serde::Serialize;

use crate::error::{Context as _, Failure, Kind, Result, report, with_cause};
use crate::log;

pub use events::Events;
use events::{Event, Level};
pub use piimg_sandbox::text::{Printable, bytes, count, json, printable, seconds, shell_quoted, shown, wrapped};
pub use step::Step;
pub use step_times::StepTimes;

/// Amount of output.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Verbosity {
    /// Warnings and errors only.
    Quiet,
    #[default]
    Normal,
    /// All that programs print, too.
    Verbose,
}

/// The way to the user. Cheap to clone; all clones write to the same streams.
#[derive(Clone, Debug)]
pub struct Ui {
    verbosity: Verbosity,
    /// The live lines of all running steps, if there is a terminal.
    live: Option<MultiProgress>,
    events: Option<Arc<Events>>,
    times: StepTimes,
    /// See [`Ui::failed_step`].
    failed: Arc<Mutex<Option<String>>>,
    /// Reason why data did not get to standard output.
    lost: Arc<OnceLock<String>>,
}

impl Ui {
    pub fn new(verbosity: Verbosity) -> Self {
        let is_live = std::io::stderr().is_terminal() && verbosity != Verbosity::Quiet;
        Self {
            verbosity,
            live: is_live.then(MultiProgress::new),
            events: None,
            times: StepTimes::default(),
            failed: Arc::default(),
            lost: Arc::default(),
        }
    }

    /// Adds a record of what happens.
    #[must_use]
    pub fn with_events(self, events: Events) -> Self {
        Self { events: Some(Arc::new(events)), ..self }
    }

    /// Lets steps say how long they will take.
    #[must_use]
    pub fn with_times(self, times: StepTimes) -> Self {
        Self { times, ..self }
    }

    /// Returns the title of the step that did not end well, the innermost of several; `None` once another one began after it.
    pub fn failed_step(&self) -> Option<String> {
        self.failed().clone()
    }

    fn failed(&self) -> MutexGuard<'_, Option<String>> {
        self.failed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn times(&self) -> &StepTimes {
        &self.times
    }

    /// Shows each command of this process as it starts, if the user wants to see so much.
    pub fn show_commands(&self) {
        if self.verbosity == Verbosity::Verbose {
            let ui = self.clone();
            log::show_commands(move |line| ui.detail(line));
        }
    }

    pub fn events(&self) -> Option<&Events> {
        self.events.as_deref()
    }

    pub fn verbosity(&self) -> Verbosity {
        self.verbosity
    }

    /// Writes one line of data to standard output, [`printable`] whatever is in it.
    pub fn data(&self, line: &str) {
        self.write_out(printable(line).as_bytes());
    }

    /// Writes one line of data as [`Ui::data`] does, in colour where standard output has colours.
    pub fn styled(&self, line: &str, style: &Style) {
        self.write_out(style.clone().for_stdout().apply_to(printable(line)).to_string().as_bytes());
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
        self.record(&Event::Message { level: Level::Info, text: message });
        if self.verbosity != Verbosity::Quiet {
            self.line(&shown(message));
        }
    }

    /// Says what may be done now, a purpose and a command each, to somebody at a terminal.
    pub fn next(&self, steps: &[(&str, String)]) {
        if self.live.is_none() {
            return;
        }
        let width = steps.iter().map(|(purpose, _)| purpose.len()).max().unwrap_or_default();
        for (number, (purpose, command)) in steps.iter().enumerate() {
            let head = if number == 0 { "next:" } else { "" };
            self.line(&format!("{head:<5} {purpose:<width$}  {}", shown(command)));
        }
    }

    /// Prints the subject of a question, with `--quiet` too.
    pub fn say(&self, message: &str) {
        self.line(&shown(message));
    }

    /// Prints a line that only `--verbose` shows, such as the output of a program.
    pub fn detail(&self, message: &str) {
        if self.verbosity == Verbosity::Verbose {
            self.line(&Style::new().for_stderr().dim().apply_to(shown(message)).to_string());
        }
    }

    pub fn warn(&self, message: &str) {
        self.record(&Event::Message { level: Level::Warning, text: message });
        let label = Style::new().for_stderr().yellow().bold().apply_to("warning:").to_string();
        self.line(&format!("{label} {}", shown(message)));
    }

    pub fn hint(&self, message: &str) {
        self.record(&Event::Message { level: Level::Hint, text: message });
        self.show_hint(message);
    }

    fn show_hint(&self, message: &str) {
        let label = Style::new().for_stderr().cyan().apply_to("hint:").to_string();
        self.line(&format!("  {label} {}", shown(message)));
    }

    /// Prints `error` with its causes and hints and returns the exit code that belongs to it.
    pub fn error(&self, error: &anyhow::Error) -> i32 {
        let report = report(error);
        self.record(&Event::Error { messages: &report.messages, hints: &report.hints });
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
            self.show_hint(&hint.replace('\n', "\n        "));
        }
        if report.kind == Kind::Bug {
            self.show_hint("this is a bug in piimg; please report it with the lines above");
        }
        report.kind as i32
    }

    /// Writes down when a plugin made its first call.
    pub fn first_host_call(&self, plugin: &str, moment: Instant) {
        self.record_at(&Event::FirstHostCall { plugin }, moment);
    }

    /// Writes down a result.
    pub fn result(&self, path: &Path) {
        self.path(path);
        self.record(&Event::Result { path: &path.to_string_lossy() });
    }

    /// Writes down how it ended.
    pub fn ends(&self, code: i32) {
        self.record(&Event::Ends { code });
    }

    fn record(&self, event: &Event<'_>) {
        self.record_at(event, Instant::now());
    }

    fn record_at(&self, event: &Event<'_>, moment: Instant) {
        if let Some(Err(error)) = self.events().map(|events| events.write(event, moment)) {
            let label = Style::new().for_stderr().yellow().bold().apply_to("warning:").to_string();
            // As `warn` does, whose record would fail again.
            self.line(&format!("{label} cannot write the events: {error}"));
        }
    }

    /// Writes one line to standard output.
    fn write_out(&self, line: &[u8]) {
        match std::io::stdout().write_all(&[line, b"\n"].concat()) {
            // Whoever closed the pipe has read enough; there is no one left to tell.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => drop(self.lost.set(error.to_string())),
            _ => {}
        }
    }

    /// Returns the exit code of a command that came to `code`: it did not do what was asked if its data is lost.
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

    /// Runs `work` while no live line is drawn, for the terminal is somebody else's meanwhile. `work` must print nothing here.
    pub(crate) fn aside<T>(&self, work: impl FnOnce() -> T) -> T {
        match &self.live {
            Some(live) => live.suspend(work),
            None => work(),
        }
    }

    /// Writes a line in one call, so that lines of several processes do not mix; clears live lines first.
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

/// Returns the columns of standard output: those of its terminal, within what reads well, and 80 where there is none.
pub fn text_columns() -> usize {
    match std::io::stdout().is_terminal() {
        true => Term::stdout().size_checked().map_or(80, |(_, columns)| usize::from(columns)).clamp(60, 120),
        false => 80,
    }
}

/// Returns the width of the terminal in columns; 80 without a terminal.
pub fn columns() -> usize {
    Term::stderr().size_checked().map_or(80, |(_, columns)| usize::from(columns))
}
