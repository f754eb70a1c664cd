//! The audit: what a plugin could do, what it asked for, what it did and what that changed; and what follows from it.
//!
//! What it *could* do is read from the imports of the component, without running it: a component reaches the host
//! through its imports alone. All else is the author's word ([`PluginInfo::requests`]) or a build's record
//! ([`Record`]).

mod folding;
mod risk;
mod text;

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;

use crate::capability::kinds::EXEC;
use crate::capability::{Capability, Declared, Kind, Template};
use crate::functions::{self, RUN};
use crate::info::{PluginInfo, Request};
pub use risk::{Finding, Risk};
pub use text::{Line, SAME_REQUESTS, Tone, text};

/// An audit of one plugin; `docs/audit.schema.json` describes its JSON form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Audit {
    pub id: String,
    pub version: String,
    pub title: String,
    pub digest: String,
    pub rows: Vec<Row>,
    /// Kinds that it could call without having asked for them: each call would be refused.
    pub possible_but_not_declared: Vec<String>,
    /// Sentences for what it can reach if all that it asks for is granted.
    pub can: Vec<String>,
    /// Phrases for what it cannot do, whatever is granted: proved by its imports.
    pub cannot: Vec<String>,
    pub risk: Risk,
    pub findings: Vec<Finding>,
    /// Requests that it cannot use, or had and did not use in a build.
    pub unused: Vec<String>,
    /// Requests among them that it can do without: all else a build would refuse to start without, whether it is used
    /// or not.
    pub could_be_dropped: Vec<String>,
    /// Its record in a build was compared.
    pub compared_with_build: bool,
}

/// One capability that the plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Row {
    /// The scope as its author writes it.
    pub declared: String,
    /// Its author's words, unless it is `listed`.
    pub reason: String,
    /// It stands for a package that `conf()` lists: piimg asks for it.
    pub listed: bool,
    pub optional: bool,
    pub possible: Possible,
    /// Whether it was granted in a build; none without a record.
    pub granted: Option<bool>,
    /// Calls in a build that this capability allowed; none without a record, and where commands may have used it, whose
    /// connections a record does not have.
    pub used: Option<u64>,
    /// Paths that a build saw changed and that it covers; none without a record.
    pub changed: Option<usize>,
}

impl Row {
    /// Returns the kind of what is asked for; `None` if this piimg knows no such kind.
    fn kind(&self) -> Option<&'static Kind> {
        Kind::split(&self.declared).map(|(kind, _)| kind)
    }

    /// Returns whether it could not be used, or was not although it was granted.
    fn is_unused(&self) -> bool {
        let was_idle = self.used == Some(0) && self.changed == Some(0);
        self.possible == Possible::Never || was_idle && self.granted == Some(true)
    }
}

/// Whether a plugin can use what it asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Possible {
    /// Proved: it imports no function that needs it.
    Never,
    /// A command that it may run can do it.
    ByCommand,
    /// It imports a function that needs it, or lists it in `conf()`.
    Yes,
}

/// The difference of two plugins: what the newer could do that the older could not, and the other way round.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Difference {
    pub from: String,
    pub to: String,
    /// Asked for, and not covered by what the other asks for.
    pub new_capabilities: Vec<String>,
    pub gone_capabilities: Vec<String>,
    /// `interface.function`.
    pub new_functions: Vec<String>,
    pub gone_functions: Vec<String>,
    /// They are the very same component.
    #[serde(skip)]
    pub same_code: bool,
}

impl Difference {
    /// Returns whether the newer one could do more.
    pub fn widens(&self) -> bool {
        !self.new_capabilities.is_empty() || !self.new_functions.is_empty()
    }
}

/// Record of a plugin in a build, as far as an audit compares it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Record {
    /// Granted scopes, as requested, and with the values of the plugin's parameters.
    pub granted: BTreeMap<String, String>,
    /// Calls that were allowed, by the narrowest capability that would do.
    pub allowed: BTreeMap<String, u64>,
    /// Paths that it changed.
    pub changed: Vec<String>,
}

/// Audits a plugin, with its record in a build if there is one.
pub fn audit(info: &PluginInfo, record: Option<&Record>) -> Audit {
    let rows: Vec<Row> = info.requests.iter().map(|request| row(info, request, record)).collect();
    let scopes = |chosen: &dyn Fn(&&Row) -> bool| rows.iter().filter(chosen).map(|row| row.declared.clone()).collect();
    let functions = functions(info);
    let possible: Vec<&Kind> = Kind::all().filter(|kind| functions::use_kind(&functions, kind)).collect();
    let undeclared = undeclared(&functions, |kind| rows.iter().any(|row| row.kind() == Some(kind)));
    let (risk, findings) = risk::judge(&rows);
    Audit {
        id: info.conf.id.clone(),
        version: info.conf.version.clone(),
        title: info.conf.title.clone(),
        digest: info.digest.clone(),
        possible_but_not_declared: undeclared,
        can: can(&rows),
        cannot: cannot(&rows, &possible),
        risk,
        findings,
        unused: scopes(&|row| row.is_unused()),
        could_be_dropped: scopes(&|row| row.optional && row.is_unused()),
        compared_with_build: record.is_some(),
        rows,
    }
}

