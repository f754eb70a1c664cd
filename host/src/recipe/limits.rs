//! Parses the limits of each command of a plugin: `[limits]` of the recipe, `--limit` of the command line.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Limits of each command of a plugin; where one is missing, piimg's own holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct CommandLimits {
    /// MiB of memory.
    pub memory_mb: Option<u64>,
    /// Processes and threads at the same time.
    pub processes: Option<u64>,
    /// MiB by which the image may grow.
    pub disk_mb: Option<u64>,
    /// Files by which the image may grow.
    pub files: Option<u64>,
    /// Minutes from start to end.
    pub minutes: Option<u64>,
}

/// Name, smallest and largest value.
type Rule = (&'static str, u64, u64);

/// The largest are beyond any machine, and far from what 64 bits hold once they are bytes or seconds. No program starts
/// in less than the smallest.
const RULES: [Rule; 5] = [
    ("memory-mb", 16, 1 << 30),
    ("processes", 4, 1 << 22),
    ("disk-mb", 1, 1 << 30),
    ("files", 1, 1 << 32),
    ("minutes", 1, 60 * 24 * 365),
];

impl CommandLimits {
    fn values(&mut self) -> [&mut Option<u64>; 5] {
        [&mut self.memory_mb, &mut self.processes, &mut self.disk_mb, &mut self.files, &mut self.minutes]
    }

    /// Takes a limit of the command line, `name=number`.
    ///
    /// # Errors
    /// The rule that it breaks, in words that follow the text.
    pub fn set(&mut self, text: &str) -> Result<(), String> {
        let known = || format!("must be NAME=NUMBER, with one of {}", RULES.map(|(name, ..)| name).join(", "));
        let (name, value) = text.split_once('=').ok_or_else(known)?;
        let index = RULES.iter().position(|(known, ..)| *known == name).ok_or_else(known)?;
        *self.values()[index] = Some(value.parse().map_err(|_| known())?);
        Ok(())
    }

    /// # Errors
    /// One that cannot be meant, and why.
    pub fn check(mut self) -> Result<(), String> {
        for ((name, least, most), value) in RULES.into_iter().zip(self.values()) {
            if value.is_some_and(|value| !(least..=most).contains(&value)) {
                return Err(format!("{name} must be from {least} to {most}"));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_set_by_name_and_checked() {
        let mut limits = CommandLimits { files: Some(7), ..CommandLimits::default() };
        limits.set("memory-mb=512").unwrap();
        limits.set("minutes=5").unwrap();
        limits.check().unwrap();
        assert_eq!(
            (limits.memory_mb, limits.minutes, limits.files, limits.disk_mb),
            (Some(512), Some(5), Some(7), None)
        );
        for text in ["memory-mb", "memory=1", "files=-1", "files=many", "files=99999999999999999999"] {
            assert!(
                limits.set(text).unwrap_err().starts_with("must be NAME=NUMBER, with one of memory-mb, "),
                "{text}"
            );
        }
        for text in ["memory-mb=0", "processes=1", "disk-mb=1073741825", "minutes=525601"] {
            let mut limits = CommandLimits::default();
            limits.set(text).unwrap();
            let name = text.split('=').next().unwrap();
            assert!(limits.check().unwrap_err().starts_with(&format!("{name} must be from ")), "{text}");
        }
    }
}
