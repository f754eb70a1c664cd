//! `piimg build`.

use std::path::PathBuf;
use std::time::Instant;

use clap::Args;

use super::order::{OrderArguments, now, order};
use crate::build::outside::{Outcome, build};
use crate::error::Result;
use crate::ui::{Timings, Ui};

/// Build an image; its path is the only line on standard output. With `--output`, each result has a line.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    order: OrderArguments,
    /// Write when each step ended to this file, as JSON lines.
    #[arg(long, value_name = "FILE")]
    timings: Option<PathBuf>,
    /// Write the packages of the image, with versions and digests, to `piimg.lock`.
    #[arg(long, conflicts_with = "locked")]
    update_lock: bool,
}

pub(super) fn run(arguments: &Arguments, started: Instant, mut ui: Ui) -> Result<i32> {
    if let Some(path) = &arguments.timings {
        ui = ui.with_timings(Timings::create(path, started)?);
    }
    let mut order = order(&arguments.order, Some(&ui))?;
    order.updates_lock = arguments.update_lock;
    match build(&order, now(), &ui)? {
        Outcome::Built(paths) => {
            ui.event("done", None, Instant::now());
            paths.iter().for_each(|path| ui.path(path));
            Ok(0)
        }
        Outcome::Failed(code) => Ok(code),
    }
}
