//! `piimg build`.

use clap::Args;

use super::order::{OrderArguments, now, order};
use crate::build::outside::{Outcome, build};
use crate::error::Result;
use crate::ui::Ui;

/// Build an image; its path is the only line on standard output.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    order: OrderArguments,
}

pub(super) fn run(arguments: Arguments, ui: &Ui) -> Result<i32> {
    let order = order(arguments.order)?;
    match build(&order, now(), ui)? {
        Outcome::Image(path) => {
            ui.data(&path.display().to_string());
            Ok(0)
        }
        Outcome::Failed(code) => Ok(code),
    }
}
