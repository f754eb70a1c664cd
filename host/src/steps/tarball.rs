//! Writes the root file system as a tar archive: the layers, finalised for this image, with the files of the boot
//! partition.
//!
//! GNU tar writes it: it knows owners by number, access control lists and file capabilities, and sorts. The same tree gives
//! the same bytes.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::path::Path;
use std::process::Stdio;

use super::output_job::{OutputJob, Part};
use super::{Build, Layers, partitions};
use crate::error::{Context, Failure, Result};
use crate::image::layout::DiskIds;
use crate::image::pass::digest;
use crate::sandbox::numeric_ids::HiddenAccounts;
use crate::sandbox::tool::Tool;
use crate::ui::bytes;

/// Writes the archive, its compressed form and its checksum, if they are wanted; `partitions` is what the partitions of
/// these layers are kept under.
pub(super) fn write(
    build: &Build<'_>,
    layers: &Layers,
    partitions: &str,
    files: &BTreeMap<Part, File>,
    output: &OutputJob,
) -> Result<()> {
    let Some(plain) = files.get(&Part::PlainTar).or_else(|| files.get(&Part::Tar)) else { return Ok(()) };
    let stage = build.store.stage()?;
    let (mounted, _) = partitions::finalised(build, layers, &stage, &DiskIds::derive(partitions.as_bytes()))?;
    let step = build.ui.step("Archive the root file system");
    pack(mounted.path(), layers.epoch, plain)?;
    let length = plain.metadata().context("cannot read the archive")?.len();
    step.done_with(&bytes(length));
    drop(mounted);
    let (Some(tar), Some(checksum)) = (files.get(&Part::Tar), files.get(&Part::TarChecksum)) else { return Ok(()) };
    let compression = build.plan.compression.map(|compression| (compression, tar));
    let step = build.ui.step(if compression.is_some() { "Compress the archive" } else { "Checksum the archive" });
    step.set_total(length);
    let (sha256, compressed) = digest(plain, compression, &mut |position| {
        step.set_position(position.0);
        true
    })?;
    step.done();
    write_checksum(checksum, compressed.as_ref().map_or(&sha256, |compressed| &compressed.sha256), Part::Tar, output)
}

/// Writes a checksum in the format of `sha256sum -c`.
pub(super) fn write_checksum(mut file: &File, sha256: &str, of: Part, output: &OutputJob) -> Result<()> {
    let name = output.names.get(&of).context(Failure::bug("a checksum of nothing"))?;
    file.write_all(format!("{sha256}  {name}\n").as_bytes()).context("cannot write a checksum")
}

fn pack(root: &Path, epoch: u64, out: &File) -> Result<()> {
    let _numbers = HiddenAccounts::new()?;
    let out = out.try_clone().context("cannot write the archive")?;
    Tool::new("tar")
        .args(["--create", "--format=posix", "--sort=name", "--numeric-owner", "--acls", "--xattrs"])
        // All other attributes belong to the host.
        .args(["--xattrs-include=security.capability", "--xattrs-include=user.*"])
        .arg(format!("--mtime=@{epoch}"))
        .arg("--clamp-mtime")
        // The default names of the extra headers contain the process id, and two times say when the tree was read. See
        // <https://www.gnu.org/software/tar/manual/html_node/PAX-keywords.html>.
        .arg("--pax-option=exthdr.name=%d/PaxHeaders/%f,delete=atime,delete=ctime")
        .args(["--file=-", "--directory"])
        .arg(root)
        .arg(".")
        .run_between(Stdio::null(), out.into())
        .context(Failure::build("cannot archive the root file system"))
}
