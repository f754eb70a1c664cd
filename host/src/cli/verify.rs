//! `piimg verify`.

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;

use clap::Args;

use super::blame::{build_info, open_root};
use crate::error::{Context, Failure, Kind, Result};
use crate::image::models::Model;
use crate::image::verify::{Expectations, Outcome, verify};
use crate::sandbox::parser::Parser;
use crate::ui::{Printable as _, Ui, printable};

/// Check an image: table, file systems, boot files, and what must not be in it.
#[derive(Debug, Args)]
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
    let file = open(&arguments.image)?;
    let models = arguments.models.iter().map(|name| model(name)).collect::<Result<_>>()?;
    let on_purpose = Some(on_purpose(&arguments.image));
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

/// The files that plugins wrote for just this image, if it tells of any.
fn on_purpose(image: &std::path::Path) -> BTreeSet<String> {
    // What is wrong with the image, the checks find out.
    let info = open_root(image).and_then(|root| build_info(&root)).ok().flatten();
    info.map(|info| info.changed_by_plugins()).unwrap_or_default()
}

/// Opens an image for reading.
pub(super) fn open(path: &std::path::Path) -> Result<File> {
    let refused = || Failure::usage(format!("cannot open the image `{}`", path.printable()));
    let kind = std::fs::metadata(path).with_context(refused)?.file_type();
    // To open a pipe is to wait for somebody at its other end.
    anyhow::ensure!(kind.is_file() || kind.is_block_device(), refused().hint("it must be a file, or a disk"));
    File::open(path).with_context(refused)
}

/// What to say of a file that cannot be taken apart.
pub(super) fn no_image(path: &std::path::Path) -> Failure {
    Failure::build(format!("`{}` is not a Raspberry Pi image that piimg understands", path.printable()))
}

/// The model of that name.
pub(super) fn model(name: &str) -> Result<Model> {
    Model::from_name(name).ok_or_else(|| {
        let known: Vec<&str> = Model::ALL.into_iter().map(Model::name).collect();
        Failure::usage(format!("there is no model `{}`; piimg knows: {}", printable(name), known.join(", "))).into()
    })
}
