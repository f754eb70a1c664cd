//! Runs something and says what it took: time by the clock, and processor time.
//!
//! One thing at a time: the processor time of a command is the difference of what all ended children of this process
//! used, which covers whatever the command started and waited for.

use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Instant;

use anyhow::{Context as _, Result, bail};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeVal;
use piimg_tests::bench::Run;

/// Lines of a failed command that an error quotes.
const QUOTED_LINES: usize = 12;

/// Prepares a program that gets no input and speaks English.
#[expect(clippy::disallowed_methods, reason = "benchmarks run what the user runs")]
pub(crate) fn command(program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new(program);
    command.stdin(Stdio::null()).env("LC_ALL", "C.UTF-8");
    command
}

/// Returns what `command` writes to standard output.
pub(crate) fn text(command: &mut Command) -> Result<String> {
    let output = output(command)?;
    if !output.status.success() {
        bail!("{} failed with {}:\n{}", name(command), output.status, tail(&output));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// Runs `command`, which must succeed.
pub(crate) fn run(command: &mut Command) -> Result<Run> {
    let (run, output) = attempt(command)?;
    if !output.status.success() {
        bail!("{} failed with {}:\n{}", name(command), output.status, tail(&output));
    }
    Ok(run)
}

/// Runs `command`, which may fail.
pub(crate) fn attempt(command: &mut Command) -> Result<(Run, Output)> {
    measured(&[UsageWho::RUSAGE_CHILDREN], || output(command))
}

/// Does `work` in this process and those that it starts.
pub(crate) fn here<T>(work: impl FnOnce() -> Result<T>) -> Result<(Run, T)> {
    measured(&[UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN], work)
}

fn measured<T>(who: &[UsageWho], work: impl FnOnce() -> Result<T>) -> Result<(Run, T)> {
    // What the one before has left to write is not to be written meanwhile.
    nix::unistd::sync();
    let (cpu, start) = (cpu(who)?, Instant::now());
    let done = work()?;
    let wall = start.elapsed().as_secs_f64();
    Ok((Run { wall, cpu: Some(self::cpu(who)? - cpu), ..Run::default() }, done))
}

fn cpu(who: &[UsageWho]) -> Result<f64> {
    let seconds = |time: TimeVal| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6;
    let mut sum = 0.0;
    for who in who {
        let usage = getrusage(*who).context("cannot ask for the processor time")?;
        sum += seconds(usage.user_time()) + seconds(usage.system_time());
    }
    Ok(sum)
}

/// Runs `command`; fails only if it cannot be started.
fn output(command: &mut Command) -> Result<Output> {
    command.output().with_context(|| format!("cannot start {}", name(command)))
}

fn name(command: &Command) -> String {
    let path = Path::new(command.get_program());
    format!("`{}`", path.file_name().unwrap_or_default().to_string_lossy())
}

/// Returns the end of what a command said.
pub(crate) fn tail(output: &Output) -> String {
    let text = if output.stderr.iter().all(u8::is_ascii_whitespace) { &output.stdout } else { &output.stderr };
    let text = String::from_utf8_lossy(text);
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
}
