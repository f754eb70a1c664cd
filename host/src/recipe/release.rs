//! Release descriptions: everything piimg knows of a distribution's release is data under `files/`.

use std::collections::BTreeMap;

use include_dir::{Dir, include_dir};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Failure, Result};

/// `files/` of the repository, inside the program.
static FILES: Dir<'static> = include_dir!("$CARGO_MANIFEST_DIR/../files");

/// A release of a distribution.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Release {
    pub name: String,
    /// `debian`, `ubuntu` or `raspberry-pi-os`.
    pub distribution: String,
    /// For people, e.g. `Debian 12`.
    pub title: String,
    /// Its directory in the archive.
    pub suite: String,
    pub components: Vec<String>,
    /// Key ring on the host that the archive is signed with.
    pub keyring: Option<String>,
    /// The first one is the default.
    pub architectures: Vec<String>,
    /// Pi models its kernel and firmware boot.
    pub models: Vec<String>,
    pub packages: Vec<String>,
    /// Directories that must exist before packages are installed.
    #[serde(default)]
    pub directories: Vec<String>,
    /// Units to enable.
    #[serde(default)]
    pub enable: Vec<String>,
    /// With placeholders for the two `PARTUUID`s.
    pub fstab: String,
    /// Files of the image that name the root file system, with the same placeholders.
    #[serde(default)]
    pub root_references: Vec<String>,
    pub user: DefaultUser,
    /// Files copied into the image.
    #[serde(default, rename = "file")]
    pub files: Vec<ReleaseFile>,
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
    /// In the image.
    pub path: String,
    /// Below `files/`.
    pub source: String,
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

impl ReleaseFile {
    pub fn digest(&self) -> String {
        hex::encode(Sha256::digest(&self.content))
    }
}

/// All known releases, by name.
#[derive(Clone, Debug)]
pub struct Releases(BTreeMap<String, Release>);

impl Releases {
    /// Those that piimg carries.
    ///
    /// # Errors
    /// [`Failure::bug`] if one of them is malformed, which the tests rule out.
    pub fn builtin() -> Result<Self> {
        let mut releases = BTreeMap::new();
        for file in FILES.get_dir("releases").into_iter().flat_map(Dir::files) {
            let name = file.path().display();
            let text = file.contents_utf8().with_context(|| Failure::bug(format!("`{name}` is not text")))?;
            let release = parse(text, |source| FILES.get_file(source).and_then(|file| file.contents_utf8()))
                .with_context(|| Failure::bug(format!("cannot use `{name}`")))?;
            releases.insert(release.name.clone(), release);
        }
        Ok(Self(releases))
    }

    pub fn get(&self, name: &str) -> Option<&Release> {
        self.0.get(name)
    }

    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}

/// Parses a description; `source` finds the files it names.
fn parse<'a>(text: &str, source: impl Fn(&str) -> Option<&'a str>) -> Result<Release> {
    let mut release: Release = toml::from_str(text)?;
    anyhow::ensure!(!release.architectures.is_empty(), "it names no architecture");
    for file in &mut release.files {
        file.content = source(&file.source).with_context(|| format!("there is no file `{}`", file.source))?.to_owned();
    }
    Ok(release)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_release_that_piimg_carries_is_well_formed() {
        let releases = Releases::builtin().unwrap();
        assert_eq!(releases.names().collect::<Vec<_>>(), ["bookworm", "trixie"]);
        for name in releases.names() {
            let release = releases.get(name).unwrap();
            assert_eq!(release.name, name);
            assert!(release.fstab.contains("{root_partuuid}") && release.fstab.contains("{boot_partuuid}"), "{name}");
            assert!(!release.models.contains(&"pi5".to_owned()), "Debian's kernel does not boot a Pi 5");
            for unit in &release.enable {
                assert!(release.files.iter().any(|file| file.path.ends_with(&format!("/{unit}"))), "{unit}");
            }
        }
    }

    #[test]
    fn unknown_keys_and_missing_files_are_named() {
        let text = include_str!("../../../files/releases/trixie.toml");
        let error = parse(&format!("nmae = 1\n{text}"), |_| Some("")).unwrap_err();
        assert!(error.to_string().contains("unknown field `nmae`"), "{error}");
        let error = parse(text, |_| None).unwrap_err();
        assert_eq!(error.to_string(), "there is no file `raspi-firmware/default`");
    }
}
