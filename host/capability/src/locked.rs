//! Compares an image's packages: versions, and the content of their files. Pure.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::local_package::LocalPackage;

/// Higher than what is installed, so that apt goes back to an older version too.
const PRIORITY: u32 = 1001;

/// Packages by `name:architecture`.
pub type Packages = BTreeMap<String, LockedPackage>;

/// One package, as the archive had it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LockedPackage {
    pub version: String,
    /// Digest of the package's file: `sha256:` and 64 hexadecimal digits.
    pub digest: String,
}

/// The packages that `piimg.lock` holds.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Locked {
    /// Packages of the image.
    pub image: Packages,
    /// Build-only packages.
    pub build: Packages,
}

impl Locked {
    /// Returns all packages locked under a name: it may have one version for the image and another one to build with.
    fn named<'a>(&'a self, name: &str) -> impl Iterator<Item = &'a LockedPackage> + use<'a> {
        [self.image.get(name), self.build.get(name)].into_iter().flatten()
    }

    /// Returns one message for each package of `chosen` that is locked as something else. A package that is not locked
    /// may replace another one, and is no refusal.
    pub fn refuses(&self, chosen: &Packages) -> Vec<String> {
        let refused = |(name, is): (&String, &LockedPackage)| {
            let was = self.named(name).next()?;
            (!self.named(name).any(|was| was == is)).then(|| difference(name, was, is)).flatten()
        };
        chosen.iter().filter_map(refused).collect()
    }

    /// Returns whether anything of that name is locked, for whatever architecture.
    pub fn names(&self, name: &str) -> bool {
        self.image.keys().chain(self.build.keys()).any(|locked| locked.split(':').next() == Some(name))
    }

    /// Returns what is locked of the archives: all but packages of these ids, which come as files.
    pub fn without(&self, local: &[LocalPackage]) -> Self {
        let kept = |packages: &Packages| {
            let is_local = |name: &String| local.iter().any(|package| package.id() == *name);
            packages.iter().filter(|(name, _)| !is_local(name)).map(|(name, it)| (name.clone(), it.clone())).collect()
        };
        Self { image: kept(&self.image), build: kept(&self.build) }
    }

    /// Returns all but those of `chosen`, by name.
    pub fn beside<'a>(&'a self, chosen: &'a Packages) -> impl Iterator<Item = (&'a String, &'a LockedPackage)> {
        self.image.iter().chain(&self.build).filter(|(name, _)| !chosen.contains_key(*name))
    }

    /// Preferences of apt by which it takes these versions, if the archive has them.
    pub fn preferences(&self) -> String {
        let build = self.build.iter().filter(|(name, _)| !self.image.contains_key(*name));
        self.image.iter().chain(build).fold(String::new(), |mut text, (name, package)| {
            // To apt a package for all architectures is one of its own, and `:all` is none that could match.
            let name = name.strip_suffix(":all").unwrap_or(name);
            writeln!(text, "Package: {name}\nPin: version {}\nPin-Priority: {PRIORITY}\n", package.version)
                .expect("writing to a string");
            text
        })
    }
}

/// Describes how `is` differs from the locked `was`, if it does.
pub fn difference(name: &str, was: &LockedPackage, is: &LockedPackage) -> Option<String> {
    if was.version != is.version {
        return Some(format!("{name} is {}, locked is {}", is.version, was.version));
    }
    let text = || format!("{name} {} is another file: {}, locked is {}", is.version, is.digest, was.digest);
    (was.digest != is.digest).then(text)
}

/// Describes each difference between the lock and the installed packages.
pub fn differences(locked: &Packages, installed: &Packages) -> Vec<String> {
    let mut found = Vec::new();
    for (name, is) in installed {
        match locked.get(name) {
            None => found.push(format!("{name} {} is not in the lock", is.version)),
            Some(was) => found.extend(difference(name, was, is)),
        }
    }
    let gone = locked.iter().filter(|(name, _)| !installed.contains_key(*name));
    found.extend(gone.map(|(name, was)| format!("{name} {} is locked, and was not installed", was.version)));
    found
}

/// Packages for tests; a digest is one digit over and over.
#[cfg(test)]
pub mod sample {
    use super::*;

    pub fn digest(digit: char) -> String {
        format!("sha256:{}", digit.to_string().repeat(64))
    }

    pub fn packages(list: &[(&str, &str, char)]) -> Packages {
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
        let image = packages(&[("aa:arm64", "1:2.0-1", 'a')]);
        let build = packages(&[("aa:arm64", "2", 'b'), ("bb:all", "3", 'b')]);
        let text = Locked { image, build }.preferences();
        let expected = "Package: aa:arm64\nPin: version 1:2.0-1\nPin-Priority: 1001\n\n\
                        Package: bb\nPin: version 3\nPin-Priority: 1001\n\n";
        assert_eq!(text, expected);
    }

    #[test]
    fn a_choice_is_refused_for_what_is_locked_as_something_else() {
        let locked = Locked {
            image: packages(&[("aa:arm64", "1", 'a'), ("bb:all", "1", 'b')]),
            build: packages(&[("bb:all", "2", 'c'), ("cc:all", "1", 'c')]),
        };
        for (chosen, refused) in [
            (&[("aa:arm64", "1", 'a'), ("new:all", "7", 'd')][..], &[][..]),
            (&[("bb:all", "1", 'b')], &[]),
            (&[("bb:all", "2", 'c')], &[]),
            (
                &[("aa:arm64", "2", 'a'), ("cc:all", "3", 'c')],
                &["aa:arm64 is 2, locked is 1", "cc:all is 3, locked is 1"],
            ),
            (&[("bb:all", "3", 'b')], &["bb:all is 3, locked is 1"]),
        ] {
            assert_eq!(locked.refuses(&packages(chosen)), refused, "{chosen:?}");
        }
        let chosen = packages(&[("bb:all", "1", 'b')]);
        let beside: Vec<&String> = locked.beside(&chosen).map(|(name, _)| name).collect();
        assert_eq!(beside, ["aa:arm64", "cc:all"]);
    }
}
