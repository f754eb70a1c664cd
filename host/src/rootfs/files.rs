//! Files of the image, reached without ever leaving it: a link, a `..` or a race inside the image cannot lead
//! to a file of the host, and nothing but regular files is ever opened.
//!
//! Built on `openat2` itself rather than on a path library: every operation needs the *parent's* descriptor and
//! one name (to write a new inode and rename it), and a kernel without `openat2` must be an error, not a
//! slower emulation. Who may touch what is not decided here.
//!
//! Each change gives the file and the directory that holds it the build's fixed time, so that a tree does not
//! depend on the clock. Numbers of users and groups are those of the calling process's user namespace.

#[cfg(test)]
mod door;
mod error;
mod exact;
#[cfg(test)]
mod fixture;
mod keeper;
mod path;
mod resolve;
#[cfg(test)]
mod tests;
mod tree;
mod write;

use std::ffi::CString;
use std::fs::File;
use std::io::Read as _;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::{AtFlags, CWD, FileType, Mode, OFlags};
use rustix::io::Errno;

use crate::sandbox::free_space::Free;
use crate::ui::Printable as _;
pub use error::{FileError, FileErrorCode};
pub use exact::{Exact, Fate};
use keeper::Keeper;
pub use path::ImagePath;
use resolve::{Place, canonical, file_type, locate, open_entry, open_in_root, proc_path};

/// Mode and owner of a file, as numbers seen inside the image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Attrs {
    /// Permission bits with set-user-id, set-group-id and sticky, no file type.
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileKind {
    File,
    Directory,
    Symlink,
    /// Device, FIFO or socket: seen, never opened.
    Other,
}

impl From<FileType> for FileKind {
    fn from(kind: FileType) -> Self {
        match kind {
            FileType::RegularFile => Self::File,
            FileType::Directory => Self::Directory,
            FileType::Symlink => Self::Symlink,
            _ => Self::Other,
        }
    }
}

/// Metadata of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Metadata {
    pub kind: FileKind,
    /// Bytes.
    pub size: u64,
    pub attrs: Attrs,
    /// Hard links.
    pub links: u64,
    /// Target of a symbolic link.
    pub target: Option<String>,
}

const LINKING: &str = "make the link";

/// An image's root directory, held open.
#[derive(Debug)]
pub struct Rootfs {
    root: OwnedFd,
    /// Seconds since 1970 that every written file and directory gets.
    epoch: i64,
    /// Changed paths, if they are recorded.
    touched: Option<Mutex<Vec<Touched>>>,
    keeper: Keeper,
}

/// A path that was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Touched {
    /// The canonical one.
    pub path: ImagePath,
    /// Everything below the path may have been changed, too.
    pub tree: bool,
}

impl Rootfs {
    /// Opens the root; `epoch` is the time, in seconds since 1970, that every written file gets.
    ///
    /// # Errors
    /// [`FileErrorCode::Io`] on a kernel without `openat2` or where `/proc` is not mounted.
    pub fn open(dir: &Path, epoch: u64) -> Result<Self, FileError> {
        const ACTION: &str = "open the root directory";
        let shown = dir.printable();
        let fail = |errno| FileError::system(errno, ACTION, shown.to_string());
        let root =
            rustix::fs::open(dir, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).map_err(fail)?;
        let epoch = i64::try_from(epoch)
            .map_err(|_| FileError::new(FileErrorCode::Invalid, ACTION, &shown, format!("{epoch} is not a time")))?;
        open_in_root(root.as_fd(), "/", OFlags::PATH).map_err(fail)?;
        // Descriptors are reopened and named through /proc; a clear message now beats a strange one later.
        rustix::fs::readlinkat(CWD, proc_path(root.as_raw_fd()), Vec::new()).map_err(|_| {
            FileError::new(FileErrorCode::Io, ACTION, &shown, "`/proc` is not mounted for this process")
        })?;
        Ok(Self { root, epoch, touched: None, keeper: Keeper::default() })
    }

    /// Returns the time that every written file gets, in seconds since 1970.
    pub fn time(&self) -> u64 {
        self.epoch.unsigned_abs()
    }

    /// Starts recording each path that is changed, for [`Rootfs::take_touched`].
    #[must_use]
    pub fn remembering(self) -> Self {
        Self { touched: Some(Mutex::default()), ..self }
    }

