//! Fetches a commit of a git repository with its files over https: one request of version 2 of git's protocol
//! (<https://git-scm.com/docs/protocol-v2>), whose answer is parsed here.
//!
//! No program of git's has a part in it: none is given the secret or the network, and what a server sends, which nobody
//! can trust, is read by code without a way to leave its memory. Every object is known by its digest, from the commit that
//! was asked for down to each file: what a server can choose is to send them or not.

mod answer;
mod delta;
mod object;
mod pack;
mod snapshot;
#[cfg(test)]
mod tests;

use std::fmt;
use std::fs::File;
use std::io::Read;

use crate::download::{self, Authorities, Limits, Url};
use crate::secret::Authorization;
use crate::ui::printable;
pub use object::ObjectId;
pub use snapshot::{Entry, EntryKind, Snapshot};
#[cfg(test)]
pub(crate) use tests::sample;

/// Limits of a commit's transfer: sources are far smaller, and disk images have no place in git.
pub const LIMITS: Limits = Limits { size: 4 << 30, ..Limits::USUAL };

/// Kinds of failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The server was not reached, refuses, or speaks something else.
    Network,
    /// The server has no such commit.
    NotFound,
    /// The answer is not the requested commit.
    Damaged,
    /// The commit holds what has no place in an image.
    Refused,
    /// It is too much.
    Limit,
    /// The host's system failed.
    Io,
}

/// Reason for a missing commit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GitError {
    pub fault: Fault,
    cause: String,
    /// Words of the server's.
    said: Option<String>,
}

impl GitError {
    fn new(fault: Fault, cause: impl Into<String>) -> Self {
        Self { fault, cause: cause.into(), said: None }
    }

    fn damaged(cause: impl Into<String>) -> Self {
        Self::new(Fault::Damaged, cause)
    }

    fn io(error: &std::io::Error) -> Self {
        Self::new(Fault::Io, error.to_string())
    }
}

/// Harmless to a terminal, whoever had a hand in it.
impl fmt::Display for GitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&printable(&self.cause))?;
        self.said.as_ref().map_or(Ok(()), |said| write!(f, ": `{}`", printable(said)))
    }
}

impl std::error::Error for GitError {}

type Answer<T> = Result<T, GitError>;

/// Asks the repository at `url` for a commit without its history. The pack that comes is left in `file`, which is empty.
///
/// # Errors
/// Those of [`take`]; [`Fault::Network`] if there is no answer. Words of the server's are in it only where it was sent no secret,
/// which could be in them.
pub fn fetch(
    url: &Url,
    commit: &ObjectId,
    authorization: Option<&Authorization>,
    file: &mut File,
    authorities: &Authorities,
    limits: Limits,
) -> Answer<Snapshot> {
    let at = address(url);
    let at = Url::parse(&at).map_err(|cause| GitError::new(Fault::Network, format!("`{at}`: {cause}")))?;
    let question = download::Question { headers: &answer::HEADERS, body: &answer::question(commit) };
    let answered = download::post(&at, authorization, &question, authorities, limits)
        .map_err(|error| GitError::new(Fault::Network, format!("{error:#}")))?;
    check_status(&answered, &at)?;
    take(answered.body, commit, file, limits.size).map_err(|error| match authorization {
        Some(_) => GitError { said: None, ..error },
        None => error,
    })
}

/// Takes the commit out of a server's answer, which may have `most` bytes, by way of `file`, which is empty.
///
/// # Errors
/// [`Fault::Network`] and [`Fault::NotFound`] as the server says; as [`Snapshot::read`].
pub fn take(answer: impl Read, commit: &ObjectId, file: &mut File, most: u64) -> Answer<Snapshot> {
    answer::read(answer, file, most, commit)?;
    Snapshot::read(file.try_clone().map_err(|error| GitError::io(&error))?, commit)
}

/// Returns the address to request, below the repository's.
pub fn address(url: &Url) -> String {
    format!("{url}/git-upload-pack")
}

fn check_status(answered: &download::Answered, at: &Url) -> Answer<()> {
    let cause = match answered.status {
        200 if answered.content_type == answer::CONTENT_TYPE => return Ok(()),
        200 => "the server answered with something else than git does".to_owned(),
        301 | 302 | 303 | 307 | 308 => {
            "the server sends on to another address, which is not followed: name the repository's own".to_owned()
        }
        status @ (401 | 403) => {
            format!("the server answered with status {status}: it wants a user and a password, or other ones")
        }
        status => format!("the server answered with status {status}"),
    };
    Err(GitError::new(Fault::Network, format!("cannot ask `{at}`: {cause}")))
}
