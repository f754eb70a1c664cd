//! Steps of a build, as the user sees them.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use console::Style;
use indicatif::{ProgressBar, ProgressStyle};

use super::events::Event;
use super::groups::{Group, Service};
use super::{Ui, Verbosity, printable, seconds};
use crate::log;

/// Time between two lines about a running step where there is no terminal: who reads a log wants to know that it goes on.
const INTERVAL: Duration = Duration::from_secs(30);

/// Time between two records of what a step does, for programs that watch.
const BETWEEN_RECORDS: Duration = Duration::from_secs(1);

/// A running step: a live line on a terminal; elsewhere a plain line now and then, and one when it ends.
///
/// Dropping it without [`Step::done`] marks it as failed.
#[derive(Debug)]
pub struct Step {
    ui: Ui,
    title: String,
    started: Instant,
    bar: Option<ProgressBar>,
    state: Arc<Mutex<State>>,
    /// The fold of the log that holds what is printed meanwhile.
    group: Option<Group>,
    /// Ends the thread that prints plain lines when it is dropped.
    _ticker: Option<Sender<()>>,
    finished: bool,
}

/// The work of a step at this moment.
#[derive(Debug, Default)]
struct State {
    note: String,
    position: u64,
    /// Units until the end; 0 if nobody knows.
    total: u64,
    /// When it was last written down.
    recorded: Option<Instant>,
}

impl State {
    /// Describes it in a line without end: `Bootstrap: unpacking libc6 (12 of 218), 5 %, 30 s of about 1 min 30 s`.
    fn line(&self, title: &str, elapsed: Duration, expected: &str) -> String {
        let note = if self.note.is_empty() { String::new() } else { format!(": {}", self.note) };
        let percent =
            (self.position * 100).checked_div(self.total).map_or_else(String::new, |part| format!(", {part} %"));
        format!("… {title}{note}{percent}, {}{expected}", seconds(elapsed))
    }
}

impl Step {
    pub(super) fn start(ui: Ui, title: &str) -> Self {
        let (title, started) = (printable(title), Instant::now());
        log::step(format_args!("begins: {title}"));
        // Whatever failed before did not end the build.
        *ui.failed() = None;
        ui.record(&Event::StepBegins { step: &title });
        let expected = ui.times().expected(&title);
        let expected = expected.map_or_else(String::new, |time| format!(" of about {}", seconds(time)));
        let bar = ui.live.as_ref().map(|live| {
            let bar = ProgressBar::new_spinner().with_style(spinner()).with_message(title.clone());
            let bar = live.add(bar.with_prefix(expected.clone()));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar
        });
        // Without the output of programs there is nothing to fold.
        let service = Service::of(|name| std::env::var_os(name).is_some());
        let service = service.filter(|_| bar.is_none() && ui.verbosity == Verbosity::Verbose);
        let group = service.and_then(|service| Group::open(service, &title)).map(|(group, line)| {
            ui.line(&line);
            group
        });
        let state: Arc<Mutex<State>> = Arc::default();
        // With a live line there is nothing to add, and with all output of programs neither.
        let is_plain = bar.is_none() && ui.verbosity == Verbosity::Normal;
        let ticker = is_plain.then(|| {
            let (state, title, ui) = (Arc::clone(&state), title.clone(), ui.clone());
            tick(INTERVAL, move || ui.line(&lock(&state).line(&title, started.elapsed(), &expected)))
        });
        Self { ui, title, started, bar, state, group, _ticker: ticker.flatten(), finished: false }
    }

    pub fn title(&self) -> &str {
        &self.title
    }

    /// Counts `total` units from here on; 0 ends that.
    pub fn set_total(&self, total: u64) {
        {
            let mut state = lock(&self.state);
            (state.position, state.total) = (0, total);
        }
        if let Some(bar) = &self.bar {
            bar.set_position(0);
            bar.set_length(total);
            bar.set_style(if total == 0 { spinner() } else { progress() });
        }
        self.record();
    }

    pub fn set_position(&self, position: u64) {
        lock(&self.state).position = position;
        if let Some(bar) = &self.bar {
            bar.set_position(position);
        }
        self.record();
    }

    /// Says what the step is doing now (the package being unpacked, the file being written).
    pub fn note(&self, note: &str) {
        let note = console::truncate_str(&printable(note), 60, "…").into_owned();
        if let Some(bar) = &self.bar {
            bar.set_message(format!("{}: {note}", self.title));
        }
        lock(&self.state).note = note;
        self.record();
    }

