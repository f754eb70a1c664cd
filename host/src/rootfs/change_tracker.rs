//! Attributes changes of an upper directory to those who made them, and limits its size.
//!
//! What runs programs is told of after it ran: whatever changed meanwhile was its work. The kernel's own change time,
//! which nobody in a build can set, and the inode number tell what was touched. What piimg writes itself says at which
//! paths ([`super::files::Touched`]), and has a part in these alone.

use std::collections::BTreeMap;
use std::fs::Metadata;
use std::io::ErrorKind;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::compare;
use super::files::Touched;
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::ui::printable;

/// Longest wait for the clock of change times, in its steps of at most 10 ms: a file that is from farther in the future
/// has the time of a clock that was set back since, which no new change can have.
const LONGEST_WAIT_SECONDS: i64 = 1;

/// Deepest nesting of directories: every later walk over the tree has to get to the bottom of it, and file functions
/// remove no deeper one.
const MAX_DEPTH: usize = 500;
/// Longest path in bytes. The kernel takes 4095, of which some belong to the place of the tree.
const MAX_PATH: usize = 3500;
/// Bytes of a path that a message quotes.
const QUOTED: usize = 60;

/// Limits of a layer, however many commands and calls fill it.
#[derive(Clone, Copy, Debug)]
pub struct LayerLimits {
    /// Files, directories and links.
    pub files: u64,
    /// Bytes of the files as they would be read: holes cost nothing in a layer and much in an image.
    pub bytes: u64,
}

/// Someone who can have a part in a path.
pub trait Party: Ord {
    fn is_like(&self, other: &Self) -> bool;

    /// Returns how many similar events a path remembers, the first ones and the last one: a plugin may write one file a
    /// million times. At least two.
    fn most(&self) -> usize;
}

/// Remembers who was at which path.
#[derive(Debug)]
pub struct Tracker<Who> {
    upper: PathBuf,
    limits: LayerLimits,
    seen: BTreeMap<PathBuf, Stamp>,
    /// Sorted; empty where something was changed and nobody is known to have done it.
    parts: BTreeMap<PathBuf, Vec<Rc<Who>>>,
}

/// Metadata that differs after something at a path was changed.
#[derive(Debug, PartialEq, Eq)]
enum Stamp {
    /// The mark that something of a lower layer is gone is the same as any other. The overlay has one file under all these
    /// names, and whoever removes one thing more changes that file's time. No command can make such a device.
    Whiteout,
    /// A directory. Its change time is left out: it changes with each entry, which has a path of its own.
    Directory { inode: u64, mode: u32, owner: (u32, u32), attributes: BTreeMap<Vec<u8>, Vec<u8>> },
    /// Inode and change time, in seconds and nanoseconds.
    Other { inode: u64, changed: (i64, i64) },
}

impl Stamp {
    fn of(place: &Path, metadata: &Metadata) -> Result<Self> {
        let kind = metadata.file_type();
        Ok(if kind.is_char_device() && metadata.rdev() == 0 {
            Self::Whiteout
        } else if kind.is_dir() {
            Self::Directory {
                inode: metadata.ino(),
                mode: metadata.mode(),
                owner: (metadata.uid(), metadata.gid()),
                attributes: compare::attributes(place)?,
            }
        } else {
            Self::Other { inode: metadata.ino(), changed: (metadata.ctime(), metadata.ctime_nsec()) }
        })
    }

    fn changed(&self) -> Option<(i64, i64)> {
        if let Self::Other { changed, .. } = self { Some(*changed) } else { None }
    }
}

impl<Who: Party> Tracker<Who> {
    pub fn new(upper: &Path, limits: LayerLimits) -> Self {
        Self { upper: upper.to_owned(), limits, seen: BTreeMap::new(), parts: BTreeMap::new() }
    }

