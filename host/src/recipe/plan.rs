//! Merges and validates: flags over `piimg.toml` over the plugins (in their order) over defaults. Pure; nothing is
//! written, and everything that can be refused is reported at once.

mod archives;
mod choose;
mod downloads;
mod params;
mod plugins;
mod secrets;
#[cfg(test)]
mod tests;
mod wishes;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::check;
use super::compression::Compression;
use super::conf::PluginConf;
use super::debconf;
use super::fetching::Fetching;
use super::file::{RecipeFile, UserFile};
use super::host::{self, Admitted, HostPath, Offer};
use super::limits::CommandLimits;
use super::local_package::LocalPackage;
use super::locked::Locked;
use super::model::Model;
use super::output::OutputKind;
use super::overrides::Overrides;
use super::package::is_file;
use super::pin::Pin;
use super::release::repository::{Chosen, Given};
use super::release::{Release, Releases};
use crate::error::{Failure, Result};
use crate::ui::printable;
use choose::{checked, choose, directory};
use plugins::{check_made_for, order, plan_plugin};

const DEFAULT_RELEASE: &str = "trixie";
pub(crate) const DEFAULT_HOSTNAME: &str = "raspberrypi";
const DEFAULT_FLAVOUR: &str = "custom";
/// Space for a first boot's host keys, logs and a package or two.
const DEFAULT_EXTRA_SPACE_MB: u32 = 500;

/// A build with nothing left to chance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Plan {
    pub release: Release,
    pub architecture: String,
    /// An image or archive that takes the place of a bootstrap.
    #[serde(deserialize_with = "host::of_job")]
    pub base: Option<HostPath>,
    /// Mirrors by the name of the release's repository that they stand in for.
    pub mirrors: BTreeMap<String, String>,
    /// Key rings that somebody chose in place of the host's, by name.
    pub keyrings: BTreeMap<String, Chosen>,
    /// Keys that plugins bring with the repositories of these names.
    pub given_keys: BTreeMap<String, Given>,
    /// Whether the image has them too, in place of the release's own archives.
    pub keep_mirror: bool,
    /// The time of the archive's state, where the mirror keeps old ones: `20250601T000000Z`.
    pub snapshot: Option<String>,
    pub fetching: Fetching,
    /// The packages that there must be and no others, where the build keeps to `piimg.lock`.
    pub locked: Option<Locked>,
    /// `None` if the base's own stays.
    pub hostname: Option<String>,
    pub flavour: String,
    /// Free space in the root file system beyond its content.
    pub extra_space_mb: u32,
    /// This and the other paths of the host are for the user's own process: the job knows nothing of them.
    #[serde(skip_deserializing)]
    pub store: HostPath,
    #[serde(skip_deserializing)]
    pub imagedir: HostPath,
    /// Kinds of output; never empty.
    pub outputs: BTreeSet<OutputKind>,
    /// Compression of image and tar archive; `None` by default, for an image that is flashed where it was built.
    pub compression: Option<Compression>,
    /// Added to those of the release or of the base.
    pub packages: Vec<String>,
    /// Packages that come as files, whether they are listed or only needed.
    pub local_packages: Vec<LocalPackage>,
    /// Packages that the image is not to have.
    pub removals: Vec<String>,
    /// Pi models the image must boot.
    pub models: Vec<String>,
    /// The first user; `None` on a base with users of its own.
    pub user: Option<User>,
    /// The plugins, in the order in which they run.
    pub plugins: Vec<PlannedPlugin>,
    #[serde(skip_deserializing)]
    pub assets: BTreeMap<String, HostPath>,
    /// Sources of secrets, by name. They are read elsewhere; the job does not know them.
    #[serde(skip)]
    pub secrets: BTreeMap<String, Offer>,
    /// Limits of each command of a plugin.
    pub limits: CommandLimits,
    /// `SOURCE_DATE_EPOCH`, if set: seconds since 1970.
    pub epoch: Option<u64>,
}

/// The first user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct User {
    pub name: String,
    /// Hash as in `/etc/shadow`.
    pub password_hash: String,
    pub expire_password: bool,
    pub groups: Vec<String>,
    pub authorized_keys: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PlannedPlugin {
    pub id: String,
    pub path: PathBuf,
    pub digest: String,
    /// Installed before it runs.
    pub packages: Vec<String>,
    /// There while it runs, and not in the image, as far as it was granted; sorted.
    pub build_packages: Vec<String>,
    /// Preferences for apt from then on.
    pub pins: Vec<Pin>,
    /// Answers for debconf before that.
    pub answers: Vec<debconf::Answer>,
    /// Removed after that.
    pub removals: Vec<String>,
    /// Values as the user would write them.
    pub params: BTreeMap<String, String>,
}

