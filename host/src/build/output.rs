//! The files that come out of a build, from nothing to their names.
//!
//! They grow without a name, so that a build that is killed leaves nothing behind. The user's process owns them; the
//! build gets them as descriptors.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};
use crate::image::compress::Compression;

/// [`Output`] as the build sees it; files are inherited descriptors, by number.
#[derive(Debug, Serialize, Deserialize)]
pub struct OutputJob {
    /// What the image, or its compressed form, is going to be called.
    pub(super) name: String,
    pub(super) image: i32,
    pub(super) compressed: Option<i32>,
    pub(super) bmap: i32,
    pub(super) checksum: i32,
    pub(super) audit: i32,
}

/// The files-to-be, in the directory of images.
#[derive(Debug)]
pub(super) struct Output {
    directory: PathBuf,
    /// Name of the image without compression.
    image_name: String,
    compression: Option<Compression>,
    image: Unnamed,
    compressed: Option<Unnamed>,
    bmap: Unnamed,
    checksum: Unnamed,
    /// What the plugins called; it gets a name if there were any.
    audit: Unnamed,
}

impl Output {
    /// # Errors
    /// [`Failure::host`] if the directory cannot be made or written to.
    pub(super) fn create(directory: &Path, image_name: String, compression: Option<Compression>) -> Result<Self> {
        let failed = || {
            Failure::host(format!("cannot create an image in `{}`", directory.display()))
                .hint("choose another directory with --imagedir")
        };
        fs::create_dir_all(directory).with_context(failed)?;
        let create = |what: &str| Unnamed::create(directory, what).with_context(failed);
        Ok(Self {
            directory: directory.to_owned(),
            image_name,
            compression,
            image: create("image")?,
            compressed: compression.map(|_| create("compressed")).transpose()?,
            bmap: create("bmap")?,
            checksum: create("checksum")?,
            audit: create("audit")?,
        })
    }

    fn name(&self) -> String {
        format!("{}{}", self.image_name, self.compression.map_or("", Compression::extension))
    }

    pub(super) fn job(&self) -> OutputJob {
        let number = |unnamed: &Unnamed| unnamed.file.as_raw_fd();
        OutputJob {
            name: self.name(),
            image: number(&self.image),
            compressed: self.compressed.as_ref().map(number),
            bmap: number(&self.bmap),
            checksum: number(&self.checksum),
            audit: number(&self.audit),
        }
    }

    /// What is to be handed on for [`Output::job`].
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        [&self.image, &self.bmap, &self.checksum, &self.audit]
            .into_iter()
            .chain(&self.compressed)
            .map(|unnamed| unnamed.file.as_fd())
            .collect()
    }

    /// Syncs the files and names them, each replacing one of that name whole: the image after what belongs to it,
    /// `latest_image`, which names the image, at the very end. Returns the image's path.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn publish(self) -> Result<PathBuf> {
        let name = self.name();
        // Of a compressed build, the image itself is not kept.
        let image = self.compressed.unwrap_or(self.image);
        self.bmap.publish(&self.directory, &format!("{}.bmap", self.image_name))?;
        self.checksum.publish(&self.directory, &format!("{name}.sha256"))?;
        if self.audit.file.metadata().is_ok_and(|metadata| metadata.len() > 0) {
            // It holds what plugins read of the image, which may be what others must not read.
            self.audit.file.set_permissions(Permissions::from_mode(0o600)).context("cannot protect the audit log")?;
            self.audit.publish(&self.directory, &format!("{}.audit.jsonl", self.image_name))?;
        }
        image.publish(&self.directory, &name)?;
        let target = self.directory.join(&name);
        let failed = || Failure::build(format!("cannot name the image `{}`", target.display()));
        let latest = self.directory.join("latest_image");
        let fresh = self.directory.join("latest_image.partial");
        fs::write(&fresh, format!("{name}\n")).and_then(|()| fs::rename(&fresh, &latest)).with_context(failed)?;
        File::open(&self.directory).and_then(|directory| directory.sync_all()).with_context(failed)?;
        Ok(target)
    }
}

/// A file that has no name yet.
#[derive(Debug)]
struct Unnamed {
    file: File,
    /// Where the file system has no unnamed files.
    named: Option<PathBuf>,
}

impl Unnamed {
    fn create(directory: &Path, what: &str) -> std::io::Result<Self> {
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

    fn publish(mut self, directory: &Path, name: &str) -> Result<()> {
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn list(directory: &Path) -> BTreeSet<String> {
        fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
    }

    #[test]
    fn files_appear_whole_and_together_or_not_at_all() {
        for (compression, names) in [
            (None, ["a.img", "a.img.bmap", "a.img.sha256"]),
            (Some(Compression::Zstd(3)), ["a.img.zst", "a.img.bmap", "a.img.zst.sha256"]),
            (Some(Compression::Xz(6)), ["a.img.xz", "a.img.bmap", "a.img.xz.sha256"]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let create = || Output::create(dir.path(), "a.img".to_owned(), compression).unwrap();
            let dropped = create();
            assert!(list(dir.path()).is_empty());
            drop(dropped);
            assert!(list(dir.path()).is_empty());
            for content in ["first", "second"] {
                let output = create();
                assert_eq!(output.job().name, names[0]);
                assert_eq!(output.files().len(), if compression.is_some() { 5 } else { 4 });
                fs::write(crate::image::descriptor_path(&output.bmap.file), content).unwrap();
                assert_eq!(output.publish().unwrap(), dir.path().join(names[0]));
                let expected: BTreeSet<String> = names.into_iter().chain(["latest_image"]).map(str::to_owned).collect();
                assert_eq!(list(dir.path()), expected);
                assert_eq!(fs::read_to_string(dir.path().join("a.img.bmap")).unwrap(), content);
                assert_eq!(fs::read_to_string(dir.path().join("latest_image")).unwrap(), format!("{}\n", names[0]));
            }
        }
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error = Output::create(&file.path().join("images"), "a.img".to_owned(), None).unwrap_err();
        let report = crate::error::report(&error);
        assert_eq!(report.messages[0], format!("cannot create an image in `{}/images`", file.path().display()));
        assert_eq!(report.hints, ["choose another directory with --imagedir"]);
    }
}