    /// Attributes every unattributed change since the last checkpoint to `who`, or to nobody.
    ///
    /// # Errors
    /// [`Failure::plugin`] if the layer has grown beyond its limits, or so deep that it could not be compared; otherwise
    /// if the directory cannot be read.
    pub fn attribute_to(&mut self, who: Option<Who>) -> Result<()> {
        let mut walk = Walk::new(&self.upper, self.limits);
        walk.down(Path::new(""))?;
        let now = walk.found;
        let who = who.map(Rc::new);
        for (path, stamp) in &now {
            if self.seen.get(path) != Some(stamp) {
                add(self.parts.entry(path.clone()).or_default(), who.as_ref());
            }
        }
        for path in self.seen.keys().filter(|path| !now.contains_key(*path)) {
            add(self.parts.entry(path.clone()).or_default(), who.as_ref());
        }
        self.seen = now;
        Ok(())
    }

    /// Makes a checkpoint before others may change the directory. Waits until the clock of change times has moved on,
    /// so that their changes get a later time.
    ///
    /// # Errors
    /// Those of [`Tracker::attribute_to`].
    pub fn checkpoint(&mut self) -> Result<()> {
        self.attribute_to(None)?;
        let newest = self.seen.values().filter_map(Stamp::changed).max();
        let Some(newest) = newest else { return Ok(()) };
        loop {
            let now = clock_gettime(ClockId::RealtimeCoarse);
            if (now.tv_sec, now.tv_nsec) > newest || newest.0 - now.tv_sec > LONGEST_WAIT_SECONDS {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Attributes the changes in `touched` to `who`, with the content of a directory that was changed as a tree.
    ///
    /// # Errors
    /// Those of [`Tracker::attribute_to`], for these paths.
    pub fn record_touched(&mut self, who: Who, touched: &[Touched]) -> Result<()> {
        let who = Rc::new(who);
        for Touched { path, tree } in touched {
            let inside = Path::new(path.as_str().trim_start_matches('/'));
            let mut walk = Walk::new(&self.upper, self.limits);
            let place = self.upper.join(inside);
            match std::fs::symlink_metadata(&place) {
                Ok(_) if *tree => walk.down(inside)?,
                Ok(metadata) => walk.see(inside, &place, &metadata)?,
                Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
                    // The layer had made it itself: nothing of it is left.
                    if self.seen.remove(inside).is_some() {
                        add(self.parts.entry(inside.to_owned()).or_default(), Some(&who));
                    }
                }
                Err(error) => return Err(error).with_context(|| format!("cannot read `{}`", path.as_str())),
            }
            for (path, stamp) in walk.found {
                // A call that failed may have changed nothing.
                if self.seen.get(&path) != Some(&stamp) {
                    add(self.parts.entry(path.clone()).or_default(), Some(&who));
                    self.seen.insert(path, stamp);
                }
            }
        }
        Ok(())
    }

    /// Returns those who changed the absolute `path`; if a directory hides it, those who changed the directory.
    pub fn who(&self, path: &Path) -> &[Rc<Who>] {
        let inside = path.strip_prefix("/").unwrap_or(path);
        inside.ancestors().find_map(|path| self.parts.get(path)).map_or(&[], Vec::as_slice)
    }

    /// Returns those who changed `path` itself.
    pub fn who_itself(&self, path: &Path) -> &[Rc<Who>] {
        self.parts.get(path.strip_prefix("/").unwrap_or(path)).map_or(&[], Vec::as_slice)
    }
}

/// Adds one who had a part, in order.
fn add<Who: Party>(parts: &mut Vec<Rc<Who>>, who: Option<&Rc<Who>>) {
    let Some(who) = who else { return };
    let Err(at) = parts.binary_search(who) else { return };
    parts.insert(at, Rc::clone(who));
    let alike: Vec<usize> = (0..parts.len()).filter(|at| parts[*at].is_like(who)).collect();
    if alike.len() > who.most() {
        parts.remove(alike[alike.len() - 2]);
    }
}

/// One look at what is in an upper directory.
struct Walk<'a> {
    upper: &'a Path,
    limits: LayerLimits,
    found: BTreeMap<PathBuf, Stamp>,
    bytes: u64,
}

impl<'a> Walk<'a> {
    fn new(upper: &'a Path, limits: LayerLimits) -> Self {
        Self { upper, limits, found: BTreeMap::new(), bytes: 0 }
    }

