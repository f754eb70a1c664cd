//! Archives of packages, and the keys that sign them. Pure.

use serde::{Deserialize, Serialize};

use crate::recipe::host::HostPath;

/// A signed archive of packages.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Repository {
    /// Name for recipes and flags, and of its file in `/etc/apt/sources.list.d` of the image.
    pub name: String,
    /// `None` for an archive that mmdebstrap knows by itself, with the pockets for updates and security.
    #[serde(default)]
    pub uris: Vec<String>,
    /// The first one is what is bootstrapped, the others are pockets.
    pub suites: Vec<String>,
    /// Components; empty for a flat archive, whose suite is a directory.
    pub components: Vec<String>,
    /// Architectures that it has; empty for all.
    #[serde(default)]
    pub architectures: Vec<String>,
    /// Name of its key ring.
    pub signed_by: String,
    /// Used only if the recipe or a flag asks for it.
    #[serde(default)]
    pub optional: bool,
    /// Installed if the repository is used.
    #[serde(default)]
    pub packages: Vec<String>,
}

impl Repository {
    /// Returns whether it has packages of `architecture`.
    pub fn has(&self, architecture: &str) -> bool {
        self.architectures.is_empty() || self.architectures.iter().any(|name| name == architecture)
    }

    /// Returns the content of `/etc/apt/sources.list.d/NAME.sources`
    /// (<https://manpages.debian.org/stable/apt/sources.list.5.en.html>) for `architectures`: packages from `uris`,
    /// signed by a key of the file `key_ring`.
    pub fn sources(&self, architectures: &[String], uris: &[String], key_ring: &str) -> String {
        let mut lines = vec![
            "Types: deb".to_owned(),
            format!("URIs: {}", uris.join(" ")),
            format!("Suites: {}", self.suites.join(" ")),
        ];
        if !self.components.is_empty() {
            lines.push(format!("Components: {}", self.components.join(" ")));
        }
        let had: Vec<&str> = architectures.iter().map(String::as_str).filter(|name| self.has(name)).collect();
        if had.len() < architectures.len() {
            // apt would ask for the others and say at each update that they are not there. Where it has all, nothing is
            // said: of one that is named apt fetches the lists, whether the tree is for it or not.
            lines.push(format!("Architectures: {}", had.join(" ")));
        }
        lines.push(format!("Signed-By: {key_ring}"));
        lines.join("\n") + "\n"
    }
}

/// The keys that sign a repository.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyRing {
    /// Path in the image. If no package brings the file, piimg writes it, with exactly the keys of these fingerprints.
    pub image: String,
    /// Paths of the host's package; the first one that exists is used.
    #[serde(default)]
    pub host: Vec<String>,
    /// The host's package.
    pub package: Option<String>,
    /// Full fingerprints of the primary keys that may sign; `None` if it is the recipe's, where all keys of the file
    /// may unless it says which.
    pub fingerprints: Vec<String>,
}

/// The keys of a repository that a plugin brings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Given {
    pub plugin: String,
    /// Fingerprints of all keys, in upper case.
    pub fingerprints: Vec<String>,
    /// A key ring that must hold these and no others.
    #[serde(with = "hex")]
    pub data: Vec<u8>,
}

/// A key ring that somebody chose in place of the host's.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chosen {
    /// No other process needs it.
    #[serde(skip_deserializing)]
    pub path: HostPath,
    /// The keys that may sign, if they are others than the release names.
    pub fingerprints: Vec<String>,
}

impl Chosen {
    /// Parses `FILE` or `FILE#FINGERPRINT[,FINGERPRINT…]`, as the user wrote it on the command line.
    pub fn named(text: &str) -> Self {
        let (path, fingerprints) = Self::parts(text);
        Self { path: HostPath::named(path), fingerprints }
    }

    /// Returns the name of a file, and fingerprints.
    pub(in crate::recipe) fn parts(text: &str) -> (&str, Vec<String>) {
        let fingerprints = |list: &str| list.split(',').map(|one| one.to_ascii_uppercase()).collect::<Vec<_>>();
        match text.rsplit_once('#') {
            Some((path, list)) if list.split(',').all(is_fingerprint) => (path, fingerprints(list)),
            _ => (text, Vec::new()),
        }
    }
}

/// Returns whether `text` is the whole fingerprint of a key, of version 4 (40 digits) or 6 (64 digits).
pub fn is_fingerprint(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    const B: &str = "BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB";

    #[test]
    fn a_chosen_ring_may_have_keys_of_its_own() {
        for (text, path, fingerprints) in [
            ("k.gpg", "k.gpg", vec![]),
            ("a#b.gpg", "a#b.gpg", vec![]),
            (&format!("k.gpg#{}", A.to_lowercase()), "k.gpg", vec![A]),
            (&format!("k#1.gpg#{A},{B}"), "k#1.gpg", vec![A, B]),
        ] {
            let chosen = Chosen::named(text);
            assert_eq!(
                (chosen.path, chosen.fingerprints),
                (HostPath::named(path), fingerprints.iter().map(|s| (*s).to_owned()).collect()),
                "{text}"
            );
        }
    }

    fn repository(text: &str) -> Repository {
        toml::from_str(&format!(
            "name = 'n'\nsuites = ['s', 's-updates']\ncomponents = ['main', 'extra']\nsigned-by = 'k'\n{text}"
        ))
        .unwrap()
    }

    #[test]
    fn sources_are_written_as_apt_reads_them() {
        let uris = ["http://a/x".to_owned(), "http://b/x".to_owned()];
        let both = ["armhf".to_owned(), "arm64".to_owned()];
        let all =
            "Types: deb\nURIs: http://a/x http://b/x\nSuites: s s-updates\nComponents: main extra\nSigned-By: /k.gpg\n";
        assert_eq!(repository("").sources(&both, &uris, "/k.gpg"), all);
        assert_eq!(repository("architectures = ['amd64', 'arm64', 'armhf']").sources(&both, &uris, "/k.gpg"), all);
        let flat = Repository { suites: vec!["./".into()], components: vec![], ..repository("") };
        let expected = "Types: deb\nURIs: http://a/x http://b/x\nSuites: ./\nSigned-By: /k.gpg\n";
        assert_eq!(flat.sources(&both, &uris, "/k.gpg"), expected);
        let narrow = repository("architectures = ['armhf', 'amd64']");
        assert_eq!(narrow.sources(&both[..1], &uris, "/k.gpg"), all);
        let narrow = narrow.sources(&both, &uris, "/k.gpg");
        assert!(narrow.contains("\nArchitectures: armhf\nSigned-By"), "{narrow}");
    }

    #[test]
    fn a_repository_without_architectures_has_all() {
        assert!(repository("").has("riscv64"));
        let narrow = repository("architectures = ['armhf']");
        assert!(narrow.has("armhf") && !narrow.has("arm64"));
    }
}
