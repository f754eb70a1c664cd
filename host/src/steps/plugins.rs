//! Makes plugin layers: runs `execute()` on a fresh upper directory above all packages, and commits the layer or drops
//! it whole.
//!
//! A package that a running plugin asks for and that is not there yet ends its run. Its layer is dropped, the package is
//! laid on the other ones ([`super::packages`]), and everything above begins anew. Guests are deterministic, so that a run
//! on the same layers comes to the same end: that it asks, and for what, is remembered as its layer is, and the next build
//! lays the package at once. What an image is made of does not depend on what was remembered.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::path::Path;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::below::Below;
use super::change_review;
use super::layer::LayerDraft;
use super::packages::{self, Owner};
use super::workbench::Bench;
use super::{Build, Layer, Layers, PluginJob, shell, users};
use crate::error::{Context, Failure, Result};
use crate::plugin::audit_log::Transcript;
use crate::plugin::grant::GrantSet;
use crate::plugin::policy::Bound;
use crate::plugin::run::{Run, RunEnd, execute};
use crate::plugin::workbench::PackageRequest;
use crate::plugin::{ImageInfo, Level, Limits, Template};
use crate::recipe::locked::Packages as Chosen;
use crate::recipe::plan::{Plan, PlannedPlugin};
use crate::report::{Effect, Listing, PluginReport, listing};
use crate::rootfs::times::Wrong;
use crate::secret::Secret;
use crate::secret::leak::Search;
use crate::store::key;
use crate::ui::{Step, count, printable};

/// Log of the plugin's calls, in its layer beside the tree.
const AUDIT_LOG: &str = "audit.jsonl";

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    below: &'a str,
    plugin: &'a str,
    /// Package requests that were fulfilled for the plugin; part of its report.
    packages: Vec<&'a PackageRequest>,
    /// The layer that is there only while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    build_with: Option<String>,
    params: &'a BTreeMap<String, String>,
    granted: &'a [Template],
    /// The scopes that each policy allows to the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<&'a [Bound]>,
    /// Facts about the image without its time, which only a plugin that asks for it depends on.
    image: &'a ImageInfo,
    /// The image's time.
    time: u64,
    /// Name and digest.
    assets: &'a BTreeMap<String, String>,
    /// Name and fingerprint of those that it may use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<&'a str, &'a str>,
}

/// Most requests for packages in one build: each of them costs a run of the plugin up to the request.
const MOST_REQUESTS: usize = 40;

/// Lays the user and the plugins on the packages. Where a plugin asks for packages that are not there, they are laid on the
/// others, and everything above them is made anew: from the store, where it is known already.
pub(super) fn ensure(build: &Build<'_>, packages: Layers, jobs: &[PluginJob]) -> Result<Layers> {
    let mut packages = packages;
    // Before anything runs: packages that cannot be had are reported now.
    built_with(build, &packages)?;
    recall(build, &mut packages, jobs)?;
    let mut requests = 0;
    loop {
        let (index, request) = match attempt(build, &packages, jobs)? {
            Attempt::Whole(layers) => return Ok(*layers),
            Attempt::Asks(index, request) => (index, request),
        };
        let id = printable(&build.plan.plugins[index].id);
        requests += 1;
        if requests > MOST_REQUESTS {
            return Err(Failure::plugin(format!("the plugin `{id}` asks for packages again and again: {request}"))
                .hint(format!("a build installs or removes packages for running plugins at most {MOST_REQUESTS} times"))
                .hint("its author should list them in conf(), or ask for all of them in one call")
                .into());
        }
        packages::add(build, &mut packages, Owner::Plugin(index), request).with_context(|| {
            Failure::plugin(format!("the plugin `{id}` asks for packages that it cannot have")).reclassify()
        })?;
    }
}

/// Chooses and fetches the packages that plugins are built with.
fn built_with(build: &Build<'_>, packages: &Layers) -> Result<Chosen> {
    let mut all = Chosen::new();
    for plugin in build.plan.plugins.iter().filter(|plugin| !plugin.build_packages.is_empty()) {
        all.extend(choose_to_build_with(build, packages, plugin)?);
    }
    Ok(all)
}

