//! `piimg plan`.

use clap::Args;
use serde::Serialize;

use super::order::{OrderArguments, order};
use crate::build::outside::Order;
use crate::build::result_names;
use crate::error::{Context, Result};
use crate::plugin::grant::{Standing, State, reason, spelled};
use crate::recipe::plan::{Plan, User};
use crate::recipe::release::repository::Repository;
use crate::ui::{Ui, printable};

/// Say what `build` would do, without privilege and without writing anything.
#[derive(Debug, Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    order: OrderArguments,
    /// Print the whole plan as JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Document<'a> {
    plan: &'a Plan,
    plugins: Vec<PluginDocument<'a>>,
    /// Names of the secrets that a build would read.
    secrets: Vec<&'a str>,
}

#[derive(Serialize)]
struct PluginDocument<'a> {
    id: &'a str,
    requests: Vec<Standing<'a>>,
    granted: &'a [String],
}

pub(super) fn run(arguments: Arguments, ui: &Ui) -> Result<i32> {
    let order = order(arguments.order, None)?;
    if arguments.json {
        let plugins = order
            .plugins
            .iter()
            .zip(&order.grants)
            .map(|((info, granted), grants)| PluginDocument {
                id: &info.conf.id,
                requests: grants.standings(),
                granted,
            })
            .collect();
        let secrets = order.secrets.keys().map(String::as_str).collect();
        let mut plan = order.plan.clone();
        // A hash is a way to try passwords, and a plan is for everybody to read.
        if let Some(user) = &mut plan.user {
            user.password_hash = "set".to_owned();
        }
        let document = Document { plan: &plan, plugins, secrets };
        ui.json(&document)?;
        return Ok(0);
    }
    for line in lines(&order) {
        ui.data(&line);
    }
    Ok(0)
}

/// Where packages come from.
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
            "release     {} {} ({}), {} packages named",
            plan.release.title,
            plan.release.name,
            plan.architecture,
            own + plan.packages.len()
        ),
        format!("boots on    {}", plan.models.join(", ")),
        format!("hostname    {}", plan.hostname),
        format!("user        {}", plan.user.as_ref().map_or_else(|| "as the base has them".to_owned(), user)),
        format!("free space  {} MiB in the root file system", plan.extra_space_mb),
        format!(
            "packages    {}{}",
            repositories(plan),
            if plan.fetching.offline { "; not asked: only what the store holds" } else { "" }
        ),
        format!("store       {}", plan.store.display()),
    ];
    if let Some(base) = &plan.base {
        lines.insert(1, format!("base        {}", printable(&base.display().to_string())));
    }
    let stem = format!("…-{}-{}-raspberry-pi", plan.flavour, plan.release.name);
    for name in result_names(&plan.outputs, plan.compression, &stem) {
        lines.push(format!("output      {}", plan.imagedir.join(name).display()));
    }
    for ((info, _), grants) in order.plugins.iter().zip(&order.grants) {
        lines.push(format!(
            "plugin      {} {}  {}",
            printable(&info.conf.id),
            printable(&info.conf.version),
            info.digest
        ));
        for standing in grants.standings() {
            // What a plugin needs and has not would have been refused: what is missing is optional.
            let state = match &standing.state {
                State::Granted => "granted".into(),
                State::Missing => "optional, not granted".into(),
                State::Forbidden(file) => {
                    format!("optional, not allowed by `{}`", printable(&file.display().to_string()))
                }
            };
            lines.push(format!(
                "            {}  [{state}]  {}",
                spelled(&standing.request.scope, Some(&standing.means)),
                reason(standing.request)
            ));
        }
    }
    for (name, source) in &order.secrets {
        lines.push(format!("secret      {name}, from {source}"));
    }
    lines
}
