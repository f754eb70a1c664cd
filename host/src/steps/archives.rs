//! Prepares the release's repositories for apt: sources, which may name mirrors, and checked key rings.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::error::{Context, Failure, Result};
use crate::keyring::{Ring, Rings};
use crate::recipe::fetching::Fetching;
use crate::recipe::release::Release;
use crate::recipe::release::repository::{Chosen, Repository};
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::rootfs::sources::{DefaultSource, Sources};

/// Directory in memory, outside of every tree, with the files for an apt that runs outside of the image.
const PLACE: &str = "/tmp/archives";

#[derive(Clone, Copy, Debug)]
pub(super) struct Archives<'a> {
    pub(super) release: &'a Release,
    /// Mirrors by the name of the repository.
    pub(super) mirrors: &'a BTreeMap<String, String>,
    pub(super) rings: &'a Rings,
    /// Key rings that somebody chose instead of the release's own.
    pub(super) chosen: &'a BTreeMap<String, Chosen>,
    /// Whether the image gets the mirrors, and not what they stand in for.
    pub(super) are_kept: bool,
    pub(super) fetching: &'a Fetching,
    /// The mirrors are old states of the archives, which may have expired.
    pub(super) are_old: bool,
}

impl Archives<'_> {
    /// Returns the package sources of a bootstrap for `architecture`: all that an image of it has.
    ///
    /// # Errors
    /// If no repository has the architecture, or the files cannot be written.
    pub(super) fn of_image(&self, architecture: &str) -> Result<Sources> {
        let repositories: Vec<&Repository> = self.release.repositories_for(architecture).collect();
        self.write(&Path::new(PLACE).join(architecture), &self.release.architectures_of(architecture), &repositories)
    }

    /// Returns the package sources of the build's own tools: the release's own repository alone.
    ///
    /// # Errors
    /// Those of [`Archives::of_image`].
    pub(super) fn of_tools(&self, architecture: &str) -> Result<Sources> {
        let own = self.release.own_repository(architecture)?;
        self.write(&Path::new(PLACE).join(architecture), &[architecture.to_owned()], &[own])
    }

    fn write(&self, place: &Path, architectures: &[String], repositories: &[&Repository]) -> Result<Sources> {
        let failed = "cannot prepare apt's sources";
        fs::create_dir_all(place).context(failed)?;
        let own = repositories.first().context(Failure::bug("a release without a repository"))?;
        let mut files = Vec::new();
        for repository in repositories {
            let uris = self.uris(repository);
            if uris.is_empty() {
                continue;
            }
            let key_ring = place.join(format!("{}.gpg", repository.name));
            fs::write(&key_ring, &self.ring(repository)?.keys).context(failed)?;
            let file = place.join(format!("{}.sources", repository.name));
            let text = mirrored(repository).sources(architectures, &uris, &key_ring.to_string_lossy());
            fs::write(&file, text).context(failed)?;
            files.push(file);
        }
        let default = match (own.uris.is_empty(), self.mirrors.contains_key(&own.name)) {
            (false, _) => DefaultSource::None,
            (true, true) => DefaultSource::Kept,
            (true, false) => DefaultSource::Used,
        };
        let keyring = match default {
            DefaultSource::None => None,
            _ => Some(self.default_ring(own, place).context(failed)?),
        };
        Ok(Sources { default, files, keyring })
    }

    /// Returns the whole file, as mmdebstrap compares it with the one that it would have chosen.
    fn default_ring(&self, own: &Repository, place: &Path) -> Result<PathBuf> {
        let path = place.join("default.gpg");
        fs::write(&path, &self.ring(own)?.whole)?;
        Ok(path)
    }

    fn uris(&self, repository: &Repository) -> Vec<String> {
        self.mirrors.get(&repository.name).map_or_else(|| repository.uris.clone(), |mirror| vec![mirror.clone()])
    }

    fn ring(&self, repository: &Repository) -> Result<&Ring> {
        let name = &repository.signed_by;
        self.rings.get(name).with_context(|| Failure::bug(format!("the key ring `{name}` was not read")))
    }

    /// Gives the image at `rootfs` the key rings that no package of it brought.
    ///
    /// # Errors
    /// If one cannot be written.
    pub(super) fn add_key_rings(&self, rootfs: &Rootfs, architecture: &str) -> Result<()> {
        let named =
            self.release.repositories_for(architecture).filter(|repository| !self.image_uris(repository).is_empty());
        for repository in named {
            let path = ImagePath::parse(&self.image_ring(repository)?)?;
            let tree = rootfs.exact();
            if tree.metadata(&path)?.is_some() {
                continue;
            }
            if let Some(parent) = path.parent() {
                tree.make_dir_all(&parent, Attrs { mode: 0o755, uid: 0, gid: 0 })?;
            }
            tree.write(&path, &self.ring(repository)?.keys, Attrs { mode: 0o644, uid: 0, gid: 0 })?;
        }
        Ok(())
    }

    /// Returns the image's own sources by their names, beside what mmdebstrap chooses: never a mirror, unless they are
    /// kept.
    ///
    /// # Errors
    /// [`Failure::bug`] if a key ring is not described, which the tests rule out.
    pub(super) fn image_files(&self, architecture: &str) -> Result<Vec<(String, String)>> {
        let architectures = self.release.architectures_of(architecture);
        self.release
            .repositories_for(architecture)
            .filter(|repository| !self.image_uris(repository).is_empty())
            .map(|repository| {
                let described = if self.are_kept { mirrored(repository) } else { repository.clone() };
                let (uris, ring) = (self.image_uris(repository), self.image_ring(repository)?);
                let text = described.sources(&architectures, &uris, &ring);
                Ok((format!("{}.sources", repository.name), text))
            })
            .collect()
    }

    /// Returns the addresses that the image's sources name; empty to leave the choice to mmdebstrap.
    fn image_uris(&self, repository: &Repository) -> Vec<String> {
        if self.are_kept { self.uris(repository) } else { repository.uris.clone() }
    }

    fn image_ring(&self, repository: &Repository) -> Result<String> {
        let name = &repository.signed_by;
        if self.are_kept && self.chosen.contains_key(name) {
            // The key ring of the release's own packages has other keys.
            return Ok(format!("/etc/apt/keyrings/{name}.gpg"));
        }
        let ring = self.release.keyrings.get(name);
        ring.map(|ring| ring.image.clone()).with_context(|| Failure::bug(format!("there is no key ring `{name}`")))
    }
}

