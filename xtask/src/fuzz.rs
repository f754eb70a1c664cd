//! `cargo xtask fuzz`: runs the fuzz targets of `tests/fuzz`, each for some seconds.
//!
//! All crates are compiled anew for it, with a count of their branches: into a directory of their own, for the ordinary
//! builds to stay as they are.

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

const DIRECTORY: &str = "tests/fuzz";
/// For each target, if nobody says.
const SECONDS: u64 = 60;
/// Longest input: most parsers are for texts of some lines.
const LONGEST: u32 = 4096;
/// Most memory in MiB, and most seconds for one input: a parser that needs either is broken.
const MEMORY: u32 = 2048;
const PATIENCE: u32 = 10;

/// Runs fuzz targets; `arguments` are `[TARGET…] [-- SECONDS]`.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let (targets, seconds) = match arguments.iter().position(|argument| argument == "--") {
        None => (arguments, SECONDS),
        Some(at) => match &arguments[at + 1..] {
            [seconds] => (&arguments[..at], seconds.parse().context("after `--` comes a number of seconds")?),
            _ => bail!("after `--` comes a number of seconds"),
        },
    };
    let all = all_targets()?;
    if let Some(unknown) = targets.iter().find(|target| !all.contains(target)) {
        bail!("there is no fuzz target `{unknown}`; there are: {}", all.join(", "));
    }
    let targets = if targets.is_empty() { &all } else { targets };
    super::setup::fuzzer()?;
    targets.iter().try_for_each(|target| search(target, seconds))
}

fn all_targets() -> Result<Vec<String>> {
    let entries =
        std::fs::read_dir(Path::new(DIRECTORY).join("fuzz_targets")).context("cannot list the fuzz targets")?;
    let mut names = Vec::new();
    for entry in entries {
        let path = entry.context("cannot list the fuzz targets")?.path();
        names.extend(path.file_stem().and_then(|stem| stem.to_str()).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

/// Runs one target. What it finds on its way stays in `corpus/`, an input that breaks the property in `artifacts/`.
fn search(target: &str, seconds: u64) -> Result<()> {
    let directory = Path::new(DIRECTORY);
    let (corpus, seeds) = (directory.join("corpus").join(target), directory.join("seeds").join(target));
    std::fs::create_dir_all(&corpus).with_context(|| format!("cannot make {}", corpus.display()))?;
    let mut command = Command::new(super::cargo_program());
    // The code is safe: it is the properties that are checked, not every access to memory. So any compiler will do.
    command.args(["fuzz", "run", "--sanitizer", "none", "--fuzz-dir", DIRECTORY, target]).arg(corpus);
    command.args(seeds.exists().then_some(&seeds)).arg("--");
    command.env("CARGO_TARGET_DIR", super::target().join("fuzz"));
    let words = directory.join("words").join(format!("{target}.dict"));
    if words.exists() {
        command.arg(format!("-dict={}", words.display()));
    }
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-max_len={LONGEST}"))
        .arg(format!("-rss_limit_mb={MEMORY}"))
        .arg(format!("-timeout={PATIENCE}"))
        .arg("-print_final_stats=1");
    eprintln!("fuzzing {target} for {seconds} seconds");
    if !command.status().with_context(|| format!("cannot start the fuzz target {target}"))?.success() {
        bail!(
            "`{target}` does not hold of an input, which is in {}: mend it, and keep the input in {}",
            directory.join("artifacts").join(target).display(),
            seeds.display()
        );
    }
    Ok(())
}
