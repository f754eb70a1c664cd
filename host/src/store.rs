//! Every directory name below the store, cache keys, and the locks that let builds share it.
//!
//! On the host the store is one directory: `store.json` says which host ids own its content, and `data/` belongs
//! to those ids. Only the build, inside its private namespace, reads or writes `data/`, where the store is `/store`.
//! `images/` belongs to the calling user, and the build cannot read it. Compiled plugins are not here: [`crate::home`].

mod manifest;
mod remove;
pub(crate) mod sealed;

use std::collections::BTreeSet;
use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use manifest::Manifest;
pub(crate) use remove::remove_tree;
use rustix::fs::FlockOperation;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use sha2::{Digest as _, Sha256};

use crate::error::{Context, Failure, Result};
use crate::git::ObjectId;
use crate::home::{Home, Key};
use crate::host_files::Directory;
use crate::recipe::host::HostPath;
use crate::sandbox::private::{self, IdMap};
use crate::ui::{printable, shell_quoted};

/// Finished partitions that are kept: each is as long as an image, and only the last few are ever asked for again.
const KEPT_ARTIFACTS: usize = 4;

/// Days after which a download that no build asked for is dropped: it is one request away, and may be as long as an image.
const DOWNLOAD_DAYS: u64 = 30;

/// Changes when the meaning of anything in `data/` changes.
const FORMAT: u32 = 2;

/// Most bytes of `store.json`.
const LONGEST_DESCRIPTION: u64 = 1 << 16;

/// What the directory of a store holds.
const DESCRIPTION: &str = "store.json";
const DATA: &str = "data";
const IMAGES: &str = "images";
/// It lies where an ordinary user's usual store is, and is no part of it: see [`crate::home`].
const COMPILED: &str = "compiled";

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    format: u32,
    ids: IdMap,
    /// That the calling user made this very store, for where somebody else may have put it there; in hexadecimal. Those of
    /// older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
}

impl Description {
    fn write(&self, directory: &Directory) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("cannot describe the store")?;
        Ok(directory.replace(DESCRIPTION, &text, 0o644)?)
    }

    /// With the user's seal; without one where the user has no key, for then a recipe alone can just not name the store.
    fn sealed(self, directory: &Directory, home: Option<&Home>) -> Result<Self> {
        let key = home.and_then(|home| home.key_or_new().ok());
        let seal = key.map(|key| self.seal_with(directory, &key)).transpose()?;
        Ok(Self { seal, ..self })
    }

    fn seal_with(&self, directory: &Directory, key: &Key) -> Result<String> {
        let data = directory.find(DATA)?.context("its data is gone")?;
        let ids = serde_json::to_vec(&self.ids).expect("numbers are plain data");
        // The number of the directory is nothing that whoever copies a store can choose.
        Ok(hex::encode(key.seal("store").and(ids).and(data.st_ino.to_le_bytes()).finish()))
    }

    fn is_users(&self, directory: &Directory, home: Option<&Home>) -> bool {
        let Some(Ok(Some(key))) = home.map(Home::key) else { return false };
        self.seal.is_some() && self.seal_with(directory, &key).ok() == self.seal
    }
}

