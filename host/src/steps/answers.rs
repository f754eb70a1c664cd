//! Answers to questions of packages, which debconf of the image takes before the packages are installed.
//!
//! debconf-set-selections says nothing of a line that it does not understand in all of its versions, so that its database
//! is looked at afterwards.

use std::path::Path;

use super::workbench::input::feed;
use crate::error::{Context, Failure, Result};
use crate::plugin::workbench::Stdin;
use crate::recipe::debconf::{Answer, selections};
use crate::rootfs::files::{ImagePath, Rootfs};
use crate::sandbox::command::BoxCommand;
use crate::ui::{Step, printable};

/// Tells debconf what is answered to questions.
const PROGRAM: &str = "/usr/bin/debconf-set-selections";
/// File in which debconf stores answers, except for passwords.
const DATABASE: &str = "/var/cache/debconf/config.dat";
/// Largest database that is read; a desktop's has 100 KB.
const LIMIT: u64 = 64 << 20;

/// Has debconf of the image that is mounted at `root` keep `answers`, marked as seen.
///
/// # Errors
/// [`Failure::build`] if the image has no debconf, or it did not keep one.
pub(super) fn give(root: &Path, answers: &[Answer], step: &Step) -> Result<()> {
    let rootfs = Rootfs::open(root, 0)?;
    if rootfs.metadata(&ImagePath::parse(PROGRAM)?)?.is_none() {
        return Err(Failure::build(format!(
            "the image has no debconf that could keep answers: `{PROGRAM}` is missing"
        ))
        .hint("list the package `debconf` in the recipe, or take a base that has it")
        .into());
    }
    let before = database(&rootfs)?;
    if let Some(answer) = answers.iter().find(|answer| is_asked(&before, answer) && !is_kept(&before, answer)) {
        let text = printable(answer.question());
        return Err(Failure::build(format!(
            "cannot answer `{text}`: a package that is installed has asked it already"
        ))
        .hint("whoever installs the package must answer, in conf() or before `packages::install`")
        .into());
    }
    let text = selections(answers);
    let (input, feeder) = feed(Stdin::Bytes(text.as_bytes()))?;
    let said = BoxCommand::new(root, [PROGRAM]).check_with(Some(input), &mut |_, line| {
        step.detail(&format!("debconf | {line}"));
    });
    drop(feeder);
    said?;
    let after = database(&rootfs)?;
    let lost = answers.iter().find(|answer| !is_kept(&after, answer));
    lost.map_or(Ok(()), |answer| {
        let text = printable(&answer.to_string());
        Err(Failure::build(format!("debconf did not keep the answer {text}")).into())
    })
}

/// Returns debconf's database; empty if there are no answers yet.
fn database(rootfs: &Rootfs) -> Result<String> {
    let path = ImagePath::parse(DATABASE)?;
    if rootfs.metadata(&path)?.is_none() {
        return Ok(String::new());
    }
    let text = rootfs.read(&path, LIMIT).context("cannot read debconf's database")?;
    Ok(String::from_utf8_lossy(&text).into_owned())
}

/// Returns whether the question is there: a package that is configured registers what it asks.
fn is_asked(database: &str, answer: &Answer) -> bool {
    let name = format!("Name: {}", answer.question());
    database.lines().any(|line| line == name)
}

/// Returns whether the database, paragraphs of `Field: value`, has the answer.
fn is_kept(database: &str, answer: &Answer) -> bool {
    database.split("\n\n").any(|stanza| {
        let field = |name: &str| {
            let lines = stanza.lines().filter_map(|line| line.split_once(':'));
            lines.filter(|(field, _)| *field == name).map(|(_, value)| value.trim()).next().unwrap_or_default()
        };
        let is_seen = field("Flags").split([' ', ',']).any(|flag| flag == "seen");
        field("Name") == answer.question() && field("Value") == answer.value() && is_seen
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::debconf::{AnswerKind, Unchecked};

    #[test]
    fn an_answer_that_was_not_kept_is_seen() {
        let database = "Name: tzdata/Areas\nTemplate: tzdata/Areas\nValue: Europe\nOwners: tzdata\nFlags: seen\n\n\
                        Name: tzdata/Zones\nValue: a: b\nOwners: tzdata\n\nName: aa/empty\nFlags: seen\n";
        for (question, value, expected) in [
            ("tzdata/Areas", "Europe", true),
            ("tzdata/Areas", "Asia", false),
            ("tzdata/Areas", "", false),
            // It would be asked again.
            ("tzdata/Zones", "a: b", false),
            ("tzdata/Other", "", false),
            ("aa/empty", "", true),
        ] {
            let unchecked = Unchecked { question: question.into(), kind: AnswerKind::String, value: value.into() };
            let answer = Answer::check(&unchecked).unwrap();
            assert_eq!(is_kept(database, &answer), expected, "{answer}");
            assert_eq!(is_asked(database, &answer), question != "tzdata/Other", "{answer}");
        }
    }
}
