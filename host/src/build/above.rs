//! A layer that piimg itself lays on those that are there.

use std::path::{Path, PathBuf};

use super::base::{mount_above, unmount, write_description};
use super::{Build, Layer, Layers};
use crate::error::{Context, Result};
use crate::report::Effect;
use crate::rootfs::packages::Package;
use crate::rootfs::times::{self, Wrong};
use crate::store::{Stage, remove_tree};
use crate::ui::Step;

/// Where a layer is made.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The mounted root file system.
    pub(super) root: &'a Path,
    /// What lies below the layer, the lowest first.
    pub(super) lowers: &'a [PathBuf],
    pub(super) stage: &'a Stage,
    pub(super) step: &'a Step,
}

/// What a layer is known to hold.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// What was installed.
    pub(super) packages: Vec<Package>,
    /// What was there and is not any more, or not in this version.
    pub(super) gone: Vec<Package>,
    /// What always deserves a look.
    pub(super) notable: Vec<Effect>,
    /// Paths that piimg made, and of which it changed something.
    pub(super) made: Vec<String>,
    pub(super) changed: Vec<String>,
}

/// Finds the layer of that key, or has `make` make it.
pub(super) fn ensure(
    build: &Build<'_>,
    layers: &Layers,
    key: &str,
    step: Step,
    make: impl FnOnce(&Place<'_>) -> Result<Content>,
) -> Result<Layer> {
    let _lock = build.store.lock(key)?;
    if let Some(layer) = build.finished(key) {
        step.done_with("unchanged, from the store");
        return Ok(layer);
    }
    let stage = build.store.stage()?;
    let (lowers, mounted) = mount_above(build, layers, &stage, &step)?;
    let title = step.title().to_owned();
    let content = make(&Place { root: mounted.path(), lowers: &lowers, stage: &stage, step: &step })?;
    unmount(&stage, mounted)?;
    let tree = stage.path().join("fs");
    build.emulation.check_layer(&tree)?;
    // Packages that were offered to apt.
    remove_tree(&stage.path().join("archives"))?;
    times::settle(&tree, Wrong::Later, layers.archive.epoch)?;
    let Content { packages, gone, notable, made, changed } = content;
    let layer = Layer { key: key.to_owned(), packages, gone, notable, made, changed, plugin: None };
    write_description(&stage, &layer)?;
    stage.commit(&build.store.layer(key), &title).context("cannot keep a layer")?;
    step.done();
    Ok(layer)
}
