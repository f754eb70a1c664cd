//! Files that piimg writes on the host: the one place that makes, replaces and removes them.
//!
//! A [`Directory`] is opened once and held. What is made in it has a single name, is made where nothing of that name is
//! followed, and is renamed when it is complete: a link, or another directory in the place of this one, changes nothing. The
//! user's umask counts here, where it was meant to count, and nowhere else in piimg ([`take_umask`]).

mod path;

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};
use std::sync::OnceLock;

pub use path::HostPath;
use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;

/// The user's umask: <https://man7.org/linux/man-pages/man2/umask.2.html>.
static UMASK: OnceLock<u32> = OnceLock::new();

/// The umask of piimg and all that it starts. Modes inside an image, and of files for a build's own processes, must not
/// depend on the shell.
const OWN_UMASK: u32 = 0o022;

/// Keeps the user's umask for what is written on the host, and gives this process piimg's own.
///
/// Must run before any thread is started.
pub fn take_umask() {
    let umask = rustix::process::umask(Mode::from_raw_mode(OWN_UMASK)).as_raw_mode();
    // Nobody has asked before.
    UMASK.set(umask & 0o777).ok();
}

/// Returns the user's umask.
pub fn umask() -> u32 {
    *UMASK.get_or_init(|| {
        // A library that others use leaves the process as it is: asking by `umask(2)` would mean setting it.
        let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("Umask:"));
        line.and_then(|text| u32::from_str_radix(text.trim(), 8).ok()).unwrap_or(OWN_UMASK)
    })
}

/// Applies the user's umask to a mode.
pub fn for_user(mode: u32) -> Mode {
    Mode::from_raw_mode(mode & !umask())
}

/// Whether symbolic links on the way to a directory are followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// The user named it.
    Followed,
    /// The path was looked at before and had none.
    Refused,
}

/// A directory of the host, held open.
#[derive(Debug)]
pub struct Directory {
    fd: OwnedFd,
    /// Path for messages.
    path: PathBuf,
}

impl Directory {
    /// # Errors
    /// If it is no directory, cannot be read, or a link is on the way where none may be.
    pub fn open(path: &Path, links: Links) -> io::Result<Self> {
        Self::walk(path, links, None)
    }

    /// Opens a directory as [`Directory::open`] does, and makes the missing part of its path.
    ///
    /// # Errors
    /// Those of [`Directory::open`], or if the file system refuses.
    pub fn create(path: &Path, links: Links, mode: u32) -> io::Result<Self> {
        Self::walk(path, links, Some(mode))
    }

    /// Returns the directory of that path, whose last name is no link; `links` is for those above it.
    ///
    /// # Errors
    /// Those of [`Directory::open`].
    pub fn open_below(path: &Path, links: Links) -> io::Result<Self> {
        let (above, name) = split(path)?;
        Self::open(above, links)?.enter(name, None)
    }

    /// Opens a directory as [`Directory::open_below`] does, and makes the missing part of its path.
    ///
    /// # Errors
    /// Those of [`Directory::create`].
    pub fn create_below(path: &Path, links: Links, mode: u32) -> io::Result<Self> {
        let (above, name) = split(path)?;
        Self::create(above, links, mode)?.enter(name, Some(mode))
    }

