//! `net:<scheme>://<host>[:<port>]/<path>`: what may be downloaded.
//!
//! In the path `*` stays within a segment and `**` is a whole segment for any number of them. `*.` may stand for the
//! first labels of a host, because services spread their files over hosts that they name as they like; nothing else
//! of a host is a wildcard. A query is covered only where the path ends in a wildcard.

use std::fmt;

use super::kind::{Kind, Risk, Scope};
use super::{Need, glob};
use crate::url::{Origin, Url, check_path, is_host};

pub const NET: Kind = Kind {
    name: "net",
    verb: "download",
    cannot: Some("reach the network"),
    // A command reaches the network only through the same capability.
    by_command: false,
};

/// A part of the network that a call reaches.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reach {
    /// A download.
    Url(String),
    /// An address, which ends in no `/`, and everything below it.
    Tree(String),
}

impl fmt::Display for Reach {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Url(url) => f.write_str(&narrowest(url)),
            Self::Tree(url) => write!(f, "{url}/**"),
        }
    }
}

impl Need {
    pub fn net(url: String) -> Self {
        Self::Net(Reach::Url(url))
    }

    pub fn net_tree(url: String) -> Self {
        Self::Net(Reach::Tree(url))
    }
}

/// A glob over addresses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UrlGlob {
    origin: Origin,
    segments: Vec<String>,
}

impl Scope for UrlGlob {
    const KINDS: &'static [&'static Kind] = &[&NET];
    type Need = Reach;

    fn parse(scope: &str) -> Result<Self, String> {
        let named = |host: &str| match host.strip_prefix("*.") {
            Some(rest) => rest.contains('.') && is_host(rest),
            None => is_host(host),
        };
        let (origin, path) = Origin::split(scope, &named)
            .map_err(|cause| format!("{cause}; `*.` may stand before a name of two labels or more"))?;
        if path.contains(['?', '#']) {
            return Err("it has a query or fragment: end the path in `*` to cover any query".into());
        }
        check_path(&path.replace('*', "x"))?;
        if path.ends_with('/') {
            return Err("the path ends in `/`; write `/**` for everything below it".into());
        }
        let segments: Vec<String> = path[1..].split('/').map(str::to_owned).collect();
        if segments.iter().any(|segment| segment != "**" && segment.contains("**")) {
            return Err("`**` must be a whole segment".into());
        }
        Ok(Self { origin, segments })
    }

    fn covers(&self, need: &Reach) -> bool {
        match need {
            Reach::Url(url) => self.matches(url),
            Reach::Tree(url) => self.matches_tree(url),
        }
    }

    fn includes(&self, other: &Self) -> bool {
        let (a, b) = (&self.origin, &other.origin);
        let host = a.host == b.host
            || a.host.strip_prefix('*').is_some_and(|rest| b.host.len() > rest.len() && b.host.ends_with(rest));
        let ends_open = |glob: &Self| glob.segments.last().is_some_and(|last| last.ends_with('*'));
        let inner: Vec<&str> = other.segments.iter().map(String::as_str).collect();
        a.scheme == b.scheme
            && a.port == b.port
            && host
            && (ends_open(self) || !ends_open(other))
            && glob::matches_all(&self.segments, &inner, &|outer, inner| *inner != "**" && glob::includes(outer, inner))
    }

    /// Ranks it as harmless: what a plugin does with a download is judged where it writes or runs it.
    fn risk(&self, _: &str) -> Option<(Risk, String)> {
        None
    }
}

impl UrlGlob {
    /// Returns whether the address, which must have its one form, is covered.
    fn matches(&self, url: &str) -> bool {
        let Ok(url) = Url::parse(url) else { return false };
        let Origin { scheme, port, .. } = &self.origin;
        let open = self.segments.last().is_some_and(|last| last.ends_with('*'));
        let segments: Vec<&str> = url.path[1..].split('/').collect();
        *scheme == url.origin.scheme
            && *port == url.origin.port
            && self.matches_host(&url.origin.host)
            && (open || url.query.is_none())
            && glob::matches_all(&self.segments, &segments, &|pattern, item| glob::matches(pattern, item))
    }

    /// Returns whether the address, which ends in no `/`, and everything that could be below it is covered.
    fn matches_tree(&self, url: &str) -> bool {
        self.segments.last().is_some_and(|last| last == "**") && self.matches(url)
    }

    pub(super) fn is_https(&self) -> bool {
        self.origin.scheme == "https"
    }

    /// Returns whether everything at that host and port is covered. A command's connections are encrypted, so that of
    /// what it asks for no more can be seen.
    pub(super) fn matches_all_of(&self, host: &str, port: u16) -> bool {
        self.segments == ["**"] && self.origin.real_port() == port && self.matches_host(host)
    }

    fn matches_host(&self, name: &str) -> bool {
        match self.origin.host.strip_prefix('*') {
            Some(rest) => name.strip_suffix(rest).is_some_and(|first| !first.is_empty()),
            None => self.origin.host == name,
        }
    }
}

impl fmt::Display for UrlGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.origin, self.segments.join("/"))
    }
}

