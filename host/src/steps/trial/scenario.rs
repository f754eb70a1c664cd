//! Describes the input of a trial.

use std::collections::BTreeMap;
use std::path::PathBuf;

use serde::Deserialize;

use crate::error::{Context as _, Failure, Result};
use crate::plugin::ImageInfo;
use crate::secret::source::Source;

/// Version of the form in which tests describe a trial and read its outcome.
pub(super) const VERSION: u32 = 1;

/// Describes a trial.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Scenario {
    /// Version of this form.
    pub version: u32,
    /// A directory, a tar archive or an image to copy; without one, the first files of a Debian.
    pub base: Option<PathBuf>,
    /// Facts that the plugin is told of the image.
    #[serde(deserialize_with = "image")]
    pub image: ImageInfo,
    /// Laid over the base before the plugin runs.
    pub files: Vec<StubFile>,
    /// Granted scopes; without it, all that the plugin requests.
    pub grants: Option<Vec<String>>,
    /// Values of the plugin's parameters.
    pub params: BTreeMap<String, String>,
    /// Files or directories of the host.
    pub assets: BTreeMap<String, PathBuf>,
    /// Values of secrets, which a test makes up.
    pub secrets: BTreeMap<String, String>,
    /// Sources of the secrets of a person: read when they are used.
    #[serde(skip)]
    pub secret_sources: BTreeMap<String, Source>,
    /// Packages that can be had, with their versions. Those that `conf()` lists are there in any case.
    pub packages: BTreeMap<String, String>,
    /// Content of an address, as a file of the host.
    pub downloads: BTreeMap<String, PathBuf>,
    /// Files of any commit of a repository's, as a directory of the host.
    pub checkouts: BTreeMap<String, PathBuf>,
    /// Stubs of commands.
    pub commands: Vec<StubCommand>,
}

impl Default for Scenario {
    fn default() -> Self {
        Self {
            version: VERSION,
            base: None,
            image: usual_image(),
            files: Vec::new(),
            grants: None,
            params: BTreeMap::new(),
            assets: BTreeMap::new(),
            secrets: BTreeMap::new(),
            secret_sources: BTreeMap::new(),
            packages: BTreeMap::new(),
            downloads: BTreeMap::new(),
            checkouts: BTreeMap::new(),
            commands: Vec::new(),
        }
    }
}

/// An entry of the tree that a stub makes.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StubFile {
    pub path: String,
    pub place: Place,
    /// Mode in octal, such as `0644`; without it, 0644 for a file and 0755 for a directory.
    #[serde(default)]
    pub mode: Option<u32>,
    /// User and group, by name or number; root without it.
    #[serde(default)]
    pub owner: Option<(String, String)>,
}

/// Entry at a path.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    Text(String),
    /// The bytes of a file of the host.
    From(PathBuf),
    Directory,
    Link(String),
    /// Removes what is there.
    Removed,
}

/// Stub of a command.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StubCommand {
    pub program: String,
    /// `*` stands for any one argument, `**` at the end for any number of them.
    #[serde(default)]
    pub args: Vec<String>,
    #[serde(default)]
    pub status: i32,
    #[serde(default)]
    pub stdout: String,
    #[serde(default)]
    pub stderr: String,
    /// Files that the command leaves in the tree.
    #[serde(default)]
    pub files: Vec<StubFile>,
    /// It is no fault if the command is never run.
    #[serde(default)]
    pub optional: bool,
}

impl StubCommand {
    /// Returns whether it stands for this command.
    pub fn fits(&self, program: &str, args: &[String]) -> bool {
        let fit = |(pattern, arg): (&String, &String)| pattern == "*" || pattern == arg;
        if self.program != program {
            return false;
        }
        match self.args.split_last() {
            Some((last, fixed)) if last == "**" => args.len() >= fixed.len() && fixed.iter().zip(args).all(fit),
            _ => args.len() == self.args.len() && self.args.iter().zip(args).all(fit),
        }
    }

