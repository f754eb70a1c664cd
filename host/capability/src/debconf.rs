//! Answers to the questions that packages ask when they are configured: what debconf may be told, and by which names. Pure.
//!
//! debconf keeps what it is told in the image, where every program of root can read it. So there is no password among the
//! kinds: a secret is no answer.

use std::fmt;
use std::fmt::Write as _;

use serde::{Deserialize, Serialize};

use super::package::check_name;

/// Most bytes of a value; the longest answers are lists of locales.
const LONGEST_VALUE: usize = 4096;
/// Most bytes of a question's name behind its package.
const LONGEST_QUESTION: usize = 200;

/// Type of an answer: <https://manpages.debian.org/stable/debconf-doc/debconf-devel.7.en.html#Type>.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswerKind {
    Boolean,
    String,
    Select,
    Multiselect,
}

impl AnswerKind {
    /// Returns debconf's own word.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "boolean",
            Self::String => "string",
            Self::Select => "select",
            Self::Multiselect => "multiselect",
        }
    }
}

/// An answer as a plugin gives it: nothing of it was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unchecked {
    /// `package/question`.
    pub question: String,
    pub kind: AnswerKind,
    pub value: String,
}

/// An answer that debconf takes for this one and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Answer {
    question: String,
    kind: AnswerKind,
    value: String,
}

impl Answer {
    /// # Errors
    /// A sentence that names the question and the rule that is broken.
    pub fn check(unchecked: &Unchecked) -> Result<Self, String> {
        let Unchecked { question, kind, value } = unchecked;
        check_question(question).map_err(|rule| format!("the question `{question}` {rule}"))?;
        check_value(*kind, value).map_err(|rule| format!("the answer to `{question}` {rule}"))?;
        Ok(Self { question: question.clone(), kind: *kind, value: value.clone() })
    }

    /// Returns `package/question`.
    pub fn question(&self) -> &str {
        &self.question
    }

    /// Returns the package that asks, by the question's name.
    pub fn package(&self) -> &str {
        self.question.split('/').next().unwrap_or_default()
    }

    pub fn value(&self) -> &str {
        &self.value
    }
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Quoted, so that no value looks like more than a value.
        write!(f, "{} with {} {:?}", self.question, self.kind.as_str(), self.value)
    }
}

impl TryFrom<Unchecked> for Answer {
    type Error = String;

    fn try_from(unchecked: Unchecked) -> Result<Self, String> {
        Self::check(&unchecked)
    }
}

impl From<Answer> for Unchecked {
    fn from(answer: Answer) -> Self {
        let Answer { question, kind, value } = answer;
        Self { question, kind, value }
    }
}

/// Returns the lines that debconf-set-selections(1) reads: owner, question, kind and value.
pub fn selections(answers: &[Answer]) -> String {
    answers.iter().fold(String::new(), |mut text, answer| {
        let (package, kind) = (answer.package(), answer.kind.as_str());
        writeln!(text, "{package} {} {kind} {}", answer.question, answer.value).expect("a string can be written to");
        text
    })
}

/// Checks the name of a question, which begins with that of its package.
///
/// # Errors
/// The rule it breaks.
pub fn check_question(question: &str) -> Result<(), String> {
    let (package, name) =
        question.split_once('/').ok_or("must be `package/question`, as `debconf-show` names it".to_owned())?;
    check_name(package)?;
    check_part(name, "")
}

/// Checks the part of a question's name behind the package; `more` are further characters that it may have.
///
/// # Errors
/// The rule it breaks.
pub fn check_part(name: &str, more: &str) -> Result<(), String> {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_.+-/".contains(c) || more.contains(c);
    let good = (1..=LONGEST_QUESTION).contains(&name.len())
        && name.chars().all(plain)
        && name.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    if good {
        return Ok(());
    }
    Err(format!(
        "must have 1 to {LONGEST_QUESTION} ASCII letters, digits, `_`, `.`, `+`, `-` and `/` behind the package's name"
    ))
}

