//! `pkg:install:<glob>`, `pkg:remove:<glob>`, `pkg:pin:<glob>` and `asset:<glob>`: a name, in which `*` is any text. `pkg:build:<name>`: one
//! package, for it is installed because it is named here.

use std::fmt;

use super::glob::TextGlob;

/// A glob over names without `/`.
pub(super) fn parse(scope: &str) -> Result<TextGlob, String> {
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

impl PackageName {
    pub(super) fn parse(scope: &str) -> Result<Self, String> {
        parse(scope)?;
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
            assert_eq!(parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
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
            let error = parse(scope).unwrap_err();
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
            let glob = |text| parse(text).unwrap();
            assert_eq!(glob(outer).includes(&glob(inner)), expected, "{outer} {inner}");
        }
    }
}