/// Makes the store ready, outside the private namespace, and returns the ids that own its content.
///
/// A directory that is no store, and not empty, is left as it is. One that only a recipe names is believed if this user made
/// it, which its seal says: it could have come with the recipe, and what is in a store is believed.
///
/// # Errors
/// [`Failure::host`] if it cannot be created or belongs to another user or format, or if it is something else.
pub fn prepare(store: &HostPath, home: Option<&Home>) -> Result<IdMap> {
    let shown = store.shown().display().to_string();
    let failed = || Failure::host(format!("cannot use `{shown}` as the store"));
    let named = || failed().hint("choose another place with --store");
    let directory = match Directory::open(store.path(), store.links()) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            Directory::create(store.path(), store.links(), 0o777).with_context(named)?
        }
        opened => opened.with_context(named)?,
    };
    // Nothing is touched before it is known to be a store, or to be nothing.
    let stat = directory.stat().with_context(named)?;
    let user = rustix::process::geteuid().as_raw();
    anyhow::ensure!(stat.st_uid == user, anyhow::anyhow!("it belongs to another user").context(named()));
    let found = directory.read(DESCRIPTION, LONGEST_DESCRIPTION).with_context(named)?;
    let description = match found {
        Some(text) => Some(read_description(&text).with_context(|| {
            Failure::host(format!("`{shown}/{DESCRIPTION}` is damaged"))
                .hint("remove the store and build again: everything in it can be made anew")
        })?),
        None => {
            check_free(&directory, stat.st_mode).with_context(named)?;
            None
        }
    };
    if let Some(description) = &description {
        if description.format != FORMAT {
            return Err(failed()
                .hint("it was made by another version of piimg: choose another place with --store, or remove it")
                .into());
        }
        description.ids.check().with_context(named)?;
        if store.is_recipes() && !description.is_users(&directory, home) {
            return Err(anyhow::anyhow!(
                "only the recipe names it, and it is not known to be made by you on this machine"
            )
            .context(named().hint(format!("if you made it yourself: --store {}", shell_quoted(&shown)))));
        }
    }
    // Searchable by the inner ids, which are not the user's; what matters is below `data/`, which is theirs alone.
    directory.set_mode(0o711).with_context(named)?;
    let description = match description {
        Some(description) => description,
        None => {
            let description = Description { format: FORMAT, ids: IdMap::choose()?, seal: None };
            description.write(&directory).with_context(named)?;
            description
        }
    };
    let ids = description.ids;
    if directory.find(DATA).with_context(named)?.is_none() {
        let fresh = format!("{DATA}.{}", std::process::id());
        directory.subdirectory(&fresh, 0o700).and_then(|data| data.set_mode(0o700)).with_context(named)?;
        private::give_to_inner_root(&store.path().join(&fresh), ids)?;
        if directory.rename_if_free(&fresh, DATA).with_context(named)? {
            description.sealed(&directory, home)?.write(&directory).with_context(named)?;
        } else {
            // Another build was faster.
            directory.remove_directory(&fresh).ok();
        }
    }
    Ok(ids)
}

/// Whether the store is where it was when it was made ready.
pub fn is_there(store: &HostPath) -> bool {
    let found = Directory::open(store.path(), store.links()).and_then(|directory| directory.find(DATA));
    found.is_ok_and(|data| data.is_some())
}

fn read_description(text: &[u8]) -> Result<Description> {
    Ok(serde_json::from_slice(text)?)
}

/// Checks that a directory without a description is one that can become a store.
fn check_free(directory: &Directory, mode: u32) -> Result<()> {
    let is_ours = |name: &String| name == COMPILED || name.starts_with(&format!(".{DESCRIPTION}."));
    if let Some(name) = directory.names()?.iter().find(|name| !is_ours(name)) {
        anyhow::bail!("it is no store and not empty: `{}` is in it", printable(name));
    }
    anyhow::ensure!(mode & 0o1000 == 0, "it is a place for everybody's files");
    Ok(())
}
/// Where it is remembered which images were built and where they lie; the calling user's own.
pub fn images(store: &HostPath) -> HostPath {
    store.below(IMAGES)
}

/// The key of something that is made from `inputs`: a digest of their canonical form.
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

