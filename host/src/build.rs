//! The way of a build, as an ordered list of steps: read this first.
//!
//! [`outside`] is what the user's process does: it owns the output files and waits. Everything below runs in the
//! private namespace ([`crate::sandbox::private`]).

mod above;
mod answers;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod archives;
pub mod assets;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod base;
mod below;
mod boot_files;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod bootstrap;
pub mod cache;
mod choice;
pub mod compare;
mod earlier;
mod effects;
mod emulated;
pub mod finalise;
mod finish;
mod identities;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod import;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod locked;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod native_tools;
mod output;
pub mod outside;
mod packages;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod partitions;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod plugins;
pub mod probe;
pub mod room;
mod standing;
mod tarball;
mod telling;
mod users;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod workbench;

use std::cell::OnceCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use archives::Archives;
use emulated::Emulation;
use import::Base;
use nix::sched::CloneFlags;
use output::Part;
pub use output::{OutputJob, result_names, unpack_inside};
use packages::Packages;
use serde::{Deserialize, Serialize};

use crate::download::Authorities;
use crate::emulation;
use crate::error::{Context, Failure, Result};
use crate::keyring::Rings;
use crate::plugin::inspect::PluginInfo;
use crate::plugin::policy::Ceiling;
use crate::recipe;
use crate::recipe::plan::Plan;
use crate::report::conflicts::{Ran, conflicts};
use crate::report::{Effect, PluginReport};
use crate::rootfs::packages::{Archive, Package};
use crate::rootfs::policy;
use crate::sandbox::private;
use crate::secret::{Secret, Secrets};
use crate::store::{Damaged, Store};
use crate::ui::{Timings, Ui, Verbosity};

/// What the outer process asks for. Files are inherited descriptors, by number.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub plan: Plan,
    pub plugins: Vec<PluginJob>,
    /// With which packages are signed.
    pub rings: Rings,
    /// What the site allows.
    pub ceiling: Ceiling,
    /// Who vouches for servers that plugins may download from; none if no plugin may.
    pub authorities: Authorities,
    /// Which recipe this is a build of, for people.
    pub name: String,
    /// Bytes that the store may have afterwards, if there is a limit.
    pub limit: Option<u64>,
    /// Takes what the build took of the disk.
    pub taken: i32,
    /// What the base layer is taken from.
    pub base: Option<i32>,
    /// Assets by name.
    pub assets: BTreeMap<String, i32>,
    /// Secrets by name, each in a file in memory: what they are is no part of the job.
    pub secrets: BTreeMap<String, i32>,
    /// Takes what goes into `piimg.lock`, if that is to be written.
    pub packages: Option<i32>,
    /// The unnamed files that become the image and what belongs to it.
    pub output: OutputJob,
    pub emulation: emulation::Mode,
    /// The host runs programs of the image's architecture by itself.
    pub registered_on_host: bool,
    /// Make the base layer anew, whatever the store holds.
    pub refresh: bool,
    pub verbosity: Verbosity,
    /// The file of timings, and the moment that they count from.
    pub timings: Option<(i32, Duration)>,
}

/// One plugin, in the order of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub struct PluginJob {
    pub info: PluginInfo,
    /// The compiled component, in memory.
    pub code: i32,
    /// Capabilities that were granted, as text.
    pub granted: Vec<String>,
}

/// What the steps share.
struct Build<'a> {
    plan: &'a Plan,
    /// What the base layer is taken from, if it is not bootstrapped.
    base: Option<Base>,
    rings: &'a Rings,
    /// apt's preferences, where versions are locked.
    preferences: Option<PathBuf>,
    store: Store,
    emulation: Emulation,
    /// What the site allows plugins.
    ceiling: Ceiling,
    authorities: Authorities,
    /// The compiled plugins, in the order of the plan: one may run several times.
    codes: Vec<File>,
    assets: BTreeMap<String, File>,
    /// Digests of the assets, when somebody has asked.
    asset_digests: OnceCell<BTreeMap<String, String>>,
    /// The file that becomes the audit log beside the image; none where no plugin runs.
    audit: Option<File>,
    secrets: Secrets,
    /// As [`Job::refresh`].
    refresh: bool,
    ui: Ui,
}

/// A finished layer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Layer {
    key: String,
    /// What was installed by it.
    #[serde(default)]
    packages: Vec<Package>,
    /// What it removed, or has in another version.
    #[serde(default)]
    gone: Vec<Package>,
    /// Of a layer of packages: what always deserves a look, and what a wish changed.
    #[serde(default)]
    notable: Vec<Effect>,
    /// Of the user's layer: what was made for the user, and what was changed.
    #[serde(default)]
    made: Vec<String>,
    #[serde(default)]
    changed: Vec<String>,
    /// Of a plugin's layer: what the plugin did.
    #[serde(default)]
    plugin: Option<PluginReport>,
}

/// The layers of an image from the bottom up, and what they have in common.
#[derive(Clone)]
struct Layers {
    /// Packages lie lowest: nothing that a plugin or the user has made is below a run of apt or dpkg.
    stack: Vec<Layer>,
    /// What the layers of packages hold.
    packages: Packages,
    /// What of the archives they were made of.
    chosen: recipe::locked::Packages,
    /// What plugins are built with, which is in no layer of the image.
    built_with: recipe::locked::Packages,
    /// Keys of the layers that have it.
    tools: BTreeSet<String>,
    /// Its time, the date of the archive's state, is that of whatever is written into layers: they do not depend on when
    /// they were made, nor on the image's time.
    archive: Archive,
    /// The image's time, in seconds since 1970: no file of it is later, and plugins and their commands are told it.
    epoch: u64,
    /// The image's host name.
    hostname: String,
}

