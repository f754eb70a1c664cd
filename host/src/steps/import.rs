//! Imports the base layer from somebody's image or archive of a root file system.
//!
//! It may come from anywhere: programs that read it see nothing but it, in a box. What is in it stays as it is, but for how
//! it names its partitions. No package and no file of the release is added; the release says what the image is, where its
//! packages come from, and what it must boot on.

pub(super) mod boot;
mod mounts;

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::archives::Archives;
use super::{Build, finalise, native_tools, plugins};
use crate::error::{Context, Failure, Result};
use crate::image::assemble::copy_extents;
use crate::image::command_lines::command_lines;
use crate::image::ext4::device_in;
use crate::image::ext4::extract::{self, Attributes, Debugfs, Source, extract};
use crate::image::layout::{Bytes, Partition, Sectors};
use crate::image::parsing::{self, LONGEST, recognise};
use crate::image::source::{self, Disk, Kind};
use crate::recipe::release::Release;
use crate::rootfs::cmdline::Cmdline;
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::rootfs::{fstab, packages, sources};
use crate::sandbox::command::{Bind, BoxOutput, Exceeded};
use crate::sandbox::free_space::Room;
use crate::sandbox::host_box::{HostBox, WORK};
use crate::sandbox::id_map::IDS;
use crate::sandbox::numeric_ids::ACCOUNTS;
use crate::sandbox::parser::Parser;
use crate::sandbox::tool::Output;
use crate::store::{Stage, Store, key, remove_tree};
use crate::ui::{Printable as _, Step, Ui, bytes, printable};

const DIRECTORY: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
/// A FAT knows no modes.
const BOOT_FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

/// Directories that a box, or apt in it, needs.
const DIRECTORIES: [&str; 7] =
    ["/dev", "/proc", "/run", "/sys", "/tmp", "/etc/apt/sources.list.d", "/var/cache/apt/archives"];

/// The file that is imported.
#[derive(Debug)]
pub(super) struct Base {
    file: File,
    /// Name for messages; safe to print.
    pub(super) name: String,
    /// SHA-256 of it, as it lies there.
    pub(super) digest: String,
}

impl Base {
    /// Returns the file named `path` outside, which is open as `file`. It is read only if the store has not seen it
    /// like this.
    ///
    /// # Errors
    /// If it cannot be read.
    pub(super) fn new(path: &Path, file: File, store: &Store, ui: &Ui) -> Result<Self> {
        let name = printable(&path.file_name().unwrap_or(path.as_os_str()).to_string_lossy());
        let metadata = file.metadata().context("cannot read the base")?;
        let (changed, modified) =
            ((metadata.ctime(), metadata.ctime_nsec()), (metadata.mtime(), metadata.mtime_nsec()));
        let seen = key(&("base", metadata.dev(), metadata.ino(), metadata.len(), modified, changed));
        let digest = match store.head::<String>(&seen) {
            Some(digest) => digest,
            None => {
                let step = ui.step(format!("Read {name}"));
                let digest = plugins::digest(&file).with_context(|| format!("cannot read `{name}`"))?;
                store.set_head(&seen, &digest)?;
                step.done_with(&bytes(metadata.len()));
                digest
            }
        };
        Ok(Self { file, name, digest })
    }
}

/// Makes the tree `fs` of the stage from the file.
///
/// # Errors
/// [`Failure::build`] if it is damaged, or not an image of the plan's release and architecture.
pub(super) fn fill(build: &Build<'_>, base: &Base, stage: &Stage, step: &Step) -> Result<()> {
    let place = stage.path().join("import");
    let tree = place.join("tree");
    let unusable = || format!("cannot import `{}`", base.name);
    for directory in [&place, &tree, &place.join("scratch")] {
        fs::create_dir(directory).context("cannot prepare the import")?;
    }
    let whole = File::options().read(true).write(true).create_new(true).open(place.join("whole"));
    let whole = whole.context("cannot prepare the import")?;
    let parser = Parser::default();
    let kind = recognise(&parser, &base.file).with_context(unusable)?.kind;
    step.note("unpacking");
    let store = build.plan.store.shown().printable();
    let mut room = Room::new(stage.path(), &store, &format!("what is in `{}`", base.name))?;
    parsing::unpack(&parser, &base.file, &whole, LONGEST, &mut room).with_context(unusable)?;
    let jail = stage.path().join("box");
    {
        let host = HostBox::new(&jail, &place)?;
        let taken = match kind {
            Kind::Image => take_image(&whole, &host, &place, &parser, &room, step),
            Kind::Tar => take_archive(&host, &place, &room, step),
        };
        taken.with_context(unusable)?;
    }
    adapt_import(build, &Rootfs::open(&tree, 0)?, step).with_context(unusable)?;
    fs::rename(&tree, stage.path().join("fs")).context("cannot keep what was imported")?;
    remove_tree(&place)?;
    remove_tree(&jail)
}

