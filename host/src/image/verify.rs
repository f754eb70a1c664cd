//! Checks a finished image, whoever made it. Findings are data: all of them are collected, none ends the search.

mod machine_ids;
mod references;

use std::collections::BTreeSet;
use std::fs::File;
use std::os::unix::fs::MetadataExt as _;

use serde::Serialize;

use super::assemble;
use super::ext4::{Ext4Reader, Superblock, device_in};
use super::layout::{Bytes, DiskIds, Partition};
use super::mbr::Table;
use super::models::{self, BootFiles, Model, overlays};
use super::parsing::{self, BootPartition};
use super::{root, source};
use crate::error::{Context as _, Kind, Result, report};
use crate::sandbox::confined::Confined;
use crate::sandbox::free_space::Room;
use crate::sandbox::parser::Parser;
use crate::sandbox::tool::Output;
use crate::ui::{Printable as _, count};

/// The longest copy of a boot partition that is kept in memory: two of those that piimg makes.
const MOST_IN_MEMORY: Bytes = Bytes::mib(1024);

/// Requirements on the image. Without any, it must be able to boot some Pi.
#[derive(Clone, Debug, Default)]
pub struct Expectations {
    /// The models it claims to boot.
    pub models: Vec<Model>,
    /// Its names, if known.
    pub identity: Option<DiskIds>,
    /// Required free space in the root partition.
    pub free: Option<Bytes>,
    /// Whether to look for keys and ids of one machine, and the files that were written for just this image; a path that
    /// ends in `/` stands for all below.
    pub on_purpose: Option<BTreeSet<String>>,
}

/// Outcome of a check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "outcome", content = "findings", rename_all = "lowercase")]
pub enum Outcome {
    /// Says what was found.
    Passed(String),
    /// Everything that is wrong.
    Failed(Vec<String>),
    /// Nothing that is wrong, but something that one should know.
    Noted(Vec<String>),
    /// Could not be made because of an earlier finding.
    Skipped(String),
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Check {
    pub name: &'static str,
    #[serde(flatten)]
    pub outcome: Outcome,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct VerifyReport {
    pub checks: Vec<Check>,
    /// The models that the boot files can start.
    pub models: Vec<Model>,
}

impl VerifyReport {
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|check| matches!(check.outcome, Outcome::Passed(_) | Outcome::Noted(_)))
    }

    /// Returns every finding, with the check that made it.
    pub fn findings(&self) -> Vec<(&'static str, &str)> {
        self.checks
            .iter()
            .filter_map(|check| match &check.outcome {
                Outcome::Failed(findings) => Some(findings.iter().map(|finding| (check.name, finding.as_str()))),
                _ => None,
            })
            .flatten()
            .collect()
    }
}

/// Checks `image`.
///
/// # Errors
/// [`Failure::host`](crate::error::Failure::host) if a checker is missing, or if the image cannot be read at all.
pub fn verify(image: &File, expected: &Expectations, parser: &Parser) -> Result<VerifyReport> {
    let mut report = VerifyReport { checks: Vec::new(), models: Vec::new() };
    let mut add = |name, outcome| report.checks.push(Check { name, outcome });
    let table = match source::table(image, parser) {
        Ok(table) => table,
        Err(error) => {
            add("partition table", Outcome::Failed(vec![told(&error)]));
            return Ok(report);
        }
    };
    add("partition table", check_table(image, &table, expected)?);
    add("image length", check_length(image, &table)?);
    let skipped = |what: &str| Outcome::Skipped(format!("the table has no {what} partition"));

    let mut boot = None;
    match table.boot() {
        Some((_, partition)) => {
            add("boot file system", check_fat(image, partition)?);
            match BootPartition::read(parser, image, partition) {
                Ok(read) => boot = Some(read),
                Err(error) => add("boot partition", Outcome::Failed(vec![format!("{error:#}")])),
            }
        }
        None => add("boot file system", skipped("boot")),
    }
    let boot_files = boot.as_ref().map(BootPartition::boot_files);
    let found_root = root::find(image, &table, || boot_files.clone());
    let root_number = found_root.as_ref().ok().copied().flatten().map(|(number, _)| *number);
    let root = match found_root {
        Err(error) => {
            add("root file system", Outcome::Failed(vec![told(&error)]));
            None
        }
        Ok(Some((_, partition))) => {
            let outcome = check_ext4(image, partition, expected, parser)?;
            let sound = matches!(outcome, Outcome::Passed(_));
            add("root file system", outcome);
            // A broken file system would only give errors that follow from the first.
            if sound { Some(Ext4Reader::open(image, partition.start.to_bytes())?) } else { None }
        }
        Ok(None) => {
            add("root file system", skipped("root"));
            None
        }
    };
    let mut models = Vec::new();
    if let (Some(boot), Some((_, partition))) = (&boot_files, table.boot()) {
        models = models::bootable(boot);
        add("boot files", check_boot_files(boot, &models, expected));
        let trees = parsing::read_trees(parser, image, partition, overlays::wanted(boot, &models));
        let idle = trees.map(|trees| overlays::idle(boot, &trees, &models));
        add("device trees", found(idle, "they take what `config.txt` asks of them")?);
        add(
            "root device",
            outcome(
                references::cmdline(boot, &table, root_number, &expected.models),
                "`cmdline.txt` names the root partition",
            ),
        );
    }
    if let Some(root) = &root {
        let names = labels(image, &table, boot.as_ref());
        let fstab =
            root.read_text("/etc/fstab").map(|text| references::fstab(text.as_deref(), &names, &table, root_number));
        add("fstab", found(fstab, "`fstab` names the image's partitions")?);
        add("first boot", found(check_identity(root), "machine-id and host keys are left to the first boot")?);
        if let Some(on_purpose) = &expected.on_purpose {
            add("keys and ids", note(machine_ids::find(root, on_purpose), "none looks like that of one machine")?);
        }
    }
    report.models = models;
    Ok(report)
}

