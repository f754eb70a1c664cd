//! Repositories that no release has, of the recipe's own or of a plugin: as one of the release, but signed with the keys that
//! come with them. Pure.

use schemars::JsonSchema;
use serde::Deserialize;

use super::check;
use super::conf;
use super::host::{RecipePath, RecipeRing};
use super::release::repository::{Given, KeyRing, Repository, is_fingerprint};
use piimg_capability::url::check_address;

/// An archive of packages that no release has, or a directory of packages' files.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OwnRepository {
    /// Directory of packages' files, in place of all else here: what the packages of the recipe, plugins and other packages need
    /// is found there too.
    pub path: Option<RecipePath>,
    /// Name of it and of its key ring; another one than those of the release.
    pub name: String,
    /// Address in the image; a mirror may stand in for it during the build.
    pub url: String,
    /// Suite, such as the release's code name; `./` for a flat archive.
    pub suite: String,
    /// Components; empty for a flat archive, whose suite is a directory.
    pub components: Vec<String>,
    /// File with the keys that sign it, and `#` and fingerprints behind it if only these of them may.
    pub keyring: RecipeRing,
    /// Architectures that it has; empty for all.
    pub architectures: Vec<String>,
}

/// Description, value, and the rule that the value breaks, if any.
type Checked = (&'static str, String, Result<(), String>);

impl OwnRepository {
    /// Returns each value with its description and the rule that it breaks, if any.
    pub(super) fn checked(&self) -> Vec<Checked> {
        if self.path.is_some() {
            let alone = Self { path: self.path.clone(), name: self.name.clone(), ..Self::default() };
            let rule =
                || "cannot be one of files (`path`) and of an archive (`url`, `suite`, `keyring` …) at once".to_owned();
            return vec![("kind", "repository".to_owned(), if *self == alone { Ok(()) } else { Err(rule()) })];
        }
        let mut checked = self.checked_words();
        checked.push(("url", self.url.clone(), check::mirror(&self.url)));
        checked.push(("keyring", self.keyring.text().to_owned(), signed(self.keyring.text())));
        checked
    }

    /// Returns the words of apt's sources alone.
    fn checked_words(&self) -> Vec<Checked> {
        let mut checked = vec![
            ("name", self.name.clone(), check::repository(&self.name)),
            ("suite", self.suite.clone(), check::suite(&self.suite, !self.components.is_empty())),
        ];
        let words = |what, words: &[String]| -> Vec<_> {
            words.iter().map(|word| (what, word.clone(), check::archive_word(word))).collect()
        };
        checked.extend(words("component", &self.components));
        checked.extend(words("architecture", &self.architectures));
        checked
    }

    /// Returns the repository and its key ring, as a release would describe them.
    pub fn described(&self) -> (Repository, KeyRing) {
        let repository = Repository {
            name: self.name.clone(),
            uris: vec![self.url.clone()],
            suites: vec![self.suite.clone()],
            components: self.components.clone(),
            architectures: self.architectures.clone(),
            signed_by: self.name.clone(),
            optional: false,
            packages: Vec::new(),
        };
        let ring = KeyRing {
            image: format!("/etc/apt/keyrings/{}.gpg", self.name),
            host: Vec::new(),
            package: None,
            fingerprints: Vec::new(),
        };
        (repository, ring)
    }
}

/// A repository that a plugin brings.
#[derive(Debug)]
pub(super) struct Brought {
    /// The repository in a recipe's form, without its keys.
    own: OwnRepository,
    url: String,
    pub(super) given: Given,
}

impl Brought {
    /// Makes the repository that the plugin `id` adds.
    pub(super) fn new(id: &str, raw: &conf::Repository) -> Self {
        let fingerprints = raw.fingerprints.iter().map(|text| text.to_ascii_uppercase()).collect();
        let given = Given { plugin: id.to_owned(), fingerprints, data: raw.key.clone() };
        let own = OwnRepository {
            name: raw.name.clone(),
            url: raw.url.clone(),
            suite: raw.suite.clone(),
            components: raw.components.clone(),
            ..OwnRepository::default()
        };
        Self { own, url: raw.url.clone(), given }
    }

    pub(super) fn name(&self) -> &str {
        &self.own.name
    }

    /// Returns each value with its description and the rule that it breaks, if any.
    pub(super) fn checked(&self) -> Vec<Checked> {
        let mut checked = self.own.checked_words();
        checked.push(("url", self.url.clone(), check_address(&self.url)));
        let fingerprints = &self.given.fingerprints;
        if fingerprints.is_empty() || self.given.data.is_empty() {
            checked.push(("key", String::new(), signed("")));
        }
        let whole = |text: &String| match is_fingerprint(text) {
            true => Ok(()),
            false => Err("must be a whole fingerprint: 40 hexadecimal digits, or 64".to_owned()),
        };
        checked.extend(fingerprints.iter().map(|text| ("fingerprint", text.clone(), whole(text))));
        checked
    }

    /// Returns what [`OwnRepository::described`] does.
    pub(super) fn described(&self) -> (Repository, KeyRing) {
        let (repository, ring) = self.own.described();
        (repository, KeyRing { fingerprints: self.given.fingerprints.clone(), ..ring })
    }
}

fn signed(keyring: &str) -> Result<(), String> {
    if keyring.is_empty() {
        return Err(
            "must be the file with the keys that sign it: nothing comes from an archive that is not signed".into()
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wrong_value_is_named_with_its_rule() {
        let good =
            "name = 'robots'\nurl = 'https://h/x'\nsuite = 'stable/next'\ncomponents = ['main']\nkeyring = 'k.asc'\n";
        for (from, to, what, rule) in [
            ("", "", "", ""),
            ("'robots'", "'my robots'", "name", "ASCII letters"),
            ("'robots'", "'a+b'", "name", "ASCII letters"),
            ("'https://h/x'", "'file:///x'", "url", "must be a http or https URL"),
            ("'https://h/x'", "'https://u:p@h/x'", "url", "must not hold a password"),
            ("'stable/next'", "'./'", "suite", "must not end with `/`: such an archive is flat"),
            ("'stable/next'\ncomponents = ['main']", "'./'", "", ""),
            ("'stable/next'\ncomponents = ['main']", "'/'", "", ""),
            ("'stable/next'\ncomponents = ['main']", "'a/./b/'", "", ""),
            ("'stable/next'\ncomponents = ['main']", "'../x/'", "suite", "must be a directory of the archive"),
            ("'stable/next'\ncomponents = ['main']", "'//'", "suite", "must be a directory of the archive"),
            ("'stable/next'\ncomponents = ['main']", "'a b/'", "suite", "must be a directory of the archive"),
            ("'stable/next'", "\"a\\nTrusted: yes\"", "suite", "ASCII letters"),
            ("['main']", "[]", "suite", "must end with `/` if there are no components"),
            ("['main']", "['main', 'a b']", "component", "ASCII letters"),
            ("keyring = 'k.asc'", "", "keyring", "not signed"),
            ("keyring", "architectures = ['arm 64']\nkeyring", "architecture", "ASCII letters"),
        ] {
            let own: OwnRepository = toml::from_str(&good.replacen(from, to, 1)).unwrap();
            let wrong: Vec<(&str, String)> =
                own.checked().into_iter().filter_map(|(what, _, rule)| Some((what, rule.err()?))).collect();
            match wrong.as_slice() {
                [] => assert_eq!(what, ""),
                [(found, message)] => assert!(*found == what && message.contains(rule), "{to}: {found} {message}"),
                more => panic!("{to}: {more:?}"),
            }
        }
        let error = toml::from_str::<OwnRepository>(&format!("{good}trusted = true\n")).unwrap_err().to_string();
        assert!(error.contains("unknown field `trusted`"), "{error}");
    }
}
