//! Creates a file without a name, and names it when it is complete.

use std::fs::File;
use std::sync::Arc;

use rustix::fs::Mode;

use crate::error::{Context, Failure, Result};
use crate::host_files::{Directory, for_user, set_mode, temporary_name};
use crate::ui::Printable as _;

/// Mode of results, before the user's umask.
const MODE: u32 = 0o644;
/// Mode of files that others must not read.
const PRIVATE: u32 = 0o600;

/// Name of the file in a directory of its own.
const HIDDEN: &str = "file";

/// A file that has no name yet.
#[derive(Debug)]
pub(super) struct Unnamed {
    pub(super) file: File,
    directory: Arc<Directory>,
    /// Private directory and name of the file, where the file system has no unnamed files (`O_TMPFILE`).
    hidden: Option<(Directory, String)>,
}

impl Unnamed {
    /// Creates the file; `what` says what it becomes.
    pub(super) fn create(directory: &Arc<Directory>, what: &str) -> std::io::Result<Self> {
        match directory.create_unnamed(mode())? {
            Some(file) => Ok(Self { file, directory: directory.clone(), hidden: None }),
            None => Self::hide(directory, what),
        }
    }

    fn hide(directory: &Arc<Directory>, what: &str) -> std::io::Result<Self> {
        let name = temporary_name(what)?;
        let hidden = directory.subdirectory(&name, 0o700)?;
        let file = hidden.create_new(HIDDEN, mode())?;
        Ok(Self { file, directory: directory.clone(), hidden: Some((hidden, name)) })
    }

    /// Names an audit log; false if nothing is in it.
    pub(super) fn publish_audit(self, name: &str) -> Result<bool> {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            return Ok(false);
        }
        self.publish_with(name, PRIVATE).map(|()| true)
    }

    pub(super) fn publish(self, name: &str) -> Result<()> {
        self.publish_with(name, MODE)
    }

    fn publish_with(self, name: &str, mode: u32) -> Result<()> {
        let failed =
            || Failure::build(format!("cannot name the file `{}`", self.directory.path().join(name).printable()));
        self.file.sync_all().with_context(failed)?;
        // From here on others can find it; the user's umask decides what they may do with it.
        set_mode(&self.file, for_user(mode)).with_context(failed)?;
        let named = match &self.hidden {
            Some((hidden, _)) => self.directory.rename_from(hidden, HIDDEN, name),
            None => self.directory.name(&self.file, name),
        };
        named.with_context(failed)
    }
}

/// Returns the mode of a file without a name: readable by all, whatever the user's umask. Checkers in the private
/// namespace open it with ids of their own, and nobody else can.
fn mode() -> Mode {
    Mode::from_raw_mode(MODE)
}

impl Drop for Unnamed {
    fn drop(&mut self) {
        if let Some((hidden, name)) = &self.hidden {
            // The error that led here is the one to report.
            hidden.remove(HIDDEN).ok();
            self.directory.remove_directory(name).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write as _;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::host_files::{Links, umask};

    #[test]
    fn a_file_has_the_mode_that_its_stage_needs() {
        let dir = tempfile::tempdir().unwrap();
        let place = Arc::new(Directory::open(dir.path(), Links::Followed).unwrap());
        let mode = |file: &File| file.metadata().unwrap().permissions().mode() & 0o777;
        // As on a file system that has unnamed files, and on one that has not.
        type Make = fn(&Arc<Directory>, &str) -> std::io::Result<Unnamed>;
        let makers: [Make; 2] = [Unnamed::create, Unnamed::hide];
        for make in makers {
            drop(make(&place, "dropped").unwrap());
            let mut result = make(&place, "result").unwrap();
            result.file.write_all(b"x").unwrap();
            assert_eq!(mode(&result.file), 0o644, "the checkers have other ids");
            let mut audit = make(&place, "audit").unwrap();
            audit.file.write_all(b"x").unwrap();
            result.publish("result").unwrap();
            assert!(audit.publish_audit("audit").unwrap());
            assert!(!make(&place, "empty").unwrap().publish_audit("empty").unwrap());
            for (name, expected) in [("result", MODE & !umask()), ("audit", PRIVATE & !umask())] {
                assert_eq!(mode(&File::open(dir.path().join(name)).unwrap()), expected, "{name}");
                fs::remove_file(dir.path().join(name)).unwrap();
            }
            assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0, "nothing is left");
        }
    }
}
