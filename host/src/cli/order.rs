//! From flags to an order: shared by `build` and `plan`. Reads files, runs `conf()`, writes nothing but `piimg.lock`, and
//! that only if somebody at the terminal agreed.

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
use crate::build::assets;
use crate::build::outside::Order;
use crate::build::room::{self, Need};
use crate::emulation::{self, Mode};
use crate::error::{Context, Failure, Kind, Result, report};
use crate::home::Home;
use crate::image::parsing::recognise;
use crate::keyring::{self, Rings};
use crate::plugin::grant::{GrantSet, Granted};
use crate::plugin::inspect::{PluginInfo, inspect_at};
use crate::plugin::lock::Lock;
use crate::plugin::policy::Ceiling;
use crate::plugin::proposal::{Basis, Proposal};
use crate::plugin::{self, CodeCache};
use crate::recipe::config::Config;
use crate::recipe::file::RecipeFile;
use crate::recipe::host::HostPath;
use crate::recipe::overrides::Overrides;
use crate::recipe::plan::{Environment, Plan, PluginSource, default_store, plan};
use crate::recipe::release::Releases;
use crate::recipe::store_limit::Limit;
use crate::sandbox::parser::Parser;
use crate::ui::{Printable as _, Ui, printable};

/// File that is read from the current directory if there is one.
const RECIPE: &str = "piimg.toml";
/// Grants, beside the recipe.
const LOCK: &str = "piimg.lock";

