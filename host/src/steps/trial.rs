//! Tries a plugin on a copy of a tree: no root, no network, no box, nothing of the host but the copy.
//!
//! `piimg plugin run` does it for a person, the crate `piimg-plugin-test` for tests. The gate, the host functions, the path
//! safety, the audit log and the judgement of what changed are those of a build. Only what lies behind
//! [`Workbench`](crate::plugin::workbench::Workbench) is different: commands, packages and downloads are answered by stubs.

mod base;
mod bench;
mod checkout;
mod differences;
mod outcome;
mod scenario;

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Seek as _;
use std::path::{Path, PathBuf};

use super::change_review;
use crate::error::{Context as _, Failure, Result, report};
use crate::plugin::InspectedPlugin;
use crate::plugin::audit_log::{self, Transcript};
use crate::plugin::grant::{GrantSet, Granted, scopes_of};
use crate::plugin::run::{Run, RunEnd, execute};
use crate::plugin::workbench::Workbench as _;
use crate::plugin::{Engine, Limits};
use crate::recipe::host::HostPath;
use crate::recipe::plan::complete_params;
use crate::rootfs::accounts::Accounts;
use crate::secret::Secret;
use crate::secret::leak::Search;
use crate::steps::assets;
use crate::ui::printable;
use bench::TrialBench;
use differences::Snapshot;
pub use outcome::{Entry, LogLine, Outcome, Problem, Refused};
pub use scenario::{Place, Scenario, StubCommand, StubFile};

/// Place of the copy, and what is to be kept of the trial.
#[derive(Debug)]
pub struct Rooms {
    /// A directory that exists, is empty, and becomes the copy.
    pub copy: PathBuf,
    /// An empty file that becomes the audit log.
    pub log: File,
}

/// Runs the plugin as `scenario` says. That the plugin fails is an outcome, too.
///
/// # Errors
/// [`Failure::usage`] if the scenario does not fit the plugin, or its base cannot be copied.
pub fn run(engine: &Engine, plugin: &InspectedPlugin, scenario: &Scenario, rooms: &Rooms) -> Result<Outcome> {
    let params = complete_params(&plugin.conf, &scenario.params)?;
    let granted = match &scenario.grants {
        None => Granted { requested: true, ..Granted::default() },
        Some(scopes) => Granted { scopes: scopes_of("--grant", scopes)?, ..Granted::default() },
    };
    let grants = GrantSet::new(plugin, &params, &granted)?;
    let assets = open_assets(plugin, &grants, scenario)?;
    let secrets = take_secrets(plugin, &grants, scenario)?;
    let image = scenario.image.clone();
    let rootfs = base::fill(&rooms.copy, scenario, image.epoch)?.remembering();
    let before = Snapshot::take(&rootfs, &rooms.copy)?;
    let mut bench = TrialBench::new(rootfs, &rooms.copy, scenario);
    let mut log = Vec::new();
    let ended = {
        let run = Run {
            plugin,
            grants: &grants,
            image,
            params,
            assets,
            secrets: secrets.iter().map(|secret| (secret.name(), secret)).collect(),
            limits: Limits::EXECUTE,
        };
        let mut sink = |_: &str, level, text: &str| log.push(LogLine { level, text: text.to_owned() });
        let outs = vec![rooms.log.try_clone().context("cannot keep the audit log")?];
        execute(engine, &run, &mut bench, &mut sink, Some(Transcript::new(outs)))
    };
    let after = Snapshot::take(bench.rootfs(), &rooms.copy)?;
    let changes = differences::changes(&before, &after, &rooms.copy)?;
    let effects = bench.effects(&changes);
    let ended = ended.and_then(|end| {
        change_review::judge(&plugin.conf.id, &grants, changes, bench.parts())?;
        look_for_secrets(plugin, &Search::new(&secrets), rooms)?;
        Ok(end)
    });
    let lines = read_log(&rooms.log)?;
    let accounts = Accounts::read(bench.rootfs()).ok();
    let (uses, error) = match ended {
        Ok(RunEnd::Done(report)) => (Some(report), None),
        Ok(RunEnd::Asks { request, .. }) => {
            let text = format!("the run ended early, for the packages are not as it asks: {request}");
            (None, Some(report(&Failure::bug(text).into())))
        }
        Err(error) => (None, Some(report(&error))),
    };
    Ok(outcome::gather(outcome::Parts {
        plugin,
        run: uses,
        error,
        log,
        lines,
        effects,
        entries: after.entries(accounts.as_ref()),
        bench: &bench,
    }))
}

