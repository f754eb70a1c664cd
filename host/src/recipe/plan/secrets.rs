//! Where secrets come from: flags over the recipe. No finding quotes what was written, which may be a value by mistake.

use std::collections::BTreeMap;

use super::Findings;
use crate::recipe::file::RecipeFile;
use crate::recipe::overrides::Overrides;
use crate::secret::check_name;
use crate::secret::source::{FORMS, Source};
use crate::ui::printable;

pub(super) fn sources(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) -> BTreeMap<String, Source> {
    let mut sources = BTreeMap::new();
    for (name, value) in &file.secrets {
        let source = value.as_str().and_then(Source::parse).map(|source| source.beside(&file.directory));
        add(&mut sources, "`[secrets]`", name, source, findings);
    }
    for flag in &flags.secrets {
        match flag.split_once('=') {
            Some((name, text)) => add(&mut sources, "--secret", name, Source::parse(text), findings),
            None => findings.add(format!("--secret must be NAME=SOURCE, with {FORMS} as source")),
        }
    }
    sources
}

fn add(
    sources: &mut BTreeMap<String, Source>,
    place: &str,
    name: &str,
    source: Option<Source>,
    findings: &mut Findings,
) {
    let shown = printable(name);
    match (check_name(name), source) {
        (Ok(()), Some(source)) => {
            sources.insert(name.to_owned(), source);
        }
        (Ok(()), None) => {
            findings.add(format!("{place}: the source of `{shown}` must be {FORMS}, not the value itself"));
        }
        (Err(rule), _) => findings.add(format!("{place}: `{shown}` is no name: {rule}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(file: &str, flags: &[&str]) -> (BTreeMap<String, Source>, Vec<String>) {
        let mut file: RecipeFile = toml::from_str(file).unwrap();
        file.directory = "/recipe".into();
        let flags = Overrides { secrets: flags.iter().map(ToString::to_string).collect(), ..Overrides::default() };
        let mut findings = Findings::default();
        (sources(&file, &flags, &mut findings), findings.0)
    }

    #[test]
    fn flags_win_over_the_recipe() {
        let recipe = "[secrets]\na = \"file:a\"\nb = \"env:B\"\n";
        let (sources, findings) = found(recipe, &["b=file:b", "c=cmd:pass show a=b"]);
        assert_eq!(findings, [""; 0]);
        let expected = [
            ("a", Source::File("/recipe/a".into())),
            ("b", Source::File("b".into())),
            ("c", Source::Command("pass show a=b".into())),
        ];
        assert_eq!(sources, expected.map(|(name, source)| (name.to_owned(), source)).into());
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
