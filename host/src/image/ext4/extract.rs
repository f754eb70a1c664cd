//! Takes the tree out of an ext4 file system without mounting it: the kernel's driver must not meet a file system that
//! anybody may have made.
//!
//! `debugfs` reads directories and inodes; it is asked for inodes by number, so that no name of the file system is ever a word
//! of a command. What is in a file is copied from the blocks that it names, and nothing of its holes: `debugfs` would write
//! all of their zeros, and zeros behind what is in an inode itself. The tree is put together in a directory that is empty at
//! first: a name that is there already is refused, so a link is never followed.

mod inode;
mod objection;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{CString, OsStr, OsString};
use std::fs::{self, File};
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, CWD, Gid, Mode, Timespec, Timestamps, Uid, XattrFlags};

use self::inode::{Entry, Inode, Kind, flags};
use super::Superblock;
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::image::assemble::copy_extents;
use crate::image::layout::{Bytes, Partition};
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::sandbox::free_space::Room;
use crate::sandbox::tool::Output;
use crate::ui::printable;

/// The root directory's inode: <https://docs.kernel.org/filesystems/ext4/special_inodes.html>.
const ROOT: u32 = 2;
/// Most entries that are taken, and how deep directories may be in one another.
const MOST_ENTRIES: usize = 4_000_000;
const DEEPEST: usize = 500;
/// Directory that `mke2fs` makes for `e2fsck`; every new file system gets its own.
const LOST: &str = "lost+found";
/// Inodes that `debugfs` is asked about at once: what it says of each is far below a kilobyte, and outputs have an end.
const AT_ONCE: usize = 4000;

/// Flags that an image does not have afterwards, in words.
const LOST_FLAGS: [(u32, &str); 4] = [
    (flags::IMMUTABLE, "cannot be changed (`chattr +i`)"),
    (flags::APPEND_ONLY, "can only grow (`chattr +a`)"),
    (flags::VERITY, "has a digest that the kernel compares (fs-verity)"),
    (flags::IGNORES_CASE, "ignores the case of names"),
];

/// Runs `debugfs`, which reads untrusted file systems.
pub struct Debugfs<'a> {
    /// Runs it on the file system with these commands as its input.
    pub run: &'a dyn Fn(String) -> Result<Output>,
    /// An empty directory that it writes to, on the file system of the tree, and what it calls that.
    pub scratch: &'a Path,
    pub scratch_inside: &'a str,
}

impl std::fmt::Debug for Debugfs<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Debugfs").field("scratch", &self.scratch).finish_non_exhaustive()
    }
}

/// Arguments of `debugfs` before the name of the file system.
pub const ARGUMENTS: [&str; 2] = ["-f", "-"];
/// Keeps it from starting a pager.
pub const ENVIRONMENT: (&str, &str) = ("DEBUGFS_PAGER", "__none__");

/// The image that file contents are copied from, and the space for them.
#[derive(Debug)]
pub struct Source<'a> {
    pub image: &'a File,
    pub partition: Partition,
    pub room: Room,
    block: u64,
}

impl<'a> Source<'a> {
    /// Returns the file system in `partition` of `image`; `room` is the disk of the tree.
    ///
    /// # Errors
    /// If there is no ext4.
    pub fn new(image: &'a File, partition: Partition, room: Room) -> Result<Self> {
        let block = Superblock::read(image, partition.start.to_bytes())?.block.0;
        Ok(Self { image, partition, room, block })
    }

