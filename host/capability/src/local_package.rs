//! Describes packages that come as files beside the recipe, in place of an archive. Pure.

use serde::{Deserialize, Serialize};

use super::locked::LockedPackage;
use super::package::{PackageSpec, check_architecture, check_name, check_version};
use piimg_sandbox::text::printable;

/// Fields that a list says of a file, in lowercase, and those that are written first: whatever a control file says of them, it is
/// not taken over.
const OF_LISTS: [&str; 10] =
    ["package", "version", "architecture", "filename", "size", "md5sum", "sha1", "sha256", "sha512", "status"];

/// A package in a file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LocalPackage {
    pub name: String,
    pub version: String,
    pub architecture: String,
    /// SHA-256 of the file, in hexadecimal.
    pub digest: String,
    /// Its entry in a list of packages.
    pub stanza: String,
    /// Path of the file, for messages.
    pub shown: String,
}

impl LocalPackage {
    /// Understands a control file (<https://www.debian.org/doc/debian-policy/ch-controlfields.html>) of a package's file, of which
    /// the digest and the length are known.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn parse(control: &str, digest: &str, size: u64, shown: &str) -> Result<Self, String> {
        let fields = fields(control)?;
        let value = |name: &str, check: fn(&str) -> Result<(), String>| {
            let mut found = fields.iter().filter(|(field, _)| field.eq_ignore_ascii_case(name));
            let (Some((_, value)), None) = (found.next(), found.next()) else {
                return Err(format!("its control file must have the field `{name}` once"));
            };
            check(value).map_err(|rule| format!("its field `{name}`, `{}`, {rule}", printable(value)))?;
            Ok(value.clone())
        };
        let name = value("Package", check_name)?;
        let version = value("Version", check_version)?;
        let architecture = value("Architecture", check_architecture)?;
        // No archive has such a file: it is in the store before anybody asks for it.
        let place = format!("piimg-local/{digest}.deb");
        let rest = fields.iter().filter(|(field, _)| !OF_LISTS.contains(&field.to_ascii_lowercase().as_str()));
        let rest: String = rest.map(|(field, value)| format!("{field}: {value}\n")).collect();
        let stanza = format!(
            "Package: {name}\nVersion: {version}\nArchitecture: {architecture}\n{rest}Filename: {place}\nSize: {size}\n\
             SHA256: {digest}"
        );
        Ok(Self { name, version, architecture, digest: digest.to_owned(), stanza, shown: shown.to_owned() })
    }

    /// Returns the name by which it is locked.
    pub fn id(&self) -> String {
        format!("{}:{}", self.name, self.architecture)
    }

    /// Returns its entry of a lock.
    pub fn locked(&self) -> LockedPackage {
        LockedPackage { version: self.version.clone(), digest: format!("sha256:{}", self.digest) }
    }

    /// Returns what names just this package to apt, in an image for `architecture`.
    pub fn spec(&self, architecture: &str) -> PackageSpec {
        let is_usual = self.architecture == "all" || self.architecture == architecture;
        PackageSpec {
            name: self.name.clone(),
            architecture: (!is_usual).then(|| self.architecture.clone()),
            version: Some(self.version.clone()),
        }
    }
}

/// Returns the fields of a control file, each with its further lines.
fn fields(control: &str) -> Result<Vec<(&str, String)>, String> {
    let mut fields: Vec<(&str, String)> = Vec::new();
    for line in control.trim_end().lines() {
        let wrong = |what: &str| format!("its control file {what}: `{}`", printable(line));
        if line.chars().any(|c| c.is_control() && c != '\t') {
            return Err(wrong("has control characters"));
        }
        if line.starts_with([' ', '\t']) {
            let (_, value) = fields.last_mut().ok_or_else(|| wrong("begins with a line of no field"))?;
            // An empty line would end the paragraph.
            if line.trim().is_empty() {
                return Err(wrong("has an empty line in a field"));
            }
            value.push('\n');
            value.push_str(line.trim_end());
            continue;
        }
        let (name, value) = line.split_once(':').ok_or_else(|| wrong("has a line of no field"))?;
        if name.is_empty() || name.starts_with(['#', '-']) || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(wrong("has a line of no field"));
        }
        fields.push((name, value.trim().to_owned()));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTROL: &str = "package: app\nVersion: 1:1.0-1\nArchitecture: arm64\nSHA256: aa\nDepends: libc6 (>= 2.36), b\n\
                           Description: an app\n of one line\n .\n and another\n\n";

    fn parse(control: &str) -> Result<LocalPackage, String> {
        LocalPackage::parse(control, &"ab".repeat(32), 7, "./app.deb")
    }

    #[test]
    fn a_control_file_becomes_an_entry_of_a_list() {
        let package = parse(CONTROL).unwrap();
        let digest = "ab".repeat(32);
        let expected = format!(
            "Package: app\nVersion: 1:1.0-1\nArchitecture: arm64\nDepends: libc6 (>= 2.36), b\nDescription: an app\n of one \
             line\n .\n and another\nFilename: piimg-local/{digest}.deb\nSize: 7\nSHA256: {digest}"
        );
        assert_eq!(package.stanza, expected);
        assert_eq!((package.id(), package.locked().digest), ("app:arm64".to_owned(), format!("sha256:{digest}")));
        for (architecture, spec) in [("arm64", "app=1:1.0-1"), ("armhf", "app:arm64=1:1.0-1")] {
            assert_eq!(package.spec(architecture).to_string(), spec);
        }
    }

    #[test]
    fn what_is_no_description_of_one_package_is_refused() {
        for (from, to, cause) in [
            ("package: app\n", "", "must have the field `Package` once"),
            ("package: app\n", "Package: app\nPACKAGE: b\n", "must have the field `Package` once"),
            ("app\n", "App\n", "its field `Package`, `App`, must be a package name"),
            ("app\n", "../app\n", "must be a package name"),
            ("1:1.0-1", "", "its field `Version`"),
            ("arm64", "arm64 armhf", "its field `Architecture`"),
            ("arm64\n", "arm64\n\nPackage: other\n", "has a line of no field"),
            ("arm64\n", "arm64\nfree text\n", "has a line of no field: `free text`"),
            ("arm64\n", "arm64\n# comment: x\n", "has a line of no field"),
            ("package: app\n", " app\npackage: app\n", "begins with a line of no field"),
            (" .\n", " \n", "has an empty line in a field"),
            ("an app", "an \u{1b}[2Japp", "has control characters"),
        ] {
            let error = parse(&CONTROL.replacen(from, to, 1)).unwrap_err();
            assert!(error.contains(cause), "{to:?}: {error}");
        }
    }
}