/// Returns the kinds of capabilities without which a function that it has can never be called.
fn undeclared(functions: &BTreeSet<String>, is_declared: impl Fn(&Kind) -> bool) -> Vec<String> {
    let functions = functions.iter().filter_map(|name| functions::by_name(name));
    let useless: Vec<_> = functions.filter(|function| !function.can_be_called(&is_declared)).collect();
    let is_missing = |kind: &&Kind| useless.iter().any(|function| function.needs.contains(kind)) && !is_declared(kind);
    Kind::all().filter(is_missing).map(|kind| kind.name.to_owned()).collect()
}

fn row(info: &PluginInfo, request: &Request, record: Option<&Record>) -> Row {
    // Without a record nobody knows the values of its parameters.
    let means =
        record.and_then(|record| record.granted.get(request.scope.as_str())).map_or(&*request.scope, String::as_str);
    let capability = Capability::parse(means).ok();
    let covers = |scope: &str| {
        let narrow = Capability::parse(scope).ok();
        capability.as_ref().zip(narrow.as_ref()).is_some_and(|(wide, narrow)| wide.includes(narrow))
    };
    // Packages that it lists, and wishes of its conf().
    let is_listed = info.requests.iter().any(|other| other.listed && covers(&other.scope));
    let functions = functions(info);
    let kind = request.scope.kind();
    let is_for_the_asking = |kind: &Kind| kind.cannot.is_none();
    let possible =
        if is_listed || kind.is_some_and(|kind| is_for_the_asking(kind) || functions::use_kind(&functions, kind)) {
            Possible::Yes
        } else if functions.contains(RUN) && kind.is_some_and(|kind| kind.by_command || kind.name == "net") {
            Possible::ByCommand
        } else {
            Possible::Never
        };
    Row {
        declared: request.scope.to_string(),
        reason: request.reason.clone(),
        listed: request.listed,
        optional: request.optional,
        possible,
        granted: record.map(|record| record.granted.contains_key(request.scope.as_str())),
        used: record.and_then(|record| {
            let calls = record.allowed.iter().filter(|(scope, _)| covers(scope)).map(|(_, calls)| calls).sum::<u64>();
            // What it lists is done without a call.
            let calls = calls + u64::from(is_listed);
            let by_connection = kind.is_some_and(|kind| kind.name == "net") && functions.contains(RUN);
            (calls > 0 || !by_connection).then_some(calls)
        }),
        changed: record.map(|record| record.changed.iter().filter(|path| covers(&format!("fs:write:{path}"))).count()),
    }
}

/// Returns `interface.function` for all that it imports of piimg's own.
fn functions(info: &PluginInfo) -> BTreeSet<String> {
    info.imports
        .iter()
        .filter_map(|import| Some((import.name.strip_prefix("piimg:plugin/")?, &import.functions)))
        .flat_map(|(interface, functions)| functions.iter().map(move |function| format!("{interface}.{function}")))
        .collect()
}

/// Writes one sentence for each kind that is asked for and can be used.
fn can(rows: &[Row]) -> Vec<String> {
    let of_kind = |kind: &'static Kind| {
        let scopes: Vec<&str> = rows
            .iter()
            .filter(|row| row.possible != Possible::Never)
            .filter_map(|row| Kind::split(&row.declared).filter(|(it, _)| *it == kind))
            .map(|(_, scope)| scope)
            .collect();
        (!scopes.is_empty()).then(|| format!("{} {}", kind.verb, scopes.join(", ")))
    };
    Kind::all().filter_map(of_kind).collect()
}

/// Writes what is out of reach: by its imports, and where it could run commands, by the box that those run in.
fn cannot(rows: &[Row], possible: &[&Kind]) -> Vec<String> {
    let asks = |kind: &Kind| rows.iter().any(|row| row.possible != Possible::Never && row.kind() == Some(kind));
    let runs = possible.contains(&&EXEC);
    // What a command could do too is not proved by imports.
    let is_out_of_reach = |kind: &&Kind| !(possible.contains(kind) || asks(kind) || runs && kind.by_command);
    Kind::all().filter(is_out_of_reach).filter_map(|kind| kind.cannot).map(str::to_owned).collect()
}