    /// Writes what is in a file to `out`, with its holes.
    fn copy(&mut self, inode: &Inode, out: &File) -> Result<()> {
        let outside = || Failure::build("it has blocks outside of the file system");
        let (start, end) = (self.partition.start.to_bytes().0, self.partition.end().to_bytes().0);
        out.set_len(inode.size)?;
        for run in &inode.runs {
            let bytes = |blocks: u64| blocks.checked_mul(self.block).with_context(outside);
            let (to, from) = (bytes(run.logical)?, start.checked_add(bytes(run.physical)?).with_context(outside)?);
            // What is behind the end of a file is not of it: what was set aside, or the tree of digests of fs-verity.
            let length = bytes(run.blocks)?.min(inode.size.saturating_sub(to));
            anyhow::ensure!(from.checked_add(length).is_some_and(|last| last <= end), outside());
            self.room.take(length)?;
            copy_extents(self.image, Bytes(from), Bytes(length), out, Bytes(to))?;
        }
        Ok(())
    }
}

/// Home of the owners, modes and extended attributes of what is taken out.
#[derive(Debug)]
pub enum Attributes<'a> {
    /// The files themselves, which needs uid 0 of a private namespace.
    OfFiles,
    /// This view of the tree, which keeps owners and modes beside the files: an ordinary user may not give files away. Extended
    /// attributes are not taken.
    Kept(&'a Rootfs),
}

/// Entries that were left out.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Skipped {
    /// Devices, pipes and sockets: an image must not have them.
    pub special: Vec<PathBuf>,
    /// Properties of files that an image does not support: the first path with each, and the number of paths.
    pub flags: BTreeMap<&'static str, (PathBuf, usize)>,
}

/// Puts the tree of a file system into the empty directory `into`, with owners, modes, times, hard links and extended
/// attributes, which go where `attributes` says.
///
/// # Privileges
/// Those of [`Attributes`].
///
/// # Errors
/// [`Failure::build`] if the file system cannot be read, or holds what no tree here can: names with a line break, a directory
/// with two parents, encrypted files, owners beyond those of a namespace.
pub fn extract(debugfs: &Debugfs<'_>, source: Source<'_>, into: &Path, attributes: Attributes<'_>) -> Result<Skipped> {
    let tree = debugfs.walk()?;
    let numbers: BTreeSet<u32> = tree.values().flatten().map(|entry| entry.inode).chain([ROOT]).collect();
    let inodes = debugfs.stat(&numbers)?;
    objection::check(&tree, &inodes, source.partition.length.to_bytes(), source.block)?;
    debugfs.fetch(&inodes)?;
    let scratch = debugfs.scratch;
    let (made, left) = (BTreeMap::new(), Skipped::default());
    let mut builder = Builder { tree, inodes, scratch, source, into, attributes, made, left };
    builder.fill(ROOT, into, 0)?;
    Ok(builder.left)
}