/// Returns an error in one line, with what to do.
fn told(error: &anyhow::Error) -> String {
    let report = report(error);
    [report.messages.join(": "), report.hints.join("; ")]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect::<Vec<_>>()
        .join("; ")
}

fn outcome(findings: Vec<String>, passed: &str) -> Outcome {
    if findings.is_empty() { Outcome::Passed(passed.to_owned()) } else { Outcome::Failed(findings) }
}

/// Returns the outcome of a search that the image may have stopped.
fn found(searched: Result<Vec<String>>, passed: &str) -> Result<Outcome> {
    match searched {
        Ok(findings) => Ok(outcome(findings, passed)),
        // Of a program that is missing the image knows nothing.
        Err(error) if report(&error).kind == Kind::Host => Err(error),
        Err(error) => Ok(Outcome::Failed(vec![format!("{error:#}")])),
    }
}

/// Makes the outcome of a search whose finds are worth knowing, but not wrong.
fn note(searched: Result<Vec<String>>, passed: &str) -> Result<Outcome> {
    Ok(match found(searched, passed)? {
        Outcome::Failed(findings) => Outcome::Noted(findings),
        other => other,
    })
}

/// Returns the complaint of a checker, after `title`; running into a limit is a complaint too.
fn complaint(ran: Result<Output>, title: &str) -> Result<Option<String>> {
    match ran {
        Ok(output) if output.status == 0 => Ok(None),
        Ok(output) => Ok(Some(format!("{title}{}", output.tail()))),
        // A program that is missing is no finding.
        Err(error) if report(&error).kind == Kind::Host => Err(error),
        Err(error) => Ok(Some(format!("{error:#}"))),
    }
}

fn check_table(image: &File, table: &Table, expected: &Expectations) -> Result<Outcome> {
    let mut findings = Vec::new();
    let sfdisk = Confined::new("sfdisk", &[image])?;
    let place = sfdisk.place(0);
    findings.extend(complaint(sfdisk.arg("--verify").arg(place).output(), "")?);
    if table.disk_signature == 0 {
        findings.push("the disk signature is zero, so that no partition has a PARTUUID".to_owned());
    }
    if let Some(identity) =
        expected.identity.as_ref().filter(|identity| identity.disk_signature != table.disk_signature)
    {
        findings.push(format!(
            "the disk signature is {:08x} instead of {:08x}",
            table.disk_signature, identity.disk_signature
        ));
    }
    if table.boot().is_none() {
        findings.push("there is no FAT partition to boot from".to_owned());
    }
    if table.root().is_none() {
        findings.push("there is no Linux partition".to_owned());
    }
    let mut ordered = table.partitions.clone();
    ordered.sort_by_key(|(_, partition)| partition.start);
    for pair in ordered.windows(2) {
        if pair[0].1.end() > pair[1].1.start {
            findings.push(format!("partitions {} and {} overlap", pair[0].0, pair[1].0));
        }
    }
    Ok(outcome(
        findings,
        &format!("{}, signature {:08x}", crate::ui::count(table.partitions.len(), "partition"), table.disk_signature),
    ))
}

fn check_length(image: &File, table: &Table) -> Result<Outcome> {
    let length = Bytes(image.metadata().context("cannot read the image")?.len());
    let end = table.partitions.iter().map(|(_, partition)| partition.end()).max().unwrap_or_default().to_bytes();
    let findings = match length.cmp(&end) {
        std::cmp::Ordering::Less => {
            vec![format!("the image is cut off: it has {}, its partitions end at {}", count(length.0, "byte"), end.0)]
        }
        std::cmp::Ordering::Equal => Vec::new(),
        std::cmp::Ordering::Greater => {
            let more = length.0 - end.0;
            vec![format!("{} {} the last partition", count(more, "byte"), if more == 1 { "follows" } else { "follow" })]
        }
    };
    Ok(outcome(findings, &format!("{length}, the end of the last partition")))
}

fn check_fat(image: &File, partition: &Partition) -> Result<Outcome> {
    let copy = copy_of(image, partition)?;
    let checker = Confined::new("fsck.fat", &[&copy])?;
    let place = checker.place(0);
    let findings = complaint(checker.arg("-n").arg(place).output(), "`fsck.fat` reports: ")?;
    Ok(outcome(findings.into_iter().collect(), "`fsck.fat` finds no error"))
}

