//! Commands inside the image: no shell, no network that was not granted, arguments as they are.

use std::time::Duration;

use crate::__private::bindings::piimg::plugin::process as raw;
use crate::template::filled;
use crate::{Blob, Error, ErrorCode, Need, Needs};

/// A command in the making. Its capability is `exec:<program> <args>`, with variables (`NAME=value`) before the program. See [`Command::new`].
#[must_use = "nothing runs before `apply`, `read` or `output`"]
#[derive(Clone, Debug)]
pub struct Command(raw::Command);

/// The end of a command.
///
/// ```no_run
/// # use piimg_plugin_sdk::process::Command;
/// let output = Command::new("grep").args(["-c", "processor", "/proc/cpuinfo"]).output()?;
/// if output.status == 0 {
///     println!("{} cores", output.stdout_text().trim());
/// }
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct Output {
    /// Exit status, or 128 and the number of the signal that ended it.
    pub status: i32,
    /// Standard output.
    pub stdout: Vec<u8>,
    /// Standard error.
    pub stderr: Vec<u8>,
    /// Some of the output is missing, because there was too much.
    pub truncated: bool,
}

impl Output {
    /// Returns standard output as text; bytes that are no UTF-8 become replacement characters.
    #[must_use]
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }
}

impl Command {
    /// Describes a command: `program` is an absolute path in the image or a bare name.
    ///
    /// ```no_run
    /// # use piimg_plugin_sdk::process::Command;
    /// Command::new("update-alternatives").args(["--set", "editor", "/usr/bin/vim.tiny"]).apply()?;
    /// # Ok::<(), piimg_plugin_sdk::Error>(())
    /// ```
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

    /// Adds an argument.
    pub fn arg(mut self, arg: impl Into<String>) -> Self {
        self.0.args.push(arg.into());
        self
    }

    /// Adds arguments.
    pub fn args<A: Into<String>>(mut self, args: impl IntoIterator<Item = A>) -> Self {
        self.0.args.extend(args.into_iter().map(Into::into));
        self
    }

    /// Sets a variable, once. All but a few (`LANG`, `LC_*`, `TZ` and the like) are a part of the capability:
    /// `exec:NAME=value program`.
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Sets the working directory; `/` by default.
    pub fn cwd(mut self, directory: &str) -> Self {
        self.0.cwd = Some(directory.to_owned());
        self
    }

    /// Sets the user of the image; `root` by default.
    pub fn user(mut self, name: &str) -> Self {
        self.0.user = Some(name.to_owned());
        self
    }

    /// Sets how long it may take; the build's own limit by default.
    pub fn timeout(mut self, time: Duration) -> Self {
        self.0.timeout_ms = Some(u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        self
    }

    /// Runs it with its output in the log; a status other than 0 is an error that quotes the last lines.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`], [`ErrorCode::Timeout`], [`ErrorCode::CommandFailed`].
    pub fn apply(&self) -> Result<(), Error> {
        let command = self.filled()?;
        self.checked(raw::run(&command, None)?).map(|_| ())
    }

    /// Runs it as [`Command::apply`] does, with standard input.
    ///
    /// # Errors
    /// As [`Command::apply`].
    pub fn apply_with_input(&self, input: &Blob) -> Result<(), Error> {
        let command = self.filled()?;
        self.checked(raw::run(&command, Some(&input.0))?).map(|_| ())
    }

    /// Runs it and returns what it wrote to standard output, at most 1 MiB; a status other than 0 is an error.
    ///
    /// # Errors
    /// As [`Command::apply`].
    pub fn read(&self) -> Result<String, Error> {
        let command = raw::Command { stdout: raw::Sink::Capture, ..self.filled()? };
        let outcome = self.checked(raw::run(&command, None)?)?;
        Ok(String::from_utf8_lossy(&outcome.stdout).into_owned())
    }

    /// Runs it and returns status and output, whatever the status is.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`], [`ErrorCode::Timeout`]; [`ErrorCode::NotFound`] if there is no such program.
    pub fn output(&self) -> Result<Output, Error> {
        let command = raw::Command { stdout: raw::Sink::Capture, stderr: raw::Sink::Capture, ..self.filled()? };
        let raw::Outcome { status, stdout, stderr, truncated, .. } = raw::run(&command, None)?;
        Ok(Output { status, stdout, stderr, truncated })
    }

    /// Fills in the values of parameters.
    fn filled(&self) -> Result<raw::Command, Error> {
        let word = |text: &String| filled(text).map(std::borrow::Cow::into_owned);
        let raw = &self.0;
        Ok(raw::Command {
            program: word(&raw.program)?,
            args: raw.args.iter().map(word).collect::<Result<_, _>>()?,
            env: raw.env.iter().map(|(name, value)| Ok((name.clone(), word(value)?))).collect::<Result<_, Error>>()?,
            cwd: raw.cwd.as_ref().map(word).transpose()?,
            user: raw.user.as_ref().map(word).transpose()?,
            ..raw.clone()
        })
    }

    fn checked(&self, outcome: raw::Outcome) -> Result<raw::Outcome, Error> {
        if outcome.status == 0 {
            return Ok(outcome);
        }
        let words: Vec<&str> = std::iter::once(&self.0.program).chain(&self.0.args).map(String::as_str).collect();
        let mut message = format!("`{}` failed with status {}", words.join(" "), outcome.status);
        if !outcome.tail.is_empty() {
            message = format!("{message}: {}", outcome.tail);
        }
        Err(Error::new(ErrorCode::CommandFailed, message))
    }
}

impl Needs for Command {
    /// Returns one capability, of the whole command. A word that no scope can spell, such as one with a space in it, becomes
    /// `*`, which is any one word.
    fn needs(&self) -> Vec<Need> {
        let is_plain = |word: &str| !word.is_empty() && !word.contains(|it: char| it.is_whitespace() || it == '*');
        let word = |text: &String| if is_plain(text) { text.clone() } else { "*".to_owned() };
        // These change words, numbers and times only, and are no part of a capability: see `plugins/README.md`.
        let is_free = |name: &str| {
            ["LANG", "LANGUAGE", "TZ", "TERM", "COLUMNS", "LINES", "NO_COLOR", "SOURCE_DATE_EPOCH"].contains(&name)
                || name.starts_with("LC_")
        };
        let variables = self.0.env.iter().filter(|(name, _)| !is_free(name));
        let words = variables
            .map(|(name, value)| format!("{name}={}", word(value)))
            .chain([self.0.program.clone()])
            .chain(self.0.args.iter().map(word));
        let scope = words.collect::<Vec<_>>().join(" ");
        vec![Need::capability(format!("exec:{scope}"), format!("runs {}", self.0.program))]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_asks_for_itself_word_by_word() {
        for (command, scope) in [
            (Command::new("htop").arg("--version"), "exec:htop --version"),
            (Command::new("sh").args(["-c", "a b", ""]), "exec:sh -c * *"),
            (Command::new("tar").arg("x").env("TAR_OPTIONS", "-v").env("LANG", "C"), "exec:TAR_OPTIONS=-v tar x"),
            (Command::new("id").arg("{params.user}").user("ann").cwd("/"), "exec:id {params.user}"),
        ] {
            assert_eq!(command.needs()[0].scope(), scope);
        }
    }
}
