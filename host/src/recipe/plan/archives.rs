//! Plans the sources of packages: the release's repositories and the recipe's own, with mirrors and keys.

use std::collections::BTreeMap;

use super::{Findings, PluginSource};
use crate::recipe::check;
use crate::recipe::file::RecipeFile;
use crate::recipe::overrides::Overrides;
use crate::recipe::release::Release;
use crate::recipe::release::repository::{Chosen, Given};
use crate::recipe::repository::Brought;
use crate::ui::printable;

/// Placeholder in the address of a snapshot mirror.
const TIMESTAMP: &str = "{timestamp}";

/// Adds the recipe's own repositories, behind those of the release.
pub(super) fn add_own_repositories(release: &mut Release, file: &RecipeFile, findings: &mut Findings) {
    for own in file.own_repositories.iter().filter(|own| own.path.is_none()) {
        let (repository, ring) = own.described();
        if names(release).contains(&own.name.as_str()) || release.keyrings.contains_key(&own.name) {
            findings.add(format!(
                "there is a repository or a key ring `{}` already: give the recipe's repository another name",
                printable(&own.name)
            ));
            continue;
        }
        release.repositories.push(repository);
        release.keyrings.insert(own.name.clone(), ring);
    }
}

/// Adds those that plugins bring, behind all others, and returns their keys by name. Two plugins may bring the same one.
pub(super) fn add_plugins_repositories(
    release: &mut Release,
    plugins: &[PluginSource],
    findings: &mut Findings,
) -> BTreeMap<String, Given> {
    let mut given: BTreeMap<String, Given> = BTreeMap::new();
    for (id, raw) in plugins.iter().flat_map(|it| it.conf.wishes.repositories.iter().map(|raw| (&it.conf.id, raw))) {
        let brought = Brought::new(id, raw);
        let (what, found) = (format!("the repository `{}` of `{}`", raw.name, id), findings.0.len());
        for (part, value, result) in brought.checked() {
            findings.check(&printable(&format!("{what}: its {part}")), &value, result);
        }
        if findings.0.len() > found {
            continue;
        }
        let (repository, ring) = brought.described();
        let same = |known: &Given| Given { plugin: known.plugin.clone(), ..brought.given.clone() } == *known;
        match given.get(brought.name()) {
            Some(known) if same(known) && release.repositories.contains(&repository) => continue,
            None if !names(release).contains(&brought.name()) && !release.keyrings.contains_key(brought.name()) => {}
            _ => {
                findings.add(printable(&format!(
                    "{what} is another one than that of the same name which is there already"
                )));
                continue;
            }
        }
        release.repositories.push(repository);
        release.keyrings.insert(brought.name().to_owned(), ring);
        given.insert(brought.name().to_owned(), brought.given);
    }
    given
}

/// Leaves the repositories that are used, and adds what they bring.
pub(super) fn choose_repositories(
    release: &mut Release,
    architecture: &str,
    file: &RecipeFile,
    flags: &Overrides,
    findings: &mut Findings,
) {
    let asked: Vec<&String> = file.repositories.iter().chain(&flags.repositories).collect();
    for name in &asked {
        match release.repositories.iter().find(|repository| repository.name == **name) {
            None => unknown(findings, release, "repository", name, &names(release)),
            Some(repository) if !repository.has(architecture) => {
                findings.add(format!("the repository `{name}` of {} has nothing for {architecture}", release.title));
            }
            Some(_) => {}
        }
    }
    release.repositories.retain(|repository| !repository.optional || asked.contains(&&repository.name));
    let more: Vec<String> =
        release.repositories_for(architecture).flat_map(|repository| repository.packages.clone()).collect();
    release.packages.extend(more);
}

/// Checks what can be said of mirrors and key rings without a release.
pub(super) fn check_words(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) {
    let flagged = flags.mirrors.iter().map(|flag| parse_mirror(flag).1);
    let named = file.mirror.iter().chain(&file.snapshot_mirror).chain(file.mirrors.values());
    for mirror in named.map(String::as_str).chain(flagged) {
        // The time of a snapshot is filled in later, and is no more than digits and letters.
        findings.check("the mirror", mirror, check::mirror(&mirror.replace(TIMESTAMP, "0")));
    }
    for own in &file.own_repositories {
        for (what, value, result) in own.checked() {
            findings.check(&format!("the repository `{}`: its {what}", printable(&own.name)), &value, result);
        }
    }
    for flag in flags.keyrings.iter().filter(|flag| parse_keyring(flag).is_none()) {
        findings.add(format!("--keyring `{}` must be NAME=FILE or NAME=FILE#FINGERPRINT", printable(flag)));
    }
}

