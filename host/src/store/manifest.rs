//! Lists what a finished layer must hold: every path with its attributes and a digest of its content. It is written
//! when the layer is committed, so that the store is checked and not trusted.
//!
//! There are two ways to check. The quick one asks for what the kernel alone can set, an inode's number and the time of its
//! last change: whoever changes a byte through the file system changes that. The thorough one reads every byte, and finds
//! what a disk lost by itself.

use std::ffi::{CStr, CString, OsStr};
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, ResolveFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{replace, sealed};
use crate::error::{Context as _, Result};
use crate::sparse;
use crate::ui::printable;

/// Name of the list, beside the tree.
pub(super) const NAME: &str = "manifest";

/// Bytes that are read at once. A piece of zeros counts as one, whether it is a hole or not: copies of a file differ in that.
const PIECE: usize = 64 << 10;

/// Longest path that the kernel takes at once, with some to spare.
const LONGEST_PATH: usize = 4000;

/// Most bytes of a manifest: some hundred for each path.
const LONGEST: u64 = 2 << 30;

/// One path of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Entry {
    /// Path from the layer's top.
    #[serde(with = "serde_bytes")]
    path: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    /// Length of a file or link; a directory's depends on its file system.
    size: u64,
    device: u64,
    /// Seconds and nanoseconds.
    modified: (i64, i64),
    /// Digest of the content or a link's target, and of extended attributes.
    digest: [u8; 32],
    stamp: Stamp,
}

/// Metadata that every change alters, and a copy too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Stamp {
    inode: u64,
    changed: (i64, i64),
}

/// Content of a layer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Manifest {
    /// Entries, sorted by path.
    entries: Vec<Entry>,
}

impl Manifest {
    /// Reads what is in the directory, every byte of it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn of(directory: &Path) -> Result<Self> {
        let top = open(CWD, &path_of(directory)).context("cannot read a layer")?;
        let mut entries = list(&top)?;
        let threads = thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let next = AtomicUsize::new(0);
        let digests = thread::scope(|scope| {
            let (entries, next, top) = (&entries, &next, top.as_fd());
            let work = move || -> Result<Vec<(usize, [u8; 32])>> {
                let mut made = Vec::new();
                loop {
                    let index = next.fetch_add(1, Ordering::Relaxed);
                    let Some(entry) = entries.get(index) else { return Ok(made) };
                    let named =
                        || format!("cannot read `{}` of a layer", printable(&String::from_utf8_lossy(&entry.path)));
                    made.push((index, digest(top, entry).with_context(named)?));
                }
            };
            let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
            workers.into_iter().map(|worker| worker.join().expect("reading does not panic")).collect::<Result<Vec<_>>>()
        })?;
        for (index, digest) in digests.into_iter().flatten() {
            entries[index].digest = digest;
        }
        Ok(Self { entries })
    }

    /// Returns the one that was written beside the layer; `None` if there is none, or it is damaged itself.
    pub(super) fn read(directory: &Path) -> Option<Self> {
        let mut bytes = Vec::new();
        File::open(directory.join(NAME)).ok()?.take(LONGEST).read_to_end(&mut bytes).ok()?;
        postcard::from_bytes(sealed::open(&bytes)?).ok()
    }

    /// Writes it beside the layer.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn write(&self, directory: &Path) -> Result<()> {
        let bytes = sealed::seal(postcard::to_allocvec(self).context("cannot describe a layer")?);
        replace(&directory.join(NAME), &bytes).context("cannot write the list of a layer")
    }

    /// Returns whether nobody changed anything since this was written, as far as the kernel knows.
    ///
    /// # Errors
    /// If the layer cannot be read.
    pub(super) fn is_untouched(&self, directory: &Path) -> Result<bool> {
        let top = open(CWD, &path_of(directory)).context("cannot read a layer")?;
        let found = list(&top)?;
        let same = |(listed, found): (&Entry, &Entry)| listed.stamp == found.stamp && listed.is_like(found);
        Ok(found.len() == self.entries.len() && self.entries.iter().zip(&found).all(same))
    }

    /// Returns this entry with the content digests of `other`.
    #[cfg(test)]
    pub(super) fn with_digests_of(mut self, other: &Self) -> Self {
        for (entry, other) in self.entries.iter_mut().zip(&other.entries) {
            entry.digest = other.digest;
        }
        self
    }

    /// Returns the first path at which `found` is not what this says, whatever its inodes are.
    pub(super) fn difference(&self, found: &Self) -> Option<String> {
        let same = |(listed, found): &(&Entry, &Entry)| listed.is_like(found) && listed.digest == found.digest;
        let equal = self.entries.iter().zip(&found.entries).take_while(same).count();
        let (listed, found) = (self.entries.get(equal), found.entries.get(equal));
        // What is listed and not there, or there and not listed, comes first.
        let path = listed.into_iter().chain(found).map(|entry| &entry.path).min()?;
        Some(printable(&String::from_utf8_lossy(path)))
    }
}

