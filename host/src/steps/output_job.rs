//! Names the files of a result.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;

use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::image::compress::Compression;
use crate::recipe::output::OutputKind;
use crate::recipe::plan::Plan;
use crate::sandbox::process;
use crate::store::key;

/// A file that a build fills, in the order in which they get their names: what belongs to a file comes before it, so that
/// nothing is seen without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Part {
    /// The image, where it gets no name: it is compressed, or only its partitions are wanted.
    PlainImage,
    /// The archive, where it gets no name: it is compressed, or unpacked.
    PlainTar,
    /// Log of the plugins' calls.
    AuditLog,
    BootChecksum,
    Boot,
    RootChecksum,
    Root,
    TarChecksum,
    Tar,
    Bmap,
    ImageChecksum,
    Image,
}

impl Part {
    /// Returns the files that these outputs need.
    pub(crate) fn of(outputs: &BTreeSet<OutputKind>, compression: Option<Compression>) -> BTreeSet<Self> {
        let wants = |kind| outputs.contains(&kind);
        let is_plain = compression.is_none();
        let mut parts = BTreeSet::from([Self::AuditLog]);
        if wants(OutputKind::Image) {
            parts.extend([Self::Bmap, Self::ImageChecksum, Self::Image]);
        }
        if wants(OutputKind::Partitions) {
            parts.extend([Self::BootChecksum, Self::Boot, Self::RootChecksum, Self::Root]);
        }
        if wants(OutputKind::Tar) {
            parts.extend([Self::TarChecksum, Self::Tar]);
        }
        let has = |kinds: [OutputKind; 2]| kinds.into_iter().any(wants);
        if has([OutputKind::Image, OutputKind::Partitions]) && !(is_plain && wants(OutputKind::Image)) {
            parts.insert(Self::PlainImage);
        }
        if has([OutputKind::Tar, OutputKind::Directory]) && !(is_plain && wants(OutputKind::Tar)) {
            parts.insert(Self::PlainTar);
        }
        parts
    }

    /// Returns the file's name, which begins with `stem`; `None` for a file that gets no name.
    pub(crate) fn name(self, stem: &str, compression: Option<Compression>) -> Option<String> {
        let format = compression.map_or("", Compression::extension);
        Some(match self {
            Self::PlainImage | Self::PlainTar => return None,
            Self::AuditLog => format!("{stem}.img.audit.jsonl"),
            Self::BootChecksum => format!("{stem}.boot.img.sha256"),
            Self::Boot => format!("{stem}.boot.img"),
            Self::RootChecksum => format!("{stem}.root.img.sha256"),
            Self::Root => format!("{stem}.root.img"),
            Self::TarChecksum => format!("{stem}.tar{format}.sha256"),
            Self::Tar => format!("{stem}.tar{format}"),
            Self::Bmap => format!("{stem}.img.bmap"),
            Self::ImageChecksum => format!("{stem}.img{format}.sha256"),
            Self::Image => format!("{stem}.img{format}"),
        })
    }

    /// Returns whether it is what was asked for, and not what belongs to it.
    pub(crate) fn is_result(self) -> bool {
        matches!(self, Self::Image | Self::Tar | Self::Boot | Self::Root)
    }
}

/// The files that a build fills, as it sees them: inherited descriptors, by number.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutputJob {
    pub(crate) files: BTreeMap<Part, i32>,
    /// Final names of the files.
    pub(crate) names: BTreeMap<Part, String>,
    /// Receives the identity of the result, see [`identity`].
    pub(crate) identity: i32,
    /// Identities of the results that lie there untouched.
    pub(crate) earlier: Vec<String>,
}

impl OutputJob {
    /// Takes the files over; to be called once.
    ///
    /// # Errors
    /// If one is missing.
    pub(crate) fn open(&self) -> Result<BTreeMap<Part, File>> {
        self.files.iter().map(|(part, number)| Ok((*part, process::adopt_fd(*number)?.into()))).collect()
    }
}

/// Inputs of an image besides its partitions, and requirements that it was built for.
#[derive(Serialize)]
struct Inputs<'a> {
    partitions: &'a str,
    models: &'a [String],
    outputs: &'a BTreeSet<OutputKind>,
    compression: Option<Compression>,
    /// The file name tells the time, if it was given.
    epoch: Option<u64>,
}

/// Returns the identity of the image that `plan` makes of those partitions, and of the files beside it.
pub(crate) fn identity(plan: &Plan, partitions: &str) -> String {
    key(&Inputs {
        partitions,
        models: &plan.models,
        outputs: &plan.outputs,
        compression: plan.compression,
        epoch: plan.epoch,
    })
}

/// Disk space that a build took, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// The base layer.
    pub base: u64,
    /// Both partitions, or, where none were made, all layers.
    pub partitions: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_output_has_its_files() {
        use OutputKind::{Directory, Image, Partitions, Tar};
        let zstd = Some(Compression::Zstd(3));
        for (outputs, compression, expected) in [
            (&[Image][..], None, &["a.img.bmap", "a.img.sha256", "a.img"][..]),
            (&[Image], zstd, &["-", "a.img.bmap", "a.img.zst.sha256", "a.img.zst"]),
            (&[Tar], None, &["a.tar.sha256", "a.tar"]),
            (&[Tar, Directory], None, &["a.tar.sha256", "a.tar"]),
            (&[Tar], zstd, &["-", "a.tar.zst.sha256", "a.tar.zst"]),
            (&[Directory], None, &["-"]),
            (&[Partitions], zstd, &["-", "a.boot.img.sha256", "a.boot.img", "a.root.img.sha256", "a.root.img"]),
        ] {
            let parts = Part::of(&outputs.iter().copied().collect(), compression);
            let names: Vec<String> = parts
                .into_iter()
                .filter(|part| *part != Part::AuditLog)
                .map(|part| part.name("a", compression).unwrap_or_else(|| "-".into()))
                .collect();
            assert_eq!(names, expected, "{outputs:?}");
        }
    }
}