    /// Writes down what the step does, unless that was done a moment ago.
    fn record(&self) {
        if self.ui.events().is_none() {
            return;
        }
        let mut state = lock(&self.state);
        if state.recorded.is_some_and(|last| last.elapsed() < BETWEEN_RECORDS) {
            return;
        }
        state.recorded = Some(Instant::now());
        let State { note, position, total, .. } = &*state;
        self.ui.record(&Event::StepGoesOn { step: &self.title, note, position: *position, total: *total });
    }

    /// Prints as [`Ui::info`] does.
    pub fn line(&self, message: &str) {
        self.ui.info(message);
    }

    /// Prints as [`Ui::detail`] does.
    pub fn detail(&self, message: &str) {
        self.ui.detail(message);
    }

    /// Prints as [`Ui::warn`] does.
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
        self.ui.times().took(&self.title, took);
        self.close(&mark, result, took);
    }

    fn close(&self, mark: &str, result: &str, took: Duration) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        if let Some(group) = &self.group {
            self.ui.line(&group.last_line());
        }
        if let Some(events) = self.ui.events() {
            let (start, seconds) = (events.at(self.started), took.as_secs_f64());
            let (step, ok) = (self.title.as_str(), self.finished);
            self.ui.record(&Event::StepEnds { step, result, ok, start, seconds });
        }
        let took = seconds(took);
        let end = if self.finished { "done" } else { "failed" };
        log::step(format_args!("{end}: {} ({took}) {result}", self.title));
        let result = if result.is_empty() { String::new() } else { format!(": {}", printable(result)) };
        if self.ui.verbosity != Verbosity::Quiet {
            self.ui.line(&format!("{mark} {}{result} ({took})", self.title));
        }
    }
}

impl Drop for Step {
    fn drop(&mut self) {
        if !self.finished {
            // The innermost one ends first.
            self.ui.failed().get_or_insert_with(|| self.title.clone());
            let mark = Style::new().for_stderr().red().apply_to("✗").to_string();
            self.close(&mark, "", self.started.elapsed());
        }
    }
}

/// Locks the state: a thread that panicked while it held the lock has left a description that is good enough.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Calls `show` again and again until the sender is dropped. Returns `None` if there can be no thread, and does without.
fn tick(interval: Duration, mut show: impl FnMut() + Send + 'static) -> Option<Sender<()>> {
    let (sender, receiver): (_, Receiver<()>) = channel();
    let wait = move || {
        while receiver.recv_timeout(interval) == Err(RecvTimeoutError::Timeout) {
            show();
        }
    };
    std::thread::Builder::new().name("progress".into()).spawn(wait).ok().map(|_| sender)
}

fn spinner() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {wide_msg} {elapsed}{prefix}").expect("the template is valid")
}

fn progress() -> ProgressStyle {
    ProgressStyle::with_template("{spinner:.cyan} {wide_msg} [{bar:25.cyan}] {percent:>3} % {elapsed}{prefix}")
        .expect("the template is valid")
        .progress_chars("━╸ ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_tells_what_is_known() {
        let line =
            |state: State, seconds| state.line("Bootstrap", Duration::from_secs(seconds), " of about 2 min 00 s");
        assert_eq!(line(State::default(), 30), "… Bootstrap, 30 s of about 2 min 00 s");
        let state = State { note: "unpacking libc6 (12 of 218)".into(), position: 12, total: 436, recorded: None };
        assert_eq!(line(state, 90), "… Bootstrap: unpacking libc6 (12 of 218), 2 %, 1 min 30 s of about 2 min 00 s");
    }

    #[test]
    fn the_failed_step_is_the_innermost_one_unless_another_one_began() {
        let ui = Ui::new(Verbosity::Quiet);
        let outer = ui.step("outer");
        drop(ui.step("inner"));
        drop(outer);
        assert_eq!(ui.failed_step().as_deref(), Some("inner"));
        ui.step("another").done();
        assert_eq!(ui.failed_step(), None);
        drop(ui.step("last"));
        assert_eq!(ui.clone().failed_step().as_deref(), Some("last"));
    }

    #[test]
    fn lines_come_until_the_step_ends() {
        let (sender, lines) = channel();
        let ticker = tick(Duration::from_millis(1), move || sender.send(()).unwrap_or_default()).unwrap();
        lines.recv().unwrap();
        lines.recv().unwrap();
        drop(ticker);
        // The thread ends, and with it its side of the channel.
        while lines.recv().is_ok() {}
    }
}
