//! What apt fetched of an archive: the signed files, and the lists of packages.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::{Package, field};
use crate::error::{Context, Failure, Result};

/// The SHA-256 of the files of `wanted`, in hexadecimal, as far as the lists of the archive hold them.
///
/// # Errors
/// If a list cannot be read.
pub fn digests<'a>(lists: &Path, wanted: impl Iterator<Item = &'a Package>) -> Result<BTreeMap<Package, String>> {
    let wanted: BTreeSet<&Package> = wanted.collect();
    let mut digests = BTreeMap::new();
    for text in package_lists(lists)? {
        for stanza in text?.split("\n\n") {
            let value = |name| field(stanza, name).map(str::to_owned);
            let (Some(name), Some(version), Some(architecture), Some(digest)) =
                (value("Package"), value("Version"), value("Architecture"), value("SHA256"))
            else {
                continue;
            };
            let package = Package { name, version, architecture };
            if wanted.contains(&package) {
                digests.insert(package, digest);
            }
        }
    }
    Ok(digests)
}

/// The texts of the `Packages` lists.
pub(super) fn package_lists(lists: &Path) -> Result<impl Iterator<Item = Result<String>>> {
    let failed = "cannot read the package lists";
    let entries: Vec<PathBuf> =
        fs::read_dir(lists).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect()).context(failed)?;
    let lists = entries.into_iter().filter(|path| path.to_string_lossy().ends_with("_Packages"));
    Ok(lists.map(|path| fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))))
}

/// One digest for the state of the archive: that of the signed files in `lists`.
///
/// # Errors
/// If a list cannot be read.
pub fn archive_state(lists: &Path) -> Result<String> {
    let mut files: Vec<PathBuf> = fs::read_dir(lists)
        .context("cannot read the package lists")?
        .filter_map(|entry| Some(entry.ok()?.path()))
        .filter(|path| path.to_string_lossy().ends_with("Release"))
        .collect();
    files.sort();
    let mut hash = Sha256::new();
    for file in files {
        hash.update(fs::read(&file).with_context(|| format!("cannot read `{}`", file.display()))?);
    }
    Ok(hex::encode(hash.finalize()))
}

/// The newest `Date` of the archive's signed files: seconds since 1970.
///
/// # Errors
/// If none has one.
pub fn archive_date(lists: &Path) -> Result<u64> {
    let mut newest = None;
    for entry in fs::read_dir(lists).context("cannot read the package lists")? {
        let path = entry.context("cannot read the package lists")?.path();
        if path.to_string_lossy().ends_with("Release") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.display()))?;
            newest = newest.max(field(&text, "Date").and_then(parse_date));
        }
    }
    newest.context(Failure::build("the archive's Release file has no date").hint("set SOURCE_DATE_EPOCH"))
}

/// `Sat, 09 Nov 2024 10:08:56 UTC`, as in RFC 5322 but always in UTC.
fn parse_date(text: &str) -> Option<u64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let mut words = text.split(", ").nth(1)?.split(' ');
    let day: i64 = words.next()?.parse().ok()?;
    let month = words.next()?;
    let month = i64::try_from(MONTHS.iter().position(|name| *name == month)?).ok()? + 1;
    let year: i64 = words.next()?.parse().ok()?;
    let mut time = words.next()?.split(':').map(|part| part.parse::<i64>().ok());
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    // Days since 1970 of a date, counted in years that begin in March so that the leap day comes last.
    let year = if month <= 2 { year - 1 } else { year };
    let days = 365 * year + year / 4 - year / 100 + year / 400 + (153 * ((month + 9) % 12) + 2) / 5 + day - 1 - 719_468;
    u64::try_from(days * 86_400 + hour * 3600 + minute * 60 + second).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_archives_date_is_understood() {
        for (text, seconds) in [
            ("Thu, 01 Jan 1970 00:00:00 UTC", Some(0)),
            ("Sat, 09 Nov 2024 10:08:56 UTC", Some(1_731_146_936)),
            ("Thu, 29 Feb 2024 23:59:59 UTC", Some(1_709_251_199)),
            ("yesterday", None),
        ] {
            assert_eq!(parse_date(text), seconds, "{text}");
        }
    }
}
