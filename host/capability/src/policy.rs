//! Reads the site's policy: which capabilities may be granted on this machine, whoever grants them.
//!
//! ```toml
//! version = 1
//! # For every plugin: capabilities that include what may be granted, or a kind alone for all of that kind.
//! allow = ["fs:read:/**", "fs:write:/etc/**", "pkg:install"]
//!
//! # For one plugin, beside that. The id is only what a plugin calls itself: `digests` says which builds are meant.
//! [plugin."example/motd"]
//! allow = ["exec:locale-gen **"]
//! digests = ["sha256:…"]
//! ```
//!
//! Where there is no file there is no ceiling. Where there are two, both apply. Pure, but for [`read`].

mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::path::{Path, PathBuf};

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize};

use super::capability::{Capability, Need, Template};
use super::lock::is_digest;
use crate::check;
use piimg_sandbox::error::{Context as _, Failure, Result};
use piimg_sandbox::text::Printable as _;

/// The site's file: for every user of the machine, root included.
pub const SITE: &str = "/etc/piimg/policy.toml";

/// All files that apply.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ceiling(Vec<Policy>);

/// One file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Policy {
    file: PathBuf,
    document: Document,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document {
    version: Version,
    allow: Vec<Bound>,
    #[serde(default)]
    plugin: BTreeMap<Id, ForPlugin>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct ForPlugin {
    allow: Vec<Bound>,
    /// Builds of the plugin that this is for; all that bear its name, if it is left out.
    #[serde(default)]
    digests: Option<Vec<Digest>>,
}

/// An allowed scope.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
pub enum Bound {
    /// Every capability with this before its scope.
    Kind(&'static str),
    /// Every capability that this one includes.
    Within(Capability),
}

/// The scopes that one file allows to one plugin.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limit {
    pub file: PathBuf,
    pub allow: Vec<Bound>,
}

// Checked while the file is parsed, so that the message has the line.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Version;

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
struct Id(String);

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(into = "String")]
struct Digest(String);

/// Reads an item of a list, so that its own line is in the message: `try_from` would name the list's.
struct Item<T>(PhantomData<T>);

impl<T: TryFrom<String, Error = String>> Visitor<'_> for Item<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<T, E> {
        T::try_from(text.to_owned()).map_err(E::custom)
    }
}

impl<'de> Deserialize<'de> for Bound {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Item(PhantomData))
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_str(Item(PhantomData))
    }
}

impl Ceiling {
    /// Reads the site's file, and another one that can only narrow what the first allows.
    ///
    /// # Errors
    /// [`Failure::usage`] with file and line for what is malformed or unknown, [`Failure::host`] if others than root
    /// can write to the site's file.
    pub fn read(further: Option<&Path>) -> Result<Self> {
        let site = Path::new(SITE);
        let mut texts = Vec::new();
        texts.extend(read::trusted(site)?.map(|text| (site, text)));
        if let Some(path) = further {
            texts.push((path, read::any(path)?));
        }
        Self::parse(&texts)
    }

    /// Parses policy files, given with their names.
    ///
    /// # Errors
    /// [`Failure::usage`] with file and line for what is malformed or unknown.
    pub fn parse(files: &[(&Path, String)]) -> Result<Self> {
        files.iter().map(|(path, text)| Policy::parse(path, text)).collect::<Result<_>>().map(Self)
    }

    /// Returns the limits of a plugin; each of them must allow a grant.
    pub fn limits(&self, id: &str, digest: &str) -> Vec<Limit> {
        let limit = |policy: &Policy| Limit { file: policy.file.clone(), allow: policy.document.bounds(id, digest) };
        self.0.iter().map(limit).collect()
    }
}

impl Policy {
    fn parse(file: &Path, text: &str) -> Result<Self> {
        let document =
            toml::from_str(text).with_context(|| Failure::usage(format!("cannot use `{}`", file.printable())))?;
        Ok(Self { file: file.to_owned(), document })
    }
}

