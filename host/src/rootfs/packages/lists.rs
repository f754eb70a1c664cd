//! Reads apt's downloads from an archive: the signed files, and the lists of packages
//! (<https://wiki.debian.org/DebianRepository/Format>).
//!
//! apt of the host compared them with the signature before any program of the image ran, and they were laid where none can
//! write. Whatever is said of packages afterwards, by the image's apt above all, is looked up here.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use memchr::memmem;
use serde::{Deserialize, Serialize};

use super::{Package, field};
use crate::error::{Context, Failure, Result};
use crate::recipe::package::{PackageSpec, check_architecture, check_name, check_version};
use crate::ui::{Printable as _, printable};

/// Origin of each list: its file name → the address of its archive, below which its packages' files are.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origins(BTreeMap<String, String>);

impl Origins {
    /// Understands lines of `apt-get indextargets`: kind, file and archive of each list, with spaces between them.
    pub(in crate::rootfs) fn parse(text: &str) -> Self {
        let line = |line: &str| {
            let mut words = line.split(' ');
            let (kind, file, archive) = (words.next()?, words.next()?, words.next()?);
            let name = Path::new(file).file_name()?.to_str()?.to_owned();
            // Otherwise the path could become part of the host's name.
            (kind == "Packages").then(|| (name, format!("{}/", archive.trim_end_matches('/'))))
        };
        Self(text.lines().filter_map(line).collect())
    }

    /// # Errors
    /// If it cannot be written.
    pub(in crate::rootfs) fn keep(&self, path: &Path) -> Result<()> {
        let text = serde_json::to_vec(self).context("cannot describe the archives")?;
        fs::write(path, text).context("cannot keep where the package lists are from")
    }

    /// Returns the archive that a list came from.
    pub(super) fn archive_of(&self, list: &str) -> Option<&str> {
        self.0.get(list).map(String::as_str)
    }

    pub(super) fn read(path: &Path) -> Result<Self> {
        let failed = "cannot read where the package lists are from";
        serde_json::from_slice(&fs::read(path).context(failed)?).context(failed)
    }
}

/// A package's file, as a signed list describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Listed {
    pub(super) package: Package,
    /// Name of the file in apt's output.
    pub(super) file: String,
    pub(super) uri: String,
    pub(super) size: u64,
    /// SHA-256, in hexadecimal.
    pub(super) digest: String,
    /// All that the list says of it.
    pub(super) stanza: String,
    /// The address of the archive, which ends with `/`.
    pub(super) archive: String,
}

/// Finds the `wanted` files in the lists. Several archives may list the same file.
///
/// # Errors
/// If a list cannot be read, or describes one in a way that cannot be used.
pub(super) fn find(lists: &Path, origins: &Path, wanted: &BTreeSet<&str>) -> Result<BTreeMap<String, Vec<Listed>>> {
    let names: BTreeSet<&str> = wanted.iter().filter_map(|file| Some(file.split_once('_')?.0)).collect();
    let origins = Origins::read(origins)?;
    let mut found: BTreeMap<String, Vec<Listed>> = BTreeMap::new();
    for path in package_files(lists)? {
        let list = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        each_stanza(&path, &mut |stanza| {
            if !name_of(stanza).is_some_and(|name| names.contains(name)) {
                return Ok(());
            }
            let Some(file) = archive_name(stanza).filter(|file| wanted.contains(file.as_str())) else { return Ok(()) };
            let archive = origins.0.get(&list);
            let listed = archive.and_then(|archive| listed(stanza, &file, archive)).with_context(|| {
                Failure::build(format!("the list `{}` of the archive describes `{file}` wrongly", printable(&list)))
            })?;
            let all = found.entry(file).or_default();
            if !all.contains(&listed) {
                all.push(listed);
            }
            Ok(())
        })?;
    }
    Ok(found)
}

