//! The developer's log (`--log-file`): each command, mount and decision of a build, with its time.
//!
//! It is for whoever looks for a fault in piimg. Nothing depends on it, and a log that cannot be written to any more is
//! given up without a word: the build matters more. Users read what `piimg::ui` says.
//!
//! A log is a line for each event: seconds since piimg started, the process, the kind of event, and what happened.

use std::ffi::OsStr;
use std::fmt;
use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use rustix::time::ClockId;

/// The log of this process.
static LOG: OnceLock<Log> = OnceLock::new();

/// Shows each command as it starts, if the user wants to see it.
static SHOW: OnceLock<Box<Show>> = OnceLock::new();

type Show = dyn Fn(&str) + Send + Sync;

/// An open log, and the moment that its times count from, on the clock that all processes share.
#[derive(Debug)]
struct Log {
    file: File,
    base: Duration,
}

/// Starts to log to `file`, which must be open for appending: several processes write to it. `base` is the moment of
/// [`now`] from which times count.
pub fn start(file: File, base: Duration) {
    LOG.get_or_init(|| Log { file, base });
}

/// Has each command shown as it starts.
pub fn show_commands(show: impl Fn(&str) + Send + Sync + 'static) {
    SHOW.get_or_init(|| Box::new(show));
}

/// Returns the open file of the log and the moment that it counts from, for another process of piimg.
pub fn handed_on() -> Option<(BorrowedFd<'static>, Duration)> {
    LOG.get().map(|log| (log.file.as_fd(), log.base))
}

/// Returns the time of the clock that all processes share.
pub fn now() -> Duration {
    // CLOCK_MONOTONIC has no negative times: <https://man7.org/linux/man-pages/man2/clock_gettime.2.html>.
    Duration::try_from(rustix::time::clock_gettime(ClockId::Monotonic)).unwrap_or_default()
}

/// Logs a mount.
pub fn mount(what: impl fmt::Display) {
    write("mount", &what);
}

/// Logs that a step begins or ends.
pub fn step(what: impl fmt::Display) {
    write("step", &what);
}

/// Logs what was decided, and by what.
pub fn decision(what: impl fmt::Display) {
    write("decision", &what);
}

/// Logs and shows a command that starts; `place` says where, if not on the host.
pub fn command(place: &str, line: &CommandLine<'_>) -> Running {
    if let Some(show) = SHOW.get() {
        show(&format!("{place}$ {line}"));
    }
    write("start", &format_args!("{place}{line}"));
    Running { started: Instant::now() }
}

/// A command that was started.
#[derive(Debug)]
#[must_use = "the log should say how the command ended"]
pub struct Running {
    started: Instant,
}

impl Running {
    /// Logs the end of the command.
    pub fn ended(self, program: &str, status: i32) {
        write("end", &format_args!("{program}: status {status} after {:.3} s", self.started.elapsed().as_secs_f64()));
    }
}

/// Writes one line, in one piece.
#[expect(clippy::disallowed_methods, reason = "it names this very process")]
fn write(kind: &str, what: &dyn fmt::Display) {
    let Some(log) = LOG.get() else { return };
    let time = now().saturating_sub(log.base).as_secs_f64();
    let line = format!("{time:>10.3} {:>7} {kind:<8} {}\n", std::process::id(), OneLine(&what.to_string()));
    (&log.file).write_all(line.as_bytes()).ok();
}

/// Shows control characters escaped: a line of the log is one line.
struct OneLine<'a>(&'a str);

impl fmt::Display for OneLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if c.is_control() { write!(f, "{}", c.escape_default()) } else { write!(f, "{c}") })
    }
}

/// A command line, shown as one would type it into a shell.
pub struct CommandLine<'a>(Vec<&'a OsStr>);

impl<'a> CommandLine<'a> {
    /// Makes one of a program and its arguments.
    pub fn new<S: AsRef<OsStr> + ?Sized + 'a>(program: &'a S, arguments: impl IntoIterator<Item = &'a S>) -> Self {
        Self(std::iter::once(program).chain(arguments).map(AsRef::as_ref).collect())
    }
}

impl fmt::Debug for CommandLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for CommandLine<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (number, word) in self.0.iter().enumerate() {
            let word = word.to_string_lossy();
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_@%+=:,./-".contains(c);
            let space = if number == 0 { "" } else { " " };
            if !word.is_empty() && word.chars().all(is_plain) {
                write!(f, "{space}{word}")?;
            } else {
                write!(f, "{space}'{}'", word.replace('\'', r"'\''"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Seek as _};

    use super::*;

    #[test]
    fn a_command_line_can_be_typed_again() {
        for (words, expected) in [
            (&["mke2fs", "-t", "ext4", "/x/y.img"][..], "mke2fs -t ext4 /x/y.img"),
            (&["sh", "-c", "echo it's $HOME"], r"sh -c 'echo it'\''s $HOME'"),
            (&["true", "", "a b", "*"], "true '' 'a b' '*'"),
            (&["printf", "é\n"], "printf 'é\n'"),
        ] {
            let line = CommandLine::new(words[0], words[1..].iter().copied());
            assert_eq!(line.to_string(), expected);
        }
    }

    #[test]
    fn each_event_is_one_line_with_its_time() {
        let mut file = tempfile::tempfile().unwrap();
        start(file.try_clone().unwrap(), now());
        mount("tmpfs on /build");
        step("begins: x");
        decision("the layer \u{1b}[31m is\nthere");
        command("in the image: ", &CommandLine::new("true", ["a b"])).ended("true", 3);
        let mut text = String::new();
        file.rewind().unwrap();
        file.read_to_string(&mut text).unwrap();
        let lines: Vec<&str> = text
            .lines()
            .filter_map(|line| line.split_once(&format!("{} ", std::process::id())))
            .map(|it| it.1)
            .collect();
        assert_eq!(
            lines[..3],
            ["mount    tmpfs on /build", "step     begins: x", r"decision the layer \u{1b}[31m is\nthere"],
            "{text}"
        );
        assert_eq!(lines[3], "start    in the image: true 'a b'");
        assert!(lines[4].starts_with("end      true: status 3 after 0."), "{text}");
    }
}
