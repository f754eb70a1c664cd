//! Keeps the files of packages for all builds, by their digests. Each file is compared with the digest of the signed
//! list at every use: the cache saves a download, and is not trusted.
//!
//! Builds that want the same new package at the same time download it each for itself, into directories of their own; what
//! they kept is the same.
//!
//! A server may send more than the list says, or for ever: a download ends at the length that was signed, and at what is
//! left to the rest of the machine.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::time::SystemTime;

use sha2::{Digest as _, Sha256};

use super::lists::Listed;
use super::locked::Kept;
use super::progress::Download;
use crate::error::{Context, Failure, Result};
use crate::recipe::fetching::Fetching;
use crate::rootfs::bootstrap::{not_in_the_store, refusal_in};
use crate::sandbox::free_space::Room;
use crate::sandbox::tool::Tool;
use crate::sandbox::watched;
use crate::ui::{Printable as _, Step, bytes, printable};

/// Most packages that one downloader is told of: a command line has a bound.
const AT_ONCE: usize = 200;

/// Bytes by which a file may outgrow the longest one of a run before the kernel ends it: it must be seen that it does.
const EXCESS: u64 = 1 << 20;

/// apt's name for its directory of incomplete files.
const PARTIAL: &str = "partial";

/// The shared directory, and how what it lacks is fetched.
pub(super) struct Cache<'a> {
    pub(super) directory: &'a Path,
    pub(super) fetching: &'a Fetching,
    pub(super) step: &'a Step,
}

