//! A layer that piimg itself lays on those that are there.

use std::path::Path;

use super::base::{mount_above, unmount, write_description};
use super::{Build, Layer, Layers};
use crate::error::{Context, Result};
use crate::rootfs::packages::Package;
use crate::store::{Stage, remove_tree};
use crate::ui::Step;

/// Finds the layer of that key, or has `make` make it in the mounted root file system; `make` returns what it installed.
pub(super) fn ensure(
    build: &Build<'_>,
    layers: &Layers,
    key: &str,
    title: String,
    make: impl FnOnce(&Path, &Stage, &Step) -> Result<Vec<Package>>,
) -> Result<Layer> {
    let _lock = build.store.lock(key)?;
    let step = build.ui.step(title);
    if let Some(layer) = build.finished(key) {
        step.done_with("unchanged, from the store");
        return Ok(layer);
    }
    let stage = build.store.stage()?;
    let (_, mounted) = mount_above(build, layers, &stage, &step)?;
    let packages = make(mounted.path(), &stage, &step)?;
    unmount(&stage, mounted)?;
    build.emulation.check_layer(&stage.path().join("fs"))?;
    // Packages that were offered to apt.
    remove_tree(&stage.path().join("archives"))?;
    let layer = Layer { key: key.to_owned(), packages, plugin: None };
    write_description(&stage, &layer)?;
    stage.commit(&build.store.layer(key)).context("cannot keep a layer")?;
    step.done();
    Ok(layer)
}