/// Something of the store is not what was put there. It is gone now: the same build, begun once more, makes it anew.
#[derive(Debug)]
pub struct Damaged {
    /// What it is, and where it is damaged.
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

/// Layers that this process has compared with their lists.
#[derive(Debug, Default)]
struct Checked {
    /// As far as the kernel knows of changes.
    seen: BTreeSet<String>,
    /// Byte for byte.
    read: BTreeSet<String>,
}

/// The store as the build sees it.
#[derive(Clone, Debug)]
pub struct Store {
    data: PathBuf,
    checked: Arc<Mutex<Checked>>,
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
        let store = Self { data: data.to_owned(), checked: Arc::default() };
        for dir in ["layers", "artifacts", "archives", "archives/partial", "downloads", "heads", "locks", "stage"] {
            fs::create_dir_all(data.join(dir)).with_context(|| format!("cannot create `{dir}` in the store"))?;
        }
        store.sweep()?;
        store.sweep_downloads()?;
        Ok(store)
    }

    /// Packages, by the file name apt gives them.
    pub fn archives(&self) -> PathBuf {
        self.data.join("archives")
    }

    /// What a plugin had downloaded, by its SHA-256 in hexadecimal. It is read again: a file that is not what its name
    /// says is not there.
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

    /// The pack of a commit that a plugin had fetched. Whoever reads it finds out whether it is that.
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

    /// A finished layer: `fs/` is its tree, `layer.json` what it was made from.
    pub fn layer(&self, key: &str) -> PathBuf {
        self.data.join("layers").join(key)
    }

    /// Whether the store has the finished layer `key`, as it was committed: nobody has changed anything in it, as far as the
    /// kernel knows. One that is damaged is told to `warn` and dropped.
    ///
    /// # Errors
    /// If a damaged one cannot be dropped.
    pub fn has_layer(&self, key: &str, warn: &mut dyn FnMut(&str)) -> Result<bool> {
        if self.checked().seen.contains(key) {
            return Ok(true);
        }
        let directory = self.layer(key);
        if !directory.exists() {
            return Ok(false);
        }
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

    /// Whether [`Store::check_layers`] has nothing to do.
    pub fn has_checked(&self, keys: &[&str]) -> bool {
        let checked = self.checked();
        keys.iter().all(|key| checked.read.contains(*key))
    }

    fn know(&self, key: &str) {
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
        drop(checked);
        self.drop_whole(&self.layer(key))
    }

    /// Removes an artifact that is not what it should be.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub fn drop_artifact(&self, key: &str) -> Result<()> {
        self.drop_whole(&self.artifact(key))
    }