impl Cache<'_> {
    /// Fetches those of `files` that the cache lacks, through the empty directory `place`: the others are compared when they
    /// are used.
    ///
    /// # Errors
    /// Those of [`Cache::lay`].
    pub(super) fn fill(&self, files: &[&Listed], place: &Path) -> Result<()> {
        prepare(place)?;
        let is_there = |listed: &Listed| {
            fs::metadata(self.directory.join(&listed.digest)).is_ok_and(|metadata| metadata.len() == listed.size)
        };
        let missing: Vec<&Listed> = files.iter().copied().filter(|listed| !is_there(listed)).collect();
        self.fetch(&missing, place)
    }

    /// Makes the directory `place` of just `files`, each of which is what the signed list says: the cache itself is never
    /// shown to a command.
    ///
    /// # Errors
    /// [`Failure::build`] if one cannot be fetched, or must not be as the build is offline.
    pub(super) fn lay(&self, files: &[&Listed], place: &Path) -> Result<()> {
        prepare(place)?;
        let mut missing = Vec::new();
        for listed in files {
            if !self.link(listed, place)? {
                missing.push(*listed);
            }
        }
        self.fetch(&missing, place)
    }

    /// Gives a file of the cache a second name in `place`, if it is there and whole.
    fn link(&self, listed: &Listed, place: &Path) -> Result<bool> {
        let (kept, laid) = (self.directory.join(&listed.digest), place.join(&listed.file));
        let failed = || format!("cannot prepare `{}`", listed.file);
        match fs::hard_link(&kept, &laid) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(false),
            other => other.with_context(failed)?,
        }
        // Hard-linked under its own name: another build may replace the file of the cache at any moment.
        if is_whole(listed, &laid)? {
            File::open(&laid).and_then(|file| file.set_modified(SystemTime::now())).with_context(failed)?;
            return Ok(true);
        }
        fs::remove_file(&laid).with_context(failed)?;
        fs::remove_file(&kept).or_else(is_gone).with_context(failed)?;
        self.step.warn(&format!(
            "`{}` of the store is not what the archive's signature says: it is thrown away and fetched anew",
            listed.file
        ));
        Ok(false)
    }

    /// Downloads `files` into the cache and `place`.
    fn fetch(&self, files: &[&Listed], place: &Path) -> Result<()> {
        if files.is_empty() {
            return Ok(());
        }
        if self.fetching.offline {
            return Err(not_in_the_store(files.iter().map(|listed| listed.file.as_str())).into());
        }
        let mut missing: BTreeMap<&str, &Listed> = files.iter().map(|listed| (listed.file.as_str(), *listed)).collect();
        let mut pauses = self.fetching.pauses();
        loop {
            let said = self.download(&missing.values().copied().collect::<Vec<_>>(), &place.join(PARTIAL))?;
            let come: Vec<&Listed> = missing.values().copied().collect();
            for listed in come {
                if self.keep(listed, place)? {
                    missing.remove(listed.file.as_str());
                }
            }
            // An incomplete file would stay in the way.
            make_partial(place)?;
            let Some(first) = missing.keys().next() else { return Ok(()) };
            // apt asks again where a connection broke, but not a server that says it is busy.
            let Some(pause) = pauses.next().filter(|_| is_busy(&said)) else {
                let failure = refusal_in(&said).unwrap_or_else(|| {
                    let text = crate::ui::printable(said.trim());
                    Failure::build(if text.is_empty() {
                        "it is not what the archive's signature says".into()
                    } else {
                        text
                    })
                });
                let renew = "if the archive has dropped this version, renew the base layer: piimg build --refresh";
                return Err(anyhow::Error::from(failure.hint(renew)).context(format!("cannot download `{first}`")));
            };
            std::thread::sleep(pause);
        }
    }

    /// Has apt's own downloader fetch, which knows the host's proxies and credentials. Returns what it complained of.
    fn download(&self, files: &[&Listed], partial: &Path) -> Result<String> {
        let mut said = String::new();
        let sum = |files: &[&Listed]| files.iter().fold(0_u64, |sum, listed| sum.saturating_add(listed.size));
        let room = Room::new(partial, "the store", &crate::ui::count(files.len(), "package"))?;
        room.check(sum(files), sum(files))?;
        let download = Download::new(self.step, files.len(), sum(files));
        let mut before = 0;
        for files in files.chunks(AT_ONCE) {
            let mut helper = Tool::new("/usr/lib/apt/apt-helper")
                .args(self.fetching.apt_options().iter().map(|(name, value)| format!("-o{name}={value}")))
                .args(["-oAPT::Sandbox::User=root", "download-file"]);
            for listed in files {
                helper = helper.arg(&listed.uri).arg(partial.join(&listed.file));
                helper = helper.arg(format!("SHA256:{}", listed.digest));
                // apt refuses an answer whose announced length differs.
                helper = helper.arg(format!("Checksum-FileSize:{}", listed.size));
            }
            let longest = files.iter().map(|listed| listed.size).max().unwrap_or_default();
            let mut look = || {
                download.show(before + arrived(files, partial)?);
                room.check(0, sum(files))
            };
            let output = watched::run(helper.command()?, longest.saturating_add(EXCESS), &mut look)?;
            if output.status != 0 {
                said += &String::from_utf8_lossy(&output.stderr);
            }
            before += sum(files);
        }
        Ok(said)
    }

    /// Takes over what was downloaded, if it is whole.
    fn keep(&self, listed: &Listed, place: &Path) -> Result<bool> {
        let (fresh, laid) = (place.join(PARTIAL).join(&listed.file), place.join(&listed.file));
        let failed = || format!("cannot keep `{}`", listed.file);
        if !fresh.exists() {
            return Ok(false);
        }
        if !is_whole(listed, &fresh)? {
            fs::remove_file(&fresh).with_context(failed)?;
            return Ok(false);
        }
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o644)).with_context(failed)?;
        fs::hard_link(&fresh, laid).with_context(failed)?;
        Kept::of(listed).write(self.directory, &listed.digest)?;
        fs::rename(&fresh, self.directory.join(&listed.digest)).with_context(failed)?;
        Ok(true)
    }
}

/// Returns how much has come, and refuses what is longer already than the signed list says.
fn arrived(files: &[&Listed], partial: &Path) -> Result<u64> {
    let length = |listed: &Listed| fs::metadata(partial.join(&listed.file)).map_or(0, |metadata| metadata.len());
    let Some(listed) = files.iter().find(|listed| length(listed) > listed.size) else {
        return Ok(files.iter().map(|listed| length(listed)).sum());
    };
    let text = format!(
        "`{}` is longer than the archive's signature says, which is {}",
        printable(&listed.uri),
        bytes(listed.size)
    );
    let failure = Failure::build(text).hint("the server sends something else: use another mirror");
    Err(anyhow::Error::from(failure).context(format!("cannot download `{}`", listed.file)))
}

/// Makes the directory anew, as apt wants to find it.
fn prepare(place: &Path) -> Result<()> {
    crate::store::remove_tree(place)?;
    make_partial(place)
}

