//! Implements `fs`: files of the image. A call resolves its path within the image, has the resolved path authorized,
//! and works on exactly that path. No process runs in the image meanwhile.

use super::blobs::{Blob, check_size};
use super::{Answer, Session};
use crate::plugin::capability::Need;
use crate::plugin::protocol::{FileAttrs, FileKind, Metadata, Owner};
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::rootfs::accounts::Accounts;
use crate::rootfs::files::{self, Attrs, FileError, FileErrorCode, ImagePath};
use crate::ui::printable;

/// Most entries of a directory that are told.
const MAX_ENTRIES: usize = 100_000;

const NEW_FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };
const NEW_DIRECTORY: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };

impl From<FileError> for CallError {
    fn from(error: FileError) -> Self {
        let code = match error.code {
            FileErrorCode::NotFound => ErrorCode::NotFound,
            FileErrorCode::Exists => ErrorCode::Exists,
            FileErrorCode::NotAFile => ErrorCode::NotAFile,
            FileErrorCode::NotADirectory => ErrorCode::NotADirectory,
            FileErrorCode::Invalid => ErrorCode::Invalid,
            FileErrorCode::Limit => ErrorCode::Limit,
            FileErrorCode::Io => ErrorCode::Io,
        };
        Self::new(code, error.to_string())
    }
}

/// Whether a link at the end of a path is followed.
#[derive(Clone, Copy)]
pub(super) enum FinalLink {
    Follow,
    Keep,
}

type ToNeed = fn(String) -> Need;