    /// What exists is complete, so it is moved away before it is taken apart.
    fn drop_whole(&self, path: &Path) -> Result<()> {
        let stage = self.stage()?;
        match fs::rename(path, stage.path().join("old")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error).context("cannot tidy the store"),
            _ => Ok(()),
        }
    }

    /// A finished file system image or the like.
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
        let mut found = Vec::new();
        for entry in fs::read_dir(self.data.join("artifacts")).context(failed)? {
            let entry = entry.context(failed)?;
            // It may be gone already: other builds tidy too.
            if let Ok(modified) = entry.metadata().and_then(|metadata| metadata.modified()) {
                found.push((modified, entry.file_name().to_string_lossy().into_owned()));
            }
        }
        found.sort_unstable_by(|a, b| b.cmp(a));
        for (_, old) in found.iter().skip(KEPT_ARTIFACTS).filter(|(_, old)| old != key) {
            let lock = File::options().create(true).truncate(false).write(true).open(self.data.join("locks").join(old));
            let lock = lock.context(failed)?;
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            self.drop_artifact(old)?;
        }
        Ok(())
    }

    /// The newest result for inputs that do not name the state of an archive; none if what was written is damaged.
    pub fn head<T: DeserializeOwned>(&self, key: &str) -> Option<T> {
        sealed::from_text(&fs::read(self.data.join("heads").join(key)).ok()?)
    }

    /// # Errors
    /// If the file cannot be written.
    pub fn set_head(&self, key: &str, value: &impl Serialize) -> Result<()> {
        let path = self.data.join("heads").join(key);
        let fresh = path.with_extension(std::process::id().to_string());
        fs::write(&fresh, sealed::to_text(value).context("cannot describe a layer")?)
            .context("cannot write to the store")?;
        fs::rename(&fresh, &path).context("cannot write to the store")
    }

    /// Waits for and takes the lock `name`; at most one build makes the thing of that name.
    ///
    /// # Errors
    /// If the lock file cannot be made.
    pub fn lock(&self, name: &str) -> Result<Lock> {
        let path = self.data.join("locks").join(name);
        let file = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .context("cannot open a lock of the store")?;
        rustix::fs::flock(&file, FlockOperation::LockExclusive).context("cannot take a lock of the store")?;
        Ok(Lock { file })
    }

    /// A place to make something that [`Stage::commit`] moves to its final name.
    ///
    /// # Errors
    /// If it cannot be created.
    pub fn stage(&self) -> Result<Stage> {
        let stages = self.data.join("stage");
        for number in 0.. {
            let path = stages.join(number.to_string());
            // The lock is taken before the directory exists, so that another build's sweep never sees it unlocked.
            let lock = File::options()
                .create(true)
                .truncate(false)
                .write(true)
                .open(path.with_extension("lock"))
                .context("cannot open a lock of the store")?;
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
                continue;
            }
            if fs::create_dir(&path).is_ok() {
                return Ok(Stage { path, _lock: lock, store: self.clone() });
            }
        }
        unreachable!("one of the numbers is free")
    }

    /// Removes downloads that no build used for [`DOWNLOAD_DAYS`]. A build that has one open keeps it.
    fn sweep_downloads(&self) -> Result<()> {
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

    /// Removes stages whose build is gone.
    fn sweep(&self) -> Result<()> {
        let stages = self.data.join("stage");
        for entry in fs::read_dir(&stages).context("cannot read the store")? {
            let path = entry.context("cannot read the store")?.path();
            if path.extension().is_some() {
                continue;
            }
            let Ok(lock) = File::options().create(true).truncate(false).write(true).open(path.with_extension("lock"))
            else {
                continue;
            };
            if rustix::fs::flock(&lock, FlockOperation::NonBlockingLockExclusive).is_ok() {
                remove_tree(&path)?;
            }
        }
        Ok(())
    }
}

