//! `secret:<name>`: a value that the user hands over under that name, for host functions to use in the plugin's place. The
//! name is written out: a wildcard would cover secrets that nobody had in mind.

use std::fmt;

use super::kind::{Kind, Risk, Scope};

pub const SECRET: Kind = Kind {
    name: "secret",
    verb: "have piimg use, without reading them, the secrets",
    cannot: Some("use secrets"),
    by_command: false,
};

/// The name of a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecretName(String);

impl Scope for SecretName {
    const KINDS: &'static [&'static Kind] = &[&SECRET];
    type Need = String;

    fn parse(scope: &str) -> Result<Self, String> {
        check_name(scope)?;
        Ok(Self(scope.to_owned()))
    }

    fn covers(&self, name: &String) -> bool {
        self.0 == *name
    }

    fn includes(&self, other: &Self) -> bool {
        self == other
    }

    /// Ranks it as harmless: what is done with a secret is judged where it may be sent.
    fn risk(&self, _: &str) -> Option<(Risk, String)> {
        None
    }
}

impl SecretName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// # Errors
/// What is wrong with the name of a secret.
pub fn check_name(name: &str) -> Result<(), String> {
    let belongs = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if name.is_empty() || name.len() > 64 || name.starts_with('-') || !name.bytes().all(belongs) {
        return Err("a secret's name has 1 to 64 lowercase letters, digits and `-`, and begins with no `-`".into());
    }
    Ok(())
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
            assert_eq!(SecretName::parse(scope).unwrap().covers(&name.to_owned()), expected, "{scope} {name}");
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

    #[test]
    fn names_are_plain() {
        for name in ["a", "ann-password", "0x", &"a".repeat(64)] {
            check_name(name).unwrap();
        }
        for name in ["", "-a", "A", "a_b", "a.b", "a b", "a*", "*", "ä", "a\n", "a=b", &"a".repeat(65)] {
            assert!(check_name(name).unwrap_err().contains("lowercase letters"), "{name:?}");
        }
    }
}
