//! A file without a name, which gets one when it is complete.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};

use crate::error::{Context, Failure, Result};

/// A file that has no name yet.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) file: File,
    /// Where the file system has no unnamed files.
    named: Option<PathBuf>,
}

impl Unnamed {
    /// `what` tells it from others of this process.
    pub(super) fn create(directory: &Path, what: &str) -> std::io::Result<Self> {
        // Readable by all while it has no name: the checkers in the private namespace open it anew, and nobody else can.
        let mode = Mode::from_raw_mode(0o644);
        match rustix::fs::open(directory, OFlags::TMPFILE | OFlags::RDWR | OFlags::CLOEXEC, mode) {
            Ok(file) => Ok(Self { file: file.into(), named: None }),
            Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::ISDIR) => {
                let path = directory.join(format!("{}.{what}.partial", std::process::id()));
                let file = File::options().read(true).write(true).create_new(true).open(&path)?;
                Ok(Self { file, named: Some(path) })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Names an audit log; false if nothing is in it.
    pub(super) fn publish_audit(self, directory: &Path, name: &str) -> Result<bool> {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            return Ok(false);
        }
        // It holds what plugins read of the image, which may be what others must not read.
        self.file.set_permissions(Permissions::from_mode(0o600)).context("cannot protect the audit log")?;
        self.publish(directory, name).map(|()| true)
    }

    pub(super) fn publish(mut self, directory: &Path, name: &str) -> Result<()> {
        let target = directory.join(name);
        let failed = || Failure::build(format!("cannot name the file `{}`", target.display()));
        self.file.sync_all().with_context(failed)?;
        let partial = directory.join(format!("{name}.partial"));
        match self.named.take() {
            Some(path) => fs::rename(path, &partial).with_context(failed)?,
            None => {
                // A partial of that name was left by a build that was killed within these lines.
                fs::remove_file(&partial).ok();
                let source = CString::new(format!("/proc/self/fd/{}", self.file.as_raw_fd()))
                    .expect("a number has no null byte");
                rustix::fs::linkat(CWD, source.as_c_str(), CWD, &partial, AtFlags::SYMLINK_FOLLOW)
                    .with_context(failed)?;
            }
        }
        fs::rename(&partial, &target).with_context(failed)
    }
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some(path) = &self.named {
            // The error that brought us here is the one to report.
            fs::remove_file(path).ok();
        }
    }
}
