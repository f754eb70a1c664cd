//! Packages of a layer: apt resolves inside the box, piimg downloads outside of it into one shared cache, dpkg
//! installs inside the box without network.
//!
//! apt in the box is a program of the image. It says names of packages, and nothing else of what it says is used: where
//! their files are and what is in them is looked up in the signed lists.
//!
//! What apt chooses for a wish is asked first ([`Archive::choose`]), and what was chosen is installed
//! ([`Archive::install`]): a choice names the layer that is made of it.

mod cache;
mod database;
mod lists;
mod locked;
mod package_file;
mod progress;

#[cfg(test)]
pub(crate) use locked::sample;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::recipe::fetching::Fetching;
use crate::recipe::locked::{LockedPackage, Packages};
use crate::recipe::package::{PackageSpec, field};
use crate::rootfs::files::Rootfs;
use crate::sandbox::command::{Bind, BoxCommand};
use crate::ui::{Step, printable};
use cache::Cache;
use database::check_removable;
pub use database::{check, installed};
pub use lists::file_name;
use lists::{Listed, check_known, find};
pub use lists::{Origins, archive_date, archive_state, digests, real};
pub use locked::{Several, add_local, complete};
pub use package_file::control;
pub(super) use progress::Progress;

/// Options of every apt run in a box.
const APT: [&str; 13] = [
    // A name that apt does not know is no regular expression.
    "-oAPT::Cmd::Pattern-Only=true",
    // No other process uses the archives directory, which is read-only.
    "-oDebug::NoLocking=true",
    // This cache also depends on what is installed; the other one does not.
    "-oDir::Cache::pkgcache=",
    "-oDpkg::Use-Pty=false",
    "-oAPT::Sandbox::User=root",
    "-oAcquire::Languages=none",
    "-oDpkg::Options::=--force-confold",
    "-oDpkg::Options::=--force-confdef",
    // Nobody is there to answer.
    "-oAPT::Get::Assume-Yes=true",
    // A version that is named, or locked, may be older than what is installed.
    "-oAPT::Get::allow-downgrades=true",
    // History and terminal logs hold times and change with every build.
    "-oDir::Log::History=",
    "-oDir::Log::Terminal=",
    "-oDir::Log::Planner=",
];

/// Refuses names of packages, or versions, that the lists of the archives do not have.
///
/// # Errors
/// [`Failure::build`] that names what there is not.
pub fn check_listed(lists: &Path, names: &[String]) -> Result<()> {
    let parse = |name: &String| {
        PackageSpec::parse(name).map_err(|rule| Failure::build(format!("`{}` {rule}", printable(name))))
    };
    let specs = names.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    check_known(lists, &BTreeSet::new(), &specs)
}

/// A package in the image.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Package {
    pub name: String,
    pub version: String,
    pub architecture: String,
}

/// A source of packages.
#[derive(Clone, Debug)]
pub struct Archive {
    /// apt's lists as the base layer saw them, so that all layers are of one state of the archive.
    pub lists: PathBuf,
    /// Origin of each list: [`Origins`].
    pub origins: PathBuf,
    /// Index of the lists, made by [`index`].
    pub index: PathBuf,
    /// The shared cache of downloaded packages.
    pub cache: PathBuf,
    pub apt: Apt,
    pub fetching: Fetching,
    /// Seconds since 1970 that what packages make, such as an initramfs, has for the time.
    pub epoch: u64,
}

/// The apt-get that runs in the box.
#[derive(Clone, Debug)]
pub struct Apt {
    /// Path in the image at which the build may have laid a native apt-get; otherwise the image's own is used.
    pub native: &'static str,
    /// The image's, which a native apt-get must be told.
    pub architecture: String,
    /// The file of the versions that it prefers, if any are locked.
    pub preferences: Option<PathBuf>,
    /// Sources that the lists are from, where they are not the image's own.
    pub sources: Option<PathBuf>,
    /// Environment of maintainer scripts.
    pub environment: BTreeMap<String, String>,
}

