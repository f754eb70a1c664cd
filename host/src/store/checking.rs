//! Compares layers with the lists of what they hold, when they are used: the store is checked, not believed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::PoisonError;

use rustix::fs::FlockOperation;

use super::manifest::Manifest;
use super::{Kind, Piece, Store, pieces};
use crate::error::{Context as _, Result};

/// Something of the store is not what was put there. It is gone now: the same build, begun once more, makes it anew.
#[derive(Debug)]
pub struct Damaged {
    /// The damaged piece, and the damage.
    what: String,
}

impl Damaged {
    pub fn new(what: impl Into<String>) -> Self {
        Self { what: what.into() }
    }
}

impl fmt::Display for Damaged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the store was damaged: {}", self.what)
    }
}

impl std::error::Error for Damaged {}

/// Layers that this process has compared with their lists, and holds.
#[derive(Debug, Default)]
pub(super) struct Checked {
    /// Layers that are unchanged according to the kernel.
    seen: BTreeSet<String>,
    /// Byte for byte.
    read: BTreeSet<String>,
    /// Their directories: nobody who tidies removes a layer that somebody holds.
    held: BTreeMap<String, File>,
}

impl Store {
    /// Returns whether the store has the finished layer `key`, as it was committed: nobody has changed anything in it,
    /// as far as the kernel knows. One that is damaged is told to `warn` and dropped.
    ///
    /// # Errors
    /// If a damaged one cannot be dropped.
    pub fn has_layer(&self, key: &str, warn: &mut dyn FnMut(&str)) -> Result<bool> {
        if self.checked().seen.contains(key) {
            return Ok(true);
        }
        let directory = self.layer(key);
        if !self.take(key)? {
            return Ok(false);
        }
        self.mark(key)?;
        let list = Manifest::read(&directory);
        if list.as_ref().is_some_and(|list| list.is_untouched(&directory).unwrap_or(false)) {
            self.checked().seen.insert(key.to_owned());
            return Ok(true);
        }
        // A store that was copied has other inodes; what is in them tells.
        if let Some(damage) = damage(&directory, list.as_ref()) {
            warn(&format!("the layer {key} of the store is damaged: {damage}; it is made anew"));
            self.drop_layer(key)?;
            return Ok(false);
        }
        self.know(key);
        Ok(true)
    }

    /// Holds a layer from now on; false if it is not there.
    fn take(&self, key: &str) -> Result<bool> {
        let failed = "cannot hold a layer of the store";
        let path = self.layer(key);
        let Ok(directory) = pieces::open_directory(&path) else { return Ok(false) };
        rustix::fs::flock(&directory, FlockOperation::LockShared).context(failed)?;
        // Whoever had it alone may have moved it away.
        let number = directory.metadata().context(failed)?.ino();
        if !fs::symlink_metadata(&path).is_ok_and(|found| found.ino() == number) {
            return Ok(false);
        }
        self.hold(key, directory);
        Ok(true)
    }

    /// Says of a layer that is held that it is used.
    fn mark(&self, key: &str) -> Result<()> {
        let checked = self.checked();
        let marked = checked.held.get(key).map(|directory| directory.set_modified(self.opened));
        marked.unwrap_or(Ok(())).context("cannot mark a layer of the store as used")
    }

    /// Keeps the directory of a layer open that is locked already.
    pub(super) fn hold(&self, key: &str, directory: File) {
        self.checked().held.insert(key.to_owned(), directory);
    }

    /// Returns the keys of all layers that this process has used.
    pub fn used_layers(&self) -> BTreeSet<String> {
        self.checked().held.keys().cloned().collect()
    }

    /// Compares a layer byte for byte and describes the damage; `None` if there is none, or the layer is gone.
    ///
    /// # Errors
    /// If it cannot be held.
    pub fn damage_of_layer(&self, key: &str) -> Result<Option<String>> {
        if !self.take(key)? {
            return Ok(None);
        }
        let directory = self.layer(key);
        let found = damage(&directory, Manifest::read(&directory).as_ref());
        self.checked().held.remove(key);
        Ok(found)
    }

