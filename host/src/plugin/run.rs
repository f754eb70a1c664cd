//! Runs `execute()`: the guest on a thread of its own, the host functions on the caller's.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde::Serialize;
use sha2::{Digest as _, Sha256};
use wasmtime::Engine;

use super::engine::{self, Limits};
use super::grant::GrantSet;
use super::guest::bindings::exports::piimg::plugin::customization::Failure as GuestFailure;
use super::guest::{self, Plugin, Port};
use super::inspect::PluginInfo;
use super::interface::{LogSink, Record, Session, Uses};
use super::protocol::{Call, ImageInfo, Reply};
use super::transcript::{Begin, End, Line, Transcript};
use super::workbench::Workbench;
use crate::error::{Failure, Kind, Result};
use crate::ui::printable;

/// One execution of a plugin.
#[derive(Debug)]
pub struct Run<'a> {
    pub plugin: &'a PluginInfo,
    pub grants: &'a GrantSet,
    pub image: ImageInfo,
    /// Values of the plugin's parameters, validated and complete.
    pub params: BTreeMap<String, String>,
    /// Files handed over, opened for reading.
    pub assets: BTreeMap<String, File>,
    pub limits: Limits,
}

/// What a run used.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RunReport {
    /// By capability, the narrowest one that each call needed.
    pub uses: BTreeMap<String, Uses>,
    pub calls: u64,
    /// The same for the same plugin, parameters and answers.
    pub fuel: u64,
    #[serde(skip)]
    pub time: Duration,
    /// When its first call came.
    #[serde(skip)]
    pub first_call: Option<Instant>,
}

/// How the guest's side ended: its answer, what stopped it, and the fuel it used.
struct Ended {
    result: std::result::Result<std::result::Result<(), GuestFailure>, String>,
    fuel: u64,
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
) -> Result<RunReport> {
    let start = Instant::now();
    let mut transcript = transcript;
    if let Some(transcript) = &mut transcript {
        transcript.write(&Line::Begin(Begin::of(run)))?;
    }
    let mut session = Session {
        id: &run.plugin.conf.id,
        grants: run.grants,
        image: &run.image,
        params: &run.params,
        assets: &run.assets,
        bench,
        sink,
        logged: Default::default(),
        blobs: Default::default(),
        record: Record::default(),
        transcript: transcript.as_mut(),
        asked: Vec::new(),
        files: Vec::new(),
    };
    let (calls, incoming) = mpsc::channel::<Call>();
    let (answers, replies) = mpsc::channel::<Reply>();
    let ended = engine::with_ticks(engine, || {
        std::thread::scope(|scope| {
            let ask = move |call| {
                // The host's side hangs up only when this side has ended.
                calls.send(call).map_or(Reply::Stop("lost the host".into()), |()| {
                    replies.recv().unwrap_or(Reply::Stop("lost the host".into()))
                })
            };
            let guest = scope.spawn(move || guest_side(engine, run, Box::new(ask)));
            for call in incoming {
                if answers.send(session.serve(call)).is_err() {
                    break;
                }
            }
            guest.join()
        })
    });
    let ended = ended.map_err(|_| Failure::bug("the plugin engine panicked"))?;
    let record = session.record;
    let fuel = ended.result.is_ok().then_some(ended.fuel);
    let result = match ended.result {
        Ok(Ok(())) => Ok(RunReport {
            uses: record.uses.clone(),
            calls: record.calls,
            fuel: ended.fuel,
            time: start.elapsed(),
            first_call: record.first_call,
        }),
        Ok(Err(failure)) => Err(returned(&run.plugin.conf.id, &failure, &record)),
        Err(cause) => Err(stopped(&run.plugin.conf.id, &cause, &record)),
    };
    if let Some(mut transcript) = transcript {
        let error = result.as_ref().err().map(|error| crate::error::report(error).messages.join(": "));
        transcript.write(&Line::End(End { plugin: run.plugin.conf.id.clone(), calls: record.calls, fuel, error }))?;
        transcript.finish()?;
    }
    result
}

/// Everything that touches the guest's code.
fn guest_side(engine: &Engine, run: &Run<'_>, ask: Box<guest::Ask>) -> Ended {
    let mut fuel = 0;
    let result = (|| -> std::result::Result<_, String> {
        let component = run.plugin.code.component(engine).map_err(|error| format!("{error:#}"))?;
        let explain = |error: wasmtime::Error| engine::explain(&error, run.limits);
        let linker = guest::linker(engine).map_err(explain)?;
        // Another plugin or another time gives other numbers; the same build always the same.
        let seed = Sha256::digest(format!("{}\n{}", run.plugin.digest, run.image.epoch));
        let mut store =
            guest::store(engine, Port::new(ask), run.limits, run.image.epoch, &seed.into()).map_err(explain)?;
        let result = Plugin::instantiate(&mut store, &component, &linker)
            .and_then(|plugin| plugin.piimg_plugin_customization().call_execute(&mut store));
        fuel = run.limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        result.map_err(explain)
    })();
    Ended { result, fuel }
}

/// The failure of an `execute()` that returned an error.
fn returned(id: &str, failure: &GuestFailure, record: &Record) -> anyhow::Error {
    let denied = failure.error.as_ref().and_then(|error| error.needed.as_deref());
    // The plugin's word alone does not make it a refusal.
    let refusal = record.refusal.as_ref().filter(|(needed, _)| Some(needed.as_str()) == denied);
    let kind = if refusal.is_some() { Kind::Grant } else { Kind::Plugin };
    let mut ours = Failure::new(kind, format!("the plugin `{}` failed", printable(id)));
    if let Some((_, hint)) = refusal {
        ours = ours.hint(hint);
    }
    let causes = failure.causes.iter().take(10).rev();
    let mut messages = causes.chain([&failure.message]).map(|text| printable(text));
    let innermost = anyhow::anyhow!(messages.next().unwrap_or_default());
    messages.fold(innermost, anyhow::Error::context).context(ours)
}

/// The failure of an `execute()` that did not return.
fn stopped(id: &str, cause: &str, record: &Record) -> anyhow::Error {
    let id = printable(id);
    match &record.panic {
        Some((message, location)) => {
            Failure::plugin(format!("the plugin `{id}` panicked in execute(): {message} ({location})")).into()
        }
        None => Failure::plugin(format!("the plugin `{id}` was stopped in execute(): it {cause}")).into(),
    }
}
