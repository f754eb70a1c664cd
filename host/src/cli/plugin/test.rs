//! `piimg plugin test`.

use std::path::PathBuf;
use std::process::Stdio;

use clap::Args;

use super::build::{build, cargo, manifest};
use crate::error::{Context as _, Failure, Kind, Result};
use crate::sandbox::tool::exit_status;
use crate::ui::Ui;

/// Compile the plugin in a directory, and run its tests with the component.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg plugin test . -- --nocapture greets")]
pub(super) struct Arguments {
    /// Directory with its Cargo.toml.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// For the tests.
    #[arg(last = true)]
    rest: Vec<String>,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let component = build(&arguments.dir, None, ui)?;
    let own = std::env::current_exe().context("cannot find this program")?;
    // What the crate `piimg-plugin-test` looks for.
    let cargo = cargo(ui)?.env("PIIMG_PLUGIN", &component).env("PIIMG", own);
    let cargo = cargo.arg("test").arg("--manifest-path").arg(manifest(&arguments.dir)?).arg("--").args(&arguments.rest);
    let status = cargo.command()?.stdin(Stdio::null()).status();
    let status = status.context(Failure::host("cannot start `cargo`"))?;
    Ok(if exit_status(status) == 0 { 0 } else { Kind::Plugin as i32 })
}
