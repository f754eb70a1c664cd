//! What went wrong, in the form the user sees it: an exit code, a chain of causes and the next step.
//!
//! Functions return [`anyhow::Result`]; the place that knows what the user can do puts a [`Failure`]
//! into the chain, either as the error itself or with `.context(…)`. Nothing here prints: [`crate::ui`] does.

use std::fmt;

pub use anyhow::{Context, Result};

/// Kinds of failure; the number is the exit code of `piimg` (the list is documented in the README).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The build itself failed: a package, a file system, a check of the image.
    Build = 1,
    /// The command line, the recipe or a plugin's `conf()` asks for something impossible.
    Usage = 2,
    /// The host lacks a tool, a kernel feature, space or a privilege.
    Host = 3,
    /// A capability was requested or used that nobody granted.
    Grant = 4,
    /// A plugin returned an error, trapped or ran into a limit.
    Plugin = 5,
    /// A broken promise inside piimg.
    Bug = 70,
}

/// A failure whose meaning for the user is known.
#[derive(Debug)]
pub struct Failure {
    kind: Kind,
    message: String,
    hints: Vec<String>,
}

impl Failure {
    /// Makes a failure; `message` is a lowercase fragment that names the object, without full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new() }
    }

    pub fn build(message: impl Into<String>) -> Self {
        Self::new(Kind::Build, message)
    }

    pub fn usage(message: impl Into<String>) -> Self {
        Self::new(Kind::Usage, message)
    }

    pub fn host(message: impl Into<String>) -> Self {
        Self::new(Kind::Host, message)
    }

    pub fn grant(message: impl Into<String>) -> Self {
        Self::new(Kind::Grant, message)
    }

    pub fn plugin(message: impl Into<String>) -> Self {
        Self::new(Kind::Plugin, message)
    }

    pub fn bug(message: impl Into<String>) -> Self {
        Self::new(Kind::Bug, message)
    }

    /// Adds a next step for the user.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hints.push(hint.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// An error taken apart for printing.
#[derive(Debug, PartialEq, Eq)]
pub struct Report {
    pub kind: Kind,
    /// The outermost message first, then each cause.
    pub messages: Vec<String>,
    pub hints: Vec<String>,
}

/// Takes `error` apart. An error without any [`Failure`] in its chain is a failed build.
pub fn report(error: &anyhow::Error) -> Report {
    let failure = error.downcast_ref::<Failure>();
    let mut messages: Vec<String> = error.chain().map(ToString::to_string).collect();
    messages.dedup();
    Report {
        kind: failure.map_or(Kind::Build, |failure| failure.kind),
        messages,
        hints: failure.map(|failure| failure.hints.clone()).unwrap_or_default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn report_finds_the_failure_below_plain_context() {
        let error = anyhow::Error::from(Failure::host("`mke2fs` is missing").hint("apt install e2fsprogs"))
            .context("cannot write the root partition");
        assert_eq!(
            report(&error),
            Report {
                kind: Kind::Host,
                messages: vec!["cannot write the root partition".into(), "`mke2fs` is missing".into()],
                hints: vec!["apt install e2fsprogs".into()],
            }
        );
    }

    #[test]
    fn report_finds_a_failure_that_is_itself_context() {
        let error = Err::<(), _>(std::io::Error::other("permission denied"))
            .context(Failure::usage("cannot read `piimg.toml`"))
            .unwrap_err();
        let report = report(&error);
        assert_eq!(report.kind, Kind::Usage);
        assert_eq!(report.messages, ["cannot read `piimg.toml`", "permission denied"]);
    }

    #[test]
    fn an_unclassified_error_is_a_failed_build() {
        assert_eq!(report(&anyhow::anyhow!("boom")).kind, Kind::Build);
    }
}
