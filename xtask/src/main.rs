//! Developer commands: `cargo xtask image`, `cargo xtask test`, `cargo xtask bench` and their parts.
//!
//! Depends on nothing of piimg, so that the first command on a fresh machine starts at once.
#![expect(
    clippy::print_stderr,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a developer tool, not the product"
)]

mod customizations;
mod examples;
mod fuzz;
#[path = "../../host/sandbox/src/packages.rs"]
pub mod needs;
mod package;
mod pages;
mod pictures;
mod reference;
mod rooms;
mod setup;
mod site;
mod test;
mod words;

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const USAGE: &str = "\
usage: cargo xtask <command>

  image [ARGS…]   set up this machine, build piimg and the minimal plugin, build an image with it
                  (ARGS go to `piimg build`, e.g. --release trixie)
  test [--quick | --long]
                  set up this machine and run the tests; --quick leaves out those that build and boot images, --long
                  adds those that take a quarter of an hour or more
  bench [NAME…]   set up this machine and run all benchmarks or some, as root
                  (--rounds N, --full, --work DIR, --keep, --write)
  check           which room of the host uses which, formatting, words of comments, examples of the SDK, links of the
                  documentation, lints, and the rules for dependencies (where cargo-deny is installed)
  docs            write docs/host-functions.md anew from wit/, and docs/customizations.md from the guest of that name
  fuzz [TARGET…] [-- SECONDS]
                  searches for inputs that break a property of tests/src/properties, for a minute each
  package [--target TRIPLE]
                  make Debian packages of piimg and of its debug symbols in target/debian; --target is
                  x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu, and links against the C library of Ubuntu 22.04
                  with cargo-zigbuild
  pictures [PIIMG]
                  draw the README's pictures anew, of a build from nothing, with this piimg or the release's
  plugins         build all plugins and the tests' guests for wasm32-wasip2
  site            make the documentation's site in target/site, with mdBook
  setup           only install what the other commands need";

/// Target of plugins.
const WASM: &str = "wasm32-wasip2";

fn main() {
    // Whatever directory the user is in.
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is in the workspace");
    if let Err(error) = std::env::set_current_dir(top) {
        eprintln!("error: cannot enter {}: {error}", top.display());
        std::process::exit(1);
    }
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if let Err(error) = run(&arguments) {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

fn run(arguments: &[String]) -> Result<()> {
    let rest = arguments.get(1..).unwrap_or_default();
    match arguments.first().map(String::as_str) {
        Some("image") => image(rest),
        Some("test") => test::run(rest),
        Some("bench") => bench(rest),
        Some("check") => check(),
        Some("docs") => pages::write(),
        Some("fuzz") => fuzz::run(rest),
        Some("package") => package::run(rest),
        Some("pictures") => pictures(rest),
        Some("plugins") => setup::wasm_target().and_then(|()| plugins()),
        Some("site") => site::write(&target()),
        Some("setup") => setup::all(setup::Purpose::Test),
        _ => bail!("{USAGE}"),
    }
}

/// Builds an image with the minimal plugin; its path is the only line on standard output.
fn image(arguments: &[String]) -> Result<()> {
    setup::all(setup::Purpose::Image)?;
    plugins()?;
    cargo(["build", "--release", "--package", "piimg"])?;
    let piimg = target().join("release/piimg");
    let plugin = target().join(WASM).join("release/piimg_minimal.wasm");
    std::fs::create_dir_all("out").context("cannot create `out`")?;
    let status = Command::new(&piimg)
        .arg("build")
        .arg("--plugin")
        .arg(plugin)
        // The plugin is this repository's own.
        .args(["--grant-requested", "--imagedir", "out"])
        .args(arguments)
        .status()
        .with_context(|| format!("cannot start {}", piimg.display()))?;
    if !status.success() {
        std::process::exit(status.code().unwrap_or(1));
    }
    Ok(())
}

/// Measures the program that everything else runs.
fn bench(arguments: &[String]) -> Result<()> {
    setup::all(setup::Purpose::Test)?;
    plugins()?;
    cargo(["build", "--release", "--package", "piimg"])?;
    let own = ["bench", "--package", "piimg-tests", "--bench", "bench", "--"];
    cargo(own.into_iter().chain(arguments.iter().map(String::as_str)))
}

fn check() -> Result<()> {
    rooms::check()?;
    cargo(["fmt", "--all", "--check"])?;
    words::check()?;
    examples::check()?;
    pages::check(Path::new(""))?;
    site::check(Path::new(""))?;
    cargo(["clippy", "--workspace", "--all-targets", "--all-features", "--", "-D", "warnings"])?;
    deny()
}

/// Checks licences, sources and versions of the dependencies by `deny.toml`, and whether one of them has a known fault.
/// Without cargo-deny, or without the database of faults, it says what was not checked.
fn deny() -> Result<()> {
    let quiet = |arguments: &[&str]| {
        let output = Command::new(cargo_program()).args(arguments).output();
        output.is_ok_and(|output| output.status.success())
    };
    if !quiet(&["deny", "--version"]) {
        eprintln!("not checked: the dependencies' licences and sources (`cargo install --locked cargo-deny`)");
        return Ok(());
    }
    cargo(["deny", "check", "bans", "licenses", "sources"])?;
    if !quiet(&["deny", "fetch", "db"]) {
        eprintln!("not checked: the dependencies' known faults (the database of advisories cannot be reached)");
        return Ok(());
    }
    cargo(["deny", "check", "advisories"])
}

/// Draws the pictures of the README.
fn pictures(arguments: &[String]) -> Result<()> {
    setup::all(setup::Purpose::Image)?;
    plugins()?;
    let piimg = match arguments {
        [] => {
            cargo(["build", "--release", "--package", "piimg"])?;
            target().join("release/piimg")
        }
        [piimg] => piimg.into(),
        _ => bail!("{USAGE}"),
    };
    pictures::write(&piimg, &target().join(WASM).join("release/piimg_minimal.wasm"), &target())
}

/// Builds what is in `plugins/` and `tests/guests/`: no other member is made to be a plugin.
fn plugins() -> Result<()> {
    let mut arguments = ["build", "--release", "--target", WASM, "--package", "guest-*"].map(str::to_owned).to_vec();
    for entry in std::fs::read_dir("plugins").context("cannot list `plugins`")? {
        let directory = entry.context("cannot list `plugins`")?.path();
        if directory.join("Cargo.toml").exists() {
            let name = directory.file_name().unwrap_or_default().to_string_lossy().into_owned();
            arguments.extend(["--package".to_owned(), format!("piimg-{name}")]);
        }
    }
    cargo(arguments)
}

fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| Path::new("target").into(), PathBuf::from)
}

fn cargo_program() -> OsString {
    std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into())
}

/// Runs cargo in the workspace.
fn cargo<S: AsRef<OsStr>>(arguments: impl IntoIterator<Item = S>) -> Result<()> {
    let mut command = Command::new(cargo_program());
    // Standard output is for the image's path.
    command.args(arguments).stdout(std::io::stderr());
    let status = command.status().context("cannot start cargo")?;
    if !status.success() {
        bail!("`{command:?}` failed");
    }
    Ok(())
}
