//! Parses untrusted bytes, in a [`Worker`] that has the open file and nothing else. There is no other way to do so.
//!
//! The host sends a job. The worker answers with pieces of data and one answer at the end. Answers are as untrusted as
//! the file, and limited in length and time. A file that makes a parser loop, crash or exhaust memory is an error that
//! says so.

use std::fs::File;
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::ending;
use super::worker::{Bounds, Entered, Worker, enter};
use crate::error::{Context as _, Failure, Kind, Result, report, with_cause};
use crate::text::{bytes, printable};

/// Longest message from a parser: a piece of data, or an answer.
const LONGEST: usize = 64 << 20;

/// Bytes that a parser sends in one piece.
pub const PIECE: usize = 64 << 10;

/// Most causes and hints of an error, and most characters of each: they are shown on a terminal.
const MOST_LINES: usize = 16;
const LONGEST_LINE: usize = 2000;

/// Time to start a process, beyond the time of its work.
const GRACE: Duration = Duration::from_secs(10);

/// Resource limits of a parser.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processor time. The wall clock gets four times as much, since the machine may be busy.
    pub time: Duration,
    /// Memory in bytes.
    pub memory: u64,
}

impl Limits {
    /// For reading metadata: the boot partition of a card takes a tenth of a second.
    pub const LOOK: Self = Self { time: Duration::from_secs(60), memory: 512 << 20 };
    /// For unpacking: a slow machine takes some minutes for an image of 8 GiB. `xz -9` needs 65 MiB of memory; the rest
    /// is for larger dictionaries.
    pub const UNPACK: Self = Self { time: Duration::from_secs(1800), memory: 1 << 30 };
}

/// Starts parser processes.
#[derive(Clone, Debug)]
pub struct Parser {
    /// Path of the piimg executable.
    program: PathBuf,
    /// Limits that replace the usual ones.
    limits: Option<Limits>,
}

impl Default for Parser {
    /// Makes a parser that runs this same program.
    fn default() -> Self {
        Self::of("/proc/self/exe")
    }
}

/// A message from a parser before its answer.
#[derive(Debug)]
pub enum Piece<'a> {
    Data(&'a [u8]),
    /// The data that follows belongs to the next requested item.
    Next,
}

/// First byte of each message.
mod tag {
    pub(super) const DATA: u8 = 1;
    pub(super) const NEXT: u8 = 2;
    pub(super) const ANSWER: u8 = 3;
    pub(super) const REFUSED: u8 = 4;
    pub(super) const NOT_CONFINED: u8 = 5;
}

/// An error that a parser reports.
#[derive(Debug, Serialize, Deserialize)]
struct Refused {
    /// The input is valid but not usable here; otherwise it is broken.
    is_usage: bool,
    messages: Vec<String>,
    hints: Vec<String>,
}

impl Refused {
    fn of(error: &anyhow::Error) -> Self {
        let report = report(error);
        Self { is_usage: report.kind == Kind::Usage, messages: report.messages, hints: report.hints }
    }

    fn into_error(self) -> anyhow::Error {
        let line = |text: &String| printable(&text.chars().take(LONGEST_LINE).collect::<String>());
        let mut messages = self.messages.iter().take(MOST_LINES).map(line);
        let first = messages.next().unwrap_or_else(|| "it cannot be read".to_owned());
        let kind = if self.is_usage { Kind::Usage } else { Kind::Build };
        let failure = self
            .hints
            .iter()
            .take(MOST_LINES)
            .fold(Failure::new(kind, first), |failure, hint| failure.hint(line(hint)));
        let causes: Vec<String> = messages.collect();
        let cause = causes.into_iter().rev().fold(None, |cause: Option<anyhow::Error>, message| {
            Some(cause.map_or_else(|| anyhow::anyhow!("{message}"), |cause| with_cause(cause, message.clone())))
        });
        match cause {
            None => failure.into(),
            Some(cause) => with_cause(cause, failure),
        }
    }
}

/// Reasons for a missing answer.
enum Broken {
    HungUp,
    Silent,
    Garbage,
    /// The host itself failed.
    Stopped(anyhow::Error),
}

