//! Runs a plugin again against the answers that an audit log recorded: nothing is built, and nothing is needed but the
//! log and the component. Guests are deterministic, so the same component makes the same calls; one that does not is not
//! the one that was run, or the log is not of that run.

use serde_json::Value;

use super::engine::Limits;
use super::inspect::PluginInfo;
use super::protocol::Reply;
use super::transcript::{self, Begin, CallLine, End, Line};
use super::worker::{Answer, Engine};
use crate::error::{Failure, Result};
use crate::ui::printable;

/// What a replay found.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// Calls that were the same.
    pub calls: u64,
    /// The first difference; none if the run was the same to the last instruction.
    pub difference: Option<String>,
}

/// The part of a log that is of this plugin.
struct Recorded<'a> {
    begin: &'a Begin,
    calls: Vec<&'a CallLine>,
    end: Option<&'a End>,
}

/// Replays the run of the plugin that `log` holds.
///
/// # Errors
/// [`Failure::usage`] if the log has no run of this very component, or a reply in it cannot be understood.
pub fn replay(engine: &Engine, plugin: &PluginInfo, log: &[Line]) -> Result<Replayed> {
    let recorded = recorded(plugin, log)?;
    let limits = Limits { fuel: recorded.begin.fuel, memory: recorded.begin.memory, ..Limits::EXECUTE };
    let seed = super::run::seed(&plugin.digest);
    let mut calls = 0;
    let mut difference = None;
    let ended = engine.execute(&plugin.code, limits, recorded.begin.image.epoch, seed, &mut |call| {
        let (made, args) = transcript::call(&call, recorded.begin.log_version);
        let answer = match recorded.calls.get(calls) {
            None => Err(format!("it made a call after the last one of the log: {}", shown(&made, &args))),
            Some(line) if (&line.call, &line.args) != (&made, &args) => {
                let was = shown(&line.call, &line.args);
                Err(format!("call {} was {was} and is {}", line.number, shown(&made, &args)))
            }
            Some(line) => transcript::parse_reply(&line.reply)
                .map_err(|error| format!("the reply to call {} of the log is none: {error:#}", line.number)),
        };
        match answer {
            Ok(reply) => {
                calls += 1;
                reply
            }
            Err(text) => {
                difference.get_or_insert(printable(&text));
                Reply::Stop("was stopped by the replay".into())
            }
        }
    })?;
    let difference = difference.or_else(|| {
        if calls < recorded.calls.len() {
            return Some(format!("it ended after {calls} of {} calls", recorded.calls.len()));
        }
        let end = recorded.end?;
        let succeeded = matches!(ended.result, Ok(Answer::Executed(Ok(()))));
        if succeeded != end.error.is_none() {
            let word = |succeeded| if succeeded { "succeeded" } else { "failed" };
            return Some(format!("it {} in the build and {} now", word(end.error.is_none()), word(succeeded)));
        }
        let fuel = end.fuel.filter(|fuel| *fuel != ended.fuel)?;
        Some(format!("it used {fuel} instructions in the build and {} now", ended.fuel))
    });
    Ok(Replayed { calls: u64::try_from(calls).unwrap_or(u64::MAX), difference })
}

/// A call of a log, of either version, in one line.
fn shown(call: &Value, args: &Value) -> String {
    match call.as_str() {
        Some(name) if args.is_null() => name.to_owned(),
        Some(name) => format!("{name} {args}"),
        None => call.to_string(),
    }
}

fn recorded<'a>(plugin: &PluginInfo, log: &'a [Line]) -> Result<Recorded<'a>> {
    let mut found: Option<Recorded<'a>> = None;
    for line in log {
        match (line, &mut found) {
            (Line::Begin(begin), None) if begin.digest == plugin.digest => {
                found = Some(Recorded { begin, calls: Vec::new(), end: None });
            }
            (Line::Call(call), Some(recorded)) if recorded.end.is_none() => recorded.calls.push(call),
            (Line::End(end), Some(recorded)) if recorded.end.is_none() => recorded.end = Some(end),
            _ => {}
        }
    }
    found.ok_or_else(|| {
        Failure::usage(format!("the audit log has no run of this build of `{}`", printable(&plugin.conf.id)))
            .hint(format!("its digest is {}", plugin.digest))
            .into()
    })
}