impl Debugfs<'_> {
    /// Runs commands and returns what each printed, by the inode that it asked for.
    fn ask(&self, commands: &[(u32, String)]) -> Result<Vec<(u32, Vec<u8>)>> {
        let answers: Vec<_> = commands.chunks(AT_ONCE).map(|some| self.ask_some(some)).collect::<Result<_>>()?;
        Ok(answers.into_iter().flatten().collect())
    }

    fn ask_some(&self, commands: &[(u32, String)]) -> Result<Vec<(u32, Vec<u8>)>> {
        let script: String = commands.iter().map(|(_, command)| format!("{command}\n")).collect();
        let output = (self.run)(script)?;
        let complaint = |line: &&str| !line.starts_with("debugfs 1.") && !line.trim().is_empty();
        if let Some(line) = String::from_utf8_lossy(&output.stderr).lines().find(complaint) {
            let failure = Failure::build("cannot read the root file system");
            return Err(with_cause(anyhow::anyhow!("{}", printable(line)), failure));
        }
        // Each command is repeated before its answer.
        let mut answers: Vec<(u32, Vec<u8>)> = Vec::new();
        let mut coming = commands.iter().peekable();
        for line in output.stdout.split(|byte| *byte == b'\n') {
            let echoed =
                coming.peek().is_some_and(|(_, command)| line.strip_prefix(b"debugfs: ") == Some(command.as_bytes()));
            match (echoed, answers.last_mut()) {
                (true, _) => answers.extend(coming.next().map(|(inode, _)| (*inode, Vec::new()))),
                (false, Some((_, answer))) => {
                    answer.extend_from_slice(line);
                    answer.push(b'\n');
                }
                (false, None) => {}
            }
        }
        if answers.len() == commands.len() && output.status == 0 {
            Ok(answers)
        } else {
            Err(Failure::build("`debugfs` stopped before it had read the root file system").into())
        }
    }

    /// Returns the entries of each directory, by its inode.
    fn walk(&self) -> Result<BTreeMap<u32, Vec<Entry>>> {
        let mut tree = BTreeMap::new();
        let (mut level, mut count) = (vec![ROOT], 0);
        while !level.is_empty() {
            let commands: Vec<_> = level.drain(..).map(|inode| (inode, format!("ls -p <{inode}>"))).collect();
            for (directory, answer) in self.ask(&commands)? {
                let entries = inode::entries(&answer)
                    .with_context(|| Failure::build("the root file system has a name that cannot be read"))?;
                count += entries.len();
                if count > MOST_ENTRIES {
                    let text = format!("the root file system has more than {MOST_ENTRIES} names");
                    return Err(Failure::build(text).into());
                }
                level.extend(entries.iter().filter(|entry| entry.is_directory).map(|entry| entry.inode));
                tree.insert(directory, entries);
            }
            // Two names of one directory, or a directory in itself.
            if level.iter().any(|inode| tree.contains_key(inode))
                || level.iter().collect::<BTreeSet<_>>().len() < level.len()
            {
                let text = "a directory of the root file system has two parents: `e2fsck` can repair it";
                return Err(Failure::build(text).into());
            }
        }
        Ok(tree)
    }

    fn stat(&self, numbers: &BTreeSet<u32>) -> Result<BTreeMap<u32, Inode>> {
        let commands: Vec<_> = numbers.iter().map(|inode| (*inode, format!("stat <{inode}>"))).collect();
        let read = |(number, answer): (u32, Vec<u8>)| {
            let failed = || Failure::build(format!("cannot read inode {number} of the root file system"));
            Ok((number, inode::parse(&answer).with_context(failed)?))
        };
        self.ask(&commands)?.into_iter().map(read).collect()
    }

    /// Takes what is not in blocks of its own into files of the scratch directory: `12` is what is in inode 12, `12.0` its
    /// first attribute.
    fn fetch(&self, inodes: &BTreeMap<u32, Inode>) -> Result<()> {
        let place = |name: String| format!("\"{}/{name}\"", self.scratch_inside);
        let mut commands = Vec::new();
        for (number, inode) in inodes {
            let is_long_link = inode.kind == Kind::Symlink && inode.target.is_none();
            if inode.kind == Kind::File && inode.has(flags::INLINE) || is_long_link {
                commands.push((*number, format!("dump <{number}> {}", place(number.to_string()))));
            }
            for (index, name) in inode.attributes.iter().enumerate() {
                let place = place(format!("{number}.{index}"));
                commands.push((*number, format!("ea_get -f {place} <{number}> {name}")));
            }
        }
        self.ask(&commands).map(drop)
    }
}

/// Puts the tree together.
struct Builder<'a> {
    tree: BTreeMap<u32, Vec<Entry>>,
    inodes: BTreeMap<u32, Inode>,
    scratch: &'a Path,
    source: Source<'a>,
    into: &'a Path,
    attributes: Attributes<'a>,
    /// First path of each file, by inode.
    made: BTreeMap<u32, PathBuf>,
    left: Skipped,
}

