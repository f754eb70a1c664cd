//! Packages of a layer: apt resolves inside the box, piimg downloads outside of it into one shared cache, dpkg
//! installs inside the box without network.

mod database;
mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::recipe::fetching::Fetching;
use crate::rootfs::bootstrap::not_in_the_store;
use crate::rootfs::files::Rootfs;
use crate::sandbox::command::{Bind, BoxCommand, Stream};
use crate::sandbox::tool::Tool;
use crate::ui::Step;
pub use database::{check, installed};
use lists::package_lists;
pub use lists::{archive_date, archive_state, digests};

/// Options of every apt run in a box.
const APT: [&str; 12] = [
    // Nobody else uses the archives directory, which is read-only.
    "-oDebug::NoLocking=true",
    // Of the two caches this one also depends on what is installed.
    "-oDir::Cache::pkgcache=",
    "-oDpkg::Use-Pty=false",
    "-oAPT::Sandbox::User=root",
    "-oAcquire::Languages=none",
    "-oDpkg::Options::=--force-confold",
    "-oDpkg::Options::=--force-confdef",
    // There is no one to answer, and nothing that must stay as it is.
    "-oAPT::Get::Assume-Yes=true",
    // A version that is named, or locked, may be older than what is installed.
    "-oAPT::Get::allow-downgrades=true",
    // History and terminal logs hold times and change with every build.
    "-oDir::Log::History=",
    "-oDir::Log::Terminal=",
    "-oDir::Log::Planner=",
];

/// A package in the image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
}

/// Where packages come from.
#[derive(Clone, Debug)]
pub struct Archive {
    /// apt's lists as the base layer saw them, so that all layers are of one state of the archive.
    pub lists: PathBuf,
    /// What [`index`] made of them.
    pub index: PathBuf,
    /// The shared cache of downloaded packages.
    pub cache: PathBuf,
    pub apt: Apt,
    pub fetching: Fetching,
    /// Seconds since 1970 that what packages make, such as an initramfs, has for the time.
    pub epoch: u64,
}

/// Which apt-get runs in the box.
#[derive(Clone, Debug)]
pub struct Apt {
    /// In the image, where the build may have laid one that runs natively; the image's own serves if there is none.
    pub native: &'static str,
    /// The image's, which a native apt-get must be told.
    pub architecture: String,
    /// Whether it prefers what was laid beside its index.
    pub has_preferences: bool,
    /// Sources that the lists are from, where they are not the image's own.
    pub sources: Option<PathBuf>,
    /// What maintainer scripts are told.
    pub environment: BTreeMap<String, String>,
}

impl Apt {
    fn command(&self, root: &Path, arguments: &[&str]) -> BoxCommand {
        let architecture = format!("-oAPT::Architecture={}", self.architecture);
        let is_there = fs::symlink_metadata(root.join(self.native.trim_start_matches('/'))).is_ok();
        let program = if is_there { self.native } else { "apt-get" };
        let preferences = if self.has_preferences { PREFER } else { &[] };
        // The one file is none then, which `/dev/null` is.
        let list: &[&str] = if self.sources.is_some() { &["-oDir::Etc::SourceList=/dev/null"] } else { &[] };
        let options = [program, &architecture].into_iter().chain(APT).chain(list.iter().chain(preferences).copied());
        let mut command = BoxCommand::new(root, options.chain(arguments.iter().copied()));
        command.env.extend(self.environment.clone());
        command.binds.extend(self.sources.iter().map(|sources| Bind {
            source: sources.clone(),
            target: "/etc/apt/sources.list.d".into(),
            writable: false,
        }));
        command
    }
}

/// Where it finds preferences: [`index`] puts them there.
const PREFER: &[&str] = &["-oDir::Etc::Preferences=/var/cache/apt/preferences"];

/// Where apt keeps its index and the packages that it installs.
const CACHE: &str = "/var/cache/apt";

/// Has apt read the lists of the rootfs at `root` and keep what it understood in the new directory `index`: reading them
/// takes longer than installing a package. Preferences are kept there too.
///
/// # Errors
/// [`Failure::build`] if the image's apt cannot.
pub fn index(apt: &Apt, preferences: Option<&Path>, root: &Path, index: &Path) -> Result<()> {
    // The directory lies over the image's own while apt runs, archives included.
    fs::create_dir_all(index.join("archives/partial")).context("cannot keep apt's index")?;
    if let Some(preferences) = preferences {
        fs::copy(preferences, index.join("preferences")).context("cannot keep apt's preferences")?;
    }
    let mut command = apt.command(root, &["check"]);
    command.binds.push(Bind { source: index.to_owned(), target: CACHE.into(), writable: true });
    command.check(&mut |_, _| {}).map(drop)
}