/// A plugin as it was inspected.
#[derive(Clone, Debug)]
pub struct PluginSource {
    pub path: PathBuf,
    pub digest: String,
    pub conf: PluginConf,
}

/// Inputs from the environment.
#[derive(Clone, Debug)]
pub struct Environment {
    pub default_store: PathBuf,
    pub current_directory: PathBuf,
    pub epoch: Option<u64>,
}

/// Returns the default store: the system's cache for root, the user's own otherwise. `None` if an ordinary user has
/// neither variable. A relative `XDG_CACHE_HOME` is ignored, as
/// <https://specifications.freedesktop.org/basedir-spec/latest/> demands.
pub fn default_store(root: bool, xdg_cache_home: Option<&Path>, home: Option<&Path>) -> Option<PathBuf> {
    if root {
        return Some("/var/cache/piimg".into());
    }
    let cache = xdg_cache_home.filter(|path| path.is_absolute()).map(Path::to_owned);
    let cache = cache.or_else(|| home.filter(|path| path.is_absolute()).map(|home| home.join(".cache")))?;
    Some(cache.join("piimg"))
}

/// Collects what is wrong.
#[derive(Debug, Default)]
struct Findings(Vec<String>);

impl Findings {
    fn add(&mut self, finding: impl Into<String>) {
        self.0.push(finding.into());
    }

    /// Adds a finding if `result` is an error.
    fn check(&mut self, what: &str, value: &str, result: Result<(), String>) {
        if let Err(rule) = result {
            self.add(format!("{what} `{}` {rule}", printable(value)));
        }
    }
}

/// Makes the plan; `host` is what the recipe may use of the host.
///
/// # Errors
/// One [`Failure::usage`] with every finding on a line of its own.
pub fn plan(
    file: &RecipeFile,
    host: Admitted,
    flags: &Overrides,
    plugins: &[PluginSource],
    releases: &Releases,
    environment: &Environment,
) -> Result<Plan> {
    let mut findings = Findings::default();
    let release = choose_release(file, flags, plugins, releases, &mut findings);
    let hostname =
        choose(&mut findings, "hostname", flags.hostname.as_ref(), file.hostname.as_ref(), plugins, |conf| {
            conf.image.hostname.as_ref()
        });
    let hostname = hostname.map(|sourced| checked(&mut findings, "the hostname", sourced, check::hostname));
    let flavour = choose(&mut findings, "flavour", flags.flavour.as_ref(), file.flavour.as_ref(), plugins, |conf| {
        conf.image.flavour.as_ref()
    });
    let flavour = flavour.map_or_else(
        || DEFAULT_FLAVOUR.to_owned(),
        |sourced| checked(&mut findings, "the flavour", sourced, check::flavour),
    );
    let extra_space_mb = extra_space(file, flags, plugins, &mut findings);
    let outputs = outputs(file, flags, &mut findings);
    let compression = compression(file, flags, &mut findings);
    let fetching = downloads::fetching(file, flags, &mut findings);
    let snapshot = downloads::snapshot(file, flags, &mut findings);
    archives::check_words(file, flags, &mut findings);
    let store = directory(
        &mut findings,
        "rootfs",
        "--store",
        flags.store.clone().map(HostPath::named).or(host.store),
        flags,
        plugins,
        |conf| conf.image.rootfs.as_ref(),
    )
    .unwrap_or_else(|| HostPath::named(&environment.default_store));
    let imagedir = directory(
        &mut findings,
        "imagedir",
        "--imagedir",
        flags.imagedir.clone().map(HostPath::named).or(host.imagedir),
        flags,
        plugins,
        |conf| conf.image.imagedir.as_ref(),
    )
    .unwrap_or_else(|| HostPath::named(&environment.current_directory));
    // What files hold is known when they are read.
    let packages = file.packages.iter().chain(&flags.packages).filter(|text| !is_file(text));
    let packages: Vec<String> = packages.cloned().collect();
    for package in &packages {
        let rule = match package.ends_with(".deb") {
            true => Err(format!("must be written `./{}` if the file is meant", printable(package))),
            false => check::package(package),
        };
        findings.check("the package", package, rule);
    }
    let planned: Vec<PlannedPlugin> = order(plugins, &mut findings)
        .into_iter()
        .map(|plugin| plan_plugin(plugin, file, flags, &mut findings))
        .collect();
    wishes::check(&packages, &file.remove_packages, &planned, &mut findings);
    params::check_unknown(file, flags, plugins, &mut findings);
    let assets = assets(host.assets, flags, &mut findings);
    let secrets = secrets::sources(host.secrets, flags, &mut findings);
    let limits = limits(file, flags, &mut findings);
    let base = flags.base.clone().map(HostPath::named).or(host.base);
    // What is built on has a name that nobody asked to change.
    let hostname = hostname.or_else(|| base.is_none().then(|| DEFAULT_HOSTNAME.to_owned()));
    let architecture = flags.architecture.as_ref().or(file.architecture.as_ref());
    let resolved = release.map(|release| {
        let architecture = architecture.cloned().unwrap_or_else(|| release.architectures[0].clone());
        if !release.architectures.contains(&architecture) {
            findings.add(format!(
                "{} has no architecture `{}` here; it has: {}",
                release.title,
                printable(&architecture),
                release.architectures.join(", ")
            ));
        }
        for plugin in plugins {
            check_made_for(&plugin.conf, &release.name, &architecture, &mut findings);
        }
        let mut release = release.resolved(&architecture);
        archives::add_own_repositories(&mut release, file, &mut findings);
        let given = archives::add_plugins_repositories(&mut release, plugins, &mut findings);
        let mirrors = archives::mirrors(&release, &architecture, file, flags, snapshot.as_deref(), &mut findings);
        let keyrings = archives::keyrings(&release, host.keyrings, flags, &mut findings);
        archives::choose_repositories(&mut release, &architecture, file, flags, &mut findings);
        let models = models(file, &release, &mut findings);
        let keeps_users = base.is_some() && file.user == UserFile::default();
        let user = (!keeps_users)
            .then(|| user(file, &release, (hostname.as_deref().unwrap_or(DEFAULT_HOSTNAME), &flavour), &mut findings));
        (release, architecture, mirrors, (keyrings, given), models, user)
    });
    let (Some((release, architecture, mirrors, (keyrings, given_keys), models, user)), true) =
        (resolved, findings.0.is_empty())
    else {
        return Err(refuse(&findings).into());
    };
    Ok(Plan {
        release,
        architecture,
        base,
        mirrors,
        keep_mirror: file.keep_mirror,
        keyrings,
        given_keys,
        snapshot,
        fetching,
        // Not a matter of the recipe.
        locked: None,
        hostname,
        flavour,
        extra_space_mb,
        store,
        imagedir,
        outputs,
        compression,
        packages,
        // Files are not read here.
        local_packages: Vec::new(),
        removals: file.remove_packages.clone(),
        models,
        user,
        plugins: planned,
        assets,
        secrets,
        limits,
        epoch: environment.epoch.or(file.source_date_epoch),
    })
}