impl Builder<'_> {
    /// Fills the directory at `path`, which is there and empty, and then gives it its attributes.
    fn fill(&mut self, number: u32, path: &Path, depth: usize) -> Result<()> {
        if depth > DEEPEST {
            return Err(Failure::build(format!(
                "the root file system has more than {DEEPEST} directories in one another"
            ))
            .into());
        }
        for entry in self.tree.remove(&number).unwrap_or_default() {
            if depth == 0 && entry.name == LOST.as_bytes() {
                continue;
            }
            let place = path.join(OsStr::from_bytes(&entry.name));
            self.make(&entry, &place, depth)
                .with_context(|| format!("cannot make `{}`", printable(&place.to_string_lossy())))?;
        }
        self.attributes(number, path)
    }

    fn make(&mut self, entry: &Entry, place: &Path, depth: usize) -> Result<()> {
        let number = entry.inode;
        let inode = self.inodes.get(&number).context("an inode is missing")?;
        if let Some(first) = self.made.get(&number) {
            return Ok(fs::hard_link(first, place)?);
        }
        let taken = self.scratch.join(number.to_string());
        match inode.kind {
            Kind::Directory => {
                fs::create_dir(place)?;
                return self.fill(number, place, depth + 1);
            }
            // Neither goes over something else: the directory began empty, and a second entry of a name is refused.
            Kind::File if inode.has(flags::INLINE) => {
                rustix::fs::renameat_with(CWD, &taken, CWD, place, rustix::fs::RenameFlags::NOREPLACE)?;
                File::options().write(true).open(place)?.set_len(inode.size)?;
            }
            Kind::File => self.source.copy(inode, &File::create_new(place)?)?,
            Kind::Symlink => {
                let target = match &inode.target {
                    Some(target) => target.clone(),
                    None => fs::read(&taken)?,
                };
                std::os::unix::fs::symlink(OsString::from_vec(target), place)?;
            }
            Kind::Special => {
                self.left.special.push(place.to_owned());
                return Ok(());
            }
        }
        // Whatever the inode says of how many names it has.
        self.made.insert(number, place.to_owned());
        self.attributes(number, place)
    }

    fn attributes(&mut self, number: u32, place: &Path) -> Result<()> {
        let inode = self.inodes.get(&number).context("an inode is missing")?;
        match self.attributes {
            Attributes::OfFiles => self.give(number, inode, place)?,
            Attributes::Kept(rootfs) if inode.kind != Kind::Symlink => {
                let inside = place.strip_prefix(self.into).context("it is outside of the tree")?;
                let inside = inside.to_str().context("its name is no text")?;
                let attrs = Attrs { mode: inode.mode, uid: inode.owner, gid: inode.group };
                rootfs.set_attrs(&ImagePath::parse(&format!("/{inside}"))?, attrs, false)?;
            }
            Attributes::Kept(_) => {}
        }
        for (flag, what) in LOST_FLAGS {
            if inode.has(flag) {
                self.left.flags.entry(what).or_insert_with(|| (place.to_owned(), 0)).1 += 1;
            }
        }
        let time = Timespec { tv_sec: inode.modified, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        Ok(rustix::fs::utimensat(CWD, place, &times, AtFlags::SYMLINK_NOFOLLOW)?)
    }

    /// Gives a file its own owner, mode and extended attributes.
    fn give(&self, number: u32, inode: &Inode, place: &Path) -> Result<()> {
        let (owner, group) = (Uid::from_raw(inode.owner), Gid::from_raw(inode.group));
        rustix::fs::chownat(CWD, place, Some(owner), Some(group), AtFlags::SYMLINK_NOFOLLOW)?;
        if inode.kind != Kind::Symlink {
            // After the owner, whose change takes these bits away.
            rustix::fs::chmodat(CWD, place, Mode::from_raw_mode(inode.mode), AtFlags::empty())?;
        }
        for (index, name) in inode.attributes.iter().enumerate() {
            let value = fs::read(self.scratch.join(format!("{number}.{index}")))?;
            let written = CString::new(name.as_str()).context("an attribute's name is no name")?;
            rustix::fs::lsetxattr(place, written.as_c_str(), &value, XattrFlags::empty())
                .with_context(|| format!("cannot give it the attribute `{name}`"))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
