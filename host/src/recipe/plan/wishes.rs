//! Checks wishes of plugins and the recipe for package runs, each by itself and all of them together.

use std::collections::BTreeMap;

use super::{Findings, PlannedPlugin};
use crate::recipe::conf::PluginConf;
use crate::recipe::debconf::Answer;
use crate::recipe::package::{PackageSpec, check_name};
use crate::recipe::pin::Pin;
use crate::ui::printable;

/// Returns the answers of a plugin that are some.
pub(super) fn answers(conf: &PluginConf, findings: &mut Findings) -> Vec<Answer> {
    let mut checked = Vec::new();
    for answer in &conf.wishes.answers {
        match Answer::check(answer) {
            Ok(answer) => checked.push(answer),
            Err(rule) => findings.add(printable(&format!("`{}` cannot have its answer: {rule}", conf.id))),
        }
    }
    checked
}

/// Returns the pins of a plugin that are some.
pub(super) fn pins(conf: &PluginConf, findings: &mut Findings) -> Vec<Pin> {
    let mut checked = Vec::new();
    for pin in &conf.wishes.pins {
        match Pin::check(pin) {
            Ok(pin) => checked.push(pin),
            Err(rule) => findings.add(printable(&format!("`{}` cannot have its pin: {rule}", conf.id))),
        }
    }
    checked
}

/// Checks names of packages that are to go, and that nobody wants what somebody else does not.
pub(super) fn check(packages: &[String], removals: &[String], plugins: &[PlannedPlugin], findings: &mut Findings) {
    let of_plugins = plugins.iter().map(|plugin| (format!("`{}`", printable(&plugin.id)), plugin));
    let wanted = of_plugins.clone().map(|(who, plugin)| (who, &plugin.packages[..]));
    let unwanted = of_plugins.clone().map(|(who, plugin)| (who, &plugin.removals[..]));
    let recipe = || "the recipe".to_owned();
    let unwanted: Vec<_> = std::iter::once((recipe(), removals)).chain(unwanted).collect();
    for (who, name) in unwanted.iter().flat_map(|(who, names)| names.iter().map(move |name| (who, name))) {
        findings.check(&format!("what {who} removes:"), name, check_name(name));
    }
    for (who, specs) in std::iter::once((recipe(), packages)).chain(wanted) {
        for name in specs.iter().filter_map(|spec| Some(PackageSpec::parse(spec).ok()?.name)) {
            for (other, _) in unwanted.iter().filter(|(_, names)| names.contains(&name)) {
                findings.add(format!("the package `{name}` is listed by {who} and removed by {other}"));
            }
        }
    }
    check_answers(of_plugins, findings);
}

/// Checks that each debconf question has one answer in an image.
fn check_answers<'a>(plugins: impl Iterator<Item = (String, &'a PlannedPlugin)>, findings: &mut Findings) {
    let mut given: BTreeMap<&str, (String, &Answer)> = BTreeMap::new();
    for (who, answer) in plugins.flat_map(|(who, plugin)| plugin.answers.iter().map(move |it| (who.clone(), it))) {
        match given.get(answer.question()) {
            Some((other, same)) if *same != answer => findings.add(printable(&format!(
                "{other} and {who} answer `{}` differently: {:?} and {:?}",
                answer.question(),
                same.value(),
                answer.value()
            ))),
            _ => drop(given.insert(answer.question(), (who, answer))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::debconf::{AnswerKind, Unchecked};

    fn plugin(id: &str, packages: &[&str], answers: &[(&str, &str)], removals: &[&str]) -> PlannedPlugin {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect();
        let answer = |(question, value): &(&str, &str)| {
            let unchecked =
                Unchecked { question: (*question).into(), kind: AnswerKind::String, value: (*value).into() };
            Answer::check(&unchecked).unwrap()
        };
        PlannedPlugin {
            id: id.into(),
            path: "a.wasm".into(),
            digest: String::new(),
            packages: texts(packages),
            build_packages: Vec::new(),
            pins: Vec::new(),
            answers: answers.iter().map(answer).collect(),
            removals: texts(removals),
            params: BTreeMap::new(),
        }
    }

    #[track_caller]
    fn found(packages: &[&str], removals: &[&str], plugins: &[PlannedPlugin], expected: &[&str]) {
        let texts = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<String>>();
        let mut findings = Findings::default();
        check(&texts(packages), &texts(removals), plugins, &mut findings);
        assert_eq!(findings.0, expected);
    }

    #[test]
    fn nobody_removes_what_somebody_lists() {
        found(&["aa=1"], &["bb"], &[plugin("x/a", &["cc"], &[], &["dd"])], &[]);
        let both = [plugin("x/a", &["cc:arm64", "bb"], &[], &[]), plugin("x/b", &[], &[], &["cc", "aa"])];
        found(
            &["aa=1"],
            &["bb"],
            &both,
            &[
                "the package `aa` is listed by the recipe and removed by `x/b`",
                "the package `cc` is listed by `x/a` and removed by `x/b`",
                "the package `bb` is listed by `x/a` and removed by the recipe",
            ],
        );
        found(
            &[],
            &["-y"],
            &[],
            &["what the recipe removes: `-y` must be a package name: 2 to 120 lowercase letters, \
            digits, `+`, `-` or `.`, beginning with a letter or digit, and not ending with `-`"],
        );
    }

    #[test]
    fn a_question_has_one_answer() {
        let one = plugin("x/a", &[], &[("aa/q", "1"), ("aa/q", "1")], &[]);
        found(&[], &[], &[one.clone(), plugin("x/b", &[], &[("aa/q", "1"), ("aa/r", "2")], &[])], &[]);
        let other = plugin("x/b", &[], &[("aa/q", "2")], &[]);
        found(&[], &[], &[one, other], &["`x/a` and `x/b` answer `aa/q` differently: \"1\" and \"2\""]);
    }
}
