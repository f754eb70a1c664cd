//! Which packages an image has: versions, and the content of their files. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

/// Higher than what is installed, so that apt goes back to an older version too.
const PRIORITY: u32 = 1001;

/// By `name:architecture`.
pub type Packages = BTreeMap<String, LockedPackage>;

/// One package, as the archive had it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    pub version: String,
    /// Of the package's file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// Preferences of apt by which it takes these versions, if the archive has them.
pub fn preferences(packages: &Packages) -> String {
    packages.iter().fold(String::new(), |mut text, (name, package)| {
        writeln!(text, "Package: {name}\nPin: version {}\nPin-Priority: {PRIORITY}\n", package.version)
            .expect("writing to a string");
        text
    })
}

/// What differs between the lock and what was installed, each in words of its own.
pub fn differences(locked: &Packages, installed: &Packages) -> Vec<String> {
    let mut found = Vec::new();
    for (name, is) in installed {
        match locked.get(name) {
            None => found.push(format!("{name} {} is not in the lock", is.version)),
            Some(was) if was.version != is.version => {
                found.push(format!("{name} is {}, locked is {}", is.version, was.version));
            }
            Some(was) if was.digest != is.digest => {
                found.push(format!("{name} {} is another file: {}, locked is {}", is.version, is.digest, was.digest));
            }
            Some(_) => {}
        }
    }
    let gone = locked.iter().filter(|(name, _)| !installed.contains_key(*name));
    found.extend(gone.map(|(name, was)| format!("{name} {} is locked, and was not installed", was.version)));
    found
}

/// Packages for tests; a digest is one digit over and over.
#[cfg(test)]
pub(crate) mod sample {
    use super::*;

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
    use super::sample::*;
    use super::*;

    #[test]
    fn each_difference_is_named() {
        let locked =
            packages(&[("aa:arm64", "1", 'a'), ("bb:all", "1", 'b'), ("c:arm64", "1", 'c'), ("d:all", "1", 'd')]);
        assert_eq!(differences(&locked, &locked), Vec::<String>::new());
        let other =
            packages(&[("aa:arm64", "1", 'a'), ("bb:all", "2", 'b'), ("c:arm64", "1", 'e'), ("f:all", "3", 'f')]);
        assert_eq!(
            differences(&locked, &other),
            [
                "bb:all is 2, locked is 1".to_owned(),
                format!("c:arm64 1 is another file: {}, locked is {}", digest('e'), digest('c')),
                "f:all 3 is not in the lock".to_owned(),
                "d:all 1 is locked, and was not installed".to_owned(),
            ]
        );
    }

    #[test]
    fn apt_is_told_the_versions() {
        let text = preferences(&packages(&[("aa:arm64", "1:2.0-1", 'a')]));
        assert_eq!(text, "Package: aa:arm64\nPin: version 1:2.0-1\nPin-Priority: 1001\n\n");
    }
}
