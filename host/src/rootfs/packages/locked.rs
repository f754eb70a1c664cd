//! Packages that are locked and that the archive has no more: the store may have their files, and with each what a signed
//! list said of it when it was fetched. That goes back into the lists of a build that keeps to the lock, which vouches for
//! the digests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::field;
use super::lists::{Listed, Origins, each_stanza, name_of, package_files};
use crate::error::{Context, Result};
use crate::recipe::local_package::LocalPackage;
use crate::recipe::locked::{Locked, LockedPackage, Packages, difference};
use crate::store::{STANZA, replace, sealed};
use crate::ui::Printable as _;

/// Entry of a signed list for a package in the store.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Kept {
    stanza: String,
    /// The address of the archive.
    archive: String,
}

impl Kept {
    pub(super) fn of(listed: &Listed) -> Self {
        Self { stanza: listed.stanza.clone(), archive: listed.archive.clone() }
    }

    /// # Errors
    /// If it cannot be written.
    pub(super) fn write(&self, cache: &Path, digest: &str) -> Result<()> {
        let failed = "cannot keep what is known of a package";
        let text = sealed::to_text(self).context(failed)?;
        replace(&cache.join(format!("{digest}{STANZA}")), text.as_ref()).context(failed)
    }

    /// Reads what the store knows of the file with that digest, if it has both.
    fn read(cache: &Path, digest: &str) -> Option<Self> {
        fs::metadata(cache.join(digest)).ok().filter(fs::Metadata::is_file)?;
        sealed::from_text(&fs::read(cache.join(format!("{digest}{STANZA}"))).ok()?)
    }

    /// Returns whether it is of that package, and of that very file.
    fn is_of(&self, name: &str, package: &LockedPackage) -> bool {
        identity(&self.stanza).is_some_and(|found| found.name == name && found.package == *package)
    }
}

/// Identity of the package of a stanza.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Found {
    /// Name with the architecture.
    name: String,
    package: LockedPackage,
}

impl Found {
    /// Returns whether apt would take it for one of those, which have other content.
    fn is_in_the_way_of(&self, added: &Several) -> bool {
        let is_same =
            |(name, package): &&(String, LockedPackage)| *name == self.name && package.version == self.package.version;
        let mut same = added.iter().filter(is_same).peekable();
        same.peek().is_some() && same.all(|(_, package)| *package != self.package)
    }
}

fn identity(stanza: &str) -> Option<Found> {
    let name = format!("{}:{}", field(stanza, "Package")?, field(stanza, "Architecture")?);
    let digest = format!("sha256:{}", field(stanza, "SHA256")?);
    Some(Found { name, package: LockedPackage { version: field(stanza, "Version")?.to_owned(), digest } })
}

/// Packages by name and architecture, of which there may be several versions: for the image, and to build with.
pub type Several = BTreeSet<(String, LockedPackage)>;

/// Result of [`complete`].
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Completed {
    /// Packages that were added to the lists.
    pub added: Several,
    /// One message for each package that neither the lists nor the store have; nothing was changed then.
    pub missing: Vec<String>,
}

/// Adds to `lists` what is locked and not in them, as far as the store has the files in `cache`. Of an added package another
/// file of the same version leaves the lists: apt could not tell them apart.
///
/// # Errors
/// If a list cannot be read or written.
pub fn complete(lists: &Path, origins: &Path, cache: &Path, locked: &Locked) -> Result<Completed> {
    let (absent, others) = absent(lists, locked)?;
    let mut completed = Completed::default();
    let mut kept = Vec::new();
    for (name, package) in &absent {
        let digest = package.digest.trim_start_matches("sha256:");
        match Kept::read(cache, digest).filter(|kept| kept.is_of(name, package)) {
            Some(found) => kept.push((name.as_str(), found)),
            None => completed.missing.push(missing(name, package, others.get(name))),
        }
    }
    if completed.missing.is_empty() && !absent.is_empty() {
        add(lists, &Origins::read(origins)?, &kept, &absent)?;
        drop(kept);
        completed.added = absent;
    }
    Ok(completed)
}