impl Session<'_> {
    /// Resolves a path inside the image and authorizes the resolved path. A path that cannot be resolved is authorized
    /// as written, so that the error does not reveal what exists where the plugin may not look.
    pub(super) fn resolve_authorized(&mut self, path: &str, last: FinalLink, needs: &[ToNeed]) -> Answer<ImagePath> {
        let path = ImagePath::parse(path)?;
        let resolved = match last {
            FinalLink::Follow => self.bench.rootfs().resolve(&path),
            FinalLink::Keep => self.bench.rootfs().resolve_entry(&path),
        };
        let asked = resolved.as_ref().unwrap_or(&path);
        for need in needs {
            self.gate(&need(asked.as_str().to_owned()))?;
        }
        Ok(resolved?)
    }

    pub(super) fn stat(&mut self, path: &str) -> Answer<Option<Metadata>> {
        let place = match self.resolve_authorized(path, FinalLink::Keep, &[Need::fs_read]) {
            Ok(place) => place,
            Err(error) if matches!(error.code, ErrorCode::NotFound | ErrorCode::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let Some(metadata) = self.bench.rootfs().metadata(&place)? else {
            return Ok(None);
        };
        let accounts = Accounts::read(self.bench.rootfs())?;
        let Attrs { mode, uid, gid } = metadata.attrs;
        let user = accounts.user_name(uid).map_or_else(|| uid.to_string(), str::to_owned);
        let group = accounts.group_name(gid).map_or_else(|| gid.to_string(), str::to_owned);
        let attrs = FileAttrs { mode, user, group };
        Ok(Some(Metadata { kind: metadata.kind.into(), size: metadata.size, attrs, target: metadata.target }))
    }

    pub(super) fn read(&mut self, path: &str) -> Answer<u32> {
        let place = self.resolve_authorized(path, FinalLink::Follow, &[Need::fs_read])?;
        let file = self.bench.rootfs().open_file(&place)?;
        self.blobs.add(Blob::file(file)?)
    }

    pub(super) fn list_dir(&mut self, path: &str) -> Answer<Vec<(String, FileKind)>> {
        let place = self.resolve_authorized(path, FinalLink::Follow, &[Need::fs_read])?;
        let entries = self.bench.rootfs().list_dir(&place)?;
        if entries.len() > MAX_ENTRIES {
            return Err(CallError::new(
                ErrorCode::Limit,
                format!("`{}` has more than {MAX_ENTRIES} entries", printable(path)),
            ));
        }
        Ok(entries.into_iter().map(|(name, kind)| (name, kind.into())).collect())
    }

    pub(super) fn write(&mut self, path: &str, data: &[u8], attrs: Option<&FileAttrs>) -> Answer<()> {
        check_size(data)?;
        let place = self.resolve_authorized(path, FinalLink::Follow, &[Need::fs_write])?;
        let attrs = self.attrs_for(&place, attrs)?;
        Ok(self.bench.rootfs().write(&place, data, attrs)?)
    }

    pub(super) fn install(&mut self, blob: u32, dest: &str, attrs: Option<&FileAttrs>) -> Answer<()> {
        let place = self.resolve_authorized(dest, FinalLink::Follow, &[Need::fs_write])?;
        let attrs = self.attrs_for(&place, attrs)?;
        match self.blobs.get(blob)? {
            Blob::Bytes(data) => self.bench.rootfs().write(&place, data, attrs)?,
            Blob::File(file, _) => {
                self.bench.rootfs().install(file, &place, attrs)?;
            }
        }
        Ok(())
    }

    pub(super) fn make_dir(&mut self, path: &str, attrs: Option<&FileAttrs>, parents: bool) -> Answer<()> {
        let attrs = attrs.map_or(Ok(NEW_DIRECTORY), |attrs| self.numbers(attrs))?;
        if !parents {
            let place = self.resolve_authorized(path, FinalLink::Keep, &[Need::fs_write])?;
            return Ok(self.bench.rootfs().make_dir(&place, attrs)?);
        }
        // All missing directories are found and authorized before the first one is made.
        let mut missing = Vec::new();
        let mut current = ImagePath::parse(path)?;
        let existing = loop {
            if let Ok(place) = self.bench.rootfs().resolve(&current)
                && self.bench.rootfs().metadata(&place)?.is_some()
            {
                break place;
            }
            let name = current.file_name().map(str::to_owned);
            let (Some(parent), Some(name)) = (current.parent(), name) else {
                let message =
                    format!("cannot make the directory `{}`: `..` follows a part that does not exist", printable(path));
                return Err(CallError::new(ErrorCode::Invalid, message));
            };
            missing.push(name);
            current = parent;
        };
        let mut place = existing;
        let mut wanted = Vec::new();
        for name in missing.iter().rev() {
            place = place.join(name)?;
            wanted.push(place.clone());
        }
        if wanted.is_empty() {
            self.gate(&Need::fs_write(place.as_str().to_owned()))?;
        }
        for place in &wanted {
            self.gate(&Need::fs_write(place.as_str().to_owned()))?;
        }
        Ok(self.bench.rootfs().make_dir_all(&place, attrs)?)
    }

    pub(super) fn symlink(&mut self, path: &str, target: &str) -> Answer<()> {
        let place = self.resolve_authorized(path, FinalLink::Keep, &[Need::fs_write])?;
        Ok(self.bench.rootfs().symlink(&place, target)?)
    }

    pub(super) fn rename(&mut self, source: &str, dest: &str) -> Answer<()> {
        // The plugin may be able to read the content at the new path, which it may not read here.
        let source = self.resolve_authorized(source, FinalLink::Keep, &[Need::fs_read, Need::fs_write])?;
        let dest = self.resolve_authorized(dest, FinalLink::Keep, &[Need::fs_write])?;
        let is_directory =
            |metadata: Option<files::Metadata>| metadata.is_some_and(|it| it.kind == files::FileKind::Directory);
        if is_directory(self.bench.rootfs().metadata(&source)?) {
            self.gate(&Need::fs_read_tree(source.as_str().to_owned()))?;
            self.gate(&Need::fs_write_tree(source.as_str().to_owned()))?;
            self.gate(&Need::fs_write_tree(dest.as_str().to_owned()))?;
        }
        Ok(self.bench.rootfs().rename(&source, &dest)?)
    }

    pub(super) fn set_attrs(&mut self, path: &str, attrs: &FileAttrs, recursive: bool) -> Answer<()> {
        let need: ToNeed = if recursive { Need::fs_write_tree } else { Need::fs_write };
        let place = self.resolve_authorized(path, FinalLink::Follow, &[need])?;
        let attrs = self.numbers(attrs)?;
        Ok(self.bench.rootfs().set_attrs(&place, attrs, recursive)?)
    }

    pub(super) fn set_owner(&mut self, path: &str, owner: &Owner, recursive: bool) -> Answer<()> {
        let need: ToNeed = if recursive { Need::fs_write_tree } else { Need::fs_write };
        let place = self.resolve_authorized(path, FinalLink::Follow, &[need])?;
        let Owner { user, group } = owner.clone();
        let Attrs { uid, gid, .. } = self.numbers(&FileAttrs { mode: 0, user, group })?;
        Ok(self.bench.rootfs().set_owner(&place, (uid, gid), recursive)?)
    }

    pub(super) fn remove(&mut self, path: &str, recursive: bool) -> Answer<()> {
        let need: ToNeed = if recursive { Need::fs_write_tree } else { Need::fs_write };
        let place = self.resolve_authorized(path, FinalLink::Keep, &[need])?;
        Ok(self.bench.rootfs().remove(&place, recursive)?)
    }

    /// Returns the requested attributes, or those of the existing file without the set-id bits: its content is about to
    /// change.
    pub(super) fn attrs_for(&self, place: &ImagePath, asked: Option<&FileAttrs>) -> Answer<Attrs> {
        if let Some(asked) = asked {
            return self.numbers(asked);
        }
        let old = self.bench.rootfs().metadata(place)?.map(|metadata| metadata.attrs);
        Ok(old.map_or(NEW_FILE, |attrs| Attrs { mode: attrs.mode & 0o1777, ..attrs }))
    }

    /// Resolves the names of users and groups to numbers by the image's databases.
    pub(super) fn numbers(&self, attrs: &FileAttrs) -> Answer<Attrs> {
        if attrs.mode & !0o1777 != 0 {
            let message =
                format!("the mode {:o} is refused: only permissions and sticky (at most 1777) can be set", attrs.mode);
            return Err(CallError::new(ErrorCode::Invalid, message));
        }
        let accounts = Accounts::read(self.bench.rootfs())?;
        let number = |text: &str| {
            text.parse::<u32>().ok().filter(|&id| id != u32::MAX && text.starts_with(|c: char| c.is_ascii_digit()))
        };
        let unknown = |kind: &str, name: &str| {
            CallError::new(ErrorCode::NotFound, format!("the image has no {kind} `{}`", printable(name)))
        };
        // An image without accounts has no name for user 0 yet.
        let root = |name: &str| (name == "root").then_some(0);
        let find = |name: &str, known: Option<u32>| known.or_else(|| number(name)).or_else(|| root(name));
        Ok(Attrs {
            mode: attrs.mode,
            uid: find(&attrs.user, accounts.uid(&attrs.user)).ok_or_else(|| unknown("user", &attrs.user))?,
            gid: find(&attrs.group, accounts.gid(&attrs.group)).ok_or_else(|| unknown("group", &attrs.group))?,
        })
    }
}

impl From<files::FileKind> for FileKind {
    fn from(kind: files::FileKind) -> Self {
        match kind {
            files::FileKind::File => Self::File,
            files::FileKind::Directory => Self::Directory,
            files::FileKind::Symlink => Self::Symlink,
            files::FileKind::Other => Self::Other,
        }
    }
}
