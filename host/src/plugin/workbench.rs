//! Defines what an `execute()` may reach of the build, as one trait. The gate was asked before any of it is called.

use std::fmt;
use std::fs::File;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::download::Url;
use crate::git::{ObjectId, Snapshot};
use crate::recipe::{debconf, pin};
use crate::rootfs::files::{ImagePath, Rootfs};
use crate::secret::Authorization;

/// The build's side of the host functions.
pub trait Workbench {
    fn rootfs(&self) -> &Rootfs;

    /// Returns the files that hold a kernel command line of some board: `config.txt` may name others than `cmdline.txt`
    /// (<https://www.raspberrypi.com/documentation/computers/config_txt.html#cmdline>).
    ///
    /// # Errors
    /// If the boot files cannot be read.
    fn command_lines(&self) -> anyhow::Result<Vec<ImagePath>>;

    /// Begins a call, of that number in the audit log and that name. What changes until [`Workbench::end_call`] is its
    /// work.
    fn begin_call(&mut self, _number: u64, _name: &str) {}

    /// Ends a call, whatever its result.
    ///
    /// # Errors
    /// If it cannot be told what it changed.
    fn end_call(&mut self) -> anyhow::Result<()> {
        Ok(())
    }

    /// Runs a command in the box to its end. Output whose sink is [`Sink::Log`] is logged by the implementation, line by
    /// line as it comes.
    ///
    /// # Errors
    /// A [`CallError`] in the chain reaches the plugin with its code; anything else as [`ErrorCode::Io`].
    fn run(&mut self, command: &Command, stdin: Option<Stdin<'_>>) -> anyhow::Result<Outcome>;

    /// Returns the connections that commands asked for since the last call; `None` where commands have no network.
    fn connections(&mut self) -> Vec<ConnectionNote> {
        Vec::new()
    }

    /// Sees that packages, each `name` or `name=version`, are in the layers below the plugin's, and returns what came
    /// into the image for this very request; `None` if they are not there yet. Then the run has to end and to begin
    /// anew above a layer that has them: no package is ever installed where a plugin has been.
    ///
    /// # Errors
    /// Those of [`Workbench::run`].
    fn install_packages(&mut self, specs: &[String], recommends: bool)
    -> anyhow::Result<Option<Vec<InstalledPackage>>>;

    /// Returns whether the layers below the plugin's are as `request` says; if not, the run has to end in the same way.
    ///
    /// # Errors
    /// Those of [`Workbench::run`], and [`ErrorCode::Invalid`] if somebody else wants it otherwise.
    fn has_settled(&mut self, request: &PackageRequest) -> anyhow::Result<bool>;

    /// Makes one request for a file, unless one of that SHA-256, in hexadecimal, is at hand. Another file that comes of a
    /// request with `authorization` is not kept.
    ///
    /// # Errors
    /// Those of [`Workbench::run`].
    fn fetch(&mut self, url: &Url, digest: &str, authorization: Option<&Authorization>) -> anyhow::Result<Fetched>;

    /// Fetches a commit of the repository at `url`, unless it is at hand, and looks at all of it.
    ///
    /// # Errors
    /// Those of [`Workbench::run`]; a [`GitError`](crate::git::GitError) reaches the plugin with a code, too.
    fn fetch_commit(
        &mut self,
        url: &Url,
        commit: &ObjectId,
        authorization: Option<&Authorization>,
    ) -> anyhow::Result<Snapshot>;

    /// Returns what is in a compressed file, or the file's content if it is not compressed.
    ///
    /// # Errors
    /// Those of [`Workbench::run`].
    fn unpacked(&mut self, file: &File) -> anyhow::Result<File>;

    /// # Errors
    /// Those of [`Workbench::run`].
    fn query_package(&mut self, name: &str) -> anyhow::Result<Option<InstalledPackage>>;
}

/// Result of a request.
#[derive(Debug)]
pub enum Fetched {
    /// The file, and its SHA-256 in hexadecimal.
    Content { file: File, digest: String },
    /// It is elsewhere. Whether that is allowed is not decided here.
    Redirect(String),
}

/// A connection that a command asked for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConnectionNote {
    pub host: String,
    pub port: u16,
    pub sent: u64,
    pub received: u64,
    /// Outcome of the connection.
    pub fate: String,
}