/// Makes what is in it for files that are not whole yet, and empty.
fn make_partial(place: &Path) -> Result<()> {
    let (failed, partial) = ("cannot prepare packages", place.join(PARTIAL));
    crate::store::remove_tree(&partial)?;
    fs::create_dir_all(&partial).context(failed)?;
    // apt wants this mode and could not set it on a read-only mount.
    fs::set_permissions(&partial, fs::Permissions::from_mode(0o700)).context(failed)
}

fn is_whole(listed: &Listed, path: &Path) -> Result<bool> {
    let failed = || format!("cannot read `{}`", path.printable());
    let mut file = File::open(path).with_context(failed)?;
    if file.metadata().with_context(failed)?.len() != listed.size {
        return Ok(false);
    }
    let mut hash = Sha256::new();
    std::io::copy(&mut file, &mut hash).with_context(failed)?;
    Ok(hex::encode(hash.finalize()) == listed.digest)
}

fn is_gone(error: std::io::Error) -> std::io::Result<()> {
    if error.kind() == std::io::ErrorKind::NotFound { Ok(()) } else { Err(error) }
}

/// Returns whether apt was answered with a status that says to come back later.
fn is_busy(said: &str) -> bool {
    let statuses = ["429", "500", "502", "503", "504"];
    statuses.iter().any(|status| said.contains(&format!("  {status}  ")))
}

#[cfg(test)]
mod tests {
    use super::super::Package;
    use super::*;
    use crate::ui::{Ui, Verbosity};

    fn listed(file: &str, content: &[u8]) -> Listed {
        let package = Package { name: "made-up".into(), version: "1".into(), architecture: "all".into() };
        Listed {
            package,
            file: file.into(),
            uri: "http://archive.invalid/x".into(),
            size: content.len().try_into().unwrap(),
            digest: hex::encode(Sha256::digest(content)),
            stanza: String::new(),
            archive: String::new(),
        }
    }

    #[test]
    fn what_is_damaged_is_thrown_away_and_never_laid() {
        let dir = tempfile::tempdir().unwrap();
        let (directory, place) = (dir.path().join("cache"), dir.path().join("place"));
        fs::create_dir(&directory).unwrap();
        let ui = Ui::new(Verbosity::Quiet);
        let (fetching, step) = (Fetching { offline: true, ..Fetching::default() }, ui.step("Test"));
        let cache = Cache { directory: &directory, fetching: &fetching, step: &step };
        let good = listed("good_1_all.deb", b"good");
        fs::write(directory.join(&good.digest), b"good").unwrap();
        for damaged in [b"evil".as_slice(), b"longer", b""] {
            let bad = listed("bad_1_all.deb", b"fine");
            fs::write(directory.join(&bad.digest), damaged).unwrap();
            let error = cache.lay(&[&good, &bad], &place).unwrap_err().to_string();
            assert_eq!(error, "the build is offline, and the store lacks: bad_1_all.deb");
            assert!(!place.join(&bad.file).exists() && !directory.join(&bad.digest).exists());
            assert_eq!(fs::read(place.join(&good.file)).unwrap(), b"good");
        }
        cache.lay(&[&good], &place).unwrap();
        assert_eq!(fs::read_dir(&place).unwrap().count(), 2, "it, and a directory for what is not whole");
    }

    #[test]
    fn a_file_that_outgrows_the_list_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (good, bad) = (listed("good_1_all.deb", b"good"), listed("bad_1_all.deb", b"bad"));
        for (length, expected) in [(0, Ok(4)), (3, Ok(7)), (4, Err("cannot download `bad_1_all.deb`".to_owned()))] {
            fs::write(dir.path().join(&good.file), b"good").unwrap();
            fs::write(dir.path().join(&bad.file), &[b'x'; 4][..length]).unwrap();
            let come = arrived(&[&good, &bad], dir.path()).map_err(|error| error.to_string());
            assert_eq!(come, expected, "{length}");
        }
    }

    #[test]
    fn a_server_that_is_busy_is_known_by_its_status() {
        assert!(is_busy("E: Failed to fetch http://h/x.deb  503  Service Unavailable [IP: 127.0.0.1 80]"));
        for other in ["E: Failed to fetch http://h/503/x.deb  404  Not Found", "E: 500 files", ""] {
            assert!(!is_busy(other), "{other}");
        }
    }
}
