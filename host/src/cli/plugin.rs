//! `piimg plugin`: what authors of plugins need.

mod build;
mod check;
pub(super) mod new;
mod python;
mod run;
mod test;

use clap::{Args, Subcommand};

use crate::error::Result;
use crate::ui::Ui;

/// Make, build, test, try and check a plugin.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg plugin new hello && cd hello && piimg plugin test")]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    New(new::Arguments),
    Build(build::Arguments),
    Test(test::Arguments),
    Run(Box<run::Arguments>),
    Check(check::Arguments),
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    match &arguments.command {
        Command::New(arguments) => new::run(arguments, ui),
        Command::Build(arguments) => build::run(arguments, ui),
        Command::Test(arguments) => test::run(arguments, ui),
        Command::Run(arguments) => run::run(arguments, ui),
        Command::Check(arguments) => check::run(arguments, ui),
    }
}