impl Parser {
    /// Makes a parser that runs `program`, which must be this piimg.
    pub fn of(program: impl Into<PathBuf>) -> Self {
        Self { program: program.into(), limits: None }
    }

    /// Replaces the usual limits.
    #[must_use]
    pub const fn within(mut self, limits: Limits) -> Self {
        self.limits = Some(limits);
        self
    }

    /// Runs `job` on `files` in a new process; `take` gets the pieces that precede the answer.
    ///
    /// # Errors
    /// What the parser reports, what `take` fails with, [`Failure::build`] if the parser exceeds a limit or breaks, and
    /// [`Failure::host`] if it cannot be started.
    pub fn run<A: DeserializeOwned>(
        &self,
        limits: Limits,
        job: &impl Serialize,
        files: &[&File],
        take: &mut dyn FnMut(Piece<'_>) -> Result<()>,
    ) -> Result<A> {
        let limits = self.limits.unwrap_or(limits);
        let descriptors: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let bounds = Bounds { memory: limits.memory, file: 0, cpu: limits.time.as_secs().max(1) };
        let mut worker = Worker::start_as("__parse", &self.program, bounds, &descriptors)?;
        let talked = talk(worker.socket(), job, limits.time * 4 + GRACE, take);
        // A parser that hung up is about to end; its exit status is part of the error.
        let status = if matches!(talked, Err(Broken::HungUp)) { worker.wait()? } else { worker.end()? };
        talked.map_err(|broken| match broken {
            Broken::Stopped(error) => error,
            Broken::Silent => failure(format!("reading it took longer than {} s", (limits.time * 4).as_secs())),
            Broken::Garbage => failure("what reads it broke, and sent what is no message".to_owned()),
            Broken::HungUp => failure(died(status, limits)),
        })?
    }
}

fn failure(text: String) -> anyhow::Error {
    Failure::build(text).hint("it is damaged, or was made to do that").into()
}

/// Describes how a parser died.
fn died(status: i32, limits: Limits) -> String {
    match status - 128 {
        nix::libc::SIGXCPU | nix::libc::SIGKILL => {
            format!("reading it took more than {} s of computing", limits.time.as_secs())
        }
        nix::libc::SIGABRT => format!("reading it took more than {} of memory", bytes(limits.memory)),
        _ => format!("what reads it {}", ending::describe(status, ending::Bounds::default())),
    }
}

/// Sends the job and receives pieces until the answer comes.
fn talk<A: DeserializeOwned>(
    socket: &mut UnixStream,
    job: &impl Serialize,
    mut patience: Duration,
    take: &mut dyn FnMut(Piece<'_>) -> Result<()>,
) -> std::result::Result<Result<A>, Broken> {
    let job = postcard::to_allocvec(job).expect("a job is plain data");
    // The job is short: it fits into the socket's buffer, whatever the worker does.
    let length = u32::try_from(job.len()).expect("a job is short").to_le_bytes();
    socket.set_write_timeout(Some(patience)).ok();
    // If the worker has ended already, it may still have sent a reason.
    socket.write_all(&[&length[..], &job].concat()).ok();
    loop {
        let mut head = [0; 5];
        fill(socket, &mut head, &mut patience)?;
        let [tag, length @ ..] = head;
        let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
        if length > if tag == tag::DATA { PIECE } else { LONGEST } {
            return Err(Broken::Garbage);
        }
        let mut message = vec![0; length];
        fill(socket, &mut message, &mut patience)?;
        match tag {
            tag::DATA => take(Piece::Data(&message)).map_err(Broken::Stopped)?,
            tag::NEXT => take(Piece::Next).map_err(Broken::Stopped)?,
            tag::ANSWER => return postcard::from_bytes(&message).map(Ok).map_err(|_| Broken::Garbage),
            tag::REFUSED => {
                let refused: Refused = postcard::from_bytes(&message).map_err(|_| Broken::Garbage)?;
                return Ok(Err(refused.into_error()));
            }
            tag::NOT_CONFINED => {
                let why = printable(&String::from_utf8_lossy(&message));
                return Ok(Err(with_cause(anyhow::anyhow!(why), Failure::host("cannot confine a worker process"))));
            }
            _ => return Err(Broken::Garbage),
        }
    }
}

/// Fills `buffer`. Only waiting uses up `patience`: the host's own work on the data does not count.
fn fill(socket: &mut UnixStream, buffer: &mut [u8], patience: &mut Duration) -> std::result::Result<(), Broken> {
    let mut filled = 0;
    while filled < buffer.len() {
        if patience.is_zero() {
            return Err(Broken::Silent);
        }
        let start = Instant::now();
        let received = socket.set_read_timeout(Some(*patience)).and_then(|()| socket.read(&mut buffer[filled..]));
        *patience = patience.saturating_sub(start.elapsed());
        match received {
            Ok(0) => return Err(Broken::HungUp),
            Ok(count) => filled += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => return Err(broken(&error)),
        }
    }
    Ok(())
}

fn broken(error: &std::io::Error) -> Broken {
    match error.kind() {
        ErrorKind::WouldBlock | ErrorKind::TimedOut => Broken::Silent,
        _ => Broken::HungUp,
    }
}

/// The parser's end of the connection, and its files.
#[derive(Debug)]
pub struct Inside {
    socket: UnixStream,
    pub files: Vec<File>,
}

impl Inside {
    /// Sends data to the host.
    ///
    /// # Errors
    /// If the host is gone.
    pub fn send(&mut self, data: &[u8]) -> Result<()> {
        data.chunks(PIECE).try_for_each(|piece| say(&mut self.socket, tag::DATA, piece))
    }

    /// Announces the next item.
    ///
    /// # Errors
    /// If the host is gone.
    pub fn begin_next(&mut self) -> Result<()> {
        say(&mut self.socket, tag::NEXT, &[])
    }
}

/// Sends what is written to the host.
impl std::io::Write for Inside {
    fn write(&mut self, data: &[u8]) -> std::io::Result<usize> {
        self.send(data).map(|()| data.len()).map_err(std::io::Error::other)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn say(socket: &mut UnixStream, tag: u8, message: &[u8]) -> Result<()> {
    let length = u32::try_from(message.len()).context("a message is too long")?.to_le_bytes();
    let head = [&[tag][..], &length].concat();
    socket.write_all(&head).and_then(|()| socket.write_all(message)).context("the host is gone")
}

/// Runs the parser's side: confines the process, receives the job, and lets `work` do it.
///
/// # Errors
/// If no host started it, or the host is gone.
pub fn serve<J: DeserializeOwned, A: Serialize>(
    arguments: &[String],
    work: impl FnOnce(J, &mut Inside) -> Result<A>,
) -> Result<i32> {
    let mut entered = enter(arguments)?;
    if let Err(error) = entered.confine() {
        say(&mut entered.socket, tag::NOT_CONFINED, format!("{error:#}").as_bytes())?;
        return Ok(1);
    }
    let Entered { mut socket, files, .. } = entered;
    let mut length = [0; 4];
    socket.read_exact(&mut length).context("the host is gone")?;
    let mut job = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)];
    socket.read_exact(&mut job).context("the host is gone")?;
    let job = postcard::from_bytes(&job).map_err(|_| Failure::bug("the host gave no job"))?;
    let mut inside = Inside { socket, files };
    match work(job, &mut inside) {
        Ok(answer) => {
            let answer = postcard::to_allocvec(&answer).map_err(|_| Failure::bug("an answer cannot be written"))?;
            if answer.len() > LONGEST {
                let refused = Refused::of(&Failure::build("there is more in it than can be told").into());
                say(&mut inside.socket, tag::REFUSED, &postcard::to_allocvec(&refused).expect("plain data"))?;
            } else {
                say(&mut inside.socket, tag::ANSWER, &answer)?;
            }
        }
        Err(error) => {
            let refused = postcard::to_allocvec(&Refused::of(&error)).expect("plain data");
            say(&mut inside.socket, tag::REFUSED, &refused)?;
        }
    }
    Ok(0)
}