/// Returns the file that a stanza describes; `None` if something of it is missing or malformed.
fn listed(stanza: &str, file: &str, archive: &str) -> Option<Listed> {
    let digest = field(stanza, "SHA256").filter(|digest| digest.len() == 64)?;
    let digits = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    let place = field(stanza, "Filename")?;
    let stays = place.split('/').all(|part| !part.is_empty() && part != "..") && place.bytes().all(|byte| byte > b' ');
    (digest.bytes().all(digits) && stays).then_some(())?;
    let value = |name| field(stanza, name).map(str::to_owned);
    let (name, version, architecture) = (value("Package")?, value("Version")?, value("Architecture")?);
    Some(Listed {
        package: Package { name, version, architecture },
        file: file.to_owned(),
        uri: format!("{archive}{}", escaped(place)),
        size: field(stanza, "Size")?.parse().ok()?,
        digest: digest.to_owned(),
        stanza: stanza.to_owned(),
        archive: archive.to_owned(),
    })
}

/// Returns a path as an address has it (RFC 3986, section 2.3).
fn escaped(path: &str) -> String {
    path.bytes().fold(String::new(), |mut text, byte| {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(&byte) {
            text.push(byte.into());
        } else {
            text += &format!("%{byte:02x}");
        }
        text
    })
}

/// Returns the file name that apt keeps the package of `stanza` under: the colon of an epoch is escaped. `None` if one
/// of its parts is not what Debian allows.
pub(super) fn archive_name(stanza: &str) -> Option<String> {
    let value = |name, check: fn(&str) -> Result<(), String>| field(stanza, name).filter(|value| check(value).is_ok());
    let (name, version) = (value("Package", check_name)?, value("Version", check_version)?);
    Some(file_name(name, version, value("Architecture", check_architecture)?))
}

/// Returns the file name that apt keeps a package under.
pub fn file_name(name: &str, version: &str, architecture: &str) -> String {
    format!("{name}_{}_{architecture}.deb", version.replace(':', "%3a"))
}

/// Checks that each of `specs` is something that there is, in the lists or installed.
///
/// apt takes a name that it does not know for a regular expression, a task or a wish to remove; one that is there is always
/// that.
///
/// # Errors
/// [`Failure::build`] that names what there is not.
pub(super) fn check_known(lists: &Path, installed: &BTreeSet<&str>, specs: &[PackageSpec]) -> Result<()> {
    let wanted: BTreeSet<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let paths = package_files(lists)?;
    for path in &paths {
        each_stanza(path, &mut |stanza| {
            if let Some(name) = name_of(stanza).filter(|name| wanted.contains(name)) {
                let version = field(stanza, "Version").unwrap_or_default();
                versions.entry(name.to_owned()).or_default().insert(version.to_owned());
            }
            Ok(())
        })?;
    }
    let missing = |spec: &&PackageSpec| !versions.contains_key(&spec.name) && !installed.contains(spec.name.as_str());
    let provided = match specs.iter().any(|spec| missing(&spec)) {
        true => provided(&paths)?,
        false => BTreeSet::new(),
    };
    for spec in specs {
        let name = &spec.name;
        if let Some(version) = &spec.version {
            if !versions.get(name).is_some_and(|known| known.contains(version)) {
                return Err(Failure::build(format!("the archive has no version `{version}` of the package `{name}`"))
                    .hint("archives keep the newest version only: take another one, or a snapshot of the archive")
                    .into());
            }
        } else if missing(&spec) && (name.ends_with('+') || !provided.contains(name)) {
            return Err(Failure::build(format!("the archive has no package `{name}`"))
                .hint("check the name, and whether the mirror has all components of the release")
                .into());
        }
    }
    Ok(())
}

/// Names that stand for packages of other names.
fn provided(paths: &[PathBuf]) -> Result<BTreeSet<String>> {
    let mut names = BTreeSet::new();
    for path in paths {
        each_stanza(path, &mut |stanza| {
            if memmem::find(stanza.as_bytes(), b"\nProvides: ").is_some() {
                let all = field(stanza, "Provides").unwrap_or_default().split(',');
                names.extend(all.map(|name| name.split('(').next().unwrap_or_default().trim().to_owned()));
            }
            Ok(())
        })?;
    }
    Ok(names)
}

pub(super) fn name_of(stanza: &str) -> Option<&str> {
    // This field comes first everywhere, and lists are long.
    match stanza.strip_prefix("Package: ") {
        Some(rest) => rest.split('\n').next(),
        None => field(stanza, "Package"),
    }
}

