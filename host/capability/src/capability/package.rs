//! `pkg:install:<glob>`, `pkg:remove:<glob>` and `pkg:pin:<glob>`: names of packages, in which `*` is any text.
//! `pkg:build:<name>`: one package, for it is installed because it is named here.

use std::convert::Infallible;
use std::fmt;

use super::glob::{TextGlob, by_glob, text_scopes};
use super::kind::{Kind, Risk, Scope};

pub const INSTALL: Kind =
    Kind { name: "pkg:install", verb: "install the packages", cannot: Some("install packages"), by_command: false };
pub const REMOVE: Kind =
    Kind { name: "pkg:remove", verb: "remove the packages", cannot: Some("remove packages"), by_command: false };
pub(crate) const BUILD: Kind = Kind {
    name: "pkg:build",
    verb: "have below itself, and not in the image, the packages",
    cannot: None,
    by_command: false,
};
pub const PIN: Kind =
    Kind { name: "pkg:pin", verb: "pin the packages", cannot: Some("pin packages"), by_command: false };

text_scopes! {
    /// Packages that may be installed.
    Install,
    /// Packages that may be removed.
    Remove,
    /// Packages of which it may be said what apt prefers.
    Pin,
}

impl Scope for Install {
    const KINDS: &'static [&'static Kind] = &[&INSTALL];
    by_glob!(String, matches);

    fn parse(scope: &str) -> Result<Self, String> {
        parse_name(scope).map(Self)
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(if declared.starts_with('*') {
            (Risk::High, "installs any package; its scripts run as root of the image".to_owned())
        } else {
            (Risk::Medium, format!("installs `{declared}`; its scripts run as root of the image"))
        })
    }
}

impl Scope for Remove {
    const KINDS: &'static [&'static Kind] = &[&REMOVE];
    by_glob!(String, matches);

    fn parse(scope: &str) -> Result<Self, String> {
        parse_name(scope).map(Self)
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(if declared.starts_with('*') {
            (Risk::High, "removes any package".to_owned())
        } else {
            (Risk::Medium, format!("removes `{declared}`"))
        })
    }
}

impl Scope for Pin {
    const KINDS: &'static [&'static Kind] = &[&PIN];
    /// The name of the packages that are pinned, in which `*` is any text.
    type Need = String;

    fn parse(scope: &str) -> Result<Self, String> {
        parse_name(scope).map(Self)
    }

    fn covers(&self, name: &String) -> bool {
        self.0.includes(&TextGlob::new(name))
    }

    fn includes(&self, other: &Self) -> bool {
        self.0.includes(&other.0)
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(if declared.starts_with('*') {
            (Risk::High, "decides which version of any package is installed, in later updates too".to_owned())
        } else {
            (Risk::Medium, format!("decides which version of `{declared}` is installed, in later updates too"))
        })
    }
}

/// Parses a glob over names without `/`.
pub(super) fn parse_name(scope: &str) -> Result<TextGlob, String> {
    if scope.is_empty() {
        return Err("the name is empty".into());
    }
    if scope.contains("**") {
        return Err("a name has `*`, not `**`".into());
    }
    if scope.contains('/') {
        return Err("a name has no `/`".into());
    }
    if scope.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | ':' | ',')) {
        return Err("a name has no white space, control character, `=`, `:` or `,`".into());
    }
    Ok(TextGlob::new(scope))
}

/// The name of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageName(String);

impl Scope for PackageName {
    const KINDS: &'static [&'static Kind] = &[&BUILD];
    /// No call asks for it: the package is there before the plugin runs.
    type Need = Infallible;

    fn parse(scope: &str) -> Result<Self, String> {
        parse_name(scope)?;
        if scope.contains('*') {
            return Err("it is the name of one package, without `*`".into());
        }
        let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
        // `name-` at the end means to remove it, to apt.
        if !scope.starts_with(plain) || !scope.chars().all(|c| plain(c) || "+-.".contains(c)) || scope.ends_with('-') {
            return Err("the name of a package has lowercase letters, digits, `+`, `-` and `.`".into());
        }
        Ok(Self(scope.to_owned()))
    }

    fn covers(&self, need: &Infallible) -> bool {
        match *need {}
    }

    fn includes(&self, other: &Self) -> bool {
        self == other
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some((Risk::Medium, format!("runs above `{declared}`, which the image does not have")))
    }
}

impl PackageName {
    pub(super) fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PackageName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole() {
        for (pattern, name, expected) in [
            ("htop", "htop", true),
            ("htop", "htop2", false),
            ("python3-*", "python3-serial", true),
            ("python3-*", "python3", false),
            ("*", "anything", true),
            ("htop", "HTOP", false),
            ("htop", "hto\u{440}", false),
            ("htop", "htop ", false),
            ("htop", "htop:armhf", false),
            ("htop", "htop=1", false),
            ("lib*-dev", "libfoo-dev", true),
            ("lib*-dev", "libfoo", false),
            ("lib*", "LIBFOO", false),
            ("caf\u{e9}", "cafe\u{301}", false),
            ("logo.png", "logo_png", false),
            ("logo.png", "logo.png.bak", false),
        ] {
            assert_eq!(parse_name(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn what_is_built_with_is_one_package() {
        for good in ["g++", "build-essential", "libfoo1.2-dev", "x"] {
            assert_eq!(PackageName::parse(good).unwrap().to_string(), good);
        }
        for (scope, cause) in
            [("lib*-dev", "without `*`"), ("-y", "lowercase"), ("gcc-", "lowercase"), ("gcc=1", "`=`"), ("", "empty")]
        {
            let error = PackageName::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }

    #[test]
    fn malformed_names_say_why() {
        for (scope, cause) in [
            ("", "empty"),
            ("a/b", "`/`"),
            ("**", "`**`"),
            ("a**", "`**`"),
            ("htop=1", "`=`"),
            ("htop:armhf", "`:`"),
            ("a,b", "`,`"),
            ("a b", "white space"),
            ("a\u{a0}b", "white space"),
            ("a\tb", "white space"),
            ("a\0", "control character"),
        ] {
            let error = parse_name(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }

    #[test]
    fn inclusion_never_widens() {
        for (outer, inner, expected) in [
            ("htop", "htop", true),
            ("*", "htop", true),
            ("*", "*", true),
            ("python3-*", "python3-serial", true),
            ("python3-serial", "python3-*", false),
            ("python3-*", "python*", false),
            ("htop", "*", false),
            ("htop", "HTOP", false),
        ] {
            let glob = |text| parse_name(text).unwrap();
            assert_eq!(glob(outer).includes(&glob(inner)), expected, "{outer} {inner}");
        }
    }
}
