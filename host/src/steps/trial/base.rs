//! Makes the copy that a plugin is tried on.

use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

use super::scenario::{Place, Scenario, StubFile};
use crate::error::{Context as _, Failure, Result};
use crate::image::ext4::device_in;
use crate::image::ext4::extract::{self, Attributes, Debugfs, Source, extract};
use crate::image::source::{self, Disk, Kind as FileKind};
use crate::image::{parsing, temporary_place};
use crate::rootfs::accounts::Accounts;
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::rootfs::members::{self, Member, MemberKind};
use crate::sandbox::confined::Confined;
use crate::sandbox::free_space::Room;
use crate::sandbox::parser::Parser;
use crate::steps::import::boot;
use crate::steps::served::unpacked;
use crate::ui::{Printable as _, printable};

const DIRECTORY: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
const FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

/// Directories that each image has, for a trial without a base.
const DIRECTORIES: [&str; 23] = [
    "/boot/firmware",
    "/etc/default",
    "/etc/modules-load.d",
    "/etc/skel",
    "/etc/sudoers.d",
    "/etc/sysctl.d",
    "/etc/systemd/network",
    "/etc/systemd/system",
    "/etc/tmpfiles.d",
    "/etc/udev/rules.d",
    "/home",
    "/opt",
    "/root",
    "/run",
    "/srv",
    "/tmp",
    "/usr/bin",
    "/usr/lib/systemd/system",
    "/usr/local/bin",
    "/usr/local/sbin",
    "/usr/share",
    "/var/lib",
    "/var/log",
];

/// Files that each image has, with modes.
const FILES: [(&str, &str, u32); 13] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n", 0o644),
    ("/etc/group", "root:x:0:\ndaemon:x:1:\nadm:x:4:\nsudo:x:27:\nvideo:x:44:\n", 0o644),
    ("/etc/shadow", "root:*:19000:0:99999:7:::\ndaemon:*:19000:0:99999:7:::\n", 0o640),
    ("/etc/gshadow", "root:*::\ndaemon:*::\nadm:*::\nsudo:*::\nvideo:*::\n", 0o640),
    ("/etc/subuid", "", 0o644),
    ("/etc/subgid", "", 0o644),
    ("/etc/login.defs", "UMASK 022\nHOME_MODE\t0750\n", 0o644),
    ("/etc/hostname", "raspberrypi\n", 0o644),
    ("/etc/hosts", "127.0.0.1\tlocalhost\n127.0.1.1\traspberrypi\n", 0o644),
    ("/etc/os-release", "ID=debian\nVERSION_CODENAME=bookworm\n", 0o644),
    ("/etc/motd", "", 0o644),
    ("/boot/firmware/config.txt", "", 0o644),
    ("/boot/firmware/cmdline.txt", "root=PARTUUID=00000000-02 rootwait\n", 0o644),
];

/// Fills the empty directory `copy` with the base of the trial and the test's own files.
///
/// # Errors
/// [`Failure::usage`] that names what cannot be copied.
pub(super) fn fill(copy: &Path, scenario: &Scenario, epoch: u64) -> Result<Rootfs> {
    let rootfs = Rootfs::open(copy, epoch)?.keeping_attrs();
    match &scenario.base {
        None => skeleton(&rootfs)?,
        Some(base) => {
            let failed = || Failure::usage(format!("cannot copy the root file system `{}`", base.printable()));
            let metadata = fs::metadata(base).with_context(failed)?;
            if metadata.is_dir() {
                copy_directory(base, copy, &rootfs).with_context(failed)?;
            } else if metadata.is_file() {
                copy_file(base, copy, &rootfs).with_context(failed)?;
            } else {
                return Err(failed().hint("it must be a directory, a tar archive or an image").into());
            }
        }
    }
    for file in &scenario.files {
        lay(&rootfs, file).with_context(|| {
            Failure::usage(format!("cannot lay the test's file `{}` into the image", printable(&file.path)))
        })?;
    }
    Ok(rootfs)
}

