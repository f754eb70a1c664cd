//! Implements `piimg shell`.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::Args;

use super::build_request::{OrderArguments, now, order};
use crate::error::{Failure, Result};
use crate::steps::shell::When;
use crate::supervisor::{Outcome, ShellRequest, build};
use crate::ui::Ui;

/// Open a shell in the image that a build would make, or in another one; what is changed there is listed and dropped.
#[derive(Debug, Args)]
#[command(after_help = "\
The image itself is not made, and IMAGE is not changed. Programs of the image run in the box of a build, without a network.

Example: piimg shell --recipe robot.toml
         piimg shell --release bookworm robot.img -- dpkg --list")]
pub(super) struct Arguments {
    /// Image or archive to look into, as with --base; without it, what the recipe describes.
    image: Option<PathBuf>,
    #[command(flatten)]
    order: OrderArguments,
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
    order.shell = Some(ShellRequest { when: When::AtTheEnd, command: arguments.command.clone() });
    match build(&order, now(), ui)? {
        Outcome::Built(_) => Ok(0),
        Outcome::Failed(code) => Ok(code),
    }
}

/// Returns the request for a shell where a plugin fails.
///
/// # Errors
/// [`Failure::usage`] if nobody could type into it.
pub(super) fn on_failure() -> Result<ShellRequest> {
    if std::io::stdin().is_terminal() && std::io::stdout().is_terminal() {
        return Ok(ShellRequest { when: When::OnFailure, command: Vec::new() });
    }
    let failure = Failure::usage("--shell-on-failure needs a terminal to type into");
    Err(failure.hint("leave it out where nobody is there, as in CI").into())
}