impl Entry {
    /// Returns whether path and attributes agree, as far as they are seen without reading.
    fn is_like(&self, other: &Self) -> bool {
        let seen = |entry: &Self| (entry.mode, entry.owner, entry.size, entry.device, entry.modified);
        self.path == other.path && seen(self) == seen(other)
    }

    fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.mode)
    }
}

fn path_of(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).expect("paths of the store have no null byte")
}

fn open(at: BorrowedFd<'_>, path: &CStr) -> std::result::Result<OwnedFd, Errno> {
    rustix::fs::openat(at, path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// Lists everything below the top except the list itself, without digests.
fn list(top: &OwnedFd) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    list_into(top, &mut Vec::new(), &mut entries).context("cannot read a layer")?;
    entries.sort_unstable_by(|a, b| a.path.cmp(&b.path));
    Ok(entries)
}

/// Lists a directory. One descriptor is open for each directory on the way; layers are never deeper than the limit on
/// these.
fn list_into(directory: &OwnedFd, prefix: &mut Vec<u8>, entries: &mut Vec<Entry>) -> std::result::Result<(), Errno> {
    let length = prefix.len();
    for entry in Dir::read_from(directory)? {
        let entry = entry?;
        let name = entry.file_name();
        let is_list = length == 0 && name.to_bytes().starts_with(NAME.as_bytes());
        if matches!(name.to_bytes(), b"." | b"..") || is_list {
            continue;
        }
        let stat = rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)?;
        if length > 0 {
            prefix.push(b'/');
        }
        prefix.extend_from_slice(name.to_bytes());
        let kind = FileType::from_raw_mode(stat.st_mode);
        entries.push(Entry {
            path: prefix.clone(),
            mode: stat.st_mode,
            owner: (stat.st_uid, stat.st_gid),
            size: if kind == FileType::Directory { 0 } else { stat.st_size.cast_unsigned() },
            device: stat.st_rdev,
            modified: (stat.st_mtime, nanoseconds(stat.st_mtime_nsec)),
            digest: [0; 32],
            stamp: Stamp { inode: stat.st_ino, changed: (stat.st_ctime, nanoseconds(stat.st_ctime_nsec)) },
        });
        if kind == FileType::Directory {
            list_into(&open(directory.as_fd(), name)?, prefix, entries)?;
        }
        prefix.truncate(length);
    }
    Ok(())
}

/// Returns the type differs between processors.
fn nanoseconds(value: impl TryInto<i64>) -> i64 {
    value.try_into().unwrap_or_default()
}

fn digest(top: BorrowedFd<'_>, entry: &Entry) -> Result<[u8; 32]> {
    let mut hash = Sha256::new();
    let path = CString::new(entry.path.as_slice()).context("a path has a null byte")?;
    // `O_PATH` opens whatever it is, and neither waits nor follows a link.
    let opened = reach(top, &path, OFlags::PATH)?;
    match entry.kind() {
        FileType::RegularFile => {
            let file = File::from(rustix::fs::open(magic(&opened), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?);
            content(&file, &mut hash)?;
        }
        FileType::Symlink => hash.update(rustix::fs::readlinkat(&opened, "", Vec::new())?.to_bytes()),
        _ => {}
    }
    attributes(&opened, entry.kind(), &mut hash)?;
    Ok(hash.finalize().into())
}

/// Returns the path in `/proc/self/fd` that leads to exactly this open file.
fn magic(opened: &OwnedFd) -> CString {
    use std::os::fd::AsRawFd as _;
    CString::new(format!("/proc/self/fd/{}", opened.as_raw_fd())).expect("a number has no null byte")
}

/// Opens a path of any length below `top`.
fn reach(top: BorrowedFd<'_>, path: &CStr, flags: OFlags) -> std::result::Result<OwnedFd, Errno> {
    let beneath = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    // A link itself may be opened with O_PATH, though none on the way.
    let open = |at: BorrowedFd<'_>, path: &CStr| match rustix::fs::openat2(at, path, flags, Mode::empty(), beneath) {
        Err(Errno::LOOP) => rustix::fs::openat(at, path, flags, Mode::empty()),
        opened => opened,
    };
    if path.to_bytes().len() <= LONGEST_PATH {
        return open(top, path);
    }
    let mut at: Option<OwnedFd> = None;
    for part in path.to_bytes().split(|byte| *byte == b'/') {
        let part = CString::new(part).map_err(|_| Errno::INVAL)?;
        at = Some(open(at.as_ref().map_or(top, |at| at.as_fd()), &part)?);
    }
    at.ok_or(Errno::INVAL)
}

