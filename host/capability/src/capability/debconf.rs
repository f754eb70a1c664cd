//! `debconf:<package>/<question>`: the answer to a question of a package. The package is written out; in what follows it `*`
//! is any text.

use std::fmt;

use super::glob::TextGlob;
use super::kind::{Kind, Risk, Scope};
use super::package::PackageName;
use crate::debconf::check_part;

pub const DEBCONF: Kind = Kind {
    name: "debconf",
    verb: "answer, before packages are installed, the questions",
    cannot: Some("answer questions of packages"),
    by_command: false,
};

/// Questions of one package.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QuestionGlob {
    package: PackageName,
    question: TextGlob,
}

impl Scope for QuestionGlob {
    const KINDS: &'static [&'static Kind] = &[&DEBCONF];
    /// The question that is answered.
    type Need = String;

    fn parse(scope: &str) -> Result<Self, String> {
        let (package, question) = scope.split_once('/').ok_or("it is `package/question`")?;
        if question.contains("**") {
            return Err("a question has `*`, not `**`".into());
        }
        check_part(question, "*").map_err(|rule| format!("a question {rule}"))?;
        Ok(Self { package: PackageName::parse(package)?, question: TextGlob::new(question) })
    }

    fn covers(&self, question: &String) -> bool {
        question
            .split_once('/')
            .is_some_and(|(package, name)| package == self.package.as_str() && self.question.matches(name))
    }

    fn includes(&self, other: &Self) -> bool {
        self.package == other.package && self.question.includes(&other.question)
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some((Risk::Medium, format!("answers `{declared}`, by which a package sets itself up")))
    }
}

impl fmt::Display for QuestionGlob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.package, self.question)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_of_one_package() {
        for (scope, question, expected) in [
            ("tzdata/Areas", "tzdata/Areas", true),
            ("tzdata/Areas", "tzdata/areas", false),
            ("tzdata/Areas", "tzdata/Areas2", false),
            ("tzdata/Areas", "tzdata2/Areas", false),
            ("tzdata/*", "tzdata/Zones/Europe", true),
            ("tzdata/Zones/*", "tzdata/Areas", false),
            ("tzdata/*", "locales/x", false),
            ("tzdata/*", "tzdata", false),
        ] {
            assert_eq!(
                QuestionGlob::parse(scope).unwrap().covers(&question.to_owned()),
                expected,
                "{scope} {question}"
            );
        }
        let all = QuestionGlob::parse("tzdata/*").unwrap();
        let one = QuestionGlob::parse("tzdata/Areas").unwrap();
        assert!(all.includes(&one) && !one.includes(&all) && one.includes(&one));
        assert!(!all.includes(&QuestionGlob::parse("tzdata-legacy/Areas").unwrap()));
    }

    #[test]
    fn malformed_scopes_say_why() {
        for (scope, rule) in [
            ("", "package/question"),
            ("tzdata", "package/question"),
            ("*/x", "one package"),
            ("tz*/x", "one package"),
            ("/x", "empty"),
            ("tzdata/", "1 to 200"),
            ("tzdata/a b", "1 to 200"),
            ("tzdata/**", "not `**`"),
            ("tzdata/a\n", "1 to 200"),
        ] {
            let error = QuestionGlob::parse(scope).unwrap_err();
            assert!(error.contains(rule), "{scope:?}: {error}");
        }
    }
}
