//! `cargo xtask package`: Debian packages of piimg and of its debug symbols.
//!
//! What is in them stands in `host/Cargo.toml`, for cargo-deb. Paths of the machine are replaced, and all
//! times are that of the commit, for the same sources to give the same bytes.

mod licences;

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};

use crate::{USAGE, cargo, cargo_program, setup, target};

/// Man pages, completions and licences, where `host/Cargo.toml` looks for them.
const STAGE: &str = "target/package";

/// Architectures for which cargo-zigbuild links, and the version of the C library: that of Ubuntu 22.04, the oldest host.
const PORTABLE: [&str; 2] = ["x86_64-unknown-linux-gnu", "aarch64-unknown-linux-gnu"];
const GLIBC: &str = "2.35";

/// Most bytes of a package: it carries one program, without symbols.
const LARGEST: u64 = 30 << 20;

/// Makes the packages.
///
/// # Errors
/// If a program is missing and cannot be installed, or if something cannot be compiled.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let portable = match arguments[..] {
        [] => None,
        ["--target", triple] if PORTABLE.contains(&triple) => Some(triple),
        ["--target", other] => bail!("packages are made for {}, not for `{other}`", PORTABLE.join(" and ")),
        _ => bail!("{USAGE}"),
    };
    setup::packager()?;
    let triple = portable.map_or_else(host_triple, |triple| Ok(triple.to_owned()))?;
    write_manual()?;
    write_licences(&triple)?;
    compile(&triple, portable.is_some())?;
    pack(&triple, portable.is_some())
}

/// Returns the triple of this machine.
fn host_triple() -> Result<String> {
    let output = Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what machine this is")?.to_owned())
}

/// Writes man pages and completions, with a program of this machine that is built as the tests are.
fn write_manual() -> Result<()> {
    // Pages of commands that are no more.
    fs::remove_dir_all(STAGE).or_else(|error| match error.kind() {
        std::io::ErrorKind::NotFound => Ok(()),
        _ => Err(error).with_context(|| format!("cannot empty {STAGE}")),
    })?;
    let selection = ["--workspace", "--exclude", "guest-*", "--features", "piimg-tests/system"];
    cargo(["build", "--example", "manual"].iter().chain(&selection))?;
    let program = target().join("debug/examples/manual");
    let status = Command::new(&program).arg(STAGE).status();
    let status = status.with_context(|| format!("cannot start {}", program.display()))?;
    ensure!(status.success(), "the man pages could not be written");
    Ok(())
}

/// Writes which crates are in the program, and their licences.
fn write_licences(triple: &str) -> Result<()> {
    let output = Command::new(cargo_program())
        .args(["tree", "--package", "piimg", "--edges", "normal", "--prefix", "none", "--no-dedupe"])
        .args(["--format", "{p}\t{l}", "--target", triple])
        .output()
        .context("cannot start cargo")?;
    ensure!(output.status.success(), "`cargo tree` failed: {}", String::from_utf8_lossy(&output.stderr));
    let text = licences::text(&String::from_utf8_lossy(&output.stdout), &cargo_home()?)?;
    fs::write(Path::new(STAGE).join("licences.txt"), text).context("cannot write the licences")
}

/// Returns the directory where cargo keeps the sources of crates.
fn cargo_home() -> Result<PathBuf> {
    match std::env::var_os("CARGO_HOME") {
        Some(home) => Ok(PathBuf::from(home)),
        None => Ok(std::env::home_dir().context("there is no home directory")?.join(".cargo")),
    }
}

/// Compiles the program, with nothing in it of where this is done.
fn compile(triple: &str, is_portable: bool) -> Result<()> {
    let build = if is_portable { "zigbuild" } else { "build" };
    let target = if is_portable { format!("{triple}.{GLIBC}") } else { triple.to_owned() };
    let top = std::env::current_dir().context("cannot find the sources")?;
    let cargo_home = cargo_home()?;
    let places = [(top.as_path(), "/usr/src/piimg"), (cargo_home.as_path(), "/usr/src/cargo")];
    let mut command = Command::new(cargo_program());
    command.args([build, "--locked", "--release", "--package", "piimg", "--target", &target]);
    command.env("RUSTFLAGS", renamed("--remap-path-prefix", &places));
    // C code of crates, which has names of its files in messages.
    command.env("CFLAGS", renamed("-ffile-prefix-map", &places));
    command.envs(of_commit());
    let status = command.stdout(std::io::stderr()).status().context("cannot start cargo")?;
    ensure!(
        status.success(),
        "`cargo {build}` failed{}",
        if is_portable { "; it is the program `cargo-zigbuild`, and needs the Rust target and `zig`" } else { "" }
    );
    Ok(())
}

