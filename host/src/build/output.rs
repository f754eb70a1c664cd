//! The files that come out of a build, from nothing to their names.
//!
//! They grow without a name, so that a build that is killed leaves nothing behind. The user's process owns them; the
//! build gets them as descriptors.

use std::ffi::CString;
use std::fs::{self, File, Permissions};
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Mode, OFlags};
use serde::{Deserialize, Serialize};

use super::earlier::Earlier;
use crate::error::{Context, Failure, Result};
use crate::image::compress::Compression;
use crate::sandbox::private::memory_file;
use crate::ui::Ui;

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
    /// Receives the identity of the image, see [`super::earlier`].
    pub(super) identity: i32,
    /// Identities of the images that lie there untouched.
    pub(super) earlier: Vec<String>,
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
    /// Receives the identity of the image.
    identity: File,
    earlier: Earlier,
}

impl Output {
    /// # Errors
    /// [`Failure::host`] if the directory cannot be made or written to.
    pub(super) fn create(
        directory: &Path,
        image_name: String,
        compression: Option<Compression>,
        records: PathBuf,
    ) -> Result<Self> {
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
            identity: memory_file("identity", b"")?,
            earlier: Earlier::new(records, directory)?,
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
            identity: self.identity.as_raw_fd(),
            earlier: self.earlier.identities(),
        }
    }

    /// What is to be handed on for [`Output::job`].
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        [&self.image, &self.bmap, &self.checksum, &self.audit]
            .into_iter()
            .chain(&self.compressed)
            .map(|unnamed| unnamed.file.as_fd())
            .chain([self.identity.as_fd()])
            .collect()
    }

    /// Of a build that failed: names what its plugins called, if any ran; returns the path.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn publish_failed(self) -> Result<Option<PathBuf>> {
        let name = self.failed_name();
        Ok(self.audit.publish_audit(&self.directory, &name)?.then(|| self.directory.join(name)))
    }

    fn failed_name(&self) -> String {
        format!("{}.failed.audit.jsonl", self.image_name)
    }

    /// Gives the image its name, or finds that the one of an earlier build is it; `latest_image`, which names the image, is
    /// written at the very end. Returns the image's path.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn publish(self, ui: &Ui) -> Result<PathBuf> {
        let mut identity = String::new();
        let read = (&self.identity).rewind().and_then(|()| (&self.identity).read_to_string(&mut identity));
        read.context("cannot read which image was built")?;
        let length = self.image.file.metadata().context("cannot read the image")?.len();
        let directory = self.directory.clone();
        let name = if length == 0 {
            self.earlier.image(&identity).with_context(|| {
                Failure::build("the image of an earlier build, which this one would give again, was changed meanwhile")
                    .hint("build once more")
            })?
        } else {
            let earlier = self.earlier.clone();
            let mut names = self.name_all()?;
            // The image is complete; at worst the next build writes it once more.
            earlier.remember(&identity, &names).unwrap_or_else(|error| ui.warn(&format!("{error:#}")));
            names.swap_remove(0)
        };
        let target = directory.join(&name);
        let failed = || Failure::build(format!("cannot name the image `{}`", target.display()));
        let latest = directory.join("latest_image");
        let fresh = directory.join("latest_image.partial");
        fs::write(&fresh, format!("{name}\n")).and_then(|()| fs::rename(&fresh, &latest)).with_context(failed)?;
        File::open(&directory).and_then(|directory| directory.sync_all()).with_context(failed)?;
        Ok(target)
    }

    /// Syncs the files and names them, each replacing one of that name whole: the image after what belongs to it. Returns
    /// the names, the image's first.
    fn name_all(self) -> Result<Vec<String>> {
        let name = self.name();
        let failed_before = self.directory.join(self.failed_name());
        // Of a compressed build, the image itself is not kept.
        let image = self.compressed.unwrap_or(self.image);
        let mut names = vec![name.clone(), format!("{name}.sha256"), format!("{}.bmap", self.image_name)];
        self.checksum.publish(&self.directory, &names[1])?;
        self.bmap.publish(&self.directory, &names[2])?;
        let audit = format!("{}.audit.jsonl", self.image_name);
        if self.audit.publish_audit(&self.directory, &audit)? {
            names.push(audit);
        }
        image.publish(&self.directory, &name)?;
        // What is left of an attempt that this build repeated says nothing of the image.
        match fs::remove_file(&failed_before) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).with_context(|| format!("cannot remove `{}`", failed_before.display()))
            }
            _ => Ok(names),
        }
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

    /// Names an audit log; false if nothing is in it.
    fn publish_audit(self, directory: &Path, name: &str) -> Result<bool> {
        if self.file.metadata().is_ok_and(|metadata| metadata.len() == 0) {
            return Ok(false);
        }
        // It holds what plugins read of the image, which may be what others must not read.
        self.file.set_permissions(Permissions::from_mode(0o600)).context("cannot protect the audit log")?;
        self.publish(directory, name).map(|()| true)
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

    /// As the build inside leaves them.
    fn built(output: &Output, content: &str) {
        let write = |file: &File, text: &str| fs::write(crate::image::descriptor_path(file), text).unwrap();
        write(&output.image.file, content);
        write(&output.bmap.file, content);
        write(&output.identity, content);
    }

    fn ui() -> Ui {
        Ui::new(crate::ui::Verbosity::Quiet)
    }

    #[test]
    fn files_appear_whole_and_together_or_not_at_all() {
        for (compression, names) in [
            (None, ["a.img", "a.img.bmap", "a.img.sha256"]),
            (Some(Compression::Zstd(3)), ["a.img.zst", "a.img.bmap", "a.img.zst.sha256"]),
            (Some(Compression::Xz(6)), ["a.img.xz", "a.img.bmap", "a.img.xz.sha256"]),
        ] {
            let dir = tempfile::tempdir().unwrap();
            let records = tempfile::tempdir().unwrap();
            let create =
                || Output::create(dir.path(), "a.img".to_owned(), compression, records.path().to_owned()).unwrap();
            let dropped = create();
            assert!(list(dir.path()).is_empty());
            drop(dropped);
            assert!(list(dir.path()).is_empty());
            for content in ["first", "second"] {
                let output = create();
                assert_eq!(output.job().name, names[0]);
                assert_eq!(output.files().len(), if compression.is_some() { 6 } else { 5 });
                built(&output, content);
                assert_eq!(output.publish(&ui()).unwrap(), dir.path().join(names[0]));
                let expected: BTreeSet<String> = names.into_iter().chain(["latest_image"]).map(str::to_owned).collect();
                assert_eq!(list(dir.path()), expected);
                assert_eq!(fs::read_to_string(dir.path().join("a.img.bmap")).unwrap(), content);
                assert_eq!(fs::read_to_string(dir.path().join("latest_image")).unwrap(), format!("{}\n", names[0]));
            }
        }
    }

    #[test]
    fn an_image_that_is_there_is_the_result_and_the_latest_one() {
        let (dir, records) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let create = |name: &str| Output::create(dir.path(), name.to_owned(), None, records.path().to_owned()).unwrap();
        for name in ["first.img", "second.img"] {
            let output = create(name);
            built(&output, name);
            output.publish(&ui()).unwrap();
        }
        let again = || {
            let output = create("third.img");
            fs::write(crate::image::descriptor_path(&output.identity), "first.img").unwrap();
            output
        };
        let output = again();
        assert!(output.job().earlier.contains(&"first.img".to_owned()));
        assert_eq!(output.publish(&ui()).unwrap(), dir.path().join("first.img"));
        assert_eq!(fs::read_to_string(dir.path().join("latest_image")).unwrap(), "first.img\n");
        assert!(!dir.path().join("third.img").exists());

        let output = again();
        fs::remove_file(dir.path().join("first.img")).unwrap();
        let report = crate::error::report(&output.publish(&ui()).unwrap_err());
        assert!(report.messages[0].contains("was changed meanwhile"), "{report:?}");
        assert_eq!(report.hints, ["build once more"]);
        assert_eq!(fs::read_to_string(dir.path().join("latest_image")).unwrap(), "first.img\n");
    }

    #[test]
    fn the_audit_log_of_a_failed_build_is_kept_until_the_build_succeeds() {
        let dir = tempfile::tempdir().unwrap();
        let create = || Output::create(dir.path(), "a.img".to_owned(), None, dir.path().join("records")).unwrap();
        assert_eq!(create().publish_failed().unwrap(), None);
        assert!(list(dir.path()).is_empty());
        let output = create();
        fs::write(crate::image::descriptor_path(&output.audit.file), "line\n").unwrap();
        let path = output.publish_failed().unwrap().unwrap();
        assert_eq!(path, dir.path().join("a.img.failed.audit.jsonl"));
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_to_string(&path).unwrap(), "line\n");
        assert_eq!(list(dir.path()).len(), 1);
        let output = create();
        built(&output, "image");
        output.publish(&ui()).unwrap();
        assert!(!path.exists());
    }

    #[test]
    fn a_directory_that_cannot_be_written_to_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let error =
            Output::create(&file.path().join("images"), "a.img".to_owned(), None, file.path().into()).unwrap_err();
        let report = crate::error::report(&error);
        assert_eq!(report.messages[0], format!("cannot create an image in `{}/images`", file.path().display()));
        assert_eq!(report.hints, ["choose another directory with --imagedir"]);
    }
}