impl Apt {
    fn command(&self, root: &Path, arguments: &[&str]) -> BoxCommand {
        let architecture = format!("-oAPT::Architecture={}", self.architecture);
        let is_there = fs::symlink_metadata(root.join(self.native.trim_start_matches('/'))).is_ok();
        let program = if is_there { self.native } else { "apt-get" };
        let preferences = if self.preferences.is_some() { PREFER } else { &[] };
        // apt has no file of sources then.
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

    /// Shows the command what [`index`] made, and the preferences of this build: the index serves builds with others too.
    fn show(&self, command: &mut BoxCommand, index: &Path, writable: bool) {
        command.binds.push(Bind { source: index.to_owned(), target: CACHE.into(), writable });
        command.binds.extend(self.preferences.iter().map(|preferences| Bind {
            source: preferences.clone(),
            target: PREFERENCES.into(),
            writable: false,
        }));
    }
}

/// Directory of apt's index and of the packages that it installs.
const CACHE: &str = "/var/cache/apt";

/// File of preferences. [`index`] makes an empty file, over which the real one is mounted.
const PREFERENCES: &str = "/var/cache/apt/preferences";
const PREFER: &[&str] = &["-oDir::Etc::Preferences=/var/cache/apt/preferences"];

/// Directory of apt's downloaded lists.
const LISTS: &str = "/var/lib/apt/lists";

/// Has apt in the rootfs at `root` read `lists` and keep what it understood in the directory `index`: reading them takes
/// longer than installing a package.
///
/// # Errors
/// [`Failure::build`] if the image's apt cannot.
pub fn index(apt: &Apt, root: &Path, lists: &Path, index: &Path) -> Result<()> {
    // Programs of the image may have written to it.
    crate::store::remove_tree(index)?;
    // The directory is mounted over the image's own while apt runs, archives included.
    fs::create_dir_all(index.join("archives/partial")).context("cannot keep apt's index")?;
    fs::write(index.join("preferences"), "").context("cannot keep apt's index")?;
    let mut command = apt.command(root, &["check"]);
    apt.show(&mut command, index, true);
    command.binds.push(Bind { source: lists.to_owned(), target: LISTS.into(), writable: false });
    command.check(&mut |_, _| {}).map(drop)
}

/// A file that `apt-get --print-uris` names in one line. The address in it is ignored.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Named {
    file: String,
    size: u64,
}

/// Packages that apt of the host chose for a bootstrap, before any program of the image ran.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Files of the packages that must be there for dpkg and apt to run, in the order in which dpkg takes them.
    system: Vec<String>,
    /// All packages, with those of `system`.
    all: Vec<Named>,
}

impl Resolved {
    /// Understands what `apt-get --simulate` and `apt-get --print-uris` print.
    ///
    /// # Errors
    /// [`Failure::build`] if it is something else.
    pub(super) fn parse(simulated: &str, uris: &str) -> Result<Self> {
        let installs = simulated.lines().filter_map(|line| line.strip_prefix("Inst "));
        Ok(Self { system: installs.map(parse_install).collect::<Result<_>>()?, all: parse_uris(uris)? })
    }
}

impl Archive {
    /// Asks apt which packages it would take from the archives to install `specs` (names, each optionally `=version`) into
    /// the rootfs mounted at `root`.
    ///
    /// # Errors
    /// [`Failure::build`] if there is no such package, or if apt cannot have them together.
    pub fn choose(&self, root: &Path, specs: &[String], recommends: bool) -> Result<Packages> {
        self.check_known(&installed(&Rootfs::open(root, 0)?)?, specs)?;
        let recommends = with_recommends(recommends);
        let print = install_arguments("--print-uris", &recommends, specs);
        let output = self.apt(root, &print, None).check(&mut |_, _| {})?;
        let named = parse_uris(&String::from_utf8_lossy(&output.stdout))?;
        Ok(as_chosen(&self.look_up(&named)?))
    }

    /// Returns the packages that a bootstrap takes from the archives.
    ///
    /// # Errors
    /// [`Failure::build`] if apt named something that the signed lists do not have.
    pub fn chosen(&self, resolved: &Resolved) -> Result<Packages> {
        Ok(as_chosen(&self.look_up(&resolved.all)?))
    }

    /// Downloads what was chosen, as far as the store lacks it, through the directory `place`.
    ///
    /// # Errors
    /// [`Failure::build`] if a package cannot be fetched, or must not be as the build is offline.
    pub fn fetch(&self, chosen: &Packages, place: &Path, step: &Step) -> Result<()> {
        self.cache(step).fill(&self.find_chosen(chosen)?.iter().collect::<Vec<_>>(), place)
    }

