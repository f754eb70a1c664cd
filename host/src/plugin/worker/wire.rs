//! Messages on the socket between host and worker: the length in four bytes, then the content.

use std::io::{ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use rustix::net::RecvFlags;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sandbox::ending::{Bounds, describe};

/// Longest message from a worker: more than one call may carry from the guest to the host, and less than would hurt.
const MAX_FROM_WORKER: usize = super::engine::HOSTCALL_FUEL + (1 << 20);

/// Violation of the protocol by a worker.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// It closed the socket.
    HungUp,
    /// It ended with that status.
    Died(i32),
    /// It did not answer in time.
    Silent,
    Garbage(&'static str),
}

impl Broken {
    pub(super) const WRONG_ANSWER: &'static str = "gave the answer to another question";

    /// Describes the fault in words that follow "it"; `memory` is the limit that it had.
    pub(super) fn describe(&self, memory: u64) -> String {
        const ABORTED: i32 = 128 + nix::libc::SIGABRT;
        match self {
            Self::Died(ABORTED) => format!(
                "made its process abort: it needs more than the {} of memory that it may use, or the engine is broken",
                crate::ui::bytes(memory)
            ),
            Self::Died(status) => format!("lost its process, which {}", describe(*status, Bounds::default())),
            Self::HungUp => "closed the way to the host".to_owned(),
            Self::Silent => "gave no sign of life in time and was killed".to_owned(),
            Self::Garbage(what) => format!("did not keep to the protocol and was killed: its process sent {what}"),
        }
    }
}

/// The time that is left for waiting for a worker, all waits together.
#[derive(Debug)]
pub(super) struct Patience {
    left: Duration,
}

impl Patience {
    pub(super) const fn new(left: Duration) -> Self {
        Self { left }
    }

    /// Does `step` once, which waits no longer than it is told.
    fn wait<T>(&mut self, step: impl FnOnce(Duration) -> std::io::Result<T>) -> Result<Option<T>, Broken> {
        if self.left.is_zero() {
            return Err(Broken::Silent);
        }
        let start = Instant::now();
        let done = step(self.left);
        self.left = self.left.saturating_sub(start.elapsed());
        match done {
            Ok(value) => Ok(Some(value)),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock | ErrorKind::TimedOut => Err(Broken::Silent),
                ErrorKind::Interrupted => Ok(None),
                _ => Err(Broken::HungUp),
            },
        }
    }
}

/// Sends to a worker.
pub(super) fn send<T: Serialize>(socket: &mut UnixStream, message: &T, patience: &mut Patience) -> Result<(), Broken> {
    let message = encode(message).map_err(|_| Broken::Garbage("what has no answer"))?;
    let mut rest = message.as_slice();
    while !rest.is_empty() {
        let sent = patience.wait(|left| {
            socket.set_write_timeout(Some(left))?;
            socket.write(rest)
        })?;
        rest = &rest[sent.unwrap_or_default()..];
    }
    Ok(())
}

/// Receives from a worker.
pub(super) fn receive<T: DeserializeOwned>(socket: &mut UnixStream, patience: &mut Patience) -> Result<T, Broken> {
    let mut length = [0; 4];
    fill(socket, &mut length, patience)?;
    let length = usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX);
    if length > MAX_FROM_WORKER {
        return Err(Broken::Garbage("a message that is too long"));
    }
    let mut message = vec![0; length];
    fill(socket, &mut message, patience)?;
    decode(&message).ok_or(Broken::Garbage("what is no message"))
}

fn fill(socket: &mut UnixStream, buffer: &mut [u8], patience: &mut Patience) -> Result<(), Broken> {
    let mut filled = 0;
    while filled < buffer.len() {
        let received = patience.wait(|left| {
            socket.set_read_timeout(Some(left))?;
            socket.read(&mut buffer[filled..])
        })?;
        match received {
            Some(0) => return Err(Broken::HungUp),
            received => filled += received.unwrap_or_default(),
        }
    }
    Ok(())
}

/// Checks that the worker sends nothing: it is waiting for an answer.
pub(super) fn expect_silence(socket: &UnixStream) -> Result<(), Broken> {
    match rustix::net::recv(socket, &mut [0u8; 1][..], RecvFlags::PEEK | RecvFlags::DONTWAIT) {
        Ok((_, 1..)) => Err(Broken::Garbage("a message out of turn")),
        _ => Ok(()),
    }
}

/// Sends a message from the worker. There is no time limit: the host ends a worker.
pub(super) fn say<T: Serialize>(socket: &mut UnixStream, message: &T) -> std::io::Result<()> {
    socket.write_all(&encode(message)?)
}

pub(super) fn hear<T: DeserializeOwned>(socket: &mut UnixStream) -> std::io::Result<T> {
    let mut length = [0; 4];
    socket.read_exact(&mut length)?;
    let mut message = vec![0; usize::try_from(u32::from_le_bytes(length)).unwrap_or(usize::MAX)];
    socket.read_exact(&mut message)?;
    decode(&message).ok_or_else(|| ErrorKind::InvalidData.into())
}

/// Returns a message with its length before it.
///
/// # Errors
/// If it cannot be written down, or is longer than a length can tell.
pub fn encode<T: Serialize>(message: &T) -> std::io::Result<Vec<u8>> {
    let mut encoded = postcard::to_extend(message, vec![0; 4]).map_err(std::io::Error::other)?;
    let length = u32::try_from(encoded.len() - 4).map_err(std::io::Error::other)?;
    encoded[..4].copy_from_slice(&length.to_le_bytes());
    Ok(encoded)
}

/// Decodes a message body; returns `None` if it is malformed or has trailing bytes.
pub fn decode<T: DeserializeOwned>(message: &[u8]) -> Option<T> {
    let (value, rest) = postcard::take_from_bytes(message).ok()?;
    rest.is_empty().then_some(value)
}