#[derive(Clone, Debug, Args)]
pub(super) struct OrderArguments {
    /// Recipe; `piimg.toml` of the current directory if there is one.
    #[arg(long, value_name = "FILE")]
    recipe: Option<PathBuf>,
    /// Plugin to run, after those of the recipe; may be repeated.
    #[arg(long = "plugin", value_name = "WASM")]
    plugins: Vec<PathBuf>,
    /// Release of the distribution.
    #[arg(long)]
    release: Option<String>,
    /// Architecture of the image, as Debian calls it.
    #[arg(long, visible_alias = "architecture")]
    arch: Option<String>,
    /// Image, or tar archive of a root file system, to build on in place of a bootstrap; may be compressed.
    #[arg(long, value_name = "FILE")]
    base: Option<PathBuf>,
    /// Mirror to take packages from, of the release's own repository or of the one named; may be repeated.
    #[arg(long = "mirror", value_name = "[NAME=]URL")]
    mirrors: Vec<String>,
    /// Key ring of a repository, with a fingerprint if another key is meant than the release names; may be repeated.
    #[arg(long = "keyring", value_name = "NAME=FILE[#KEY]")]
    keyrings: Vec<String>,
    /// Repository of the release that is used only if asked for; may be repeated.
    #[arg(long = "repository", value_name = "NAME")]
    repositories: Vec<String>,
    /// State of the archive of that time, from a mirror that keeps old ones: 2025-06-01 or 20250601T120000Z.
    #[arg(long, value_name = "TIME")]
    snapshot: Option<String>,
    /// Proxy for apt, in place of the environment's.
    #[arg(long, value_name = "URL")]
    apt_proxy: Option<String>,
    /// Fetch nothing: build from what the store holds.
    #[arg(long, conflicts_with = "refresh")]
    offline: bool,
    /// Name of the machine.
    #[arg(long)]
    hostname: Option<String>,
    /// Second part of the image's file name.
    #[arg(long)]
    flavour: Option<String>,
    /// Directory that receives the image; the current one by default.
    #[arg(long, value_name = "DIR")]
    imagedir: Option<PathBuf>,
    /// Directory of layers and packages, kept between builds.
    #[arg(long, value_name = "DIR")]
    store: Option<PathBuf>,
    /// How much may be in the store, such as 20G, 25% of its disk, or none: what was not used for longest is removed.
    #[arg(long, value_name = "SIZE", value_parser = Limit::parse)]
    store_limit: Option<Limit>,
    /// Free space in the root file system, in MiB.
    #[arg(long = "rootfs-extra-space-mb", value_name = "MIB")]
    extra_space_mb: Option<u32>,
    /// What to make: image, tar, partitions or directory, with commas between several; the image by default.
    #[arg(long = "output", value_name = "KIND", value_delimiter = ',')]
    outputs: Vec<String>,
    /// Make the root file system alone, as a tar archive: the same as `--output tar`.
    #[arg(long, conflicts_with = "outputs")]
    rootfs_only: bool,
    /// Compress image and archive: none, zstd[:LEVEL] or xz[:LEVEL].
    #[arg(long, value_name = "HOW")]
    compress: Option<String>,
    /// Package to install with the base; may be repeated.
    #[arg(long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// Value of a plugin's parameter; may be repeated.
    #[arg(long = "param", value_name = "ID:NAME=VALUE")]
    params: Vec<String>,
    /// File for the plugins, or directory of files; may be repeated.
    #[arg(long = "asset", value_name = "NAME=PATH")]
    assets: Vec<String>,
    /// Where a secret comes from: file:PATH, env:VARIABLE or cmd:COMMAND; may be repeated.
    #[arg(long = "secret", value_name = "NAME=SOURCE")]
    secrets: Vec<String>,
    /// What a command of a plugin may use: memory-mb, processes, disk-mb, files or minutes; may be repeated.
    #[arg(long = "limit", value_name = "NAME=NUMBER")]
    limits: Vec<String>,
    /// Allow the plugins to do this; may be repeated.
    #[arg(long = "grant", value_name = "SCOPE")]
    grants: Vec<String>,
    /// Allow whatever the plugins ask for: only for plugins one trusts.
    #[arg(long)]
    grant_requested: bool,
    /// Nothing but what `piimg.lock` grants, by digest, and its packages, if it has any; never ask.
    #[arg(long, conflicts_with_all = ["grants", "grant_requested"])]
    locked: bool,
    /// Policy that bounds what may be granted, beside the site's own.
    #[arg(long, value_name = "FILE")]
    policy: Option<PathBuf>,
    /// Let the recipe use what it names of this machine outside its own directory, once all of it was shown and agreed to.
    #[arg(long)]
    trust_recipe: bool,
    /// Let plugins choose the directories of the store and the image.
    #[arg(long)]
    allow_plugin_paths: bool,
    /// How to run programs of another architecture.
    #[arg(long, value_name = "HOW", value_enum, default_value_t = EmulationArgument::Auto)]
    emulation: EmulationArgument,
    /// Make the base layer anew with today's packages.
    #[arg(long)]
    refresh: bool,
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

/// The recipe that is meant, if there is one.
pub(super) fn recipe(named: Option<&Path>) -> Option<PathBuf> {
    let is_there = Path::new(RECIPE).symlink_metadata().is_ok();
    named.map(Path::to_owned).or_else(|| is_there.then(|| RECIPE.into()))
}

/// Where grants are kept.
pub(super) fn lock_beside(recipe: Option<&Path>) -> PathBuf {
    recipe.unwrap_or(Path::new(RECIPE)).with_file_name(LOCK)
}

/// Makes the order: everything that can be refused is refused here. With `asker`, missing grants are asked for first, if
/// somebody is at the terminal.
pub(super) fn order(arguments: &OrderArguments, asker: Option<&Ui>) -> Result<Order> {
    let recipe = recipe(arguments.recipe.as_deref());
    let home = Home::of_user();
    let file = recipe.as_deref().map(RecipeFile::read).transpose()?.unwrap_or_default();
    let environment = environment(arguments.store.is_some() || file.rootfs.is_some())?;
    let overrides = overrides(arguments);
    let question = trust::Question { file: &file, flags: &overrides, home: home.as_ref() };
    let admitted = question.admit(arguments.trust_recipe)?;
    let mut paths = admitted.plugins.clone();
    paths.extend(arguments.plugins.iter().map(HostPath::named));
    let infos = inspect_all(&paths, home.as_ref())?;
    let lock = lock_beside(recipe.as_deref());
    let granted = Granted {
        lock: Lock::read(&lock)?,
        locked: arguments.locked,
        scopes: arguments.grants.clone(),
        requested: arguments.grant_requested,
        ceiling: Ceiling::read(arguments.policy.as_deref())?,
        recipe: arguments.recipe.clone(),
    };
    let emulation = match arguments.emulation {
        EmulationArgument::Auto => Mode::Auto,
        EmulationArgument::NativeTools => Mode::NativeTools,
        EmulationArgument::Plain => Mode::Plain,
    };
    granted.check()?;
    let (refresh, keeps_to_lock) = (arguments.refresh, arguments.locked);
    let sources: Vec<PluginSource> = infos
        .iter()
        .map(|info| PluginSource { path: info.path.clone(), digest: info.digest.clone(), conf: info.conf.clone() })
        .collect();
    let mut plan = plan(&file, admitted, &overrides, &sources, &Releases::builtin()?, &environment)?;
    if keeps_to_lock {
        plan.locked = granted.lock.as_ref().and_then(Lock::packages);
    }
    let ceiling = granted.ceiling.clone();
    let name = name_of(&plan, recipe.as_deref());
    let limit = store_limit(arguments.store_limit, home.as_ref())?;
    // What cannot be opened or is too small is a finding of the plan, not of a build that has run for minutes.
    let mut problems = Problems::default();
    problems.take(assets::open(&plan.assets));
    problems.take(check_base(&plan));
    let has_programs = problems.take(programs::check(&plan)).is_some();
    let rings = if has_programs { problems.take(key_rings(&plan)) } else { None };
    let needs = problems.take(check_room(&plan, &name, refresh));
    // Nobody is asked for the sake of a build that cannot be.
    let asker = asker.filter(|_| problems.is_empty());
    if let Some((plugins, grants)) = problems.take(grant_all(&plan, infos, granted, &lock, asker)) {
        asked_for(&plan, &grants).into_iter().for_each(|failure| problems.add(failure));
        for (planned, grants) in plan.plugins.iter_mut().zip(&grants) {
            planned.build_packages = grants.build_packages();
        }
        let secrets = problems.take(secrets::needed(&plan, &question, &plugins, &grants));
        if let (true, Some(rings), Some(needs), Some(secrets)) = (problems.is_empty(), rings, needs, secrets) {
            let updates_lock = false;
            return Ok(Order {
                plan,
                plugins,
                grants,
                secrets,
                home,
                ceiling,
                rings,
                emulation,
                refresh,
                name,
                limit,
                needs,
                lock,
                updates_lock,
            });
        }
    }
    Err(problems.all())
}

/// How much the store may have: what the command line says, else the user's configuration.
pub(super) fn store_limit(flag: Option<Limit>, home: Option<&Home>) -> Result<Limit> {
    match flag {
        Some(limit) => Ok(limit),
        None => Ok(Config::of_user(home)?.store.limit.unwrap_or_default()),
    }
}

/// By which people know what is built, and the store the last build of it.
fn name_of(plan: &Plan, recipe: Option<&Path>) -> String {
    let place = recipe.unwrap_or(Path::new("."));
    let place = place.canonicalize().unwrap_or_else(|_| place.to_owned());
    format!("{} ({}, {} {})", place.printable(), plan.flavour, plan.release.name, plan.architecture)
}

fn check_room(plan: &Plan, name: &str, refresh: bool) -> Result<Vec<Need>> {
    let needs = room::needs(plan, name, refresh)?;
    room::check(&needs).map_or(Ok(needs), |failure| Err(failure.into()))
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
pub(super) fn inspect_all(paths: &[HostPath], home: Option<&Home>) -> Result<Vec<PluginInfo>> {
    if paths.is_empty() {
        return Ok(Vec::new());
    }
    let engine = plugin::engine()?;
    let cache = home.and_then(CodeCache::open);
    paths.iter().map(|path| inspect_at(&engine, path, cache.as_ref())).collect()
}

fn overrides(arguments: &OrderArguments) -> Overrides {
    let arguments = arguments.clone();
    Overrides {
        release: arguments.release,
        architecture: arguments.arch,
        base: arguments.base,
        mirrors: arguments.mirrors,
        keyrings: arguments.keyrings,
        repositories: arguments.repositories,
        snapshot: arguments.snapshot,
        apt_proxy: arguments.apt_proxy,
        offline: arguments.offline,
        hostname: arguments.hostname,
        flavour: arguments.flavour,
        imagedir: arguments.imagedir,
        store: arguments.store,
        extra_space_mb: arguments.extra_space_mb,
        outputs: if arguments.rootfs_only { vec!["tar".into()] } else { arguments.outputs },
        compress: arguments.compress,
        packages: arguments.packages,
        params: arguments.params,
        assets: arguments.assets,
        secrets: arguments.secrets,
        limits: arguments.limits,
        allow_plugin_paths: arguments.allow_plugin_paths,
    }
}

/// What is known of each plugin, and what it was granted.
type Plugins = Vec<(PluginInfo, Vec<String>)>;

/// Checks the grants of all plugins before any of them runs, and puts them in the order of the plan.
fn grant_all(
    plan: &Plan,
    infos: Vec<PluginInfo>,
    mut granted: Granted,
    lock: &Path,
    asker: Option<&Ui>,
) -> Result<(Plugins, Vec<GrantSet>)> {
    let mut infos: BTreeMap<String, PluginInfo> = infos.into_iter().map(|info| (info.conf.id.clone(), info)).collect();
    let infos: Vec<PluginInfo> = plan
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
    let mut refusals: Vec<Failure> = grants.iter().filter_map(GrantSet::check).collect();
    let Some(last) = refusals.pop() else {
        let scopes: Vec<Vec<String>> = infos.iter().map(|info| granted.scopes_for(info)).collect();
        return Ok((infos.into_iter().zip(scopes).collect(), grants));
    };
    Err(refusals.into_iter().rev().fold(last.into(), |all, next| join(&all, next)))
}

fn evaluate(plan: &Plan, infos: &[PluginInfo], granted: &Granted) -> Result<Vec<GrantSet>> {
    infos.iter().zip(&plan.plugins).map(|(info, planned)| GrantSet::new(info, &planned.params, granted)).collect()
}

/// Asks for what the plugins lack. Whether there was any yes; the first no ends it.
fn ask(
    plan: &Plan,
    infos: &[PluginInfo],
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

/// Two refusals as one, so that nobody has to start again for the second.
fn join(all: &anyhow::Error, next: Failure) -> anyhow::Error {
    let (all, next) = (report(all), report(&next.into()));
    let joined = Failure::new(Kind::Grant, format!("{}\n{}", next.messages[0], all.messages[0]));
    next.hints.into_iter().chain(all.hints).fold(joined, Failure::hint).into()
}

/// Where this user's store is if nobody says.
pub(super) fn usual_store() -> Option<PathBuf> {
    let variable = |name| std::env::var_os(name).map(PathBuf::from);
    let root = rustix::process::getuid().is_root();
    default_store(root, variable("XDG_CACHE_HOME").as_deref(), variable("HOME").as_deref())
}

/// What the environment says; `named` if the user said where the store is.
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

/// Likewise.
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

/// The keys that packages of the image must be signed with, and those of the build's own tools.
pub(super) fn key_rings(plan: &Plan) -> Result<Rings> {
    let native = emulation::host_architecture();
    keyring::read_all(plan, &[&plan.architecture, native])
}

/// Seconds since 1970.
pub(super) fn now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
