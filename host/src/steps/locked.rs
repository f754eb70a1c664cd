//! Compares the packages of the image with those of `piimg.lock`.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::base::{LISTS, ORIGINS};
use super::{Build, Layers};
use crate::error::{Context, Failure, Result};
use crate::recipe::locked::{Locked, LockedPackage, Packages, differences};
use crate::recipe::package::PackageSpec;
use crate::recipe::plan::PlannedPlugin;
use crate::rootfs::packages::{self, Package};

/// Differences that an error names; the others are counted.
const NAMED: usize = 20;

/// File with the locked versions for apt, in the private namespace.
const PREFERENCES: &str = "/run/piimg-preferences";

/// Writes what tells apt the versions that are locked, if there are any.
///
/// # Errors
/// If it cannot be written.
pub(super) fn prefer(locked: Option<&Locked>) -> Result<Option<PathBuf>> {
    let Some(locked) = locked else { return Ok(None) };
    fs::write(PREFERENCES, locked.preferences()).context("cannot tell apt the locked versions")?;
    Ok(Some(PREFERENCES.into()))
}

/// Refuses what apt chose, before it is installed, if something of it is locked as something else.
///
/// # Errors
/// [`Failure::build`] that names what differs.
pub(super) fn refuse(build: &Build<'_>, chosen: &Packages) -> Result<()> {
    build.plan.locked.as_ref().map_or(Ok(()), |locked| check(locked.refuses(chosen)))
}

/// Returns the part of the lock that the archives must have.
pub(super) fn of_archives(build: &Build<'_>) -> Option<Locked> {
    build.plan.locked.as_ref().map(|locked| locked.without(&build.plan.local_packages))
}

/// Adds to the fresh lists in the directory `beside` what is locked, is not in them and is in the store. Returns what that was.
///
/// # Errors
/// [`Failure::build`] that names all of the lock that neither the archive nor the store has, before anything is installed.
pub(super) fn complete(build: &Build<'_>, beside: &Path) -> Result<packages::Several> {
    let Some(locked) = &of_archives(build) else { return Ok(packages::Several::new()) };
    let (lists, origins) = (beside.join(LISTS), beside.join(ORIGINS));
    let completed = packages::complete(&lists, &origins, &build.store.archives(), locked)?;
    check(completed.missing)?;
    Ok(completed.added)
}

/// Refuses what the recipe and plugins list, and what these are built with, if nothing of that name is locked: whatever comes
/// of it could not be what is locked. A name that other packages provide is not looked at.
///
/// # Errors
/// [`Failure::build`] that names it.
pub(super) fn check_named(build: &Build<'_>, lists: &Path) -> Result<()> {
    let (plan, Some(locked)) = (build.plan, &build.plan.locked) else { return Ok(()) };
    let of_plugins = |names: fn(&PlannedPlugin) -> &Vec<String>| plan.plugins.iter().flat_map(names);
    let image = plan.packages.iter().chain(of_plugins(|plugin| &plugin.packages)).map(|spec| (spec, ""));
    let tools = of_plugins(|plugin| &plugin.build_packages).map(|spec| (spec, " (a plugin is built with it)"));
    let name = |spec: &str| PackageSpec::parse(spec).map(|spec| spec.name).unwrap_or_default();
    let unlocked: BTreeMap<String, &str> =
        image.chain(tools).map(|(spec, why)| (name(spec), why)).filter(|(name, _)| !locked.names(name)).collect();
    let real = packages::real(lists, &unlocked.keys().map(String::as_str).collect())?;
    let told = |(name, why): (&String, &&str)| format!("{name} is not in the lock{why}");
    check(unlocked.iter().filter(|(name, _)| real.contains(*name)).map(told).collect())
}

/// Returns whether the lists of a base layer, of which `chosen` is installed, have all else that is locked.
///
/// # Errors
/// If a list cannot be read.
pub(super) fn have(lists: &Path, locked: &Locked, chosen: &Packages) -> Result<bool> {
    let wanted: Vec<(Package, &LockedPackage)> =
        locked.beside(chosen).map(|(name, locked)| (named(name, locked), locked)).collect();
    if wanted.is_empty() {
        return Ok(true);
    }
    let digests = packages::digests(lists, wanted.iter().map(|(package, _)| package))?;
    let is_there = |(package, locked): &(Package, &LockedPackage)| {
        digests.get(package).is_some_and(|digest| locked.digest == format!("sha256:{digest}"))
    };
    Ok(wanted.iter().all(is_there))
}