/// Returns a repository's name, unless it is the release's own, and a mirror.
fn parse_mirror(flag: &str) -> (Option<&str>, &str) {
    match flag.split_once('=') {
        Some((name, mirror)) if check::flavour(name).is_ok() => (Some(name), mirror),
        _ => (None, flag),
    }
}

fn parse_keyring(flag: &str) -> Option<(&str, &str)> {
    flag.split_once('=').filter(|(name, file)| !name.is_empty() && !file.is_empty())
}

/// Mirrors by the names of the repositories that they stand in for.
pub(super) fn mirrors(
    release: &Release,
    architecture: &str,
    file: &RecipeFile,
    flags: &Overrides,
    snapshot: Option<&str>,
    findings: &mut Findings,
) -> BTreeMap<String, String> {
    let own = release.repositories_for(architecture).next().map(|repository| repository.name.clone());
    let own = own.unwrap_or_default();
    let named = file.mirrors.iter().map(|(name, mirror)| (name.clone(), mirror.clone()));
    let plain = snapshot
        .and(file.snapshot_mirror.as_ref())
        .or(file.mirror.as_ref())
        .into_iter()
        .map(|mirror| (own.clone(), mirror.clone()));
    let flags = flags.mirrors.iter().map(|flag| {
        let (name, mirror) = parse_mirror(flag);
        (name.map_or_else(|| own.clone(), str::to_owned), mirror.to_owned())
    });
    let mut mirrors: BTreeMap<String, String> = plain.chain(named).chain(flags).collect();
    if let Some(time) = snapshot {
        if !mirrors.values().any(|mirror| mirror.contains(TIMESTAMP)) {
            findings.add(format!(
                "a snapshot needs a mirror that keeps old states of the archive: `snapshot-mirror` in the recipe, or --mirror, an address with `{TIMESTAMP}` for the time"
            ));
        }
        mirrors.values_mut().for_each(|mirror| *mirror = mirror.replace(TIMESTAMP, time));
    }
    for name in mirrors.keys() {
        if !release.repositories.iter().any(|repository| repository.name == *name) {
            unknown(findings, release, "repository", name, &names(release));
        }
    }
    mirrors
}

/// Returns the key rings that somebody chose, by name.
pub(super) fn keyrings(
    release: &Release,
    recipes: BTreeMap<String, Chosen>,
    flags: &Overrides,
    findings: &mut Findings,
) -> BTreeMap<String, Chosen> {
    let mut chosen = recipes;
    for (name, text) in flags.keyrings.iter().filter_map(|flag| parse_keyring(flag)) {
        chosen.insert(name.to_owned(), Chosen::named(text));
    }
    for name in chosen.keys().filter(|name| !release.keyrings.contains_key(*name)) {
        let known: Vec<&str> = release.keyrings.keys().map(String::as_str).collect();
        unknown(findings, release, "key ring", name, &known);
    }
    chosen
}

fn names(release: &Release) -> Vec<&str> {
    release.repositories.iter().map(|repository| repository.name.as_str()).collect()
}

fn unknown(findings: &mut Findings, release: &Release, what: &str, name: &str, known: &[&str]) {
    findings.add(format!("{} has no {what} `{}`; it has: {}", release.title, printable(name), known.join(", ")));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::release::Releases;

    fn chosen(recipe: &str, flags: &[&str], snapshot: Option<&str>) -> (Option<String>, Vec<String>) {
        let release = Releases::builtin().unwrap().get("bookworm").unwrap().clone().resolved("arm64");
        let flags = Overrides { mirrors: flags.iter().map(ToString::to_string).collect(), ..Overrides::default() };
        let (file, mut findings) = (toml::from_str(recipe).unwrap(), Findings::default());
        let mut mirrors = mirrors(&release, "arm64", &file, &flags, snapshot, &mut findings);
        (mirrors.remove("debian"), findings.0)
    }

    #[test]
    fn a_snapshot_is_a_mirror_with_a_time() {
        let recipe = "mirror = \"http://h/now\"\nsnapshot-mirror = \"http://h/{timestamp}/d\"\n";
        let time = Some("20250601T000000Z");
        for (flags, snapshot, expected) in [
            (&[][..], None, "http://h/now"),
            (&[], time, "http://h/20250601T000000Z/d"),
            (&["http://m/{timestamp}"], time, "http://m/20250601T000000Z"),
        ] {
            assert_eq!(chosen(recipe, flags, snapshot), (Some(expected.to_owned()), Vec::new()), "{flags:?}");
        }
        for recipe in ["", "mirror = \"http://h/now\"\n"] {
            let (_, findings) = chosen(recipe, &[], time);
            assert!(findings.len() == 1 && findings[0].starts_with("a snapshot needs a mirror"), "{findings:?}");
        }
    }
}
