//! Parses the command line: the only place that knows clap. One file per subcommand.

mod audit;
mod blame;
mod boot;
mod build;
mod build_request;
mod cache;
mod consent;
mod doctor;
mod grant;
mod image;
mod init;
mod inspect;
mod plan;
mod plugin;
mod recipe;
mod schema;
mod shell;
mod verify;

use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use std::time::Instant;

use clap::{CommandFactory as _, Parser, Subcommand};

use rustix::fs::OFlags;

use crate::error::{Context as _, Kind, Result};
use crate::host_files::take_umask;
use crate::log;
use crate::ui::{Events, Ui, Verbosity};

/// Builds Raspberry Pi images from distribution packages and sandboxed customization plugins.
#[derive(Debug, Parser)]
#[command(name = "piimg", version = version(), max_term_width = 100, after_help = EXIT_CODES)]
struct Arguments {
    /// Say only what is wrong.
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Also show each command as it starts, and what programs and plugins print.
    #[arg(short, long, global = true)]
    verbose: bool,
    /// Write each command, mount and decision to this file, for whoever looks for a fault in piimg.
    #[arg(long, value_name = "FILE", env = "PIIMG_LOG", global = true)]
    log_file: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, 1 build failed, 2 usage or recipe, 3 the host lacks a tool or privilege,
4 a grant is missing, 5 a plugin failed, 70 a bug in piimg.";

#[derive(Debug, Subcommand)]
enum Command {
    Init(init::Arguments),
    Build(build::Arguments),
    Shell(shell::Arguments),
    Plan(plan::Arguments),
    Grant(grant::Arguments),
    Plugin(plugin::Arguments),
    Verify(verify::Arguments),
    Boot(boot::Arguments),
    Inspect(inspect::Arguments),
    Audit(audit::Arguments),
    Blame(blame::Arguments),
    Cache(cache::Arguments),
    Schema(schema::Arguments),
    Doctor(doctor::Arguments),
}

/// Returns the command line as clap knows it, for whoever makes man pages and completions of it (`examples/manual.rs`).
pub fn command() -> clap::Command {
    Arguments::command()
}

/// Returns the version, with the commit if whoever compiled this named one: `cargo xtask package` does. A build script would
/// have to run again at each commit, and would find none in an archive of the sources.
fn version() -> &'static str {
    static VERSION: LazyLock<String> = LazyLock::new(|| {
        let number = env!("CARGO_PKG_VERSION");
        match option_env!("PIIMG_COMMIT") {
            None | Some("") => number.to_owned(),
            Some(commit) => format!("{number} ({commit})"),
        }
    });
    &VERSION
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
    ui.show_commands();
    if let Some(Err(error)) = arguments.log_file.as_deref().map(|path| start_log(path, started)) {
        return ui.error(&error);
    }
    let result = match arguments.command {
        Command::Init(arguments) => init::run(&arguments, &ui),
        Command::Build(arguments) => build::run(&arguments, started, ui.clone()),
        Command::Shell(arguments) => shell::run(&arguments, &ui),
        Command::Plan(arguments) => plan::run(&arguments, &ui),
        Command::Grant(arguments) => grant::run(&arguments, &ui),
        Command::Plugin(arguments) => plugin::run(&arguments, &ui),
        Command::Verify(arguments) => verify::run(&arguments, &ui),
        Command::Boot(arguments) => boot::run(&arguments, &ui),
        Command::Inspect(arguments) => inspect::run(&arguments, &ui),
        Command::Audit(arguments) => audit::run(&arguments, &ui),
        Command::Blame(arguments) => blame::run(&arguments, &ui),
        Command::Cache(arguments) => cache::run(&arguments, &ui),
        Command::Schema(arguments) => schema::run(&arguments, &ui),
        Command::Doctor(arguments) => doctor::run(arguments, &ui),
    };
    ui.finish(result.unwrap_or_else(|error| ui.error(&error)))
}

/// Starts the developer's log.
///
/// # Errors
/// [`Failure::usage`] if the file cannot be created.
fn start_log(path: &Path, started: Instant) -> Result<()> {
    let file = Events::create_file(path, "log")?;
    rustix::fs::fcntl_setfl(&file, OFlags::APPEND).context("cannot open the log for appending")?;
    log::start(file, log::now().saturating_sub(started.elapsed()));
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    log::decision(format_args!("piimg {} runs as: {}", version(), words.join(" ")));
    Ok(())
}

/// Runs one of the roles in which piimg starts itself; not for users, and so not in the help.
fn internal(arguments: &[String]) -> Option<i32> {
    use crate::sandbox::{init, namespace};

    let role = arguments.get(1)?.strip_prefix("__")?;
    let rest = &arguments[2..];
    let result: Result<i32> = match role {
        "inside" => namespace::inside(rest),
        "build" => crate::steps::inside(rest),
        "unpack" => crate::supervisor::output::unpack_inside(rest).map(|()| 0),
        "probe" => crate::kernel_probe::inside(rest).map(|()| 0),
        "cache" => crate::store_maintenance::inside(rest),
        "compare" => crate::steps::compare_emulation::inside(rest).map(|()| 0),
        "box" => Ok(init::main(rest)),
        "give" => namespace::give(rest),
        "worker" => crate::plugin::inside::main(rest),
        "parse" => crate::image::parsing::inside(rest),
        _ => return None,
    };
    Some(result.unwrap_or_else(|error| Ui::new(Verbosity::Normal).error(&error)))
}

#[cfg(test)]
mod tests;
