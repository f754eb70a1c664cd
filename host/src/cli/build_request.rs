//! Turns flags into a build request, for `build` and `plan`. It reads files and runs `conf()`. It writes only
//! `piimg.lock`, after consent at the terminal.

mod local_packages;
mod problems;
pub(super) mod programs;
mod secrets;
mod trust;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use clap::Args;

use problems::Problems;

use super::consent::{self, Answers};
use super::recipe::RecipeArguments;
use crate::emulation::{self, Mode};
use crate::error::{Context, Failure, Result};
use crate::home::Home;
use crate::image::parsing::recognise;
use crate::keyring::{self, Rings};
use crate::plugin::InspectedPlugin;
use crate::plugin::grant::{GrantSet, Granted, check_all, scopes_of};
use crate::plugin::grant_prompt::{Basis, Proposal};
use crate::plugin::inspect::inspect_at;
use crate::plugin::lock::Lock;
use crate::plugin::policy::Ceiling;
use crate::plugin::{self, CodeCache};
use crate::recipe::config::Config;
use crate::recipe::host::HostPath;
use crate::recipe::overrides::Overrides;
use crate::recipe::overrides::heading::{GRANTS, MACHINE, PACKAGES, PLUGINS};
use crate::recipe::plan::{Environment, Plan, PluginSource, default_store, plan};
use crate::recipe::release::Releases;
use crate::recipe::store_limit::Limit;
use crate::sandbox::parser::Parser;
use crate::steps::assets;
use crate::supervisor::Order;
use crate::supervisor::disk_space::{self, Need};
use crate::ui::{Printable as _, Ui, printable};

#[derive(Clone, Debug, Args)]
pub(super) struct OrderArguments {
    #[command(flatten)]
    recipe: RecipeArguments,
    /// Plugin to run, after those of the recipe; may be repeated.
    #[arg(long = "plugin", value_name = "WASM", help_heading = PLUGINS)]
    plugins: Vec<PathBuf>,
    #[command(flatten)]
    overrides: Overrides,
    /// Allow the plugins to do this; may be repeated.
    #[arg(long = "grant", value_name = "SCOPE", help_heading = GRANTS)]
    grants: Vec<String>,
    /// Allow whatever the plugins ask for: only for plugins one trusts.
    #[arg(long, help_heading = GRANTS)]
    grant_requested: bool,
    /// Nothing but what `piimg.lock` grants, by digest, and its packages, if it has any; never ask.
    #[arg(long, conflicts_with_all = ["grants", "grant_requested"], help_heading = GRANTS)]
    locked: bool,
    /// Policy that bounds what may be granted, beside the site's own.
    #[arg(long, value_name = "FILE", help_heading = GRANTS)]
    policy: Option<PathBuf>,
    /// Let the recipe use what it names of this machine outside its own directory, once all of it was shown and agreed to.
    #[arg(long, help_heading = GRANTS)]
    trust_recipe: bool,
    /// Let plugins choose the directories of the store and the image.
    #[arg(long, help_heading = GRANTS)]
    allow_plugin_paths: bool,
    /// How to run programs of another architecture.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = EmulationArgument::Auto, help_heading = MACHINE)]
    emulation: EmulationArgument,
    /// Make the base layer anew with today's packages.
    #[arg(long, help_heading = PACKAGES)]
    refresh: bool,
}

