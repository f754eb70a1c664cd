//! `piimg plan`.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::build_request::{OrderArguments, order_to_look_at};
use crate::error::Result;
use crate::plugin::Template;
use crate::plugin::grant::{GrantSet, Standing, State, reason, spelled};
use crate::recipe::host::HostPath;
use crate::recipe::overrides::heading::RESULTS;
use crate::recipe::plan::{Plan, User};
use crate::recipe::release::repository::Repository;
use crate::secret::source::Source;
use crate::supervisor::Order;
use crate::supervisor::disk_space::{self, Need};
use crate::supervisor::output::result_names;
use crate::ui::{Printable as _, Ui, bytes, count, printable};

/// Say what `build` would do, without privilege and without writing anything.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg plan --plugin motd.wasm --grant-requested")]
pub(super) struct Arguments {
    #[command(flatten)]
    order: OrderArguments,
    /// Print the whole plan as JSON.
    #[arg(long, help_heading = RESULTS)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    plan: &'a Plan,
    plugins: Vec<PluginDocument<'a>>,
    /// Names of the secrets that a build would read.
    secrets: Vec<&'a str>,
    /// What of this machine a build would read, run and write to.
    host: Vec<HostUse>,
    /// What it needs of the disk.
    disk: &'a [Need],
}

/// A path, variable or command of this machine, and what it is for.
#[derive(Serialize)]
struct HostUse {
    #[serde(rename = "for")]
    purpose: String,
    #[serde(flatten)]
    thing: HostThing,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
enum HostThing {
    Path(PathBuf),
    Variable(String),
    Command(String),
}

impl HostUse {
    fn path(purpose: impl Into<String>, path: &HostPath) -> Self {
        Self { purpose: purpose.into(), thing: HostThing::Path(path.shown().to_owned()) }
    }
}

/// Lists all that a build would touch of the host.
fn host_uses(order: &Order) -> Vec<HostUse> {
    let plan = &order.plan;
    let mut uses = vec![HostUse::path("store", &plan.store), HostUse::path("output", &plan.imagedir)];
    uses.extend(plan.base.iter().map(|base| HostUse::path("base", base)));
    for planned in &plan.plugins {
        uses.push(HostUse::path(format!("plugin {}", planned.id), &HostPath::named(&planned.path)));
    }
    uses.extend(plan.assets.iter().map(|(name, path)| HostUse::path(format!("asset {name}"), path)));
    uses.extend(plan.keyrings.iter().map(|(name, ring)| HostUse::path(format!("key ring {name}"), &ring.path)));
    for (name, source) in &order.secrets {
        let purpose = format!("secret {name}");
        uses.push(match source {
            Source::File(path) => HostUse::path(purpose, path),
            Source::Env(variable) => HostUse { purpose, thing: HostThing::Variable(variable.clone()) },
            Source::Command(command) => HostUse { purpose, thing: HostThing::Command(command.clone()) },
        });
    }
    uses
}

#[derive(Serialize)]
struct PluginDocument<'a> {
    id: &'a str,
    requests: Vec<Standing<'a>>,
    granted: &'a [Template],
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let (order, refusal) = order_to_look_at(&arguments.order, None)?;
    if arguments.json {
        let plugins = order
            .plugins
            .iter()
            .map(|(info, grants)| PluginDocument {
                id: &info.conf.id,
                requests: grants.standings(),
                granted: grants.scopes(),
            })
            .collect();
        let secrets = order.secrets.keys().map(String::as_str).collect();
        let mut plan = order.plan.clone();
        // A hash is a way to try passwords, and a plan is for everybody to read.
        if let Some(user) = &mut plan.user {
            user.password_hash = "set".to_owned();
        }
        let document = Document { plan: &plan, plugins, secrets, host: host_uses(&order), disk: &order.needs };
        ui.json(&document)?;
    } else {
        lines(&order).iter().for_each(|line| ui.data(line));
    }
    refusal.map_or(Ok(0), |refusal| Err(refusal.into()))
}

/// Describes where packages come from.
fn repositories(plan: &Plan) -> String {
    let place = |repository: &Repository| match (plan.mirrors.get(&repository.name), repository.uris.first()) {
        (Some(mirror), _) => format!("{}, from {mirror}", repository.name),
        (None, Some(uri)) => format!("{}, from {uri}", repository.name),
        (None, None) => format!("{}, where mmdebstrap finds it", repository.name),
    };
    let places: Vec<String> = plan.release.repositories_for(&plan.architecture).map(place).collect();
    places.join("; ")
}