/// Returns a file of a partition alone: `fsck.fat` only takes a whole file.
fn copy_of(image: &File, partition: &Partition) -> Result<File> {
    let failed = || "cannot copy the boot partition";
    let length = partition.length.to_bytes();
    let metadata = image.metadata().with_context(failed)?;
    // What a table says may be longer than the file, which is a finding of its own.
    let there = metadata.len().saturating_sub(partition.start.to_bytes().0).min(length.0);
    let data = there.min(metadata.blocks().saturating_mul(512));
    let copy = if data <= MOST_IN_MEMORY.0 {
        File::from(rustix::fs::memfd_create("boot", rustix::fs::MemfdFlags::CLOEXEC).with_context(failed)?)
    } else {
        let directory = std::env::temp_dir();
        Room::new(&directory, &directory.printable(), "a copy of the boot partition")?.take(data)?;
        tempfile::tempfile_in(&directory).with_context(failed)?
    };
    copy.set_len(length.0).with_context(failed)?;
    assemble::copy_extents(image, partition.start.to_bytes(), Bytes(there), &copy, Bytes(0)).with_context(failed)?;
    Ok(copy)
}

fn check_ext4(image: &File, partition: &Partition, expected: &Expectations, parser: &Parser) -> Result<Outcome> {
    let start = partition.start.to_bytes();
    let superblock = match source::superblock(image, partition, parser) {
        Ok(superblock) => superblock,
        Err(error) => return Ok(Outcome::Failed(vec![told(&error)])),
    };
    let mut findings = Vec::new();
    let checker = Confined::new("e2fsck", &[image])?.without_sync();
    let place = device_in(&checker.place(0), start);
    findings.extend(complaint(checker.arg("-fn").arg(place).output(), "`e2fsck` reports: ")?);
    if superblock.size > partition.length.to_bytes() {
        findings.push(format!(
            "the root file system of {} is longer than its partition of {}",
            superblock.size,
            partition.length.to_bytes()
        ));
    }
    if let Some(identity) = expected.identity.as_ref().filter(|identity| identity.root_uuid != superblock.uuid) {
        findings.push(format!("the root file system is {} instead of {}", superblock.uuid, identity.root_uuid));
    }
    if let Some(free) = expected.free.filter(|free| *free > superblock.free) {
        findings.push(format!("the root file system has {} free instead of {free}", superblock.free));
    }
    Ok(outcome(findings, &format!("`e2fsck` finds no error; {} of {} are free", superblock.free, superblock.size)))
}

fn check_boot_files(files: &BootFiles, bootable: &[Model], expected: &Expectations) -> Outcome {
    let lacks = |model: Model| {
        models::check(files, model).into_iter().map(move |missing| format!("{model} does not boot: missing {missing}"))
    };
    let names = |models: &[Model]| models.iter().map(|model| model.name()).collect::<Vec<_>>().join(", ");
    if expected.models.is_empty() {
        if bootable.is_empty() {
            // One board's list is enough to see what is wrong; seven would say the same.
            let missing = lacks(Model::Pi4);
            return Outcome::Failed(
                std::iter::once("no Pi can boot from this image".to_owned()).chain(missing).collect(),
            );
        }
        return Outcome::Passed(format!("complete for {}", names(bootable)));
    }
    let findings: BTreeSet<String> = expected.models.iter().flat_map(|model| lacks(*model)).collect();
    outcome(findings.into_iter().collect(), &format!("complete for {}", names(&expected.models)))
}

/// Checks what must differ between two Pis with the same image.
fn check_identity(root: &Ext4Reader) -> Result<Vec<String>> {
    let mut findings = Vec::new();
    for entry in root.list("/etc/ssh")?.unwrap_or_default() {
        if entry.name.starts_with("ssh_host_") && entry.name.contains("_key") {
            findings.push(format!("`/etc/ssh/{}` is in the image: every Pi would have the same host key", entry.name));
        }
    }
    if let Some(id) = root.read_text("/etc/machine-id")?.filter(|id| !matches!(id.trim(), "" | "uninitialized")) {
        findings.push(format!("`/etc/machine-id` is `{}`: every Pi would have the same identity", id.trim()));
    }
    Ok(findings)
}

/// Labels and UUIDs of the file systems, in the form in which `fstab` names them.
fn labels(image: &File, table: &Table, boot: Option<&BootPartition>) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    if let Some(BootPartition { summary, .. }) = boot {
        names.insert(format!("LABEL={}", summary.label));
        names.insert(format!("UUID={:04X}-{:04X}", summary.volume_id >> 16, summary.volume_id & 0xffff));
    }
    let linux = table.partitions.iter().filter(|(_, partition)| partition.kind.is_linux());
    for superblock in linux.filter_map(|(_, partition)| Superblock::read(image, partition.start.to_bytes()).ok()) {
        names.insert(format!("LABEL={}", superblock.label));
        names.insert(format!("UUID={}", superblock.uuid));
    }
    names
}