impl OrderArguments {
    /// Builds on this image or archive.
    pub(super) fn on(mut self, base: &Path) -> Self {
        self.overrides.base = Some(base.to_owned());
        self
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum EmulationArgument {
    /// Native tools where host and kernel can, plain emulation otherwise.
    Auto,
    /// Native tools, or an error.
    NativeTools,
    /// qemu-user for every program.
    Plain,
}

/// Makes the order: everything that can be refused is refused here. With `asker`, missing grants are asked for first, if
/// somebody is at the terminal.
pub(super) fn order(arguments: &OrderArguments, asker: Option<&Ui>) -> Result<Order> {
    let (order, refusal) = order_to_look_at(arguments, asker)?;
    refusal.map_or(Ok(order), |refusal| Err(refusal.into()))
}

/// Makes the order as [`order`] does, and hands over what the plugins were not granted beside it: it can be looked at, and
/// not be built.
pub(super) fn order_to_look_at(arguments: &OrderArguments, asker: Option<&Ui>) -> Result<(Order, Option<Failure>)> {
    let home = Home::of_user();
    let (recipe, file) = (arguments.recipe.path(), arguments.recipe.read()?);
    let overrides = Overrides { allow_plugin_paths: arguments.allow_plugin_paths, ..arguments.overrides.clone() };
    let environment = environment(overrides.store.is_some() || file.rootfs.is_some())?;
    let question = trust::Question { file: &file, flags: &overrides, home: home.as_ref() };
    let admitted = question.admit(arguments.trust_recipe)?;
    let mut paths = admitted.plugins.clone();
    paths.extend(arguments.plugins.iter().map(HostPath::named));
    let infos = inspect_all(&paths, home.as_ref())?;
    let lock = arguments.recipe.lock();
    let granted = Granted {
        lock: Lock::read(&lock)?,
        locked: arguments.locked,
        requested: arguments.grant_requested,
        ceiling: Ceiling::read(arguments.policy.as_deref())?,
        recipe: arguments.recipe.words(),
        scopes: scopes_of("--grant", &arguments.grants)?,
    };
    let emulation = match arguments.emulation {
        EmulationArgument::Auto => Mode::Auto,
        EmulationArgument::NativeTools => Mode::NativeTools,
        EmulationArgument::Plain => Mode::Plain,
    };
    let (refresh, keeps_to_lock) = (arguments.refresh, arguments.locked);
    let sources: Vec<PluginSource> = infos
        .iter()
        .map(|info| PluginSource { path: info.path.clone(), digest: info.digest.clone(), conf: info.conf.clone() })
        .collect();
    let local = local_packages::Places::new(&admitted, &overrides);
    let mut plan = plan(&file, admitted, &overrides, &sources, &Releases::builtin()?, &environment)?;
    if keeps_to_lock {
        plan.locked = granted.lock.as_ref().and_then(Lock::packages);
    }
    let name = name_of(&plan, recipe.as_deref(), arguments.recipe.profile());
    let limit = store_limit(overrides.store_limit, home.as_ref())?;
    // What cannot be opened or is too small is a finding of the plan, not of a build that has run for minutes.
    let mut problems = Problems::default();
    problems.take(assets::open(&plan.assets));
    problems.take(check_base(&plan));
    let local_packages = problems.take(local.add_to(&mut plan));
    let has_programs = problems.take(programs::check(&plan)).is_some();
    let rings = if has_programs { problems.take(key_rings(&plan)) } else { None };
    let needs = problems.take(check_room(&plan, &name, refresh));
    // Nobody is asked for the sake of a build that cannot be.
    let asker = asker.filter(|_| problems.is_empty());
    if let Some((infos, grants)) = problems.take(grant_all(&plan, infos, granted, &lock, asker)) {
        let refusal = check_all(&grants);
        asked_for(&plan, &grants).into_iter().for_each(|failure| problems.add(failure));
        for (planned, grants) in plan.plugins.iter_mut().zip(&grants) {
            planned.build_packages = grants.build_packages();
        }
        let secrets = problems.take(secrets::needed(&plan, &question, &infos, &grants));
        if let (true, Some(rings), Some(needs), Some(secrets), Some(local_packages)) =
            (problems.is_empty(), rings, needs, secrets, local_packages)
        {
            let updates_lock = false;
            let order = Order {
                plan,
                plugins: infos.into_iter().zip(grants).collect(),
                secrets,
                home,
                rings,
                emulation,
                refresh,
                name,
                limit,
                needs,
                lock,
                local_packages,
                shell: None,
                updates_lock,
            };
            return Ok((order, refusal));
        }
        refusal.into_iter().for_each(|refusal| problems.add(refusal));
    }
    Err(problems.all())
}

/// Returns the size limit of the store: the command line's, else that of the user's configuration.
pub(super) fn store_limit(flag: Option<Limit>, home: Option<&Home>) -> Result<Limit> {
    match flag {
        Some(limit) => Ok(limit),
        None => Ok(Config::of_user(home)?.store.limit.unwrap_or_default()),
    }
}

/// Returns the name of the build, for people and for the store's record of its last build.
fn name_of(plan: &Plan, recipe: Option<&Path>, profile: Option<&str>) -> String {
    let place = recipe.unwrap_or(Path::new("."));
    let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    let profile = profile.map_or_else(String::new, |name| format!("{name}, "));
    format!("{} ({profile}{}, {} {})", place.printable(), plan.flavour, plan.release.name, plan.architecture)
}

fn check_room(plan: &Plan, name: &str, refresh: bool) -> Result<Vec<Need>> {
    let needs = disk_space::needs(plan, name, refresh)?;
    disk_space::check(&needs).map_or(Ok(needs), |failure| Err(failure.into()))
}

/// Compares the assets that were given with those that the plugins ask for.
fn asked_for(plan: &Plan, grants: &[GrantSet]) -> Vec<Failure> {
    let given: Vec<&str> = plan.assets.keys().map(String::as_str).collect();
    let mut findings: Vec<String> = grants.iter().flat_map(|grants| grants.missing_assets(&given)).collect();
    for name in plan.assets.keys().filter(|name| !grants.iter().any(|grants| grants.takes_asset(name))) {
        let asked = grants.iter().any(|grants| grants.wants_asset(name));
        let why = if asked { "the plugin that could take it was not granted it" } else { "no plugin asks for it" };
        findings.push(format!("the asset `{}` was given, and {why}", printable(name)));
    }
    findings.into_iter().map(Failure::usage).collect()
}

/// Looks at plugins, with what the user's cache has of them.
pub(super) fn inspect_all(paths: &[HostPath], home: Option<&Home>) -> Result<Vec<InspectedPlugin>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let engine = plugin::engine()?;
    let cache = home.and_then(CodeCache::open);
    paths.iter().map(|path| inspect_at(&engine, path, cache.as_ref())).collect()
}

/// Finds what each plugin was granted, asks for what is missing, and puts them in the order of the plan.
fn grant_all(
    plan: &Plan,
    infos: Vec<InspectedPlugin>,
    mut granted: Granted,
    lock: &Path,
    asker: Option<&Ui>,
) -> Result<(Vec<InspectedPlugin>, Vec<GrantSet>)> {
    let mut infos: BTreeMap<String, InspectedPlugin> =
        infos.into_iter().map(|info| (info.conf.id.clone(), info)).collect();
    let infos: Vec<InspectedPlugin> = plan
        .plugins
        .iter()
        .map(|planned| infos.remove(&planned.id).context(Failure::bug("the plan names an unknown plugin")))
        .collect::<Result<_>>()?;
    let mut grants = evaluate(plan, &infos, &granted)?;
    if let Some(ui) = asker.filter(|ui| ui.can_ask())
        && ask(plan, &infos, &grants, &granted, lock, ui)?
    {
        granted.lock = Lock::read(lock)?;
        grants = evaluate(plan, &infos, &granted)?;
    }
    Ok((infos, grants))
}

fn evaluate(plan: &Plan, infos: &[InspectedPlugin], granted: &Granted) -> Result<Vec<GrantSet>> {
    infos.iter().zip(&plan.plugins).map(|(info, planned)| GrantSet::new(info, &planned.params, granted)).collect()
}

/// Asks for what the plugins lack. Whether there was any yes; the first no ends it.
fn ask(
    plan: &Plan,
    infos: &[InspectedPlugin],
    grants: &[GrantSet],
    granted: &Granted,
    lock: &Path,
    ui: &Ui,
) -> Result<bool> {
    let basis = Basis { lock: granted.lock.as_ref(), ceiling: &granted.ceiling, flags: &granted.scopes };
    // Where the answer cannot help, nobody is asked.
    if grants.iter().any(|grants| !grants.wants_grants() && grants.check().is_some()) {
        return Ok(false);
    }
    let mut agreed = false;
    for ((info, planned), _) in infos.iter().zip(&plan.plugins).zip(grants).filter(|(_, grants)| grants.wants_grants())
    {
        let proposal = Proposal::new(info, &planned.params, &basis)?;
        if !consent::ask(&proposal, lock, Answers::Terminal, ui)? {
            break;
        }
        agreed = true;
    }
    Ok(agreed)
}

/// Returns the default store of this user.
pub(super) fn usual_store() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let root = rustix::process::getuid().is_root();
    default_store(root, variable("XDG_CACHE_HOME").as_deref(), variable("HOME").as_deref())
}