/// Makes the directory `fresh` of `lists`, with packages that no archive has added. Of such a package another file of the same
/// version is not in it: apt could not tell them apart.
///
/// # Errors
/// If a list cannot be read or written.
pub fn add_local(lists: &Path, origins: &Path, fresh: &Path, packages: &[LocalPackage]) -> Result<()> {
    let failed = "cannot copy the package lists";
    fs::create_dir(fresh).context(failed)?;
    for entry in fs::read_dir(lists).context(failed)? {
        let entry = entry.context(failed)?;
        if entry.file_type().context(failed)?.is_file() {
            fs::copy(entry.path(), fresh.join(entry.file_name())).context(failed)?;
        }
    }
    let ids: Vec<String> = packages.iter().map(LocalPackage::id).collect();
    let added: Several = ids.iter().cloned().zip(packages.iter().map(LocalPackage::locked)).collect();
    let stanza = |package: &LocalPackage| Kept { stanza: package.stanza.clone(), archive: String::new() };
    let stanzas: Vec<(&str, Kept)> = ids.iter().map(String::as_str).zip(packages.iter().map(stanza)).collect();
    add(fresh, &Origins::read(origins)?, &stanzas, &added)
}

/// Returns the locked packages that the lists lack, and what they have instead.
fn absent(lists: &Path, locked: &Locked) -> Result<(Several, Packages)> {
    let all = locked.image.iter().chain(&locked.build);
    let mut absent: Several = all.map(|(name, package)| (name.clone(), package.clone())).collect();
    let all = absent.clone();
    let names: BTreeSet<&str> = all.iter().filter_map(|(name, _)| name.split(':').next()).collect();
    let mut others = Packages::new();
    for path in package_files(lists)? {
        each_stanza(&path, &mut |stanza| {
            if name_of(stanza).is_some_and(|name| names.contains(name))
                && let Some(found) = identity(stanza)
            {
                let found = (found.name, found.package);
                absent.remove(&found);
                if !all.contains(&found) {
                    others.insert(found.0, found.1);
                }
            }
            Ok(())
        })?;
    }
    Ok((absent, others))
}

fn missing(name: &str, package: &LockedPackage, other: Option<&LockedPackage>) -> String {
    let differs = other.and_then(|other| difference(name, package, other));
    differs.unwrap_or_else(|| {
        format!("{name} {} is locked, and neither the archive nor the store has it", package.version)
    })
}

fn add(lists: &Path, origins: &Origins, kept: &[(&str, Kept)], added: &Several) -> Result<()> {
    let files = package_files(lists)?;
    let mut more: BTreeMap<&PathBuf, String> = BTreeMap::new();
    for (name, kept) in kept {
        let Some(file) = list_for(&files, origins, name, &kept.archive) else {
            anyhow::bail!("there is no list of packages that `{name}` could be in");
        };
        *more.entry(file).or_default() += &format!("{}\n\n", kept.stanza.trim());
    }
    for file in &files {
        let mut text = String::new();
        let mut is_changed = false;
        each_stanza(file, &mut |stanza| {
            if identity(stanza).is_some_and(|found| found.is_in_the_way_of(added)) {
                is_changed = true;
            } else if !stanza.is_empty() {
                text += stanza.trim_end();
                text += "\n\n";
            }
            Ok(())
        })?;
        if let Some(more) = more.get(file) {
            text += more;
            is_changed = true;
        }
        if is_changed {
            let fresh = file.with_extension("new");
            fs::write(&fresh, text)
                .and_then(|()| fs::rename(&fresh, file))
                .with_context(|| format!("cannot change the package list `{}`", file.printable()))?;
        }
    }
    Ok(())
}

/// Returns the list that the package goes back to: of its architecture, and of its own archive if that is still there.
fn list_for<'a>(files: &'a [PathBuf], origins: &Origins, name: &str, archive: &str) -> Option<&'a PathBuf> {
    let architecture = name.rsplit(':').next().unwrap_or_default();
    let fits = |file: &&PathBuf| {
        architecture == "all" || file.to_string_lossy().ends_with(&format!("_binary-{architecture}_Packages"))
    };
    let is_its = |file: &&PathBuf| {
        let list = file.file_name().unwrap_or_default().to_string_lossy();
        origins.archive_of(&list) == Some(archive)
    };
    let fitting = || files.iter().filter(fits);
    fitting().find(is_its).or_else(|| fitting().next())
}