/// Returns the repository as a mirror of it is used: of an archive that mmdebstrap knows, one suite, as of any mirror
/// given to it.
fn mirrored(repository: &Repository) -> Repository {
    let mut repository = repository.clone();
    if repository.uris.is_empty() {
        repository.suites.truncate(1);
    }
    repository
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::host::HostPath;
    use crate::recipe::release::Releases;
    use crate::ui::Printable as _;

    fn ring() -> Ring {
        Ring { whole: b"whole".to_vec(), keys: b"keys".to_vec() }
    }

    #[test]
    fn a_mirror_stands_in_during_the_build_and_never_in_the_image() {
        let releases = Releases::builtin().unwrap();
        let rings: Rings = ["debian", "ubuntu"].map(|name| (name.to_owned(), ring())).into();
        let mirrors: BTreeMap<String, String> =
            ["debian", "ubuntu"].map(|name| (name.to_owned(), "http://mirror/x".to_owned())).into();
        let none = BTreeMap::new();
        for (name, mirrors, default, built, image) in [
            ("trixie", &none, DefaultSource::Used, None, None),
            ("trixie", &mirrors, DefaultSource::Kept, Some("debian"), None),
            ("jammy", &none, DefaultSource::None, Some("ubuntu"), Some("ubuntu")),
            ("jammy", &mirrors, DefaultSource::None, Some("ubuntu"), Some("ubuntu")),
        ] {
            let mut release = releases.get(name).unwrap().clone().resolved("arm64");
            release.repositories.retain(|repository| !repository.optional);
            let archives = Archives {
                release: &release,
                mirrors,
                rings: &rings,
                chosen: &BTreeMap::new(),
                are_kept: false,
                fetching: &Fetching::default(),
                are_old: false,
            };
            let place = tempfile::tempdir().unwrap();
            let repositories: Vec<&Repository> = release.repositories_for("arm64").collect();
            let sources = archives.write(place.path(), &["arm64".to_owned()], &repositories).unwrap();
            assert_eq!(sources.default, default, "{name}");
            let names: Vec<PathBuf> = built.iter().map(|name| place.path().join(format!("{name}.sources"))).collect();
            assert_eq!(sources.files, names, "{name}");
            for file in &sources.files {
                let text = fs::read_to_string(file).unwrap();
                assert_eq!(text.contains("URIs: http://mirror/x\n"), !mirrors.is_empty(), "{text}");
                assert!(text.contains(&format!("Signed-By: {}/", place.path().printable())), "{text}");
                assert_eq!(fs::read(file.with_extension("gpg")).unwrap(), b"keys");
            }
            let files = archives.image_files("arm64").unwrap();
            let named: Vec<&str> = files.iter().map(|(name, _)| name.as_str()).collect();
            assert_eq!(named, image.iter().map(|name| format!("{name}.sources")).collect::<Vec<_>>());
            assert!(files.iter().all(|(_, text)| !text.contains("mirror/x") && text.contains("Signed-By: /usr/share")));
        }
    }

    #[test]
    fn a_mirror_that_is_kept_is_in_the_image_with_its_own_keys() {
        let releases = Releases::builtin().unwrap();
        let release = releases.get("trixie").unwrap().clone().resolved("arm64");
        let rings: Rings = [("debian".to_owned(), ring())].into();
        let mirrors: BTreeMap<String, String> = [("debian".to_owned(), "http://mirror/x".to_owned())].into();
        let given = Chosen { path: HostPath::named("k.gpg"), fingerprints: Vec::new() };
        for (chosen, path) in [
            (BTreeMap::new(), "/usr/share/keyrings/debian-archive-keyring.gpg"),
            (BTreeMap::from([("debian".to_owned(), given)]), "/etc/apt/keyrings/debian.gpg"),
        ] {
            let archives = Archives {
                release: &release,
                mirrors: &mirrors,
                rings: &rings,
                chosen: &chosen,
                are_kept: true,
                fetching: &Fetching::default(),
                are_old: false,
            };
            let files = archives.image_files("arm64").unwrap();
            let (name, text) = &files[0];
            assert_eq!((files.len(), name.as_str()), (1, "debian.sources"));
            assert!(text.contains("URIs: http://mirror/x\nSuites: trixie\n"), "{text}");
            assert!(text.contains(&format!("Signed-By: {path}\n")), "{text}");
            let dir = tempfile::tempdir().unwrap();
            archives.add_key_rings(&Rootfs::open(dir.path(), 0).unwrap(), "arm64").unwrap();
            assert_eq!(fs::read_to_string(dir.path().join(&path[1..])).unwrap(), "keys");
        }
    }

    #[test]
    fn a_ring_that_no_package_brings_is_written() {
        let releases = Releases::builtin().unwrap();
        let release = releases.get("jammy").unwrap();
        let rings: Rings = ["ubuntu", "ros"].map(|name| (name.to_owned(), ring())).into();
        let (mirrors, dir) = (BTreeMap::new(), tempfile::tempdir().unwrap());
        let own = dir.path().join("usr/share/keyrings/ubuntu-archive-keyring.gpg");
        fs::create_dir_all(own.parent().unwrap()).unwrap();
        fs::write(&own, "the package's").unwrap();
        let archives = Archives {
            release,
            mirrors: &mirrors,
            rings: &rings,
            chosen: &BTreeMap::new(),
            are_kept: false,
            fetching: &Fetching::default(),
            are_old: false,
        };
        archives.add_key_rings(&Rootfs::open(dir.path(), 0).unwrap(), "arm64").unwrap();
        assert_eq!(fs::read_to_string(&own).unwrap(), "the package's");
        assert_eq!(fs::read_to_string(own.with_file_name("ros-archive-keyring.gpg")).unwrap(), "keys");
    }
}