/// Extracts both partitions of an image into one tree.
fn take_image(whole: &File, host: &HostBox, place: &Path, parser: &Parser, room: &Room, step: &Step) -> Result<()> {
    let Disk { table, boot, root } = source::disk(whole, parser)?;
    let count = table.partitions.len();
    let superblock = source::superblock(whole, &root, parser)?;
    if count > 2 {
        step.warn(&format!("it has {count} partitions, of which the boot and the root partition are taken"));
    }
    let device = device_in(&Path::new(WORK).join("whole"), root.start.to_bytes()).to_string_lossy().into_owned();
    let (device, finished) = match superblock.needs_recovery {
        false => (device, None),
        true => {
            step.note("finishing the journal of the root file system");
            let file = finish_journal(whole, &root, host, place, room.again()?)?;
            (format!("{WORK}/{FINISHED}"), Some(file))
        }
    };
    let (source, at) = match &finished {
        None => (whole, root),
        Some(file) => (file, Partition { start: Sectors(0), ..root }),
    };
    step.note("taking the root file system");
    let script = place.join("commands");
    let run = |commands: String| {
        fs::write(&script, commands).context("cannot prepare the import")?;
        let mut command = host.command(["debugfs"].iter().chain(&extract::ARGUMENTS).copied().chain([&*device]));
        command.env.push((extract::ENVIRONMENT.0.to_owned(), extract::ENVIRONMENT.1.to_owned()));
        let output = command.run(Some(File::open(&script).context("cannot prepare the import")?), &mut |_, _| {})?;
        refuse("debugfs", &output, room)?;
        anyhow::ensure!(output.dropped == 0, Failure::build("`debugfs` says more of a file than can be read"));
        Ok(Output { status: output.status, stdout: output.stdout, stderr: output.stderr })
    };
    let (scratch, scratch_inside) = (place.join("scratch"), format!("{WORK}/scratch"));
    let debugfs = Debugfs { run: &run, scratch: &scratch, scratch_inside: &scratch_inside };
    let tree = place.join("tree");
    let left = extract(&debugfs, Source::new(source, at, room.again()?)?, &tree, Attributes::OfFiles)?;
    let inside = |path: &Path| path.strip_prefix(&tree).unwrap_or(path).printable();
    for path in left.special {
        step.detail(&format!("left out, for it is no file: /{}", inside(&path)));
    }
    for (what, (path, count)) in left.flags {
        let others = if count > 1 { format!(", and {}", crate::ui::count(count - 1, "other")) } else { String::new() };
        step.warn(&format!("in it, `/{}` {what}{others}: an image has no such flags", inside(&path)));
    }
    step.note("taking the boot partition");
    // Times in a FAT have no time zone: these files get the time of the last change of packages.
    let status = Rootfs::open(&tree, 0)?.open_file(&ImagePath::parse("/var/lib/dpkg/status")?);
    let changed = status.ok().and_then(|file| file.metadata().ok()).map_or(0, |metadata| metadata.mtime());
    boot::take(parser, whole, &boot, &Rootfs::open(&tree, u64::try_from(changed).unwrap_or_default())?)
}

/// A copy of a root file system that is in no image: `e2fsck` opens a file again when it has finished its journal, and forgets
/// where in it the file system was.
const FINISHED: &str = "root";

/// Has `e2fsck` write the changes that are in the journal alone: the image was copied while it was in use.
fn finish_journal(whole: &File, root: &Partition, host: &HostBox, place: &Path, mut room: Room) -> Result<File> {
    let file = File::options().read(true).write(true).create_new(true).open(place.join(FINISHED));
    let file = file.context("cannot prepare the import")?;
    let length = root.length.to_bytes();
    let stored = whole.metadata().context("cannot read the image")?.blocks().saturating_mul(512);
    room.take(stored.min(length.0))?;
    file.set_len(length.0)
        .and_then(|()| copy_extents(whole, root.start.to_bytes(), length, &file, Bytes(0)))
        .context("cannot copy the root file system")?;
    let device = format!("{WORK}/{FINISHED}");
    let output = host.command(["e2fsck", "-p", "-E", "journal_only", &device]).run(None, &mut |_, _| {})?;
    refuse("e2fsck", &output, &room)?;
    // Status 1 means that errors were corrected: <https://man7.org/linux/man-pages/man8/e2fsck.8.html>.
    if output.status > 1 {
        let failure = Failure::build("the journal of the root file system holds changes that cannot be finished");
        return Err(failure.hint("copy the image while nothing uses it, or repair it with `e2fsck`").into());
    }
    Ok(file)
}