impl Document {
    fn bounds(&self, id: &str, digest: &str) -> Vec<Bound> {
        let is_meant = |digests: &Option<Vec<Digest>>| {
            digests.as_ref().is_none_or(|digests| digests.iter().any(|known| known.0 == digest))
        };
        let own = self.plugin.iter().filter(|(known, own)| known.0 == id && is_meant(&own.digests));
        self.allow.iter().chain(own.flat_map(|(_, own)| &own.allow)).cloned().collect()
    }
}

impl Limit {
    pub fn covers(&self, need: &Need) -> bool {
        self.allow.iter().any(|bound| match bound {
            Bound::Kind(prefix) => need.prefix() == *prefix,
            Bound::Within(outer) => outer.covers(need),
        })
    }

    pub fn includes(&self, capability: &Capability) -> bool {
        self.allow.iter().any(|bound| match bound {
            Bound::Kind(prefix) => capability.prefix() == *prefix,
            Bound::Within(outer) => outer.includes(capability),
        })
    }
}

impl TryFrom<String> for Bound {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if let Some(prefix) = Capability::prefix_of(&text) {
            return Ok(Self::Kind(prefix));
        }
        let template = Template::parse(&text).map_err(|error| error.to_string())?;
        if template.params().next().is_some() {
            return Err("a ceiling knows no parameters: it bounds what comes of them".into());
        }
        Capability::parse(&text).map(Self::Within).map_err(|error| error.to_string())
    }
}

impl From<Bound> for String {
    fn from(bound: Bound) -> Self {
        bound.to_string()
    }
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kind(prefix) => f.write_str(prefix.trim_end_matches(':')),
            Self::Within(capability) => capability.fmt(f),
        }
    }
}

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        match version {
            1 => Ok(Self),
            _ => Err(format!("version {version} is not known; this piimg reads version 1")),
        }
    }
}

impl From<Version> for u32 {
    fn from(_: Version) -> Self {
        1
    }
}

impl TryFrom<String> for Id {
    type Error = String;

    fn try_from(id: String) -> Result<Self, String> {
        check::plugin_id(&id).map(|()| Self(id)).map_err(|rule| format!("the id of a plugin {rule}"))
    }
}

impl From<Id> for String {
    fn from(id: Id) -> Self {
        id.0
    }
}

impl TryFrom<String> for Digest {
    type Error = String;