/// Returns the compiler's options that replace each of `places` by another name.
fn renamed(option: &str, places: &[(&Path, &str)]) -> String {
    let one = |(from, to): &(&Path, &str)| format!("{option}={}={to}", from.display());
    places.iter().map(one).collect::<Vec<_>>().join(" ")
}

/// Returns the variables that tell the commit: its name, for `--version`, and its time. An archive of the sources has none.
fn of_commit() -> Vec<(&'static str, String)> {
    let git = |arguments: &[&str]| -> Option<String> {
        let output = Command::new("git").args(arguments).output().ok()?;
        output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let changed = git(&["status", "--porcelain", "--untracked-files=no"]).is_some_and(|files| !files.is_empty());
    let name = git(&["rev-parse", "--short=12", "HEAD"]);
    let name = name.map(|name| ("PIIMG_COMMIT", if changed { format!("{name}, changed") } else { name }));
    let time = git(&["log", "-1", "--format=%ct"]).map(|time| ("SOURCE_DATE_EPOCH", time));
    name.into_iter().chain(time).collect()
}

/// Makes the packages of what was compiled.
fn pack(triple: &str, is_portable: bool) -> Result<()> {
    let mut command = Command::new(cargo_program());
    command.args(["deb", "--no-build", "--locked", "--package", "piimg", "--dbgsym", "--target", triple]);
    if is_portable {
        command.args(["--variant", "portable"]);
    }
    let output = command.envs(of_commit()).stderr(std::process::Stdio::inherit()).output();
    let output = output.context("cannot start cargo")?;
    ensure!(output.status.success(), "`cargo deb` failed");
    let said = String::from_utf8_lossy(&output.stdout);
    let made: Vec<&Path> = said.lines().map(Path::new).collect();
    for package in made.iter().filter(|package| package.extension() == Some(OsStr::new("deb"))) {
        let length = fs::metadata(package).with_context(|| format!("cannot find {}", package.display()))?.len();
        ensure!(length <= LARGEST, "{} has {length} bytes, and may have {LARGEST}", package.display());
    }
    made.iter().for_each(|package| println!("{}", package.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::needs::{BUILDS, PACKAGES, Package, Purpose};

    /// Text that cargo-deb reads.
    const MANIFEST: &str = include_str!("../../host/Cargo.toml");

    /// Returns the words in quotes of the list `key` of a table of the manifest.
    fn list(table: &str, key: &str) -> Vec<String> {
        let (_, rest) = MANIFEST.split_once(&format!("\n[{table}]\n")).expect("the table is there");
        let table = rest.split("\n[").next().unwrap();
        let (_, rest) = table.split_once(&format!("\n{key} = [")).expect("the list is there");
        let (list, _) = rest.split_once(']').unwrap();
        list.split('"').skip(1).step_by(2).map(str::to_owned).collect()
    }

    fn names(purposes: &[Purpose]) -> Vec<String> {
        let wanted = |package: &&Package| purposes.contains(&package.purpose) && !package.is_essential;
        PACKAGES.iter().filter(wanted).map(|package| package.name.to_owned()).collect()
    }

    #[test]
    fn the_package_depends_on_what_builds_start() {
        let of_builds = names(&BUILDS);
        let with = |first: String| [vec![first], of_builds.clone()].concat();
        assert_eq!(list("package.metadata.deb", "depends"), with("$auto".to_owned()));
        let portable = list("package.metadata.deb.variants.portable", "depends");
        assert_eq!(portable, with(format!("libc6 (>= {GLIBC})")));
        let recommended = names(&[Purpose::Https, Purpose::Results]);
        assert_eq!(list("package.metadata.deb", "recommends"), recommended);
        assert_eq!(list("package.metadata.deb", "suggests"), names(&[Purpose::Boot, Purpose::Python]));
    }

    #[test]
    fn paths_of_the_machine_get_other_names() {
        let places = [(Path::new("/home/ann/p"), "/usr/src/piimg"), (Path::new("/c"), "/usr/src/cargo")];
        assert_eq!(renamed("--map", &places), "--map=/home/ann/p=/usr/src/piimg --map=/c=/usr/src/cargo");
    }
}
