//! Benchmarks: `cargo xtask bench`. Measures, and writes what `piimg_tests::bench` makes of it.
//!
//! Nothing here asserts a time: what a machine does at the moment decides it, and the report shows it.
#![expect(clippy::print_stderr, reason = "a developer tool, not the product")]

mod assembly;
mod bootstrap;
mod builds;
mod changes;
mod compression;
mod growth;
mod machine;
mod measure;
mod peers;
mod place;
mod plot;
mod plugin;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};
use piimg_tests::bench::{Results, Section, report};
use piimg_tests::target;
use place::Place;

const USAGE: &str = "\
usage: cargo xtask bench [NAME…] [--rounds N] [--full] [--work DIR]… [--write] [--keep]

  --rounds N   measure so often (3); 0 only makes the report, of what was kept
  --full       also what takes long
  --work DIR   work in DIR, for its file system; may be repeated (target/bench/work)
  --write      renew BENCHMARKS.md and docs/bench
  --keep       keep the store for the next run";

/// A function that measures a benchmark.
type Measure = fn(&Place) -> Result<Section>;

/// All of them, in the order of the report.
const BENCHMARKS: [(&str, Measure); 7] = [
    ("bootstrap", bootstrap::measure),
    ("builds", builds::measure),
    ("assembly", assembly::measure),
    ("compression", compression::measure),
    ("plugin", plugin::measure),
    ("growth", growth::measure),
    ("peers", peers::measure),
];

fn main() {
    if let Err(error) = run() {
        eprintln!("error: {error:#}");
        std::process::exit(1);
    }
}

struct Arguments {
    benchmarks: Vec<(&'static str, Measure)>,
    rounds: usize,
    full: bool,
    work: Vec<PathBuf>,
    write: bool,
    keep: bool,
}

fn parse(arguments: impl Iterator<Item = String>) -> Result<Arguments> {
    let mut parsed =
        Arguments { benchmarks: Vec::new(), rounds: 3, full: false, work: Vec::new(), write: false, keep: false };
    // Cargo adds the first one.
    let mut arguments = arguments.filter(|argument| argument != "--bench");
    while let Some(argument) = arguments.next() {
        match argument.as_str() {
            "--rounds" => {
                let rounds = arguments.next().and_then(|number| number.parse().ok());
                parsed.rounds = rounds.context("--rounds wants a number")?;
            }
            "--full" => parsed.full = true,
            "--work" => parsed.work.push(arguments.next().context("--work wants a directory")?.into()),
            "--write" => parsed.write = true,
            "--keep" => parsed.keep = true,
            name => match BENCHMARKS.iter().find(|(known, _)| *known == name) {
                Some(benchmark) => parsed.benchmarks.push(*benchmark),
                None => bail!("there is no benchmark `{name}`, but {}\n{USAGE}", names().join(", ")),
            },
        }
    }
    if parsed.benchmarks.is_empty() {
        parsed.benchmarks = BENCHMARKS.to_vec();
    }
    Ok(parsed)
}

fn names() -> Vec<&'static str> {
    BENCHMARKS.iter().map(|(name, _)| *name).collect()
}

fn run() -> Result<()> {
    // Cargo starts it in the directory of the package.
    let top = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the package is in the workspace")?;
    std::env::set_current_dir(top).with_context(|| format!("cannot enter {}", top.display()))?;
    let mut arguments = parse(std::env::args().skip(1))?;
    ensure!(
        nix::unistd::geteuid().is_root(),
        "benchmarks must run as root: they mount package caches in namespaces of their own, and empty the store in part"
    );
    let out = target().join("bench");
    fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    if arguments.work.is_empty() {
        arguments.work.push(out.join("work"));
    }
    // What goes into the repository is kept there: its parts need not be measured on one day.
    let kept = if arguments.write { Path::new("docs/bench/results.json").to_owned() } else { out.join("results.json") };
    let mut results = Results { machine: machine::look()?, sections: Vec::new() };
    for work in arguments.work.iter().filter(|_| arguments.rounds > 0) {
        let place = Place::new(work, arguments.rounds, arguments.full, arguments.keep)?;
        for (name, measure) in &arguments.benchmarks {
            eprintln!("{name}, on {}:", place.file_system);
            let section = measure(&place).with_context(|| format!("the benchmark {name} failed"))?;
            place.tidy_up()?;
            eprintln!("{name}: {}", section.says);
            results.sections.push(section);
            // Each is kept at once: a later one may fail after hours.
            save(&results, &kept)?;
        }
    }
    let results = save(&results, &kept)?;
    write_report(&results, &out.join("BENCHMARKS.md"), &out.join("plots"), "plots")?;
    if arguments.write {
        write_report(&results, Path::new("BENCHMARKS.md"), Path::new("docs/bench"), "docs/bench")?;
    }
    Ok(())
}

/// Writes the new results over the kept ones, and returns all.
fn save(new: &Results, kept: &Path) -> Result<Results> {
    // What is kept may be of another version, and is then of no use.
    let older = fs::read(kept).ok().and_then(|text| serde_json::from_slice(&text).ok()).unwrap_or_default();
    let mut results = new.clone().over(older);
    results.sort(&names());
    let text = serde_json::to_vec_pretty(&results).context("cannot write the results")?;
    fs::write(kept, text).with_context(|| format!("cannot write {}", kept.display()))?;
    eprintln!("wrote {}", kept.display());
    Ok(results)
}

fn write_report(results: &Results, file: &Path, plots: &Path, link: &str) -> Result<()> {
    let named = |path: &Path| format!("cannot write {}", path.display());
    fs::create_dir_all(plots).with_context(|| named(plots))?;
    // A plot that nothing refers to any more is not to stay.
    for entry in fs::read_dir(plots).with_context(|| named(plots))? {
        let path = entry.with_context(|| named(plots))?.path();
        if path.extension().is_some_and(|extension| extension == "svg") {
            fs::remove_file(&path).with_context(|| named(&path))?;
        }
    }
    for section in &results.sections {
        for (number, plot) in section.plots.iter().enumerate() {
            let path = plots.join(section.plot_file(number));
            fs::write(&path, plot::draw(plot)?).with_context(|| named(&path))?;
        }
    }
    fs::write(file, report(results, link)).with_context(|| named(file))?;
    eprintln!("wrote {}", file.display());
    Ok(())
}
