//! Reads the user's own configuration, `~/.config/piimg/config.toml`: the trust in recipes, and the share of this
//! machine that piimg may take. No recipe can set either.

use std::fs::File;
use std::io::Read as _;
use std::path::PathBuf;

use serde::Deserialize;

use super::store_limit::Limit;
use crate::error::{Context as _, Failure, Result};
use crate::home::{Home, check_own};
use crate::ui::Printable as _;

/// Most bytes of it that are read.
const LIMIT: u64 = 1 << 20;

/// Content of the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Permissions of the recipes in certain directories.
    pub(super) recipe: Vec<Entry>,
    /// Settings of the store.
    pub store: StoreConfig,
}

/// Settings of the store.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StoreConfig {
    /// Share of its disk that it may take.
    pub limit: Option<Limit>,
}

/// Permissions of the recipes in one directory.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) directory: PathBuf,
    #[serde(default)]
    pub(super) paths: Vec<PathBuf>,
    #[serde(default)]
    pub(super) commands: Vec<String>,
    #[serde(default)]
    pub(super) variables: Vec<String>,
}

impl Config {
    /// Reads it; nothing is said where there is none.
    ///
    /// # Errors
    /// [`Failure::usage`] if it cannot be read, somebody else could have written it, or it says something unknown.
    pub fn of_user(home: Option<&Home>) -> Result<Self> {
        let Some(path) = home.map(Home::config_file) else { return Ok(Self::default()) };
        let cannot_use = || Failure::usage(format!("cannot use `{}`", path.printable()));
        let file = match File::open(&path) {
            Err(error) if matches!(error.kind(), std::io::ErrorKind::NotFound | std::io::ErrorKind::NotADirectory) => {
                return Ok(Self::default());
            }
            opened => opened.with_context(cannot_use)?,
        };
        check_own(&rustix::fs::fstat(&file).with_context(cannot_use)?).with_context(cannot_use)?;
        let mut text = String::new();
        file.take(LIMIT).read_to_string(&mut text).with_context(cannot_use)?;
        Self::parse(&text).with_context(cannot_use)
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_store_has_a_limit_of_its_own() {
        let limit = |text: &str| Config::parse(text).map(|config| config.store.limit);
        assert_eq!(limit("").unwrap(), None);
        assert_eq!(limit("[store]\nlimit = \"20 GiB\"\n").unwrap(), Some(Limit::Bytes(20 << 30)));
        for (text, why) in [
            ("[store]\nlimit = \"much\"\n", "`much` must be a size such as `20G`"),
            ("[store]\nlimit = 20\n", "invalid type: integer `20`, expected a string"),
            ("[store]\npath = \"/x\"\n", "unknown field `path`"),
        ] {
            let error = format!("{:#}", limit(text).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }
}