    fn walk(path: &Path, links: Links, create: Option<u32>) -> io::Result<Self> {
        let mut flags = OFlags::DIRECTORY | OFlags::CLOEXEC;
        if links == Links::Refused {
            flags |= OFlags::NOFOLLOW;
        }
        let start = if path.is_absolute() { "/" } else { "." };
        let mut at = rustix::fs::open(start, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        for component in path.components() {
            let name = match component {
                Component::Normal(name) => name,
                Component::ParentDir => OsStr::new(".."),
                _ => continue,
            };
            at = match rustix::fs::openat(&at, name, flags | OFlags::PATH, Mode::empty()) {
                Err(Errno::NOENT) if create.is_some() && component != Component::ParentDir => {
                    make_directory(&at, name, create.unwrap_or_default())?
                }
                Err(Errno::NOTDIR | Errno::LOOP) if is_link(&at, name) => {
                    return Err(io::Error::other(format!("`{}` is a symbolic link", name.to_string_lossy())));
                }
                opened => opened?,
            };
        }
        let fd = rustix::fs::openat(&at, ".", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { fd, path: path.to_owned() })
    }

    /// Returns a directory in this one, which is made if it is not there.
    ///
    /// # Errors
    /// If something else has that name, or the file system refuses.
    pub fn subdirectory(&self, name: &str, mode: u32) -> io::Result<Self> {
        self.enter(name, Some(mode))
    }

    fn enter(&self, name: &str, create: Option<u32>) -> io::Result<Self> {
        check(name)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = match (rustix::fs::openat(&self.fd, name, flags, Mode::empty()), create) {
            (Err(Errno::NOENT), Some(mode)) => make_directory(&self.fd, OsStr::new(name), mode)?,
            (Err(Errno::NOTDIR | Errno::LOOP), _) if is_link(&self.fd, OsStr::new(name)) => {
                return Err(io::Error::other(format!("`{name}` is a symbolic link")));
            }
            (opened, _) => opened?,
        };
        Ok(Self { fd, path: self.path.join(name) })
    }

    /// Returns the path by which people know it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns a path of `name` in this very directory, whatever happens to the names above it; for as long as it is
    /// open.
    pub fn held(&self, name: &str) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{name}", self.fd.as_raw_fd()))
    }

