//! Ends a build's use of the store: records what it depends on, and removes what exceeds the limit.

use std::fs::File;
use std::io::Write as _;

use super::output_job::Taken;
use super::{Build, Job, Layers};
use crate::error::{Context, Failure, Result, with_cause, with_hint};
use crate::rootfs::packages::file_name;
use crate::sandbox::process;
use crate::store::{Damaged, Kind, Record, key, now};
use crate::ui::{Printable as _, bytes};

/// Bytes with which nothing more can be written: a file system keeps some for itself.
const NOTHING: u64 = 16 << 20;

/// Remembers what the finished build stands on, and tells the user's process what it took of the disk.
pub(super) fn remember(build: &Build<'_>, layers: &Layers, partitions: &str, job: &Job) -> Result<()> {
    let keys = layers.stack.iter().map(|layer| layer.key.clone());
    let store = &build.store;
    let size = |key: &String| store.size_of(Kind::Layer, key).unwrap_or_default();
    let all: u64 = keys.clone().map(|key| size(&key)).sum();
    let taken = Taken {
        base: layers.stack.first().map_or(0, |layer| size(&layer.key)),
        partitions: store.size_of(Kind::Partitions, partitions).unwrap_or(all),
    };
    let text = serde_json::to_vec(&taken).context("cannot describe what the build took")?;
    File::from(process::adopt_fd(job.taken)?).write_all(&text).context("cannot tell what the build took")?;
    let file = |(name, package): (&String, &crate::recipe::locked::LockedPackage)| {
        let (name, architecture) = name.split_once(':').unwrap_or((name, ""));
        let digest = package.digest.trim_start_matches("sha256:").to_owned();
        (digest, file_name(name, &package.version, architecture))
    };
    let record = Record {
        name: job.name.clone(),
        built: now(),
        layers: keys.chain(layers.tools.iter().cloned()).chain(build.emulation.tools_key(build.archives())).collect(),
        partitions: Some(partitions.to_owned()),
        packages: layers.chosen.iter().chain(&layers.built_with).map(file).collect(),
    };
    store.remember(&record)
}

/// Returns the key under which it is remembered where the last build of that name failed.
fn failure_key(name: &str) -> String {
    key(&("where the last build failed", name))
}

/// Says where the last build failed, if it did.
pub(super) fn tell_of_failure(build: &Build<'_>, name: &str) {
    if let Some(step) = build.store.head::<Option<String>>(&failure_key(name)).flatten() {
        build.ui.info(&format!(
            "goes on where the last build failed, at `{step}`: layers before it that are unchanged are kept"
        ));
    }
}

/// Remembers where a build failed, or that it did not; and says so, where the next one need not begin anew.
pub(super) fn note_failure(build: &Build<'_>, name: &str, result: Result<()>) -> Result<()> {
    let key = failure_key(name);
    // At worst the next build says too little, or too much.
    match (&result, build.ui.failed_step().filter(|_| build.has_layers.get())) {
        (Err(error), Some(step)) if !error.is::<Damaged>() => {
            build.store.set_head(&key, &Some(&step)).ok();
            let hint = format!("the layers before `{step}` are kept: the next build goes on there");
            result.map_err(|error| with_hint(error, hint))
        }
        (Ok(()), _) if build.store.head::<Option<String>>(&key).flatten().is_some() => {
            build.store.set_head(&key, &None::<String>).ok();
            result
        }
        _ => result,
    }
}

/// Removes from the store what is beyond its limit. The image does not depend on it: what goes wrong is told, and no more.
pub(super) fn tidy(build: &Build<'_>, limit: Option<u64>) {
    let Some(limit) = limit else { return };
    match build.store.tidy(limit, false) {
        Ok(tidied) if tidied.removed.is_empty() => {}
        Ok(tidied) => build.ui.info(&format!(
            "removed {} from the store, which has {} of at most {} now",
            bytes(tidied.freed()),
            bytes(tidied.left),
            bytes(limit)
        )),
        Err(error) => build.ui.warn(&format!("cannot keep the store within its limit: {error:#}")),
    }
}

/// Returns the error of a build; one that had no room left in the store says so. `needs` is what is known of its needs.
pub(super) fn explain(build: &Build<'_>, needs: &str, error: anyhow::Error) -> anyhow::Error {
    let least = build.store.least_free().filter(|least| *least < NOTHING);
    let said = format!("{error:#}");
    let is_full = said.contains("os error 28") || said.contains("No space left on device");
    let Some(least) = least.filter(|_| is_full || error.downcast_ref::<Failure>().is_none()) else { return error };
    let now = build.store.free().unwrap_or_default();
    with_cause(
        error,
        Failure::host(format!(
            "the disk of the store `{}` was full: only {} were free on it while the build worked{needs}; {} are free now \
             that what it had begun is removed",
            build.plan.store.shown().printable(),
            bytes(least),
            bytes(now)
        ))
        .hint("make room: `piimg cache gc` removes what builds do not need; or choose another place with --store"),
    )
}