fn skeleton(rootfs: &Rootfs) -> Result<()> {
    for path in DIRECTORIES {
        rootfs.make_dir_all(&ImagePath::parse(path)?, DIRECTORY)?;
    }
    for (path, text, mode) in FILES {
        rootfs.write(&ImagePath::parse(path)?, text.as_bytes(), Attrs { mode, ..FILE })?;
    }
    Ok(())
}

/// Puts an entry into the tree, and the directories above it.
pub(super) fn lay(rootfs: &Rootfs, file: &StubFile) -> Result<()> {
    let path = ImagePath::parse(&file.path)?;
    let usual = if matches!(file.place, Place::Directory) { DIRECTORY } else { FILE };
    let (uid, gid) = match &file.owner {
        None => (0, 0),
        Some((user, group)) => owner(rootfs, user, group)?,
    };
    let attrs = Attrs { mode: file.mode.unwrap_or(usual.mode), uid, gid };
    if let (Some(parent), false) = (path.parent(), matches!(file.place, Place::Removed)) {
        rootfs.make_dir_all(&parent, DIRECTORY)?;
    }
    match &file.place {
        Place::Text(text) => rootfs.write(&path, text.as_bytes(), attrs)?,
        Place::From(from) => {
            let source = File::open(from).with_context(|| format!("cannot open `{}`", from.printable()))?;
            rootfs.install(&source, &path, attrs)?;
        }
        Place::Directory => {
            rootfs.make_dir_all(&path, attrs)?;
            rootfs.set_attrs(&path, attrs, false)?;
        }
        Place::Link(target) => rootfs.symlink(&path, target)?,
        Place::Removed => rootfs.remove(&path, true)?,
    }
    Ok(())
}

fn owner(rootfs: &Rootfs, user: &str, group: &str) -> Result<(u32, u32)> {
    let accounts = Accounts::read(rootfs)?;
    let of = |name: &str, what: &str, known: Option<u32>| {
        let number = name.parse().ok().or(known);
        number.with_context(|| format!("the image has no {what} `{}`", printable(name)))
    };
    Ok((of(user, "user", accounts.uid(user))?, of(group, "group", accounts.gid(group))?))
}

/// Copies a directory. Files of the caller become root's, as they would be in an image.
fn copy_directory(base: &Path, copy: &Path, rootfs: &Rootfs) -> Result<()> {
    let inside = |path: &Path| path.canonicalize().ok();
    if let (Some(base), Some(copy)) = (inside(base), inside(copy)) {
        anyhow::ensure!(!copy.starts_with(base), "the copy would be in it; set TMPDIR to another directory");
    }
    let own = rustix::process::geteuid().as_raw();
    let own_group = rustix::process::getegid().as_raw();
    let attrs = |metadata: &fs::Metadata| Attrs {
        mode: metadata.mode() & 0o7777,
        uid: if metadata.uid() == own { 0 } else { metadata.uid() },
        gid: if metadata.gid() == own_group { 0 } else { metadata.gid() },
    };
    let mut directories = vec![(base.to_owned(), ImagePath::root())];
    while let Some((from, to)) = directories.pop() {
        let shown = || format!("cannot read `{}`", from.printable());
        for entry in fs::read_dir(&from).with_context(shown)? {
            let entry = entry.with_context(shown)?;
            let name = entry.file_name();
            let failed = || format!("cannot copy `{}`", from.join(&name).printable());
            let text = name.to_str().with_context(failed).and_then(|name| Ok(to.join(name)?)).with_context(failed)?;
            let (path, metadata) = (entry.path(), entry.metadata().with_context(failed)?);
            let kind = metadata.file_type();
            if kind.is_dir() {
                rootfs.make_dir(&text, attrs(&metadata))?;
                directories.push((path, text));
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).with_context(failed)?;
                rootfs.symlink(&text, target.to_str().with_context(failed)?)?;
            } else if kind.is_file() {
                rootfs.install(&File::open(&path).with_context(failed)?, &text, attrs(&metadata))?;
            } else if !(kind.is_char_device() || kind.is_block_device() || kind.is_fifo() || kind.is_socket()) {
                anyhow::bail!(failed());
            }
        }
    }
    Ok(())
}

