//! Files whose places the host functions choose: a capability that names a key, a unit or a user says nothing of
//! paths, so no link of the image may make another file of them.

use super::{Answer, Session};
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::rootfs::files::{Attrs, FileErrorCode, FileKind, ImagePath, Metadata};
use crate::rootfs::text;
use crate::ui::printable;

impl Session<'_> {
    /// Returns the metadata of the entry at the path itself, reached without following a link.
    pub(super) fn own_entry(&self, path: &ImagePath) -> Answer<Option<Metadata>> {
        match self.bench.rootfs().resolve_entry(path) {
            Ok(place) if place == *path => Ok(self.bench.rootfs().metadata(path)?),
            Ok(place) => Err(CallError::new(
                ErrorCode::Invalid,
                format!("`{}` is really `{}`: a link is in the way", path.as_str(), printable(place.as_str())),
            )),
            Err(error) if error.code == FileErrorCode::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the directories above the path that are missing; those that exist must be directories themselves.
    pub(super) fn make_parents(&self, path: &ImagePath, attrs: Attrs) -> Answer<()> {
        let Some(parent) = path.parent() else { return Ok(()) };
        match self.own_entry(&parent)? {
            Some(metadata) if metadata.kind == FileKind::Directory => Ok(()),
            Some(_) => {
                let message = format!("`{}` is no directory", printable(parent.as_str()));
                Err(CallError::new(ErrorCode::NotADirectory, message))
            }
            None => {
                self.make_parents(&parent, attrs)?;
                Ok(self.bench.rootfs().make_dir(&parent, attrs)?)
            }
        }
    }

    /// Returns the text of the file at the path, if there is one.
    pub(super) fn own_text(&self, path: &ImagePath, limit: u64) -> Answer<Option<String>> {
        let Some(metadata) = self.own_entry(path)? else { return Ok(None) };
        let is_not = |code, what: &str| CallError::new(code, format!("`{}` is no {what}", printable(path.as_str())));
        if metadata.kind != FileKind::File {
            return Err(is_not(ErrorCode::NotAFile, "regular file"));
        }
        let data = self.bench.rootfs().read(path, limit)?;
        Ok(Some(text::decode(&data)))
    }
}
