//! Plugins that misbehave on purpose, from the file to the message the user reads; the image is a directory.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

mod boot;
mod components;
mod grants;
mod helpers;
mod net;
mod published;
mod python;
mod run;
mod secrets;
mod services;
mod shipped;
mod users;
mod wishes;
mod worker;

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use piimg::error::{Kind, Report, report};
use piimg::home::Home;
use piimg::plugin::InspectedPlugin;
use piimg::plugin::grant::{GrantSet, Granted, scopes_of};
use piimg::plugin::inspect::{inspect, keep_code};
use piimg::plugin::run::{Run, RunEnd, RunReport, execute};
use piimg::plugin::workbench::Command;
use piimg::plugin::{CodeCache, CompileLimits, Engine, Limits};
use piimg_tests::directory::{Directory, image, image_info};
use piimg_tests::host::Canary;
use piimg_tests::{engine, guest, piimg};

/// What a run left behind.
struct Ran {
    result: Result<RunReport, Report>,
    log: Vec<String>,
    commands: Vec<Command>,
    packages: Vec<String>,
    requests: Vec<String>,
    root: tempfile::TempDir,
}

impl Ran {
    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.path().join(path)).ok()
    }

    /// The failure, which must be of this kind.
    fn failure(&self, kind: Kind) -> &Report {
        let report = self.result.as_ref().expect_err("the plugin must fail");
        assert_eq!(report.kind, kind, "{report:?}");
        report
    }
}

fn look(name: &str) -> Result<InspectedPlugin, Report> {
    inspect(&engine(), &guest(name), None).map_err(|error| report(&error))
}

fn run(name: &str, granted: &Granted, limits: Limits) -> Ran {
    run_in(image(), name, granted, limits)
}

fn run_in(root: tempfile::TempDir, name: &str, granted: &Granted, limits: Limits) -> Ran {
    run_plugin(root, &look(name).unwrap(), granted, &[], limits)
}

fn run_plugin(
    root: tempfile::TempDir,
    plugin: &InspectedPlugin,
    granted: &Granted,
    params: &[(&str, &str)],
    limits: Limits,
) -> Ran {
    run_with(&engine(), root, plugin, granted, params, limits)
}

fn run_with(
    engine: &Engine,
    root: tempfile::TempDir,
    plugin: &InspectedPlugin,
    granted: &Granted,
    params: &[(&str, &str)],
    limits: Limits,
) -> Ran {
    run_with_assets(engine, root, plugin, granted, (params, BTreeMap::new()), limits)
}

/// With the values of parameters, and with files that the user hands over.
fn run_with_assets(
    engine: &Engine,
    root: tempfile::TempDir,
    plugin: &InspectedPlugin,
    granted: &Granted,
    (params, assets): (&[(&str, &str)], BTreeMap<String, File>),
    limits: Limits,
) -> Ran {
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let grants = GrantSet::new(plugin, &params, granted).unwrap();
    let run = Run { plugin, grants: &grants, image: image_info(), params, assets, secrets: BTreeMap::new(), limits };
    let mut bench = Directory::open(root.path());
    bench.packages = Some(Vec::new());
    let mut log = Vec::new();
    let mut sink = |id: &str, _level, line: &str| log.push(format!("{id}: {line}"));
    let result = execute(engine, &run, &mut bench, &mut sink, None);
    Ran {
        result: result.map(RunEnd::done).map_err(|error| report(&error)),
        log,
        commands: bench.commands,
        packages: bench.packages.unwrap_or_default(),
        requests: bench.requests,
        root,
    }
}

#[test]
fn all_of_it_again_as_an_ordinary_user() {
    let outside = tempfile::tempdir().unwrap();
    let canary = Canary::new(outside.path(), &["canary", "canary\n\u{1b}[2J"]);
    piimg_tests::ordinary::again_as_an_ordinary_user(
        // They run cargo and pip, which may be root's own.
        &["again_as_an_ordinary_user", "published::", "python::"],
        &["components::", "worker::"],
    );
    canary.assert_well();
}

fn all() -> Granted {
    Granted { requested: true, ..Granted::default() }
}

/// Runs the guest `settings` for one interface; what it was told about each call.
fn settings(root: tempfile::TempDir, of: &str, granted: &Granted) -> (Ran, Vec<String>) {
    let ran = run_plugin(root, &look("settings").unwrap(), granted, &[("of", of)], Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    let told = ran.log.iter().map(|line| line.trim_start_matches("test/settings: ").to_owned()).collect();
    (ran, told)
}

/// All of that was told, in whatever order.
#[track_caller]
fn has_told(told: &[String], calls: &[&str]) {
    for call in calls {
        assert!(told.iter().any(|line| line == call), "{call} is not in {told:?}");
    }
}