fn named(name: &str, locked: &LockedPackage) -> Package {
    let (name, architecture) = name.split_once(':').unwrap_or((name, ""));
    Package { name: name.to_owned(), version: locked.version.clone(), architecture: architecture.to_owned() }
}

/// Compares what the layers installed with the lock, if the build has to keep to it, and writes it to `wanted`, for whoever
/// keeps the lock.
///
/// # Errors
/// [`Failure::build`] that names what differs.
pub(super) fn record_and_check(build: &Build<'_>, layers: &Layers, wanted: Option<File>) -> Result<()> {
    let locked = build.plan.locked.as_ref();
    if locked.is_none() && wanted.is_none() {
        return Ok(());
    }
    let digests = packages::digests(&layers.archive.lists, layers.packages.installed())?;
    let found = Locked { image: of_archive(layers.packages.installed(), &digests), build: layers.built_with.clone() };
    if let Some(locked) = locked {
        let build = differences(&locked.build, &found.build).into_iter();
        let build = build.map(|difference| format!("{difference} (a plugin is built with it)"));
        check(differences(&locked.image, &found.image).into_iter().chain(build).collect())?;
    }
    let Some(mut file) = wanted else { return Ok(()) };
    let text = serde_json::to_vec(&found).context("cannot describe the packages")?;
    file.write_all(&text).context("cannot hand on the packages")
}

/// Returns the packages that came from the archive, with the digests in its lists, by name, version and architecture.
fn of_archive<'a>(installed: impl IntoIterator<Item = &'a Package>, digests: &BTreeMap<Package, String>) -> Packages {
    let known = |package: &'a Package| digests.get(package).map(|digest| (package, digest));
    installed
        .into_iter()
        .filter_map(known)
        .map(|(package, digest)| {
            let locked = LockedPackage { version: package.version.clone(), digest: format!("sha256:{digest}") };
            (format!("{}:{}", package.name, package.architecture), locked)
        })
        .collect()
}

fn check(mut differing: Vec<String>) -> Result<()> {
    if differing.is_empty() {
        return Ok(());
    }
    let verb = if differing.len() == 1 { "differs" } else { "differ" };
    let title = format!("{} {verb} from the lock file:", crate::ui::count(differing.len(), "package"));
    if differing.len() > NAMED {
        let rest = differing.len() - NAMED;
        differing.truncate(NAMED);
        differing.push(format!("and {rest} more"));
    }
    Err(Failure::build(format!("{title}\n  - {}", differing.join("\n  - ")))
        .hint("take the archive's present packages into the lock: piimg build --update-lock")
        .hint("or build from the state of the archive that was locked: --snapshot")
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_come_from_the_archive_is_not_locked() {
        let package = |name: &str| Package { name: name.into(), version: "1".into(), architecture: "all".into() };
        let digests = BTreeMap::from([(package("aa"), "a".repeat(64))]);
        let found = of_archive(&[package("aa"), package("own")], &digests);
        let locked = LockedPackage { version: "1".into(), digest: format!("sha256:{}", "a".repeat(64)) };
        assert_eq!(found, Packages::from([("aa:all".to_owned(), locked)]));
    }

    #[test]
    fn many_differences_are_counted() {
        let packages = |count: usize| -> Packages {
            let package = LockedPackage { version: "1".into(), digest: format!("sha256:{}", "a".repeat(64)) };
            (0..count).map(|number| (format!("p{number:03}:all"), package.clone())).collect()
        };
        check(differences(&packages(3), &packages(3))).unwrap();
        let error = check(differences(&packages(3), &packages(2))).unwrap_err().to_string();
        assert_eq!(error, "1 package differs from the lock file:\n  - p002:all 1 is locked, and was not installed");
        let error = check(differences(&packages(0), &packages(30))).unwrap_err().to_string();
        assert!(error.contains("\n  - p019:all 1 is not in the lock\n  - and 10 more"), "{error}");
    }
}
