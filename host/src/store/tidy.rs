//! Removes the least recently used content of the store, except what a running build needs and what the last build of
//! each recipe depends on.
//!
//! - A layer is held, by a lock on its very directory, by each build that uses it; partitions by the lock of their key.
//! - Packages and downloads are removed only while no build is at work, which is why each holds [`AT_WORK`].
//! - What is complete is moved away before it is taken apart: whoever is killed here leaves a store that is whole.

use std::cmp::Reverse;
use std::fs::{self, File};

use rustix::fs::FlockOperation;

use super::pieces::{Kind, Piece};
use super::records::Record;
use super::{STANZA, Store, locking, pieces};
use crate::error::{Context, Result};

/// The file that whoever works with the store holds together with others, and who removes files of it alone.
pub(super) const AT_WORK: &str = "at-work";

/// Result of tidying.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tidied {
    pub removed: Vec<Piece>,
    /// Bytes that are left.
    pub left: u64,
    /// Bytes of it that the last builds stand on.
    pub stood_on: u64,
}

impl Tidied {
    /// Bytes that were removed.
    pub fn freed(&self) -> u64 {
        self.removed.iter().map(|piece| piece.size).sum()
    }
}

impl Store {
    /// Removes what was not used for longest until `most` bytes are left, but nothing that a build at work needs; what the
    /// last builds stand on only if `all` may go.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub fn tidy(&self, most: u64, all: bool) -> Result<Tidied> {
        let is_alone = rustix::fs::flock(&*self.at_work, FlockOperation::NonBlockingLockExclusive).is_ok();
        let tidied = self.tidy_as(most, all, is_alone);
        // Others may come in again; if the kernel refuses, they could not be kept out either.
        rustix::fs::flock(&*self.at_work, FlockOperation::LockShared).context("cannot share a lock of the store")?;
        tidied
    }

    fn tidy_as(&self, most: u64, all: bool, is_alone: bool) -> Result<Tidied> {
        let records = self.records();
        let mut pieces = self.pieces()?;
        pieces.sort_by_key(|piece| (piece.used, Reverse(piece.made)));
        let mut tidied = Tidied { left: pieces.iter().map(|piece| piece.size).sum(), ..Tidied::default() };
        for piece in pieces {
            let is_stood_on = records.iter().any(|record| record.has(&piece));
            let may_go = all || !is_stood_on;
            if tidied.left > most && may_go && self.remove(&piece, is_alone)? {
                tidied.left -= piece.size;
                tidied.removed.push(piece);
            } else if is_stood_on {
                tidied.stood_on += piece.size;
            }
        }
        if is_alone {
            self.remove_free_locks();
        }
        Ok(tidied)
    }

    /// Removes one piece, unless somebody needs it now. One that is gone already counts as removed.
    pub(super) fn remove(&self, piece: &Piece, is_alone: bool) -> Result<bool> {
        let path = self.place(piece.kind, &piece.key);
        let holder = match piece.kind {
            Kind::Layer => pieces::open_directory(&path).ok(),
            Kind::Partitions => Some(locking::open(&self.data.join("locks").join(&piece.key))?),
            Kind::Package | Kind::Download => {
                if !is_alone {
                    return Ok(false);
                }
                for file in [path.clone(), path.with_extension(STANZA.trim_start_matches('.'))] {
                    fs::remove_file(file).or_else(is_gone).context("cannot tidy the store")?;
                }
                return Ok(true);
            }
        };
        let is_free = |file: &File| rustix::fs::flock(file, FlockOperation::NonBlockingLockExclusive).is_ok();
        if !holder.as_ref().is_none_or(is_free) {
            return Ok(false);
        }
        self.drop_whole(&path).map(|()| true)
    }

    /// Removes the files of locks that nobody holds; there is nobody who could be about to take one.
    fn remove_free_locks(&self) {
        for entry in fs::read_dir(self.data.join("locks")).into_iter().flatten().flatten() {
            let free = File::options()
                .write(true)
                .open(entry.path())
                .is_ok_and(|lock| rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok());
            if free {
                // At worst it stays for the next time.
                fs::remove_file(entry.path()).ok();
            }
        }
    }

    /// Bytes of the pieces that one of `records` stands on.
    pub fn stood_on<'a>(pieces: impl IntoIterator<Item = &'a Piece>, records: &[Record]) -> u64 {
        let is_stood_on = |piece: &&Piece| records.iter().any(|record| record.has(piece));
        pieces.into_iter().filter(is_stood_on).map(|piece| piece.size).sum()
    }
}

