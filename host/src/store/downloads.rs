//! Keeps plugins' downloads: files by their digest, commits by their id, until nobody has used them for a while.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use sha2::{Digest as _, Sha256};

use super::Store;
use crate::error::{Context, Result};
use crate::git::ObjectId;

/// Days after which a download that no build asked for is dropped: it is one request away, and may be as long as an image.
const DOWNLOAD_DAYS: u64 = 30;

impl Store {
    /// Returns the file that a plugin had downloaded, by its SHA-256 in hexadecimal. It is read again: a file with
    /// another digest does not count.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn download(&self, digest: &str) -> Result<Option<File>> {
        let failed = "cannot read a download of the store";
        let mut file = match File::open(self.data.join("downloads").join(digest)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.context(failed)?,
        };
        let mut hash = Sha256::new();
        std::io::copy(&mut file, &mut hash).context(failed)?;
        if hex::encode(hash.finalize()) != digest {
            return Ok(None);
        }
        file.set_modified(SystemTime::now()).context(failed)?;
        Ok(Some(file))
    }

    /// Keeps a download that lies elsewhere in the store.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn keep_download(&self, path: &Path, digest: &str) -> Result<()> {
        fs::rename(path, self.data.join("downloads").join(digest)).context("cannot keep a download")
    }

    /// Returns the pack of a commit that a plugin had fetched. Whoever reads it finds out whether it is that.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn commit(&self, commit: &ObjectId) -> Result<Option<File>> {
        let failed = "cannot read a commit of the store";
        let file = match File::open(self.commit_path(commit)) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            opened => opened.context(failed)?,
        };
        file.set_modified(SystemTime::now()).context(failed)?;
        Ok(Some(file))
    }

    /// Keeps the pack of a commit that lies elsewhere in the store, as long as a download is kept.
    ///
    /// # Errors
    /// If it cannot be moved.
    pub fn keep_commit(&self, path: &Path, commit: &ObjectId) -> Result<()> {
        fs::rename(path, self.commit_path(commit)).context("cannot keep a commit")
    }

    fn commit_path(&self, commit: &ObjectId) -> PathBuf {
        self.data.join("downloads").join(format!("commit-{commit}"))
    }

    /// Removes downloads that no build used for [`DOWNLOAD_DAYS`]. A build that has one open keeps it.
    pub(super) fn sweep_downloads(&self) -> Result<()> {
        let failed = "cannot tidy the downloads of the store";
        let oldest = SystemTime::now() - Duration::from_secs(DOWNLOAD_DAYS * 86_400);
        for entry in fs::read_dir(self.data.join("downloads")).context(failed)? {
            let entry = entry.context(failed)?;
            // It may be gone already: other builds tidy too.
            if entry.metadata().and_then(|metadata| metadata.modified()).is_ok_and(|used| used < oldest) {
                match fs::remove_file(entry.path()) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error).context(failed),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_download_is_found_by_its_digest_unless_it_is_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let digest = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        assert!(store.download(digest).unwrap().is_none());
        let path = dir.path().join("new");
        fs::write(&path, "hello\n").unwrap();
        store.keep_download(&path, digest).unwrap();
        assert!(store.download(digest).unwrap().is_some());
        fs::write(dir.path().join("downloads").join(digest), "hullo\n").unwrap();
        assert!(store.download(digest).unwrap().is_none());
    }

    #[test]
    fn a_commit_is_found_by_its_id() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let commit = ObjectId::parse("ce013625030ba8dba906f756967f9e9ca394464a").unwrap();
        assert!(store.commit(&commit).unwrap().is_none());
        let path = dir.path().join("new");
        fs::write(&path, "PACK").unwrap();
        store.keep_commit(&path, &commit).unwrap();
        assert_eq!(std::io::read_to_string(store.commit(&commit).unwrap().unwrap()).unwrap(), "PACK");
        assert!(!path.exists());
    }

    #[test]
    fn downloads_that_nobody_uses_are_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let age = |name: &str, days: u64| {
            let file = File::options().write(true).open(dir.path().join("downloads").join(name)).unwrap();
            file.set_modified(SystemTime::now() - Duration::from_secs(days * 86_400)).unwrap();
        };
        let digest = |text: &str| hex::encode(Sha256::digest(text));
        for text in ["old", "young", "old and used"] {
            let path = dir.path().join("new");
            fs::write(&path, text).unwrap();
            store.keep_download(&path, &digest(text)).unwrap();
            age(&digest(text), if text == "young" { DOWNLOAD_DAYS - 1 } else { DOWNLOAD_DAYS + 1 });
        }
        assert!(store.download(&digest("old and used")).unwrap().is_some());
        let store = Store::open_at(dir.path()).unwrap();
        let left = ["old", "young", "old and used"].map(|text| store.download(&digest(text)).unwrap().is_some());
        assert_eq!(left, [false, true, true]);
    }
}
