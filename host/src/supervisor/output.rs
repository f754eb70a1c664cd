//! Creates the files of a result without names, and names them when they are complete.
//!
//! They grow without a name, so that a build that is killed leaves nothing behind. The user's process owns them; the
//! build gets them as descriptors.

mod directory;
mod unnamed;

use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::{Read as _, Seek as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::thread;

pub use directory::inside as unpack_inside;
use unnamed::Unnamed;

use super::previous_output::{self, Earlier};
use crate::error::{Context, Failure, Result};
use crate::host_files::Directory;
use crate::image::compress::Compression;
use crate::recipe::output::OutputKind;
use crate::recipe::plan::Plan;
use crate::sealed;
use crate::steps::output_job::{OutputJob, Part};
use crate::store;
use crate::ui::{Printable as _, Ui};

/// The files-to-be, in the directory of images.
#[derive(Debug)]
pub(super) struct Output {
    directory: Arc<Directory>,
    /// Common beginning of all names.
    stem: String,
    outputs: BTreeSet<OutputKind>,
    compression: Option<Compression>,
    files: BTreeMap<Part, Unnamed>,
    /// Receives the identity of the result.
    identity: File,
    earlier: Earlier,
}

/// Returns the names of the results, which begin with `stem`.
pub fn result_names(outputs: &BTreeSet<OutputKind>, compression: Option<Compression>, stem: &str) -> Vec<String> {
    let parts = Part::of(outputs, compression).into_iter().rev().filter(|part| part.is_result());
    let directory = outputs.contains(&OutputKind::Directory).then(|| tree_name(stem));
    parts.filter_map(|part| part.name(stem, compression)).chain(directory).collect()
}

/// Bytes with which nothing can be begun.
const NO_SPACE: u64 = 1 << 20;

fn directory_name(stem: &str) -> String {
    format!("{stem}.rootfs")
}

/// Returns the name of the tree within the directory of that name.
fn tree_name(stem: &str) -> String {
    format!("{}/{}", directory_name(stem), directory::TREE)
}

impl Output {
    /// Creates the output files without names. `image_name` is the name of an uncompressed image.
    ///
    /// # Errors
    /// [`Failure::host`] if the directory cannot be made or written to, or if this user cannot give files to others.
    pub(super) fn create(plan: &Plan, image_name: &str) -> Result<Self> {
        let shown = plan.imagedir.shown().printable();
        if plan.outputs.contains(&OutputKind::Directory) {
            directory::check_user()?;
        }
        let failed = || {
            Failure::host(format!("cannot create an image in `{shown}`"))
                .hint("choose another directory with --imagedir")
        };
        let directory = Arc::new(plan.imagedir.create_directory().with_context(failed)?);
        let files = Part::of(&plan.outputs, plan.compression).into_iter();
        let create = |part| Ok((part, Unnamed::create(&directory, &format!("{part:?}")).with_context(failed)?));
        Ok(Self {
            stem: image_name.strip_suffix(".img").unwrap_or(image_name).to_owned(),
            outputs: plan.outputs.clone(),
            compression: plan.compression,
            files: files.map(create).collect::<Result<_>>()?,
            identity: sealed::empty_file("identity")?,
            earlier: Earlier::new(store::images(&plan.store), plan.imagedir.path())?,
            directory,
        })
    }

    fn names(&self) -> BTreeMap<Part, String> {
        let name = |part: &Part| Some((*part, part.name(&self.stem, self.compression)?));
        self.files.keys().filter_map(name).collect()
    }

    pub(super) fn job(&self) -> OutputJob {
        OutputJob {
            files: self.files.iter().map(|(part, unnamed)| (*part, unnamed.file.as_raw_fd())).collect(),
            names: self.names(),
            identity: self.identity.as_raw_fd(),
            // It takes too long to see whether a directory was touched.
            earlier: if self.unpacks() { Vec::new() } else { self.earlier.identities() },
        }
    }

    /// Returns whether nothing more can be written where the results are put.
    pub(super) fn is_out_of_space(&self) -> bool {
        rustix::fs::fstatvfs(&self.directory).is_ok_and(|free| free.f_bavail * free.f_frsize < NO_SPACE)
    }

    fn unpacks(&self) -> bool {
        self.outputs.contains(&OutputKind::Directory)
    }

    /// Returns the descriptors to pass on with [`Output::job`].
    pub(super) fn files(&self) -> Vec<BorrowedFd<'_>> {
        self.files.values().map(|unnamed| unnamed.file.as_fd()).chain([self.identity.as_fd()]).collect()
    }

    /// Takes back what a build has written that is begun once more; `others` are files of the same kind.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn empty(&self, others: &[&File]) -> Result<()> {
        let files =
            self.files.values().map(|unnamed| &unnamed.file).chain([&self.identity]).chain(others.iter().copied());
        for mut file in files {
            file.set_len(0).and_then(|()| file.rewind()).context("cannot begin the image once more")?;
        }
        Ok(())
    }

    /// Publishes the log of a failed build, if any plugin ran; returns its path.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn publish_failed(mut self) -> Result<Option<PathBuf>> {
        let name = self.failed_name();
        let Some(audit) = self.files.remove(&Part::AuditLog) else { return Ok(None) };
        Ok(audit.publish_audit(&name)?.then(|| self.directory.path().join(name)))
    }

    fn failed_name(&self) -> String {
        format!("{}.img.failed.audit.jsonl", self.stem)
    }

    fn identity(&self) -> Result<String> {
        let mut identity = String::new();
        let read = (&self.identity).rewind().and_then(|()| (&self.identity).read_to_string(&mut identity));
        read.context("cannot read which image was built")?;
        Ok(identity)
    }

    /// Returns whether the build found that the results of an earlier one are it, and wrote nothing.
    fn is_there_already(&self) -> bool {
        let is_empty =
            |part| self.files.get(&part).is_some_and(|unnamed| unnamed.file.metadata().is_ok_and(|m| m.len() == 0));
        !self.unpacks() && [Part::Image, Part::Tar, Part::Root].into_iter().any(is_empty)
    }

    /// Returns whether the build has to be done once more: the results of an earlier one are not what was built any
    /// more, although nobody has touched them.
    ///
    /// # Errors
    /// If they cannot be read.
    pub(super) fn has_lost_an_earlier_one(&self, ui: &Ui) -> Result<bool> {
        if !self.is_there_already() {
            return Ok(false);
        }
        let step = ui.step("Compare the image with what was built");
        let Some(name) = self.earlier.damaged(&self.identity()?)? else {
            step.done();
            return Ok(false);
        };
        step.warn(&format!(
            "`{name}` is not what was built, though nobody has touched it: it is made anew; is the disk broken?"
        ));
        step.done_with("damaged");
        Ok(true)
    }

    /// Gives the files their names, or finds that those of an earlier build are it; `latest_image`, which names the image,
    /// is written at the very end. Returns the paths of what was asked for.
    ///
    /// # Errors
    /// If the file system refuses.
    pub(super) fn publish(self, ui: &Ui) -> Result<Vec<PathBuf>> {
        let identity = self.identity()?;
        let is_there_already = self.is_there_already();
        let directory = self.directory.clone();
        let has_image = self.outputs.contains(&OutputKind::Image);
        let names = if is_there_already {
            self.earlier.results(&identity).with_context(|| {
                Failure::build("the image of an earlier build, which this one would give again, was changed meanwhile")
                    .hint("build once more")
            })?
        } else {
            self.name_all(&identity, ui)?
        };
        if has_image {
            let name = names.first().context(Failure::bug("an image has no name"))?;
            let failed =
                || Failure::build(format!("cannot name the image `{}`", directory.path().join(name).printable()));
            directory.replace("latest_image", format!("{name}\n").as_bytes(), 0o644).with_context(failed)?;
        }
        directory.sync().with_context(|| format!("cannot sync `{}`", directory.path().printable()))?;
        Ok(names.iter().map(|name| directory.path().join(name)).collect())
    }

    /// Names all that was built. Returns the names of what was asked for, the image's first.
    fn name_all(mut self, identity: &str, ui: &Ui) -> Result<Vec<String>> {
        let failed_before = self.failed_name();
        let unpacked = if self.unpacks() {
            let tar = self.files.get(&Part::PlainTar).or_else(|| self.files.get(&Part::Tar));
            let tar = tar.context(Failure::bug("there is nothing to unpack"))?;
            Some(directory::unpack(&self.directory, &directory_name(&self.stem), &tar.file, ui)?)
        } else {
            None
        };
        let results = if let Some(unpacked) = unpacked {
            let (mut results, _) = self.name_files()?;
            results.push(unpacked.publish(ui)?);
            results
        } else {
            self.name_and_remember(identity, ui)?
        };
        // A log of an attempt that this build repeated says nothing about the image.
        let removed = self.directory.remove(&failed_before);
        removed
            .with_context(|| format!("cannot remove `{}`", self.directory.path().join(failed_before).printable()))?;
        Ok(results)
    }

    /// Publishes the results as [`Output::name_files`] does, and reads them meanwhile, so that the next build
    /// recognises them.
    fn name_and_remember(&mut self, identity: &str, ui: &Ui) -> Result<Vec<String>> {
        let names = self.names();
        let open = |(part, name): (&Part, &String)| Ok((name.clone(), self.files[part].file.try_clone()?));
        let files: std::io::Result<Vec<(String, File)>> = names.iter().map(open).collect();
        let files = files.context("cannot open what was built again")?;
        let (named, digests) = thread::scope(|scope| {
            let read =
                move || files.into_iter().map(|(name, file)| Ok((name, previous_output::digest(&file)?))).collect();
            let reader = scope.spawn(read);
            (self.name_files(), reader.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
        });
        let (results, others) = named?;
        let digests: std::io::Result<_> = digests;
        // The result is complete; at worst the next build writes it once more.
        let remembered = digests
            .context("cannot read what was built")
            .and_then(|digests| self.earlier.remember(identity, &results, &others, &digests));
        remembered.unwrap_or_else(|error| ui.warn(&format!("{error:#}")));
        Ok(results)
    }

    /// Syncs the files and names them, each replacing one of that name whole. Returns the names of what was asked for, the
    /// image's first, and those of what lies beside it.
    fn name_files(&mut self) -> Result<(Vec<String>, Vec<String>)> {
        let (mut results, mut others) = (Vec::new(), Vec::new());
        for (part, name) in self.names() {
            let Some(unnamed) = self.files.remove(&part) else { continue };
            if part == Part::AuditLog {
                if unnamed.publish_audit(&name)? {
                    others.push(name);
                }
                continue;
            }
            unnamed.publish(&name)?;
            if part.is_result() { results.push(name) } else { others.push(name) }
        }
        results.reverse();
        Ok((results, others))
    }
}

#[cfg(test)]
mod tests;
