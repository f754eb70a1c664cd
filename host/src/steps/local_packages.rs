//! Adds packages that the recipe brings as files to the lists of the archives: apt chooses among both, and a lock holds both.
//!
//! They stand in a layer of their own on the base, which has no files, only lists: images of other recipes share the base.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;

use sha2::{Digest as _, Sha256};

use super::base::{INDEX, LISTS, ORIGINS};
use super::layer::LayerDraft;
use super::{Build, Layer, Layers};
use crate::error::{Context as _, Failure, Result};
use crate::recipe::local_package::LocalPackage;
use crate::rootfs::packages;
use crate::rootfs::times::Wrong;
use crate::store::{key, remove_tree};
use crate::ui::printable;

/// Lays the layer on those that are there, if the recipe brings packages.
///
/// # Errors
/// If a file is not the one that was planned any more, or the store refuses.
pub(super) fn lay(build: &Build<'_>, layers: &mut Layers) -> Result<()> {
    let local = &build.plan.local_packages;
    if local.is_empty() {
        return Ok(());
    }
    for package in local {
        let failed = || Failure::build(format!("cannot use the package `{}`", printable(&package.shown)));
        keep(build, package).with_context(failed)?;
    }
    let stanzas: Vec<&str> = local.iter().map(|package| package.stanza.as_str()).collect();
    let key = key(&("packages of the recipe", layers.top(), stanzas));
    let layer = ensure(build, layers, &key)?;
    let directory = build.store.layer(&layer.key);
    let archive = &mut layers.archive;
    (archive.lists, archive.origins, archive.index) =
        (directory.join(LISTS), directory.join(ORIGINS), directory.join(INDEX));
    layers.stack.push(layer);
    Ok(())
}

/// Keeps the file among the packages of the store.
fn keep(build: &Build<'_>, package: &LocalPackage) -> Result<()> {
    let place = build.store.archives().join(&package.digest);
    let mut file: &File = build.local_files.get(&package.digest).context(Failure::bug("the job has no such file"))?;
    let length = file.metadata()?.len();
    if fs::metadata(&place).is_ok_and(|metadata| metadata.len() == length) {
        return Ok(());
    }
    file.rewind()?;
    let stage = build.store.stage()?;
    let fresh = stage.path().join("package");
    let mut copy = File::create(&fresh)?;
    let mut hash = Sha256::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        let count = file.read(&mut buffer)?;
        if count == 0 {
            break;
        }
        hash.update(&buffer[..count]);
        copy.write_all(&buffer[..count])?;
    }
    anyhow::ensure!(hex::encode(hash.finalize()) == package.digest, "it was changed while the build ran: build again");
    copy.set_permissions(fs::Permissions::from_mode(0o644))?;
    Ok(fs::rename(&fresh, &place)?)
}

/// Finds or makes the layer.
fn ensure(build: &Build<'_>, layers: &Layers, key: &str) -> Result<Layer> {
    let lock = build.store.lock(key)?;
    let local = &build.plan.local_packages;
    let step = build.ui.step("Add the recipe's own packages to the lists");
    if let Some(layer) = build.finished(key) {
        step.done_with("unchanged, from the store");
        return Ok(layer);
    }
    let mut lowers = build.below_packages(&step)?;
    lowers.extend(build.trees(&layers.stack));
    let draft = LayerDraft::begin(build, &lock)?.mount(&lowers)?;
    let beside = draft.stage().path();
    let (lists, archive) = (beside.join(LISTS), &layers.archive);
    packages::add_local(&archive.lists, &archive.origins, &lists, local)?;
    fs::copy(&archive.origins, beside.join(ORIGINS)).context("cannot keep where the package lists are from")?;
    packages::index(&archive.apt, draft.root(), &lists, &beside.join(INDEX))?;
    let draft = draft.unmount()?;
    // What apt needed for a moment is not the image's.
    let tree = draft.tree();
    remove_tree(&tree)?;
    fs::create_dir(&tree).context("cannot prepare a layer")?;
    let layer = Layer { key: key.to_owned(), ..Layer::default() };
    draft.commit(build, &layer, (Wrong::Later, archive.epoch), "Add the recipe's own packages to the lists")?;
    step.done_with(&crate::ui::count(local.len(), "package"));
    Ok(layer)
}
