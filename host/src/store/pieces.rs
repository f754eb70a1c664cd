//! Lists the pieces of the store: each can be removed by itself, and has a size on disk and a time of last use.

use std::collections::BTreeSet;
use std::fs::{self, File, Metadata};
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use super::{Store, sealed};
use crate::error::{Context as _, Result};

/// File beside a layer's tree or beside partitions: [`About`].
const ABOUT: &str = "about";

/// Bytes of a block, as `stat` counts them.
const BLOCK: u64 = 512;

/// A kind of thing in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    Layer,
    /// The two partitions of an image.
    Partitions,
    /// The file of a package.
    Package,
    /// A download of a plugin.
    Download,
}

impl Kind {
    pub const ALL: [Self; 4] = [Self::Layer, Self::Partitions, Self::Package, Self::Download];

    /// Returns the directory of the store that holds them.
    pub(super) const fn directory(self) -> &'static str {
        match self {
            Self::Layer => "layers",
            Self::Partitions => "artifacts",
            Self::Package => "archives",
            Self::Download => "downloads",
        }
    }

    const fn is_directory(self) -> bool {
        matches!(self, Self::Layer | Self::Partitions)
    }

    /// Returns the name of this kind of piece.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Layer => "layers",
            Self::Partitions => "partitions",
            Self::Package => "packages",
            Self::Download => "downloads",
        }
    }
}

/// One thing in the store.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Piece {
    pub kind: Kind,
    pub key: String,
    /// Description, as far as it is known.
    pub what: Option<String>,
    /// Bytes that it takes on the disk.
    pub size: u64,
    /// When a build last used it, in seconds since 1970.
    pub used: u64,
    /// When it was made: of things that were used at the same time, the one that stands on the others is the newest.
    #[serde(skip)]
    pub(super) made: (i64, i64),
}

/// Facts about a directory of the store, recorded when it was made.
#[derive(Debug, Serialize, Deserialize)]
struct About {
    what: String,
    size: u64,
}

/// Writes what the directory of a stage is going to be.
///
/// # Errors
/// If the file system refuses.
pub(super) fn describe(directory: &Path, what: &str) -> Result<()> {
    let failed = "cannot describe what is in the store";
    let about = About { what: what.to_owned(), size: size_on_disk(directory).context(failed)? };
    fs::write(directory.join(ABOUT), sealed::to_text(&about).context(failed)?).context(failed)
}

impl Store {
    /// Lists everything finished in the store, without what builds are making.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub fn pieces(&self) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for kind in Kind::ALL {
            pieces.extend(self.pieces_of(kind)?);
        }
        let names = self.names_of_packages();
        for piece in pieces.iter_mut().filter(|piece| piece.kind == Kind::Package) {
            piece.what = names.get(&piece.key).cloned();
        }
        Ok(pieces)
    }

    /// Lists the pieces of one kind.
    pub(super) fn pieces_of(&self, kind: Kind) -> Result<Vec<Piece>> {
        let mut pieces = Vec::new();
        for entry in fs::read_dir(self.data.join(kind.directory())).context("cannot read the store")? {
            let path = entry.context("cannot read the store")?.path();
            // It may be gone already: others tidy too.
            let Ok(metadata) = fs::symlink_metadata(&path) else { continue };
            let key = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if metadata.is_dir() == kind.is_directory() && !key.contains(super::STANZA) {
                pieces.extend(piece(kind, key, &path, &metadata));
            }
        }
        Ok(pieces)
    }

    /// Bytes that a piece takes; `None` if it is not there.
    pub fn size_of(&self, kind: Kind, key: &str) -> Option<u64> {
        let path = self.place(kind, key);
        piece(kind, key.to_owned(), &path, &fs::symlink_metadata(&path).ok()?).map(|piece| piece.size)
    }

    /// Returns the path of a piece.
    pub fn place(&self, kind: Kind, key: &str) -> PathBuf {
        self.data.join(kind.directory()).join(key)
    }
}

