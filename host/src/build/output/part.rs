//! The files of a result, and what they are called.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use crate::image::compress::Compression;
use crate::recipe::output::OutputKind;

/// A file that a build fills, in the order in which they get their names: what belongs to a file comes before it, so that
/// nothing is seen without it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(in crate::build) enum Part {
    /// The image, where it gets no name: it is compressed, or only its partitions are wanted.
    PlainImage,
    /// The archive, where it gets no name: it is compressed, or unpacked.
    PlainTar,
    /// What the plugins called.
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
    /// The files that these outputs need.
    pub(super) fn of(outputs: &BTreeSet<OutputKind>, compression: Option<Compression>) -> BTreeSet<Self> {
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

    /// What it is called, after `stem`; none for what gets no name.
    pub(super) fn name(self, stem: &str, compression: Option<Compression>) -> Option<String> {
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

    /// Whether it is what was asked for, and not what belongs to it.
    pub(super) fn is_result(self) -> bool {
        matches!(self, Self::Image | Self::Tar | Self::Boot | Self::Root)
    }
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
