//! Globs as parts of capabilities.

use std::fmt;

pub use crate::glob::matches_path;
pub(super) use crate::glob::{includes, matches, matches_all};

/// A pattern within one segment, whose characters the kind of capability has checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TextGlob(String);

impl TextGlob {
    pub(super) fn new(pattern: &str) -> Self {
        Self(pattern.to_owned())
    }

    pub(super) fn matches(&self, text: &str) -> bool {
        matches(&self.0, text)
    }

    /// Returns whether everything that `other` matches is matched by this one; errs on the side of no.
    pub(super) fn includes(&self, other: &Self) -> bool {
        includes(&self.0, &other.0)
    }
}

impl fmt::Display for TextGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Defines scopes each of which is one [`TextGlob`].
macro_rules! text_scopes {
    ($($(#[$doc:meta])* $name:ident),* $(,)?) => { $(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub struct $name(TextGlob);

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }
    )* };
}

/// Writes what is the same in each scope that is one glob: what calls ask for, and which of its methods compares that.
macro_rules! by_glob {
    ($(#[$doc:meta])* $need:ty, $covers:ident) => {
        $(#[$doc])*
        type Need = $need;

        fn covers(&self, need: &$need) -> bool {
            self.0.$covers(need)
        }

        fn includes(&self, other: &Self) -> bool {
            self.0.includes(&other.0)
        }
    };
}

pub(super) use {by_glob, text_scopes};