/// Fails if a program ran into a limit; for a full disk the error says what is left.
fn refuse(program: &str, output: &BoxOutput, room: &Room) -> Result<()> {
    let Some(limit) = output.exceeded else { return Ok(()) };
    let failure = Failure::build(format!("`{program}` {limit}"));
    let is_of_disk = matches!(limit, Exceeded::Disk(_) | Exceeded::Files(_));
    Err(if is_of_disk { failure.hint(format!("make room there: {}", room.describe())) } else { failure }.into())
}

fn take_archive(host: &HostBox, place: &Path, room: &Room, step: &Step) -> Result<()> {
    step.note("unpacking the root file system");
    let accounts = accounts(host, place, step)?;
    let (directory, file) = (format!("--directory={WORK}/tree"), format!("--file={WORK}/whole"));
    let options = [
        "tar",
        "--extract",
        "--numeric-owner",
        "--same-owner",
        "--same-permissions",
        "--acls",
        "--xattrs",
        "--xattrs-include=security.capability",
        "--xattrs-include=user.*",
        // These attributes would mean something to an overlay of this build.
        "--xattrs-exclude=user.overlay.*",
        // The kernel makes the devices on the Pi (devtmpfs).
        "--anchored",
        "--exclude=./dev/*",
        "--exclude=dev/*",
        "--exclude=/dev/*",
        &directory,
        &file,
    ];
    let mut command = host.command(options);
    command.binds.extend(accounts);
    let output = command.run(None, &mut |_, line| step.detail(&format!("tar | {line}")))?;
    refuse("tar", &output, room)?;
    if let (1.., Some(failure)) = (output.status, foreign_owner(&String::from_utf8_lossy(&output.stderr))) {
        return Err(failure.into());
    }
    output.check("`tar`").map(drop)
}

/// Returns the failure of an archive with a file of a user or group that no build has, by what `tar` said of it.
fn foreign_owner(said: &str) -> Option<Failure> {
    let (path, rest) =
        said.lines().find_map(|line| line.strip_prefix("tar: ")?.split_once(": Cannot change ownership to uid "))?;
    let ids = rest.split_once(": ").map_or(rest, |(ids, _)| ids).split(", gid ");
    let id = ids.filter_map(|id| id.parse::<u32>().ok()).find(|id| *id >= IDS)?;
    let failure = Failure::build(format!(
        "`{}` of the archive belongs to the user or group {id}: a build has those below {IDS} alone",
        printable(path)
    ));
    Some(failure.hint("give it another owner there, or remove it: containers have such files"))
}

/// Returns the archive's own accounts, for the box: names in access control lists, if somebody wrote such, are those of
/// its system.
fn accounts(host: &HostBox, place: &Path, step: &Step) -> Result<Vec<Bind>> {
    let names = place.join("names");
    fs::create_dir(&names).context("cannot prepare the import")?;
    let (directory, file) = (format!("--directory={WORK}/names"), format!("--file={WORK}/whole"));
    let options = ["tar", "--extract", "--no-same-owner", "--no-same-permissions", &directory, &file];
    // Archives differ in how they name members, and may lack some.
    let members = ACCOUNTS.iter().flat_map(|path| [format!(".{path}"), path.trim_start_matches('/').to_owned()]);
    host.command(options.map(str::to_owned).into_iter().chain(members))
        .run(None, &mut |_, line| step.detail(&format!("tar | {line}")))?;
    let bind = |path: &&str| {
        let source = names.join(path.trim_start_matches('/'));
        let is_file = fs::symlink_metadata(&source).is_ok_and(|metadata| metadata.is_file());
        is_file.then(|| Bind { source, target: path.into(), writable: false })
    };
    Ok(ACCOUNTS.iter().filter_map(bind).collect())
}

/// Checks that the tree is what the plan takes it for, and names its partitions by placeholders.
fn adapt_import(build: &Build<'_>, rootfs: &Rootfs, step: &Step) -> Result<()> {
    let release = &build.plan.release;
    check_free(rootfs)?;
    check(build, rootfs)?;
    for path in DIRECTORIES {
        let mode = if path == "/tmp" { 0o1777 } else { 0o755 };
        rootfs.make_dir_all(&ImagePath::parse(path)?, Attrs { mode, ..DIRECTORY })?;
    }
    let fstab = finalise::read(rootfs, "/etc/fstab")?.unwrap_or_default();
    mounts::check(&fstab, step)?;
    let fstab = mounts::without_swap(&fstab, rootfs, step)?;
    let old_root = fstab::entries(&fstab).filter(|entry| entry.place == "/").last().map(|entry| entry.device);
    finalise::write(rootfs, "/etc/fstab", &fstab::with_placeholders(&fstab, &release.fstab))?;
    let lines = command_lines(rootfs)?;
    for path in &references(rootfs, release)? {
        let Some(mut text) = finalise::read(rootfs, path)? else { continue };
        if lines.iter().any(|line| line.as_str() == path) {
            let mut cmdline = Cmdline::parse(&text);
            cmdline.set_root(&format!("PARTUUID={}", fstab::ROOT_PARTUUID));
            text = cmdline.print();
        } else if let Some(root) = old_root {
            text = text.replace(root, &format!("PARTUUID={}", fstab::ROOT_PARTUUID));
        }
        finalise::write(rootfs, path, &text)?;
    }
    add_repositories(build, rootfs)?;
    let keys = rootfs.list_dir(&ImagePath::parse("/etc/ssh")?).unwrap_or_default();
    if keys.iter().any(|(name, _)| name.starts_with("ssh_host_") && name.ends_with("_key")) {
        step.warn("it has been started before: its SSH host keys are removed, and made anew at the first boot");
    }
    Ok(())
}