    /// Returns it as it would be typed.
    pub fn shown(&self) -> String {
        std::iter::once(&self.program).chain(&self.args).cloned().collect::<Vec<_>>().join(" ")
    }
}

impl Scenario {
    /// Reads one that a test wrote.
    ///
    /// # Errors
    /// [`Failure::usage`] if it is of another version, or not understood.
    pub fn parse(text: &str) -> Result<Self> {
        let value: serde_json::Value =
            serde_json::from_str(text).context(Failure::usage("the description of the trial is no JSON"))?;
        let version = value.get("version").and_then(serde_json::Value::as_u64);
        if version != Some(u64::from(VERSION)) {
            let found = version.map_or_else(|| "none".to_owned(), |version| version.to_string());
            let text =
                format!("the description of the trial has version {found}, and this piimg understands {VERSION}");
            return Err(Failure::usage(text).hint("use a piimg and a piimg-plugin-test of the same version").into());
        }
        serde_json::from_value(value).context(Failure::usage("cannot understand the description of the trial"))
    }
}

fn usual_image() -> ImageInfo {
    ImageInfo {
        architecture: "arm64".into(),
        distribution: "debian".into(),
        release: "bookworm".into(),
        hostname: "raspberrypi".into(),
        flavour: "test".into(),
        epoch: 1_700_000_000,
    }
}

/// Reads what a test says of the image; what it leaves out is as usual.
fn image<'de, D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<ImageInfo, D::Error> {
    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Some {
        architecture: Option<String>,
        distribution: Option<String>,
        release: Option<String>,
        hostname: Option<String>,
        flavour: Option<String>,
        epoch: Option<u64>,
    }
    let (given, usual) = (Some::deserialize(deserializer)?, usual_image());
    Ok(ImageInfo {
        architecture: given.architecture.unwrap_or(usual.architecture),
        distribution: given.distribution.unwrap_or(usual.distribution),
        release: given.release.unwrap_or(usual.release),
        hostname: given.hostname.unwrap_or(usual.hostname),
        flavour: given.flavour.unwrap_or(usual.flavour),
        epoch: given.epoch.unwrap_or(usual.epoch),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stubs_fit_whole_commands() {
        for (pattern, args, expected) in [
            (&["-a", "x"][..], &["-a", "x"][..], true),
            (&["-a", "x"], &["-a"], false),
            (&["-a"], &["-a", "x"], false),
            (&["*"], &["anything"], true),
            (&["*"], &["two", "words"], false),
            (&["-a", "**"], &["-a"], true),
            (&["-a", "**"], &["-a", "x", "y"], true),
            (&["-a", "**"], &["-b", "x"], false),
            (&["**", "x"], &["y", "x"], false),
        ] {
            let owned = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
            let stub = StubCommand {
                program: "p".into(),
                args: owned(pattern),
                status: 0,
                stdout: String::new(),
                stderr: String::new(),
                files: Vec::new(),
                optional: false,
            };
            assert_eq!(stub.fits("p", &owned(args)), expected, "{pattern:?} {args:?}");
            assert!(!stub.fits("q", &owned(args)), "{pattern:?} {args:?}");
        }
    }

    #[test]
    fn another_version_and_unknown_words_are_refused() {
        for (text, cause) in [
            ("{}", "has version none, and this piimg understands 1"),
            (r#"{"version":2}"#, "has version 2, and this piimg understands 1"),
            (r#"{"version":1,"grantz":[]}"#, "unknown field `grantz`"),
            (r#"{"version":1,"files":[{"path":"/x"}]}"#, "missing field `place`"),
            ("nonsense", "is no JSON"),
        ] {
            let error = format!("{:#}", Scenario::parse(text).unwrap_err());
            assert!(error.contains(cause), "{text}: {error}");
        }
        let parsed = Scenario::parse(r#"{"version":1,"image":{"release":"trixie"}}"#).unwrap();
        assert_eq!((parsed.image.release.as_str(), parsed.image.hostname.as_str()), ("trixie", "raspberrypi"));
    }
}