/// Keys of the layers that the plugins are built with: another run of a plugin would want them.
fn tools(build: &Build<'_>, packages: &Layers) -> Result<BTreeSet<String>> {
    let with_tools = build.plan.plugins.iter().filter(|plugin| !plugin.build_packages.is_empty());
    let key = |plugin: &PlannedPlugin| {
        let chosen = choose_to_build_with(build, packages, plugin)?;
        Ok(packages::key_of_tools(packages, &plugin.build_packages, &chosen))
    };
    with_tools.map(key).collect()
}

fn choose_to_build_with(build: &Build<'_>, packages: &Layers, plugin: &PlannedPlugin) -> Result<Chosen> {
    packages::choose_to_build_with(build, packages, &plugin.build_packages)
        .with_context(|| format!("cannot have what `{}` is built with", printable(&plugin.id)))
}

/// Result of an attempt to make all plugin layers.
enum Attempt {
    Whole(Box<Layers>),
    /// The plugin of that place wants other packages below itself.
    Asks(usize, PackageRequest),
}

fn attempt(build: &Build<'_>, packages: &Layers, jobs: &[PluginJob]) -> Result<Attempt> {
    let mut layers = packages.clone();
    layers.built_with = built_with(build, packages)?;
    layers.tools = tools(build, packages)?;
    layers.stack.extend(users::ensure(build, &layers)?);
    for (index, job) in jobs.iter().enumerate() {
        match Prepared::new(build, (packages, &layers), index, job)?.ensure(build, (packages, &layers))? {
            Outcome::Layer(layer) => layers.stack.push(*layer),
            Outcome::Asks(request) => return Ok(Attempt::Asks(index, request)),
        }
    }
    Ok(Attempt::Whole(Box::new(layers)))
}

/// Lays at once what the plugins of this very build are known to ask for, as far as the store has it.
fn recall(build: &Build<'_>, packages: &mut Layers, jobs: &[PluginJob]) -> Result<()> {
    for _ in 0..MOST_REQUESTS {
        let Some((index, request)) = recalled(build, packages, jobs)? else { break };
        if !packages::add_finished(build, packages, Owner::Plugin(index), request) {
            break;
        }
    }
    Ok(())
}

/// Returns the packages that a plugin requested when it last ran on exactly the same inputs.
fn recalled(build: &Build<'_>, packages: &Layers, jobs: &[PluginJob]) -> Result<Option<(usize, PackageRequest)>> {
    let mut layers = packages.clone();
    if let Some(key) = users::key_of(build, &layers) {
        let Some(layer) = build.finished(&key) else { return Ok(None) };
        layers.stack.push(layer);
    }
    for (index, job) in jobs.iter().enumerate() {
        match Prepared::new(build, (packages, &layers), index, job)?.known(build) {
            Some(Outcome::Layer(layer)) => layers.stack.push(*layer),
            Some(Outcome::Asks(request)) => return Ok(Some((index, request))),
            None => return Ok(None),
        }
    }
    Ok(None)
}

/// Result of a plugin's run. The same run has the same result, so it is remembered.
enum Outcome {
    Layer(Box<Layer>),
    Asks(PackageRequest),
}

/// All that a run of a plugin depends on.
struct Prepared<'a> {
    index: usize,
    planned: &'a PlannedPlugin,
    job: &'a PluginJob,
    image: ImageInfo,
    assets: BTreeMap<String, File>,
    secrets: BTreeMap<&'a str, &'a Secret>,
    /// Build-only packages.
    build_with: Chosen,
    /// Key of a run that does not ask for the image's time.
    timeless: String,
    /// Key of a run that does.
    timed: String,
}

