//! Reads dpkg's own database: the packages installed in an image.

use std::collections::{BTreeMap, BTreeSet};

use super::{Package, field};
use crate::error::{Context, Failure, Result};
use crate::rootfs::files::{ImagePath, Rootfs};

/// Largest package database that is read; a full desktop's has 10 MB.
const STATUS_LIMIT: u64 = 256 << 20;

/// Packages installed in `rootfs`, by `name:architecture`.
///
/// # Errors
/// If dpkg's status file cannot be read.
pub fn installed(rootfs: &Rootfs) -> Result<BTreeMap<String, Package>> {
    Ok(parse_status(&status(rootfs)?))
}

/// Checks that `wanted` (names, each optionally `=version`) are installed and that no package was left half-way.
///
/// # Errors
/// [`Failure::build`] that names those that are not.
pub fn check(rootfs: &Rootfs, wanted: &[String]) -> Result<()> {
    let broken = broken(&status(rootfs)?, wanted);
    if broken.is_empty() {
        return Ok(());
    }
    Err(Failure::build(format!("packages were not installed as they should be: {}", broken.join(", "))).into())
}

/// Checks that none of the packages `names` is one that no system is without.
///
/// # Errors
/// [`Failure::build`] that names the first that is.
pub(super) fn check_removable(rootfs: &Rootfs, names: &[String]) -> Result<()> {
    essential(&status(rootfs)?, names).map_or(Ok(()), |name| {
        Err(Failure::build(format!("cannot remove `{name}`: it is essential, no system works without it")).into())
    })
}

fn essential(text: &str, names: &[String]) -> Option<String> {
    text.split("\n\n").find_map(|stanza| {
        let name = field(stanza, "Package").filter(|name| names.iter().any(|removed| removed == name))?;
        let is_essential =
            ["Essential", "Protected", "Important"].iter().any(|flag| field(stanza, flag) == Some("yes"));
        let is_there = field(stanza, "Status").is_some_and(|status| status.ends_with(" installed"));
        (is_essential && is_there).then(|| name.to_owned())
    })
}

fn status(rootfs: &Rootfs) -> Result<String> {
    let data = rootfs
        .read(&ImagePath::parse("/var/lib/dpkg/status")?, STATUS_LIMIT)
        .context("cannot read the image's package database")?;
    Ok(String::from_utf8_lossy(&data).into_owned())
}

fn broken(text: &str, wanted: &[String]) -> Vec<String> {
    let mut found = BTreeSet::new();
    let mut broken = Vec::new();
    for stanza in text.split("\n\n") {
        let (Some(name), Some(status)) = (field(stanza, "Package"), field(stanza, "Status")) else { continue };
        match status.rsplit(' ').next() {
            Some("installed") => {
                let provided = field(stanza, "Provides").unwrap_or_default().split(',');
                found.extend(provided.map(|name| name.split('(').next().unwrap_or_default().trim()));
                found.insert(name);
            }
            Some("config-files" | "not-installed") => {}
            _ => broken.push(format!("{name} ({status})")),
        }
    }
    for spec in wanted {
        let name = spec.split(['=', ':', '/']).next().unwrap_or_default();
        if !found.contains(name) {
            broken.push(format!("{name} (missing)"));
        }
    }
    broken
}

fn parse_status(text: &str) -> BTreeMap<String, Package> {
    text.split("\n\n")
        .filter(|stanza| field(stanza, "Status").is_some_and(|status| status.ends_with(" installed")))
        .filter_map(|stanza| {
            let package = Package {
                name: field(stanza, "Package")?.to_owned(),
                version: field(stanza, "Version")?.to_owned(),
                architecture: field(stanza, "Architecture")?.to_owned(),
            };
            Some((format!("{}:{}", package.name, package.architecture), package))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_that_are_missing_or_half_installed_are_named() {
        let text = "Package: a\nStatus: install ok installed\nProvides: virtual (= 1), other\n\n\
                    Package: b\nStatus: install ok half-configured\n\n\
                    Package: c\nStatus: deinstall ok config-files\n";
        let wanted = ["a=1", "a:arm64", "virtual", "other", "c"].map(str::to_owned);
        assert_eq!(broken(text, &wanted), ["b (install ok half-configured)", "c (missing)"]);
    }

    #[test]
    fn an_essential_package_is_known() {
        let text = "Package: a\nEssential: yes\nStatus: install ok installed\n\n\
                    Package: b\nStatus: install ok installed\nProtected: yes\n\n\
                    Package: c\nStatus: install ok installed\nEssential: no\n\n\
                    Package: d\nStatus: deinstall ok config-files\nEssential: yes\n";
        for (name, expected) in [("a", true), ("b", true), ("c", false), ("d", false), ("e", false)] {
            assert_eq!(essential(text, &["z".into(), name.into()]).is_some(), expected, "{name}");
        }
    }

    #[test]
    fn only_installed_packages_count() {
        let text = "Package: a\nStatus: install ok installed\nArchitecture: arm64\nVersion: 1\n\n\
                    Package: b\nStatus: deinstall ok config-files\nArchitecture: all\nVersion: 2\n";
        let packages = parse_status(text);
        assert_eq!(packages.keys().collect::<Vec<_>>(), ["a:arm64"]);
        assert_eq!(packages["a:arm64"].version, "1");
    }
}
