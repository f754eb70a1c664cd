//! Defines the result of a plugin's `conf()`, in the form that the rest of the host works with.
//!
//! Every string in it was chosen by the plugin: nothing here is trusted before [`super::plan`] validated it.

use serde::{Deserialize, Serialize};

use super::{debconf, pin};

/// A plugin's answer to `conf()`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginConf {
    /// `author/name`; the identity that matters is the digest of the component.
    pub id: String,
    pub version: String,
    pub title: String,
    pub description: String,
    /// The image parameters of the original scripts; a plugin that only adds to another's image leaves them out.
    pub image: ImageParams,
    pub params: Vec<Param>,
    pub capabilities: Vec<CapabilityRequest>,
    /// Plugins that must run before this one, by id, if they take part in the build.
    pub after: Vec<String>,
    /// Plugins that cannot be in the same image, by id.
    pub conflicts: Vec<String>,
    /// Releases and architectures it was made for; empty means any.
    pub releases: Vec<String>,
    pub architectures: Vec<String>,
    #[serde(default)]
    pub wishes: Wishes,
}

/// The seven parameters of the original scripts' `conf` dictionary.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageParams {
    pub hostname: Option<String>,
    /// Free space in the root file system beyond its content, in MiB.
    pub rootfs_extra_space_mb: Option<u32>,
    /// Host directory of the store.
    pub rootfs: Option<String>,
    /// Second part of the image's file name.
    pub flavour: Option<String>,
    pub release: Option<String>,
    /// Host directory that receives the image.
    pub imagedir: Option<String>,
    /// Package names, each optionally with `=version`, installed before `execute()` runs.
    pub apt_get_packages: Vec<String>,
}

/// Wishes for the runs of the package manager below it, packages aside.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Wishes {
    /// Answers that debconf has before the packages are installed.
    pub answers: Vec<debconf::Unchecked>,
    /// Preferences for apt.
    pub pins: Vec<pin::Unchecked>,
    /// Archives that packages may come from.
    pub repositories: Vec<Repository>,
    /// Names of packages that the image is not to have.
    pub removals: Vec<String>,
}

/// An archive of packages, and the keys that sign it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repository {
    pub name: String,
    pub url: String,
    pub suite: String,
    pub components: Vec<String>,
    /// Fingerprints of all keys.
    pub fingerprints: Vec<String>,
    #[serde(with = "hex")]
    pub key: Vec<u8>,
}

/// A typed parameter of the plugin's own, set with `[params."id"]` or `--param id:name=value`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Param {
    pub name: String,
    pub title: String,
    pub kind: ParamKind,
    /// The default as the user would write it; none means that the user must set it.
    pub default: Option<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParamKind {
    Bool,
    /// Lowest and highest value.
    Integer(i64, i64),
    /// Any text of one line.
    Text,
    Choice(Vec<String>),
}

/// A capability the plugin asks for, with its author's reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CapabilityRequest {
    /// `kind:scope`, unparsed.
    pub scope: String,
    /// The author's claim: shown as such, never as piimg's own words.
    pub reason: String,
    /// The plugin can do without it.
    pub optional: bool,
}
