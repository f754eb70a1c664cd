//! Commands inside the image: no shell, no network that was not granted, arguments as they are.

use std::time::Duration;

use crate::__private::bindings::piimg::plugin::process as raw;
use crate::{Blob, Error, ErrorCode};

/// A command in the making. Needs `exec:<program> <args>`, with variables (`NAME=value`) before the program.
#[derive(Clone, Debug)]
pub struct Command(raw::Command);

/// How a command ended.
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status, or 128 and the number of the signal that ended it.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Some of the output is missing, because there was too much.
    pub truncated: bool,
}

impl Output {
    /// Standard output as text; bytes that are no UTF-8 become replacement characters.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Command {
    /// `program` is an absolute path in the image or a bare name.
    #[must_use]
    pub fn new(program: &str) -> Self {
        Self(raw::Command {
            program: program.to_owned(),
            args: Vec::new(),
            env: Vec::new(),
            cwd: None,
            user: None,
            timeout_ms: None,
            stdout: raw::Sink::Log,
            stderr: raw::Sink::Log,
        })
    }

    #[must_use]
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.0.args.push(arg.into());
        self
    }

    #[must_use]
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable, once. All but a few (`LANG`, `LC_*`, `TZ` and the like) are a part of the capability:
    /// `exec:NAME=value program`.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Working directory; `/` by default.
    #[must_use]
    pub fn cwd(mut self, directory: &str) -> Self {
        self.0.cwd = Some(directory.to_owned());
        self
    }

    /// User of the image; `root` by default.
    #[must_use]
    pub fn user(mut self, name: &str) -> Self {
        self.0.user = Some(name.to_owned());
        self
    }

    /// How long it may take; the build's own limit by default.
    #[must_use]
    pub fn timeout(mut self, time: Duration) -> Self {
        self.0.timeout_ms = Some(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Runs it with its output in the log; a status other than 0 is an error that quotes the last lines.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`], [`ErrorCode::Timeout`], [`ErrorCode::CommandFailed`].
    pub fn run(&self) -> Result<(), Error> {
        self.checked(raw::run(&self.0, None)?).map(|_| ())
    }

    /// As [`Command::run`], with standard input.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn run_with_input(&self, input: &Blob) -> Result<(), Error> {
        self.checked(raw::run(&self.0, Some(&input.0))?).map(|_| ())
    }

    /// Runs it and returns what it wrote to standard output, at most 1 MiB; a status other than 0 is an error.
    ///
    /// # Errors
    /// As [`Command::run`].
    pub fn read(&self) -> Result<String, Error> {
        let command = raw::Command { stdout: raw::Sink::Capture, ..self.0.clone() };
        let outcome = self.checked(raw::run(&command, None)?)?;
        Ok(String::from_utf8_lossy(&outcome.stdout).into_owned())
    }

    /// Runs it and returns status and output, whatever the status is.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`], [`ErrorCode::Timeout`]; [`ErrorCode::NotFound`] if there is no such program.
    pub fn output(&self) -> Result<Output, Error> {
        let command = raw::Command { stdout: raw::Sink::Capture, stderr: raw::Sink::Capture, ..self.0.clone() };
        let raw::Outcome { status, stdout, stderr, truncated, .. } = raw::run(&command, None)?;
        Ok(Output { status, stdout, stderr, truncated })
    }

    fn checked(&self, outcome: raw::Outcome) -> Result<raw::Outcome, Error> {
        if outcome.status == 0 {
            return Ok(outcome);
        }
        let mut message = format!("`{}` failed with status {}", self.0.program, outcome.status);
        if !outcome.tail.is_empty() {
            message = format!("{message}: {}", outcome.tail);
        }
        Err(Error::new(ErrorCode::CommandFailed, message))
    }
}