/// Packages for tests; a digest is one digit over and over.
#[cfg(test)]
pub(crate) mod sample {
    use crate::recipe::locked::{LockedPackage, Packages};

    pub(crate) fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    pub(crate) fn packages(list: &[(&str, &str, char)]) -> Packages {
        let locked = |version: &str, digit| LockedPackage { version: version.to_owned(), digest: digest(digit) };
        list.iter().map(|(name, version, digit)| ((*name).to_owned(), locked(version, *digit))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::sample::{digest, packages};
    use super::*;

    const LIST: &str = "h_dists_stable_main_binary-arm64_Packages";

    fn stanza(name: &str, version: &str, digit: char) -> String {
        let sha256 = digit.to_string().repeat(64);
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: arm64\nFilename: pool/{name}_{version}.deb\nSize: 1\n\
             SHA256: {sha256}\n\n"
        )
    }

    struct Place(tempfile::TempDir);

    impl Place {
        fn new(list: &str, kept: &[(&str, &str, char)]) -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            for directory in ["lists", "cache"] {
                fs::create_dir(place.path(directory)).unwrap();
            }
            fs::write(place.path("lists").join(LIST), list).unwrap();
            Origins::parse(&format!("Packages /l/{LIST} http://h\n")).keep(&place.path("origins")).unwrap();
            for (name, version, digit) in kept {
                let sha256 = digit.to_string().repeat(64);
                fs::write(place.path("cache").join(&sha256), "x").unwrap();
                let kept = Kept { stanza: stanza(name, version, *digit), archive: "http://h/".into() };
                kept.write(&place.path("cache"), &sha256).unwrap();
            }
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().join(name)
        }

        fn complete(&self, locked: &Locked) -> Completed {
            complete(&self.path("lists"), &self.path("origins"), &self.path("cache"), locked).unwrap()
        }

        fn list(&self) -> String {
            fs::read_to_string(self.path("lists").join(LIST)).unwrap()
        }
    }

    fn locked(image: &[(&str, &str, char)]) -> Locked {
        Locked { image: packages(image), ..Locked::default() }
    }

    #[test]
    fn what_the_store_has_goes_back_into_the_lists() {
        let list = stanza("aa", "2", 'b') + &stanza("bb", "1", 'c');
        let place = Place::new(&list, &[("aa", "1", 'a')]);
        let lock = locked(&[("aa:arm64", "1", 'a'), ("bb:arm64", "1", 'c')]);
        let completed = place.complete(&lock);
        let added = packages(&[("aa:arm64", "1", 'a')]).into_iter().collect();
        assert_eq!(completed, Completed { added, missing: Vec::new() });
        assert_eq!(place.list(), list + &stanza("aa", "1", 'a'));
        assert_eq!(place.complete(&lock), Completed::default(), "nothing is missing any more");
    }

    #[test]
    fn of_two_files_of_a_version_the_locked_one_stays() {
        let place = Place::new(&stanza("aa", "1", 'b'), &[("aa", "1", 'a')]);
        place.complete(&locked(&[("aa:arm64", "1", 'a')]));
        assert_eq!(place.list(), stanza("aa", "1", 'a'));
    }

    #[test]
    fn all_that_cannot_be_had_is_named_and_nothing_changed() {
        let list = stanza("aa", "2", 'b') + &stanza("bb", "1", 'c');
        let place = Place::new(&list, &[("dd", "1", 'd')]);
        // What is kept under a digest is of another package than the lock says.
        let lock =
            locked(&[("aa:arm64", "1", 'a'), ("bb:arm64", "1", 'e'), ("cc:all", "1", 'd'), ("dd:arm64", "1", 'd')]);
        let missing = place.complete(&lock).missing;
        let expected = [
            "aa:arm64 is 2, locked is 1".to_owned(),
            format!("bb:arm64 1 is another file: {}, locked is {}", digest('c'), digest('e')),
            "cc:all 1 is locked, and neither the archive nor the store has it".to_owned(),
        ];
        assert_eq!(missing, expected);
        assert_eq!(place.list(), list);
        // A file that is gone is not had, whatever is known of it.
        fs::remove_file(place.path("cache").join("d".repeat(64))).unwrap();
        assert_eq!(place.complete(&locked(&[("dd:arm64", "1", 'd')])).missing.len(), 1);
    }
}
