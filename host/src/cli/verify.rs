//! Implements `piimg verify`.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::PathBuf;

use clap::Args;

use super::blame::{build_info, root_of};
use super::image::open;
use crate::error::{Failure, Kind, Result};
use crate::image::models::Model;
use crate::image::verify::{Expectations, Outcome, verify};
use crate::sandbox::parser::Parser;
use crate::ui::{Ui, printable};

/// Check an image: table, file systems, boot files, and what must not be in it.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg verify robot.img --model pi4")]
pub(super) struct Arguments {
    image: PathBuf,
    /// Pi model that it must boot; may be repeated. Without one it must boot any.
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    /// Print the checks as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let file = open(&arguments.image, ui)?;
    let models = arguments.models.iter().map(|name| model(name)).collect::<Result<_>>()?;
    let on_purpose = Some(on_purpose(&file));
    let report = verify(&file, &Expectations { models, on_purpose, ..Expectations::default() }, &Parser::default())?;
    if arguments.json {
        ui.json(&report)?;
    } else {
        for check in &report.checks {
            match &check.outcome {
                Outcome::Passed(text) => ui.data(&format!("ok       {}: {}", check.name, printable(text))),
                Outcome::Noted(notes) => {
                    for note in notes {
                        ui.data(&format!("note     {}: {}", check.name, printable(note)));
                    }
                }
                Outcome::Skipped(text) => ui.data(&format!("skipped  {}: {}", check.name, printable(text))),
                Outcome::Failed(findings) => {
                    for finding in findings {
                        ui.data(&format!("FAILED   {}: {}", check.name, printable(finding)));
                    }
                }
            }
        }
    }
    Ok(if report.passed() { 0 } else { Kind::Build as i32 })
}

/// Returns the files that plugins wrote for just this image, if it tells of any.
fn on_purpose(image: &File) -> BTreeSet<String> {
    // What is wrong with the image, the checks find out.
    let info = root_of(image).and_then(|root| build_info(&root)).ok().flatten();
    info.map(|info| info.changed_by_plugins()).unwrap_or_default()
}

/// Returns the model of that name.
pub(super) fn model(name: &str) -> Result<Model> {
    Model::from_name(name).ok_or_else(|| {
        Failure::usage(format!("there is no model `{}`; piimg knows: {}", printable(name), Model::known())).into()
    })
}
