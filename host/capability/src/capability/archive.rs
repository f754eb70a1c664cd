//! `pkg:repo:<url>`: an archive that packages may come from. The address is written out; `/**` behind it stands for all below it
//! too, for who bounds what others may grant.

use std::convert::Infallible;
use std::fmt;

use super::kind::{Kind, Risk, Scope};
use crate::url::check_address;

pub(crate) const REPO: Kind =
    Kind { name: "pkg:repo", verb: "have packages come from the archives", cannot: None, by_command: false };

const BELOW: &str = "/**";

/// One archive, or all at an address and below it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArchiveGlob {
    /// Without `/` at its end.
    url: String,
    is_tree: bool,
}

impl Scope for ArchiveGlob {
    const KINDS: &'static [&'static Kind] = &[&REPO];
    /// No call asks for it: the archive is known before the plugin runs.
    type Need = Infallible;

    fn parse(scope: &str) -> Result<Self, String> {
        let (url, is_tree) = scope.strip_suffix(BELOW).map_or((scope, false), |url| (url, true));
        check_address(url).map_err(|rule| format!("an archive's address {rule}"))?;
        Ok(Self { url: url.to_owned(), is_tree })
    }

    fn covers(&self, need: &Infallible) -> bool {
        match *need {}
    }

    fn includes(&self, other: &Self) -> bool {
        let is_below =
            || other.url.strip_prefix(&self.url).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
        self == other || self.is_tree && is_below()
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        let says = format!(
            "whoever signs `{declared}` is root of the image: any package may come from there, and in later updates too"
        );
        Some((Risk::Critical, says))
    }
}

impl fmt::Display for ArchiveGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.url, if self.is_tree { BELOW } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_archive_is_included_by_its_address() {
        for (outer, inner, expected) in [
            ("https://h/debian", "https://h/debian", true),
            ("https://h/debian", "https://h/debian2", false),
            ("https://h/debian", "http://h/debian", false),
            ("https://h/debian", "https://h:444/debian", false),
            ("https://h/debian", "https://h/debian/x", false),
            ("https://h/**", "https://h", true),
            ("https://h/**", "https://h/a/b", true),
            ("https://h/**", "https://h.evil.org/a", false),
            ("https://h/a/**", "https://h/ab", false),
            ("https://h/a/**", "https://h/a/**", true),
            ("https://h/a/**", "https://h/a/b/**", true),
            ("https://h/a", "https://h/a/**", false),
            ("https://h/a/b/**", "https://h/a/**", false),
        ] {
            let (outer, inner) = (ArchiveGlob::parse(outer).unwrap(), ArchiveGlob::parse(inner).unwrap());
            assert_eq!(outer.includes(&inner), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn malformed_addresses_say_why() {
        for (scope, rule) in [
            ("", "does not begin with"),
            ("file:///srv/debian", "does not begin with"),
            ("cdrom:/x", "does not begin with"),
            ("https://ann:secret@h/debian", "user or password"),
            ("https://H/debian", "its host"),
            ("https://*.h/debian", "its host"),
            ("https://h/debian/", "`/` at its end"),
            ("https://h/*/debian", "must be written"),
            ("https://h/a/../b", "`..`"),
            ("https://h/debian?x", "query"),
            ("https://h/a b", "must be written"),
            ("https://h:443/debian", "must be written as `https://h/debian`"),
        ] {
            let error = ArchiveGlob::parse(scope).unwrap_err();
            assert!(error.contains(rule), "{scope}: {error}");
        }
    }
}
