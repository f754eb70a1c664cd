//! Makes the store ready on the host, before anybody is in the private namespace: whose it is, and that it is one.

use std::path::Path;

use rustix::fs::StatVfsMountFlags;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result, with_cause};
use crate::home::{Home, Key};
use crate::host_files::{Directory, HostPath, temporary_name};
use crate::sandbox::id_map::IdMap;
use crate::sandbox::namespace;
use crate::ui::{Printable as _, printable, shell_quoted};

/// Changes when the meaning of anything in `data/` changes.
const FORMAT: u32 = 2;

/// Most bytes of `store.json`.
const LONGEST_DESCRIPTION: u64 = 1 << 16;

/// File with the description of a store.
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
    /// Proof that the calling user made this store, for a place that others can write to; in hexadecimal. Stores of
    /// older versions have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seal: Option<String>,
}

impl Description {
    fn write(&self, directory: &Directory) -> Result<()> {
        let text = serde_json::to_vec_pretty(self).context("cannot describe the store")?;
        Ok(directory.replace(DESCRIPTION, &text, 0o644)?)
    }

    /// Adds the user's seal. Without a key there is none: then only the user may name the store, and no recipe.
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
    let shown = store.shown().printable();
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
    if stat.st_uid != user {
        return Err(with_cause(anyhow::anyhow!("it belongs to another user"), named()));
    }
    check_mount(store.path()).with_context(named)?;
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
            let cause = "only the recipe names it, and it is not known to be made by you on this machine";
            let failure = named().hint(format!("if you made it yourself: --store {}", shell_quoted(&shown)));
            return Err(with_cause(anyhow::anyhow!(cause), failure));
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
        let fresh = temporary_name(DATA).with_context(named)?;
        directory.subdirectory(&fresh, 0o700).and_then(|data| data.set_mode(0o700)).with_context(named)?;
        namespace::chown_to_namespace_root(&store.path().join(&fresh), ids)?;
        if directory.rename_if_free(&fresh, DATA).with_context(named)? {
            description.sealed(&directory, home)?.write(&directory).with_context(named)?;
        } else {
            // Another build was faster.
            directory.remove_directory(&fresh).ok();
        }
    }
    Ok(ids)
}

/// Refuses a file system on which the programs of an image cannot run. What else a mount may forbid no build needs: layers have no
/// device nodes, and no program of a box gains rights by its mode.
fn check_mount(path: &Path) -> Result<()> {
    let flags = rustix::fs::statvfs(path).context("cannot ask how it is mounted")?.f_flag;
    anyhow::ensure!(
        !flags.contains(StatVfsMountFlags::NOEXEC),
        "its file system is mounted `noexec`, and programs of the image run from it"
    );
    Ok(())
}

/// Returns whether the store is where it was when it was made ready.
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

/// Returns the calling user's record of built images and where they lie.
pub fn images(store: &HostPath) -> HostPath {
    store.below(IMAGES)
}

#[cfg(test)]
mod tests {
    use std::fs;

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
}