fn user(user: &User) -> String {
    let expires = if user.expire_password { ", must change the password at the first login" } else { "" };
    format!("{}{expires}", user.name)
}

fn lines(order: &Order) -> Vec<String> {
    let plan = &order.plan;
    let own = if plan.base.is_none() { plan.release.packages.len() } else { 0 };
    let mut lines = vec![
        format!(
            "release     {} {} ({}), {} named",
            plan.release.title,
            plan.release.name,
            plan.architecture,
            count(own + plan.packages.len(), "package")
        ),
        format!("boots on    {}", plan.models.join(", ")),
        format!("hostname    {}", plan.hostname.as_deref().unwrap_or("as the base has it")),
        format!("user        {}", plan.user.as_ref().map_or_else(|| "as the base has them".to_owned(), user)),
        format!("free space  {} MiB in the root file system", plan.extra_space_mb),
        format!(
            "packages    {}{}",
            repositories(plan),
            if plan.fetching.offline { "; not asked: only what the store holds" } else { "" }
        ),
        format!("store       {}", shown(&plan.store)),
    ];
    for need in order.needs.iter().filter(|need| need.needed > 0) {
        lines.push(format!("disk        {} or more in {}", bytes(need.needed), disk_space::shown(&need.places)));
    }
    for package in &plan.local_packages {
        lines.push(format!(
            "file        {}, the package {} {}",
            printable(&package.shown),
            package.id(),
            package.version
        ));
    }
    if !plan.removals.is_empty() {
        lines.push(format!("removed     {}", plan.removals.join(", ")));
    }
    if let Some(base) = &plan.base {
        lines.insert(1, format!("base        {}", shown(base)));
    }
    let stem = format!("…-{}-{}-raspberry-pi", plan.flavour, plan.release.name);
    for name in result_names(&plan.outputs, plan.compression, &stem) {
        lines.push(format!("output      {}", shown(&plan.imagedir.below(&name))));
    }
    for ((info, grants), planned) in order.plugins.iter().zip(&plan.plugins) {
        lines.push(format!(
            "plugin      {} {}  {}",
            printable(&info.conf.id),
            printable(&info.conf.version),
            info.digest
        ));
        lines.extend(standing_lines(grants));
        let of_plugin =
            [("packages", "", &planned.packages), ("built with", ", not in the image", &planned.build_packages)];
        for (what, more, names) in of_plugin.into_iter().filter(|(.., names)| !names.is_empty()) {
            lines.push(format!("            {what}: {}{more}", printable(&names.join(", "))));
        }
    }
    for planned in &plan.plugins {
        let path = HostPath::named(&planned.path);
        lines.push(format!("file        {}, for the plugin {}", shown(&path), printable(&planned.id)));
    }
    for (name, path) in &plan.assets {
        lines.push(format!("asset       {}, from {}", printable(name), shown(path)));
    }
    for (name, ring) in &plan.keyrings {
        lines.push(format!("key ring    {}, from {}", printable(name), shown(&ring.path)));
    }
    for (name, source) in &order.secrets {
        let source = match source {
            // Here it is said in full: whoever agrees to a plan agrees to what it runs.
            Source::Command(command) => format!("the command `{}`", printable(command)),
            other => other.to_string(),
        };
        lines.push(format!("secret      {name}, from {source}"));
    }
    lines
}

/// Returns what a plugin asks for and how that stands; what it lacks is told after the plan.
fn standing_lines(grants: &GrantSet) -> Vec<String> {
    let (lacking, others): (Vec<_>, Vec<_>) = grants
        .standings()
        .into_iter()
        .partition(|standing| !standing.request.optional && standing.state != State::Granted);
    let line = |standing: &Standing<'_>| {
        let state = match &standing.state {
            State::Granted => "granted".into(),
            State::Missing => "optional, not granted".into(),
            State::Forbidden(file) => format!("optional, not allowed by `{}`", file.printable()),
        };
        let scope = spelled(&standing.request.scope, Some(&standing.means));
        format!("            {scope}  [{state}]  {}", reason(standing.request))
    };
    let mut lines: Vec<String> = others.iter().map(line).collect();
    match lacking.len() {
        0 => {}
        1 => lines.push("            1 capability that it needs is missing: see below".into()),
        count => lines.push(format!("            {count} capabilities that it needs are missing: see below")),
    }
    lines
}

fn shown(path: &HostPath) -> String {
    path.shown().printable()
}