    /// Keeps owners and modes in memory: for an ordinary user, on a tree of which every file is that user's and
    /// nobody else changes. What is in the tree already belongs to root.
    #[must_use]
    pub fn keeping_attrs(self) -> Self {
        Self { keeper: Keeper::in_memory(), ..self }
    }

    /// Returns the paths changed since the last call, also by operations that failed.
    pub fn take_touched(&self) -> Vec<Touched> {
        self.journal().map(|mut touched| std::mem::take(&mut *touched)).unwrap_or_default()
    }

    fn journal(&self) -> Option<MutexGuard<'_, Vec<Touched>>> {
        self.touched.as_ref().map(|touched| touched.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Remembers that what is in `place` is about to be changed.
    fn touch(&self, place: &Place, tree: bool, path: &ImagePath, action: &'static str) -> Result<(), FileError> {
        let Some(mut touched) = self.journal() else { return Ok(()) };
        let path = self.canonical_path(place, path, action)?;
        touched.push(Touched { path, tree });
        Ok(())
    }

    /// Returns the canonical path, a final link followed; the last component may be missing, its directory not.
    ///
    /// # Errors
    /// [`FileErrorCode::NotFound`] without the directory; [`FileErrorCode::Invalid`] for loops and mounts.
    pub fn resolve(&self, path: &ImagePath) -> Result<ImagePath, FileError> {
        self.canonical_place(path, true)
    }

    /// Returns the canonical path of the entry itself: a final link is not followed.
    ///
    /// # Errors
    /// Those of [`Rootfs::resolve`].
    pub fn resolve_entry(&self, path: &ImagePath) -> Result<ImagePath, FileError> {
        self.canonical_place(path, false)
    }

    fn canonical_place(&self, path: &ImagePath, follow: bool) -> Result<ImagePath, FileError> {
        const ACTION: &str = "resolve";
        self.canonical_path(&self.locate(path, follow, ACTION)?, path, ACTION)
    }

    fn canonical_path(&self, place: &Place, path: &ImagePath, action: &'static str) -> Result<ImagePath, FileError> {
        let dir = canonical(self.root.as_fd(), &place.dir, path, action)?;
        place.name.as_ref().map_or(Ok(dir.clone()), |name| dir.join(name))
    }

    /// Returns the metadata of `path`, without following a final link; `None` if it does not exist.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for loops and mounts.
    pub fn metadata(&self, path: &ImagePath) -> Result<Option<Metadata>, FileError> {
        const ACTION: &str = "look at";
        let fd = match self.locate(path, false, ACTION).and_then(|place| open_place(&place, path, ACTION)) {
            Ok(fd) => fd,
            Err(error) if matches!(error.code, FileErrorCode::NotFound | FileErrorCode::NotADirectory) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        describe(&self.keeper, &fd, path, ACTION).map(Some)
    }

    /// Returns the content of a regular file of at most `limit` bytes.
    ///
    /// # Errors
    /// [`FileErrorCode::Limit`] for a bigger one; [`FileErrorCode::NotAFile`] for anything that is no file.
    pub fn read(&self, path: &ImagePath, limit: u64) -> Result<Vec<u8>, FileError> {
        read_whole(self.open_file(path)?, path, limit)
    }

    /// Opens a regular file for reading, a final link followed.
    ///
    /// # Errors
    /// [`FileErrorCode::NotAFile`] for anything else, found out before opening: a FIFO never blocks and a
    /// device is never touched.
    pub fn open_file(&self, path: &ImagePath) -> Result<File, FileError> {
        const ACTION: &str = "open";
        open_regular(&open_place(&self.locate(path, true, ACTION)?, path, ACTION)?, path, ACTION)
    }

    /// Returns the entries of a directory, sorted by name; a final link is followed.
    ///
    /// # Errors
    /// [`FileErrorCode::NotADirectory`]; [`FileErrorCode::Invalid`] if a name is not UTF-8.
    pub fn list_dir(&self, path: &ImagePath) -> Result<Vec<(String, FileKind)>, FileError> {
        const ACTION: &str = "list";
        let fail = |errno| FileError::system(errno, ACTION, path);
        let dir = open_in_root(self.root.as_fd(), path.as_str(), OFlags::PATH | OFlags::DIRECTORY).map_err(fail)?;
        entries(dir.as_fd(), path)
    }

    /// Makes one directory; its parent must exist.
    ///
    /// # Errors
    /// [`FileErrorCode::Exists`] if anything is there, a directory included.
    pub fn make_dir(&self, path: &ImagePath, attrs: Attrs) -> Result<(), FileError> {
        const ACTION: &str = "make the directory";
        tree::check_attrs(attrs, ACTION, path)?;
        let place = self.locate(path, false, ACTION)?;
        self.touch(&place, false, path, ACTION)?;
        self.make_dir_at(place, path, attrs)
    }

    fn make_dir_at(&self, place: Place, path: &ImagePath, attrs: Attrs) -> Result<(), FileError> {
        const ACTION: &str = "make the directory";
        let fail = |errno| FileError::system(errno, ACTION, path);
        let Place { dir, name } = place;
        let name = name.ok_or_else(|| fail(Errno::EXIST))?;
        check_room(&dir, 0, ACTION, path)?;
        rustix::fs::mkdirat(&dir, &name, Mode::RWXU).map_err(fail)?;
        let finish = || -> Result<(), Errno> {
            let made = open_entry(dir.as_fd(), &name, OFlags::PATH | OFlags::DIRECTORY)?;
            self.keeper.apply(made.as_fd(), attrs)?;
            tree::set_time(made.as_fd(), self.epoch)
        };
        if let Err(errno) = finish() {
            rustix::fs::unlinkat(&dir, &name, AtFlags::REMOVEDIR).ok();
            return Err(fail(errno));
        }
        tree::set_time(dir.as_fd(), self.epoch).map_err(fail)
    }

    /// Makes a directory and those above it that are missing; `attrs` go to the ones made.
    ///
    /// # Errors
    /// [`FileErrorCode::NotADirectory`] if something else is in the way.
    pub fn make_dir_all(&self, path: &ImagePath, attrs: Attrs) -> Result<(), FileError> {
        const ACTION: &str = "make the directory";
        let mut current = ImagePath::root();
        for component in path.components() {
            current = current.join(component)?;
            match open_in_root(self.root.as_fd(), current.as_str(), OFlags::PATH | OFlags::DIRECTORY) {
                Ok(_) => {}
                Err(Errno::NOENT) => self.make_dir(&current, attrs)?,
                Err(errno) => return Err(FileError::system(errno, ACTION, &current)),
            }
        }
        Ok(())
    }

    /// Makes a symbolic link. The target is only text here: following it later stays in the image.
    ///
    /// # Errors
    /// [`FileErrorCode::Exists`] if anything is there.
    pub fn symlink(&self, path: &ImagePath, target: &str) -> Result<(), FileError> {
        self.link_at(self.locate(path, false, LINKING)?, path, target)
    }

    fn link_at(&self, place: Place, path: &ImagePath, target: &str) -> Result<(), FileError> {
        const ACTION: &str = LINKING;
        let fail = |errno| FileError::system(errno, ACTION, path);
        if target.is_empty() || target.contains('\0') {
            return Err(FileError::new(FileErrorCode::Invalid, ACTION, path, "the target is empty or contains NUL"));
        }
        self.touch(&place, false, path, ACTION)?;
        let Place { dir, name } = place;
        let name = name.ok_or_else(|| fail(Errno::EXIST))?;
        check_room(&dir, 0, ACTION, path)?;
        rustix::fs::symlinkat(target, &dir, &name).map_err(fail)?;
        self.keeper.made(&dir, &name).map_err(fail)?;
        tree::set_time_at(dir.as_fd(), &name, self.epoch).map_err(fail)?;
        tree::set_time(dir.as_fd(), self.epoch).map_err(fail)
    }

    /// Renames an entry, links themselves included; a file at `to` is replaced.
    ///
    /// # Errors
    /// [`FileErrorCode::Exists`] if a directory with content is at `to`; [`FileErrorCode::Invalid`] for a
    /// directory into itself and for a directory that belongs to a lower layer.
    pub fn rename(&self, from: &ImagePath, to: &ImagePath) -> Result<(), FileError> {
        const ACTION: &str = "rename";
        let fail = |errno| FileError::system(errno, ACTION, from);
        let whole = |path| FileError::new(FileErrorCode::Invalid, ACTION, path, "the path does not end in a name");
        let source = self.locate(from, false, ACTION)?;
        let target = self.locate(to, false, ACTION)?;
        self.touch(&source, false, from, ACTION)?;
        // Renaming a directory moves its content.
        self.touch(&target, true, to, ACTION)?;
        let source_name = source.name.ok_or_else(|| whole(from))?;
        let target_name = target.name.ok_or_else(|| whole(to))?;
        rustix::fs::renameat(&source.dir, &source_name, &target.dir, &target_name).map_err(|errno| match errno {
            // Both paths were just resolved within one file system, so this error comes from overlayfs
            // (<https://docs.kernel.org/filesystems/overlayfs.html#renaming-directories>).
            Errno::XDEV => {
                let cause = "a directory of a lower layer cannot be renamed; make a new one and remove the old";
                FileError::new(FileErrorCode::Invalid, ACTION, from, cause)
            }
            errno => fail(errno),
        })?;
        tree::set_time(source.dir.as_fd(), self.epoch).map_err(fail)?;
        tree::set_time(target.dir.as_fd(), self.epoch).map_err(fail)
    }

    /// Changes mode and owner of a file or directory, a final link followed; with `recursive` of everything
    /// below it too, where links are not followed, only given the owner, and directories stay searchable for
    /// those who may read them.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for a file with several hard links, found before anything is changed.
    pub fn set_attrs(&self, path: &ImagePath, attrs: Attrs, recursive: bool) -> Result<(), FileError> {
        tree::check_attrs(attrs, tree::SET, path)?;
        self.set(path, tree::Wanted { owner: (attrs.uid, attrs.gid), mode: Some(attrs.mode) }, recursive)
    }

    /// Changes the owner, user and group, as [`Rootfs::set_attrs`] does, and keeps modes. The kernel takes bits that lend
    /// rights from whatever changes hands ([chown(2)](https://man7.org/linux/man-pages/man2/chown.2.html)).
    ///
    /// # Errors
    /// Those of [`Rootfs::set_attrs`].
    pub fn set_owner(&self, path: &ImagePath, owner: (u32, u32), recursive: bool) -> Result<(), FileError> {
        tree::check_attrs(Attrs { mode: 0, uid: owner.0, gid: owner.1 }, tree::SET, path)?;
        self.set(path, tree::Wanted { owner, mode: None }, recursive)
    }

    fn set(&self, path: &ImagePath, wanted: tree::Wanted, recursive: bool) -> Result<(), FileError> {
        let fail = |errno| FileError::system(errno, tree::SET, path);
        let place = self.locate(path, true, tree::SET)?;
        self.touch(&place, recursive, path, tree::SET)?;
        let fd = open_place(&place, path, tree::SET)?;
        let stat = rustix::fs::fstat(&fd).map_err(fail)?;
        if file_type(&stat) == FileType::Directory && !recursive {
            return wanted.apply(&self.keeper, fd.as_fd(), 0).map_err(fail);
        }
        tree::set(&self.keeper, &fd, wanted, tree::Pass::Check, path, 0)?;
        tree::set(&self.keeper, &fd, wanted, tree::Pass::Apply, path, 0)
    }

    /// Removes an entry, a link itself included; a directory must be empty unless `recursive`. No link is
    /// followed and no mount is crossed.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for `/`; [`FileErrorCode::Exists`] for a directory with content.
    pub fn remove(&self, path: &ImagePath, recursive: bool) -> Result<(), FileError> {
        const ACTION: &str = "remove";
        let fail = |errno| FileError::system(errno, ACTION, path);
        let place = self.locate(path, false, ACTION)?;
        // Paths that were below it do not exist any more.
        self.touch(&place, false, path, ACTION)?;
        let Place { dir, name } = place;
        let Some(name) = name else {
            return Err(FileError::new(FileErrorCode::Invalid, ACTION, path, "the path does not end in a name"));
        };
        let name = CString::new(name).map_err(|_| fail(Errno::INVAL))?;
        let stat = rustix::fs::statat(&dir, &name, AtFlags::SYMLINK_NOFOLLOW).map_err(fail)?;
        if recursive {
            tree::remove(dir.as_fd(), &name, path, 0)?;
        } else {
            let directory = file_type(&stat) == FileType::Directory;
            let flags = if directory { AtFlags::REMOVEDIR } else { AtFlags::empty() };
            rustix::fs::unlinkat(&dir, &name, flags).map_err(fail)?;
        }
        tree::set_time(dir.as_fd(), self.epoch).map_err(fail)
    }

    fn locate(&self, path: &ImagePath, follow: bool, action: &'static str) -> Result<Place, FileError> {
        locate(self.root.as_fd(), path, follow, action)
    }
}

/// Returns an `O_PATH` descriptor of the entry at `place`, whatever it is.
fn open_place(place: &Place, path: &ImagePath, action: &'static str) -> Result<OwnedFd, FileError> {
    open_entry(place.dir.as_fd(), place.name.as_deref().unwrap_or("."), OFlags::PATH)
        .map_err(|errno| FileError::system(errno, action, path))
}

/// Returns the entries of an open directory, which is that at `path`, sorted by name.
fn entries(dir: BorrowedFd<'_>, path: &ImagePath) -> Result<Vec<(String, FileKind)>, FileError> {
    const ACTION: &str = "list";
    let mut entries = Vec::new();
    for (name, kind) in tree::names(dir).map_err(|errno| FileError::system(errno, ACTION, path))? {
        let name = name.into_string().map_err(|error| {
            let name = error.into_cstring();
            let cause = format!("the name {name:?} in it is not UTF-8");
            FileError::new(FileErrorCode::Invalid, ACTION, path, cause)
        })?;
        entries.push((name, kind.into()));
    }
    entries.sort_by(|a, b| a.0.cmp(&b.0));
    Ok(entries)
}

/// Returns the metadata of the file behind `fd`, an `O_PATH` descriptor.
fn describe(keeper: &Keeper, fd: &OwnedFd, path: &ImagePath, action: &'static str) -> Result<Metadata, FileError> {
    let fail = |errno| FileError::system(errno, action, path);
    let stat = rustix::fs::fstat(fd).map_err(fail)?;
    let kind = FileKind::from(file_type(&stat));
    let target = if kind == FileKind::Symlink {
        let target = rustix::fs::readlinkat(fd, "", Vec::new()).map_err(fail)?;
        let not_text = |_| FileError::new(FileErrorCode::Invalid, action, path, "the link's target is not UTF-8");
        Some(target.into_string().map_err(not_text)?)
    } else {
        None
    };
    Ok(Metadata {
        kind,
        size: u64::try_from(stat.st_size).unwrap_or_default(),
        attrs: keeper.attrs(&stat),
        links: links(&stat),
        target,
    })
}

#[cfg_attr(
    target_arch = "x86_64",
    expect(clippy::useless_conversion, reason = "the field's width differs between architectures")
)]
fn links(stat: &rustix::fs::Stat) -> u64 {
    stat.st_nlink.into()
}