/// Standard input of a command. The command gets the content, never the file: it could write through it.
#[derive(Clone, Copy, Debug)]
pub enum Stdin<'a> {
    Bytes(&'a [u8]),
    /// The first bytes of a file, as many as given.
    File {
        file: &'a File,
        length: u64,
    },
}

/// Destination of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Sink {
    Log,
    /// Into the outcome, at most [`CAPTURE_LIMIT`] bytes.
    Capture,
    Discard,
}

impl Sink {
    /// Returns what an [`Outcome`] holds of a stream that goes there.
    pub fn captured(self, mut stream: Vec<u8>) -> Vec<u8> {
        stream.truncate(if self == Self::Capture { CAPTURE_LIMIT } else { 0 });
        stream
    }
}

/// Most bytes of each stream that an [`Outcome`] holds.
pub const CAPTURE_LIMIT: usize = 1 << 20;

/// A command inside the image, checked for form: no NUL, an absolute or bare program, each variable once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Command {
    pub program: String,
    /// Arguments without the program's name.
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Absolute; `/` if none.
    pub cwd: Option<String>,
    /// `root` if none.
    pub user: Option<String>,
    /// The build's limit if none.
    pub timeout: Option<Duration>,
    pub stdout: Sink,
    pub stderr: Sink,
}

impl Command {
    /// Returns the program and its arguments.
    pub fn argv(&self) -> Vec<String> {
        std::iter::once(&self.program).chain(&self.args).cloned().collect()
    }
}

/// Result of a command.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// Exit status, or 128 + the signal's number.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Captured output is missing.
    pub truncated: bool,
    /// Last lines of output that was not captured.
    pub tail: String,
}

/// A change of the packages below a plugin, which it asked for while it ran.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PackageRequest {
    /// Each is `name` or `name=version`.
    Install {
        specs: Vec<String>,
        recommends: bool,
    },
    Remove {
        names: Vec<String>,
        purge: bool,
    },
    /// Answers that debconf has before packages ask.
    Answer {
        answers: Vec<debconf::Answer>,
    },
    /// A preference for apt, in a file named after its author.
    Pin {
        pins: Vec<pin::Pin>,
    },
}

impl fmt::Display for PackageRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Install { specs, recommends: false } => write!(f, "Install {}", specs.join(", ")),
            Self::Install { specs, .. } => write!(f, "Install {} and what they recommend", specs.join(", ")),
            Self::Remove { names, .. } => write!(f, "Remove {}", names.join(", ")),
            Self::Answer { answers } => {
                let answers: Vec<String> = answers.iter().map(ToString::to_string).collect();
                write!(f, "Answer {}", answers.join(", "))
            }
            Self::Pin { pins } => {
                let pins: Vec<String> = pins.iter().map(ToString::to_string).collect();
                write!(f, "Pin {}", pins.join(", "))
            }
        }
    }
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InstalledPackage {
    pub name: String,
    pub version: String,
    pub architecture: String,
}

/// The codes of the contract's `types.error-code`, which is frozen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum ErrorCode {
    Denied,
    Invalid,
    NotFound,
    Exists,
    NotAFile,
    NotADirectory,
    Limit,
    Timeout,
    CommandFailed,
    Network,
    DigestMismatch,
    Cancelled,
    Unsupported,
    Io,
}

/// A failed call as the plugin sees it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CallError {
    pub code: ErrorCode,
    pub message: String,
    /// For [`ErrorCode::Denied`]: the narrowest capability that would have allowed it.
    pub needed: Option<String>,
}

impl CallError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), needed: None }
    }
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for CallError {}