/// What is wrong with a layer, in words; none if it is as its list says, which then has the layer's inodes.
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

    /// Syncs and moves the whole directory to `target`: a layer that exists is complete, and has a list of what is in it.
    ///
    /// # Errors
    /// If the store's file system refuses.
    pub fn commit(self, target: &Path) -> Result<()> {
        let layers = self.store.data.join("layers");
        let layer = target.strip_prefix(&layers).ok().and_then(Path::to_str);
        if layer.is_some() {
            Manifest::of(&self.path)?.write(&self.path)?;
        }
        let directory = File::open(&self.path).context("cannot open a stage of the store")?;
        rustix::fs::syncfs(&directory).context("cannot sync the store")?;
        fs::rename(&self.path, target).with_context(|| format!("cannot commit `{}`", target.display()))?;
        if let Some(key) = layer {
            self.store.know(key);
        }
        Ok(())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        // After a commit it is gone already; otherwise the next build's sweep gets what is left here.
        remove_tree(&self.path).ok();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened(path: &Path) -> Directory {
        Directory::open(path, crate::host_files::Links::Followed).unwrap()
    }

    #[test]
    fn a_store_is_the_users_by_its_seal() {
        let dir = tempfile::tempdir().unwrap();
        let (home, other) = (Home::at(&dir.path().join("home")), Home::at(&dir.path().join("other")));
        let ids = |base| IdMap { uid_base: base, gid_base: base };
        let path = dir.path().join("store");
        fs::create_dir_all(path.join(DATA)).unwrap();
        let store = opened(&path);
        let description = Description { format: FORMAT, ids: ids(524_288), seal: None };
        assert!(!description.is_users(&store, Some(&home)), "nobody sealed it");
        let description = description.sealed(&store, Some(&home)).unwrap();
        description.write(&store).unwrap();
        let description = read_description(&fs::read(path.join(DESCRIPTION)).unwrap()).unwrap();
        assert!(description.is_users(&store, Some(&home)));
        other.key_or_new().unwrap();
        assert!(!description.is_users(&store, Some(&other)), "another user's");
        assert!(!description.is_users(&store, None));
        let changed = Description { ids: ids(65_536), ..description };
        assert!(!changed.is_users(&store, Some(&home)), "other ids");
        let description = Description { ids: ids(524_288), ..changed };
        // A copy, and another content in the place of its own.
        fs::create_dir_all(dir.path().join("copy").join(DATA)).unwrap();
        assert!(!description.is_users(&opened(&dir.path().join("copy")), Some(&home)));
        fs::rename(path.join(DATA), path.join("moved")).unwrap();
        fs::create_dir(path.join(DATA)).unwrap();
        assert!(!description.is_users(&store, Some(&home)));
        let without = Description { seal: None, ..description }.sealed(&store, None).unwrap();
        assert_eq!(without.seal, None);
    }

    #[test]
    fn what_is_no_store_is_refused_before_it_is_touched() {
        use std::os::unix::fs::PermissionsExt as _;

        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store");
        let named = HostPath::named(&path);
        let refused = |cause: &str| {
            let mode = || fs::metadata(&path).unwrap().permissions().mode() & 0o7777;
            let before = (mode(), fs::read_dir(&path).unwrap().count());
            let report = crate::error::report(&prepare(&named, None).unwrap_err());
            assert!(report.messages[1].contains(cause), "{report:?}");
            assert_eq!((mode(), fs::read_dir(&path).unwrap().count()), before);
        };
        fs::create_dir(&path).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o1777)).unwrap();
        refused("it is a place for everybody's files");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o750)).unwrap();
        fs::write(path.join("thesis"), "").unwrap();
        refused("it is no store and not empty: `thesis` is in it");
        fs::write(path.join(DESCRIPTION), "{}").unwrap();
        refused("missing field");
        for base in [0, 1000, u32::MAX - 9] {
            let text = format!("{{\"format\":{FORMAT},\"ids\":{{\"uid_base\":524288,\"gid_base\":{base}}}}}");
            fs::write(path.join(DESCRIPTION), text).unwrap();
            refused("are this machine's own");
        }
        fs::remove_file(path.join(DESCRIPTION)).unwrap();
        std::os::unix::fs::symlink("/etc/hostname", path.join(DESCRIPTION)).unwrap();
        refused("symbolic link");
        let report = crate::error::report(&prepare(&HostPath::named(path.join("thesis")), None).unwrap_err());
        assert_eq!(report.hints, ["choose another place with --store"]);
    }

    #[test]
    fn keys_depend_on_every_input() {
        let key_of = |a: &str, b: u32| key(&serde_json::json!({ "a": a, "b": b }));
        assert_eq!(key_of("x", 1), key_of("x", 1));
        assert_ne!(key_of("x", 1), key_of("x", 2));
        assert_eq!(key_of("x", 1).len(), 32);
    }

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
        stage.commit(&store.layer("k")).unwrap();
        assert!(store.layer("k").join("whole").exists());
    }

    #[test]
    fn the_artifacts_used_last_are_kept_and_those_in_use() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let keys: Vec<String> = (0..KEPT_ARTIFACTS + 3).map(|number| format!("k{number}")).collect();
        for (age, key) in keys.iter().rev().enumerate() {
            let stage = store.stage().unwrap();
            stage.commit(&store.artifact(key)).unwrap();
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

    fn with_layer(store: &Store, key: &str) -> PathBuf {
        let stage = store.stage().unwrap();
        fs::create_dir(stage.path().join("fs")).unwrap();
        fs::write(stage.path().join("fs/file"), "content").unwrap();
        stage.commit(&store.layer(key)).unwrap();
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