impl<'a> Prepared<'a> {
    /// Makes the run of a plugin on the existing layers, the lowest of which are package layers.
    fn new(
        build: &'a Build<'_>,
        (packages, layers): (&Layers, &Layers),
        index: usize,
        job: &'a PluginJob,
    ) -> Result<Self> {
        let planned = &build.plan.plugins[index];
        let image = ImageInfo {
            architecture: build.plan.architecture.clone(),
            distribution: build.plan.release.distribution.clone(),
            release: build.plan.release.name.clone(),
            hostname: layers.hostname.clone(),
            flavour: build.plan.flavour.clone(),
            epoch: layers.epoch,
        };
        let secrets = secrets(build, &job.grants);
        let assets = assets(build, job)?;
        let digests = if assets.is_empty() { &BTreeMap::new() } else { asset_digests(build)? };
        let has_tools = !planned.build_packages.is_empty();
        let build_with = if has_tools { choose_to_build_with(build, packages, planned)? } else { Chosen::new() };
        let inputs = Inputs {
            step: "plugin above all packages, judged by its effects and calls, with its settings",
            below: layers.top(),
            plugin: &planned.digest,
            packages: layers.packages.of_plugin(index).map(|brought| &brought.request).collect(),
            build_with: has_tools.then(|| packages::key_of_tools(packages, &planned.build_packages, &build_with)),
            params: &planned.params,
            granted: job.grants.scopes(),
            limits: job.grants.limits().iter().map(|limit| limit.allow.as_slice()).collect(),
            image: &ImageInfo { epoch: 0, ..image.clone() },
            time: layers.archive.epoch,
            assets: digests,
            secrets: secrets.iter().map(|(name, secret)| (*name, secret.fingerprint())).collect(),
        };
        let timeless = key(&inputs);
        let timed = key(&("told the time", &timeless, image.epoch));
        Ok(Self { index, planned, job, image, assets, secrets, build_with, timeless, timed })
    }

    /// Returns the outcome of an earlier run.
    fn known(&self, build: &Build<'_>) -> Option<Outcome> {
        let keys = [&self.timeless, &self.timed];
        let layer = keys.iter().find_map(|key| build.finished(key));
        let asked = || keys.iter().find_map(|key| build.store.head(&asked_key(key)));
        layer.map(|layer| Outcome::Layer(Box::new(layer))).or_else(|| asked().map(Outcome::Asks))
    }

    fn ensure(self, build: &Build<'_>, (packages, layers): (&Layers, &Layers)) -> Result<Outcome> {
        let lock = build.store.lock(&self.timeless)?;
        let id = printable(&self.planned.id);
        let known = self.known(build);
        let names = &self.planned.build_packages;
        let tools = if known.is_none() && !names.is_empty() {
            let layer = packages::to_build_with(build, packages, names, &self.build_with)
                .with_context(|| format!("cannot install what `{id}` is built with"))?;
            Some(layer)
        } else {
            None
        };
        let step = build.ui.step(format!("Run the plugin {id}"));
        match known {
            Some(Outcome::Layer(layer)) => {
                step.done_with("unchanged, from the store");
                Ok(Outcome::Layer(layer))
            }
            // The request is known, but its layer is not in the store.
            Some(Outcome::Asks(request)) => {
                step.done_with("starts again with other packages");
                Ok(Outcome::Asks(request))
            }
            None => {
                let below = Below::new(build, packages, layers, tools.as_ref(), &step)?;
                self.run(LayerDraft::begin(build, &lock)?, build, &below, step)
            }
        }
    }

