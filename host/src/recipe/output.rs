//! Lists the kinds of output of a build.

use serde::{Deserialize, Serialize};

/// A form of the result.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OutputKind {
    /// The image to write to a card.
    Image,
    /// The root file system as a tar archive, what belongs into the boot partition included.
    Tar,
    /// Each partition as a file system image of its own.
    Partitions,
    /// The root file system as a directory.
    Directory,
}

impl OutputKind {
    pub(super) const ALL: [(&str, Self); 4] =
        [("image", Self::Image), ("tar", Self::Tar), ("partitions", Self::Partitions), ("directory", Self::Directory)];

    /// # Errors
    /// The rule it breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let found = Self::ALL.iter().find(|(name, _)| *name == text);
        found
            .map(|(_, kind)| *kind)
            .ok_or_else(|| format!("must be one of {}", Self::ALL.map(|(name, _)| name).join(", ")))
    }
}
