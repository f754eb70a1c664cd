//! Builds an image, as an ordered list of steps: read this first.
//!
//! [`crate::supervisor`] is what the user's process does: it owns the output files and waits. Everything below runs in the
//! private namespace ([`crate::sandbox::namespace`]).

mod answers;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod archives;
pub mod assets;
mod base;
mod below;
mod boot_files;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod bootstrap;
mod build_record;
mod change_review;
mod choice;
pub mod compare_emulation;
mod emulation_setup;
pub mod finalise;
mod identities;
mod image_file;
mod image_info;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod import;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod layer;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod local_packages;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod locked;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod native_tools;
pub mod output_job;
mod packages;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub(crate) mod partitions;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod plugins;
mod served;
pub mod shell;
mod tarball;
pub mod trial;
mod users;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod workbench;

use std::cell::{Cell, OnceCell};
use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, File};
use std::path::PathBuf;
use std::time::Duration;

use archives::Archives;
use emulation_setup::Emulation;
use import::Base;
pub(crate) use layer::{mount, unmount};
use nix::sched::CloneFlags;
use output_job::{OutputJob, Part};
use packages::Packages;
use serde::{Deserialize, Serialize};
use shell::{Shell, ShellJob, When};

use crate::download::Authorities;
use crate::emulation;
use crate::error::{Context, Failure, Result};
use crate::keyring::Rings;
use crate::plugin::InspectedPlugin;
use crate::plugin::grant::GrantSet;
use crate::recipe;
use crate::recipe::plan::Plan;
use crate::report::conflicts::{Ran, conflicts};
use crate::report::{Effect, PluginReport};
use crate::rootfs::packages::{Archive, Package};
use crate::rootfs::policy;
use crate::sandbox::{namespace, process};
use crate::secret::{Secret, Secrets};
use crate::store::{Damaged, Store, key};
use crate::ui::{Events, StepTimes, Ui, Verbosity};

/// Exit code of an inner process that found damage in the store and removed it: to be begun once more.
pub(crate) const AGAIN: i32 = 75;

/// The request of the outer process. Files are inherited descriptors, by number.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    pub plan: Plan,
    pub plugins: Vec<PluginJob>,
    /// Key rings that verify package signatures.
    pub rings: Rings,
    /// Certificate authorities for downloads of plugins; `None` if no plugin may download.
    pub authorities: Authorities,
    /// Name of the recipe, for people.
    pub name: String,
    /// Bytes that the store may have afterwards, if there is a limit.
    pub limit: Option<u64>,
    /// Needs of the build on the disk of the store, as an addition to a message.
    pub store_needs: String,
    /// Takes what the build took of the disk.
    pub taken: i32,
    /// Descriptor of the base image or archive, if there is one.
    pub base: Option<i32>,
    /// Assets by name.
    pub assets: BTreeMap<String, i32>,
    /// Files of packages by digest.
    pub local_packages: BTreeMap<String, i32>,
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
    /// A shell that somebody wants in the image.
    pub shell: Option<ShellJob>,
    pub verbosity: Verbosity,
    /// The file of events, and the moment that their times count from.
    pub events: Option<(i32, Duration)>,
}

/// One plugin, in the order of the plan.
#[derive(Debug, Serialize, Deserialize)]
pub struct PluginJob {
    pub info: InspectedPlugin,
    /// The compiled component, in memory.
    pub code: i32,
    /// Its rights, as they were decided outside.
    pub grants: GrantSet,
}