/// Reads the environment; `named` if the user chose the store.
pub(super) fn environment(named: bool) -> Result<Environment> {
    let default_store = match usual_store() {
        Some(store) => store,
        None if named => PathBuf::new(),
        None => {
            return Err(Failure::usage("there is no HOME to keep the store in")
                .hint("choose a directory with --store")
                .into());
        }
    };
    let epoch = match std::env::var_os("SOURCE_DATE_EPOCH") {
        Some(value) => {
            let text = value.to_string_lossy();
            let wrong = || Failure::usage(format!("SOURCE_DATE_EPOCH is `{text}`, which is no number of seconds"));
            Some(text.parse().map_err(|_| wrong())?)
        }
        None => None,
    };
    Ok(Environment { default_store, current_directory: ".".into(), epoch })
}

/// Checks that the base file can be opened and is an image or a tar archive.
fn check_base(plan: &Plan) -> Result<()> {
    let Some(base) = &plan.base else { return Ok(()) };
    let unusable = format!("cannot build on `{}`", base.shown().printable());
    let named = || Failure::usage(unusable.clone());
    // Before it is opened: to open a pipe is to wait for somebody at its other end.
    if !std::fs::metadata(base.path()).with_context(named)?.is_file() {
        return Err(named().hint("it must be a file: an image or a tar archive").into());
    }
    let file = base.open().with_context(named)?;
    recognise(&Parser::default(), &file).map(drop).context(unusable)
}

/// Returns the keys that packages of the image must be signed with, and those of the build's own tools.
pub(super) fn key_rings(plan: &Plan) -> Result<Rings> {
    let native = emulation::host_architecture();
    keyring::read_all(plan, &[&plan.architecture, native])
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
