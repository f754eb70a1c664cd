//! Makes layers of an image: the one way to make them, and those that piimg itself lays on others.
//!
//! A layer begins as a [`LayerDraft`], under a lock that its author holds. It is mounted, filled and unmounted; then it is
//! checked, given the archive's time, described and committed, all by [`UnmountedDraft::commit`]. No step can be left out:
//! each is reached through the one before it.

use std::fs;
use std::path::{Path, PathBuf};

use super::{Build, Layer, Layers};
use crate::error::{Context, Result};
use crate::report::Effect;
use crate::rootfs::layers::Mounted;
use crate::rootfs::packages::Package;
use crate::rootfs::times::{self, Wrong};
use crate::store::{Lock, Stage, remove_tree};
use crate::ui::Step;

/// A layer in the making. It is dropped whole unless it is committed.
#[derive(Debug)]
pub(super) struct LayerDraft<'a> {
    stage: Stage,
    /// Nobody else makes the same meanwhile.
    lock: &'a Lock,
}

impl<'a> LayerDraft<'a> {
    /// Begins a layer, while the author holds the lock of its key, or of the inputs from which the key follows.
    ///
    /// # Errors
    /// If the store's file system refuses.
    pub(super) fn begin(build: &Build<'_>, lock: &'a Lock) -> Result<Self> {
        Ok(Self { stage: build.store.stage()?, lock })
    }

    /// Returns the directory of the layer, for what lies beside its tree.
    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Mounts the layer's tree on top of others, the lowest first.
    ///
    /// # Errors
    /// If the kernel refuses.
    pub(super) fn mount(self, lowers: &[PathBuf]) -> Result<MountedDraft<'a>> {
        let mounted = mount(&self.stage, lowers)?;
        Ok(MountedDraft { mounted, stage: self.stage, lock: self.lock })
    }
}

/// A layer that is being filled.
#[derive(Debug)]
pub(super) struct MountedDraft<'a> {
    // Dropped before the stage is removed.
    mounted: Mounted,
    stage: Stage,
    lock: &'a Lock,
}

impl<'a> MountedDraft<'a> {
    /// Returns the root of the mounted tree.
    pub(super) fn root(&self) -> &Path {
        self.mounted.path()
    }

    /// Returns the directory of the layer, as [`LayerDraft::stage`].
    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Ends the filling.
    ///
    /// # Errors
    /// If the store's file system refuses.
    pub(super) fn unmount(self) -> Result<UnmountedDraft<'a>> {
        unmount(&self.stage, self.mounted)?;
        Ok(UnmountedDraft { stage: self.stage, _lock: self.lock })
    }
}

/// A layer that holds all that it is going to hold.
#[derive(Debug)]
pub(super) struct UnmountedDraft<'a> {
    stage: Stage,
    _lock: &'a Lock,
}

impl UnmountedDraft<'_> {
    /// Returns what the layer changes, as a directory of its own.
    pub(super) fn tree(&self) -> PathBuf {
        self.stage.path().join("fs")
    }

    /// Returns the directory of the layer, as [`LayerDraft::stage`].
    pub(super) fn stage(&self) -> &Stage {
        &self.stage
    }

    /// Checks the layer, settles its times by the archive's, describes it and gives it its place in the store.
    ///
    /// # Errors
    /// [`crate::error::Failure::build`] if it holds what no layer may, or if the store's file system refuses.
    pub(super) fn commit(
        self,
        build: &Build<'_>,
        layer: &Layer,
        (wrong, epoch): (Wrong, u64),
        title: &str,
    ) -> Result<()> {
        let tree = self.tree();
        build.emulation.check_layer(&tree)?;
        times::clamp(&tree, wrong, epoch)?;
        write_description(&self.stage, layer)?;
        self.stage.commit_layer(&layer.key, title).context("cannot keep a layer")?;
        build.has_layers.set(true);
        Ok(())
    }
}

/// Writes what the layer is, beside its tree.
fn write_description(stage: &Stage, layer: &Layer) -> Result<()> {
    let text = serde_json::to_vec_pretty(layer).context("cannot describe a layer")?;
    fs::write(stage.path().join("layer.json"), text).context("cannot describe a layer")
}

/// Makes the directories of an overlay in a stage and mounts `lowers` below them.
pub(crate) fn mount(stage: &Stage, lowers: &[PathBuf]) -> Result<Mounted> {
    let (upper, work, empty) = (stage.path().join("fs"), stage.path().join("work"), stage.path().join("empty"));
    for directory in [&upper, &work, &empty] {
        // What was imported is there already.
        fs::create_dir_all(directory).context("cannot prepare a layer")?;
    }
    let mut all = vec![empty];
    all.extend_from_slice(lowers);
    Mounted::new(&all, &upper, &work)
}

/// Mounts a new layer on finished ones, for steps that install or remove packages. Returns the layers below, the lowest
/// first, and the mount.
pub(super) fn mount_above(
    build: &Build<'_>,
    layers: &Layers,
    stage: &Stage,
    step: &Step,
) -> Result<(Vec<PathBuf>, Mounted)> {
    let mut lowers = build.below_packages(step)?;
    lowers.extend(build.trees(&layers.stack));
    let mounted = mount(stage, &lowers)?;
    Ok((lowers, mounted))
}

/// Removes what the mount of [`mount`] needed beside the tree.
pub(crate) fn unmount(stage: &Stage, mounted: Mounted) -> Result<()> {
    drop(mounted);
    remove_tree(&stage.path().join("work"))?;
    remove_tree(&stage.path().join("empty"))
}

/// Position of a new layer.
#[derive(Debug)]
pub(super) struct Place<'a> {
    /// The mounted root file system.
    pub(super) root: &'a Path,
    /// The layers below, the lowest first.
    pub(super) lowers: &'a [PathBuf],
    pub(super) stage: &'a Stage,
    pub(super) step: &'a Step,
}

/// Record of a layer's content.
#[derive(Debug, Default)]
pub(super) struct Content {
    /// Packages that the layer installed.
    pub(super) packages: Vec<Package>,
    /// Packages that the layer removed or replaced by another version.
    pub(super) gone: Vec<Package>,
    /// Notable changes.
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
    let lock = build.store.lock(key)?;
    if let Some(layer) = build.finished(key) {
        step.done_with("unchanged, from the store");
        return Ok(layer);
    }
    let mut lowers = build.below_packages(&step)?;
    lowers.extend(build.trees(&layers.stack));
    let draft = LayerDraft::begin(build, &lock)?.mount(&lowers)?;
    let title = step.title().to_owned();
    let content = make(&Place { root: draft.root(), lowers: &lowers, stage: draft.stage(), step: &step })?;
    let draft = draft.unmount()?;
    // Packages that were offered to apt.
    remove_tree(&draft.stage().path().join("archives"))?;
    let Content { packages, gone, notable, made, changed } = content;
    let layer = Layer { key: key.to_owned(), packages, gone, notable, made, changed, ..Layer::default() };
    draft.commit(build, &layer, (Wrong::Later, layers.archive.epoch), &title)?;
    step.done();
    Ok(layer)
}
