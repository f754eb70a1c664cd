//! Feeds a started program, waits for it, and collects its output.

use std::io::{ErrorKind, Read, Write as _};
use std::process::{Child, ExitStatus};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process, pidfd_open};

use crate::error::{Context as _, Result};

/// Limits of one run: how long to wait, and how much output to keep.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// Wall-clock limit; `None` waits for ever.
    pub time: Option<Duration>,
    /// Most bytes of each of the two output streams.
    pub output: usize,
}

impl Patience {
    /// No limit: for a program that reads only trusted input.
    pub(super) const ENDLESS: Self = Self { time: None, output: usize::MAX };
}

/// Result of one run.
#[derive(Debug)]
pub(super) enum Collected {
    /// The program exited, or a signal from outside ended it.
    Ended { status: ExitStatus, stdout: Vec<u8>, stderr: Vec<u8> },
    /// Killed: the time limit passed.
    TooLong,
    /// Killed: it printed more than the limit.
    TooMuch,
}

/// Writes `stdin` to `child`, whose streams are all pipes, and waits until it ends.
///
/// # Errors
/// If it cannot be waited for, or if it reads its input and that cannot be written.
pub(super) fn collect(mut child: Child, stdin: &[u8], patience: Patience) -> Result<Collected> {
    let mut input = child.stdin.take().expect("stdin is piped");
    let (stdout, stderr) = (child.stdout.take().expect("stdout is piped"), child.stderr.take().expect("it is piped"));
    let process = Pid::from_child(&child);
    let kill = move || {
        // Fails only if the process has ended already.
        kill_process(process, Signal::KILL).ok();
    };
    let (in_time, written, out, err) = std::thread::scope(|scope| {
        let writer = scope.spawn(move || input.write_all(stdin));
        let (out, err) = (
            scope.spawn(move || keep(stdout, patience.output).inspect_err(|()| kill())),
            scope.spawn(move || keep(stderr, patience.output).inspect_err(|()| kill())),
        );
        let in_time = wait(&child, patience.time);
        if !matches!(in_time, Ok(true)) {
            kill();
        }
        // The process id cannot be reused before this point: `child` is reaped only below.
        let (out, err) = (out.join().expect("it does not panic"), err.join().expect("it does not panic"));
        (in_time, writer.join().expect("it does not panic"), out, err)
    });
    let status = child.wait().context("cannot wait for a program")?;
    match (in_time?, out, err) {
        (false, _, _) => Ok(Collected::TooLong),
        (true, Ok(stdout), Ok(stderr)) => match written {
            // The program may end without reading all of its input; its exit status says whether that was a failure.
            Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error).context("cannot write to a program"),
            _ => Ok(Collected::Ended { status, stdout, stderr }),
        },
        (true, _, _) => Ok(Collected::TooMuch),
    }
}

/// Waits until the process has ended, without reaping it: its id stays reserved. Returns `false` on time-out.
fn wait(child: &Child, time: Option<Duration>) -> Result<bool> {
    let failed = "cannot wait for a program";
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty()).context(failed)?;
    let end = time.map(|time| Instant::now() + time);
    loop {
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        let timeout = left.map(|left| rustix::event::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        });
        match rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], timeout.as_ref()) {
            Ok(0) if end.is_some_and(|end| Instant::now() >= end) => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error).context(failed),
        }
    }
}

/// Reads `pipe` to its end. Fails if it carries more than `most` bytes.
fn keep(pipe: impl Read, most: usize) -> std::result::Result<Vec<u8>, ()> {
    let mut kept = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    pipe.take(limit).read_to_end(&mut kept).map_err(drop)?;
    if kept.len() > most { Err(()) } else { Ok(kept) }
}
