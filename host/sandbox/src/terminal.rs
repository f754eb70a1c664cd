//! Gives a command of the image a terminal of its own, and joins it with the user's.
//!
//! The user's own terminal is in no box: who has it may change its settings, and write what the user's shell then reads as if it
//! had been typed. What the command prints is shown as it is, as a terminal of a machine that one logs in to does.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::pty::{OpenptFlags, grantpt, ioctl_tiocgptpeer, openpt, unlockpt};
use rustix::stdio::{stdin, stdout};
use rustix::termios::{OptionalActions, Termios, Winsize, isatty, tcgetattr, tcgetwinsize, tcsetattr, tcsetwinsize};

use crate::error::{Context as _, Failure, Result};

/// Time between two looks at the size of the user's terminal.
const TICK: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// Byte that ends the input of a terminal (`Ctrl-D`), and the time after which it is typed again: a program that begins to edit lines
/// loses what was typed before, and a first one may end a line.
const END_OF_INPUT: u8 = 4;
const AGAIN: Duration = Duration::from_secs(1);

/// Most bytes that are carried at once.
const PIECE: usize = 4096;

/// A pair of connected terminals: <https://man7.org/linux/man-pages/man7/pty.7.html>.
#[derive(Debug)]
pub struct Terminal {
    near: OwnedFd,
    far: OwnedFd,
    /// The socket of [`left`], and its other end.
    asked: UnixStream,
    asks: UnixStream,
}

/// Says that the command on the far end of a terminal has ended, and waits until the user's terminal is as it was: what is printed
/// from now on is no command's. `asks` is the end of [`Terminal::asks`].
pub fn left(mut asks: &UnixStream) {
    let waited = asks.set_read_timeout(Some(AGAIN)).and_then(|()| asks.write_all(&[0]));
    // If nobody answers, the lines that follow are not straight.
    waited.and_then(|()| asks.read_exact(&mut [0])).ok();
}

impl Terminal {
    /// # Errors
    /// [`Failure::host`] if the kernel has none left.
    pub fn open() -> Result<Self> {
        let pair = || -> rustix::io::Result<(OwnedFd, OwnedFd)> {
            let flags = OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC;
            let near = openpt(flags)?;
            grantpt(&near)?;
            unlockpt(&near)?;
            let far = ioctl_tiocgptpeer(&near, flags)?;
            let status = rustix::fs::fcntl_getfl(&near)?;
            rustix::fs::fcntl_setfl(&near, status | OFlags::NONBLOCK)?;
            Ok((near, far))
        };
        let failed = || Failure::host("cannot make a terminal for the shell");
        let (near, far) = pair().with_context(failed)?;
        let (asked, asks) = UnixStream::pair().with_context(failed)?;
        Ok(Self { near, far, asked, asks })
    }

    /// Returns the end that becomes the command's terminal.
    pub fn far(&self) -> BorrowedFd<'_> {
        self.far.as_fd()
    }

    /// Returns the end of the socket by which the command's process says that it has ended: [`left`].
    pub fn asks(&self) -> BorrowedFd<'_> {
        self.asks.as_fd()
    }

    /// Carries what is typed and printed while `work` runs. The user's terminal is left as it is until something was printed, and
    /// put back at the end.
    ///
    /// # Errors
    /// If standard input or output cannot be used.
    pub fn join<T>(&self, work: impl FnOnce() -> T) -> Result<T> {
        let (running, ended) = UnixStream::pair().context("cannot make a socket pair")?;
        std::thread::scope(|scope| {
            let carrier = scope.spawn(|| self.carry(&ended));
            let result = work();
            drop(running);
            carrier.join().expect("carrying does not panic")?;
            Ok(result)
        })
    }

    fn carry(&self, ended: &UnixStream) -> Result<()> {
        let (mut raw, mut size) = (None, None);
        let mut buffer = vec![0; PIECE];
        // What was typed and not taken yet.
        let mut typed: Vec<u8> = Vec::new();
        let (mut has_begun, mut is_open) = (false, true);
        let mut ended_input = None::<Instant>;
        loop {
            self.follow(&mut size);
            if !is_open && typed.is_empty() && ended_input.is_none_or(|last| last.elapsed() >= AGAIN) {
                typed.push(END_OF_INPUT);
                ended_input = Some(Instant::now());
            }
            let wanted = if typed.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            let input = stdin();
            let mut polled = vec![
                PollFd::new(ended, PollFlags::IN),
                PollFd::new(&self.near, wanted),
                PollFd::new(&self.asked, PollFlags::IN),
            ];
            if has_begun && is_open && typed.is_empty() {
                polled.push(PollFd::new(&input, PollFlags::IN));
            }
            match poll(&mut polled, Some(&TICK)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => return Err(error).context("cannot wait for the terminal"),
            }
            let ready: Vec<PollFlags> = polled.iter().map(PollFd::revents).collect();
            drop(polled);
            if ready[1].contains(PollFlags::IN)
                && let Some(length) = some(rustix::io::read(&self.near, &mut *buffer))?
            {
                if !has_begun {
                    has_begun = true;
                    raw = Raw::set();
                }
                write_all(&buffer[..length])?;
                continue;
            }
            if ready[1].contains(PollFlags::OUT)
                && let Some(length) = some(rustix::io::write(&self.near, &typed))?
            {
                typed.drain(..length);
            }
            if ready[2].contains(PollFlags::IN) {
                raw = None;
                let mut asked = &self.asked;
                let answered = asked.read_exact(&mut [0]).and_then(|()| asked.write_all(&[0]));
                answered.context("the shell's process went away")?;
                (has_begun, is_open) = (false, true);
            }
            if ready.get(3).is_some_and(|flags| !flags.is_empty())
                && let Some(length) = some(rustix::io::read(stdin(), &mut *buffer))?
            {
                is_open = length > 0;
                typed.extend_from_slice(&buffer[..length]);
            }
            if !ready[0].is_empty() {
                drop(raw);
                return Ok(());
            }
        }
    }

    /// Gives the terminal the size of the user's, if that has changed.
    fn follow(&self, known: &mut Option<Winsize>) {
        let Ok(size) = tcgetwinsize(stdout()) else { return };
        let is_known = known.is_some_and(|known| (known.ws_row, known.ws_col) == (size.ws_row, size.ws_col));
        if !is_known && tcsetwinsize(&self.near, size).is_ok() {
            *known = Some(size);
        }
    }
}

/// Returns the length that was carried; `None` if nothing can be at the moment, or the command's end is closed.
fn some(result: rustix::io::Result<usize>) -> Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(Errno::AGAIN | Errno::INTR | Errno::IO) => Ok(None),
        Err(error) => Err(error).context("cannot use the terminal"),
    }
}

fn write_all(mut data: &[u8]) -> Result<()> {
    while !data.is_empty() {
        match rustix::io::write(stdout(), data) {
            Ok(length) => data = &data[length..],
            Err(Errno::INTR | Errno::AGAIN) => {}
            Err(error) => return Err(error).context("cannot write to standard output"),
        }
    }
    Ok(())
}

/// The user's terminal while each key goes to the command as it is; put back when it is dropped.
struct Raw(Termios);

impl Raw {
    /// Returns `None` if standard input is no terminal.
    fn set() -> Option<Self> {
        let before = isatty(stdin()).then(|| tcgetattr(stdin()).ok()).flatten()?;
        let mut raw = before.clone();
        raw.make_raw();
        tcsetattr(stdin(), OptionalActions::Now, &raw).ok()?;
        Some(Self(before))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        tcsetattr(stdin(), OptionalActions::Now, &self.0).ok();
    }
}
