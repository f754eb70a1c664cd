//! Names every directory of the store, computes cache keys, and holds the locks that let builds share it.
//!
//! On the host the store is one directory: `store.json` says which host ids own its content, and `data/` belongs
//! to those ids. Only the build, inside its private namespace, reads or writes `data/`, where the store is `/store`.
//! `images/` belongs to the calling user, and the build cannot read it. Compiled plugins are not here: [`crate::home`].

mod checking;
mod downloads;
mod locking;
mod manifest;
mod opening;
mod pieces;
mod records;
mod remove;
mod replacing;
pub(crate) mod sealed;
mod tidy;

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use checking::Checked;
pub use checking::Damaged;
pub use locking::{Lock, Stage};
pub use opening::{images, is_there, prepare};
pub use pieces::{Kind, Piece};
pub use records::{Record, now};
pub(crate) use remove::remove_tree;
pub(crate) use replacing::replace;
use rustix::fs::FlockOperation;
use serde::{Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};
pub use tidy::Tidied;

use crate::error::{Context, Result};
use crate::sandbox::free_space::Free;

/// Finished partitions that are kept: each is as long as an image, and only the last few are ever asked for again.
const KEPT_ARTIFACTS: usize = 4;

/// Suffix of the file with the signed list's entry for a package; the package's digest comes before.
pub(crate) const STANZA: &str = ".list";

/// Returns the key of something that is made from `inputs`: a digest of their canonical form.
///
/// # Panics
/// If `inputs` cannot be written as JSON, which is a mistake in its type.
pub fn key(inputs: &impl Serialize) -> String {
    // serde writes fields in the order of the type and maps of ours are sorted, so equal inputs are equal bytes.
    let text = serde_json::to_vec(inputs).expect("inputs are plain data");
    let digest = Sha256::digest(&text);
    // Half a SHA-256 is collision-free in practice, and overlay mount options have little room for long paths.
    hex::encode(&digest[..16])
}

/// The store as the build sees it.
#[derive(Clone, Debug)]
pub struct Store {
    data: PathBuf,
    checked: Arc<Mutex<Checked>>,
    /// When it was opened: all that is used from then on is used at this one time.
    opened: SystemTime,
    /// The file of [`tidy::AT_WORK`], held together with others.
    at_work: Arc<File>,
    /// The least that was free when something that was not finished was removed.
    least_free: Arc<Mutex<Option<u64>>>,
}

impl Store {
    /// Opens the store inside the private namespace and removes what killed builds left.
    ///
    /// # Errors
    /// If its directories cannot be made.
    pub fn open() -> Result<Self> {
        Self::open_at(Path::new("/store/data"))
    }

    pub(crate) fn open_at(data: &Path) -> Result<Self> {
        for dir in ["layers", "artifacts", "archives", "downloads", "builds", "heads", "locks", "stage"] {
            fs::create_dir_all(data.join(dir)).with_context(|| format!("cannot create `{dir}` in the store"))?;
        }
        let at_work = locking::open(&data.join(tidy::AT_WORK))?;
        rustix::fs::flock(&at_work, FlockOperation::LockShared).context("cannot share a lock of the store")?;
        let (opened, at_work) = (SystemTime::now(), Arc::new(at_work));
        let store =
            Self { data: data.to_owned(), checked: Arc::default(), opened, at_work, least_free: Arc::default() };
        store.sweep()?;
        store.sweep_downloads()?;
        store.sweep_records()?;
        Ok(store)
    }

    /// Bytes that were free on the disk when it was fullest, as far as a failure let anybody see it: what a build has begun
    /// is gone when it has failed.
    pub fn least_free(&self) -> Option<u64> {
        *self.least_free.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Bytes that are free now.
    ///
    /// # Errors
    /// If the disk cannot be asked.
    pub fn free(&self) -> Result<u64> {
        let directory = File::open(&self.data).context("cannot open the store")?;
        Ok(Free::at(&directory).context("cannot ask how much is free in the store")?.bytes)
    }

    /// Returns the directory of packages, named by the SHA-256 of their files, each with its entry in a signed list
    /// ([`STANZA`]).
    pub fn archives(&self) -> PathBuf {
        self.data.join("archives")
    }

    /// Returns a finished layer: `fs/` is its tree, `layer.json` what it was made from.
    pub fn layer(&self, key: &str) -> PathBuf {
        self.data.join("layers").join(key)
    }

    /// Removes an artifact that is not what it should be.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn drop_artifact(&self, key: &str) -> Result<()> {
        self.drop_whole(&self.artifact(key))
    }

