//! Reads release descriptions: everything that piimg knows of a distribution's release is data under `files/`.

mod include;
pub mod repository;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Failure, Result};
use crate::ui::Printable as _;
use repository::{KeyRing, Repository};

/// `files/` of the repository, inside the program.
static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../files");

/// A release of a distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    pub name: String,
    /// `debian`, `ubuntu` or `raspberry-pi-os`.
    pub distribution: String,
    /// Title for people, such as `Debian 12`.
    pub title: String,
    /// Package repositories. For each architecture the first one that has it is the release's own.
    #[serde(rename = "repository")]
    pub repositories: Vec<Repository>,
    /// Key rings by the names that repositories call them.
    #[serde(rename = "keyring")]
    pub keyrings: BTreeMap<String, KeyRing>,
    /// The first one is the default.
    pub architectures: Vec<String>,
    /// Additions for images of one architecture; [`Release::resolved`] merges them.
    #[serde(default, rename = "architecture")]
    pub parts: BTreeMap<String, ArchitecturePart>,
    /// Pi models its kernel and firmware boot.
    #[serde(default)]
    pub models: Vec<String>,
    /// Whether its boot partition has Raspberry Pi's overlays, and device trees that take parameters.
    #[serde(default)]
    pub overlays: bool,
    #[serde(default)]
    pub packages: Vec<String>,
    /// Other architectures whose packages the image takes too.
    #[serde(default)]
    pub foreign_architectures: Vec<String>,
    /// Whether `/bin`, `/sbin` and `/lib` must be made links into `/usr` in advance, because no package does.
    #[serde(default)]
    pub merge_usr: bool,
    /// Environment of maintainer scripts.
    #[serde(default)]
    pub environment: BTreeMap<String, String>,
    /// Directories that must exist before packages are installed.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Groups of the system that no package makes.
    #[serde(default)]
    pub groups: Vec<String>,
    /// Locales to generate, as in `/etc/locale.gen` without the character set, which is UTF-8.
    #[serde(default)]
    pub locales: Vec<String>,
    /// Units to enable, to disable, and to make impossible to start.
    #[serde(default)]
    pub enable: Vec<String>,
    #[serde(default)]
    pub disable: Vec<String>,
    #[serde(default)]
    pub mask: Vec<String>,
    /// `fstab` with placeholders for the two `PARTUUID`s.
    pub fstab: String,
    /// Files of the image that name the root file system, with the same placeholders.
    #[serde(default)]
    pub root_references: Vec<String>,
    /// Files of packages that the boot partition gets copies of.
    #[serde(default, rename = "boot-file")]
    pub boot_files: Vec<BootFile>,
    pub user: DefaultUser,
    /// Files copied into the image.
    #[serde(default, rename = "file")]
    pub files: Vec<ReleaseFile>,
}

/// Additions for images of one architecture.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct ArchitecturePart {
    pub models: Vec<String>,
    pub packages: Vec<String>,
    pub foreign_architectures: Vec<String>,
    #[serde(rename = "boot-file")]
    pub boot_files: Vec<BootFile>,
    #[serde(rename = "file")]
    pub files: Vec<ReleaseFile>,
}

/// Files of packages that are copied to the boot partition when an image is finalised.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BootFile {
    /// Absolute, with `*` within a segment, `**` for any number of segments, and `{kernel}` for the newest kernel's version.
    pub from: String,
    /// Path in the boot partition: a directory if it ends in `/` or is empty, a file otherwise.
    pub to: String,
    /// Unpack what is compressed with gzip, for firmware that cannot.
    #[serde(default)]
    pub gunzip: bool,
    /// Whether the file may be missing.
    #[serde(default)]
    pub optional: bool,
}

/// The first user, where the recipe says nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DefaultUser {
    pub name: String,
    /// Expired from the start: the first login must change it.
    pub password: String,
    pub groups: Vec<String>,
}

/// A file that the release brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleaseFile {
    /// Path in the image.
    pub path: String,
    /// Below `files/`; of several, one behind the other.
    #[serde(deserialize_with = "one_or_more")]
    pub source: Vec<String>,
    #[serde(default = "plain_mode")]
    pub mode: u32,
    /// Written before packages are installed, because one of them reads it when it is configured.
    #[serde(default)]
    pub early: bool,
    /// Filled in from `source`.
    #[serde(default)]
    pub content: String,
}