    /// Removes a piece that is not what it should be.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn drop_piece(&self, piece: &Piece) -> Result<()> {
        match piece.kind {
            Kind::Layer => self.drop_layer(&piece.key),
            kind => self.drop_whole(&self.place(kind, &piece.key)),
        }
    }

    /// Compares layers with their lists, byte for byte, each once in a process; `keys` are those of an image, from the bottom
    /// up. One that is damaged is dropped, with those above it, which may have been made from the damage.
    ///
    /// # Errors
    /// [`Damaged`] if one was.
    pub fn check_layers(&self, keys: &[&str]) -> Result<()> {
        for (index, key) in keys.iter().enumerate() {
            if self.checked().read.contains(*key) {
                continue;
            }
            let directory = self.layer(key);
            if let Some(damage) = damage(&directory, Manifest::read(&directory).as_ref()) {
                keys[index..].iter().try_for_each(|key| self.drop_layer(key))?;
                return Err(Damaged::new(format!("in the layer {key}, {damage}")).into());
            }
            self.know(key);
        }
        Ok(())
    }

    /// Returns whether [`Store::check_layers`] has nothing to do.
    pub fn has_checked(&self, keys: &[&str]) -> bool {
        let checked = self.checked();
        keys.iter().all(|key| checked.read.contains(*key))
    }

    pub(super) fn know(&self, key: &str) {
        let mut checked = self.checked();
        checked.seen.insert(key.to_owned());
        checked.read.insert(key.to_owned());
    }

    fn checked(&self) -> std::sync::MutexGuard<'_, Checked> {
        self.checked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Removes a layer that is not what it should be.
    fn drop_layer(&self, key: &str) -> Result<()> {
        let mut checked = self.checked();
        checked.seen.remove(key);
        checked.read.remove(key);
        checked.held.remove(key);
        drop(checked);
        self.drop_whole(&self.layer(key))
    }
}

/// Compares a layer with its list and describes the damage; `None` if there is none. The list then gets the layer's
/// inodes.
fn damage(directory: &Path, list: Option<&Manifest>) -> Option<String> {
    let Some(list) = list else { return Some("the list of what is in it is missing or damaged".to_owned()) };
    let compare = || -> Result<Option<String>> {
        let found = Manifest::of(directory)?;
        let difference = list.difference(&found);
        if difference.is_none() && found != *list {
            found.write(directory)?;
        }
        Ok(difference)
    };
    match compare() {
        Ok(difference) => difference.map(|path| format!("`{path}` is not what was put there")),
        // A disk that is broken says so.
        Err(error) => Some(format!("{error:#}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::time::Duration;

    use super::*;

    fn with_layer(store: &Store, key: &str) -> PathBuf {
        let stage = store.stage().unwrap();
        fs::create_dir(stage.path().join("fs")).unwrap();
        fs::write(stage.path().join("fs/file"), "content").unwrap();
        stage.commit_layer(key, key).unwrap();
        store.layer(key).join("fs/file")
    }

    /// Whether the layer is there, and what was said.
    fn look(store: &Store, key: &str) -> (bool, String) {
        let mut said = String::new();
        let is_there = store.has_layer(key, &mut |text| said = text.to_owned()).unwrap();
        (is_there, said)
    }

    #[test]
    fn a_damaged_layer_is_named_and_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let file = with_layer(&Store::open_at(dir.path()).unwrap(), "k");
        let store = Store::open_at(dir.path()).unwrap();
        assert_eq!(look(&store, "none"), (false, String::new()));
        assert_eq!(look(&store, "k"), (true, String::new()));
        std::thread::sleep(Duration::from_millis(10));
        fs::write(&file, "cOntent").unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let said = "the layer k of the store is damaged: `fs/file` is not what was put there; it is made anew";
        assert_eq!(look(&store, "k"), (false, said.to_owned()));
        assert!(!store.layer("k").exists());
        with_layer(&store, "k");
        assert_eq!(look(&store, "k"), (true, String::new()));
    }

    #[test]
    fn what_no_time_tells_is_found_by_reading() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        for key in ["a", "b", "c"] {
            with_layer(&store, key);
        }
        // As if the disk itself had lost a bit: the list says that nobody touched anything.
        fs::write(store.layer("b").join("fs/file"), "cOntent").unwrap();
        let (listed, found) = (Manifest::read(&store.layer("b")).unwrap(), Manifest::of(&store.layer("b")).unwrap());
        found.with_digests_of(&listed).write(&store.layer("b")).unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        assert_eq!(look(&store, "b"), (true, String::new()));
        assert!(!store.has_checked(&["a", "b", "c"]));
        store.check_layers(&["a"]).unwrap();
        let error = store.check_layers(&["a", "b", "c"]).unwrap_err();
        assert!(error.is::<Damaged>());
        let said = "the store was damaged: in the layer b, `fs/file` is not what was put there";
        assert_eq!(error.to_string(), said);
        assert_eq!(["a", "b", "c"].map(|key| store.layer(key).exists()), [true, false, false]);
        assert!(store.has_checked(&["a"]));
    }
}
