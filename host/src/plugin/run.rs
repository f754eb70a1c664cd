//! Runs `execute()`: the guest in a worker, the host functions here.

use std::collections::BTreeMap;
use std::fs::File;
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::InspectedPlugin;
use super::audit_log::{Begin, End, Line, Transcript};
use super::engine::Limits;
use super::grant::GrantSet;
use super::host_calls::{LogSink, Record, Session, Uses};
use super::protocol::ImageInfo;
use super::workbench::{PackageRequest, Workbench};
use super::worker::{Answer, Engine, Returned};
use crate::error::{Failure, Kind, Result, with_cause};
use crate::secret::Secret;
use crate::ui::printable;

/// One execution of a plugin.
#[derive(Debug)]
pub struct Run<'a> {
    pub plugin: &'a InspectedPlugin,
    pub grants: &'a GrantSet,
    pub image: ImageInfo,
    /// Values of the plugin's parameters, validated and complete.
    pub params: BTreeMap<String, String>,
    /// Files handed over, opened for reading.
    pub assets: BTreeMap<String, File>,
    /// Secrets that it may use, by name. Nothing of their values reaches the guest.
    pub secrets: BTreeMap<&'a str, &'a Secret>,
    pub limits: Limits,
}

/// Record of a run.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// Uses by capability, the narrowest one that each call needed.
    pub uses: BTreeMap<String, Uses>,
    /// Settings that it made for the whole image, the last value of each.
    pub settings: BTreeMap<String, String>,
    pub calls: u64,
    /// The same for the same plugin, parameters and answers.
    pub fuel: u64,
    /// It, or a command of its, was told the image's time: with another one it may do something else.
    #[serde(skip)]
    pub read_clock: bool,
    #[serde(skip)]
    pub time: Duration,
    /// When its first call came.
    #[serde(skip)]
    pub first_call: Option<Instant>,
}

/// End of a run that did not fail.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RunEnd {
    /// It came to its end.
    Done(RunReport),
    /// It needs other packages below itself. What it did so far is worth nothing: it has to run again from its beginning,
    /// where it makes the same calls up to this one.
    Asks {
        request: PackageRequest,
        /// Whether the plugin read the clock.
        read_clock: bool,
    },
}

impl RunEnd {
    /// # Panics
    /// If it did not come to its end; for whoever gives it all packages that it can ask for.
    pub fn done(self) -> RunReport {
        match self {
            Self::Done(report) => report,
            Self::Asks { request, .. } => panic!("the run ended before its end: {request}"),
        }
    }
}

/// Runs the plugin's `execute()`. What it did stays to be judged by the caller, whatever this returns.
///
/// # Errors
/// [`Kind::Plugin`] naming the plugin if it fails, panics, traps or runs into a limit; [`Kind::Grant`] if it fails for
/// want of a capability.
pub fn execute(
    engine: &Engine,
    run: &Run<'_>,
    bench: &mut dyn Workbench,
    sink: &mut LogSink<'_>,
    transcript: Option<Transcript>,
) -> Result<RunEnd> {
    let start = Instant::now();
    let mut transcript = transcript;
    if let Some(transcript) = &mut transcript {
        transcript.write(&Line::Begin(Begin::of(run)))?;
    }
    let mut session = Session::new(run, bench, sink, transcript.as_mut());
    let seed = seed(&run.plugin.digest);
    let ended = engine.execute(&run.plugin.code, run.limits, run.image.epoch, seed, &mut |call| session.serve(call))?;
    let record = session.record;
    let read_clock = record.read_clock || ended.read_clock;
    let fuel = ended.result.is_ok().then_some(ended.fuel);
    if let Some(request) = record.asks {
        // The log of an unfinished run belongs to no layer.
        return Ok(RunEnd::Asks { request, read_clock });
    }
    let result = match ended.result {
        Ok(Answer::Executed(Ok(()))) => Ok(RunEnd::Done(RunReport {
            uses: record.uses.clone(),
            settings: record.settings.clone(),
            calls: record.calls,
            fuel: ended.fuel,
            read_clock,
            time: start.elapsed(),
            first_call: record.first_call,
        })),
        Ok(Answer::Executed(Err(failure))) => Err(returned(&run.plugin.conf.id, &failure, &record)),
        Ok(_) => Err(stopped(&run.plugin.conf.id, "gave the answer to another question", &record)),
        Err(cause) => Err(stopped(&run.plugin.conf.id, &cause, &record)),
    };
    if let Some(mut transcript) = transcript {
        let error = result.as_ref().err().map(|error| crate::error::report(error).messages.join(": "));
        transcript.write(&Line::End(End { plugin: run.plugin.conf.id.clone(), calls: record.calls, fuel, error }))?;
    }
    result
}

/// Derives the seed of a plugin's random numbers: the same plugin always gets the same ones.
pub(super) fn seed(digest: &str) -> [u8; 32] {
    Sha256::digest(format!("{digest}\n")).into()
}

/// Returns the failure of an `execute()` that returned an error.
fn returned(id: &str, failure: &Returned, record: &Record) -> anyhow::Error {
    let denied = failure.needed.as_deref();
    // A plugin's word alone is no proof of a refusal.
    let refusal = record.refusal.as_ref().filter(|(needed, _)| Some(needed.as_str()) == denied);
    let kind = if refusal.is_some() { Kind::Grant } else { Kind::Plugin };
    let mut ours = Failure::new(kind, format!("the plugin `{}` failed", printable(id)));
    if let Some((_, hint)) = refusal {
        ours = ours.hint(hint);
    }
    let causes = failure.causes.iter().take(10).rev();
    let mut messages = causes.chain([&failure.message]).map(|text| printable(text));
    let innermost = anyhow::anyhow!(messages.next().unwrap_or_default());
    with_cause(messages.fold(innermost, with_cause), ours)
}

/// Returns the failure of an `execute()` that did not return.
fn stopped(id: &str, cause: &str, record: &Record) -> anyhow::Error {
    let (id, cause) = (printable(id), printable(cause));
    match &record.panic {
        Some((message, location)) => {
            Failure::plugin(format!("the plugin `{id}` panicked in execute(): {message} ({location})")).into()
        }
        None => Failure::plugin(format!("the plugin `{id}` was stopped in execute(): it {cause}")).into(),
    }
}
