//! Parses the size limit of the store. Pure.

use std::fmt;

use serde::{Deserialize, Deserializer};

/// Percent of the disk that the store has if nobody says: what is in it saves minutes, and nothing else on the disk is for
/// piimg.
const USUAL: u8 = 25;

/// Suffixes of a size, with their factors.
const UNITS: [(&str, u64); 6] =
    [("MiB", 1 << 20), ("GiB", 1 << 30), ("TiB", 1 << 40), ("M", 1 << 20), ("G", 1 << 30), ("T", 1 << 40)];

/// Size limit of the store. Beyond it, the least recently used content is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    Bytes(u64),
    /// Share of its disk, in percent.
    Percent(u8),
    /// No limit.
    None,
}

impl Default for Limit {
    fn default() -> Self {
        Self::Percent(USUAL)
    }
}

impl Limit {
    /// Understands `20G`, `20 GiB`, `25%` and `none`.
    ///
    /// # Errors
    /// The rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let rule = || "must be a size such as `20G`, a share of the disk such as `25%`, or `none`".to_owned();
        let text = text.trim();
        if text == "none" {
            return Ok(Self::None);
        }
        if let Some(percent) = text.strip_suffix('%') {
            let percent: u8 = percent.trim().parse().map_err(|_| rule())?;
            return if percent <= 100 { Ok(Self::Percent(percent)) } else { Err("must be at most 100%".into()) };
        }
        let number = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
        let unit = &text[number.len()..];
        let number: u64 = number.trim().parse().map_err(|_| rule())?;
        let factor = match UNITS.iter().find(|(name, _)| *name == unit) {
            Some((_, factor)) => *factor,
            // Of nothing there is no unit.
            None if unit.is_empty() && number == 0 => 1,
            None => return Err(rule()),
        };
        number.checked_mul(factor).map(Self::Bytes).ok_or_else(|| "must be a size that a disk may have".into())
    }

    /// Returns the limit in bytes on a disk of that size; `None` for no limit.
    pub fn of(self, disk: u64) -> Option<u64> {
        match self {
            Self::Bytes(bytes) => Some(bytes),
            Self::Percent(percent) => Some(disk / 100 * u64::from(percent)),
            Self::None => None,
        }
    }
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(bytes) => f.write_str(&crate::ui::bytes(*bytes)),
            Self::Percent(percent) => write!(f, "{percent}% of the disk"),
            Self::None => f.write_str("none"),
        }
    }
}

/// Parses the text form, for the user's configuration.
impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(|rule| serde::de::Error::custom(format!("`{text}` {rule}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_size_or_a_share() {
        for (text, limit) in [
            ("20G", Limit::Bytes(20 << 30)),
            (" 20 GiB", Limit::Bytes(20 << 30)),
            ("512M", Limit::Bytes(512 << 20)),
            ("1T", Limit::Bytes(1 << 40)),
            ("0", Limit::Bytes(0)),
            ("10 %", Limit::Percent(10)),
            ("none", Limit::None),
        ] {
            assert_eq!(Limit::parse(text), Ok(limit), "{text}");
        }
        for (text, said) in [
            ("", "must be a size such as"),
            ("20", "must be a size such as"),
            ("20GB", "must be a size such as"),
            ("-1G", "must be a size such as"),
            ("1.5G", "must be a size such as"),
            ("101%", "must be at most 100%"),
            ("99999999T", "must be a size that a disk may have"),
        ] {
            assert!(Limit::parse(text).unwrap_err().starts_with(said), "{text}: {:?}", Limit::parse(text));
        }
    }

    #[test]
    fn a_share_is_of_the_disk() {
        assert_eq!(Limit::default().of(400 << 30), Some(100 << 30));
        assert_eq!(Limit::Percent(100).of(u64::MAX), Some(u64::MAX / 100 * 100));
        assert_eq!((Limit::Bytes(7).of(1), Limit::None.of(1)), (Some(7), None));
    }
}
