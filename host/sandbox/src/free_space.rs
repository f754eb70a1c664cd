//! Measures free disk space, and reserves some for the rest of the machine.

use std::fs::File;
use std::os::fd::AsFd;
use std::path::Path;

use rustix::io::Errno;

use crate::error::{Context as _, Failure, Result as PiimgResult};
use crate::text::bytes;

/// Bytes left to others: what a running system needs for its logs, its mail and the removal of packages, which writes
/// before it frees. It also covers what a fast disk takes between two checks of a box, a tenth of a second apart: a
/// command that writes at full speed is stopped before the disk is full.
pub const RESERVED_BYTES: u64 = 256 << 20;
const RESERVED_FILES: u64 = 10_000;

/// Free space of a file system for users other than root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Free {
    pub bytes: u64,
    /// Free inodes; `None` where the file system makes them on demand, as btrfs does.
    pub files: Option<u64>,
}

impl Free {
    /// Measures the file system of `directory`.
    ///
    /// # Errors
    /// If the file system cannot be asked.
    pub fn at(directory: impl AsFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstatvfs(directory)?;
        let bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(Self { bytes, files: (stat.f_files > 0).then_some(stat.f_favail) })
    }

    /// Returns what may be used without touching the reserve.
    pub fn usable(self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(RESERVED_BYTES),
            files: self.files.map(|files| files.saturating_sub(RESERVED_FILES)),
        }
    }

    /// Returns whether a new file of `bytes` leaves the reserve untouched.
    pub fn has_room(self, bytes: u64) -> bool {
        let usable = self.usable();
        bytes < usable.bytes && usable.files.is_none_or(|files| files > 0)
    }
}

/// Bytes written between two measurements of the disk.
const STEP: u64 = 16 << 20;

/// Space for a file of unknown final length. It measures the disk again as the file grows.
#[derive(Debug)]
pub struct Room {
    /// Name of the place in messages.
    place: String,
    directory: File,
    /// Name of the growing file in messages.
    what: String,
    taken: u64,
    /// Length that the last measurement allowed.
    asked: u64,
}

impl Room {
    /// Makes room for `what` in `directory`; messages call it `place`.
    ///
    /// # Errors
    /// If there is no such directory.
    pub fn new(directory: &Path, place: &str, what: &str) -> PiimgResult<Self> {
        let opened = File::open(directory).with_context(|| format!("cannot open `{place}`"))?;
        Ok(Self { place: place.to_owned(), directory: opened, what: what.to_owned(), taken: 0, asked: 0 })
    }

    /// Makes another [`Room`] for the same thing in the same place.
    ///
    /// # Errors
    /// If the place cannot be opened again.
    pub fn again(&self) -> PiimgResult<Self> {
        let directory = self.directory.try_clone().with_context(|| format!("cannot open `{}`", self.place))?;
        Ok(Self { place: self.place.clone(), directory, what: self.what.clone(), taken: 0, asked: 0 })
    }

    /// Accounts for `length` more bytes before they are written.
    ///
    /// # Errors
    /// [`Failure::host`] if this would touch the reserve.
    pub fn take(&mut self, length: u64) -> PiimgResult<()> {
        self.taken = self.taken.saturating_add(length);
        if self.taken <= self.asked {
            return Ok(());
        }
        self.asked = self.taken.saturating_add(STEP);
        self.check(length.saturating_add(STEP), self.taken)
    }

    /// Checks that `length` more bytes leave the reserve untouched; an error states `needed` as the total need.
    ///
    /// # Errors
    /// [`Failure::host`] if they do not.
    pub fn check(&self, length: u64, needed: u64) -> PiimgResult<()> {
        let free =
            Free::at(&self.directory).with_context(|| format!("cannot ask how much is free in `{}`", self.place))?;
        if free.has_room(length) {
            return Ok(());
        }
        let text = format!(
            "there is no room for {} in `{}`: it needs more than {}, and {} are free, of which {} are left to the rest of \
             the machine",
            self.what,
            self.place,
            bytes(needed),
            bytes(free.bytes),
            bytes(RESERVED_BYTES)
        );
        Err(Failure::host(text).hint("make room there, or choose another place").into())
    }

    /// Describes the free space, for the error of something else that filled the disk.
    pub fn describe(&self) -> String {
        let free = Free::at(&self.directory).map_or(0, |free| free.bytes);
        format!(
            "{} are free in `{}`, of which {} are left to the rest of the machine",
            bytes(free),
            self.place,
            bytes(RESERVED_BYTES)
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_left_to_others() {
        let free = |bytes, files| Free { bytes, files };
        assert_eq!(free(300 << 20, Some(10_007)).usable(), free(44 << 20, Some(7)));
        assert!(free(300 << 20, None).has_room(43 << 20));
        for full in [free(300 << 20, None), free(1 << 20, None), free(1 << 40, Some(9000))] {
            assert!(!full.has_room(44 << 20), "{full:?}");
        }
        let here = std::fs::File::open(std::env::temp_dir()).unwrap();
        assert!(Free::at(&here).unwrap().bytes > 0);
    }

    #[test]
    fn what_grows_ends_before_the_reserve() {
        let directory = std::env::temp_dir();
        let mut room = Room::new(&directory, "/the/store", "`x.img`").unwrap();
        room.take(1).unwrap();
        let free = Free::at(&room.directory).unwrap();
        let error = room.take(free.usable().bytes + (1 << 30)).unwrap_err().to_string();
        assert!(error.starts_with("there is no room for `x.img` in `/the/store`: it needs more than "), "{error}");
        assert!(error.ends_with(" are free, of which 256 MiB are left to the rest of the machine"), "{error}");
    }
}