/// State that all steps share.
struct Build<'a> {
    plan: &'a Plan,
    /// The base image or archive, if the base layer is not bootstrapped.
    base: Option<Base>,
    rings: &'a Rings,
    /// apt's preferences, where versions are locked.
    preferences: Option<PathBuf>,
    store: Store,
    emulation: Emulation,
    authorities: Authorities,
    /// The compiled plugins, in the order of the plan: one may run several times.
    codes: Vec<File>,
    assets: BTreeMap<String, File>,
    /// Files of packages that the recipe brings, by digest.
    local_files: BTreeMap<String, File>,
    /// Digests of the assets, when somebody has asked.
    asset_digests: OnceCell<BTreeMap<String, String>>,
    /// The file that becomes the audit log beside the image; `None` where no plugin runs.
    audit: Option<File>,
    secrets: Secrets,
    /// See [`Job::shell`].
    shell: Option<Shell>,
    /// See [`Job::refresh`].
    refresh: bool,
    /// A layer of this build is in the store, so that the next one need not make it.
    has_layers: Cell<bool>,
    ui: Ui,
}

/// A finished layer.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
struct Layer {
    key: String,
    /// Packages that the layer installed.
    #[serde(default)]
    packages: Vec<Package>,
    /// Packages that the layer removed or replaced by another version.
    #[serde(default)]
    gone: Vec<Package>,
    /// For a package layer: notable changes, and those that a wish made.
    #[serde(default)]
    notable: Vec<Effect>,
    /// For the user's layer: what was created and changed for the user.
    #[serde(default)]
    made: Vec<String>,
    #[serde(default)]
    changed: Vec<String>,
    /// Somebody made it in a shell.
    #[serde(default)]
    by_hand: bool,
    /// For a plugin's layer: the plugin's report.
    #[serde(default)]
    plugin: Option<PluginReport>,
}

/// The layers of an image from the bottom up, and what they have in common.
#[derive(Clone)]
struct Layers {
    /// Packages lie lowest: nothing that a plugin or the user has made is below a run of apt or dpkg.
    stack: Vec<Layer>,
    /// Packages in the package layers.
    packages: Packages,
    /// The choice from the archives that the layers are made of.
    chosen: recipe::locked::Packages,
    /// Packages that plugins are built with; no layer of the image has them.
    built_with: recipe::locked::Packages,
    /// Keys of the layers that have it.
    tools: BTreeSet<String>,
    /// The archive's state. Its date is the time of everything written into layers, so that they depend neither on the
    /// time of the build nor on the image's time.
    archive: Archive,
    /// The image's time, in seconds since 1970: no file of it is later, and plugins and their commands are told it.
    epoch: u64,
    /// The image's host name.
    hostname: String,
}

impl Layers {
    /// Returns the key of the highest one.
    fn top(&self) -> &str {
        &self.stack.last().expect("the base layer is there").key
    }
}

/// Implements `piimg __build`: enters the private namespace and builds.
///
/// # Errors
/// Whatever a step fails with.
pub fn inside(arguments: &[String]) -> Result<i32> {
    let job = namespace::enter(arguments)?;
    let job: Job = serde_json::from_slice(&job).context("cannot read the job")?;
    match run(&job) {
        Err(error) if error.is::<Damaged>() => {
            Ui::new(job.verbosity).warn(&format!("{error:#}; it is made anew"));
            Ok(AGAIN)
        }
        result => result.map(|()| 0),
    }
}