fn look_for_secrets(plugin: &InspectedPlugin, search: &Search<'_>, rooms: &Rooms) -> Result<()> {
    if search.is_empty() {
        return Ok(());
    }
    let log = tempfile::NamedTempFile::new().context("cannot look through the audit log")?;
    let mut from = rooms.log.try_clone().context("cannot read the audit log")?;
    from.rewind().context("cannot read the audit log")?;
    std::io::copy(&mut from, &mut log.as_file()).context("cannot look through the audit log")?;
    change_review::check_secrets(&plugin.conf.id, search, &rooms.copy, log.path())
}

fn read_log(log: &File) -> Result<Vec<audit_log::Line>> {
    let mut log = log.try_clone().context("cannot read the audit log")?;
    log.rewind().context("cannot read the audit log")?;
    audit_log::read(log)
}

fn open_assets(plugin: &InspectedPlugin, grants: &GrantSet, scenario: &Scenario) -> Result<BTreeMap<String, File>> {
    // Compared by the names under which they are handed over: a directory is one asset, whatever is in it.
    if let Some(name) = scenario.assets.keys().find(|name| !grants.wants_asset(name)) {
        let id = printable(&plugin.conf.id);
        return Err(Failure::usage(format!("the plugin `{id}` does not ask for the asset `{}`", printable(name)))
            .hint("its conf() must request `asset:NAME`")
            .into());
    }
    let names: Vec<&str> = scenario.assets.keys().map(String::as_str).collect();
    let missing = grants.missing_assets(&names);
    anyhow::ensure!(missing.is_empty(), Failure::usage(missing.join("; ")));
    let taken = scenario.assets.iter().filter(|(name, _)| grants.takes_asset(name));
    assets::open(&taken.map(|(name, path)| (name.clone(), HostPath::named(path))).collect())
}

fn take_secrets(plugin: &InspectedPlugin, grants: &GrantSet, scenario: &Scenario) -> Result<Vec<Secret>> {
    let id = printable(&plugin.conf.id);
    let mut given = scenario.secrets.keys().chain(scenario.secret_sources.keys());
    if let Some(name) = given.find(|name| !grants.wants_secret(name)) {
        return Err(
            Failure::usage(format!("the plugin `{id}` does not ask for the secret `{}`", printable(name))).into()
        );
    }
    let mut secrets = Vec::new();
    for (name, is_optional) in grants.secrets() {
        match (scenario.secrets.get(name), scenario.secret_sources.get(name)) {
            (_, Some(source)) => secrets.push(source.read(name)?),
            (Some(value), None) => {
                let value = zeroize::Zeroizing::new(value.clone().into_bytes());
                let secret = Secret::new(name, value)
                    .map_err(|cause| Failure::usage(format!("cannot use the secret `{}`: {cause}", printable(name))))?;
                secrets.push(secret);
            }
            (None, None) if is_optional => {}
            (None, None) => {
                let text = format!("the plugin `{id}` needs the secret `{}`, and nobody gave it", printable(name));
                return Err(Failure::usage(text).hint(format!("give it: --secret {name}=SOURCE")).into());
            }
        }
    }
    Ok(secrets)
}

/// Makes the directory of a copy that is to be kept.
///
/// # Errors
/// [`Failure::usage`] if something is there already.
pub fn room(path: &Path) -> Result<()> {
    fs::create_dir(path).with_context(|| {
        let shown = crate::ui::Printable::printable(path);
        Failure::usage(format!("cannot make the directory `{shown}`")).hint("it must not exist yet")
    })
}

#[cfg(test)]
mod tests;
