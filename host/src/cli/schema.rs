//! Implements `piimg schema`.

use clap::Args;

use crate::error::Result;
use crate::recipe::schema::schema;
use crate::ui::Ui;

/// Print the JSON schema of `piimg.toml`, by which editors complete and check a recipe.
#[derive(Debug, Args)]
#[command(after_help = "\
Written to piimg.schema.json beside the recipe, an editor finds it by the recipe's first line: #:schema ./piimg.schema.json

Example: piimg schema")]
pub(super) struct Arguments {}

pub(super) fn run(_arguments: &Arguments, ui: &Ui) -> Result<i32> {
    ui.json(&schema()?)?;
    Ok(0)
}
