//! Describes what came of a trial, for a person and for a test.

use std::collections::BTreeMap;

use serde::Serialize;

use super::bench::TrialBench;
use super::scenario::VERSION;
use crate::error::{Kind, Report};
use crate::plugin::InspectedPlugin;
use crate::plugin::audit_log::{CallLine, Line};
use crate::plugin::run::RunReport;
use crate::plugin::workbench::Command;
use crate::plugin::{Level, Uses};
use crate::report::Effect;
use crate::rootfs::accounts::Accounts;
use crate::rootfs::files::{FileKind, Metadata};
use crate::ui::printable;

/// Tells what came of a trial.
#[derive(Debug, Serialize)]
pub struct Outcome {
    /// Version of this form.
    pub version: u32,
    pub plugin: String,
    pub plugin_version: String,
    pub digest: String,
    /// Reason of its failure; `None` if it came to its end.
    pub error: Option<Problem>,
    /// Mistakes of the test: what it must say and does not, or says and nothing needs. A test with one fails.
    pub problems: Vec<String>,
    pub log: Vec<LogLine>,
    /// Each host call.
    pub calls: Vec<CallLine>,
    /// Each command that was run, with arguments.
    pub commands: Vec<Vec<String>>,
    /// Requests for packages below it, in words.
    pub package_requests: Vec<String>,
    /// By the narrowest capability that each call needed.
    pub uses: BTreeMap<String, Uses>,
    /// Settings that it made for the whole image.
    pub settings: BTreeMap<String, String>,
    /// Calls that the gate refused.
    pub refused: Vec<Refused>,
    pub changes: Vec<Effect>,
    /// Everything in the image afterwards, by path.
    pub entries: BTreeMap<String, Entry>,
}

/// Tells why a plugin failed.
#[derive(Debug, Serialize)]
pub struct Problem {
    #[serde(skip)]
    pub kind: Kind,
    /// Failure as `piimg build` would report it.
    pub exit_code: i32,
    /// The outermost message first, then each cause.
    pub messages: Vec<String>,
    pub hints: Vec<String>,
}

impl From<Report> for Problem {
    fn from(report: Report) -> Self {
        Self { kind: report.kind, exit_code: report.kind as i32, messages: report.messages, hints: report.hints }
    }
}

/// A line that the plugin logged or printed.
#[derive(Clone, Debug, Serialize)]
pub struct LogLine {
    #[serde(serialize_with = "level")]
    pub level: Level,
    pub text: String,
}

fn level<S: serde::Serializer>(level: &Level, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match level {
        Level::Error => "error",
        Level::Warn => "warn",
        Level::Info => "info",
        Level::Debug => "debug",
        Level::Trace => "trace",
    })
}

/// A capability that the gate refused, and to which call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Refused {
    pub scope: String,
    pub call: u64,
    /// The host function.
    pub function: String,
}

/// An entry of the image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Entry {
    pub kind: &'static str,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// By the image's own accounts.
    pub user: Option<String>,
    pub group: Option<String>,
    pub size: u64,
    /// Target of a symbolic link.
    pub target: Option<String>,
}

impl Entry {
    /// Describes an entry; names come from the image's accounts, if it has any.
    pub(super) fn of(metadata: &Metadata, accounts: Option<&Accounts>) -> Self {
        let attrs = metadata.attrs;
        Self {
            kind: match metadata.kind {
                FileKind::File => "file",
                FileKind::Directory => "directory",
                FileKind::Symlink => "link",
                FileKind::Other => "other",
            },
            mode: attrs.mode,
            uid: attrs.uid,
            gid: attrs.gid,
            user: accounts.and_then(|accounts| accounts.user_name(attrs.uid)).map(str::to_owned),
            group: accounts.and_then(|accounts| accounts.group_name(attrs.gid)).map(str::to_owned),
            size: metadata.size,
            target: metadata.target.clone(),
        }
    }
}

/// Parts of an outcome.
pub(super) struct Parts<'a> {
    pub(super) plugin: &'a InspectedPlugin,
    pub(super) run: Option<RunReport>,
    pub(super) error: Option<Report>,
    pub(super) log: Vec<LogLine>,
    pub(super) lines: Vec<Line>,
    pub(super) effects: Vec<Effect>,
    pub(super) entries: BTreeMap<String, Entry>,
    pub(super) bench: &'a TrialBench<'a>,
}

/// Puts an outcome together.
pub(super) fn gather(parts: Parts<'_>) -> Outcome {
    let calls: Vec<CallLine> = parts
        .lines
        .into_iter()
        .filter_map(|line| if let Line::Call(call) = line { Some(*call) } else { None })
        .collect();
    let mut uses: BTreeMap<String, Uses> = BTreeMap::new();
    let mut refused = Vec::new();
    for call in &calls {
        for asked in &call.asked {
            let of = uses.entry(asked.scope.clone()).or_default();
            *(if asked.allowed { &mut of.allowed } else { &mut of.denied }) += 1;
            if !asked.allowed {
                let function = call.call.as_str().unwrap_or_default().to_owned();
                refused.push(Refused { scope: asked.scope.clone(), call: call.number, function });
            }
        }
    }
    let mut problems = parts.bench.problems.clone();
    // One that failed did not get to the others.
    if parts.error.is_none() {
        problems.extend(parts.bench.uncalled().map(|stub| {
            format!(
                "the stub of `{}` was never called: remove it, or look why the plugin does not run that",
                printable(&stub.shown())
            )
        }));
    }
    let argv = |command: &Command| std::iter::once(&command.program).chain(&command.args).cloned().collect();
    Outcome {
        version: VERSION,
        plugin: parts.plugin.conf.id.clone(),
        plugin_version: parts.plugin.conf.version.clone(),
        digest: parts.plugin.digest.clone(),
        error: parts.error.map(Problem::from),
        problems,
        log: parts.log,
        calls,
        commands: parts.bench.commands.iter().map(argv).collect(),
        package_requests: parts.bench.requests.iter().map(ToString::to_string).collect(),
        uses,
        settings: parts.run.map(|run| run.settings).unwrap_or_default(),
        refused,
        changes: parts.effects,
        entries: parts.entries,
    }
}
