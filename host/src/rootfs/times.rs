//! Limits the times of a layer's files: none is later than the archive that its packages are from.
//!
//! What programs write has the time of the clock. It is taken back before a layer is kept, and not only when an image is
//! written: a layer is the same whenever it was made, so that it serves images of every time.

use std::ffi::CString;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, FileType, Mode, OFlags, Timespec, Timestamps, UTIME_OMIT};
use rustix::io::Errno;

use crate::error::{Context as _, Result};

/// Files of a layer whose times are wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    /// Later ones.
    Later,
    /// That, and what has no time at all: it was written before the time was known.
    LaterOrNone,
}

/// Gives what has a wrong time the `latest` one, in seconds since 1970. No link is followed.
///
/// # Privileges
/// Must own the files.
///
/// # Errors
/// If the file system refuses.
pub fn clamp(tree: &Path, wrong: Wrong, latest: u64) -> Result<()> {
    let latest = i64::try_from(latest).context("a time that no file can have")?;
    open(CWD, tree).and_then(|top| Settle { wrong, latest }.directory(&top)).context("cannot set the times of a layer")
}

struct Settle {
    wrong: Wrong,
    latest: i64,
}

impl Settle {
    fn directory(&self, directory: &OwnedFd) -> Result<(), Errno> {
        // No more than one descriptor is open for each directory on the way: a layer has at most 500 in one another.
        let names = Dir::read_from(directory)?.map(|entry| Ok(entry?.file_name().to_owned()));
        for name in names.collect::<Result<Vec<CString>, Errno>>()? {
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let known = rustix::fs::statat(directory, &name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(known.st_mode) == FileType::Directory {
                self.directory(&open(directory, &name)?)?;
                continue;
            }
            // A whiteout (<https://docs.kernel.org/filesystems/overlayfs.html#whiteouts-and-opaque-directories>) has no
            // time that matters, and one inode for many names.
            let is_mark = FileType::from_raw_mode(known.st_mode) == FileType::CharacterDevice && known.st_rdev == 0;
            if self.is_wrong(known.st_mtime, known.st_mtime_nsec) && !is_mark {
                rustix::fs::utimensat(directory, &name, &times(self.latest), AtFlags::SYMLINK_NOFOLLOW)?;
            }
        }
        let known = rustix::fs::fstat(directory)?;
        if self.is_wrong(known.st_mtime, known.st_mtime_nsec) {
            rustix::fs::futimens(directory, &times(self.latest))?;
        }
        Ok(())
    }

    fn is_wrong(&self, seconds: i64, nanoseconds: impl TryInto<i64>) -> bool {
        let time = (seconds, nanoseconds.try_into().unwrap_or_default());
        time > (self.latest, 0) || self.wrong == Wrong::LaterOrNone && time == (0, 0)
    }
}

fn times(seconds: i64) -> Timestamps {
    Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: seconds, tv_nsec: 0 },
    }
}

fn open(at: impl AsFd, name: impl rustix::path::Arg) -> Result<OwnedFd, Errno> {
    let at: BorrowedFd<'_> = at.as_fd();
    rustix::fs::openat(at, name, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File, FileTimes};
    use std::os::unix::fs::{MetadataExt as _, symlink};
    use std::time::{Duration, SystemTime};

    use super::*;
    use crate::ui::Printable as _;

    #[test]
    fn nothing_is_later_than_it_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let (tree, outside) = (dir.path().join("tree"), dir.path().join("outside"));
        fs::create_dir_all(tree.join("etc/deep")).unwrap();
        fs::write(&outside, "x").unwrap();
        let set = |path: &Path, seconds: u64, nanoseconds: u32| {
            let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, nanoseconds);
            File::open(path).unwrap().set_times(FileTimes::new().set_modified(time)).unwrap();
        };
        for (name, seconds, nanoseconds) in
            [("early", 5, 7), ("same", 1000, 0), ("just", 1000, 1), ("late", 2000, 0), ("none", 0, 0)]
        {
            fs::write(tree.join("etc/deep").join(name), "x").unwrap();
            set(&tree.join("etc/deep").join(name), seconds, nanoseconds);
        }
        set(&outside, 5000, 0);
        symlink(&outside, tree.join("link")).unwrap();
        clamp(&tree, Wrong::Later, 1000).unwrap();
        assert_eq!(fs::metadata(tree.join("etc/deep/none")).unwrap().mtime(), 0);
        clamp(&tree, Wrong::LaterOrNone, 1000).unwrap();
        let time = |path: &Path| {
            let metadata = fs::symlink_metadata(path).unwrap();
            (metadata.mtime(), metadata.mtime_nsec())
        };
        for (name, expected) in
            [("early", (5, 7)), ("same", (1000, 0)), ("just", (1000, 0)), ("late", (1000, 0)), ("none", (1000, 0))]
        {
            assert_eq!(time(&tree.join("etc/deep").join(name)), expected, "{name}");
        }
        for path in [&tree, &tree.join("etc"), &tree.join("etc/deep"), &tree.join("link")] {
            assert_eq!(time(path), (1000, 0), "{}", path.printable());
        }
        assert_eq!(time(&outside), (5000, 0), "what a link leads to is left alone");
    }
}