    fn try_from(digest: String) -> Result<Self, String> {
        match is_digest(&digest) {
            true => Ok(Self(digest)),
            false => Err("a digest is `sha256:` and 64 lowercase hexadecimal digits".into()),
        }
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// Returns a ceiling of one file.
#[cfg(test)]
pub fn ceiling(text: &str) -> Ceiling {
    Ceiling(vec![Policy::parse(Path::new("policy.toml"), text).unwrap()])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::capability::Invocation;

    fn policy(text: &str) -> Result<Policy> {
        Policy::parse(Path::new("p.toml"), text)
    }

    fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    #[test]
    fn each_file_bounds_each_plugin() {
        let site = format!(
            "version = 1\nallow = [\"fs:write:/etc/**\", \"exec\"]\n\
             [plugin.\"a/b\"]\nallow = [\"pkg:install:htop\"]\n\
             [plugin.\"a/c\"]\nallow = [\"asset\"]\ndigests = [\"{}\"]\n",
            digest('a')
        );
        let site = policy(&site).unwrap();
        let one = Ceiling(vec![site.clone()]);
        let two = Ceiling(vec![site, policy("version = 1\nallow = [\"fs:write:/etc/x\", \"exec:sh **\"]").unwrap()]);
        for (id, build, scope, by_one, by_two) in [
            ("x", 'a', "fs:write:/etc/x", true, true),
            ("x", 'a', "fs:write:/etc/y", true, false),
            ("x", 'a', "fs:write:/etc/**", true, false),
            ("x", 'a', "fs:write:/**", false, false),
            ("x", 'a', "fs:read:/etc/x", false, false),
            ("x", 'a', "exec:sh -c *", true, true),
            ("x", 'a', "exec:id", true, false),
            ("x", 'a', "pkg:install:htop", false, false),
            ("a/b", 'z', "pkg:install:htop", true, false),
            ("a/b", 'z', "pkg:install:*", false, false),
            ("a/c", 'a', "asset:logo", true, false),
            ("a/c", 'b', "asset:logo", false, false),
            ("a/b", 'a', "asset:logo", false, false),
        ] {
            let capability = Capability::parse(scope).unwrap();
            for (ceiling, expected) in [(&one, by_one), (&two, by_two), (&Ceiling::default(), true)] {
                let limits = ceiling.limits(id, &digest(build));
                assert_eq!(limits.iter().all(|limit| limit.includes(&capability)), expected, "{id} {build} {scope}");
            }
        }
    }

    #[test]
    fn a_call_is_bounded_like_a_capability() {
        let limits = Ceiling(vec![policy("version = 1\nallow = [\"exec\", \"fs:write:/opt/**\"]").unwrap()])
            .limits("x", &digest('a'));
        for (need, expected) in [
            (Need::Exec(Invocation::new("sh", &["a b"])), true),
            (Need::fs_write("/opt/x".into()), true),
            (Need::fs_write_tree("/opt".into()), true),
            (Need::fs_write_tree("/".into()), false),
            (Need::fs_read("/opt/x".into()), false),
        ] {
            assert_eq!(limits[0].covers(&need), expected, "{need}");
        }
    }

    #[test]
    fn an_empty_list_allows_nothing() {
        let limits = Ceiling(vec![policy("version = 1\nallow = []\n").unwrap()]).limits("x", &digest('a'));
        assert!(!limits[0].includes(&Capability::parse("asset:x").unwrap()));
    }

    #[test]
    fn mistakes_are_named_with_file_and_line() {
        let with = |line: &str| format!("version = 1\nallow = []\n{line}\n");
        for (text, line, cause) in [
            (String::new(), 1, "missing field `version`"),
            ("version = 1\n".into(), 1, "missing field `allow`"),
            ("version = 2\nallow = []\n".into(), 1, "version 2 is not known"),
            ("version = \"1\"\nallow = []\n".into(), 1, "invalid type: string"),
            (with("deny = []"), 3, "unknown field `deny`"),
            (with("[plugins]"), 3, "unknown field `plugins`"),
            (with("[plugin.\"a/b\"]\nallow = []\nalow = []"), 5, "unknown field `alow`"),
            (with("[plugin.\"a/b\"]\n"), 3, "missing field `allow`"),
            (with("[plugin.\"a b\"]\nallow = []"), 3, "the id of a plugin must be"),
            (with("[plugin.\"a/b\"]\nallow = []\ndigests = [\"x\"]"), 5, "64 lowercase"),
            ("version = 1\nallow = [\n  \"exec\",\n  \"fs:write:etc\"\n]\n".into(), 4, "not absolute"),
            ("version = 1\nallow = [\"fs\"]\n".into(), 2, "its kind is not offered"),
            ("version = 1\nallow = [\"Exec\"]\n".into(), 2, "its kind is not offered"),
            ("version = 1\nallow = [\"fs:write:/home/{params.user}\"]\n".into(), 2, "knows no parameters"),
            ("version = 1\nallow = \"exec\"\n".into(), 2, "invalid type: string"),
            ("version = 1\nallow = []\nallow = []\n".into(), 3, "duplicate key"),
        ] {
            let error = policy(&text).unwrap_err();
            assert_eq!(piimg_sandbox::error::report(&error).kind, piimg_sandbox::error::Kind::Usage);
            let error = format!("{error:#}");
            assert!(error.starts_with("cannot use `p.toml`: "), "{error}");
            assert!(error.contains(&format!("at line {line},")) && error.contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn it_travels_as_data() {
        let text = "version = 1\nallow = [\"exec\", \"fs:write:/etc/**\"]\n[plugin.\"a/b\"]\nallow = []\n";
        let ceiling = Ceiling(vec![policy(text).unwrap()]);
        let json = serde_json::to_string(&ceiling).unwrap();
        assert_eq!(serde_json::from_str::<Ceiling>(&json).unwrap(), ceiling);
    }
}
