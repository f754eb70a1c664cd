//! Implements `assets`: files that the user hands over by name.

use super::blobs::Blob;
use super::{Answer, Session};
use crate::plugin::capability::Need;
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::ui::printable;

impl Session<'_> {
    pub(super) fn asset_names(&self) -> Vec<String> {
        let allowed = |name: &&String| self.grants.allows(&need(name)).is_ok();
        self.assets.keys().filter(allowed).cloned().collect()
    }

    pub(super) fn asset_open(&mut self, name: &str) -> Answer<u32> {
        self.gate(&need(name))?;
        let file = self.assets.get(name).ok_or_else(|| {
            CallError::new(ErrorCode::NotFound, format!("no file was given for the asset `{}`", printable(name)))
        })?;
        let file = file
            .try_clone()
            .map_err(|error| CallError::new(ErrorCode::Io, format!("cannot open the asset: {error}")))?;
        self.blobs.add(Blob::file(file)?)
    }
}

/// Returns what opening `name` needs: the files of a directory are one asset, called by the first part of their names.
fn need(name: &str) -> Need {
    Need::Asset(name.split('/').next().unwrap_or_default().to_owned())
}