/// Lists what the old one asks for and the new one does not, word for word: also what was given up for something wider,
/// and not what the new one names as a part of it.
fn gone(old: &PluginInfo, new: &PluginInfo) -> Vec<String> {
    let is_there = |scope: &str| new.requests.iter().any(|request| request.scope == scope);
    old.requests.iter().map(|request| request.scope.to_string()).filter(|scope| !is_there(scope)).collect()
}

/// Compares two builds of a plugin.
pub fn difference(old: &PluginInfo, new: &PluginInfo) -> Difference {
    let name = |info: &PluginInfo| format!("{} {}", info.conf.id, info.conf.version);
    let beyond = |of: &PluginInfo, what: &PluginInfo| -> Vec<String> {
        let have: Vec<&Template> = of.requests.iter().filter_map(|it| it.scope.template().ok()).collect();
        let is_covered = |scope: &Declared| {
            scope.template().is_ok_and(|wanted| have.iter().any(|template| template.includes(wanted)))
        };
        let scopes = what.requests.iter().map(|request| &request.scope);
        scopes.filter(|scope| !is_covered(scope)).map(Declared::to_string).collect()
    };
    let (before, after) = (functions(old), functions(new));
    Difference {
        from: name(old),
        to: name(new),
        same_code: old.digest == new.digest,
        new_capabilities: beyond(old, new),
        gone_capabilities: gone(old, new),
        new_functions: after.difference(&before).cloned().collect(),
        gone_functions: before.difference(&after).cloned().collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::info::ImportedInterface;

    fn info(imports: &[(&str, &[&str])], scopes: &[&str]) -> PluginInfo {
        let mut info = PluginInfo::default();
        let import = |(name, functions): &(&str, &[&str])| ImportedInterface {
            name: format!("piimg:plugin/{name}"),
            functions: functions.iter().map(ToString::to_string).collect(),
        };
        let request =
            |scope: &&str| Request { scope: (*scope).into(), reason: "r".into(), optional: false, listed: false };
        info.imports = imports.iter().map(import).collect();
        info.requests = scopes.iter().map(request).collect();
        info.conf.id = "a/b".into();
        info.conf.version = "1.0.0".into();
        info
    }

    /// Of a build for `ann` with these grants.
    fn record(granted: &[&str], uses: &[(&str, u64)]) -> Record {
        Record {
            granted: granted.iter().map(|it| (it.to_string(), it.replace("{params.user}", "ann"))).collect(),
            allowed: uses.iter().map(|(scope, allowed)| (scope.to_string(), *allowed)).collect(),
            changed: Vec::new(),
        }
    }

    #[test]
    fn what_it_cannot_do_is_proved_by_its_imports() {
        let writer = audit(&info(&[("fs", &["write"])], &["fs:write:/etc/x"]), None);
        assert!(writer.cannot.contains(&"run commands".to_owned()), "{writer:?}");
        assert!(writer.cannot.contains(&"read files of the image".to_owned()), "{writer:?}");
        assert!(writer.cannot.contains(&"install packages".to_owned()), "{writer:?}");
        assert_eq!(writer.can, ["write /etc/x"]);
        assert_eq!(writer.risk, Risk::Low);
        // A command can read any file, so that its imports prove nothing about that.
        let runner = audit(&info(&[("process", &["run"])], &["exec:true"]), None);
        assert!(!runner.cannot.contains(&"read files of the image".to_owned()), "{runner:?}");
        assert!(!runner.cannot.contains(&"run commands".to_owned()), "{runner:?}");
    }

    #[test]
    fn each_function_that_writes_is_told_as_writing() {
        for function in ["write", "unpack", "set-attrs", "set-owner", "remove", "rename"] {
            let found = audit(&info(&[("fs", &[function])], &["fs:write:/**"]), None);
            assert_eq!((found.risk, found.rows[0].possible), (Risk::Critical, Possible::Yes), "{function}: {found:?}");
            assert!(!found.cannot.contains(&"write files of the image".to_owned()), "{function}: {found:?}");
        }
    }

    #[test]
    fn a_command_reaches_the_network_only_if_that_is_asked_for() {
        let run: (&str, &[&str]) = ("process", &["run"]);
        let without = audit(&info(&[run], &["exec:curl **"]), None);
        assert!(without.cannot.contains(&"reach the network".to_owned()), "{without:?}");
        let with = audit(&info(&[run], &["exec:curl **", "net:https://example.org/**"]), None);
        assert!(!with.cannot.contains(&"reach the network".to_owned()), "{with:?}");
        assert_eq!(with.rows[1].possible, Possible::ByCommand);
        assert!(
            with.findings
                .iter()
                .any(|finding| finding.says.starts_with("can run what it downloads: `exec:curl **` and `net:")),
            "{with:?}"
        );
    }

    #[test]
    fn listed_packages_need_no_import() {
        let mut info = info(&[], &["pkg:install:htop"]);
        info.conf.image.apt_get_packages = vec!["htop=1".into()];
        info.requests[0].listed = true;
        info.requests.push(Request {
            scope: "pkg:install:jq".into(),
            reason: "for me".into(),
            optional: true,
            listed: false,
        });
        let audit = audit(&info, Some(&record(&["pkg:install:htop"], &[])));
        assert!(audit.rows[0].possible == Possible::Yes && audit.rows[0].used == Some(1), "{audit:?}");
        assert_eq!((audit.rows[0].listed, audit.rows[1].listed), (true, false));
        assert!(!audit.cannot.contains(&"install packages".to_owned()), "{audit:?}");
        assert_eq!(audit.unused, ["pkg:install:jq"]);
    }

    #[test]
    fn what_is_not_used_could_be_dropped_if_it_can_do_without() {
        let scopes = ["fs:write:/etc/x", "fs:write:/etc/y", "fs:write:/etc/z", "exec:true", "exec:false"];
        let mut info = info(&[("fs", &["write"])], &scopes);
        for at in [2, 4] {
            info.requests[at].optional = true;
        }
        let found = audit(&info, Some(&record(&scopes, &[("fs:write:/etc/x", 2)])));
        assert_eq!(found.rows[0].used, Some(2));
        assert_eq!(found.unused, ["fs:write:/etc/y", "fs:write:/etc/z", "exec:true", "exec:false"]);
        assert_eq!(found.could_be_dropped, ["fs:write:/etc/z", "exec:false"]);
        // What commands connect to is not in the record.
        let runner = self::info(&[("process", &["run"])], &["exec:true", "net:https://example.org/**"]);
        let granted = ["exec:true", "net:https://example.org/**"];
        let found = audit(&runner, Some(&record(&granted, &[("exec:true", 1)])));
        assert_eq!((found.rows[1].used, found.unused.len()), (None, 0));
        // What it did not have it could not use.
        let found = audit(&info, Some(&record(&scopes[..2], &[("fs:write:/etc/x", 2), ("fs:write:/etc/y", 1)])));
        assert_eq!((found.rows[1].granted, found.rows[2].granted), (Some(true), Some(false)));
        assert_eq!(found.unused, ["exec:true", "exec:false"]);
        assert_eq!(audit(&info, None).unused, ["exec:true", "exec:false"]);
        let runner = audit(&self::info(&[("process", &["run"])], &["exec:true", "fs:write:/etc/x"]), None);
        assert_eq!((runner.rows[1].possible, runner.unused.len()), (Possible::ByCommand, 0));
    }

    #[test]
    fn scopes_with_parameters_are_compared_with_their_values() {
        let info = info(&[("fs", &["write"])], &["fs:write:/home/{params.user}/x"]);
        let uses = [("fs:write:/home/ann/x", 2), ("fs:write:/home/bob/x", 1)];
        let found = audit(&info, Some(&record(&["fs:write:/home/{params.user}/x"], &uses)));
        assert_eq!(found.rows[0].used, Some(2));
        assert!(!difference(&info, &info).widens());
    }

    #[test]
    fn a_function_that_nobody_asked_for_is_named() {
        let found = audit(&info(&[("process", &["run"])], &[]), None);
        assert_eq!(found.possible_but_not_declared, ["exec"]);
        let found = audit(&info(&[("net", &["fetch-authorized"])], &["net:https://x.example.org/y"]), None);
        assert_eq!(found.possible_but_not_declared, ["secret"]);
    }

    #[test]
    fn a_function_that_does_several_things_may_be_had_for_one_of_them() {
        let found = audit(&info(&[("services", &["set-state"])], &["svc:enable:x.service"]), None);
        assert_eq!(found.possible_but_not_declared, [""; 0]);
    }

    #[test]
    fn what_is_given_up_for_something_wider_is_gone() {
        let old = info(&[("fs", &["write"])], &["fs:write:/etc/x"]);
        let new = info(&[("fs", &["write"])], &["fs:write:/etc/**"]);
        let found = difference(&old, &new);
        assert_eq!(
            (found.new_capabilities, found.gone_capabilities),
            (vec!["fs:write:/etc/**".into()], vec!["fs:write:/etc/x".into()])
        );
    }

    #[test]
    fn versions_are_compared_by_what_they_reach() {
        let old = info(&[("fs", &["write"])], &["fs:write:/etc/**", "fs:read:/etc/a"]);
        let new = info(&[("fs", &["write"]), ("process", &["run"])], &["fs:write:/etc/x", "exec:true"]);
        let found = difference(&old, &new);
        assert_eq!(found.new_capabilities, ["exec:true"]);
        assert_eq!(found.gone_capabilities, ["fs:write:/etc/**", "fs:read:/etc/a"]);
        assert_eq!(found.new_functions, ["process.run"]);
        assert!(found.widens() && !difference(&new, &new).widens());
    }
}
