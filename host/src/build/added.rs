//! The recipe's own packages on an imported base: a layer of their own. A bootstrap has them from the start.

use serde::Serialize;

use super::{Build, Layer, Layers, above};
use crate::error::Result;
use crate::store::{Stage, key};

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    below: &'a str,
    packages: &'a [String],
    epoch: u64,
}

/// The layer, if the build has one.
pub(super) fn ensure(build: &Build<'_>, layers: &Layers) -> Result<Option<Layer>> {
    let packages = &build.plan.packages;
    if build.base.is_none() || packages.is_empty() {
        return Ok(None);
    }
    let below = &layers.stack.last().expect("the base layer is there").key;
    let key = key(&Inputs { step: "packages", below, packages, epoch: layers.epoch });
    let title = format!("Install {}", packages.join(", "));
    let install = |root: &_, stage: &Stage, step: &_| layers.archive.install(root, stage.path(), packages, false, step);
    above::ensure(build, layers, &key, title, install).map(Some)
}