/// Checks a value. debconf's formats consist of lines, in which `\` at the end, and before an `n`, continues the line.
fn check_value(kind: AnswerKind, value: &str) -> Result<(), String> {
    if value.len() > LONGEST_VALUE || value.contains(|c: char| c.is_control() || c == '\\') || value.trim() != value {
        return Err(format!(
            "must be one line of at most {LONGEST_VALUE} bytes, without control characters, `\\`, or spaces at its ends"
        ));
    }
    if kind == AnswerKind::Boolean && !["true", "false"].contains(&value) {
        return Err("must be `true` or `false`".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(question: &str, kind: AnswerKind, value: &str) -> Result<Answer, String> {
        Answer::check(&Unchecked { question: question.into(), kind, value: value.into() })
    }

    #[test]
    fn an_answer_is_one_line_for_debconf() {
        let answers = [
            check("tzdata/Zones/Europe", AnswerKind::Select, "Berlin").unwrap(),
            check("man-db/auto-update", AnswerKind::Boolean, "false").unwrap(),
            check("locales/locales_to_be_generated", AnswerKind::Multiselect, "de_DE.UTF-8 UTF-8, C").unwrap(),
            check("libc6/x", AnswerKind::String, "").unwrap(),
        ];
        assert_eq!(
            selections(&answers),
            "tzdata tzdata/Zones/Europe select Berlin\nman-db man-db/auto-update boolean false\n\
             locales locales/locales_to_be_generated multiselect de_DE.UTF-8 UTF-8, C\nlibc6 libc6/x string \n"
        );
        assert_eq!(answers[0].package(), "tzdata");
        assert_eq!(answers[0].to_string(), "tzdata/Zones/Europe with select \"Berlin\"");
    }

    #[test]
    fn what_debconf_would_take_for_something_else_is_refused() {
        use AnswerKind::{Boolean, String};
        for (question, kind, value, rule) in [
            ("tzdata", String, "x", "must be `package/question`"),
            ("/x", String, "x", "must be a package name"),
            ("tz data/x", String, "x", "must be a package name"),
            ("# tzdata/x", String, "x", "must be a package name"),
            ("tzdata/", String, "x", "behind the package's name"),
            ("tzdata/a b", String, "x", "behind the package's name"),
            ("tzdata/a\n", String, "x", "behind the package's name"),
            ("tzdata/*", String, "x", "behind the package's name"),
            ("tzdata/a//b", String, "x", "behind the package's name"),
            ("tzdata/\u{e4}", String, "x", "behind the package's name"),
            ("tzdata/x", String, "a\nsudo sudo/x boolean true", "one line"),
            ("tzdata/x", String, "a\rb", "one line"),
            ("tzdata/x", String, "a\u{85}b", "one line"),
            ("tzdata/x", String, "a\0", "one line"),
            ("tzdata/x", String, "a\\", "one line"),
            ("tzdata/x", String, "a\\nb", "one line"),
            ("tzdata/x", String, " a", "one line"),
            ("tzdata/x", Boolean, "yes", "must be `true` or `false`"),
        ] {
            let error = check(question, kind, value).unwrap_err();
            assert!(error.contains(rule), "{question:?} {value:?}: {error}");
        }
        assert!(check("tzdata/x", String, &"a".repeat(LONGEST_VALUE + 1)).unwrap_err().contains("4096"));
    }

    #[test]
    fn what_was_kept_is_checked_again() {
        let text = r#"{"question":"a0/b","kind":"string","value":"x\ny"}"#;
        assert!(serde_json::from_str::<Answer>(text).unwrap_err().to_string().contains("one line"));
        let answer = check("a0/b", AnswerKind::String, "x").unwrap();
        assert_eq!(serde_json::from_str::<Answer>(&serde_json::to_string(&answer).unwrap()).unwrap(), answer);
    }
}
