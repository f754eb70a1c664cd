//! A repository of the recipe's own: as one of the release, but signed with the keys that the recipe names. Pure.

use serde::Deserialize;

use super::check;
use super::host::RecipeRing;
use super::release::repository::{KeyRing, Repository};

/// `[[repository]]` of `piimg.toml`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnRepository {
    /// Another one than those of the release, and of its key ring too.
    pub name: String,
    /// What the image has; a mirror may stand in for it during the build.
    pub url: String,
    pub suite: String,
    pub components: Vec<String>,
    /// File with the keys that sign it, and `#` and fingerprints behind it if only these of them may.
    pub keyring: RecipeRing,
    /// Those that it has packages of; all if there are none.
    pub architectures: Vec<String>,
}

impl OwnRepository {
    /// What each value is, the value, and the rule it breaks if it does.
    pub(super) fn checked(&self) -> Vec<(&'static str, String, Result<(), String>)> {
        let mut checked = vec![
            ("name", self.name.clone(), check::repository(&self.name)),
            ("url", self.url.clone(), check::mirror(&self.url)),
            ("suite", self.suite.clone(), check::archive_word(&self.suite)),
            ("keyring", self.keyring.text().to_owned(), signed(self.keyring.text())),
        ];
        if self.components.is_empty() {
            checked.push(("components", String::new(), Err("must be one or more, such as `main`".into())));
        }
        let words = |what, words: &[String]| -> Vec<_> {
            words.iter().map(|word| (what, word.clone(), check::archive_word(word))).collect()
        };
        checked.extend(words("component", &self.components));
        checked.extend(words("architecture", &self.architectures));
        checked
    }

    /// The repository and its key ring, as a release would describe them.
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
            ("'stable/next'", "'./'", "suite", "must not end with `/`"),
            ("'stable/next'", "\"a\\nTrusted: yes\"", "suite", "ASCII letters"),
            ("['main']", "[]", "components", "one or more"),
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