    /// Returns owner, mode and the other metadata.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn stat(&self) -> io::Result<Stat> {
        Ok(rustix::fs::fstat(&self.fd)?)
    }

    /// Returns the metadata of the entry `name`, without following links; `None` if it does not exist.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn find(&self, name: &str) -> io::Result<Option<Stat>> {
        check(name)?;
        match rustix::fs::statat(&self.fd, name, AtFlags::SYMLINK_NOFOLLOW) {
            Err(Errno::NOENT) => Ok(None),
            found => Ok(Some(found?)),
        }
    }

    /// Names of all that is in it.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn names(&self) -> io::Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.fd)? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            if name != "." && name != ".." {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Opens a regular file to read it; returns `None` if it does not exist.
    ///
    /// # Errors
    /// If something else has that name, a link among others, or the file system refuses.
    pub fn open_file(&self, name: &str) -> io::Result<Option<File>> {
        check(name)?;
        // Not blocking, for nothing is known of it before it is open.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = match rustix::fs::openat(&self.fd, name, flags, Mode::empty()) {
            Err(Errno::NOENT) => return Ok(None),
            Err(Errno::LOOP) => return Err(io::Error::other("it is a symbolic link, which leads somewhere else")),
            opened => opened?,
        };
        if FileType::from_raw_mode(rustix::fs::fstat(&file)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file"));
        }
        Ok(Some(file.into()))
    }

    /// Reads a file of at most `most` bytes; returns `None` if it does not exist.
    ///
    /// # Errors
    /// Those of [`Directory::open_file`], and if it is longer.
    pub fn read(&self, name: &str, most: u64) -> io::Result<Option<Vec<u8>>> {
        let Some(file) = self.open_file(name)? else { return Ok(None) };
        let mut content = Vec::new();
        file.take(most + 1).read_to_end(&mut content)?;
        if u64::try_from(content.len()).is_ok_and(|length| length > most) {
            return Err(io::Error::other(format!("it is longer than {most} bytes")));
        }
        Ok(Some(content))
    }

    /// Returns a new file of that name, of exactly that mode, to write and read.
    ///
    /// # Errors
    /// If anything of that name is there, or the file system refuses.
    pub fn create_new(&self, name: &str, mode: Mode) -> io::Result<File> {
        check(name)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(&self.fd, name, flags, Mode::RUSR | Mode::WUSR)?;
        if let Err(error) = set_mode(&file, mode) {
            self.remove(name).ok();
            return Err(error);
        }
        Ok(file.into())
    }

    /// Returns a file without a name, to write and read; `None` if the file system knows no such files.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn create_unnamed(&self, mode: Mode) -> io::Result<Option<File>> {
        match rustix::fs::openat(&self.fd, ".", OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
            Ok(file) => {
                // The umask of whoever uses the library may have taken something away.
                set_mode(&file, mode)?;
                Ok(Some(file.into()))
            }
            Err(Errno::OPNOTSUPP | Errno::ISDIR | Errno::INVAL) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Gives a file of [`Directory::create_unnamed`] a name, in place of what has it.
    ///
    /// # Errors
    /// If a directory has that name, or the file system refuses.
    pub fn name(&self, file: &File, name: &str) -> io::Result<()> {
        check(name)?;
        let fresh = temporary_name(name)?;
        let source = format!("/proc/self/fd/{}", file.as_raw_fd());
        rustix::fs::linkat(CWD, source, &self.fd, fresh.as_str(), AtFlags::SYMLINK_FOLLOW)?;
        self.rename(&fresh, name).inspect_err(|_| {
            self.remove(&fresh).ok();
        })
    }

    /// Replaces what has that name, or makes it: whole, or not at all. Of `mode` counts what the user's umask leaves.
    ///
    /// # Errors
    /// If something that is neither file nor link has that name, or the file system refuses.
    pub fn replace(&self, name: &str, content: &[u8], mode: u32) -> io::Result<()> {
        self.replace_with(name, content, for_user(mode), |_| Ok(()))
    }

    /// Replaces a file by one of exactly that mode; `prepare` works on it before it gets its name.
    ///
    /// # Errors
    /// Those of [`Directory::replace`].
    pub fn replace_with(
        &self,
        name: &str,
        content: &[u8],
        mode: Mode,
        prepare: impl FnOnce(&File) -> io::Result<()>,
    ) -> io::Result<()> {
        self.check_replaceable(name)?;
        let fresh = temporary_name(name)?;
        let mut file = self.create_new(&fresh, mode)?;
        let written = file
            .write_all(content)
            .and_then(|()| prepare(&file))
            .and_then(|()| file.sync_all())
            .and_then(|()| self.rename(&fresh, name));
        written.inspect_err(|_| {
            // The first error is the one to tell.
            self.remove(&fresh).ok();
        })
    }

    /// Returns an empty file in place of what has that name, which is there at once: for what grows while it is read.
    ///
    /// # Errors
    /// Those of [`Directory::replace`].
    pub fn start(&self, name: &str, mode: u32) -> io::Result<File> {
        self.check_replaceable(name)?;
        let fresh = temporary_name(name)?;
        let file = self.create_new(&fresh, for_user(mode))?;
        self.rename(&fresh, name).inspect_err(|_| {
            self.remove(&fresh).ok();
        })?;
        Ok(file)
    }

    /// Refuses to replace a device or a pipe: it is no earlier result.
    fn check_replaceable(&self, name: &str) -> io::Result<()> {
        match self.find(name)?.map(|stat| FileType::from_raw_mode(stat.st_mode)) {
            None | Some(FileType::RegularFile | FileType::Symlink) => Ok(()),
            Some(_) => Err(io::Error::other(format!("`{name}` is there and is no file"))),
        }
    }

    /// Renames within the directory, in place of a file that has the new name.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.rename_from(self, from, to)
    }

    /// Takes over what another directory has.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn rename_from(&self, other: &Self, from: &str, to: &str) -> io::Result<()> {
        check(from)?;
        check(to)?;
        Ok(rustix::fs::renameat(&other.fd, from, &self.fd, to)?)
    }

    /// Renames unless something has the new name already; false then.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn rename_if_free(&self, from: &str, to: &str) -> io::Result<bool> {
        check(from)?;
        check(to)?;
        match rustix::fs::renameat_with(&self.fd, from, &self.fd, to, RenameFlags::NOREPLACE) {
            Err(Errno::EXIST) => Ok(false),
            renamed => Ok(renamed.map(|()| true)?),
        }
    }

    /// Lets two things in it change their names.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn exchange(&self, one: &str, other: &str) -> io::Result<()> {
        check(one)?;
        check(other)?;
        Ok(rustix::fs::renameat_with(&self.fd, one, &self.fd, other, RenameFlags::EXCHANGE)?)
    }

    /// Removes a file or link; what is not there is no error.
    ///
    /// # Errors
    /// If the file system refuses, or it is a directory.
    pub fn remove(&self, name: &str) -> io::Result<()> {
        check(name)?;
        match rustix::fs::unlinkat(&self.fd, name, AtFlags::empty()) {
            Err(Errno::NOENT) => Ok(()),
            done => Ok(done?),
        }
    }

    /// Removes an empty directory.
    ///
    /// # Errors
    /// If it is not empty, or the file system refuses.
    pub fn remove_directory(&self, name: &str) -> io::Result<()> {
        check(name)?;
        Ok(rustix::fs::unlinkat(&self.fd, name, AtFlags::REMOVEDIR)?)
    }

    /// Changes the mode of the directory itself.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn set_mode(&self, mode: u32) -> io::Result<()> {
        Ok(rustix::fs::fchmod(&self.fd, Mode::from_raw_mode(mode))?)
    }

    /// Waits until the disk has what was named in it.
    ///
    /// # Errors
    /// If the file system refuses.
    pub fn sync(&self) -> io::Result<()> {
        Ok(rustix::fs::fsync(&self.fd)?)
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Makes a directory of that mode, without what the user's umask takes away, and opens it to be read.
fn make_directory(at: &OwnedFd, name: &OsStr, mode: u32) -> io::Result<OwnedFd> {
    match rustix::fs::mkdirat(at, name, Mode::RWXU) {
        // Somebody was faster.
        Err(Errno::EXIST) => {}
        made => made?,
    }
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let made = rustix::fs::openat(at, name, flags, Mode::empty())?;
    rustix::fs::fchmod(&made, for_user(mode))?;
    Ok(made)
}

/// Sets the mode of a file; a file system without modes, as that of a card, keeps its own.
///
/// # Errors
/// If the file system refuses.
pub fn set_mode(file: impl AsFd, mode: Mode) -> io::Result<()> {
    match rustix::fs::fchmod(file, mode) {
        Err(Errno::PERM | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
        set => Ok(set?),
    }
}

fn is_link(at: &OwnedFd, name: &OsStr) -> bool {
    rustix::fs::statat(at, name, AtFlags::SYMLINK_NOFOLLOW)
        .is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Symlink)
}

/// Returns a name, by chance, for a file or directory until it is whole and is renamed to `name`. Nobody can have put a link
/// there, and no process of another container that shares the directory takes the same one.
///
/// # Errors
/// If the kernel has no random bytes.
pub fn temporary_name(name: &str) -> io::Result<String> {
    let mut random = [0_u8; 8];
    fill_random(&mut random)?;
    Ok(format!(".{name}.{}.partial", hex::encode(random)))
}

/// Fills `bytes` with random bytes of the kernel.
///
/// # Errors
/// If it has none.
pub fn fill_random(bytes: &mut [u8]) -> io::Result<()> {
    let mut filled = 0;
    while filled < bytes.len() {
        filled += rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty())?;
    }
    Ok(())
}

/// Returns a path without its last name, and that name.
fn split(path: &Path) -> io::Result<(&Path, &str)> {
    let name = path.file_name().and_then(OsStr::to_str);
    let name = name.ok_or_else(|| io::Error::other("its name is no text"))?;
    Ok((path.parent().filter(|above| *above != Path::new("")).unwrap_or(Path::new(".")), name))
}

/// Names are single names: whatever else would lead out of the directory.
fn check(name: &str) -> io::Result<()> {
    if name.is_empty() || name == "." || name == ".." || name.contains(['/', '\0']) {
        return Err(io::Error::other(format!("`{name}` is no name of a file")));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
