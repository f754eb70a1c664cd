//! Answers to the questions that packages ask when they are configured. debconf has them before the packages are installed:
//! [`PluginConf::answer`](crate::PluginConf::answer) for what is always answered, [`answer`] for what follows from a parameter.
//!
//! debconf keeps what it is told in the image, as it is. So there are no answers of the type `password`; for passwords of
//! users there is [`crate::users::set_password_from`].

use crate::__private::bindings::piimg::plugin::wishes as raw;
use crate::Error;
pub use raw::{Answer, AnswerKind};

/// Answers yes or no to `question`, `package/question` as `debconf-show` names it.
#[must_use]
pub fn boolean(question: &str, value: bool) -> Answer {
    of_kind(AnswerKind::Boolean, question, if value { "true" } else { "false" })
}

/// Answers with a text of one line.
#[must_use]
pub fn string(question: &str, value: &str) -> Answer {
    of_kind(AnswerKind::String, question, value)
}

/// Answers with one of the values that are offered. debconf does not compare it with them.
#[must_use]
pub fn select(question: &str, value: &str) -> Answer {
    of_kind(AnswerKind::Select, question, value)
}

/// Answers with some of the values that are offered.
#[must_use]
pub fn multiselect(question: &str, values: &[&str]) -> Answer {
    of_kind(AnswerKind::Multiselect, question, &values.join(", "))
}

fn of_kind(kind: AnswerKind, question: &str, value: &str) -> Answer {
    Answer { question: question.to_owned(), kind, value: value.to_owned() }
}

/// Sees that debconf has these answers. Call it before [`crate::packages::install`] of what asks: as there, the first call
/// ends the run, and `execute` begins anew where the answers are known. Needs `debconf:<question>` for each.
///
/// # Errors
/// [`crate::ErrorCode::Denied`], and [`crate::ErrorCode::Invalid`] for what is no answer, if the package is installed already,
/// or if somebody else answered otherwise.
pub fn answer(answers: &[Answer]) -> Result<(), Error> {
    Ok(raw::set_answers(answers)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_written_as_debconf_reads_them() {
        assert_eq!(boolean("a/b", false).value, "false");
        let several = multiselect("locales/x", &["C", "de_DE.UTF-8 UTF-8"]);
        assert_eq!((several.kind, several.value.as_str()), (AnswerKind::Multiselect, "C, de_DE.UTF-8 UTF-8"));
    }
}
