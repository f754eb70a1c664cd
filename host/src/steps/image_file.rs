//! Runs the last step inside: assembles the image, then verifies and reads it, while the store keeps its parts.
//! Requested partitions are those of a verified image.
//!
//! The reading gives the checksum, the block map and, if the plan wants one, the compressed image.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::Build;
use super::output_job::{OutputJob, Part, identity};
use super::partitions::Partitions;
use super::tarball::write_checksum;
use crate::error::{Context, Failure, Result};
use crate::image::assemble::{assemble, copy_extents};
use crate::image::layout::{Bytes, DiskIds};
use crate::image::mbr;
use crate::image::models::Model;
use crate::image::pass::{Compressed, Digests, digest, map, pass};
use crate::image::verify::{Expectations, verify};
use crate::recipe::plan::Plan;
use crate::sandbox::parser::Parser;
use crate::sandbox::process;
use crate::ui::{Ui, bytes};

/// Tells the user's process which image this build is for. Whether it lies where it is wanted since an earlier build, which
/// verified it: then there is nothing left to do.
pub(super) fn is_there_already(build: &Build<'_>, partitions: &str, output: &OutputJob) -> Result<bool> {
    let identity = identity(build.plan, partitions);
    File::from(process::adopt_fd(output.identity)?)
        .write_all(identity.as_bytes())
        .context("cannot tell which image this is")?;
    let is_there = !build.refresh && output.earlier.contains(&identity);
    if is_there {
        build.ui.step("Write the image").done_with("unchanged, it is there already");
    }
    Ok(is_there)
}

pub(super) fn run(
    build: &Build<'_>,
    mut partitions: Partitions,
    files: &BTreeMap<Part, File>,
    output: &OutputJob,
) -> Result<()> {
    let plain = files.get(&Part::PlainImage);
    let image = plain.or_else(|| files.get(&Part::Image)).context(Failure::bug("no file for the image"))?;
    let compressed = plain.and(files.get(&Part::Image));
    if let Err(error) = put_together(&build.ui, &partitions, image) {
        // A full disk is no fault of the store.
        return if partitions.are_sound() { Err(error) } else { partitions.refuse(&build.store) };
    }
    let table = mbr::read(image)?;
    let known = partitions.digests(&table);
    if known.is_none() && partitions.are_kept() {
        return partitions.refuse(&build.store);
    }

    let refused = AtomicBool::new(false);
    let (verified, read, kept) = thread::scope(|scope| {
        let (ui, plan, store) = (&build.ui, build.plan, &build.store);
        let refused = &refused;
        let identity = partitions.identity.clone();
        let verifier = scope
            .spawn(move || check(ui, plan, &identity, image).inspect_err(|_| refused.store(true, Ordering::Relaxed)));
        let kept = &mut partitions;
        let keeper = scope.spawn(move || {
            kept.keep(store)?;
            // The image must be on disk before it gets its name. Syncing early shortens the wait.
            if compressed.is_none() { image.sync_all().context("cannot sync the image") } else { Ok(()) }
        });
        let read = read(build, image, known.as_ref(), compressed, refused);
        (join(verifier), read, join(keeper))
    });
    if let (Some(known), true) = (&known, verified.is_err() || read.is_err())
        && digest(image, None, &mut |_| true)?.0 != known.sha256
    {
        return partitions.refuse(&build.store);
    }
    // The reading of a refused image is cut short; its error would only follow from this one.
    verified?;
    let (digests, compressed) = read?;
    kept?;
    match known {
        None => partitions.keep_digests(&build.store, &table, &digests)?,
        // These digests come from every byte of the image.
        Some(known) if known != digests => return partitions.refuse(&build.store),
        Some(_) => {}
    }

    if let (Some(mut bmap), Some(checksum)) = (files.get(&Part::Bmap), files.get(&Part::ImageChecksum)) {
        bmap.write_all(digests.bmap.to_xml().as_bytes()).context("cannot write a block map")?;
        let sha256 = compressed.map_or(digests.sha256, |compressed| compressed.sha256);
        write_checksum(checksum, &sha256, Part::Image, output)?;
    }
    copy_partitions(build, &partitions, files, output)
}

