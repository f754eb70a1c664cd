//! What is left of a disk, and what must stay for the rest of the machine whatever a plugin does.

use std::os::fd::AsFd;

use rustix::io::Errno;

/// Bytes and files that are left to others.
const RESERVED_BYTES: u64 = 256 << 20;
const RESERVED_FILES: u64 = 10_000;

/// What is free on a file system for those who are not root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Free {
    pub(crate) bytes: u64,
    /// None where room for files is made as they come, as on btrfs.
    pub(crate) files: Option<u64>,
}

impl Free {
    /// # Errors
    /// If the file system cannot be asked.
    pub(crate) fn at(directory: impl AsFd) -> Result<Self, Errno> {
        let stat = rustix::fs::fstatvfs(directory)?;
        let bytes = stat.f_bavail.saturating_mul(stat.f_frsize);
        Ok(Self { bytes, files: (stat.f_files > 0).then_some(stat.f_favail) })
    }

    /// What may be used of it.
    pub(crate) fn usable(self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(RESERVED_BYTES),
            files: self.files.map(|files| files.saturating_sub(RESERVED_FILES)),
        }
    }

    /// Whether a new file of that many bytes leaves enough to others.
    pub(crate) fn has_room(self, bytes: u64) -> bool {
        let usable = self.usable();
        bytes < usable.bytes && usable.files.is_none_or(|files| files > 0)
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
}
