//! Assembles the layers below a running plugin. Build-only packages add to those below its layer in the image.
//!
//! What a plugin changed is judged by what its layer means where those are not. Of their own files nothing stays, unless
//! the plugin was granted to write there.

use std::path::{Path, PathBuf};

use super::{Build, Layer, Layers, change_review};
use crate::error::{Failure, Result};
use crate::plugin::grant::GrantSet;
use crate::rootfs::changes::{Change, ChangeKind, changes};
use crate::rootfs::files::{FileErrorCode, ImagePath, Rootfs};
use crate::rootfs::layers::Mounted;
use crate::ui::{Step, printable};

/// Made of what else is there, by a program that a plugin may run: nothing is lost if it tells of more.
const MADE_ANEW: [&str; 1] = ["/etc/ld.so.cache"];

/// The layers below a plugin.
pub(super) struct Below<'a> {
    pub(super) layers: &'a Layers,
    /// The trees that it sees, the lowest first.
    pub(super) seen: Vec<PathBuf>,
    tools: Option<Tools>,
}

/// Layers that the image will not have.
struct Tools {
    /// Their layer alone.
    tree: Rootfs,
    /// The layers above theirs, which may hide what they have.
    above: Vec<Rootfs>,
    /// Layers that the image has, the lowest first.
    kept: Vec<PathBuf>,
}

impl<'a> Below<'a> {
    /// Makes the layers. `tools` lies on the layers of `packages`, which are the lowest ones of `layers`.
    pub(super) fn new(
        build: &Build<'_>,
        packages: &Layers,
        layers: &'a Layers,
        tools: Option<&Layer>,
        step: &Step,
    ) -> Result<Self> {
        let beneath = build.below(step)?;
        let trees = build.trees(&layers.stack);
        let kept = [&beneath[..], &trees].concat();
        let Some(tools) = tools else { return Ok(Self { layers, seen: kept, tools: None }) };
        let (of_packages, above) = trees.split_at(packages.stack.len());
        let tools = build.trees(std::slice::from_ref(tools));
        let seen = [&beneath[..], of_packages, &tools, above].concat();
        let open = |tree: &PathBuf| Rootfs::open(tree, 0);
        let above = above.iter().map(open).collect::<Result<_, _>>()?;
        Ok(Self { layers, seen, tools: Some(Tools { tree: open(&tools[0])?, above, kept }) })
    }

    /// Returns the changes that the finished upper directory `upper` makes to the image, and the remains of build-only
    /// packages in it, relative to the tree, each directory before its content.
    pub(super) fn changes(&self, upper: &Path, grants: &GrantSet, id: &str) -> Result<(Vec<Change>, Vec<PathBuf>)> {
        let kept = self.tools.as_ref().map_or(&self.seen, |tools| &tools.kept);
        let found = {
            let before = Mounted::read_only(kept)?;
            let after = Mounted::read_only(&[&kept[..], &[upper.to_owned()]].concat())?;
            changes(upper, before.path(), after.path())?
        };
        self.tools.as_ref().map_or(Ok((found.clone(), Vec::new())), |tools| tools.sort(found, grants, id))
    }
}

impl Tools {
    fn sort(&self, found: Vec<Change>, grants: &GrantSet, id: &str) -> Result<(Vec<Change>, Vec<PathBuf>)> {
        let (mut judged, mut leftovers, mut mixed) = (Vec::new(), Vec::new(), Vec::new());
        for change in found {
            let is_theirs = self.have(&change)?;
            if is_theirs && change.kind == ChangeKind::Added && !change_review::is_granted(grants, &change) {
                leftovers.push(change.place);
                continue;
            }
            if is_theirs && matches!(change.kind, ChangeKind::Changed(_)) && !change.directory {
                mixed.extend((!MADE_ANEW.contains(&change.path.as_str())).then(|| change.path.clone()));
            }
            judged.push(change);
        }
        let Some(first) = mixed.first() else { return Ok((judged, leftovers)) };
        let text = format!(
            "the plugin `{}` changed {} that the packages it is built with had changed, such as `{}`",
            printable(id),
            crate::ui::count(mixed.len(), "file"),
            printable(first)
        );
        Err(Failure::plugin(text)
            .hint("its author must list in conf() what the image is to have, and build with the rest alone")
            .into())
    }

    /// Returns whether the plugin saw their file at that path.
    fn have(&self, change: &Change) -> Result<bool> {
        if change.unreadable {
            return Ok(false);
        }
        let path = ImagePath::parse(&change.path)?;
        let is_in = |tree: &Rootfs| match tree.metadata(&path) {
            Ok(found) => Ok(found.is_some()),
            Err(error) if matches!(error.code, FileErrorCode::NotFound | FileErrorCode::NotADirectory) => Ok(false),
            Err(error) => Err(error),
        };
        if !is_in(&self.tree)? {
            return Ok(false);
        }
        let hidden = self.above.iter().map(is_in).collect::<Result<Vec<_>, _>>()?;
        Ok(change.directory || !hidden.contains(&true))
    }
}
