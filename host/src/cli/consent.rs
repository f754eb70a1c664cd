//! Asks for grants and keeps the answers: the same words for `piimg grant` and before a build.

use std::path::Path;

use crate::error::Result;
use crate::plugin::grant_prompt::{Proposal, Question};
use crate::plugin::lock;
use crate::ui::{Printable as _, Ui, printable};

/// Where the answers come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answers {
    /// The person at the terminal.
    Terminal,
    /// `--yes`.
    Yes,
}

/// Asks what a proposal asks, and writes the grants into the lock file. Returns false on a no to what the plugin cannot
/// do without.
///
/// # Errors
/// If the file cannot be written, or the terminal cannot be read.
pub(super) fn ask(proposal: &Proposal, path: &Path, answers: Answers, ui: &Ui) -> Result<bool> {
    for note in proposal.notes() {
        ui.say(&note);
    }
    let question = |question: Question| -> Result<bool> {
        question.lines.iter().for_each(|line| ui.say(line));
        match answers {
            Answers::Terminal => ui.ask(&question.question),
            Answers::Yes => Ok(true),
        }
    };
    let first = proposal.first().map(question).transpose()?;
    if first == Some(false) {
        return Ok(false);
    }
    let second = proposal.second().map(question).transpose()?;
    if first.is_none() && second != Some(true) {
        return Ok(true);
    }
    let entry = proposal.entry(second == Some(true));
    lock::update(path, |text| lock::set(text, &entry).map(Some))?;
    let count = match entry.grant.len() {
        1 => "1 capability".into(),
        count => format!("{count} capabilities"),
    };
    ui.info(&format!("`{}` has {count} in `{}`", printable(proposal.id()), path.printable()));
    Ok(true)
}