const fn plain_mode() -> u32 {
    0o644
}

fn one_or_more<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged, expecting = "a file or a list of files")]
    enum Names {
        One(String),
        More(Vec<String>),
    }
    Ok(match Names::deserialize(deserializer)? {
        Names::One(name) => vec![name],
        Names::More(names) => names,
    })
}

impl ReleaseFile {
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }
}

impl Release {
    /// Returns the release for images of `architecture`, with the additions for that architecture.
    #[must_use]
    pub fn resolved(mut self, architecture: &str) -> Self {
        let part = std::mem::take(&mut self.parts).remove(architecture).unwrap_or_default();
        self.models.extend(part.models);
        self.packages.extend(part.packages);
        self.foreign_architectures.extend(part.foreign_architectures);
        self.boot_files.extend(part.boot_files);
        self.files.extend(part.files);
        self
    }

    /// Returns the architectures whose packages an image of `architecture` takes, its own first.
    pub fn architectures_of(&self, architecture: &str) -> Vec<String> {
        let own = [architecture.to_owned()];
        own.into_iter().chain(self.foreign_architectures.iter().cloned()).collect()
    }

    /// Returns the repositories that have packages of `architecture`, the release's own first.
    pub fn repositories_for<'a>(&'a self, architecture: &'a str) -> impl Iterator<Item = &'a Repository> {
        self.repositories.iter().filter(move |repository| repository.has(architecture))
    }

    /// Returns the release's own repository for `architecture`.
    ///
    /// # Errors
    /// [`Failure::usage`] if no repository has packages of it.
    pub fn own_repository(&self, architecture: &str) -> Result<&Repository> {
        let own = self.repositories.iter().find(|repository| repository.has(architecture));
        own.with_context(|| Failure::usage(format!("{} has no packages for {architecture}", self.title)))
    }
}

/// All known releases, by name.
#[derive(Clone, Debug)]
pub struct Releases(BTreeMap<String, Release>);

impl Releases {
    /// Reads the releases that are built into piimg.
    ///
    /// # Errors
    /// [`Failure::bug`] if one of them is malformed, which the tests rule out.
    pub fn builtin() -> Result<Self> {
        let mut releases = BTreeMap::new();
        for file in FILES.get_dir("releases").into_iter().flat_map(Dir::files) {
            let name = file.path().printable();
            let text = file.contents_utf8().with_context(|| Failure::bug(format!("`{name}` is not text")))?;
            let release = parse(text, text_of).with_context(|| Failure::bug(format!("cannot use `{name}`")))?;
            releases.insert(release.name.clone(), release);
        }
        Ok(Self(releases))
    }

    pub fn get(&self, name: &str) -> Option<&Release> {
        self.0.get(name)
    }

    /// Returns the names of those that have Raspberry Pi's overlays.
    pub fn with_overlays(&self) -> impl Iterator<Item = &str> {
        self.0.values().filter(|release| release.overlays).map(|release| release.name.as_str())
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Returns a text file below `files/`.
fn text_of(source: &str) -> Option<&'static str> {
    FILES.get_file(source).and_then(|file| file.contents_utf8())
}

/// Parses a description; `source` finds the files it names.
fn parse<'a>(text: &str, source: impl Fn(&str) -> Option<&'a str>) -> Result<Release> {
    let mut release: Release = include::read(text, &source)?.try_into()?;
    anyhow::ensure!(!release.architectures.is_empty(), "it names no architecture");
    let parts = release.parts.values_mut().flat_map(|part| &mut part.files);
    for file in release.files.iter_mut().chain(parts) {
        for name in &file.source {
            file.content += source(name).with_context(|| format!("there is no file `{name}`"))?;
        }
    }
    for repository in &release.repositories {
        let (name, ring) = (&repository.name, &repository.signed_by);
        anyhow::ensure!(!repository.suites.is_empty(), "the repository `{name}` names no suite");
        anyhow::ensure!(
            release.keyrings.contains_key(ring),
            "there is no key ring `{ring}` for the repository `{name}`"
        );
    }
    Ok(release)
}
