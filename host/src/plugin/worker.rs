//! Compiles and runs plugins, each time in a new worker, which can only compute and talk. This is the host's side of
//! the connection. It trusts nothing: a worker may die, stay silent, or send garbage, too much, or out of turn. The
//! result is an error that says so.

pub(crate) mod inside;
pub mod wire;

use std::fs::File;
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::code::{self, Code};
use super::code_cache::{self, CodeCache};
use super::engine::{self, Limits};
use super::protocol::{Call, Reply};
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::recipe::conf::PluginConf;
use crate::sandbox::worker::{Bounds, Worker};
use crate::sealed;
use crate::ui::printable;
use wire::{Broken, Patience};

/// Longest code of one plugin; that of a big one has some tens of megabytes.
const MAX_CODE: u64 = 1 << 30;
/// Memory of the engine itself, beside what it is given and what the guest uses.
const ENGINE_MEMORY: u64 = 256 << 20;
/// Time for the start of a process, and for the last word of a guest that is stopped at its own limit.
const GRACE: Duration = Duration::from_secs(10);
/// Processor seconds per second: a worker counts time itself, and the host looks at the clock.
const CORES: u64 = 64;

/// Compiles and runs plugins.
#[derive(Clone, Debug)]
pub struct Engine {
    /// piimg itself.
    program: PathBuf,
    settings: wasmtime::Engine,
    compiling: CompileLimits,
}

/// Limits for compiling one component.
#[derive(Clone, Copy, Debug)]
pub struct CompileLimits {
    /// Bytes.
    pub memory: u64,
    pub time: Duration,
}

impl CompileLimits {
    /// A component of 10 MB takes some seconds and less than a tenth of this memory.
    pub const USUAL: Self = Self { memory: 2 << 30, time: Duration::from_secs(120) };
}

/// Returns the engine of this program.
///
/// # Errors
/// [`Failure::host`] if this machine cannot run one.
pub fn engine() -> Result<Engine> {
    Engine::of("/proc/self/exe", CompileLimits::USUAL)
}

/// Job of a worker; its files depend on it.
#[derive(Debug, Serialize, Deserialize)]
enum Job {
    /// Reads a component from the first file, writes its code to the second.
    Compile,
    /// Runs `conf()` twice of the code in the first file.
    Conf,
    /// Runs `execute()` of the code in the first file.
    Execute { limits: Limits, epoch: u64, seed: [u8; 32] },
}

/// Message of a worker.
#[derive(Debug, Serialize, Deserialize)]
pub enum Said {
    Call(Call),
    Ended(Box<Ended>),
    /// Before it did anything.
    NotConfined(String),
}

/// Result of a job, and the fuel that it used.
#[derive(Debug, Serialize, Deserialize)]
pub struct Ended {
    /// The result, or what stopped it, in words that follow "it".
    pub result: std::result::Result<Answer, String>,
    pub fuel: u64,
    /// It asked for the time.
    pub read_clock: bool,
}

impl Ended {
    /// Makes the result of a job whose time was not measured.
    fn without_time(result: std::result::Result<Answer, String>) -> Self {
        Self { result, fuel: 0, read_clock: false }
    }
}

/// Answer to a job.
#[derive(Debug, Serialize, Deserialize)]
pub enum Answer {
    Compiled,
    /// Both times.
    Conf(Box<[PluginConf; 2]>),
    Executed(std::result::Result<(), Returned>),
}

/// The error that `execute()` returned.
#[derive(Debug, Serialize, Deserialize)]
pub struct Returned {
    pub message: String,
    pub causes: Vec<String>,
    /// The capability that it says it lacked.
    pub needed: Option<String>,
}

impl Engine {
    /// Returns an engine whose workers are `program`, which must be this piimg.
    ///
    /// # Errors
    /// Those of [`engine`].
    pub fn of(program: impl Into<PathBuf>, compiling: CompileLimits) -> Result<Self> {
        Ok(Self { program: program.into(), settings: engine::with_settings()?, compiling })
    }

    /// Returns the code of the component with that content, compiled if `cache` does not have it.
    pub(super) fn code(&self, cache: Option<&CodeCache>, name: &str, digest: &str, component: &[u8]) -> Result<Code> {
        code_cache::find_or_compile(cache, &self.settings, digest, || self.compile(name, component))
    }