    fn down(&mut self, inside: &Path) -> Result<()> {
        let place = self.upper.join(inside);
        let failed = || format!("cannot read `{}`", printable(&place.to_string_lossy()));
        let metadata = std::fs::symlink_metadata(&place).with_context(failed)?;
        self.see(inside, &place, &metadata)?;
        if metadata.is_dir() {
            for name in compare::names(&place)? {
                self.down(&inside.join(name))?;
            }
        }
        Ok(())
    }

    fn see(&mut self, inside: &Path, place: &Path, metadata: &Metadata) -> Result<()> {
        check_place(inside)?;
        self.found.insert(inside.to_owned(), Stamp::of(place, metadata)?);
        if metadata.is_file() {
            self.bytes = self.bytes.saturating_add(metadata.len());
        }
        let LayerLimits { files, bytes } = self.limits;
        if self.bytes > bytes {
            let text = format!("the files of its layer are longer than {} together", crate::ui::bytes(bytes));
            return Err(Failure::plugin(text).hint("holes count too: they must be written to the card").into());
        }
        if u64::try_from(self.found.len()).is_ok_and(|count| count > files) {
            return Err(Failure::plugin(format!("its layer has more than {files} files")).into());
        }
        Ok(())
    }
}

fn check_place(inside: &Path) -> Result<()> {
    let bytes = inside.as_os_str().as_bytes();
    if inside.components().count() <= MAX_DEPTH && bytes.len() <= MAX_PATH {
        return Ok(());
    }
    let start = String::from_utf8_lossy(&bytes[..QUOTED.min(bytes.len())]).into_owned();
    let cause = format!("a layer has at most {MAX_DEPTH} directories in one another, and {MAX_PATH} bytes in a path");
    let failure = Failure::plugin(format!("`/{}…` in its layer is too deep", printable(&start)));
    Err(with_cause(anyhow::anyhow!(cause), failure))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::rootfs::files::{Attrs, ImagePath, Rootfs};

    #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
    enum Who {
        Command(u32),
        Call(u32),
    }
    use Who::{Call, Command};

    impl Party for Who {
        fn most(&self) -> usize {
            if matches!(self, Call(_)) { 3 } else { 2 }
        }

        fn is_like(&self, other: &Self) -> bool {
            std::mem::discriminant(self) == std::mem::discriminant(other)
        }
    }

    const LIMITS: LayerLimits = LayerLimits { files: 2000, bytes: 1 << 20 };

    fn tracked() -> (tempfile::TempDir, Rootfs, Tracker<Who>) {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("etc")).unwrap();
        let rootfs = Rootfs::open(dir.path(), 0).unwrap().remembering();
        let mut tracker = Tracker::new(dir.path(), LIMITS);
        tracker.attribute_to(None).unwrap();
        (dir, rootfs, tracker)
    }

    fn who(tracker: &Tracker<Who>, path: &str) -> Vec<Who> {
        tracker.who(Path::new(path)).iter().map(|who| Who::clone(who)).collect()
    }

    fn path(text: &str) -> ImagePath {
        ImagePath::parse(text).unwrap()
    }

    const FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

    /// Files of the test belong to whoever runs it.
    fn own(dir: &Path) -> Attrs {
        let metadata = fs::metadata(dir).unwrap();
        Attrs { uid: metadata.uid(), gid: metadata.gid(), ..FILE }
    }