fn attributes(opened: &OwnedFd, kind: FileType, hash: &mut Sha256) -> Result<()> {
    // Of other kinds the kernel keeps none that anybody but it may set.
    if !matches!(kind, FileType::RegularFile | FileType::Directory) {
        return Ok(());
    }
    let place = magic(opened);
    let mut names = vec![0; 1 << 16];
    let length = match rustix::fs::listxattr(&place, &mut names) {
        Ok(0) | Err(Errno::OPNOTSUPP) => return Ok(()),
        length => length?,
    };
    let mut names: Vec<&[u8]> = names[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    let mut value = vec![0; 1 << 16];
    for name in names {
        let name = OsStr::from_bytes(name);
        let length = rustix::fs::getxattr(&place, name, &mut value)?;
        for part in [name.as_bytes(), &value[..length]] {
            hash.update(u64::try_from(part.len()).expect("a length fits").to_le_bytes());
            hash.update(part);
        }
    }
    Ok(())
}

/// Adds what is in a file: pieces that are not zero, each behind the number of those that are.
fn content(file: &File, hash: &mut Sha256) -> std::io::Result<()> {
    let length = file.metadata()?.len();
    let piece_length = u64::try_from(PIECE).expect("short");
    let mut piece = vec![0; PIECE.min(usize::try_from(length).unwrap_or(PIECE))];
    let (mut position, mut data_end, mut zeros) = (0, 0, 0_u64);
    while position < length {
        if position >= data_end {
            // A hole of a file may be longer than anybody would read.
            let data = sparse::next_data(file, position, length)?;
            let skipped = data.start.min(length) / piece_length - position / piece_length;
            zeros += skipped;
            position += skipped * piece_length;
            data_end = data.end;
            if data.start >= length {
                // The last piece, if the hole does not end with one.
                zeros += u64::from(position < length);
                break;
            }
        }
        let step = usize::try_from(length - position).map_or(PIECE, |rest| rest.min(PIECE));
        file.read_exact_at(&mut piece[..step], position)?;
        if piece[..step].iter().all(|byte| *byte == 0) {
            zeros += 1;
        } else {
            hash.update(std::mem::take(&mut zeros).to_le_bytes());
            hash.update(&piece[..step]);
        }
        position += u64::try_from(step).expect("short");
    }
    hash.update(zeros.to_le_bytes());
    hash.update(length.to_le_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use super::*;

    fn layer() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("layer");
        fs::create_dir_all(layer.join("fs/etc")).unwrap();
        fs::write(layer.join("layer.json"), "{}").unwrap();
        fs::write(layer.join("fs/etc/hostname"), "robot\n").unwrap();
        symlink("hostname", layer.join("fs/etc/link")).unwrap();
        rustix::fs::mknodat(CWD, layer.join("fs/pipe"), FileType::Fifo, Mode::RUSR, 0).unwrap();
        let sparse = File::create(layer.join("fs/sparse")).unwrap();
        sparse.set_len(300 << 30).unwrap();
        sparse.write_all_at(b"x", 150 << 30).unwrap();
        (dir, layer)
    }

    fn check(layer: &Path) -> (bool, Option<String>) {
        let manifest = Manifest::read(layer).unwrap();
        (manifest.is_untouched(layer).unwrap(), manifest.difference(&Manifest::of(layer).unwrap()))
    }

    #[test]
    fn any_change_of_a_layer_is_seen_and_named() {
        let keep_time = |path: &Path, change: &dyn Fn(&Path)| {
            let before = fs::symlink_metadata(path).unwrap();
            change(path);
            let time = |seconds, nanoseconds| rustix::fs::Timespec { tv_sec: seconds, tv_nsec: nanoseconds };
            let times = rustix::fs::Timestamps {
                last_access: time(before.atime(), before.atime_nsec()),
                last_modification: time(before.mtime(), before.mtime_nsec()),
            };
            rustix::fs::utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        };
        type Change<'a> = (&'a str, &'a dyn Fn(&Path));
        let changes: [Change<'_>; 9] = [
            ("fs/etc/hostname", &|layer| {
                // Other content of the same length and time.
                keep_time(&layer.join("fs/etc/hostname"), &|path| fs::write(path, "rObot\n").unwrap());
            }),
            ("fs/etc/hostname", &|layer| {
                keep_time(&layer.join("fs/etc"), &|etc| fs::remove_file(etc.join("hostname")).unwrap());
            }),
            ("fs/etc/new", &|layer| {
                keep_time(&layer.join("fs/etc"), &|etc| fs::write(etc.join("new"), "").unwrap());
            }),
            ("fs/etc/link", &|layer| {
                let link = layer.join("fs/etc/link");
                keep_time(&layer.join("fs/etc"), &|_| {
                    keep_time(&link, &|link| {
                        fs::remove_file(link).unwrap();
                        symlink("Hostname", link).unwrap();
                    });
                });
            }),
            ("fs/etc", &|layer| {
                fs::set_permissions(layer.join("fs/etc"), fs::Permissions::from_mode(0o700)).unwrap();
            }),
            ("fs/etc/hostname", &|layer| {
                rustix::fs::setxattr(layer.join("fs/etc/hostname"), "user.a", b"1", rustix::fs::XattrFlags::empty())
                    .unwrap();
            }),
            ("fs/sparse", &|layer| {
                keep_time(&layer.join("fs/sparse"), &|path| {
                    File::options().write(true).open(path).unwrap().write_all_at(b"y", 250 << 30).unwrap();
                });
            }),
            ("fs/sparse", &|layer| {
                keep_time(&layer.join("fs/sparse"), &|path| {
                    File::options().write(true).open(path).unwrap().write_all_at(b"\0", 150 << 30).unwrap();
                });
            }),
            ("layer.json", &|layer| {
                keep_time(&layer.join("layer.json"), &|path| fs::write(path, "[]").unwrap());
            }),
        ];
        for (path, change) in changes {
            let (_dir, layer) = layer();
            Manifest::of(&layer).unwrap().write(&layer).unwrap();
            assert_eq!(check(&layer), (true, None));
            std::thread::sleep(std::time::Duration::from_millis(10));
            change(&layer);
            assert_eq!(check(&layer), (false, Some(path.to_owned())));
        }
    }

    #[test]
    fn a_copy_is_the_same_layer_with_other_inodes() {
        let (dir, layer) = layer();
        Manifest::of(&layer).unwrap().write(&layer).unwrap();
        let copy = dir.path().join("copy");
        let copied = crate::sandbox::tool::Tool::new("cp").args(["-a", "--sparse=always"]).args([&layer, &copy]).run();
        copied.unwrap();
        assert_eq!(check(&copy), (false, None));
        let manifest = Manifest::of(&copy).unwrap();
        manifest.write(&copy).unwrap();
        assert_eq!(check(&copy), (true, None));
    }

    #[test]
    fn a_list_that_is_damaged_is_none() {
        let (_dir, layer) = layer();
        assert!(Manifest::read(&layer).is_none());
        Manifest::of(&layer).unwrap().write(&layer).unwrap();
        let bytes = fs::read(layer.join(NAME)).unwrap();
        for at in [0, bytes.len() / 2, bytes.len() - 1] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1;
            fs::write(layer.join(NAME), damaged).unwrap();
            assert!(Manifest::read(&layer).is_none(), "byte {at}");
        }
        fs::write(layer.join(NAME), &bytes[..bytes.len() - 1]).unwrap();
        assert!(Manifest::read(&layer).is_none());
    }

    #[test]
    fn a_path_may_be_longer_than_the_kernel_takes() {
        let (_dir, layer) = layer();
        let name = CString::new("n".repeat(200)).unwrap();
        let mut deep = open(CWD, &path_of(&layer.join("fs"))).unwrap();
        for _ in 0..30 {
            rustix::fs::mkdirat(&deep, &name, Mode::RWXU).unwrap();
            deep = open(deep.as_fd(), &name).unwrap();
        }
        Manifest::of(&layer).unwrap().write(&layer).unwrap();
        assert_eq!(check(&layer), (true, None));
    }
}