    fn run(self, draft: LayerDraft<'_>, build: &Build<'_>, below: &Below<'_>, step: Step) -> Result<Outcome> {
        let Self { index, planned, job, .. } = self;
        let (id, layers) = (printable(&planned.id), below.layers);
        let draft = draft.mount(&below.seen)?;
        let mut bench = Bench::new(build, layers, index, draft.root(), draft.stage(), &step)?;
        let code = build.codes[index].try_clone().context("cannot pass on a compiled plugin")?;
        let info = job.info.clone().with_code(code)?;
        bench.grant_network(&job.grants);
        let search = Search::new(self.secrets.values().copied());
        let (timeless, timed) = (self.timeless, self.timed);
        let run = Run {
            plugin: &info,
            grants: &job.grants,
            image: self.image,
            params: planned.params.clone(),
            assets: self.assets,
            secrets: self.secrets,
            limits: Limits::EXECUTE,
        };
        let engine = crate::plugin::engine()?;
        let kept = File::create(draft.stage().path().join(AUDIT_LOG)).context("cannot create the audit log")?;
        let told = write_audit_log(build, layers)?;
        let ended = execute(
            &engine,
            &run,
            &mut bench,
            &mut |plugin, level, line| log(&step, plugin, level, line),
            Some(Transcript::new(vec![kept, told])),
        );
        let look = |tree: &Path, error: &anyhow::Error| shell::on_failure(build, &below.seen, tree, &planned.id, error);
        let ended = match ended {
            Ok(ended) => ended,
            Err(error) => {
                drop(bench);
                look(&draft.unmount()?.tree(), &error);
                return Err(error);
            }
        };
        let key = |read_clock| if read_clock { &timed } else { &timeless };
        let report = match ended {
            RunEnd::Done(report) => report,
            RunEnd::Asks { request, read_clock } => {
                build.store.set_head(&asked_key(key(read_clock)), &request)?;
                step.done_with(&format!("starts again: {}", printable(&request.to_string())));
                return Ok(Outcome::Asks(request));
            }
        };
        let key = key(report.read_clock);
        let calls = report.calls;
        if let Some(moment) = report.first_call {
            build.ui.first_host_call(&planned.id, moment);
        }
        let tracker = bench.tracker().with_context(|| format!("cannot keep what the plugin `{id}` made"))?;
        step.note("comparing what changed with what was granted");
        let draft = draft.unmount()?;
        let tree = draft.tree();
        let (changes, leftovers) = below.changes(&tree, run.grants, &planned.id)?;
        let judged = change_review::judge(&planned.id, run.grants, changes, &tracker);
        let judged = judged.inspect_err(|error| look(&tree, error))?;
        change_review::drop_paths(&tree, &judged.dropped)?;
        change_review::drop_paths(&tree, &leftovers)?;
        change_review::check_secrets(&planned.id, &search, &tree, &draft.stage().path().join(AUDIT_LOG))?;
        let below = effects_below(layers, index);
        let effects: Vec<Effect> = below.into_iter().chain(judged.kept).collect();
        change_review::announce(&step, &planned.id, &effects);
        let Listing { effects, unlisted } = listing(effects);
        let granted =
            run.grants.held().map(|(capability, request)| (request.scope.to_string(), capability.to_string()));
        let packages = layers.packages.of_plugin(index).flat_map(|brought| &brought.packages);
        let report = PluginReport {
            id: planned.id.clone(),
            version: info.conf.version.clone(),
            digest: planned.digest.clone(),
            granted: granted.collect(),
            uses: report.uses,
            settings: report.settings,
            packages: packages.map(|package| package.name.clone()).collect(),
            wishes: archives(build.plan, &planned.id).chain(wishes(layers, index)).collect(),
            effects,
            unlisted,
        };
        step.note("committing");
        let layer = Layer { key: key.clone(), plugin: Some(report), ..Layer::default() };
        draft.commit(build, &layer, (Wrong::Later, layers.archive.epoch), &format!("Run the plugin {id}"))?;
        step.done_with(&count(calls, "host call"));
        let layer = build.finished(key).context("the layer that was just made is missing")?;
        Ok(Outcome::Layer(Box::new(layer)))
    }
}

/// Returns the effects of the package layers made for a plugin: of each path the last change, and everybody involved.
fn effects_below(layers: &Layers, index: usize) -> Vec<Effect> {
    let mut found: BTreeMap<&str, Effect> = BTreeMap::new();
    for effect in layers.packages.of_plugin(index).flat_map(|brought| &brought.effects) {
        let parts = found.remove(effect.change.path.as_str()).map(|earlier| earlier.by).unwrap_or_default();
        let by = effect.by.iter().cloned().chain(parts).collect();
        found.insert(&effect.change.path, Effect { by, ..effect.clone() });
    }
    found.into_values().collect()
}