/// Opens what an `O_PATH` descriptor stands for, if it is a regular file: anything else is never opened.
fn open_regular(fd: &OwnedFd, path: &ImagePath, action: &'static str) -> Result<File, FileError> {
    let fail = |errno| FileError::system(errno, action, path);
    check_file(file_type(&rustix::fs::fstat(fd).map_err(fail)?), action, path)?;
    let flags = OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NOCTTY;
    let file = rustix::fs::open(proc_path(fd.as_raw_fd()), flags, Mode::empty()).map_err(fail)?;
    Ok(File::from(file))
}

fn read_whole(file: File, path: &ImagePath, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut data = Vec::new();
    file.take(limit.saturating_add(1)).read_to_end(&mut data).map_err(|error| FileError::io(&error, "read", path))?;
    if u64::try_from(data.len()).unwrap_or(u64::MAX) > limit {
        return Err(FileError::new(FileErrorCode::Limit, "read", path, format!("it is bigger than {limit} bytes")));
    }
    Ok(data)
}

fn check_file(kind: FileType, action: &'static str, path: &ImagePath) -> Result<(), FileError> {
    let cause = match kind {
        FileType::RegularFile => return Ok(()),
        FileType::Directory => "it is a directory",
        // Only if a link appeared after the path was resolved.
        FileType::Symlink => "it became a symbolic link meanwhile",
        _ => "it is a device, FIFO or socket",
    };
    Err(FileError::new(FileErrorCode::NotAFile, action, path, cause))
}

/// Refuses a file that would leave too little of the disk to the rest of the machine.
fn check_room(dir: &OwnedFd, size: u64, action: &'static str, path: &ImagePath) -> Result<(), FileError> {
    let free = Free::at(dir).map_err(|errno| FileError::system(errno, action, path))?;
    if free.has_room(size) {
        return Ok(());
    }
    let left = crate::ui::bytes(free.usable().bytes);
    let cause = format!("the disk of the store has no room for it; {left} may still be used");
    Err(FileError::new(FileErrorCode::Limit, action, path, cause))
}
