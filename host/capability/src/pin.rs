//! Parses preferences for apt: pins (<https://manpages.debian.org/stable/apt/apt_preferences.5.en.html>), in forms that
//! apt cannot read in another way. Pure.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::url::is_host;

/// Longest name or selector.
const LONGEST: usize = 200;
/// Fields of a Release file that a pin may name: archive, codename, version, component, origin, label, architecture.
const RELEASE_KEYS: &str = "anvcolb";

/// The candidates of a package that a pin means.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    Release(String),
    Version(String),
    /// Candidates from archives on a host.
    Origin(String),
}

/// A pin as a plugin gives it: nothing of it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchecked {
    pub package: String,
    pub target: Target,
    pub priority: i16,
}

/// A pin that is one paragraph to apt.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Pin {
    package: String,
    target: Target,
    priority: i16,
}

impl Pin {
    /// # Errors
    /// A sentence that names the pin and the rule that is broken.
    pub fn check(unchecked: &Unchecked) -> Result<Self, String> {
        let Unchecked { package, target, priority } = unchecked;
        check_package(package)
            .and_then(|()| check_target(target))
            .map_err(|rule| format!("the pin of `{package}` {rule}"))?;
        if *priority == 0 {
            return Err(format!(
                "the pin of `{package}` must have another priority than 0, which apt has no meaning for"
            ));
        }
        Ok(Self { package: package.clone(), target: target.clone(), priority: *priority })
    }

    /// Returns the name, in which `*` is any text.
    pub fn package(&self) -> &str {
        &self.package
    }

    /// Returns whether both are about the same, and disagree.
    pub fn contradicts(&self, other: &Self) -> bool {
        self.package == other.package && self.target == other.target && self.priority != other.priority
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Release(text) => write!(f, "release {text}"),
            Self::Version(text) => write!(f, "version {text}"),
            Self::Origin(host) => write!(f, "origin {host}"),
        }
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {} at {}", self.package, self.target, self.priority)
    }
}

impl TryFrom<Unchecked> for Pin {
    type Error = String;

    fn try_from(unchecked: Unchecked) -> Result<Self, String> {
        Self::check(&unchecked)
    }
}

impl From<Pin> for Unchecked {
    fn from(pin: Pin) -> Self {
        let Pin { package, target, priority } = pin;
        Self { package, target, priority }
    }
}

/// Returns what apt reads in a file of `/etc/apt/preferences.d`.
pub fn preferences<'a>(pins: impl Iterator<Item = &'a Pin>) -> String {
    let stanza = |Pin { package, target, priority }: &Pin| {
        let pin = match target {
            // Without quotes apt takes a host for a label that it may be the beginning of.
            Target::Origin(host) => format!("origin \"{host}\""),
            other => other.to_string(),
        };
        format!("Package: {package}\nPin: {pin}\nPin-Priority: {priority}\n")
    };
    pins.map(stanza).collect::<Vec<_>>().join("\n")
}

/// Returns the file of a plugin's pins. No two ids have the same: `_` stands for nothing but the beginning of a pair.
pub fn file_of(plugin: &str) -> String {
    format!("/etc/apt/preferences.d/piimg-{}.pref", plugin.replace('_', "__").replace('/', "_-"))
}

fn check_package(package: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "+-.*".contains(c);
    let good = (1..=LONGEST).contains(&package.len()) && package.chars().all(plain) && !package.contains("**");
    if good {
        Ok(())
    } else {
        Err("must be of one package's name: lowercase letters, digits, `+`, `-`, `.`, and `*` for any text".into())
    }
}

fn check_target(target: &Target) -> Result<(), String> {
    let (text, more) = match target {
        Target::Release(text) => (text, " ._+~/-"),
        Target::Version(text) => (text, ".+~:-*"),
        Target::Origin(host) if is_host(host) => return Ok(()),
        Target::Origin(_) => return Err("must name a host, by its name in lowercase".into()),
    };
    let plain = |text: &str| {
        !text.is_empty() && text.trim() == text && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
    };
    let is_key = |key: &str| key.len() == 1 && RELEASE_KEYS.contains(key);
    let is_part = |part: &str| part.split_once('=').is_some_and(|(key, value)| is_key(key) && plain(value));
    match target {
        _ if text.len() > LONGEST => Err(format!("must say which in at most {LONGEST} bytes")),
        Target::Release(_) if !text.split(',').all(is_part) => {
            Err("must name a release by `a=`, `n=`, `v=`, `c=`, `o=`, `l=` or `b=`, with `,` between them".into())
        }
        Target::Version(_) if !plain(text) => Err("must name a version, in which `*` is any text".into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(package: &str, target: Target, priority: i16) -> Result<Pin, String> {
        Pin::check(&Unchecked { package: package.into(), target, priority })
    }

    #[test]
    fn a_pin_is_a_paragraph() {
        let pins = [
            check("libstdc++6", Target::Version("12.2*".into()), 1001).unwrap(),
            check("ros-*", Target::Origin("packages.example.org".into()), -1).unwrap(),
            check("*", Target::Release("o=Raspberry Pi Foundation,n=bookworm".into()), 100).unwrap(),
        ];
        assert_eq!(
            preferences(pins.iter()),
            "Package: libstdc++6\nPin: version 12.2*\nPin-Priority: 1001\n\n\
             Package: ros-*\nPin: origin \"packages.example.org\"\nPin-Priority: -1\n\n\
             Package: *\nPin: release o=Raspberry Pi Foundation,n=bookworm\nPin-Priority: 100\n"
        );
        assert_eq!(pins[0].to_string(), "libstdc++6 to version 12.2* at 1001");
        let kept = serde_json::to_string(&pins[2]).unwrap();
        assert_eq!(serde_json::from_str::<Pin>(&kept).unwrap(), pins[2]);
        assert!(serde_json::from_str::<Pin>(&kept.replace("100", "0")).unwrap_err().to_string().contains("priority"));
    }

    #[test]
    fn what_apt_would_take_for_something_else_is_refused() {
        let version = || Target::Version("1".into());
        let release = |text: &str| Target::Release(text.into());
        for (package, target, rule) in [
            ("", version(), "one package's name"),
            ("a b", version(), "one package's name"),
            ("/^a/", version(), "one package's name"),
            ("src:a", version(), "one package's name"),
            ("a\nPin: version *", version(), "one package's name"),
            ("A", version(), "one package's name"),
            ("a", Target::Version(String::new()), "a version"),
            ("a", Target::Version("1\nPin-Priority: 9".into()), "a version"),
            ("a", Target::Version("/1/".into()), "a version"),
            ("a", release("stable"), "by `a=`"),
            ("a", release("x=stable"), "by `a=`"),
            ("a", release("a=stable\nPackage: *"), "by `a=`"),
            ("a", release("a=stable,"), "by `a=`"),
            ("a", release("a=\"x\""), "by `a=`"),
            ("a", Target::Origin(String::new()), "a host"),
            ("a", Target::Origin("h\" x".into()), "a host"),
        ] {
            let error = check(package, target, 9).unwrap_err();
            assert!(error.contains(rule), "{package:?}: {error}");
        }
    }

    #[test]
    fn each_plugin_has_a_file_of_its_own() {
        let files = ["a/b", "a_-b", "a-/b", "a/-b", "ab", "a__b"].map(file_of);
        let distinct: std::collections::BTreeSet<&String> = files.iter().collect();
        assert_eq!(distinct.len(), files.len(), "{files:?}");
        assert_eq!(files[0], "/etc/apt/preferences.d/piimg-a_-b.pref");
    }
}