/// Returns the plugin's wishes for package runs, packages aside.
fn wishes(layers: &Layers, index: usize) -> impl Iterator<Item = String> {
    let requests = layers.packages.of_plugin(index).map(|brought| &brought.request);
    requests.filter(|request| !matches!(request, PackageRequest::Install { .. })).map(ToString::to_string)
}

/// Returns the archives that it brings, which all layers of packages know.
fn archives(plan: &Plan, id: &str) -> impl Iterator<Item = String> {
    plan.given_keys.iter().filter(move |(_, given)| given.plugin == id).map(|(name, given)| {
        let repository = plan.release.repositories.iter().find(|repository| repository.name == *name);
        let uris = repository.map(|repository| repository.uris.join(" ")).unwrap_or_default();
        format!("Take packages from {name}, {uris}, signed with {}", given.fingerprints.join(", "))
    })
}

/// Returns the key under which it is remembered that a run ended with a package request.
fn asked_key(run: &str) -> String {
    key(&("asked for packages", run))
}

/// Writes anew, into the file that is to be found beside the image, what the plugins of the finished layers called, also
/// in a former build. The file is at its end then.
pub(super) fn write_audit_log(build: &Build<'_>, layers: &Layers) -> Result<File> {
    const FAILED: &str = "cannot write the audit log";
    let out = build.audit.as_ref().context(Failure::bug("a build has a file for the audit log"))?;
    let mut out = out.try_clone().context(FAILED)?;
    out.set_len(0).and_then(|()| std::io::Seek::rewind(&mut out)).context(FAILED)?;
    for layer in layers.stack.iter().filter(|layer| layer.plugin.is_some()) {
        File::open(build.store.layer(&layer.key).join(AUDIT_LOG))
            .and_then(|mut log| std::io::copy(&mut log, &mut out))
            .context(FAILED)?;
    }
    Ok(out)
}

/// Returns the secrets that the plugin may use and that were given.
fn secrets<'a>(build: &'a Build<'_>, grants: &GrantSet) -> BTreeMap<&'a str, &'a Secret> {
    let given = |(name, _)| build.secrets.get_key_value(name);
    grants.secrets().filter_map(given).map(|(name, secret)| (name.as_str(), secret)).collect()
}

/// Assets as open files, if the plugin can use any.
fn assets(build: &Build<'_>, job: &PluginJob) -> Result<BTreeMap<String, File>> {
    if !job.info.imports.iter().any(|import| import.name.ends_with("/assets")) {
        return Ok(BTreeMap::new());
    }
    // Each plugin reads through descriptors of its own: they share no position.
    build
        .assets
        .iter()
        .map(|(name, file)| Ok((name.clone(), file.try_clone().context("cannot open an asset")?)))
        .collect()
}

/// Digests of all assets, by name; each is read once in a build.
fn asset_digests<'a>(build: &'a Build<'_>) -> Result<&'a BTreeMap<String, String>> {
    if let Some(known) = build.asset_digests.get() {
        return Ok(known);
    }
    let digests = build.assets.iter().map(|(name, file)| Ok((name.clone(), digest(file)?))).collect::<Result<_>>()?;
    Ok(build.asset_digests.get_or_init(|| digests))
}

/// Computes the SHA-256 of a file in hexadecimal, without moving anybody's file position.
pub(super) fn digest(file: &File) -> Result<String> {
    use std::os::unix::fs::FileExt as _;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 20];
    let mut position = 0;
    loop {
        let length = file.read_at(&mut buffer, position).context("cannot read a file of the build")?;
        if length == 0 {
            return Ok(hex::encode(hash.finalize()));
        }
        hash.update(&buffer[..length]);
        position += u64::try_from(length).expect("a length fits 64 bits");
    }
}

/// Shows a line of a plugin; its own chatter only with `--verbose`.
fn log(step: &Step, plugin: &str, level: Level, line: &str) {
    let text = format!("{} | {line}", printable(plugin));
    match level {
        Level::Error | Level::Warn => step.warn(&text),
        Level::Info => step.line(&text),
        Level::Debug | Level::Trace => step.detail(&text),
    }
}