    /// Installs `specs` into the rootfs mounted at `root`, with the packages that were chosen for them.
    ///
    /// Returns what is new or changed.
    ///
    /// # Errors
    /// [`Failure::build`] if apt cannot download or install them.
    pub fn install(
        &self,
        root: &Path,
        stage: &Path,
        specs: &[String],
        recommends: bool,
        chosen: &Packages,
        step: &Step,
    ) -> Result<Vec<Package>> {
        let rootfs = Rootfs::open(root, 0)?;
        let before = installed(&rootfs)?;
        let archives = stage.join("archives");
        self.cache(step).lay(&self.find_chosen(chosen)?.iter().collect::<Vec<_>>(), &archives)?;
        let recommends = with_recommends(recommends);
        let install = install_arguments("--no-download", &recommends, specs);
        let mut progress = Progress::new(step, chosen.len());
        self.apt(root, &install, Some(&archives)).check(&mut |stream, line| progress.line(stream, line))?;
        drop(progress);
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
        let rootfs = Rootfs::open(root, 0)?;
        self.check_known(&installed(&rootfs)?, names)?;
        check_removable(&rootfs, names)?;
        let mut arguments = vec![if purge { "purge" } else { "remove" }, "--"];
        arguments.extend(names.iter().map(String::as_str));
        let mut progress = Progress::new(step, 0);
        let removed = self.apt(root, &arguments, None).check(&mut |stream, line| progress.line(stream, line));
        let refused = || Failure::build(format!("cannot remove {}: apt refuses", names.join(", ")));
        removed.map(drop).with_context(|| refused().hint("something that no system works without may need it"))
    }

    fn apt(&self, root: &Path, arguments: &[&str], archives: Option<&Path>) -> BoxCommand {
        let mut command = self.apt.command(root, arguments);
        command.env.push(("SOURCE_DATE_EPOCH".into(), self.epoch.to_string()));
        self.apt.show(&mut command, &self.index, false);
        command.binds.push(Bind { source: self.lists.clone(), target: LISTS.into(), writable: false });
        command.binds.extend(archives.map(offered));
        command
    }

    /// Returns the files of the packages that a bootstrap begins with, in their order, in the new directory `place`;
    /// all others are fetched too.
    ///
    /// # Errors
    /// [`Failure::build`] if one cannot be fetched.
    pub(super) fn lay_system(&self, resolved: &Resolved, place: &Path, step: &Step) -> Result<Vec<String>> {
        let all = self.look_up(&resolved.all)?;
        self.cache(step).fill(&all.iter().collect::<Vec<_>>(), place)?;
        let find = |file: &String| {
            let listed = all.iter().find(|listed| listed.file == *file);
            listed.with_context(|| Failure::bug(format!("apt would install `{file}`, and not fetch it")))
        };
        let system: Vec<&Listed> = resolved.system.iter().map(find).collect::<Result<_>>()?;
        self.cache(step).lay(&system, place)?;
        Ok(resolved.system.clone())
    }

    /// Returns the files of the packages that were chosen.
    fn find_chosen(&self, chosen: &Packages) -> Result<Vec<Listed>> {
        let file = |name: &str, version: &str| {
            let (name, architecture) = name.split_once(':').unwrap_or((name, ""));
            file_name(name, version, architecture)
        };
        let files: Vec<(String, &String)> =
            chosen.iter().map(|(name, package)| (file(name, &package.version), &package.digest)).collect();
        if files.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = find(&self.lists, &self.origins, &files.iter().map(|(file, _)| file.as_str()).collect())?;
        let listed = |(file, digest): &(String, &String)| {
            let all = found.remove(file).unwrap_or_default();
            all.into_iter()
                .find(|listed| as_locked(listed).digest == **digest)
                .with_context(|| Failure::bug(format!("`{file}` was chosen, and is not in the lists")))
        };
        files.iter().map(listed).collect()
    }

    fn cache<'a>(&'a self, step: &'a Step) -> Cache<'a> {
        Cache { directory: &self.cache, fetching: &self.fetching, step }
    }

    /// Looks the files up in the signed lists.
    fn look_up(&self, named: &[Named]) -> Result<Vec<Listed>> {
        if named.is_empty() {
            return Ok(Vec::new());
        }
        let mut found = find(&self.lists, &self.origins, &named.iter().map(|one| one.file.as_str()).collect())?;
        let mut seen = BTreeSet::new();
        let files = named.iter().filter(|one| seen.insert(&one.file));
        let listed = |one: &Named| {
            // The same version may be in two archives with other content; the length says which one apt means.
            let all = found.remove(&one.file).unwrap_or_default();
            all.into_iter().find(|listed| listed.size == one.size).with_context(|| {
                Failure::build(format!(
                    "the image's apt wants `{}`, which is not in the signed lists of the archives",
                    printable(&one.file)
                ))
                .hint("its apt has other sources than the plan, or is not what it seems")
            })
        };
        files.map(listed).collect()
    }

