//! `piimg.lock`: which plugin, by digest, was granted what. Reading and spelling only; who writes it is elsewhere.

use std::fmt::Write as _;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::capability::Capability;
use crate::error::{Context as _, Failure, Result};

/// Longest file that is read, in bytes.
const LONGEST: u64 = 4 << 20;

/// The file's content.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    version: u32,
    #[serde(default, rename = "plugin")]
    plugins: Vec<Entry>,
}

/// One plugin's grants.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// For people; the identity is the digest.
    pub id: String,
    /// `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    pub grant: Vec<String>,
}

impl Lock {
    /// Reads the file; none if there is none.
    ///
    /// # Errors
    /// [`Failure::usage`] with the line of the mistake.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let mut text = String::new();
        let file = match std::fs::File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| Failure::usage(format!("cannot read `{}`", path.display())));
            }
        };
        file.take(LONGEST + 1)
            .read_to_string(&mut text)
            .with_context(|| Failure::usage(format!("cannot read `{}`", path.display())))?;
        if u64::try_from(text.len()).is_ok_and(|length| length > LONGEST) {
            return Err(Failure::usage(format!("`{}` is longer than 4 MiB", path.display())).into());
        }
        Self::parse(&text).with_context(|| Failure::usage(format!("cannot use `{}`", path.display()))).map(Some)
    }

    /// # Errors
    /// Says what is wrong, and in which line if it is the form.
    pub fn parse(text: &str) -> Result<Self> {
        let lock: Self = toml::from_str(text)?;
        anyhow::ensure!(lock.version == 1, "version {} is not known; this piimg writes version 1", lock.version);
        for entry in &lock.plugins {
            let hex = entry.digest.strip_prefix("sha256:").filter(|hex| {
                hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte))
            });
            anyhow::ensure!(
                hex.is_some(),
                "the digest of `{}` is not `sha256:` and 64 lowercase hexadecimal digits",
                entry.id
            );
            for scope in &entry.grant {
                Capability::parse(scope).with_context(|| format!("in the grants of `{}`", entry.id))?;
            }
        }
        Ok(lock)
    }

    /// What the very component with this digest was granted.
    pub fn grants<'a>(&'a self, digest: &'a str) -> impl Iterator<Item = &'a str> {
        self.plugins
            .iter()
            .filter(move |entry| entry.digest == digest)
            .flat_map(|entry| entry.grant.iter().map(String::as_str))
    }

    /// Whether another build of this plugin has grants, and this one has none.
    pub fn is_stale(&self, id: &str, digest: &str) -> bool {
        self.plugins.iter().all(|entry| entry.digest != digest) && self.plugins.iter().any(|entry| entry.id == id)
    }
}

/// The lines that grant `scopes`, ready to be added to the file.
pub fn lines<'a>(id: &str, digest: &str, scopes: impl IntoIterator<Item = &'a str>) -> String {
    let quote = |text: &str| toml::Value::from(text).to_string();
    let mut text = format!("[[plugin]]\nid = {}\ndigest = {}\ngrant = [\n", quote(id), quote(digest));
    for scope in scopes {
        writeln!(text, "  {},", quote(scope)).expect("writing to a string");
    }
    text + "]"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn grants_belong_to_a_digest() {
        let text = format!("version = 1\n{}\n", lines("a/b", &digest('a'), ["fs:write:/etc/x", "exec:sh -c \"x\""]));
        let lock = Lock::parse(&text).unwrap();
        assert_eq!(lock.grants(&digest('a')).collect::<Vec<_>>(), ["fs:write:/etc/x", "exec:sh -c \"x\""]);
        assert_eq!(lock.grants(&digest('b')).count(), 0);
        assert!(lock.is_stale("a/b", &digest('b')));
        assert!(!lock.is_stale("a/b", &digest('a')));
        assert!(!lock.is_stale("c/d", &digest('b')));
    }

    #[test]
    fn mistakes_are_named() {
        let entry =
            |line: &str| format!("version = 1\n[[plugin]]\nid = \"a/b\"\ndigest = \"{}\"\n{line}\n", digest('a'));
        for (text, cause) in [
            ("version = 2".to_owned(), "version 2 is not known"),
            (String::new(), "missing field `version`"),
            (entry("grants = []"), "line 5"),
            (entry("grant = [\"fs:write:etc\"]"), "`fs:write:etc` is no capability"),
            ("version = 1\n[[plugin]]\nid = \"a/b\"\ndigest = \"sha256:12\"\ngrant = []".to_owned(), "64 lowercase"),
        ] {
            let error = format!("{:#}", Lock::parse(&text).unwrap_err());
            assert!(error.contains(cause), "{text}: {error}");
        }
    }
}