/// Returns the narrowest glob for an address, as text.
fn narrowest(url: &str) -> String {
    match Url::parse(url) {
        Ok(url) if url.query.is_some() || url.path.ends_with('/') => format!("{}{}*", url.origin, url.path),
        Ok(url) => url.to_string(),
        Err(_) => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(scope: &str) -> UrlGlob {
        UrlGlob::parse(scope).unwrap()
    }

    #[test]
    fn addresses_match_part_by_part() {
        for (pattern, url, expected) in [
            ("https://example.org/a", "https://example.org/a", true),
            ("https://example.org/a", "http://example.org/a", false),
            ("https://example.org/a", "https://example.org:444/a", false),
            ("https://example.org/a", "https://example.org:443/a", true),
            ("https://example.org/a", "https://example.org/ab", false),
            ("https://example.org/a", "https://example.org/a/", false),
            ("https://example.org/a", "https://example.org/a?x", false),
            ("https://example.org/a*", "https://example.org/a?x", true),
            ("https://example.org/**", "https://example.org/", true),
            ("https://example.org/**", "https://example.org/a/b?x=/../", true),
            ("https://example.org/**", "https://example.org.evil.org/a", false),
            ("https://example.org/**", "https://www.example.org/a", false),
            ("https://example.org/*/x", "https://example.org/a/b/x", false),
            ("https://*.example.org/**", "https://a.b.example.org/x", true),
            ("https://*.example.org/**", "https://example.org/x", false),
            ("https://*.example.org/**", "https://evilexample.org/x", false),
            ("https://example.org/a/**", "https://example.org/a/../b", false),
            ("https://example.org/a/**", "https://user@example.org/a/b", false),
        ] {
            assert_eq!(parse(pattern).matches(url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn a_tree_is_covered_by_a_glob_without_an_end_only() {
        for (pattern, url, expected) in [
            ("https://example.org/a.git/**", "https://example.org/a.git", true),
            ("https://example.org/**", "https://example.org/a.git", true),
            ("https://*.example.org/ann/**", "https://git.example.org/ann/a.git", true),
            ("https://example.org/a.git", "https://example.org/a.git", false),
            ("https://example.org/a.git/*", "https://example.org/a.git", false),
            ("https://example.org/*", "https://example.org/a.git", false),
            ("https://example.org/a.git/**", "https://example.org/a.git2", false),
            ("https://example.org/a.git/b/**", "https://example.org/a.git", false),
            ("http://example.org/**", "https://example.org/a.git", false),
        ] {
            assert_eq!(parse(pattern).matches_tree(url), expected, "{pattern} {url}");
        }
    }

    #[test]
    fn a_command_reaches_whole_hosts_only() {
        for (pattern, host, port, expected) in [
            ("https://example.org/**", "example.org", 443, true),
            ("https://example.org/**", "example.org", 80, false),
            ("https://example.org/pub/**", "example.org", 443, false),
            ("https://example.org/*", "example.org", 443, false),
            ("https://example.org/**", "www.example.org", 443, false),
            ("https://*.example.org/**", "www.example.org", 443, true),
            ("https://*.example.org/**", "evilexample.org", 443, false),
            ("http://127.0.0.1:8080/**", "127.0.0.1", 8080, true),
        ] {
            assert_eq!(parse(pattern).matches_all_of(host, port), expected, "{pattern} {host} {port}");
        }
    }

    #[test]
    fn malformed_addresses_say_why() {
        for (scope, cause) in [
            ("", "does not begin"),
            ("example.org/**", "does not begin"),
            ("*://example.org/**", "does not begin"),
            ("https://*/**", "its host"),
            ("https://*.org/**", "its host"),
            ("https://a.*.org/**", "its host"),
            ("https://ex*.org/**", "its host"),
            ("https://u@example.org/**", "user or password"),
            ("https://example.org:*/**", "its port"),
            ("https://example.org", "does not begin with `/`"),
            ("https://example.org/", "ends in `/`"),
            ("https://example.org/a/../b", "`..`"),
            ("https://example.org/a**", "whole segment"),
            ("https://example.org/a?b=*", "query"),
        ] {
            let error = UrlGlob::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }

    #[test]
    fn inclusion_never_widens() {
        for (outer, inner, expected) in [
            ("https://a.org/**", "https://a.org/x", true),
            ("https://a.org/x", "https://a.org/**", false),
            ("https://a.org/x*", "https://a.org/x", true),
            ("https://a.org/**", "https://b.org/x", false),
            ("https://*.a.org/**", "https://b.a.org/x", true),
            ("https://*.a.org/**", "https://*.b.a.org/x", true),
            ("https://b.a.org/**", "https://*.a.org/x", false),
            ("https://*.a.org/**", "https://a.org/x", false),
            ("http://a.org/**", "https://a.org/x", false),
        ] {
            assert_eq!(parse(outer).includes(&parse(inner)), expected, "{outer} {inner}");
        }
    }

    #[test]
    fn the_narrowest_glob_covers_the_address() {
        for url in ["https://a.org/x", "https://a.org/", "https://a.org/x/", "https://a.org/x?y=z"] {
            assert!(parse(&narrowest(url)).matches(url), "{url}");
        }
    }
}
