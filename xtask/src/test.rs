//! `cargo xtask test`: builds everything once, runs all tests, and tells where the time went.
//!
//! cargo-nextest runs the tests, a process for each, side by side as `.config/nextest.toml` says. Its summary is the last
//! thing that is printed, so that who or what reads the end of a long log finds it.

mod report;

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use report::Report;

use crate::{USAGE, cargo, cargo_program, plugins, setup};

/// Memory that one thread of the test runner stands for: a box that is attacked may have some hundred MiB, a build twice
/// as many threads and as much memory.
const MEMORY_OF_THREAD: u64 = 2 << 30;

/// Guests are no tests: `plugins` builds them, for WebAssembly.
const MEMBERS: [&str; 3] = ["--workspace", "--exclude", "guest-*"];

/// Runs all tests, or those that `arguments` choose.
///
/// # Errors
/// If something cannot be installed or compiled, or if a test fails.
pub(crate) fn run(arguments: &[String]) -> Result<()> {
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let features: &[&str] = match arguments[..] {
        [] => &["--features", "piimg-tests/system"],
        ["--long"] => &["--features", "piimg-tests/long"],
        ["--quick"] => &[],
        _ => bail!("{USAGE}"),
    };
    let members: Vec<&str> = MEMBERS.iter().chain(features).copied().collect();
    let purpose = if arguments == ["--long"] { setup::Purpose::LongTest } else { setup::Purpose::Test };
    let mut report = Report::default();
    report.time("set up this machine", || {
        setup::all(purpose)?;
        setup::test_runner()
    })?;
    report.time("compile plugins and guests", plugins)?;
    // Program and tests in one call: in two, dependencies would be compiled again for another set of features.
    report.time("compile piimg and its tests", || {
        cargo(["build", "--lib", "--bins", "--tests"].iter().chain(&members))
    })?;
    let examples = report.time("examples in the documentation", || cargo(["test", "--doc"].iter().chain(&members)));
    let scripts = report.time("tests in Python", python);
    let tests = run_tests(&members, &mut report);
    examples.and(scripts).and(tests)
}

/// Runs the tests of what is written in Python, with Debian's pytest.
fn python() -> Result<()> {
    let status = Command::new("/usr/bin/python3")
        .args(["-B", "-m", "pytest", "-q", "-p", "no:cacheprovider", "plugin-sdk/python", "plugins/python"])
        .stdout(std::io::stderr())
        .status()
        .context("cannot start python3")?;
    if !status.success() {
        bail!("tests in Python failed");
    }
    Ok(())
}

/// Runs cargo-nextest, and prints the report before its summary.
fn run_tests(members: &[&str], report: &mut Report) -> Result<()> {
    let start = Instant::now();
    let mut runner = Command::new(cargo_program())
        .args(["nextest", "run", "--test-threads", &threads().to_string()])
        .args(members)
        .stdout(Stdio::inherit())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start cargo-nextest")?;
    let mut summary: Vec<String> = Vec::new();
    for line in BufReader::new(runner.stderr.take().expect("stderr is piped")).split(b'\n') {
        let line = line.context("cannot read what cargo-nextest says")?;
        let line = String::from_utf8_lossy(&line).into_owned();
        if !summary.is_empty() || line.trim_start().starts_with("Summary [") {
            summary.push(line);
            continue;
        }
        report.read(&line);
        eprintln!("{line}");
    }
    let status = runner.wait().context("cannot wait for cargo-nextest")?;
    report.add("run the tests", start.elapsed());
    eprintln!("\n{report}");
    summary.iter().for_each(|line| eprintln!("{line}"));
    if !status.success() {
        bail!("not all tests passed");
    }
    Ok(())
}

/// Returns how many threads the test runner may have: two for each core, because most tests wait for what they started, but
/// no more than there is memory for.
fn threads() -> u64 {
    let cores = std::thread::available_parallelism().map_or(1, |cores| cores.get() as u64);
    let memory = std::fs::read_to_string("/proc/meminfo").ok().and_then(|text| available(&text));
    (cores * 2).min(memory.map_or(u64::MAX, |bytes| bytes / MEMORY_OF_THREAD)).max(1)
}

/// Finds the available memory, in bytes, in `/proc/meminfo`.
fn available(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    Some(line.trim().strip_suffix(" kB")?.parse::<u64>().ok()? << 10)
}

/// Formats a duration as minutes and seconds.
fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 100.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min {:02.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn available_memory_is_found() {
        assert_eq!(available("MemTotal:       24 kB\nMemAvailable:       12 kB\n"), Some(12 << 10));
        assert_eq!(available("MemTotal:       24 kB\n"), None);
    }

    #[test]
    fn long_times_are_minutes() {
        assert_eq!(minutes(Duration::from_millis(12_340)), "12.3 s");
        assert_eq!(minutes(Duration::from_secs(725)), "12 min 05 s");
    }
}
