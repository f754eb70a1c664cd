//! Installs what a fresh Debian or Ubuntu machine lacks, after saying what and why.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::needs::{PACKAGES, Package, Purpose as Use};

/// Version of cargo-deb that makes packages.
const CARGO_DEB: &str = "3.8.0";

/// Purpose of the set-up.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Image,
    Test,
    LongTest,
    Fuzz,
    Package,
}

impl Purpose {
    /// Returns whether a package for `use_of` is needed.
    fn needs(self, use_of: Use) -> bool {
        match use_of {
            Use::Build | Use::UserBuild | Use::ForeignBuild | Use::Https | Use::Boot => {
                matches!(self, Self::Image | Self::Test | Self::LongTest)
            }
            Use::Compile => self != Self::Fuzz,
            Use::Results | Use::Python | Use::Test => matches!(self, Self::Test | Self::LongTest),
            Use::LongTest => self == Self::LongTest,
            Use::Fuzz => self == Self::Fuzz,
            Use::Package => self == Self::Package,
        }
    }
}

/// Installs what fuzz targets are built and run with.
pub(crate) fn fuzzer() -> Result<()> {
    packages(Purpose::Fuzz)?;
    cargo_command("fuzz", None, "builds and runs the fuzz targets")
}

/// Installs what the tests are run with.
pub(crate) fn test_runner() -> Result<()> {
    cargo_command("nextest", None, "runs the tests")
}

/// Installs what packages are made with. What it writes may change with its version, and packages are compared.
pub(crate) fn packager() -> Result<()> {
    packages(Purpose::Package)?;
    cargo_command("deb", Some(CARGO_DEB), "makes Debian packages")
}

/// Installs what the documentation's site is made with.
pub(crate) fn site_maker() -> Result<()> {
    program(&["mdbook"], "mdbook", None, "makes the documentation's site")
}

/// Installs the command `cargo NAME`, of the crate `cargo-NAME`, unless it is there, in `version` if one is given.
fn cargo_command(name: &str, version: Option<&str>, reason: &str) -> Result<()> {
    program(&["cargo", name], &format!("cargo-{name}"), version, reason)
}

/// Installs a program of that crate, unless it is there.
fn program(name: &[&str], package: &str, version: Option<&str>, reason: &str) -> Result<()> {
    let is_it = |output: std::process::Output| {
        let said = String::from_utf8_lossy(&output.stdout);
        output.status.success() && version.is_none_or(|version| said.split_whitespace().any(|word| word == version))
    };
    if Command::new(name[0]).args(&name[1..]).arg("--version").output().is_ok_and(is_it) {
        return Ok(());
    }
    let package = version.map_or_else(|| package.to_owned(), |version| format!("{package}@{version}"));
    eprintln!("installing {package} ({reason})");
    let status = Command::new("cargo").args(["install", "--locked", &package]).stdout(std::io::stderr()).status();
    if !status.is_ok_and(|status| status.success()) {
        bail!("{package} is missing and `cargo install --locked {package}` could not install it");
    }
    Ok(())
}

pub(crate) fn all(purpose: Purpose) -> Result<()> {
    packages(purpose)?;
    wasm_target()
}

fn packages(purpose: Purpose) -> Result<()> {
    let missing: Vec<&Package> = PACKAGES
        .iter()
        .filter(|package| purpose.needs(package.purpose))
        .filter(|package| !Path::new(package.file).exists())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing Debian packages:");
    for package in &missing {
        eprintln!("  {:<24} {}", package.name, package.reason);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    apt_get(&["update"])
        .and_then(|()| {
            let mut arguments = vec!["install", "--yes", "--no-install-recommends"];
            arguments.extend(&names);
            apt_get(&arguments)
        })
        .with_context(|| format!("missing packages that could not be installed: {}", names.join(" ")))
}

fn apt_get(arguments: &[&str]) -> Result<()> {
    let root = Command::new("id").arg("-u").output().is_ok_and(|output| output.stdout == b"0\n");
    let mut command = Command::new(if root { "env" } else { "sudo" });
    command.args(["DEBIAN_FRONTEND=noninteractive", "apt-get"]).args(arguments);
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status().context("cannot start apt-get")?;
    if !status.success() {
        bail!("apt-get {} failed", arguments[0]);
    }
    Ok(())
}

/// Adds the target of plugins to the Rust toolchain.
pub(crate) fn wasm_target() -> Result<()> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().context("cannot start rustc")?;
    let sysroot = String::from_utf8_lossy(&sysroot.stdout);
    let library = Path::new(sysroot.trim()).join("lib/rustlib").join(super::WASM);
    if library.exists() {
        return Ok(());
    }
    eprintln!("adding the Rust target {} (plugins are compiled for it)", super::WASM);
    let status = Command::new("rustup").args(["target", "add", super::WASM]).stdout(std::io::stderr()).status();
    if !status.is_ok_and(|status| status.success()) {
        bail!("the Rust target {} is missing and rustup could not add it", super::WASM);
    }
    Ok(())
}