impl Layers {
    /// The key of the highest one.
    fn top(&self) -> &str {
        &self.stack.last().expect("the base layer is there").key
    }
}

/// `piimg __build`: enters the private namespace and builds.
///
/// # Errors
/// Whatever a step fails with.
pub fn inside(arguments: &[String]) -> Result<i32> {
    let job = private::enter(arguments)?;
    let job: Job = serde_json::from_slice(&job).context("cannot read the job")?;
    match run(&job) {
        Err(error) if error.is::<Damaged>() => {
            Ui::new(job.verbosity).warn(&format!("{error:#}; it is made anew"));
            Ok(outside::AGAIN)
        }
        result => result.map(|()| 0),
    }
}

fn run(job: &Job) -> Result<()> {
    let mut ui = Ui::new(job.verbosity);
    if let Some((number, base)) = job.timings {
        ui = ui.with_timings(Timings::resume(private::adopt_fd(number)?.into(), base));
    }
    let store = Store::open()?;
    let emulation = Emulation::new(&job.plan.architecture, job.emulation, job.registered_on_host);
    let open = |(name, number): (&String, &i32)| Ok((name.clone(), File::from(private::adopt_fd(*number)?)));
    let assets = job.assets.iter().map(open).collect::<Result<_>>()?;
    let take = |(name, number): (&String, &i32)| {
        Ok((name.clone(), Secret::from_file(name, private::adopt_fd(*number)?.into())?))
    };
    let mut files = job.output.open()?;
    let base = match (&job.plan.base, job.base) {
        (Some(path), Some(number)) => Some(Base::new(path.shown(), private::adopt_fd(number)?.into(), &store, &ui)?),
        _ => None,
    };
    let build = Build {
        plan: &job.plan,
        base,
        rings: &job.rings,
        preferences: locked::prefer(job.plan.locked.as_ref())?,
        store,
        emulation,
        ceiling: job.ceiling.clone(),
        authorities: job.authorities.clone(),
        codes: job.plugins.iter().map(|plugin| Ok(private::adopt_fd(plugin.code)?.into())).collect::<Result<_>>()?,
        assets,
        asset_digests: OnceCell::new(),
        audit: files.remove(&Part::AuditLog),
        secrets: job.secrets.iter().map(take).collect::<Result<_>>()?,
        refresh: job.refresh,
        ui,
    };
    if job.plan.fetching.offline {
        // Whatever would ask a server finds none.
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).context(Failure::host("cannot leave the network"))?;
    }
    let result = work(&build, job, &files).map_err(|error| standing::explain(&build, error));
    // Also if it failed: a store that is full of failed builds is as full as any other.
    standing::tidy(&build, job.limit);
    result
}

fn work(build: &Build<'_>, job: &Job, files: &BTreeMap<Part, File>) -> Result<()> {
    let mut layers = base::ensure(build)?;
    packages::lay(build, &mut layers, &job.plugins)?;
    let layers = plugins::ensure(build, layers, &job.plugins)?;
    warn_of_conflicts(build, job, &layers);
    let packages = job.packages.map(private::adopt_fd).transpose()?.map(File::from);
    locked::settle(build, &layers, packages)?;
    let key = partitions::key_of(build, &layers);
    if !finish::is_there_already(build, &key, &job.output)? {
        tarball::write(build, &layers, &key, files, &job.output)?;
        if files.contains_key(&Part::PlainImage) || files.contains_key(&Part::Image) {
            let partitions = partitions::ensure(build, &layers, key.clone())?;
            finish::run(build, partitions, files, &job.output)?;
        }
        plugins::write_audit_log(build, &layers)?;
    }
    standing::remember(build, &layers, &key, job)
}

fn warn_of_conflicts(build: &Build<'_>, job: &Job, layers: &Layers) {
    let reports = layers.stack.iter().filter_map(|layer| layer.plugin.as_ref());
    let ran: Vec<Ran<'_>> =
        reports.zip(&job.plugins).map(|(report, plugin)| Ran { report, after: &plugin.info.conf.after }).collect();
    conflicts(&ran).iter().for_each(|conflict| build.ui.warn(conflict));
}

impl Build<'_> {
    /// Trees of the given layers, the lowest first.
    fn trees(&self, layers: &[Layer]) -> Vec<PathBuf> {
        layers.iter().map(|layer| self.store.layer(&layer.key).join("fs")).collect()
    }

    /// What lies below the image's layers while commands run in it.
    fn below(&self, step: &crate::ui::Step) -> Result<Vec<PathBuf>> {
        self.emulation.prepare(&self.store, self.archives(), step)
    }

    /// The same while packages are installed or removed, which start no services.
    fn below_packages(&self, step: &crate::ui::Step) -> Result<Vec<PathBuf>> {
        Ok([vec![policy::layer()?], self.below(step)?].concat())
    }

    fn archives(&self) -> Archives<'_> {
        Archives {
            release: &self.plan.release,
            mirrors: &self.plan.mirrors,
            rings: self.rings,
            chosen: &self.plan.keyrings,
            are_kept: self.plan.keep_mirror,
            fetching: &self.plan.fetching,
            are_old: self.plan.snapshot.is_some(),
        }
    }

    /// A finished layer of that key, if the store has one that is whole.
    fn finished(&self, key: &str) -> Option<Layer> {
        if !self.store.has_layer(key, &mut |damage| self.ui.warn(damage)).ok()? {
            return None;
        }
        serde_json::from_slice(&fs::read(self.store.layer(key).join("layer.json")).ok()?).ok()
    }
}