pub use params::complete as complete_params;

/// Returns the values of each plugin's own parameters as far as they are known, where nothing is to be built: a value
/// that must still be given is left out.
///
/// # Errors
/// One [`Failure::usage`] with every wrong value.
pub fn known_params(
    file: &RecipeFile,
    flags: &Overrides,
    plugins: &[PluginSource],
) -> Result<Vec<BTreeMap<String, String>>> {
    let mut findings = Findings::default();
    let values = plugins.iter().map(|plugin| params::known(plugin, file, flags, &mut findings)).collect();
    // The recipe may know more plugins than are looked at.
    params::check_unknown(&RecipeFile::default(), flags, plugins, &mut findings);
    if findings.0.is_empty() { Ok(values) } else { Err(refuse(&findings).into()) }
}

fn refuse(findings: &Findings) -> Failure {
    match findings.0.as_slice() {
        [one] => Failure::usage(one.clone()),
        many => {
            Failure::usage(format!("{} things are wrong with this build:\n  - {}", many.len(), many.join("\n  - ")))
        }
    }
}

fn choose_release(
    file: &RecipeFile,
    flags: &Overrides,
    plugins: &[PluginSource],
    releases: &Releases,
    findings: &mut Findings,
) -> Option<Release> {
    let chosen = choose(findings, "release", flags.release.as_ref(), file.release.as_ref(), plugins, |conf| {
        conf.image.release.as_ref()
    });
    let (name, source) = chosen.map_or((DEFAULT_RELEASE.to_owned(), String::new()), |sourced| {
        (sourced.value, format!(" (from {})", sourced.source))
    });
    let release = releases.get(&name);
    if release.is_none() {
        let known: Vec<&str> = releases.names().collect();
        findings.add(format!("there is no release `{}`{source}; piimg knows: {}", printable(&name), known.join(", ")));
    }
    release.cloned()
}