/// Gives each paragraph of the list at `path` to `see`.
pub(super) fn each_stanza(path: &Path, see: &mut dyn FnMut(&str) -> Result<()>) -> Result<()> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.printable()))?;
    let mut start = 0;
    for end in memmem::find_iter(text.as_bytes(), b"\n\n").chain([text.len()]) {
        see(text[start..end].trim_start_matches('\n'))?;
        start = end;
    }
    Ok(())
}

/// Returns the SHA-256 of the files of `wanted`, in hexadecimal, as far as the lists of the archive hold them.
///
/// # Errors
/// If a list cannot be read.
pub fn digests<'a>(lists: &Path, wanted: impl Iterator<Item = &'a Package>) -> Result<BTreeMap<Package, String>> {
    let wanted: BTreeSet<&Package> = wanted.collect();
    let names: BTreeSet<&str> = wanted.iter().map(|package| package.name.as_str()).collect();
    let mut digests = BTreeMap::new();
    for path in package_files(lists)? {
        each_stanza(&path, &mut |stanza| {
            if !name_of(stanza).is_some_and(|name| names.contains(name)) {
                return Ok(());
            }
            let value = |name| field(stanza, name).map(str::to_owned);
            if let (Some(name), Some(version), Some(architecture), Some(digest)) =
                (value("Package"), value("Version"), value("Architecture"), value("SHA256"))
            {
                let package = Package { name, version, architecture };
                if wanted.contains(&package) {
                    digests.insert(package, digest);
                }
            }
            Ok(())
        })?;
    }
    Ok(digests)
}

/// Returns those of `names` that are real packages, and not only provided by others:
/// <https://www.debian.org/doc/debian-policy/ch-relationships.html#virtual-packages-provides>.
///
/// # Errors
/// If a list cannot be read.
pub fn real(lists: &Path, names: &BTreeSet<&str>) -> Result<BTreeSet<String>> {
    let mut real = BTreeSet::new();
    if names.is_empty() {
        return Ok(real);
    }
    for path in package_files(lists)? {
        each_stanza(&path, &mut |stanza| {
            real.extend(name_of(stanza).filter(|name| names.contains(name)).map(str::to_owned));
            Ok(())
        })?;
    }
    Ok(real)
}

/// Returns the `Packages` lists, in an order that does not change.
pub(super) fn package_files(lists: &Path) -> Result<Vec<PathBuf>> {
    let entries: std::io::Result<Vec<PathBuf>> =
        fs::read_dir(lists).and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect());
    let mut files = entries.context("cannot read the package lists")?;
    files.retain(|path| path.to_string_lossy().ends_with("_Packages"));
    files.sort();
    Ok(files)
}

/// Computes one digest for the state of the archive: that of the signed files in `lists`.
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
        hash.update(fs::read(&file).with_context(|| format!("cannot read `{}`", file.printable()))?);
    }
    Ok(hex::encode(hash.finalize()))
}

/// Returns the newest `Date` of the archive's signed files: seconds since 1970.
///
/// # Errors
/// If none has one.
pub fn archive_date(lists: &Path) -> Result<u64> {
    let mut newest = None;
    for entry in fs::read_dir(lists).context("cannot read the package lists")? {
        let path = entry.context("cannot read the package lists")?.path();
        if path.to_string_lossy().ends_with("Release") {
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read `{}`", path.printable()))?;
            newest = newest.max(field(&text, "Date").and_then(parse_date));
        }
    }
    newest.context(Failure::build("the archive's Release file has no date").hint("set SOURCE_DATE_EPOCH"))
}