fn run(job: &Job) -> Result<()> {
    let mut ui = Ui::new(job.verbosity);
    ui.show_commands();
    if let Some((number, base)) = job.events {
        ui = ui.with_events(Events::resume(process::adopt_fd(number)?.into(), base));
    }
    let store = Store::open()?;
    let times_of_steps = key(&"times of steps");
    ui = ui.with_times(StepTimes::new(store.head(&times_of_steps).unwrap_or_default()));
    let emulation = Emulation::new(&job.plan.architecture, job.emulation, job.registered_on_host);
    let open = |(name, number): (&String, &i32)| Ok((name.clone(), File::from(process::adopt_fd(*number)?)));
    let assets = job.assets.iter().map(open).collect::<Result<_>>()?;
    let local_files = job.local_packages.iter().map(open).collect::<Result<_>>()?;
    let take = |(name, number): (&String, &i32)| {
        Ok((name.clone(), Secret::from_file(name, process::adopt_fd(*number)?.into())?))
    };
    let mut files = job.output.open()?;
    let base = match (&job.plan.base, job.base) {
        (Some(path), Some(number)) => Some(Base::new(path.shown(), process::adopt_fd(number)?.into(), &store, &ui)?),
        _ => None,
    };
    let build = Build {
        plan: &job.plan,
        base,
        rings: &job.rings,
        preferences: locked::prefer(job.plan.locked.as_ref())?,
        store,
        emulation,
        authorities: job.authorities.clone(),
        codes: job.plugins.iter().map(|plugin| Ok(process::adopt_fd(plugin.code)?.into())).collect::<Result<_>>()?,
        assets,
        local_files,
        asset_digests: OnceCell::new(),
        audit: files.remove(&Part::AuditLog),
        secrets: job.secrets.iter().map(take).collect::<Result<_>>()?,
        shell: job.shell.as_ref().map(Shell::of_job).transpose()?,
        refresh: job.refresh,
        has_layers: Cell::new(false),
        ui,
    };
    build_record::tell_of_failure(&build, &job.name);
    if job.plan.fetching.offline {
        // Whatever would ask a server finds none.
        nix::sched::unshare(CloneFlags::CLONE_NEWNET).context(Failure::host("cannot leave the network"))?;
    }
    let result = work(&build, job, &files);
    let result = build_record::note_failure(&build, &job.name, result)
        .map_err(|error| build_record::explain(&build, &job.store_needs, error));
    // At worst nobody is told how long the next build will take.
    build.store.set_head(&times_of_steps, &build.ui.times().all()).ok();
    // Also if it failed: a store that is full of failed builds is as full as any other.
    build_record::tidy(&build, job.limit);
    result
}

fn work(build: &Build<'_>, job: &Job, files: &BTreeMap<Part, File>) -> Result<()> {
    let mut layers = base::ensure(build)?;
    local_packages::lay(build, &mut layers)?;
    packages::lay(build, &mut layers, &job.plugins)?;
    let mut layers = plugins::ensure(build, layers, &job.plugins)?;
    warn_of_conflicts(build, job, &layers);
    if let Some(shell) = build.shell.as_ref().filter(|shell| shell.when != When::OnFailure) {
        layers.stack.extend(shell::at_the_end(build, &layers, shell)?);
        if shell.when == When::AtTheEnd {
            return Ok(());
        }
    }
    let packages = job.packages.map(process::adopt_fd).transpose()?.map(File::from);
    locked::record_and_check(build, &layers, packages)?;
    let key = partitions::key_of(build, &layers);
    if !image_file::is_there_already(build, &key, &job.output)? {
        tarball::write(build, &layers, &key, files, &job.output)?;
        if files.contains_key(&Part::PlainImage) || files.contains_key(&Part::Image) {
            let partitions = partitions::ensure(build, &layers, key.clone())?;
            image_file::run(build, partitions, files, &job.output)?;
        }
        plugins::write_audit_log(build, &layers)?;
    }
    build_record::remember(build, &layers, &key, job)
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

    /// Returns the layers that lie below the image's while its commands run.
    fn below(&self, step: &crate::ui::Step) -> Result<Vec<PathBuf>> {
        self.emulation.prepare(&self.store, self.archives(), step)
    }

    /// Returns the same for installing and removing packages: a policy there keeps services from starting.
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

    /// Returns a finished layer of that key, if the store has one that is whole.
    fn finished(&self, key: &str) -> Option<Layer> {
        if !self.store.has_layer(key, &mut |damage| self.ui.warn(damage)).ok()? {
            return None;
        }
        let layer = serde_json::from_slice(&fs::read(self.store.layer(key).join("layer.json")).ok()?).ok();
        self.has_layers.set(self.has_layers.get() || layer.is_some());
        layer
    }
}