    /// Removes what exists: moves it away first, since whatever has its name must be complete.
    fn drop_whole(&self, path: &Path) -> Result<()> {
        let stage = self.stage()?;
        match fs::rename(path, stage.path().join("old")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot tidy the store"),
            _ => Ok(()),
        }
    }

    /// Returns a finished file system image or the like.
    pub fn artifact(&self, key: &str) -> PathBuf {
        self.data.join("artifacts").join(key)
    }

    /// Marks the artifact `key` as the one used last, and drops those that were not used for longest, but for the last
    /// [`KEPT_ARTIFACTS`]. One that another build holds the lock of is left alone.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn keep_artifact(&self, key: &str) -> Result<()> {
        let failed = "cannot tidy the store";
        File::open(self.artifact(key))
            .and_then(|directory| directory.set_modified(SystemTime::now()))
            .context(failed)?;
        let mut found = self.pieces_of(Kind::Partitions)?;
        found.sort_unstable_by_key(|piece| std::cmp::Reverse((piece.used, piece.made)));
        for old in found.iter().skip(KEPT_ARTIFACTS).filter(|old| old.key != key) {
            self.remove(old, false)?;
        }
        Ok(())
    }

    /// Returns the newest result for inputs that do not name the state of an archive; `None` if what was written is
    /// damaged.
    pub fn head<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        let path = self.data.join("heads").join(key);
        let text = fs::read(&path).ok()?;
        // What is used stays; where its time cannot be set, it is asked for once more some day.
        File::options().write(true).open(&path).and_then(|file| file.set_modified(self.opened)).ok();
        sealed::from_text(&text)
    }

    /// # Errors
    /// If the file cannot be written.
    pub fn set_head(&self, key: &str, value: &impl Serialize) -> Result<()> {
        let path = self.data.join("heads").join(key);
        let text = sealed::to_text(value).context("cannot describe a layer")?;
        replace(&path, text.as_ref()).context("cannot write to the store")
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn keys_depend_on_every_input() {
        let key_of = |a: &str, b: u32| key(&serde_json::json!({ "a": a, "b": b }));
        assert_eq!(key_of("x", 1), key_of("x", 1));
        assert_ne!(key_of("x", 1), key_of("x", 2));
        assert_eq!(key_of("x", 1).len(), 32);
    }

    #[test]
    fn the_artifacts_used_last_are_kept_and_those_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let keys: Vec<String> = (0..KEPT_ARTIFACTS + 3).map(|number| format!("k{number}")).collect();
        for (age, key) in keys.iter().rev().enumerate() {
            let stage = store.stage().unwrap();
            stage.commit(&store.artifact(key), key).unwrap();
            let time = SystemTime::now() - Duration::from_secs(60 * (1 + u64::try_from(age).unwrap()));
            File::open(store.artifact(key)).unwrap().set_modified(time).unwrap();
        }
        let _in_use = store.lock("k2").unwrap();
        // The oldest but one comes back into use.
        store.keep_artifact("k1").unwrap();
        let left: Vec<&str> = keys.iter().map(String::as_str).filter(|key| store.artifact(key).exists()).collect();
        assert_eq!(left, ["k1", "k2", "k4", "k5", "k6"], "of {keys:?}");
    }

    #[test]
    fn a_damaged_head_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        store.set_head("h", &("layer", 1_780_000_000)).unwrap();
        assert_eq!(store.head("h"), Some(("layer".to_owned(), 1_780_000_000)));
        let path = dir.path().join("heads/h");
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, text.replace("178", "179")).unwrap();
        assert_eq!(store.head::<(String, u64)>("h"), None);
    }
}