/// Returns the largest wish of the plugins: each means free space for the whole image.
fn extra_space(file: &RecipeFile, flags: &Overrides, plugins: &[PluginSource], findings: &mut Findings) -> u32 {
    let wished = plugins.iter().filter_map(|plugin| plugin.conf.image.rootfs_extra_space_mb).max();
    let size = flags.extra_space_mb.or(file.rootfs_extra_space_mb).or(wished).unwrap_or(DEFAULT_EXTRA_SPACE_MB);
    findings.check("rootfs-extra-space-mb", &size.to_string(), check::extra_space_mb(size));
    size
}

fn outputs(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) -> BTreeSet<OutputKind> {
    let asked = flags.outputs();
    let wanted = if asked.is_empty() { &file.output } else { &asked };
    let mut kinds = BTreeSet::new();
    for text in wanted {
        match OutputKind::parse(text) {
            Ok(kind) => drop(kinds.insert(kind)),
            Err(rule) => findings.check("the output", text, Err(rule)),
        }
    }
    if wanted.is_empty() { [OutputKind::Image].into() } else { kinds }
}

fn compression(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) -> Option<Compression> {
    let wanted = flags.compress.as_ref().or(file.compress.as_ref())?;
    let parsed = Compression::parse(wanted);
    findings.check("the compression", wanted, parsed.as_ref().map(|_| ()).map_err(Clone::clone));
    parsed.ok().flatten()
}

fn limits(file: &RecipeFile, flags: &Overrides, findings: &mut Findings) -> CommandLimits {
    let mut limits = file.limits;
    for limit in &flags.limits {
        let set = limits.set(limit);
        findings.check("the limit", limit, set);
    }
    if let Err(rule) = limits.check() {
        findings.add(format!("the limit {rule}"));
    }
    limits
}

fn models(file: &RecipeFile, release: &Release, findings: &mut Findings) -> Vec<String> {
    for model in file.models.iter().filter(|model| !release.models.contains(model)) {
        let shown = printable(model);
        findings.add(match Model::from_name(model) {
            None => format!("there is no model `{shown}`; piimg knows: {}", Model::known()),
            Some(_) => {
                format!("{} does not boot on `{shown}`; it boots on: {}", release.title, release.models.join(", "))
            }
        });
    }
    if file.models.is_empty() { release.models.clone() } else { file.models.clone() }
}

/// Plans the user; `place` is host name and flavour, for the salt.
fn user(file: &RecipeFile, release: &Release, place: (&str, &str), findings: &mut Findings) -> User {
    let wanted = &file.user;
    let name = wanted.name.clone().unwrap_or_else(|| release.user.name.clone());
    findings.check("the user name", &name, check::new_user(&name));
    if release.groups.contains(&name) {
        findings.add(format!("the user name `{name}` is that of a group of {}", release.name));
    }
    for group in &wanted.groups {
        findings.check("the group", group, check::user_name(group));
    }
    for key in &wanted.authorized_keys {
        findings.check("the authorized key", key, check::authorized_key(key));
    }
    if wanted.password.is_some() && wanted.password_hash.is_some() {
        findings.add("the user has both `password` and `password-hash`: give one");
    }
    if wanted.password_hash.as_ref().is_some_and(|hash| hash.is_empty() || hash.contains([':', '\n', '\0'])) {
        findings.add("`password-hash` must be a hash as in /etc/shadow, without `:`");
    }
    let password = wanted.password.as_ref().unwrap_or(&release.user.password);
    if let Err(rule) = super::password::check(password.as_bytes()) {
        findings.add(format!("the user's password {rule}"));
    }
    let hash = || super::password::hash(password.as_bytes(), &[&name, place.0, place.1]);
    let password_hash = wanted.password_hash.clone().unwrap_or_else(hash);
    let chosen = wanted.password.is_some() || wanted.password_hash.is_some();
    User {
        name,
        password_hash,
        expire_password: wanted.expire_password.unwrap_or(!chosen),
        groups: release
            .user
            .groups
            .iter()
            .chain(wanted.groups.iter().filter(|group| !release.user.groups.contains(group)))
            .cloned()
            .collect(),
        authorized_keys: wanted.authorized_keys.clone(),
    }
}

fn assets(
    recipes: BTreeMap<String, HostPath>,
    flags: &Overrides,
    findings: &mut Findings,
) -> BTreeMap<String, HostPath> {
    let mut assets = recipes;
    for asset in &flags.assets {
        match asset.split_once('=') {
            Some((name, path)) if !name.is_empty() && !path.is_empty() => {
                assets.insert(name.to_owned(), HostPath::named(path));
            }
            _ => findings.add(format!("--asset `{}` must be NAME=PATH", printable(asset))),
        }
    }
    // The files of a directory are known by its name and theirs.
    for name in assets.keys().filter(|name| name.is_empty() || name.contains('/')) {
        findings.add(format!("the asset `{}` must have a name without `/`", printable(name)));
    }
    assets
}
