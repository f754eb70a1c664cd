//! Records what the last build of each recipe depends on. That stays in the store, however full it is.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::pieces::{Kind, Piece};
use super::{Store, key, replace, sealed};
use crate::error::{Context, Result};

/// Days after which a recipe that nobody built is one that nobody builds any more.
const DAYS: u64 = 90;

/// The last build of a recipe that came to its end.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Name of the recipe, for people: its path, and what else tells it apart.
    pub name: String,
    /// Seconds since 1970.
    pub built: u64,
    /// Keys of layers: the image's, and those that are below them while something runs.
    pub layers: BTreeSet<String>,
    pub partitions: Option<String>,
    /// Digests of the packages' files, and what apt calls them.
    pub packages: BTreeMap<String, String>,
}

impl Record {
    /// Returns whether the build stands on it.
    pub fn has(&self, piece: &Piece) -> bool {
        match piece.kind {
            Kind::Layer => self.layers.contains(&piece.key),
            Kind::Partitions => self.partitions.as_ref() == Some(&piece.key),
            Kind::Package => self.packages.contains_key(&piece.key),
            Kind::Download => false,
        }
    }
}

impl Store {
    /// Remembers a build in place of the last one of its recipe.
    ///
    /// # Errors
    /// If the file cannot be written.
    pub fn remember(&self, record: &Record) -> Result<()> {
        let failed = "cannot remember the build in the store";
        let path = self.data.join("builds").join(key(&("build", &record.name)));
        replace(&path, sealed::to_text(record).context(failed)?.as_ref()).context(failed)
    }

    /// Returns the last build of each recipe; those that are damaged are none.
    pub fn records(&self) -> Vec<Record> {
        let entries = fs::read_dir(self.data.join("builds")).into_iter().flatten().flatten();
        let mut records: Vec<Record> =
            entries.filter_map(|entry| sealed::from_text(&fs::read(entry.path()).ok()?)).collect();
        records.sort_by(|one, other| one.name.cmp(&other.name));
        records
    }

    /// Returns the names of packages by their digests, as far as builds recorded them.
    pub(super) fn names_of_packages(&self) -> BTreeMap<String, String> {
        self.records().into_iter().flat_map(|record| record.packages).collect()
    }

    /// Removes what is remembered and was not used for [`DAYS`]: builds, and what was chosen.
    pub(super) fn sweep_records(&self) -> Result<()> {
        let failed = "cannot tidy the store";
        let oldest = SystemTime::now() - Duration::from_secs(DAYS * 86_400);
        for directory in ["builds", "heads"] {
            for entry in fs::read_dir(self.data.join(directory)).context(failed)? {
                let entry = entry.context(failed)?;
                // It may be gone already: other builds tidy too.
                if entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|used| used < oldest) {
                    fs::remove_file(entry.path()).ok();
                }
            }
        }
        Ok(())
    }
}

/// Seconds since 1970.
pub fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn a_recipe_has_one_record_and_loses_it_if_nobody_builds_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let record = |name: &str, built| Record { name: name.into(), built, ..Record::default() };
        for record in [record("a", 1), record("b", 2), record("a", 3)] {
            store.remember(&record).unwrap();
        }
        assert_eq!(store.records(), [record("a", 3), record("b", 2)]);
        for entry in fs::read_dir(dir.path().join("builds")).unwrap() {
            let path = entry.unwrap().path();
            if sealed::from_text::<Record>(&fs::read(&path).unwrap()).unwrap().name == "b" {
                let old = SystemTime::now() - Duration::from_secs((DAYS + 1) * 86_400);
                File::options().write(true).open(&path).unwrap().set_modified(old).unwrap();
            }
        }
        assert_eq!(Store::open_at(dir.path()).unwrap().records(), [record("a", 3)]);
        for entry in fs::read_dir(dir.path().join("builds")).unwrap() {
            fs::write(entry.unwrap().path(), "{}").unwrap();
        }
        assert!(store.records().is_empty());
    }
}
