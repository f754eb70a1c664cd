//! Installs what a fresh Debian or Ubuntu machine lacks, after saying what and why.

use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

/// What the machine is being set up for.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Image,
    Test,
    Fuzz,
}

/// A Debian package, a file it brings, and the reason it is wanted.
struct Package {
    name: &'static str,
    file: &'static str,
    reason: &'static str,
    only: Option<Purpose>,
}

const fn package(name: &'static str, file: &'static str, reason: &'static str) -> Package {
    Package { name, file, reason, only: None }
}

const PACKAGES: [Package; 21] = [
    package("gcc", "/usr/bin/cc", "links Rust programs and compiles the assembly in wasmtime"),
    package("libc6-dev", "/usr/include/stdio.h", "links Rust programs"),
    package("mmdebstrap", "/usr/bin/mmdebstrap", "bootstraps the root file system"),
    package(
        "debian-archive-keyring",
        "/usr/share/keyrings/debian-archive-keyring.gpg",
        "checks the signature of Debian's archive",
    ),
    package("gpg", "/usr/bin/gpg", "reads the key rings of archives"),
    package("uidmap", "/usr/bin/newuidmap", "lets an ordinary user build"),
    package("qemu-user-static", "/usr/bin/qemu-aarch64-static", "runs arm64 programs during the build"),
    package("e2fsprogs", "/usr/sbin/mke2fs", "writes and checks the root partition"),
    package("dosfstools", "/usr/sbin/fsck.fat", "checks the boot partition"),
    package("fdisk", "/usr/sbin/sfdisk", "checks the partition table"),
    package("qemu-system-arm", "/usr/bin/qemu-system-aarch64", "boots images (`piimg boot`)"),
    Package {
        only: Some(Purpose::Test),
        ..package("mtools", "/usr/bin/mdir", "reads boot partitions independently of piimg")
    },
    Package {
        only: Some(Purpose::Test),
        ..package("bmap-tools", "/usr/bin/bmaptool", "flashes images by their block map")
    },
    Package {
        only: Some(Purpose::Test),
        ..package("xz-utils", "/usr/bin/xz", "decompresses images independently of piimg")
    },
    Package {
        only: Some(Purpose::Test),
        ..package("libcap2-bin", "/sbin/getcap", "reads file capabilities independently of piimg")
    },
    Package { only: Some(Purpose::Test), ..package("gpg-agent", "/usr/bin/gpg-agent", "signs made-up archives") },
    Package { only: Some(Purpose::Test), ..package("curl", "/usr/bin/curl", "must find the proxy of a box") },
    Package { only: Some(Purpose::Test), ..package("wget", "/usr/bin/wget", "must find the proxy of a box") },
    Package {
        only: Some(Purpose::Test),
        ..package("git", "/usr/bin/git", "must find the proxy of a box, and serves commits to piimg")
    },
    Package {
        only: Some(Purpose::Test),
        ..package("zstd", "/usr/bin/zstd", "decompresses images independently of piimg")
    },
    Package { only: Some(Purpose::Fuzz), ..package("g++", "/usr/bin/c++", "compiles libFuzzer") },
];

/// What fuzz targets are built and run with.
pub(crate) fn fuzzer() -> Result<()> {
    packages(Purpose::Fuzz)?;
    cargo_command("fuzz", "builds and runs the fuzz targets")
}

/// What the tests are run with.
pub(crate) fn test_runner() -> Result<()> {
    cargo_command("nextest", "runs the tests")
}

/// Installs the command `cargo NAME`, of the crate `cargo-NAME`, unless it is there.
fn cargo_command(name: &str, reason: &str) -> Result<()> {
    let is_there = |output: std::process::Output| output.status.success();
    if Command::new("cargo").args([name, "--version"]).output().is_ok_and(is_there) {
        return Ok(());
    }
    let package = format!("cargo-{name}");
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
        .filter(|package| match purpose {
            Purpose::Fuzz => package.only == Some(purpose),
            _ => package.only.is_none_or(|only| only == purpose),
        })
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