/// Parses a date such as `Sat, 09 Nov 2024 10:08:56 UTC`: RFC 5322, but always in UTC
/// (<https://wiki.debian.org/DebianRepository/Format#Date.2C_Valid-Until>).
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

    /// Lists in a directory of their own, and where they are from.
    fn lists(of: &[(&str, &str, &str)]) -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let mut targets = String::new();
        for (name, archive, text) in of {
            fs::write(dir.path().join(format!("{name}_Packages")), text).unwrap();
            targets += &format!("Packages /r/var/lib/apt/lists/{name}_Packages {archive}\n");
        }
        let origins = dir.path().join("origins");
        Origins::parse(&targets).keep(&origins).unwrap();
        (dir, origins)
    }

    fn stanza(name: &str, version: &str, place: &str, digit: &str) -> String {
        format!(
            "Package: {name}\nVersion: {version}\nArchitecture: arm64\nProvides: virt, other (= 1)\n\
             Filename: {place}\nSize: 7\nSHA256: {}\n\n",
            digit.repeat(64)
        )
    }

    #[test]
    fn a_file_is_where_the_signed_list_says() {
        let one = stanza("aa", "2:1+b1", "pool/a/aa_1+b1_arm64.deb", "a") + &stanza("bb", "1", "pool/b.deb", "b");
        let two = stanza("aa", "2:1+b1", "aa.deb", "c");
        let (dir, origins) = lists(&[("one", "http://h/debian/", &one), ("two", "https://i", &two)]);
        let found = find(dir.path(), &origins, &BTreeSet::from(["aa_2%3a1+b1_arm64.deb", "zz_1_arm64.deb"])).unwrap();
        assert_eq!(found.len(), 1);
        let uris: Vec<&str> = found["aa_2%3a1+b1_arm64.deb"].iter().map(|listed| listed.uri.as_str()).collect();
        assert_eq!(uris, ["http://h/debian/pool/a/aa_1%2bb1_arm64.deb", "https://i/aa.deb"]);
    }

    #[test]
    fn a_list_cannot_lead_away_from_its_archive() {
        for (place, digit) in [
            ("../other/x.deb", "a"),
            ("pool/../../x.deb", "a"),
            ("/x.deb", "a"),
            ("pool//x.deb", "a"),
            ("pool/x y.deb", "a"),
            ("pool/x.deb", "A"),
            ("pool/x.deb", "aa"),
        ] {
            let (dir, origins) = lists(&[("one", "http://h", &stanza("aa", "1", place, digit))]);
            let error = find(dir.path(), &origins, &BTreeSet::from(["aa_1_arm64.deb"])).unwrap_err();
            assert_eq!(error.to_string(), "the list `one_Packages` of the archive describes `aa_1_arm64.deb` wrongly");
        }
        // What could change the host or begin a question is a part of the path.
        let (dir, origins) = lists(&[("one", "http://h", &stanza("aa", "1", "@evil.org/x?y#z", "a"))]);
        let found = find(dir.path(), &origins, &BTreeSet::from(["aa_1_arm64.deb"])).unwrap();
        assert_eq!(found["aa_1_arm64.deb"][0].uri, "http://h/%40evil.org/x%3fy%23z");
        // A name is no path.
        let (dir, origins) = lists(&[("one", "http://h", &stanza("../aa", "1", "x.deb", "a"))]);
        assert!(find(dir.path(), &origins, &BTreeSet::from(["../aa_1_arm64.deb"])).unwrap().is_empty());
    }

    #[test]
    fn only_what_there_is_is_named_to_apt() {
        let (dir, _) = lists(&[("one", "http://h", &(stanza("aa", "1-2", "x", "a") + &stanza("g++", "1", "y", "b")))]);
        let known = |spec: &str| {
            let specs = [PackageSpec::parse(spec).unwrap()];
            check_known(dir.path(), &BTreeSet::from(["own"]), &specs).map_err(|error| error.to_string())
        };
        for good in ["aa", "aa=1-2", "aa:arm64", "g++", "virt", "other", "own"] {
            assert_eq!(known(good), Ok(()), "{good}");
        }
        for (bad, said) in [
            ("a.", "no package `a.`"),
            ("aa+", "no package `aa+`"),
            ("virt+", "no package `virt+`"),
            ("aa=1-2+", "no version `1-2+` of the package `aa`"),
            ("aa=1", "no version `1` of the package `aa`"),
            ("own=1", "no version `1` of the package `own`"),
            ("virt=1", "no version `1` of the package `virt`"),
        ] {
            assert!(known(bad).unwrap_err().ends_with(said), "{bad}: {:?}", known(bad));
        }
    }

    #[test]
    fn packages_are_named_as_apt_names_them() {
        let stanza = "Package: vim\nVersion: 2:9.0-1+b1\nArchitecture: arm64\nSHA256: aa";
        assert_eq!(archive_name(stanza).unwrap(), "vim_2%3a9.0-1+b1_arm64.deb");
    }

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
