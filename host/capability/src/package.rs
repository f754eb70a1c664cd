//! Parses package names by Debian's grammar, for every place that takes one:
//! <https://www.debian.org/doc/debian-policy/ch-controlfields.html#source>.
//!
//! What it lets through is a name to apt too, and nothing else: no option, no pattern, no task (`name^`), no wish to remove
//! (`name-`), no release (`name/stable`).

use std::fmt;

/// Longest name or version; file names, which hold both, have at most 255 bytes.
const LONGEST: usize = 120;

/// `name`, `name:architecture`, `name=version` or `name:architecture=version`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PackageSpec {
    pub name: String,
    pub architecture: Option<String>,
    pub version: Option<String>,
}

impl PackageSpec {
    /// # Errors
    /// The rule that `text` breaks.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (rest, version) = text.split_once('=').map_or((text, None), |(rest, version)| (rest, Some(version)));
        let (name, architecture) = rest.split_once(':').map_or((rest, None), |(name, of)| (name, Some(of)));
        check_name(name)?;
        architecture.map_or(Ok(()), check_architecture)?;
        version.map_or(Ok(()), check_version)?;
        Ok(Self {
            name: name.to_owned(),
            architecture: architecture.map(str::to_owned),
            version: version.map(str::to_owned),
        })
    }
}

impl fmt::Display for PackageSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        self.architecture.iter().try_for_each(|architecture| write!(f, ":{architecture}"))?;
        self.version.iter().try_for_each(|version| write!(f, "={version}"))
    }
}

/// Returns whether a text means a package's file, and not a name: no name has a `/` in it.
pub fn is_file(text: &str) -> bool {
    text.contains('/')
}

/// Returns the value of the field `name` in a stanza of a control file.
pub fn field<'a>(stanza: &'a str, name: &str) -> Option<&'a str> {
    stanza.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "))
}

/// Checks a name by Debian Policy 5.6.1. One that ends with `-` would be a wish to remove to apt; no package has such a
/// name.
///
/// # Errors
/// The rule it breaks.
pub fn check_name(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = (2..=LONGEST).contains(&name.len())
        && plain(name.as_bytes()[0])
        && name.bytes().all(|byte| plain(byte) || b"+-.".contains(&byte))
        && !name.ends_with('-');
    if good {
        return Ok(());
    }
    Err(format!(
        "must be a package name: 2 to {LONGEST} lowercase letters, digits, `+`, `-` or `.`, beginning with a letter or \
         digit, and not ending with `-`"
    ))
}

/// Checks the name of an architecture.
///
/// # Errors
/// The rule it breaks.
pub fn check_architecture(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit();
    let good = (2..=LONGEST).contains(&name.len())
        && name.bytes().all(|byte| plain(byte) || byte == b'-')
        && plain(name.as_bytes()[0])
        && !name.ends_with('-');
    if good { Ok(()) } else { Err("the part after `:` must be an architecture, as `arm64`".into()) }
}

/// Checks a version by deb-version(7): `[epoch:]upstream[-revision]`.
///
/// # Errors
/// The rule it breaks.
pub fn check_version(version: &str) -> Result<(), String> {
    let (epoch, rest) = version.split_once(':').map_or((None, version), |(epoch, rest)| (Some(epoch), rest));
    let (upstream, revision) = rest.rsplit_once('-').map_or((rest, None), |(rest, last)| (rest, Some(last)));
    let all = |text: &str, more: &[u8]| text.bytes().all(|byte| byte.is_ascii_alphanumeric() || more.contains(&byte));
    let good = version.len() <= LONGEST
        // dpkg keeps it in an int.
        && epoch.is_none_or(|epoch| (1..=9).contains(&epoch.len()) && epoch.bytes().all(|byte| byte.is_ascii_digit()))
        && upstream.starts_with(|first: char| first.is_ascii_digit())
        && all(upstream, if epoch.is_some() { b".+-~:" } else { b".+-~" })
        && revision.is_none_or(|revision| !revision.is_empty() && all(revision, b".+~"));
    if good {
        return Ok(());
    }
    Err("the part after `=` must be a version (man deb-version): `[epoch:]upstream[-revision]`, of letters, digits, \
         `.`, `+`, `~` and, before the last `-`, `-`; the first after the epoch a digit"
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_debian_names_a_package_is_one() {
        for text in [
            "htop",
            "libstdc++6",
            "g++",
            "python3.11",
            "0ad",
            "libc6:arm64",
            "vim=2:9.0.1378-2+deb12u2",
            "xz-utils=5.4.1-0.2",
            "foo:all=1.0~rc1+git-3-1",
            "linux-image-rpi-v8:arm64",
            "x11-apps=7.7+9",
            "libx:kfreebsd-amd64",
        ] {
            assert_eq!(PackageSpec::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_apt_takes_for_something_else_is_none() {
        for (text, rule) in [
            ("", "package name"),
            ("h", "package name"),
            ("-y", "package name"),
            ("--reinstall", "package name"),
            ("-oX=y", "package name"),
            ("htop-", "package name"),
            ("htop^", "package name"),
            ("ht*p", "package name"),
            ("ht?p", "package name"),
            ("^htop$", "package name"),
            ("ht[o]p", "package name"),
            ("a|b", "package name"),
            ("?essential", "package name"),
            ("~nhtop", "package name"),
            ("htop/stable", "package name"),
            ("./x.deb", "package name"),
            (".htop", "package name"),
            ("Htop", "package name"),
            ("a b", "package name"),
            ("htop\n", "package name"),
            ("hto\u{440}", "package name"),
            ("htop,tree", "package name"),
            ("htop:", "architecture"),
            ("htop:arm64-", "architecture"),
            ("htop:-arm64", "architecture"),
            ("htop:arm64:armhf", "architecture"),
            ("htop:*", "architecture"),
            ("htop=", "version"),
            ("htop=3.2.2-2-", "version"),
            ("htop=3.2.2-", "version"),
            ("htop=-1", "version"),
            ("htop=a1", "version"),
            ("htop=1:", "version"),
            ("htop=:1", "version"),
            ("htop=x:1", "version"),
            ("htop=1-2:3", "version"),
            ("htop=1:2:3-4:5", "version"),
            ("htop=1=2", "version"),
            ("htop=1/stable", "version"),
            ("htop=1*", "version"),
            ("htop=1 ", "version"),
            ("htop=1;rm", "version"),
            ("htop=1\u{0661}", "version"),
        ] {
            let error = PackageSpec::parse(text).unwrap_err();
            assert!(error.contains(rule), "{text:?}: {error}");
        }
        assert!(PackageSpec::parse(&"a".repeat(LONGEST + 1)).is_err());
        assert!(PackageSpec::parse(&format!("aa={}", "1".repeat(LONGEST + 1))).is_err());
    }
}