/// One line of `apt-get --print-uris`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Download {
    uri: String,
    file: String,
    size: u64,
}

impl Archive {
    /// Installs `specs` (names, each optionally `=version`) into the rootfs mounted at `root`.
    ///
    /// Returns what is new or changed.
    ///
    /// # Errors
    /// [`Failure::build`] if apt cannot resolve, download or install them.
    pub fn install(
        &self,
        root: &Path,
        stage: &Path,
        specs: &[String],
        recommends: bool,
        step: &Step,
    ) -> Result<Vec<Package>> {
        let rootfs = Rootfs::open(root, 0)?;
        let before = installed(&rootfs)?;
        let recommends = format!("-oAPT::Install-Recommends={recommends}");
        let mut arguments = vec![recommends.as_str(), "install"];
        arguments.extend(specs.iter().map(String::as_str));
        step.note("resolving packages");
        let mut print: Vec<&str> = vec!["--print-uris"];
        print.extend(&arguments);
        let output = self.apt(root, &print, None).check(&mut |_, _| {})?;
        let downloads = parse_uris(&String::from_utf8_lossy(&output.stdout))?;
        self.download(&downloads, step)?;
        let archives = self.offer(&downloads, stage)?;
        let mut install: Vec<&str> = vec!["--no-download"];
        install.extend(&arguments);
        self.apt(root, &install, Some(&archives)).check(&mut |stream, line| progress(step, stream, line))?;
        let after = installed(&rootfs)?;
        Ok(after
            .into_iter()
            .filter(|(name, package)| before.get(name) != Some(package))
            .map(|(_, package)| package)
            .collect())
    }

    /// Removes packages, with their configuration if `purge`.
    ///
    /// # Errors
    /// [`Failure::build`] if apt refuses.
    pub fn remove(&self, root: &Path, names: &[String], purge: bool, step: &Step) -> Result<()> {
        let mut arguments = vec![if purge { "purge" } else { "remove" }];
        arguments.extend(names.iter().map(String::as_str));
        self.apt(root, &arguments, None).check(&mut |stream, line| progress(step, stream, line))?;
        Ok(())
    }

    fn apt(&self, root: &Path, arguments: &[&str], archives: Option<&Path>) -> BoxCommand {
        let mut command = self.apt.command(root, arguments);
        command.env.push(("SOURCE_DATE_EPOCH".into(), self.epoch.to_string()));
        command.binds.push(Bind { source: self.index.clone(), target: CACHE.into(), writable: false });
        command.binds.push(Bind { source: self.lists.clone(), target: "/var/lib/apt/lists".into(), writable: false });
        if let Some(archives) = archives {
            command.binds.push(Bind {
                source: archives.to_owned(),
                target: "/var/cache/apt/archives".into(),
                writable: false,
            });
        }
        command
    }

