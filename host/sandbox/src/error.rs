//! Reports failures to the user: an exit code, a chain of causes and the next step.
//!
//! Functions return [`anyhow::Result`]; the place that knows what the user can do puts a [`Failure`]
//! into the chain, either as the error itself or with `.context(…)`. Of several in a chain the innermost one says what kind
//! of failure it is, for it stands nearest to the cause, and the hints of all are kept. Nothing here prints: `piimg::ui`
//! does.

use std::any::Any;
use std::fmt;

pub use anyhow::Result;

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
    /// Whether its kind counts even if it has a cause that is a failure itself.
    is_reclassified: bool,
}

impl Failure {
    /// Makes a failure; `message` is a lowercase fragment that names the object, without full stop.
    pub fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), hints: Vec::new(), is_reclassified: false }
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

impl Failure {
    /// Makes the kind of this failure count, whatever the kind of its cause is.
    #[must_use]
    pub fn reclassify(mut self) -> Self {
        self.is_reclassified = true;
        self
    }

    /// Takes over what its cause says of kind and next step.
    fn inherit(&mut self, cause: &anyhow::Error) {
        let Some(cause) = cause.downcast_ref::<Self>() else { return };
        if !self.is_reclassified {
            self.kind = cause.kind;
        }
        let new: Vec<String> = cause.hints.iter().filter(|hint| !self.hints.contains(hint)).cloned().collect();
        self.hints.extend(new);
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Failure {}

/// Puts a message, or a [`Failure`], before an error: as `anyhow::Context`, but that a failure learns from its cause.
pub trait Context<T> {
    /// # Errors
    /// The error that is there, with the context.
    fn context<C: fmt::Display + fmt::Debug + Send + Sync + 'static>(self, context: C) -> Result<T>;

    /// # Errors
    /// The error that is there, with the context, which is made then only.
    fn with_context<C: fmt::Display + fmt::Debug + Send + Sync + 'static>(
        self,
        context: impl FnOnce() -> C,
    ) -> Result<T>;
}

impl<T, E: Into<anyhow::Error>> Context<T> for std::result::Result<T, E> {
    fn context<C: fmt::Display + fmt::Debug + Send + Sync + 'static>(self, context: C) -> Result<T> {
        self.map_err(|error| with_cause(error.into(), context))
    }

    fn with_context<C: fmt::Display + fmt::Debug + Send + Sync + 'static>(
        self,
        context: impl FnOnce() -> C,
    ) -> Result<T> {
        self.map_err(|error| with_cause(error.into(), context()))
    }
}

impl<T> Context<T> for Option<T> {
    fn context<C: fmt::Display + fmt::Debug + Send + Sync + 'static>(self, context: C) -> Result<T> {
        self.ok_or_else(|| anyhow::Error::msg(context))
    }

    fn with_context<C: fmt::Display + fmt::Debug + Send + Sync + 'static>(
        self,
        context: impl FnOnce() -> C,
    ) -> Result<T> {
        self.ok_or_else(|| anyhow::Error::msg(context()))
    }
}

/// Puts the context before its cause.
#[expect(clippy::disallowed_methods, reason = "this is the door")]
pub fn with_cause<C: fmt::Display + fmt::Debug + Send + Sync + 'static>(
    cause: anyhow::Error,
    mut context: C,
) -> anyhow::Error {
    if let Some(failure) = (&mut context as &mut dyn Any).downcast_mut::<Failure>() {
        failure.inherit(&cause);
    }
    cause.context(context)
}

/// Adds a next step to an error.
pub fn with_hint(mut error: anyhow::Error, hint: String) -> anyhow::Error {
    match error.downcast_mut::<Failure>() {
        Some(failure) => failure.hints.push(hint),
        None => return with_cause(error, Failure::build("the build failed").hint(hint)),
    }
    error
}

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
        let error = with_cause(
            Failure::host("`mke2fs` is missing").hint("apt install e2fsprogs").into(),
            "cannot write the root partition",
        );
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
    fn the_innermost_failure_says_what_kind_it_is_and_no_hint_is_lost() {
        let missing = || Failure::host("`tar` is not installed").hint("apt install tar");
        let outer = || Failure::build("cannot write the archive").hint("try another output");
        let chain = |outer: Failure| {
            let error = with_cause(with_cause(missing().into(), "cannot start"), outer);
            let Report { kind, messages, hints } = report(&with_cause(error, "the build failed"));
            assert_eq!(messages.len(), 4);
            (kind, hints)
        };
        let hints = vec!["try another output".to_owned(), "apt install tar".to_owned()];
        assert_eq!(chain(outer()), (Kind::Host, hints.clone()));
        assert_eq!(chain(outer().reclassify()), (Kind::Build, hints));
        assert_eq!(chain(outer().hint("apt install tar")).1.len(), 2);
        let plain = Err::<(), _>(std::io::Error::other("x")).context(outer());
        assert_eq!(report(&plain.unwrap_err()).kind, Kind::Build);
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
    fn a_hint_is_added_last_and_to_every_error() {
        let error = with_cause(Failure::host("x").hint("first").into(), "cannot do it");
        let report = |error| report(&with_hint(error, "second".into()));
        let found = report(error);
        assert_eq!((found.kind, found.hints), (Kind::Host, vec!["first".to_owned(), "second".to_owned()]));
        let found = report(anyhow::anyhow!("boom"));
        assert_eq!(found.messages, ["the build failed", "boom"]);
        assert_eq!(found.hints, ["second"]);
    }

    #[test]
    fn an_unclassified_error_is_a_failed_build() {
        assert_eq!(report(&anyhow::anyhow!("boom")).kind, Kind::Build);
    }
}
