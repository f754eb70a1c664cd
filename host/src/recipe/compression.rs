//! Parses how an image is to be compressed.

use std::fmt;
use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// Levels of `zstd` without `--ultra`: beyond it, decompression needs more memory than a small Pi may have to spare.
const ZSTD_LEVELS: RangeInclusive<u32> = 1..=19;

/// An image of Debian of 1.7 GB is 303 MB after 4 s on two cores with level 3, 268 MB after 19 s with this one, and 266 MB
/// after two minutes with level 15.
const ZSTD_DEFAULT: u32 = 10;

const XZ_LEVELS: RangeInclusive<u32> = 0..=9;

/// The default of `xz` itself. A higher level only has a larger dictionary, which the other side must have room for.
const XZ_DEFAULT: u32 = 6;

/// Compression format, with the level.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Compression {
    Zstd(u32),
    Xz(u32),
}

impl Compression {
    /// Parses `none`, or a format with or without `:LEVEL`.
    ///
    /// # Errors
    /// The rule it breaks.
    pub fn parse(text: &str) -> Result<Option<Self>, String> {
        let (format, level) = text.split_once(':').map_or((text, None), |(format, level)| (format, Some(level)));
        let (make, levels, default): (fn(u32) -> Self, _, _) = match format {
            "none" if level.is_none() => return Ok(None),
            "zstd" => (Self::Zstd, ZSTD_LEVELS, ZSTD_DEFAULT),
            "xz" => (Self::Xz, XZ_LEVELS, XZ_DEFAULT),
            _ => return Err("must be `none`, `zstd`, `zstd:LEVEL`, `xz` or `xz:LEVEL`".into()),
        };
        let Some(level) = level else { return Ok(Some(make(default))) };
        match level.parse().ok().filter(|level| levels.contains(level)) {
            Some(level) => Ok(Some(make(level))),
            None => Err(format!("must have a level from {} to {}", levels.start(), levels.end())),
        }
    }

    /// Returns the suffix of a compressed file.
    pub fn extension(self) -> &'static str {
        match self {
            Self::Zstd(_) => ".zst",
            Self::Xz(_) => ".xz",
        }
    }
}

impl fmt::Display for Compression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Zstd(level) => write!(f, "zstd:{level}"),
            Self::Xz(level) => write!(f, "xz:{level}"),
        }
    }
}

impl From<Compression> for String {
    fn from(compression: Compression) -> Self {
        compression.to_string()
    }
}

impl TryFrom<String> for Compression {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)?.ok_or_else(|| "must name a format".into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_and_levels_are_accepted_or_refused_for_the_right_reason() {
        let format = "must be `none`, `zstd`, `zstd:LEVEL`, `xz` or `xz:LEVEL`";
        for (text, expected) in [
            ("none", Ok(None)),
            ("zstd", Ok(Some(Compression::Zstd(10)))),
            ("zstd:1", Ok(Some(Compression::Zstd(1)))),
            ("zstd:19", Ok(Some(Compression::Zstd(19)))),
            ("xz", Ok(Some(Compression::Xz(6)))),
            ("xz:0", Ok(Some(Compression::Xz(0)))),
            ("zstd:0", Err("must have a level from 1 to 19")),
            ("zstd:99", Err("must have a level from 1 to 19")),
            ("zstd:", Err("must have a level from 1 to 19")),
            ("xz:10", Err("must have a level from 0 to 9")),
            ("xz:-1", Err("must have a level from 0 to 9")),
            ("bzip2", Err(format)),
            ("none:1", Err(format)),
            ("ZSTD", Err(format)),
            ("", Err(format)),
        ] {
            assert_eq!(Compression::parse(text), expected.map_err(str::to_owned), "{text:?}");
        }
    }

    #[test]
    fn a_plan_keeps_the_level() {
        let text = serde_json::to_string(&Compression::Zstd(7)).unwrap();
        assert_eq!(text, "\"zstd:7\"");
        assert_eq!(serde_json::from_str::<Compression>(&text).unwrap(), Compression::Zstd(7));
        assert!(serde_json::from_str::<Compression>("\"zstd:70\"").is_err());
    }
}
