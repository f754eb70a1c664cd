//! Runs a plugin again against the answers that an audit log recorded: nothing is built, and nothing is needed but the
//! log and the component. Guests are deterministic, so the same component makes the same calls; one that does not is not
//! the one that was run, or the log is not of that run.

pub mod effects;

use serde_json::Value;

use super::InspectedPlugin;
use super::audit_log::{self, Begin, CallLine, End, Line};
use super::engine::Limits;
use super::protocol::Reply;
use super::worker::{Answer, Engine};
use crate::error::{Failure, Result};
use crate::ui::{count, printable};
use effects::Made;

/// Result of a replay.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// Calls that were the same.
    pub calls: u64,
    /// The first difference; `None` if the run was the same to the last instruction.
    pub difference: Option<String>,
    /// Changes by another build: files, units, commands and settings, by the function and what it is about.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub files: Vec<effects::Changed>,
    /// Reason why nothing is known of the end of its run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub stopped: Option<String>,
}

impl Replayed {
    /// Returns whether nothing was otherwise.
    pub fn is_same(&self) -> bool {
        self.difference.is_none() && self.files.is_empty() && self.stopped.is_none()
    }
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
pub fn replay(engine: &Engine, plugin: &InspectedPlugin, log: &[Line]) -> Result<Replayed> {
    let recorded = recorded(plugin, log)?;
    let limits = Limits { fuel: recorded.begin.fuel, memory: recorded.begin.memory, ..Limits::EXECUTE };
    let seed = super::run::seed(&plugin.digest);
    let mut calls = 0;
    let mut difference = None;
    let ended = engine.execute(&plugin.code, limits, recorded.begin.image.epoch, seed, &mut |call| {
        let (made, args) = audit_log::call(&call, recorded.begin.log_version);
        let answer = match recorded.calls.get(calls) {
            None => Err(format!("it made a call after the last one of the log: {}", shown(&made, &args))),
            Some(line) if (&line.call, &line.args) != (&made, &args) => {
                let was = shown(&line.call, &line.args);
                Err(format!("call {} was {was} and is {}", line.number, shown(&made, &args)))
            }
            Some(line) => audit_log::parse_reply(&line.reply)
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
            return Some(format!("it ended after {calls} of {}", count(recorded.calls.len(), "call")));
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
    Ok(Replayed { calls: u64::try_from(calls).unwrap_or(u64::MAX), difference, ..Replayed::default() })
}

/// Runs a plugin against the log of another build of it, `old`, as far as the log has answers: a call that differs is
/// answered with what the log says to the same function about the same thing.
///
/// # Errors
/// As [`replay`], of the run of `old`.
pub fn replay_another(
    engine: &Engine,
    plugin: &InspectedPlugin,
    old: &InspectedPlugin,
    log: &[Line],
) -> Result<Replayed> {
    let recorded = recorded(old, log)?;
    let limits = Limits { fuel: recorded.begin.fuel, memory: recorded.begin.memory, ..Limits::EXECUTE };
    // The numbers by chance of the old run: what the new one does otherwise is its code's doing.
    let seed = super::run::seed(&recorded.begin.digest);
    let version = recorded.begin.log_version;
    let was: Vec<Made> = recorded.calls.iter().map(|line| Made::new(line.call.clone(), line.args.clone())).collect();
    let mut made = Vec::new();
    let mut found = Replayed::default();
    let mut next = 0;
    let ended = engine.execute(&plugin.code, limits, recorded.begin.image.epoch, seed, &mut |call| {
        let (name, args) = audit_log::call(&call, version);
        let is = Made::new(name, args);
        let is_next = was.get(next) == Some(&is);
        if is_next && found.difference.is_none() {
            found.calls += 1;
        } else if !is_next && found.difference.is_none() {
            let was = was.get(next).map_or_else(|| "none".to_owned(), Made::shown);
            found.difference = Some(printable(&format!("call {} was {was} and is {}", next + 1, is.shown())));
        }
        let answer = effects::answer(&was, next, &is);
        let shown = is.shown();
        made.push(is);
        match answer {
            effects::Answer::Of(at) => {
                next = next.max(at + 1);
                match audit_log::parse_reply(&recorded.calls[at].reply) {
                    Ok(reply) => reply,
                    Err(error) => {
                        found.stopped = Some(format!("the reply to call {} of the log is none: {error:#}", at + 1));
                        Reply::Stop("was stopped by the replay".into())
                    }
                }
            }
            effects::Answer::Done => Reply::Done,
            effects::Answer::Unknown => {
                found.stopped.get_or_insert_with(|| format!("the log has no answer to {shown}"));
                Reply::Stop("was stopped by the replay".into())
            }
        }
    })?;
    let succeeded = matches!(ended.result, Ok(Answer::Executed(Ok(()))));
    let was_good = recorded.end.is_none_or(|end| end.error.is_none());
    if found.stopped.is_none() && succeeded != was_good {
        let word = |succeeded| if succeeded { "succeeded" } else { "failed" };
        found.difference.get_or_insert(format!("it {} in the build and {} now", word(was_good), word(succeeded)));
    }
    if found.difference.is_none() && made.len() < was.len() {
        found.difference = Some(format!("it ended after {} of {}", made.len(), count(was.len(), "call")));
    }
    if version == 1 && found.difference.is_some() {
        found.stopped = Some("the log is of an old form".into());
    } else {
        found.files = effects::changed(&was, &made, found.stopped.is_none());
    }
    Ok(found)
}

/// Returns a call of a log, of either version, in one line.
fn shown(call: &Value, args: &Value) -> String {
    match call.as_str() {
        Some(name) if args.is_null() => name.to_owned(),
        Some(name) => format!("{name} {args}"),
        None => call.to_string(),
    }
}

fn recorded<'a>(plugin: &InspectedPlugin, log: &'a [Line]) -> Result<Recorded<'a>> {
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
