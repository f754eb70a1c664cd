//! Implements `piimg build`.

use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::Args;

use super::build_request::{OrderArguments, now, order};
use super::shell;
use crate::error::Result;
use crate::recipe::overrides::heading::{PACKAGES, PLUGINS, RESULTS};
use crate::supervisor::{Order, Outcome, build};
use crate::ui::{Events, Ui, shell_quoted};

/// Build an image; its path is the only line on standard output. With `--output`, each result has a line.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg build --plugin motd.wasm --grant-requested --hostname robot --imagedir out")]
pub(super) struct Arguments {
    #[command(flatten)]
    order: OrderArguments,
    /// Write what happens to this file as it happens, as JSON lines for programs.
    #[arg(long, value_name = "FILE", help_heading = RESULTS)]
    json_events: Option<PathBuf>,
    /// Write the packages of the image, with versions and digests, to `piimg.lock`.
    #[arg(long, conflicts_with = "locked", help_heading = PACKAGES)]
    update_lock: bool,
    /// Where a plugin fails, open a shell in the image as it left it; needs a terminal.
    #[arg(long, help_heading = PLUGINS)]
    shell_on_failure: bool,
}

pub(super) fn run(arguments: &Arguments, started: Instant, mut ui: Ui) -> Result<i32> {
    if let Some(path) = &arguments.json_events {
        ui = ui.with_events(Events::create(path, started)?);
    }
    // Here, for the events have the error too.
    let code = built(arguments, &ui).unwrap_or_else(|error| ui.error(&error));
    ui.ends(code);
    Ok(code)
}

/// Builds, and returns the exit code.
fn built(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let shell = arguments.shell_on_failure.then(shell::on_failure).transpose()?;
    let mut order = Order { shell, ..order(&arguments.order, Some(ui))? };
    order.updates_lock = arguments.update_lock;
    match build(&order, now(), ui)? {
        Outcome::Built(paths) => {
            paths.iter().for_each(|path| ui.result(path));
            if let Some(image) = paths.first().filter(|path| is_image(path)) {
                ui.next(&next_steps(image));
            }
            Ok(0)
        }
        Outcome::Failed(code) => Ok(code),
    }
}

/// Returns whether a result is an image, compressed or not.
fn is_image(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    name.trim_end_matches(".zst").trim_end_matches(".xz").ends_with(".img")
}

/// Returns what one may do with an image, and the command for it.
fn next_steps(image: &Path) -> [(&'static str, String); 3] {
    let image = shell_quoted(&image.to_string_lossy());
    let piimg = std::env::args().next().unwrap_or_else(|| "piimg".to_owned());
    [
        ("see what is in it", format!("{piimg} inspect {image}")),
        ("boot it here", format!("{piimg} boot {image}")),
        ("write it to a card", format!("sudo bmaptool copy {image} /dev/CARD")),
    ]
}