fn is_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};
    use std::path::Path;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::{Duration, SystemTime};

    use super::*;

    const MIB: usize = 1 << 20;

    fn with_layer(store: &Store, key: &str) {
        let stage = store.stage().unwrap();
        fs::create_dir(stage.path().join("fs")).unwrap();
        fs::write(stage.path().join("fs/file"), vec![1; MIB]).unwrap();
        stage.commit_layer(key, key).unwrap();
    }

    /// As if that was used so many hours ago.
    fn age(store: &Store, kind: Kind, key: &str, hours: u64) {
        let time = SystemTime::now() - Duration::from_secs(hours * 3600);
        File::open(store.place(kind, key)).unwrap().set_modified(time).unwrap();
    }

    fn layers(dir: &Path) -> BTreeSet<String> {
        let entries = fs::read_dir(dir.join("layers")).unwrap();
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    fn names(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    fn has(store: &Store, key: &str) -> bool {
        store.has_layer(key, &mut |_| {}).unwrap()
    }

    /// A store as another process sees it, with the layers a, b, … of a MiB each; a was used last.
    fn store(dir: &Path, keys: &[&str]) -> Store {
        let store = Store::open_at(dir).unwrap();
        for (hours, key) in keys.iter().enumerate() {
            with_layer(&store, key);
            age(&store, Kind::Layer, key, u64::try_from(hours).unwrap());
        }
        Store::open_at(dir).unwrap()
    }

    #[test]
    fn what_was_not_used_for_longest_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), &["a", "b", "c", "d"]);
        let all: u64 = store.pieces().unwrap().iter().map(|piece| piece.size).sum();
        assert_eq!(store.tidy(all, false).unwrap(), Tidied { left: all, ..Tidied::default() });
        // A use counts.
        assert!(has(&Store::open_at(dir.path()).unwrap(), "d"));
        let tidied = store.tidy(all - 1, false).unwrap();
        assert_eq!(layers(dir.path()), names(&["a", "b", "d"]));
        assert_eq!((tidied.removed[0].key.as_str(), tidied.freed() + tidied.left), ("c", all));
        store.tidy(0, false).unwrap();
        assert!(layers(dir.path()).is_empty());
    }

    #[test]
    fn of_one_build_what_stands_on_the_others_goes_first() {
        let dir = tempfile::tempdir().unwrap();
        let store = store(dir.path(), &["base", "above"]);
        for key in ["base", "above"] {
            age(&store, Kind::Layer, key, 1);
        }
        let all: u64 = store.pieces().unwrap().iter().map(|piece| piece.size).sum();
        store.tidy(all - 1, false).unwrap();
        assert_eq!(layers(dir.path()), names(&["base"]));
    }

    #[test]
    fn what_a_build_uses_or_the_last_one_stands_on_stays() {
        let dir = tempfile::tempdir().unwrap();
        let gc = store(dir.path(), &["used", "stood-on", "other"]);
        let build = Store::open_at(dir.path()).unwrap();
        assert!(has(&build, "used"));
        let packages = BTreeMap::from([("aa".to_owned(), "tree_1_all.deb".to_owned())]);
        for file in ["aa", "aa.list", "bb", "bb.list"] {
            fs::write(dir.path().join("archives").join(file), "x").unwrap();
        }
        let record = Record { name: "r".into(), layers: names(&["stood-on"]), packages, ..Record::default() };
        build.remember(&record).unwrap();
        let tidied = gc.tidy(0, false).unwrap();
        assert_eq!(layers(dir.path()), names(&["used", "stood-on"]));
        assert!(tidied.stood_on > 0 && tidied.left > tidied.stood_on, "{tidied:?}");
        // A build at work may need any package.
        assert!(dir.path().join("archives/bb").exists());
        drop(build);
        gc.tidy(0, false).unwrap();
        assert_eq!(layers(dir.path()), names(&["stood-on"]));
        let left: BTreeSet<String> = gc.pieces().unwrap().into_iter().filter_map(|piece| piece.what).collect();
        assert_eq!(left, names(&["stood-on", "tree_1_all.deb"]));
        assert!(!dir.path().join("archives/bb").exists() && !dir.path().join("archives/bb.list").exists());
        assert!(dir.path().join("archives/aa.list").exists());
        gc.tidy(0, true).unwrap();
        assert!(gc.pieces().unwrap().is_empty());
    }

    #[test]
    fn a_gc_that_is_killed_leaves_what_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let gc = store(dir.path(), &["a", "b"]);
        // It has moved the layer away and a part of it is gone; nobody holds the stage any more.
        let stage = dir.path().join("stage/7");
        fs::create_dir(&stage).unwrap();
        fs::rename(gc.layer("a"), stage.join("old")).unwrap();
        fs::remove_file(stage.join("old/fs/file")).unwrap();
        drop(gc);
        let store = Store::open_at(dir.path()).unwrap();
        assert!(!has(&store, "a") && has(&store, "b"));
        assert!(!stage.exists());
        with_layer(&store, "a");
        assert!(has(&Store::open_at(dir.path()).unwrap(), "a"));
    }

    /// Each as a process of its own would do it: what locks are held by is an open file.
    #[test]
    fn two_builds_and_a_gc_at_once_are_safe() {
        const ROUNDS: usize = 40;
        let dir = tempfile::tempdir().unwrap();
        let (path, is_over) = (dir.path(), AtomicBool::new(false));
        let build = || {
            for round in 0..ROUNDS {
                let store = Store::open_at(path).unwrap();
                for key in ["base", "above"] {
                    let _lock = store.lock(key).unwrap();
                    if !has(&store, key) {
                        with_layer(&store, key);
                    }
                    assert!(store.layer(key).join("fs/file").exists(), "{key} is gone in round {round}");
                }
                // It stands on both until it has ended.
                for key in ["base", "above"] {
                    assert_eq!(fs::read(store.layer(key).join("fs/file")).unwrap().len(), MIB, "{key}, round {round}");
                }
            }
        };
        let removed = std::thread::scope(|scope| {
            let gc = scope.spawn(|| {
                let mut removed = 0;
                while !is_over.load(Ordering::Relaxed) {
                    removed += Store::open_at(path).unwrap().tidy(0, false).unwrap().removed.len();
                }
                removed
            });
            let builds = [scope.spawn(build), scope.spawn(build)];
            let ends = builds.map(std::thread::ScopedJoinHandle::join);
            is_over.store(true, Ordering::Relaxed);
            ends.into_iter().for_each(|end| end.unwrap());
            gc.join().unwrap()
        });
        assert!(removed > 0, "it never had anything to remove");
    }
}
