//! Makes a root file system for tests, in a directory with other things that nothing may read or change.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, mknodat};

use super::{Attrs, ImagePath, Rootfs};

pub(super) const EPOCH: u64 = 1_700_000_000;

pub(super) struct Fixture {
    /// The root is `root` in it.
    pub(super) dir: tempfile::TempDir,
    pub(super) rootfs: Rootfs,
}

impl Fixture {
    /// Directories of the image, and files with their content, beside it or (`root/…`) in it.
    pub(super) fn new(directories: &[&str], files: &[(&str, &str)]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("root");
        directories.iter().for_each(|name| fs::create_dir_all(root.join(name)).unwrap());
        for (name, content) in files {
            let path = dir.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, content).unwrap();
        }
        let rootfs = Rootfs::open(&root, EPOCH).unwrap();
        Self { dir, rootfs }
    }

    /// Returns the host's path of a path of the image.
    pub(super) fn host(&self, path: &str) -> PathBuf {
        self.dir.path().join("root").join(path.trim_start_matches('/'))
    }

    /// Returns attributes with this process's own ids: an ordinary user may not change owners.
    pub(super) fn attrs(&self, mode: u32) -> Attrs {
        let own = self.dir.path().metadata().unwrap();
        Attrs { mode, uid: own.uid(), gid: own.gid() }
    }

    pub(super) fn fifo(&self, name: &str) {
        mknodat(CWD, self.host(name), FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    }
}

pub(super) fn path(text: &str) -> ImagePath {
    ImagePath::parse(text).unwrap()
}
