//! Writes whole files: a new inode under another name, which then takes the place of what was there.

use std::fs::File;
use std::io::{ErrorKind, Read, Seek as _, Write as _};
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Mode, OFlags};
use rustix::io::Errno;

use super::resolve::{Place, file_type};
use super::{Attrs, FileError, FileErrorCode, ImagePath, Rootfs, check_file, check_room, tree};

impl Rootfs {
    /// Writes a file whole: readers see the old content or the new, never a part. A final link is followed;
    /// hard links to the old file keep its content.
    ///
    /// # Errors
    /// [`FileErrorCode::NotAFile`] if something else is there; nothing is left behind on failure.
    pub fn write(&self, path: &ImagePath, data: &[u8], attrs: Attrs) -> Result<(), FileError> {
        let size = u64::try_from(data.len()).unwrap_or(u64::MAX);
        self.replace(path, attrs, size, "write", |file| file.write_all(data))
    }

    /// Writes `length` bytes of `source` in the same way.
    ///
    /// # Errors
    /// Those of [`Rootfs::write`], and if `source` ends before.
    pub fn write_from(
        &self,
        source: &mut dyn Read,
        length: u64,
        path: &ImagePath,
        attrs: Attrs,
    ) -> Result<(), FileError> {
        self.replace(path, attrs, length, "write", |file| match std::io::copy(&mut source.take(length), file)? {
            written if written == length => Ok(()),
            _ => Err(ErrorKind::UnexpectedEof.into()),
        })
    }

    /// Copies a host file into the image the same way and returns its size. It is read from its beginning.
    ///
    /// # Errors
    /// Those of [`Rootfs::write`]; [`FileErrorCode::Invalid`] if `source` is no regular file.
    pub fn install(&self, source: &File, path: &ImagePath, attrs: Attrs) -> Result<u64, FileError> {
        const ACTION: &str = "install";
        let fail = |error| FileError::io(&error, ACTION, path);
        let metadata = source.metadata().map_err(fail)?;
        if !metadata.is_file() {
            return Err(FileError::new(FileErrorCode::Invalid, ACTION, path, "the source is not a regular file"));
        }
        let mut size = 0;
        self.replace(path, attrs, metadata.len(), ACTION, |file| {
            let mut source = source;
            source.rewind()?;
            // Inside the kernel where both file systems can; shares the blocks where they support it.
            size = std::io::copy(&mut source, file)?;
            Ok(())
        })?;
        Ok(size)
    }

    /// Replaces a file: makes a new inode under a temporary name, sets attributes and time, then renames. An existing
    /// file is never written to.
    pub(super) fn replace(
        &self,
        path: &ImagePath,
        attrs: Attrs,
        size: u64,
        action: &'static str,
        fill: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<(), FileError> {
        tree::check_attrs(attrs, action, path)?;
        let place = self.locate(path, true, action)?;
        self.touch(&place, false, path, action)?;
        if let Some(name) = &place.name {
            match rustix::fs::statat(&place.dir, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => check_file(file_type(&stat), action, path)?,
                Err(Errno::NOENT) => {}
                Err(errno) => return Err(FileError::system(errno, action, path)),
            }
        }
        self.put(place, path, attrs, size, action, fill)
    }

    /// Renames the new file to `place`, and replaces anything there except a directory.
    pub(super) fn put(
        &self,
        place: Place,
        path: &ImagePath,
        attrs: Attrs,
        size: u64,
        action: &'static str,
        fill: impl FnOnce(&mut File) -> std::io::Result<()>,
    ) -> Result<(), FileError> {
        let fail = |errno| FileError::system(errno, action, path);
        let Place { dir, name } = place;
        let Some(name) = name else { return Err(fail(Errno::ISDIR)) };
        check_room(&dir, size, action, path)?;
        let temporary = temporary_name().map_err(fail)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let fd = rustix::fs::openat(&dir, &temporary, flags, Mode::RUSR | Mode::WUSR).map_err(fail)?;
        let mut file = File::from(fd);
        let finish = |file: &mut File| -> Result<(), FileError> {
            fill(file).map_err(|error| FileError::io(&error, action, path))?;
            self.keeper.apply(file.as_fd(), attrs).map_err(fail)?;
            tree::set_time(file.as_fd(), self.epoch).map_err(fail)?;
            rustix::fs::renameat(&dir, &temporary, &dir, &name).map_err(fail)
        };
        if let Err(error) = finish(&mut file) {
            // The first error is the one to report.
            rustix::fs::unlinkat(&dir, &temporary, AtFlags::empty()).ok();
            return Err(error);
        }
        tree::set_time(dir.as_fd(), self.epoch).map_err(fail)
    }
}

/// Returns a name nothing in an image has, so that a leftover of a killed build is recognised.
fn temporary_name() -> Result<String, Errno> {
    let mut random = [0; 8];
    rustix::rand::getrandom(&mut random, rustix::rand::GetRandomFlags::empty())?;
    Ok(format!(".piimg-{:016x}", u64::from_ne_bytes(random)))
}