    fn compile(&self, name: &str, component: &[u8]) -> Result<File> {
        let input = sealed::file("component", component)?;
        let code = code::empty_file()?;
        let CompileLimits { memory, time } = self.compiling;
        let length = u64::try_from(component.len()).expect("a length fits 64 bits");
        let bounds = Bounds { memory: memory.saturating_add(length), file: MAX_CODE, cpu: seconds(time) };
        let failed = |cause: &str| {
            Failure::usage(format!("cannot compile the plugin `{}`: {}", printable(name), printable(cause)))
        };
        let limit = |broken: &Broken| match broken {
            Broken::Silent => format!("it took longer than {}", crate::ui::seconds(time)),
            other => other.describe(memory),
        };
        let ended =
            self.run(bounds, &Job::Compile, &[&input, &code], time, None)?.map_err(|broken| failed(&limit(&broken)))?;
        match ended.result {
            Ok(Answer::Compiled) => Ok(code),
            Ok(_) => Err(failed(Broken::WRONG_ANSWER).into()),
            Err(cause) => Err(failed(&cause).into()),
        }
    }

    /// Runs `conf()` twice.
    pub(super) fn conf(&self, code: &Code) -> Result<std::result::Result<[PluginConf; 2], String>> {
        let patience = Limits::CONF.time * 2 + GRACE;
        let ended = self.run_code(code, &Job::Conf, Limits::CONF, patience, None)?;
        Ok(ended.result.and_then(|answer| match answer {
            Answer::Conf(conf) => Ok(*conf),
            _ => Err(Broken::WRONG_ANSWER.to_owned()),
        }))
    }

    /// Runs `execute()`; `serve` answers its calls.
    pub(super) fn execute(
        &self,
        code: &Code,
        limits: Limits,
        epoch: u64,
        seed: [u8; 32],
        serve: &mut dyn FnMut(Call) -> Reply,
    ) -> Result<Ended> {
        let job = Job::Execute { limits, epoch, seed };
        self.run_code(code, &job, limits, limits.time + GRACE, Some(serve))
    }

    fn run_code(
        &self,
        code: &Code,
        job: &Job,
        limits: Limits,
        patience: Duration,
        serve: Option<&mut dyn FnMut(Call) -> Reply>,
    ) -> Result<Ended> {
        let file = code.file()?;
        let length = file.metadata().context("cannot look at a compiled plugin")?.len();
        let guest = u64::try_from(limits.memory).unwrap_or(u64::MAX);
        // The component is read, copied and made executable.
        let memory = guest.saturating_add(ENGINE_MEMORY).saturating_add(length.saturating_mul(3));
        let bounds = Bounds { memory, file: 0, cpu: seconds(patience) };
        let ended = self.run(bounds, job, &[file], patience, serve)?;
        Ok(ended.unwrap_or_else(|broken| Ended {
            result: Err(broken.describe(memory)),
            fuel: 0,
            // It is unknown what the worker did before.
            read_clock: true,
        }))
    }

    /// Starts a worker, talks with it until it has done its job or broken its word, and ends it.
    fn run(
        &self,
        bounds: Bounds,
        job: &Job,
        files: &[&File],
        patience: Duration,
        serve: Option<&mut dyn FnMut(Call) -> Reply>,
    ) -> Result<std::result::Result<Ended, Broken>> {
        let descriptors: Vec<_> = files.iter().map(|file| file.as_fd()).collect();
        let mut worker = Worker::start(&self.program, bounds, &descriptors)?;
        let talked = talk(worker.socket(), job, patience, serve);
        // A worker that hung up is about to end; its exit status is part of the error.
        let status = if matches!(talked, Err(Broken::HungUp)) { worker.wait()? } else { worker.end()? };
        match talked {
            Ok(Said::Ended(ended)) => Ok(Ok(*ended)),
            Ok(Said::NotConfined(why)) => {
                Err(with_cause(anyhow::anyhow!(printable(&why)), Failure::host("cannot confine a worker process")))
            }
            Ok(Said::Call(_)) => Err(Failure::bug("a call was not served").into()),
            Err(Broken::HungUp) => Ok(Err(Broken::Died(status))),
            Err(broken) => Ok(Err(broken)),
        }
    }
}

/// Gives the job and serves calls until the worker says how it ended.
fn talk(
    socket: &mut UnixStream,
    job: &Job,
    patience: Duration,
    mut serve: Option<&mut dyn FnMut(Call) -> Reply>,
) -> std::result::Result<Said, Broken> {
    let mut patience = Patience::new(patience);
    wire::send(socket, job, &mut patience)?;
    loop {
        match wire::receive(socket, &mut patience)? {
            Said::Call(call) => {
                let serve = serve.as_mut().ok_or(Broken::Garbage("a call from a plugin that may make none"))?;
                wire::expect_silence(socket)?;
                wire::send(socket, &serve(call), &mut patience)?;
            }
            ended => return Ok(ended),
        }
    }
}

fn seconds(time: Duration) -> u64 {
    (time.as_secs() + 1).saturating_mul(CORES)
}

#[cfg(test)]
mod tests;
