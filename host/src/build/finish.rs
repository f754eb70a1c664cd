//! The last step inside: the image is put together, then verified and read once more, while the store keeps its parts.
//!
//! The reading gives the checksum, the block map and, if the plan wants one, the compressed image.

use std::fs::File;
use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use super::earlier;
use super::output::OutputJob;
use super::partitions::Partitions;
use super::plugins::write_audit_log;
use super::{Build, Layers};
use crate::error::{Context, Failure, Result};
use crate::image::assemble::assemble;
use crate::image::layout::{Bytes, Identity};
use crate::image::mbr;
use crate::image::models::Model;
use crate::image::pass::{Compressed, Digests, pass};
use crate::image::verify::{Expectations, verify};
use crate::recipe::plan::Plan;
use crate::sandbox::private;
use crate::ui::{Ui, bytes};

/// Tells the user's process which image this build is for. Whether it lies where it is wanted since an earlier build, which
/// verified it: then there is nothing left to do.
pub(super) fn is_there_already(build: &Build<'_>, partitions: &str, output: &OutputJob) -> Result<bool> {
    let identity = earlier::identity(build.plan, partitions);
    File::from(private::adopt_fd(output.identity)?)
        .write_all(identity.as_bytes())
        .context("cannot tell which image this is")?;
    let is_there = !build.refresh && output.earlier.contains(&identity);
    if is_there {
        build.ui.step("Write the image").done_with("unchanged, it is there already");
    }
    Ok(is_there)
}

pub(super) fn run(build: &Build<'_>, layers: &Layers, mut partitions: Partitions, output: &OutputJob) -> Result<()> {
    let open = |number: i32| private::adopt_fd(number).map(File::from);
    let image = open(output.image)?;
    let compressed = output.compressed.map(open).transpose()?;
    put_together(&build.ui, &partitions, &image)?;
    let table = mbr::read(&image)?;
    // Unless it must be compressed, there is nothing to learn from the bytes of an image that is known.
    let known = partitions.digests(&table).filter(|_| compressed.is_none());

    let refused = AtomicBool::new(false);
    let (verified, read, kept) = thread::scope(|scope| {
        let (ui, plan, store) = (&build.ui, build.plan, &build.store);
        let (image, refused, compressed) = (&image, &refused, compressed.as_ref());
        let identity = partitions.identity.clone();
        let verifier = scope
            .spawn(move || check(ui, plan, &identity, image).inspect_err(|_| refused.store(true, Ordering::Relaxed)));
        let kept = &mut partitions;
        let keeper = scope.spawn(move || {
            kept.keep(store)?;
            // It must reach the disk before it gets its name: the sooner it begins, the less there is to wait for.
            if compressed.is_none() { image.sync_all().context("cannot sync the image") } else { Ok(()) }
        });
        let read = read(build, image, known.as_ref(), compressed, refused);
        (join(verifier), read, join(keeper))
    });
    // An image that is refused is not read to its end: that error would follow from this one.
    verified?;
    let (digests, compressed) = read?;
    kept?;
    if known.is_none() {
        partitions.keep_digests(&build.store, &table, &digests)?;
    }

    write_audit_log(build, layers)?;
    let write = |number: i32, text: String| open(number)?.write_all(text.as_bytes()).context("cannot write a checksum");
    write(output.bmap, digests.bmap.to_xml())?;
    let sha256 = compressed.map_or(digests.sha256, |compressed| compressed.sha256);
    // As `sha256sum` writes it and `sha256sum -c` reads it.
    write(output.checksum, format!("{sha256}  {}\n", output.name))
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

fn check(ui: &Ui, plan: &Plan, identity: &Identity, image: &File) -> Result<()> {
    let step = ui.step("Verify the image");
    let models: Option<Vec<Model>> = plan.models.iter().map(|name| Model::from_name(name)).collect();
    let expected = Expectations {
        models: models.context(Failure::bug("the plan names an unknown model"))?,
        identity: Some(identity.clone()),
        free: Some(Bytes::mib(u64::from(plan.extra_space_mb))),
    };
    let report = verify(image, &expected)?;
    if !report.passed() {
        let findings: Vec<String> =
            report.findings().iter().map(|(check, finding)| format!("{check}: {finding}")).collect();
        return Err(Failure::build(format!("the image is not right:\n  - {}", findings.join("\n  - "))).into());
    }
    let models: Vec<String> = report.models.iter().map(ToString::to_string).collect();
    step.done_with(&format!("boots on {}", models.join(", ")));
    Ok(())
}

/// Reads the image once, unless all that it would tell is `known`.
fn read(
    build: &Build<'_>,
    image: &File,
    known: Option<&Digests>,
    compressed: Option<&File>,
    refused: &AtomicBool,
) -> Result<(Digests, Option<Compressed>)> {
    let compress = build.plan.compression.zip(compressed);
    let step = build.ui.step(if compress.is_some() { "Compress the image" } else { "Checksum the image" });
    if let Some(digests) = known {
        step.done_with("unchanged, from the store");
        return Ok((digests.clone(), None));
    }
    let length = image.metadata().context("cannot read the image")?.len();
    step.set_total(length);
    let (digests, compressed) = pass(image, compress, &mut |position| {
        step.set_position(position.0);
        !refused.load(Ordering::Relaxed)
    })?;
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
