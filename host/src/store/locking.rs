//! Lets builds share the store: a lock for each thing that is made, and a place of its own for whoever makes it.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::PoisonError;

use rustix::fs::FlockOperation;

use super::manifest::Manifest;
use super::{Store, pieces, remove_tree};
use crate::error::{Context, Failure, Result};
use crate::log;
use crate::ui::Printable as _;

impl Store {
    /// Waits for and takes the lock `name`; at most one build makes the thing of that name.
    ///
    /// # Errors
    /// If the lock file cannot be made.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let file = open(&self.data.join("locks").join(name))?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).context("cannot take a lock of the store")?;
        Ok(Lock { file })
    }

    /// Returns a place to make something that [`Stage::commit`] moves to its final name.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn stage(&self) -> Result<Stage> {
        let stages = self.data.join("stage");
        for number in 0.. {
            let path = stages.join(number.to_string());
            // The lock is taken before the directory exists, so that another build's sweep never sees it unlocked.
            let lock = open(&path.with_extension("lock"))?;
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if fs::create_dir(&path).is_ok() {
                return Ok(Stage { path, _lock: lock, store: self.clone() });
            }
        }
        unreachable!("one of the numbers is free")
    }

    /// Removes stages whose build is gone.
    pub(super) fn sweep(&self) -> Result<()> {
        let stages = self.data.join("stage");
        for entry in fs::read_dir(&stages).context("cannot read the store")? {
            let path = entry.context("cannot read the store")?.path();
            if path.extension().is_some() {
                continue;
            }
            let Ok(lock) = open(&path.with_extension("lock")) else { continue };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

/// Opens the file of a lock, and makes it if it does not exist.
pub(super) fn open(path: &Path) -> Result<File> {
    let file = File::options().create(true).truncate(false).write(true).open(path);
    file.context("cannot open a lock of the store")
}

/// Held while something of one name is being made.
#[derive(Debug)]
pub struct Lock {
    file: File,
}

impl Lock {
    /// Lets other builds take it too, but none alone: the thing is made, and must not be dropped while it is used.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub fn share(&self) -> Result<()> {
        rustix::fs::flock(&self.file, FlockOperation::LockShared).context("cannot share a lock of the store")
    }
}

/// A directory in which a layer or artifact grows; it is removed unless committed.
#[derive(Debug)]
pub struct Stage {
    path: PathBuf,
    _lock: File,
    store: Store,
}

impl Stage {
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Syncs and moves the whole directory, which is `what`, to `target`, which is no layer's place.
    ///
    /// # Errors
    /// If the store's file system refuses.
    pub fn commit(self, target: &Path, what: &str) -> Result<()> {
        let is_layer = target.starts_with(self.store.data.join("layers"));
        anyhow::ensure!(!is_layer, Failure::bug("a layer is committed without a list of what is in it"));
        pieces::describe(&self.path, what)?;
        self.publish(target, what).map(drop)
    }

    /// Syncs and moves the directory of a layer to its place: one that exists is complete, and has a list of what is in it.
    ///
    /// # Errors
    /// If the store's file system refuses.
    pub fn commit_layer(self, key: &str, what: &str) -> Result<()> {
        pieces::describe(&self.path, what)?;
        Manifest::of(&self.path)?.write(&self.path)?;
        let directory = self.publish(&self.store.layer(key), what)?;
        self.store.hold(key, directory);
        self.store.know(key);
        Ok(())
    }

    /// Moves the directory to its place. Returns it, held open with a lock that it had before anybody else could see it.
    fn publish(&self, target: &Path, what: &str) -> Result<File> {
        let directory = File::open(&self.path).context("cannot open a stage of the store")?;
        rustix::fs::syncfs(&directory).context("cannot sync the store")?;
        rustix::fs::flock(&directory, FlockOperation::LockShared).context("cannot share a lock of the store")?;
        fs::rename(&self.path, target).with_context(|| format!("cannot commit `{}`", target.printable()))?;
        log::decision(format_args!("`{}` was made by: {what}", target.printable()));
        Ok(directory)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.path.exists()
            && let Ok(free) = self.store.free()
        {
            let mut least = self.store.least_free.lock().unwrap_or_else(PoisonError::into_inner);
            *least = Some(least.map_or(free, |least| least.min(free)));
        }
        // After a commit it is gone already; otherwise the next build's sweep gets what is left here.
        remove_tree(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stage_is_committed_whole_or_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let dropped = store.stage().unwrap();
        fs::write(dropped.path().join("half"), "x").unwrap();
        let path = dropped.path().to_owned();
        drop(dropped);
        assert!(!path.exists());
        let stage = store.stage().unwrap();
        fs::write(stage.path().join("whole"), "x").unwrap();
        stage.commit_layer("k", "k").unwrap();
        assert!(store.layer("k").join("whole").exists());
    }

    #[test]
    fn a_layer_is_not_committed_without_a_list_of_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let error = store.stage().unwrap().commit(&store.layer("k"), "k").unwrap_err();
        assert_eq!(error.to_string(), "a layer is committed without a list of what is in it");
        assert!(!store.layer("k").exists());
    }

    #[test]
    fn only_abandoned_stages_are_swept() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let running = store.stage().unwrap();
        let abandoned = dir.path().join("stage/77");
        fs::create_dir(&abandoned).unwrap();
        Store::open_at(dir.path()).unwrap();
        assert!(running.path().exists());
        assert!(!abandoned.exists());
    }
}