    /// Checks package specifications as [`lists::check_known`] does.
    fn check_known(&self, installed: &BTreeMap<String, Package>, specs: &[String]) -> Result<()> {
        let parse = |spec: &String| {
            PackageSpec::parse(spec)
                .map_err(|rule| Failure::build(format!("cannot ask apt for `{}`: it {rule}", printable(spec))).into())
        };
        let specs: Vec<PackageSpec> = specs.iter().map(parse).collect::<Result<_>>()?;
        check_known(&self.lists, &installed.values().map(|package| package.name.as_str()).collect(), &specs)
    }
}

fn with_recommends(recommends: bool) -> String {
    format!("-oAPT::Install-Recommends={recommends}")
}

fn install_arguments<'a>(how: &'a str, recommends: &'a str, specs: &'a [String]) -> Vec<&'a str> {
    [how, recommends, "install", "--"].into_iter().chain(specs.iter().map(String::as_str)).collect()
}

/// Converts packages to the form of `piimg.lock`.
fn as_chosen(listed: &[Listed]) -> Packages {
    let name = |package: &Package| format!("{}:{}", package.name, package.architecture);
    listed.iter().map(|listed| (name(&listed.package), as_locked(listed))).collect()
}

fn as_locked(listed: &Listed) -> LockedPackage {
    LockedPackage { version: listed.package.version.clone(), digest: format!("sha256:{}", listed.digest) }
}

/// Returns the mount that shows apt and dpkg the packages in `archives`.
pub(super) fn offered(archives: &Path) -> Bind {
    Bind { source: archives.to_owned(), target: ARCHIVES.into(), writable: false }
}

/// Directory at which [`offered`] shows packages.
pub(super) const ARCHIVES: &str = "/var/cache/apt/archives";

/// Lines `'URI' FILE SIZE DIGEST`; anything else apt prints is skipped.
fn parse_uris(text: &str) -> Result<Vec<Named>> {
    text.lines()
        .filter_map(|line| line.strip_prefix('\''))
        .map(|line| {
            let parsed = line.split_once("' ").and_then(|(_, rest)| {
                let mut words = rest.split(' ');
                let file = words.next().filter(|file| !file.contains('/') && !file.is_empty())?;
                Some(Named { file: file.to_owned(), size: words.next()?.parse().ok()? })
            });
            parsed.with_context(|| unexpected(line))
        })
        .collect()
}

/// Parses `NAME [OLD] (VERSION ORIGIN, ORIGIN [ARCHITECTURE]) […]` and returns the name of the file.
fn parse_install(line: &str) -> Result<String> {
    let parsed = line.split_once(" (").and_then(|(name, rest)| {
        let (inside, _) = rest.split_once("])")?;
        let (version, architecture) = (inside.split(' ').next()?, inside.rsplit_once('[')?.1);
        let name = name.split([' ', ':']).next()?;
        Some(file_name(name, version, architecture))
    });
    parsed.with_context(|| unexpected(line))
}

fn unexpected(line: &str) -> Failure {
    Failure::build(format!("apt printed an unexpected line: `{}`", printable(line)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_what_apt_prints_the_address_is_not_looked_at() {
        let text =
            "Reading package lists...\n'http://evil/pool/h/htop_3%2b1_arm64.deb' htop_3+1_arm64.deb 1234 MD5Sum:aa\n";
        assert_eq!(parse_uris(text).unwrap(), [Named { file: "htop_3+1_arm64.deb".into(), size: 1234 }]);
        for bad in ["'http://m/x' ../x.deb 1 SHA256:a", "'http://m/x' x.deb many SHA256:a", "'http://m/x"] {
            let error = parse_uris(bad).unwrap_err().to_string();
            assert!(error.starts_with("apt printed an unexpected line"), "{error}");
        }
    }

    #[test]
    fn the_order_of_a_bootstrap_is_understood() {
        let simulated = "NOTE: This is only a simulation!\n\
            Inst libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [arm64]) []\n\
            Conf libc6 (2.36-9+deb12u14 Debian:12.15/oldstable [arm64])\n\
            Inst libcap2 [1:2.65-1] (1:2.66-4 Debian:12/oldstable, Debian-Security:12/x [arm64]) [dpkg:arm64 ]\n\
            Inst linux-image:arm64 (6.1 Label with spaces:1/x [all])\n";
        let resolved = Resolved::parse(simulated, "'http://h/a.deb' libc6_2_arm64.deb 1 SHA256:a\n").unwrap();
        assert_eq!(
            resolved.system,
            ["libc6_2.36-9+deb12u14_arm64.deb", "libcap2_1%3a2.66-4_arm64.deb", "linux-image_6.1_all.deb"]
        );
        assert_eq!(resolved.all, [Named { file: "libc6_2_arm64.deb".into(), size: 1 }]);
        assert!(Resolved::parse("Inst libc6\n", "").is_err());
    }
}