    #[test]
    fn each_change_belongs_to_whoever_made_it() {
        let (dir, rootfs, mut tracker) = tracked();
        let attrs = own(dir.path());
        rootfs.write(&path("/etc/a"), b"1", attrs).unwrap();
        tracker.record_touched(Call(1), &rootfs.take_touched()).unwrap();
        tracker.checkpoint().unwrap();
        // In place, so that inode, size and time of change of the content are the same.
        fs::write(dir.path().join("etc/a"), "2").unwrap();
        fs::File::open(dir.path().join("etc/a")).unwrap().set_modified(std::time::UNIX_EPOCH).unwrap();
        fs::write(dir.path().join("etc/b"), "1").unwrap();
        fs::create_dir(dir.path().join("etc/old")).unwrap();
        tracker.attribute_to(Some(Command(2))).unwrap();
        rootfs.write(&path("/etc/a"), b"3", attrs).unwrap();
        tracker.record_touched(Call(3), &rootfs.take_touched()).unwrap();
        assert_eq!(who(&tracker, "/etc/a"), [Command(2), Call(1), Call(3)]);
        assert_eq!(who(&tracker, "/etc/b"), [Command(2)]);
        assert_eq!(who(&tracker, "/etc/old/hidden"), [Command(2)]);
        assert_eq!(who(&tracker, "/etc"), [], "what was made in a directory has a path of its own");
        assert!(tracker.who_itself(Path::new("/etc/old/hidden")).is_empty());
    }

    #[test]
    fn a_call_has_a_part_only_where_it_wrote() {
        let (dir, rootfs, mut tracker) = tracked();
        rootfs.write(&path("/etc/a"), b"1", own(dir.path())).unwrap();
        fs::write(dir.path().join("etc/stray"), "1").unwrap();
        tracker.record_touched(Call(1), &rootfs.take_touched()).unwrap();
        tracker.attribute_to(None).unwrap();
        assert_eq!(who(&tracker, "/etc/a"), [Call(1)]);
        assert_eq!(who(&tracker, "/etc/stray"), []);
        assert_eq!(who(&tracker, "/etc"), []);
    }

    #[test]
    fn a_directory_is_changed_by_its_attributes_and_by_another_in_its_place() {
        use std::os::unix::fs::PermissionsExt as _;
        let (dir, rootfs, mut tracker) = tracked();
        let attrs = Attrs { mode: 0o755, ..own(dir.path()) };
        for name in ["/etc/same", "/etc/mode", "/etc/other"] {
            rootfs.make_dir(&path(name), attrs).unwrap();
        }
        tracker.record_touched(Call(1), &rootfs.take_touched()).unwrap();
        tracker.checkpoint().unwrap();
        fs::write(dir.path().join("etc/same/file"), "").unwrap();
        fs::set_permissions(dir.path().join("etc/mode"), fs::Permissions::from_mode(0o777)).unwrap();
        fs::rename(dir.path().join("etc/other"), dir.path().join("etc/moved")).unwrap();
        fs::create_dir(dir.path().join("etc/other")).unwrap();
        tracker.attribute_to(Some(Command(2))).unwrap();
        for (name, expected) in [
            ("/etc/same", &[Call(1)][..]),
            ("/etc/mode", &[Command(2), Call(1)]),
            ("/etc/other", &[Command(2), Call(1)]),
        ] {
            assert_eq!(who(&tracker, name), expected, "{name}");
        }
    }

    #[test]
    fn trees_and_what_is_gone_are_told_too() {
        let (dir, rootfs, mut tracker) = tracked();
        let attrs = Attrs { mode: 0o755, ..own(dir.path()) };
        rootfs.make_dir_all(&path("/etc/d/e"), attrs).unwrap();
        rootfs.write(&path("/etc/d/e/f"), b"1", attrs).unwrap();
        tracker.record_touched(Call(1), &rootfs.take_touched()).unwrap();
        rootfs.rename(&path("/etc/d"), &path("/etc/moved")).unwrap();
        tracker.record_touched(Call(2), &rootfs.take_touched()).unwrap();
        assert_eq!(who(&tracker, "/etc/moved/e/f"), [Call(2)]);
        tracker.checkpoint().unwrap();
        rootfs.set_attrs(&path("/etc/moved"), attrs, true).unwrap();
        tracker.record_touched(Call(3), &rootfs.take_touched()).unwrap();
        assert_eq!(who(&tracker, "/etc/moved/e/f"), [Call(2), Call(3)]);
        rootfs.remove(&path("/etc/moved"), true).unwrap();
        tracker.record_touched(Call(4), &rootfs.take_touched()).unwrap();
        assert_eq!(who(&tracker, "/etc/moved"), [Call(2), Call(4)]);
        assert!(rootfs.take_touched().is_empty());
    }

