//! Implements `piimg shell`.

mod draft;

use std::fs::File;
use std::io::{IsTerminal as _, Read as _, Seek as _};
use std::path::PathBuf;

use clap::Args;

use super::build_request::{OrderArguments, now, order};
use super::plugin::new;
use crate::error::{Context as _, Failure, Result};
use crate::recipe::overrides::heading::RESULTS;
use crate::steps::shell::{DraftEntry, LONGEST_DRAFT, When};
use crate::supervisor::{Outcome, ShellRequest, build};
use crate::ui::{Printable as _, Ui};

/// Open a shell in the image that a build would make, or in another one; what is changed there is listed, and dropped unless
/// it is kept.
#[derive(Debug, Args)]
#[command(after_help = "\
The image itself is made with --keep alone, and IMAGE is never changed. Programs of the image run in the box of a build, without
a network.

Example: piimg shell --recipe robot.toml
         piimg shell --release bookworm robot.img -- dpkg --list
         piimg shell --recipe robot.toml --keep --imagedir out")]
pub(super) struct Arguments {
    /// Image or archive to look into, as with --base; without it, what the recipe describes.
    image: Option<PathBuf>,
    #[command(flatten)]
    order: OrderArguments,
    /// Make an image with what was changed, as `piimg build` does: no plugin and no recipe can make it again.
    #[arg(long, help_heading = RESULTS)]
    keep: bool,
    /// Make a plugin in this directory, which must not exist yet, that changes the same: a draft, to be read and reasoned.
    #[arg(long, value_name = "DIR", help_heading = RESULTS)]
    draft: Option<PathBuf>,
    /// Where the SDK of the draft comes from, as with `piimg plugin new`.
    #[arg(long, value_name = "PATH|GIT", requires = "draft", help_heading = RESULTS)]
    sdk: Option<String>,
    /// Command to run in place of a shell.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let request = match &arguments.image {
        Some(image) => arguments.order.clone().on(image),
        None => arguments.order.clone(),
    };
    let mut order = order(&request, Some(ui))?;
    let draft = match &arguments.draft {
        None => None,
        // Before anybody works for it.
        Some(target) => new::check(target).and_then(|_| ShellRequest::draft_file()).map(Some)?,
    };
    let command = arguments.command.clone();
    let when = if arguments.keep { When::BeforeTheImage } else { When::AtTheEnd };
    order.shell = Some(ShellRequest { when, command, draft: draft.clone() });
    match build(&order, now(), ui)? {
        Outcome::Built(paths) => paths.iter().for_each(|path| ui.result(path)),
        Outcome::Failed(code) => return Ok(code),
    }
    if let (Some(file), Some(target)) = (draft, &arguments.draft) {
        let entries = read(&file)?;
        if entries.is_empty() {
            return Ok(0);
        }
        draft::write(target, arguments.sdk.as_deref(), &order.plan.release.name, &entries)?;
        ui.info(&format!("a draft of a plugin is in `{}`: read its src/lib.rs", target.printable()));
    }
    Ok(0)
}

/// Reads what was changed.
fn read(mut file: &File) -> Result<Vec<DraftEntry>> {
    let mut text = Vec::new();
    file.rewind().and_then(|()| file.take(LONGEST_DRAFT).read_to_end(&mut text)).context("cannot read the draft")?;
    postcard::from_bytes(&text).context("cannot read the draft")
}

/// Returns the request for a shell where a plugin fails.
///
/// # Errors
/// [`Failure::usage`] if nobody could type into it.
pub(super) fn on_failure() -> Result<ShellRequest> {
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(ShellRequest { when: When::OnFailure, command: Vec::new(), draft: None });
    }
    let failure = Failure::usage("--shell-on-failure needs a terminal to type into");
    Err(failure.hint("leave it out where nobody is there, as in CI").into())
}