/// Unpacks a tar archive or an image, compressed or not. Devices, pipes and sockets are left out.
fn copy_file(base: &Path, copy: &Path, rootfs: &Rootfs) -> Result<()> {
    let file = File::open(base)?;
    let kind = parsing::recognise(&Parser::default(), &file)?.kind;
    let place = temporary_place();
    let whole = unpacked(&file, &place)?;
    match kind {
        FileKind::Image => take_image(&whole, base, copy, rootfs),
        FileKind::Tar => {
            let mut room = Room::new(&place, &place.printable(), "what is in the archive")?;
            unpack_all(&whole, rootfs, &mut room)
        }
    }
}

/// Takes the trees of both partitions out of an image. What a trial does not need of it is left out: extended attributes.
fn take_image(whole: &File, base: &Path, copy: &Path, rootfs: &Rootfs) -> Result<()> {
    let parser = Parser::default();
    let Disk { boot, root, .. } = source::disk(whole, &parser)?;
    if source::superblock(whole, &root, &parser)?.needs_recovery {
        let failure =
            Failure::usage("its root file system has changes in its journal alone: it was copied while it was in use");
        return Err(failure.hint(format!("finish them: piimg build --base {} --rootfs-only", base.printable())).into());
    }
    // What `debugfs` writes becomes a part of the copy.
    let beside = copy.parent().unwrap_or(Path::new("."));
    let scratch = tempfile::tempdir_in(beside).context("cannot make a directory beside the copy")?;
    let run = |commands: String| {
        let debugfs = Confined::new("debugfs", &[whole])?.writing_to(scratch.path()).without_sync();
        let device = device_in(&debugfs.place(0), root.start.to_bytes());
        let (name, value) = extract::ENVIRONMENT;
        debugfs.env(name, value).args(extract::ARGUMENTS).arg(device).stdin(commands).output()
    };
    let inside = scratch.path().to_str().context("its name is no text")?;
    let debugfs = Debugfs { run: &run, scratch: scratch.path(), scratch_inside: inside };
    let room = Room::new(copy, &copy.printable(), "what is in the image")?;
    extract(&debugfs, Source::new(whole, root, room)?, copy, Attributes::Kept(rootfs))?;
    boot::take(&parser, whole, &boot, rootfs)
}

/// Unpacks a tar archive that is not compressed.
pub(super) fn unpack_all(whole: &File, rootfs: &Rootfs, room: &mut Room) -> Result<()> {
    members::each(whole, &mut |member, content| unpack(&member, content, rootfs, room))
}

fn unpack(member: &Member, content: &mut dyn Read, rootfs: &Rootfs, room: &mut Room) -> Result<()> {
    let absolute = |path: &str| ImagePath::parse(&format!("/{path}"));
    let to = absolute(&member.path)?;
    let number = |id: u64| u32::try_from(id).context("its owner is no number of an image");
    let attrs = Attrs { mode: member.mode, uid: number(member.uid)?, gid: number(member.gid)? };
    if let Some(parent) = to.parent() {
        rootfs.make_dir_all(&parent, DIRECTORY)?;
    }
    match &member.kind {
        MemberKind::Directory if to.is_root() => {}
        MemberKind::Directory => {
            rootfs.make_dir_all(&to, attrs)?;
            rootfs.set_attrs(&to, attrs, false)?;
        }
        MemberKind::File(length) => {
            room.take(*length)?;
            rootfs.write_from(content, *length, &to, attrs)?;
        }
        MemberKind::Symlink(target) => rootfs.symlink(&to, target)?,
        MemberKind::HardLink(target) => {
            let target = absolute(target)?;
            let attrs = rootfs.metadata(&target)?.map_or(attrs, |found| found.attrs);
            rootfs.install(&rootfs.open_file(&target)?, &to, attrs)?;
        }
        MemberKind::Special => {}
    }
    Ok(())
}
