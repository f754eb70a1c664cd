//! Plugin layers: packages, then `execute()`, on a fresh upper directory that is committed whole or dropped.

use std::collections::BTreeMap;
use std::fs::File;

use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::base::{mount_above, unmount, write_description};
use super::effects;
use super::workbench::Bench;
use super::{Build, Layer, Layers, PluginJob};
use crate::error::{Context, Failure, Result};
use crate::plugin::grant::{GrantSet, Granted};
use crate::plugin::policy::Bound;
use crate::plugin::run::{Run, execute};
use crate::plugin::transcript::Transcript;
use crate::plugin::{ImageInfo, Level, Limits};
use crate::report::{Listing, PluginReport, listing};
use crate::rootfs::changes::changes;
use crate::rootfs::files::Rootfs;
use crate::rootfs::layers::Mounted;
use crate::sandbox::private::adopt_fd;
use crate::secret::Secret;
use crate::secret::leak::Search;
use crate::store::{Stage, key};
use crate::ui::{Step, printable};

/// What the plugin called, in its layer beside the tree.
const AUDIT_LOG: &str = "audit.jsonl";

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    below: &'a str,
    plugin: &'a str,
    packages: &'a [String],
    params: &'a BTreeMap<String, String>,
    granted: &'a [String],
    /// What each policy allows the plugin.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    limits: Vec<Vec<Bound>>,
    image: &'a ImageInfo,
    /// Name and digest.
    assets: BTreeMap<&'a str, String>,
    /// Name and fingerprint of those that it may use.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    secrets: BTreeMap<&'a str, &'a str>,
}

pub(super) fn ensure(build: &Build<'_>, layers: &Layers, index: usize, job: &PluginJob) -> Result<Layer> {
    let planned = &build.plan.plugins[index];
    let image = ImageInfo {
        architecture: build.plan.architecture.clone(),
        distribution: build.plan.release.distribution.clone(),
        release: build.plan.release.name.clone(),
        hostname: build.plan.hostname.clone(),
        flavour: build.plan.flavour.clone(),
        epoch: layers.epoch,
    };
    let granted = Granted { scopes: job.granted.clone(), ceiling: build.ceiling.clone(), ..Granted::default() };
    let grants = GrantSet::new(&job.info, &planned.params, &granted)?;
    let secrets = secrets(build, &grants);
    let assets = assets(build, job)?;
    let limits = build.ceiling.limits(&planned.id, &planned.digest);
    let inputs = Inputs {
        step: "plugin, judged by its effects and calls, with its settings",
        below: &layers.stack.last().expect("the base layer is there").key,
        plugin: &planned.digest,
        packages: &planned.packages,
        params: &planned.params,
        granted: &job.granted,
        limits: limits.into_iter().map(|limit| limit.allow).collect(),
        image: &image,
        assets: assets.iter().map(|(name, file)| Ok((name.as_str(), digest(file)?))).collect::<Result<_>>()?,
        secrets: secrets.iter().map(|(name, secret)| (*name, secret.fingerprint())).collect(),
    };
    let key = key(&inputs);
    let _lock = build.store.lock(&key)?;
    let step = build.ui.step(format!("Run the plugin {}", printable(&planned.id)));
    if let Some(layer) = build.finished(&key) {
        step.done_with("unchanged, from the store");
        return Ok(layer);
    }
    let stage = build.store.stage()?;
    let (lowers, mounted) = mount_above(build, layers, &stage, &step)?;
    let rootfs = Rootfs::open(mounted.path(), layers.epoch)?;
    let mut bench = Bench::new(
        mounted.path(),
        &stage,
        &build.store,
        rootfs,
        &layers.archive,
        &build.authorities,
        layers.epoch,
        &step,
        &planned.id,
        build.plan.limits,
    );
    if !planned.packages.is_empty() {
        bench
            .install(&planned.packages, false)
            .with_context(|| format!("cannot install what `{}` lists", printable(&planned.id)))?;
    }
    let info = job.info.clone().with_code(adopt_fd(job.code)?.into())?;
    bench.grant_network(&grants);
    let search = Search::new(secrets.values().copied());
    let params = planned.params.clone();
    let run = Run { plugin: &info, grants: &grants, image, params, assets, secrets, limits: Limits::EXECUTE };
    let engine = crate::plugin::engine()?;
    let kept = File::create(stage.path().join(AUDIT_LOG)).context("cannot create the audit log")?;
    let told = write_audit_log(build, layers)?;
    let report = execute(
        &engine,
        &run,
        &mut bench,
        &mut |plugin, level, line| log(&step, plugin, level, line),
        Some(Transcript::new(vec![kept, told])),
    )?;
    let calls = report.calls;
    if let Some(moment) = report.first_call {
        build.ui.event("first host call", Some(&planned.id), moment);
    }
    let packages = bench.packages();
    let tracker =
        bench.tracker().with_context(|| format!("cannot keep what the plugin `{}` made", printable(&planned.id)))?;
    step.note("comparing what changed with what was granted");
    let judged = {
        let before = Mounted::read_only(&lowers)?;
        let changes = changes(&stage.path().join("fs"), before.path(), mounted.path())?;
        effects::judge(&planned.id, &grants, changes, &tracker)?
    };
    unmount(&stage, mounted)?;
    effects::drop_paths(&stage.path().join("fs"), &judged.dropped)?;
    effects::check_secrets(&planned.id, &search, &stage.path().join("fs"), &stage.path().join(AUDIT_LOG))?;
    effects::announce(&step, &planned.id, &judged.kept);
    let effects = judged.kept.into_iter().filter(|it| !it.is_of_packages() || it.notable().next().is_some()).collect();
    let Listing { effects, unlisted } = listing(effects);
    let report = PluginReport {
        id: planned.id.clone(),
        version: info.conf.version.clone(),
        digest: planned.digest.clone(),
        granted: grants.held().map(|(capability, request)| (request.scope.clone(), capability.to_string())).collect(),
        uses: report.uses,
        settings: report.settings,
        packages: packages.iter().map(|package| package.name.clone()).collect(),
        effects,
        unlisted,
    };
    let layer = Layer { key: key.clone(), packages, plugin: Some(report) };
    commit(build, stage, &layer, &step)?;
    step.done_with(&format!("{calls} host calls"));
    build.finished(&key).context("the layer that was just made is missing")
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

fn commit(build: &Build<'_>, stage: Stage, layer: &Layer, step: &Step) -> Result<()> {
    build.emulation.check_layer(&stage.path().join("fs"))?;
    crate::store::remove_tree(&stage.path().join("archives"))?;
    step.note("committing");
    write_description(&stage, layer)?;
    stage.commit(&build.store.layer(&layer.key))
}

/// The secrets that the plugin may use and that were given.
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

/// SHA-256 of a file, in hexadecimal digits; nobody's position in it is moved.
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