    /// Brings every package into the cache, checked by its digest in the signed lists.
    fn download(&self, downloads: &[Download], step: &Step) -> Result<()> {
        let missing: Vec<&Download> = downloads.iter().filter(|download| !self.cached(download)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if self.fetching.offline {
            return Err(not_in_the_store(missing.iter().map(|download| download.file.as_str())).into());
        }
        let digests = self.digests(&missing)?;
        step.note(&format!("downloading {} packages", missing.len()));
        let partial = self.cache.join("partial");
        for download in missing {
            let digest = digests
                .get(&download.file)
                .with_context(|| Failure::build(format!("the package lists hold no digest of `{}`", download.file)))?;
            let target = partial.join(&download.file);
            // apt's own downloader knows the host's proxies and credentials; it checks the digest.
            let helper = Tool::new("/usr/lib/apt/apt-helper")
                .args(self.fetching.apt_options().iter().map(|(name, value)| format!("-o{name}={value}")))
                .args(["-oAPT::Sandbox::User=root", "download-file", &download.uri])
                .arg(&target)
                .arg(format!("SHA256:{digest}"));
            run_patiently(&helper, self.fetching.pauses()).with_context(|| {
                Failure::build(format!("cannot download `{}`", download.file))
                    .hint("if the archive has dropped this version, renew the base layer: piimg build --refresh")
            })?;
            fs::rename(&target, self.cache.join(&download.file))
                .with_context(|| format!("cannot keep `{}`", download.file))?;
        }
        Ok(())
    }

    fn cached(&self, download: &Download) -> bool {
        fs::metadata(self.cache.join(&download.file)).is_ok_and(|metadata| metadata.len() == download.size)
    }

    /// Digests by file name, from the `Packages` lists.
    fn digests(&self, downloads: &[&Download]) -> Result<BTreeMap<String, String>> {
        let wanted: BTreeSet<&str> = downloads.iter().map(|download| download.file.as_str()).collect();
        let mut digests = BTreeMap::new();
        for text in package_lists(&self.lists)? {
            for stanza in text?.split("\n\n") {
                let Some(file) = archive_name(stanza) else { continue };
                let (true, Some(digest)) = (wanted.contains(file.as_str()), field(stanza, "SHA256")) else { continue };
                digests.insert(file, digest.to_owned());
            }
        }
        Ok(digests)
    }

    /// A directory with just these packages, for one apt run: the cache itself is never shown to a command.
    fn offer(&self, downloads: &[Download], stage: &Path) -> Result<PathBuf> {
        let archives = stage.join("archives");
        crate::store::remove_tree(&archives)?;
        let partial = archives.join("partial");
        fs::create_dir_all(&partial).context("cannot prepare packages")?;
        // apt wants this mode and could not set it on a read-only mount.
        fs::set_permissions(&partial, fs::Permissions::from_mode(0o700)).context("cannot prepare packages")?;
        for download in downloads {
            fs::hard_link(self.cache.join(&download.file), archives.join(&download.file))
                .with_context(|| format!("cannot prepare `{}`", download.file))?;
        }
        Ok(archives)
    }
}

/// Runs apt's downloader, once more after each pause if the server says that it is busy: that is no reason to apt.
fn run_patiently(helper: &Tool, pauses: impl Iterator<Item = Duration>) -> Result<()> {
    for pause in pauses {
        let output = helper.output()?;
        if output.status == 0 {
            return Ok(());
        }
        if !is_busy(&output.tail()) {
            break;
        }
        std::thread::sleep(pause);
    }
    helper.run().map(drop)
}

/// Whether apt was answered with a status that says to come back later.
fn is_busy(said: &str) -> bool {
    let statuses = ["429", "500", "502", "503", "504"];
    statuses.iter().any(|status| said.contains(&format!("  {status}  ")))
}

/// Shows what dpkg is doing.
fn progress(step: &Step, stream: Stream, line: &str) {
    if stream == Stream::Stdout && (line.starts_with("Unpacking ") || line.starts_with("Setting up ")) {
        step.note(line.trim_end_matches(" ..."));
    }
    step.detail(&format!("apt | {line}"));
}

/// Lines `'URI' FILE SIZE DIGEST`; anything else apt prints is skipped.
fn parse_uris(text: &str) -> Result<Vec<Download>> {
    text.lines()
        .filter_map(|line| line.strip_prefix('\''))
        .map(|line| {
            let parsed = line.split_once("' ").and_then(|(uri, rest)| {
                let mut words = rest.split(' ');
                let file = words.next().filter(|file| !file.contains('/') && !file.is_empty())?;
                Some(Download { uri: uri.to_owned(), file: file.to_owned(), size: words.next()?.parse().ok()? })
            });
            parsed.with_context(|| {
                Failure::build(format!("apt printed an unexpected line: `{}`", crate::ui::printable(line)))
            })
        })
        .collect()
}

/// The value of `name` in a stanza of a control file.
fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// The file name apt keeps the package of `stanza` under: the colon of an epoch is escaped.
fn archive_name(stanza: &str) -> Option<String> {
    let version = field(stanza, "Version")?.replace(':', "%3a");
    Some(format!("{}_{version}_{}.deb", field(stanza, "Package")?, field(stanza, "Architecture")?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uris_are_parsed_and_strange_ones_refused() {
        let text =
            "Reading package lists...\n'http://m/pool/h/htop_3%2b1_arm64.deb' htop_3+1_arm64.deb 1234 MD5Sum:aa\n";
        let download = Download {
            uri: "http://m/pool/h/htop_3%2b1_arm64.deb".into(),
            file: "htop_3+1_arm64.deb".into(),
            size: 1234,
        };
        assert_eq!(parse_uris(text).unwrap(), [download]);
        for bad in ["'http://m/x' ../x.deb 1 SHA256:a", "'http://m/x' x.deb many SHA256:a", "'http://m/x"] {
            let error = parse_uris(bad).unwrap_err().to_string();
            assert!(error.starts_with("apt printed an unexpected line"), "{error}");
        }
    }

    #[test]
    fn packages_are_named_as_apt_names_them() {
        let stanza = "Package: vim\nVersion: 2:9.0-1+b1\nArchitecture: arm64\nSHA256: aa";
        assert_eq!(archive_name(stanza).unwrap(), "vim_2%3a9.0-1+b1_arm64.deb");
    }

    #[test]
    fn a_server_that_is_busy_is_known_by_its_status() {
        assert!(is_busy("E: Failed to fetch http://h/x.deb  503  Service Unavailable [IP: 127.0.0.1 80]"));
        for other in ["E: Failed to fetch http://h/503/x.deb  404  Not Found", "E: 500 files", ""] {
            assert!(!is_busy(other), "{other}");
        }
    }
}