/// Copies the partitions that are wanted for themselves.
fn copy_partitions(
    build: &Build<'_>,
    partitions: &Partitions,
    files: &BTreeMap<Part, File>,
    output: &OutputJob,
) -> Result<()> {
    let (boot, root) = partitions.open()?;
    for (name, partition, part, checksum) in
        [("boot", boot, Part::Boot, Part::BootChecksum), ("root", root, Part::Root, Part::RootChecksum)]
    {
        let (Some(out), Some(checksum)) = (files.get(&part), files.get(&checksum)) else { continue };
        let step = build.ui.step(format!("Copy the {name} partition"));
        let failed = || format!("cannot copy the {name} partition");
        let length = partition.metadata().with_context(failed)?.len();
        out.set_len(length).with_context(failed)?;
        copy_extents(&partition, Bytes(0), Bytes(length), out, Bytes(0)).with_context(failed)?;
        let (sha256, _) = digest(out, None, &mut |_| true)?;
        write_checksum(checksum, &sha256, part, output)?;
        step.done_with(&bytes(length));
    }
    Ok(())
}

fn join<T>(thread: thread::ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

fn put_together(ui: &Ui, partitions: &Partitions, image: &File) -> Result<()> {
    let step = ui.step("Assemble the image");
    let (boot, root) = partitions.open()?;
    let layout = partitions.layout()?;
    assemble(image, &layout, partitions.identity.disk_signature, &boot, &root)?;
    step.done_with(&bytes(layout.total().0));
    Ok(())
}

fn check(ui: &Ui, plan: &Plan, identity: &DiskIds, image: &File) -> Result<()> {
    let step = ui.step("Verify the image");
    let models: Option<Vec<Model>> = plan.models.iter().map(|name| Model::from_name(name)).collect();
    let expected = Expectations {
        models: models.context(Failure::bug("the plan names an unknown model"))?,
        identity: Some(identity.clone()),
        free: Some(Bytes::mib(u64::from(plan.extra_space_mb))),
        // Such files were named when the image was finalised.
        on_purpose: None,
    };
    let report = verify(image, &expected, &Parser::default())?;
    if !report.passed() {
        let findings: Vec<String> =
            report.findings().iter().map(|(check, finding)| format!("{check}: {finding}")).collect();
        return Err(Failure::build(format!("the image is not right:\n  - {}", findings.join("\n  - "))).into());
    }
    let models: Vec<String> = report.models.iter().map(ToString::to_string).collect();
    step.done_with(&format!("boots on {}", models.join(", ")));
    Ok(())
}

/// Reads the image once. If its checksum is `known`, it is enough to compare what holds data with the block map.
fn read(
    build: &Build<'_>,
    image: &File,
    known: Option<&Digests>,
    compressed: Option<&File>,
    refused: &AtomicBool,
) -> Result<(Digests, Option<Compressed>)> {
    let compress = build.plan.compression.zip(compressed);
    let title = match (&compress, known) {
        (Some(_), _) => "Compress the image",
        (None, None) => "Checksum the image",
        (None, Some(_)) => "Compare the image",
    };
    let step = build.ui.step(title);
    let length = image.metadata().context("cannot read the image")?.len();
    step.set_total(length);
    let watch = &mut |position: Bytes| {
        step.set_position(position.0);
        !refused.load(Ordering::Relaxed)
    };
    if let (None, Some(known)) = (&compress, known) {
        let bmap = map(image, watch)?;
        step.done();
        return Ok((Digests { bmap, sha256: known.sha256.clone() }, None));
    }
    let (digests, compressed) = pass(image, compress, watch)?;
    match (build.plan.compression, &compressed) {
        (Some(compression), Some(compressed)) => step.done_with(&format!(
            "{}, {} % of it, with {compression}",
            bytes(compressed.length.0),
            compressed.length.0 * 100 / length.max(1)
        )),
        _ => step.done(),
    }
    Ok((digests, compressed))
}
