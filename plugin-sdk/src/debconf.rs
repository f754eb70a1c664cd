//! Answers to the questions that packages ask when they are configured. debconf has them before the packages are installed:
//! [`PluginConf::answer`](crate::PluginConf::answer) for what is always answered, [`answer`] for what follows from a parameter.
//!
//! debconf keeps what it is told in the image, as it is. So there are no answers of the type `password`; for passwords of
//! users there is [`crate::users::set_password_from`].

use crate::__private::bindings::piimg::plugin::wishes as raw;
use crate::{Error, Need, Needs};
pub use raw::{Answer, AnswerKind};

/// Answers yes or no to `question`, `package/question` as `debconf-show` names it.
///
/// ```
/// use piimg_plugin_sdk::debconf;
///
/// assert_eq!(debconf::boolean("iperf3/start_daemon", true).value, "true");
/// ```
#[must_use]
pub fn boolean(question: &str, value: bool) -> Answer {
    of_kind(AnswerKind::Boolean, question, if value { "true" } else { "false" })
}

/// Answers with a text of one line.
///
/// ```
/// use piimg_plugin_sdk::debconf;
///
/// assert_eq!(debconf::string("postfix/mailname", "field.example.org").value, "field.example.org");
/// ```
#[must_use]
pub fn string(question: &str, value: &str) -> Answer {
    of_kind(AnswerKind::String, question, value)
}

/// Answers with one of the values that are offered. debconf does not compare it with them.
///
/// ```
/// use piimg_plugin_sdk::debconf;
///
/// assert_eq!(debconf::select("postfix/main_mailer_type", "Local only").value, "Local only");
/// ```
#[must_use]
pub fn select(question: &str, value: &str) -> Answer {
    of_kind(AnswerKind::Select, question, value)
}

/// Answers with some of the values that are offered.
///
/// ```
/// use piimg_plugin_sdk::debconf;
///
/// assert_eq!(debconf::multiselect("locales/locales_to_be_generated", &["en_GB.UTF-8 UTF-8", "de_DE.UTF-8 UTF-8"]).value, "en_GB.UTF-8 UTF-8, de_DE.UTF-8 UTF-8");
/// ```
#[must_use]
pub fn multiselect(question: &str, values: &[&str]) -> Answer {
    of_kind(AnswerKind::Multiselect, question, &values.join(", "))
}

fn of_kind(kind: AnswerKind, question: &str, value: &str) -> Answer {
    Answer { question: question.to_owned(), kind, value: value.to_owned() }
}

/// For answers that are given while the plugin runs, with [`answer`]; those of [`PluginConf::answer`](crate::PluginConf::answer)
/// are asked for by themselves.
impl Needs for Answer {
    fn needs(&self) -> Vec<Need> {
        let Self { question, value, .. } = self;
        vec![Need::capability(format!("debconf:{question}"), format!("answers {question} with {value}"))]
    }
}

/// Sees that debconf has these answers. Call it before [`crate::packages::install`] of what asks: as there, the first call
/// ends the run, and `execute` begins anew where the answers are known. Needs `debconf:<question>` for each.
///
/// ```no_run
/// # use piimg_plugin_sdk::{debconf, packages};
/// debconf::answer(&[debconf::boolean("iperf3/start_daemon", true)])?;
/// packages::install(&["iperf3"])?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
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
