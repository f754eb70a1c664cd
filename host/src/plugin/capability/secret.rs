//! `secret:<name>`: a value that the user hands over under that name, for host functions to use in the plugin's place. The
//! name is written out: a wildcard would cover secrets that nobody had in mind.

use std::fmt;

use crate::secret::check_name;

/// The name of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName(String);

impl SecretName {
    pub(super) fn parse(scope: &str) -> Result<Self, String> {
        check_name(scope)?;
        Ok(Self(scope.to_owned()))
    }

    /// Whether this is the name.
    pub(super) fn matches(&self, name: &str) -> bool {
        self.0 == name
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole() {
        for (scope, name, expected) in [
            ("token", "token", true),
            ("token", "token2", false),
            ("token", "toke", false),
            ("token", "Token", false),
            ("token", "token ", false),
            ("token", "t\u{43e}ken", false),
            ("token", "", false),
            ("token-1", "token1", false),
            ("1", "1", true),
        ] {
            assert_eq!(SecretName::parse(scope).unwrap().matches(name), expected, "{scope} {name}");
        }
    }

    #[test]
    fn malformed_names_say_why() {
        for scope in
            ["", "*", "tok*", "**", "-token", "Token", "to ken", "to/ken", "to:ken", "a,b", "t\u{43e}ken", "token\n"]
        {
            let error = SecretName::parse(scope).unwrap_err();
            assert!(error.contains("1 to 64 lowercase letters, digits and `-`"), "{scope}: {error}");
        }
    }
}
