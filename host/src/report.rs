//! Records, after a build, what each plugin was granted, called and changed.
//!
//! Data and questions to it; who makes the data is in [`crate::steps`].

pub mod blame;
pub mod conflicts;
mod listing;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use serde::{Deserialize, Serialize};

use piimg_capability::audit::Record;

use crate::plugin::Uses;
use crate::plugin::about::shortened;
use crate::rootfs::change_tracker::Party;
use crate::rootfs::changes::{Change, Notable};
use crate::ui::printable;
pub use listing::{Listing, listing};
pub use piimg_capability::audit;

/// Path of an image's [`BuildInfo`].
pub const BUILD_INFO: &str = "/usr/share/piimg/build.json";

/// Record of how an image was made. It is the same for two builds of the same inputs.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BuildInfo {
    /// Version of piimg.
    pub piimg: String,
    pub release: String,
    /// The base image; `None` for a bootstrap.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<BaseInfo>,
    pub architecture: String,
    pub hostname: String,
    pub flavour: String,
    /// Seconds since 1970 that files written by piimg have.
    pub epoch: u64,
    /// The plugins, in the order in which they ran.
    pub plugins: Vec<PluginReport>,
    /// Files that piimg itself wrote after all plugins, and in which step.
    pub steps: BTreeMap<String, String>,
    /// Files that it wrote, or of which it changed something, before any plugin.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub before: BTreeMap<String, Vec<Part>>,
}

/// A step's part in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    pub step: String,
    /// It made the file, and did not change one that was there.
    pub made: bool,
}

impl BuildInfo {
    /// Returns the paths that plugins changed; many changes below one directory become the directory, with a final `/`.
    pub fn changed_by_plugins(&self) -> BTreeSet<String> {
        let listed = self.plugins.iter().flat_map(|plugin| &plugin.effects).map(|effect| effect.change.path.clone());
        let unlisted = self.plugins.iter().flat_map(|plugin| plugin.unlisted.keys());
        listed.chain(unlisted.map(|directory| format!("{}/", directory.trim_end_matches('/')))).collect()
    }
}

/// An image or archive that another one was built on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BaseInfo {
    /// Name of the file.
    pub name: String,
    /// SHA-256 of the file, in hexadecimal digits.
    pub digest: String,
}

/// Actions of a plugin on an image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PluginReport {
    pub id: String,
    pub version: String,
    /// Digest of the component: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
    /// Granted scopes, as requested, and with the values of the plugin's parameters. Parameter values are not recorded
    /// themselves: a plugin may have used one privately.
    pub granted: BTreeMap<String, String>,
    /// Uses of each capability, by the narrowest one that would do.
    pub uses: BTreeMap<String, Uses>,
    /// Settings that it made for the whole image, the last value of each.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub settings: BTreeMap<String, String>,
    /// Packages that came with it.
    pub packages: Vec<String>,
    /// Other wishes for package runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub wishes: Vec<String>,
    /// Changes that it made itself, and notable changes of its packages.
    pub effects: Vec<Effect>,
    /// Changes that are too many to be listed: how many there are below each directory.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub unlisted: BTreeMap<String, usize>,
}

impl PluginReport {
    /// Returns what an audit compares of it.
    pub fn record(&self) -> Record {
        Record {
            granted: self.granted.clone(),
            allowed: self.uses.iter().map(|(scope, uses)| (scope.clone(), uses.allowed)).collect(),
            changed: self.effects.iter().map(|effect| effect.change.path.clone()).collect(),
        }
    }
}

/// Author of a change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Who {
    /// Programs of packages that were installed or removed.
    Packages,
    /// piimg, before or after packages were installed, because the plugin wished it: what it wished.
    Wish(String),
    /// A command of the plugin: the number of the call that ran it, as in the audit log, and what it was.
    Command(u64, String),
    /// A host function of piimg, called by the plugin: the call's number, and what it was.
    Call(u64, String),
}

impl Who {
    pub fn command(number: u64, argv: &[String]) -> Self {
        Self::Command(number, shortened(&argv.join(" ")))
    }
}

impl Party for Who {
    fn most(&self) -> usize {
        // Calls that add lines to one file, each for itself, are told one by one.
        if matches!(self, Self::Call(..)) { 32 } else { 2 }
    }

    fn is_like(&self, other: &Self) -> bool {
        std::mem::discriminant(self) == std::mem::discriminant(other)
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Packages => f.write_str("packages"),
            Self::Wish(text) => write!(f, "the wish `{}`", printable(text)),
            Self::Command(number, text) => write!(f, "call {number}, `{}`", printable(text)),
            Self::Call(number, text) => write!(f, "call {number}, {}", printable(text)),
        }
    }
}

/// A change and who made it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Effect {
    #[serde(flatten)]
    pub change: Change,
    /// Authors: of commands the first and the last one, of calls the first ones and the last one.
    pub by: BTreeSet<Who>,
}

impl Effect {
    /// Returns whether only packages made the change.
    pub fn is_of_packages(&self) -> bool {
        !self.by.is_empty() && self.by.iter().all(|who| *who == Who::Packages)
    }

    /// Returns whether piimg took part in the change, because of a plugin's wish.
    pub fn is_of_a_wish(&self) -> bool {
        self.by.iter().any(|who| matches!(who, Who::Wish(_)))
    }

    /// Returns why the change deserves a look; for packages, leaves out what they commonly bring.
    pub fn notable(&self) -> impl Iterator<Item = Notable> {
        let of_packages = self.is_of_packages();
        self.change.notable.iter().copied().filter(move |notable| !of_packages || !notable.is_usual())
    }

    /// Names those who made the change.
    pub fn by(&self) -> String {
        let by: Vec<String> = self.by.iter().map(ToString::to_string).collect();
        if by.is_empty() { "nobody known".to_owned() } else { by.join(" and ") }
    }
}

impl fmt::Display for Effect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} by {}", printable(&self.change.path), self.change.kind, self.by())
    }
}