fn piece(kind: Kind, key: String, path: &Path, metadata: &Metadata) -> Option<Piece> {
    let about: Option<About> = fs::read(path.join(ABOUT)).ok().and_then(|text| sealed::from_text(&text));
    let made = fs::symlink_metadata(path.join(ABOUT)).unwrap_or_else(|_| metadata.clone());
    let size = match &about {
        Some(about) => about.size,
        None if metadata.is_dir() => size_on_disk(path).ok()?,
        None => metadata.blocks() * BLOCK,
    };
    let used = metadata.modified().ok()?.duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs());
    let what = about.map(|about| about.what);
    Some(Piece { kind, key, what, size, used, made: (made.mtime(), made.mtime_nsec()) })
}

/// Bytes that a tree takes on the disk. What has several names in it counts once.
pub(super) fn size_on_disk(tree: &Path) -> std::result::Result<u64, Errno> {
    let top = rustix::fs::open(tree, flags(), Mode::empty())?;
    let mut seen = BTreeSet::new();
    size_below(&top, &mut seen)
}

fn size_below(directory: &OwnedFd, seen: &mut BTreeSet<u64>) -> std::result::Result<u64, Errno> {
    let mut size = 0;
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let stat = rustix::fs::statat(directory, entry.file_name(), AtFlags::SYMLINK_NOFOLLOW)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory || stat.st_nlink == 1 || seen.insert(stat.st_ino) {
            size += u64::try_from(stat.st_blocks).unwrap_or_default() * BLOCK;
        }
        if is_directory {
            size += size_below(&open(directory.as_fd(), entry.file_name())?, seen)?;
        }
    }
    Ok(size)
}

fn open(at: BorrowedFd<'_>, name: &std::ffi::CStr) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(at, name, flags(), Mode::empty())
}

fn flags() -> OFlags {
    OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC
}

/// Opens the directory of a piece, to hold or to mark it.
pub(super) fn open_directory(path: &Path) -> std::result::Result<File, Errno> {
    rustix::fs::openat(CWD, path, flags(), Mode::empty()).map(File::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tree_is_as_large_as_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        let empty = size_on_disk(dir.path()).unwrap();
        fs::write(dir.path().join("a/b/one"), vec![1; 1 << 20]).unwrap();
        fs::hard_link(dir.path().join("a/b/one"), dir.path().join("two")).unwrap();
        std::os::unix::fs::symlink("/", dir.path().join("a/root")).unwrap();
        // A hole takes nothing.
        File::create(dir.path().join("hole")).unwrap().set_len(1 << 30).unwrap();
        let size = size_on_disk(dir.path()).unwrap() - empty;
        assert!(((1 << 20)..(2 << 20)).contains(&size), "{size}");
    }

    #[test]
    fn what_is_made_says_what_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_at(dir.path()).unwrap();
        let stage = store.stage().unwrap();
        fs::write(stage.path().join("file"), vec![1; 1 << 20]).unwrap();
        stage.commit_layer("k", "Install tree").unwrap();
        // One of an older piimg says nothing.
        fs::create_dir_all(store.layer("old")).unwrap();
        fs::write(dir.path().join("downloads/commit-aa"), "x").unwrap();
        let found = store.pieces().unwrap();
        let told: Vec<(Kind, &str, Option<&str>)> =
            found.iter().map(|piece| (piece.kind, piece.key.as_str(), piece.what.as_deref())).collect();
        let expected =
            [(Kind::Layer, "k", Some("Install tree")), (Kind::Layer, "old", None), (Kind::Download, "commit-aa", None)];
        assert_eq!(BTreeSet::from_iter(told), BTreeSet::from(expected));
        let size = found.iter().find(|piece| piece.key == "k").unwrap().size;
        assert!(((1 << 20)..(2 << 20)).contains(&size), "{size}");
    }
}
