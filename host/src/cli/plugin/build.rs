//! `piimg plugin build`.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use clap::Args;
use serde::Deserialize;

use crate::error::{Context as _, Failure, Kind, Result};
use crate::sandbox::tool::{Tool, exit_status, find};
use crate::ui::{Printable as _, Ui, bytes, shell_quoted};

/// Target of plugins.
pub(super) const TARGET: &str = "wasm32-wasip2";
/// Line tables and names are for debuggers; a panic names its line without them.
const STRIP: &str = "profile.release.strip=true";

/// Make the component of a plugin, and print its path: of a crate in release mode and stripped, of a script in Python with
/// what it needs of Python.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg plugin build && piimg audit \"$(piimg plugin build --quiet)\"")]
pub(super) struct Arguments {
    /// Directory with a Cargo.toml, or a script with a class that has `conf` and `execute_customizations`.
    #[arg(value_name = "DIR|SCRIPT.py", default_value = ".")]
    source: PathBuf,
    /// File of the component of a script; beside the script if not given.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    if arguments.source.extension().is_some_and(|extension| extension == "py") {
        return super::python::build(&arguments.source, arguments.output.as_deref(), ui);
    }
    if arguments.output.is_some() {
        return Err(Failure::usage("--output is for scripts in Python")
            .hint("cargo decides where the component of a crate is: copy it from the path that is printed")
            .into());
    }
    let built = build(&arguments.source, None, ui)?;
    ui.path(&built);
    Ok(0)
}

/// What cargo says of a thing that it made; see
/// <https://doc.rust-lang.org/cargo/reference/external-tools.html#artifact-messages>.
#[derive(Debug, Deserialize)]
struct Message {
    reason: String,
    #[serde(default)]
    manifest_path: PathBuf,
    #[serde(default)]
    filenames: Vec<PathBuf>,
}

/// Compiles the plugin of a directory, and returns where the component is. Without `target`, where cargo usually puts it.
///
/// # Errors
/// [`Failure::usage`] if there is no plugin, [`Failure::host`] without Rust, [`Failure::build`] if it does not compile.
pub(super) fn build(dir: &Path, target: Option<&Path>, ui: &Ui) -> Result<PathBuf> {
    let manifest = manifest(dir)?;
    let step = ui.step(format!("Compile {}", dir.printable()));
    let mut cargo = cargo(ui)?.args(["build", "--release", "--lib", "--target", TARGET, "--config", STRIP]);
    cargo = cargo.arg("--message-format=json-render-diagnostics").arg("--manifest-path").arg(&manifest);
    if let Some(target) = target {
        cargo = cargo.arg("--target-dir").arg(target);
    }
    let output = cargo.command()?.stdin(Stdio::null()).stderr(Stdio::inherit()).output();
    let output = output.context(Failure::host("cannot start `cargo`"))?;
    if exit_status(output.status) != 0 {
        let failure = Failure::build(format!("the plugin in `{}` does not compile", dir.printable()));
        return Err(failure
            .hint(format!("what cargo says stands above; the target is `rustup target add {TARGET}`"))
            .into());
    }
    let said = String::from_utf8_lossy(&output.stdout);
    let messages = said.lines().filter_map(|line| serde_json::from_str::<Message>(line).ok());
    let own = messages.filter(|message| message.reason == "compiler-artifact" && message.manifest_path == manifest);
    let component =
        own.flat_map(|message| message.filenames).find(|file| file.extension().is_some_and(|it| it == "wasm"));
    let component = component.with_context(|| {
        Failure::usage(format!("`{}` is no plugin: cargo made no component of it", dir.printable()))
            .hint("its Cargo.toml needs `[lib]` with `crate-type = [\"cdylib\"]`")
    })?;
    let length = component.metadata().with_context(|| format!("cannot read `{}`", component.printable()))?.len();
    step.done_with(&bytes(length));
    Ok(component)
}

/// Returns the path of the directory's Cargo.toml as cargo writes it.
pub(super) fn manifest(dir: &Path) -> Result<PathBuf> {
    let manifest = dir.join("Cargo.toml");
    manifest.canonicalize().with_context(|| {
        let refused = Failure::usage(format!("`{}` is no plugin: there is no `Cargo.toml`", dir.printable()));
        match script_in(dir) {
            Some(script) => refused.hint(format!(
                "it is written in Python: run its tests with pytest, and build it with piimg plugin build {}",
                shell_quoted(&script.printable())
            )),
            None => refused.hint("give the directory of the plugin, or make one: piimg plugin new NAME"),
        }
    })
}

/// Finds a customization in Python.
fn script_in(dir: &Path) -> Option<PathBuf> {
    let paths = std::fs::read_dir(dir).ok()?.filter_map(|entry| Some(entry.ok()?.path()));
    let is_one = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("customize_") && name.ends_with(".py")
    };
    paths.filter(is_one).min()
}

/// Returns cargo, with the user's environment.
pub(super) fn cargo(ui: &Ui) -> Result<Tool> {
    if find("cargo").is_none() {
        let failure = Failure::new(Kind::Host, "`cargo` is missing, which compiles plugins");
        return Err(failure
            .hint(format!("install Rust from https://rustup.rs, then: rustup target add {TARGET}"))
            .into());
    }
    let cargo = Tool::new("cargo").with_environment_of_user();
    Ok(if ui.verbosity() == crate::ui::Verbosity::Quiet { cargo.env("CARGO_TERM_QUIET", "true") } else { cargo })
}