/// Returns the files that name the root partition: those that the release knows, and the command lines that the boot
/// partition has.
pub(super) fn references(rootfs: &Rootfs, release: &Release) -> Result<Vec<String>> {
    let lines = command_lines(rootfs)?.into_iter().map(|path| path.as_str().to_owned());
    let mut paths: Vec<String> = release.root_references.iter().cloned().chain(lines).collect();
    paths.sort();
    paths.dedup();
    Ok(paths)
}

/// Adds the recipe's own repositories. Those of the release are up to the maker of the image.
fn add_repositories(build: &Build<'_>, rootfs: &Rootfs) -> Result<()> {
    let (plan, mut release) = (build.plan, build.plan.release.clone());
    let is_own = |ring: &str| plan.release.keyrings.get(ring).is_some_and(|ring| ring.fingerprints.is_empty());
    release.repositories.retain(|repository| is_own(&repository.signed_by));
    let archives = Archives { release: &release, ..build.archives() };
    sources::add(rootfs, &archives.image_files(&plan.architecture)?)?;
    archives.add_key_rings(rootfs, &plan.architecture)
}

/// Checks that nothing covers what commands find of the build: a program there would be taken for one of the host's.
fn check_free(rootfs: &Rootfs) -> Result<()> {
    let path = ImagePath::parse(&format!("/{}", native_tools::PRIVATE))?;
    if rootfs.exact().metadata(&path)?.is_none() {
        return Ok(());
    }
    let failure = Failure::build(format!("it holds `{}`, where a build keeps its own tools", path.as_str()));
    Err(failure.hint("remove it there: no image has it that piimg made").into())
}

/// Compares release and architecture with those of the plan.
fn check(build: &Build<'_>, rootfs: &Rootfs) -> Result<()> {
    let plan = build.plan;
    let os = finalise::read_linked(rootfs, "/etc/os-release")?.unwrap_or_default();
    let value = |name: &str| {
        let value = os.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        value.map(|value| value.trim_matches(['"', '\'']).to_owned())
    };
    let suite = &plan.release.own_repository(&plan.architecture)?.suites[0];
    if value("VERSION_CODENAME").as_ref() != Some(suite) {
        let found = value("PRETTY_NAME").map_or_else(|| "no release that is known".to_owned(), |name| printable(&name));
        let text = format!("it holds {found}, not {} ({suite})", plan.release.title);
        return Err(Failure::build(text).hint("say which release it is with --release").into());
    }
    let installed = packages::installed(rootfs)?;
    let architecture = installed.values().find(|package| package.name == "dpkg").map(|dpkg| &dpkg.architecture);
    if architecture != Some(&plan.architecture) {
        let found = architecture.map_or("none", String::as_str);
        let text = format!("its packages are for `{}`, not for {}", printable(found), plan.architecture);
        return Err(Failure::build(text).hint("say which architecture it has with --arch").into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::report;

    #[test]
    fn an_owner_that_no_build_has_is_told_by_its_path() {
        let said = "tar: ./etc/passwd: Cannot open: File exists\n\
                    tar: ./srv/a: b: Cannot change ownership to uid 100000, gid 70000: Invalid argument\n\
                    tar: Exiting with failure status due to previous errors\n";
        let told = report(&foreign_owner(said).unwrap().into()).messages;
        assert_eq!(
            told,
            ["`./srv/a: b` of the archive belongs to the user or group 100000: a build has those below 65536 alone"]
        );
        let group = "tar: x: Cannot change ownership to uid 0, gid 4294967294: Invalid argument\n";
        assert!(report(&foreign_owner(group).unwrap().into()).messages[0].contains("group 4294967294"));
        for other in
            ["", "tar: x: Cannot change ownership to uid 0, gid 5: Operation not permitted\n", "tar: x: Cannot open\n"]
        {
            assert!(foreign_owner(other).is_none(), "{other}");
        }
    }
}