    #[test]
    fn both_had_a_part_in_what_one_added_and_another_removed() {
        let (dir, rootfs, mut tracker) = tracked();
        let attrs = Attrs { mode: 0o755, ..own(dir.path()) };
        for name in ["tree/sub", "back", "kept"] {
            fs::create_dir_all(dir.path().join("etc").join(name)).unwrap();
        }
        fs::write(dir.path().join("etc/file"), "").unwrap();
        tracker.attribute_to(Some(Command(1))).unwrap();
        tracker.checkpoint().unwrap();
        for name in ["tree", "back"] {
            fs::remove_dir_all(dir.path().join("etc").join(name)).unwrap();
        }
        fs::remove_file(dir.path().join("etc/file")).unwrap();
        tracker.attribute_to(Some(Command(2))).unwrap();
        rootfs.make_dir(&path("/etc/back"), attrs).unwrap();
        rootfs.remove(&path("/etc/kept"), true).unwrap();
        tracker.record_touched(Call(3), &rootfs.take_touched()).unwrap();
        tracker.attribute_to(None).unwrap();
        assert_eq!(who(&tracker, "/etc/file"), [Command(1), Command(2)]);
        assert_eq!(who(&tracker, "/etc/tree"), [Command(1), Command(2)]);
        assert_eq!(who(&tracker, "/etc/kept"), [Command(1), Call(3)]);
    }

    #[test]
    fn of_many_alike_the_first_and_the_last_are_remembered() {
        let mut parts = Vec::new();
        for who in [Call(1), Command(2), Call(3), Call(3), Call(4), Command(5), Command(6), Call(7)] {
            add(&mut parts, Some(&Rc::new(who)));
        }
        let parts: Vec<Who> = parts.iter().map(|who| Who::clone(who)).collect();
        assert_eq!(parts, [Command(2), Command(6), Call(1), Call(3), Call(7)]);
    }

    #[test]
    fn a_name_that_is_no_text_is_known_too() {
        let (dir, _, mut tracker) = tracked();
        let name = Path::new(std::ffi::OsStr::from_bytes(b"\xff"));
        fs::write(dir.path().join(name), "1").unwrap();
        tracker.attribute_to(Some(Command(1))).unwrap();
        tracker.checkpoint().unwrap();
        // The directory itself does not change.
        fs::write(dir.path().join(name), "2").unwrap();
        tracker.attribute_to(Some(Call(2))).unwrap();
        assert_eq!(tracker.who(name).iter().map(|who| Who::clone(who)).collect::<Vec<_>>(), [Command(1), Call(2)]);
    }

    #[test]
    fn a_layer_that_outgrows_its_limits_is_refused() {
        let refused = |fill: fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            fill(dir.path());
            let error = Tracker::new(dir.path(), LIMITS).attribute_to(Some(Command(1))).unwrap_err();
            let report = crate::error::report(&error);
            assert_eq!(report.kind, crate::error::Kind::Plugin, "{report:?}");
            report.messages.join(": ")
        };
        let message = refused(|dir| fs::File::create(dir.join("hole")).unwrap().set_len(1 << 40).unwrap());
        assert_eq!(message, "the files of its layer are longer than 1 MiB together");
        let message = refused(|dir| (0..2001).for_each(|number| fs::write(dir.join(number.to_string()), "").unwrap()));
        assert_eq!(message, "its layer has more than 2000 files");
        let message = refused(|dir| fs::create_dir_all(dir.join("d/".repeat(501))).unwrap());
        assert!(message.starts_with("`/d/d/d/") && message.contains("at most 500 directories"), "{message}");
        let message = refused(|dir| fs::create_dir_all(dir.join(format!("{}/", "n".repeat(250)).repeat(15))).unwrap());
        assert!(message.starts_with("`/nnn") && message.len() < 250, "{message}");
    }
}
