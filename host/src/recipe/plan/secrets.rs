//! Chooses the sources of secrets: flags over the recipe. No finding quotes what was written, which may be a value by
//! mistake.

use std::collections::BTreeMap;

use super::Findings;
use crate::recipe::host::Offer;
use crate::recipe::overrides::Overrides;
use crate::secret::check_name;
use crate::secret::source::{FORMS, Source};
use crate::ui::printable;

pub(super) fn sources(
    recipes: BTreeMap<String, Offer>,
    flags: &Overrides,
    findings: &mut Findings,
) -> BTreeMap<String, Offer> {
    let mut sources = BTreeMap::new();
    for (name, offer) in recipes {
        add(&mut sources, "`[secrets]`", &name, offer, findings);
    }
    for flag in &flags.secrets {
        match flag.split_once('=') {
            Some((name, text)) => {
                let offer = Source::named(text).map_or(Offer::Malformed, Offer::Allowed);
                add(&mut sources, "--secret", name, offer, findings);
            }
            None => findings.add(format!("--secret must be NAME=SOURCE, with {FORMS} as source")),
        }
    }
    sources
}

fn add(sources: &mut BTreeMap<String, Offer>, place: &str, name: &str, offer: Offer, findings: &mut Findings) {
    let shown = printable(name);
    match (check_name(name), offer) {
        (Ok(()), Offer::Malformed) => {
            findings.add(format!("{place}: the source of `{shown}` must be {FORMS}, not the value itself"));
        }
        (Ok(()), offer) => {
            sources.insert(name.to_owned(), offer);
        }
        (Err(rule), _) => findings.add(format!("{place}: `{shown}` is no name: {rule}")),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::recipe::file::RecipeFile;
    use crate::recipe::host::{HostPath, RecipeDirectory, admit};
    use crate::recipe::trust::Trust;

    fn found(file: &str, flags: &[&str]) -> (BTreeMap<String, Offer>, Vec<String>) {
        let file: RecipeFile = toml::from_str(file).unwrap();
        let file = RecipeFile { directory: RecipeDirectory::open(Path::new("/usr")).unwrap(), ..file };
        let flags = Overrides { secrets: flags.iter().map(ToString::to_string).collect(), ..Overrides::default() };
        let mut findings = Findings::default();
        let admitted = admit(&file, &flags, &Trust::default()).unwrap();
        (sources(admitted.secrets, &flags, &mut findings), findings.0)
    }

    #[test]
    fn flags_win_over_the_recipe() {
        let recipe = "[secrets]\na = \"file:a\"\nb = \"env:B\"\n";
        let (sources, findings) = found(recipe, &["b=file:b", "c=cmd:pass show a=b"]);
        assert_eq!(findings, [""; 0]);
        let Offer::Allowed(Source::File(path)) = &sources["a"] else { panic!("{sources:?}") };
        assert_eq!(path.shown(), Path::new("/usr/a"));
        assert_eq!(sources["b"], Offer::Allowed(Source::File(HostPath::named("b"))));
        assert_eq!(sources["c"], Offer::Allowed(Source::Command("pass show a=b".into())));
    }

    #[test]
    fn what_is_no_source_is_named_and_not_quoted() {
        const FORM: &str =
            "the source of `a` must be `file:PATH`, `env:VARIABLE` or `cmd:COMMAND`, not the value itself";
        for (recipe, flag, finding) in [
            ("", "a=hunter2", format!("--secret: {FORM}")),
            ("", "hunter2", "--secret must be NAME=SOURCE".into()),
            ("", "a=", format!("--secret: {FORM}")),
            ("", "A=env:hunter2", "--secret: `A` is no name: a secret's name has".into()),
            ("a = \"hunter2\"", "b=env:B", format!("`[secrets]`: {FORM}")),
            ("a = 42", "b=env:B", format!("`[secrets]`: {FORM}")),
            ("\"a*\" = \"env:A\"", "b=env:B", "`[secrets]`: `a*` is no name".into()),
        ] {
            let (_, findings) = found(&format!("[secrets]\n{recipe}\n"), &[flag]);
            assert!(findings.len() == 1 && findings[0].starts_with(&finding), "{recipe} {flag}: {findings:?}");
            assert!(!findings[0].contains("hunter2") && !findings[0].contains("42"), "{findings:?}");
        }
    }
}
