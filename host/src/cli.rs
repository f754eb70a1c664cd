//! The command line: the only place that knows clap. One file per subcommand.

mod audit;
mod blame;
mod boot;
mod build;
mod cache;
mod consent;
mod doctor;
mod grant;
mod image;
mod inspect;
mod order;
mod plan;
mod verify;

use std::time::Instant;

use clap::{Parser, Subcommand};

use crate::error::{Kind, Result};
use crate::host_files::take_umask;
use crate::ui::{Ui, Verbosity};

/// Builds Raspberry Pi images from distribution packages and sandboxed customization plugins.
#[derive(Debug, Parser)]
#[command(name = "piimg", version, max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    /// Say only what is wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also show what programs and plugins print.
    #[arg(short, long, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 build failed, 2 usage or recipe, 3 the host lacks a tool or privilege,
4 a grant is missing, 5 a plugin failed, 70 a bug in piimg.";

#[derive(Debug, Subcommand)]
enum Command {
    Build(build::Arguments),
    Plan(plan::Arguments),
    Grant(grant::Arguments),
    Verify(verify::Arguments),
    Boot(boot::Arguments),
    Inspect(inspect::Arguments),
    Audit(audit::Arguments),
    Blame(blame::Arguments),
    Cache(cache::Arguments),
    Doctor(doctor::Arguments),
}

/// Runs the program and returns its exit code.
pub fn main() -> i32 {
    let started = Instant::now();
    take_umask();
    // piimg starts itself with plain text only; a user's argument may be any bytes.
    let plain: Vec<String> = std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect();
    if let Some(code) = internal(&plain) {
        return code;
    }
    let arguments = match Arguments::try_parse() {
        Ok(arguments) => arguments,
        Err(error) => {
            // Help and version are data; a mistake goes to standard error. Nobody is left to tell if both are closed.
            error.print().ok();
            return if error.use_stderr() { Kind::Usage as i32 } else { 0 };
        }
    };
    let verbosity = match (arguments.quiet, arguments.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let ui = Ui::new(verbosity);
    let result = match arguments.command {
        Command::Build(arguments) => build::run(&arguments, started, ui.clone()),
        Command::Plan(arguments) => plan::run(&arguments, &ui),
        Command::Grant(arguments) => grant::run(&arguments, &ui),
        Command::Verify(arguments) => verify::run(&arguments, &ui),
        Command::Boot(arguments) => boot::run(&arguments, &ui),
        Command::Inspect(arguments) => inspect::run(&arguments, &ui),
        Command::Audit(arguments) => audit::run(&arguments, &ui),
        Command::Blame(arguments) => blame::run(&arguments, &ui),
        Command::Cache(arguments) => cache::run(&arguments, &ui),
        Command::Doctor(arguments) => doctor::run(arguments, &ui),
    };
    ui.finish(result.unwrap_or_else(|error| ui.error(&error)))
}

/// The ways in which piimg starts itself; not for users, and so not in the help.
fn internal(arguments: &[String]) -> Option<i32> {
    use crate::sandbox::{init, private};

    let role = arguments.get(1)?.strip_prefix("__")?;
    let rest = &arguments[2..];
    let result: Result<i32> = match role {
        "inside" => private::inside(rest),
        "build" => crate::build::inside(rest),
        "unpack" => crate::build::unpack_inside(rest).map(|()| 0),
        "probe" => crate::build::probe::inside(rest).map(|()| 0),
        "cache" => crate::build::cache::inside(rest),
        "compare" => crate::build::compare::inside(rest).map(|()| 0),
        "box" => Ok(init::main(rest)),
        "give" => private::give(rest),
        "worker" => crate::plugin::inside::main(rest),
        "parse" => crate::image::parsing::inside(rest),
        _ => return None,
    };
    Some(result.unwrap_or_else(|error| Ui::new(Verbosity::Normal).error(&error)))
}
