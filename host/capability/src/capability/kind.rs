//! A kind of capability: how its scopes are read and compared, and what it means to whoever grants one.

use std::fmt;

pub use crate::places::Risk;

/// A kind, as a reviewer is told of it.
#[derive(Debug)]
pub struct Kind {
    /// The text before the scope, without the last `:`.
    pub name: &'static str,
    /// A verb for what it lets a plugin do; the scope follows.
    pub verb: &'static str,
    /// A phrase for what a plugin cannot do that imports no function of this kind. `None` if piimg acts on the request
    /// alone, without a call: then no import proves anything.
    pub cannot: Option<&'static str>,
    /// Whether a command inside the image could do the same.
    pub by_command: bool,
}

impl PartialEq for Kind {
    fn eq(&self, other: &Self) -> bool {
        self.name == other.name
    }
}

impl Eq for Kind {}

/// Scopes of one kind, or of several that are spelled alike. Each has a file, which says all that there is to say of it.
pub trait Scope: Sized + fmt::Display {
    /// The kinds, in the order in which they are told.
    const KINDS: &'static [&'static Kind];

    /// The need of a call, displayed as the narrowest scope that covers it.
    type Need: fmt::Display;

    /// Parses what stands after the kind.
    ///
    /// # Errors
    /// Says what is wrong with it, without naming it.
    fn parse(scope: &str) -> Result<Self, String>;

    /// Returns the kind that this scope is of.
    fn kind(&self) -> &'static Kind {
        Self::KINDS[0]
    }

    /// Returns whether this alone allows what is asked for.
    fn covers(&self, need: &Self::Need) -> bool;

    /// Returns whether everything that `other` covers is covered by this one too; errs on the side of no.
    fn includes(&self, other: &Self) -> bool;

    /// Ranks the scope by itself, and says why; `None` if it only touches what nothing runs. `declared` is the scope as its
    /// author wrote it, and `self` the widest one that parameters could make of it.
    fn risk(&self, declared: &str) -> Option<(Risk, String)>;
}
