//! Who was at which path of a layer while it grew, and how large it may grow.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Failure, Result};
use crate::rootfs::compare;
use crate::ui::printable;

/// Deepest nesting of directories: every later walk over the tree has to get to the bottom of it, and file functions
/// remove no deeper one.
const MAX_DEPTH: usize = 500;
/// Longest path in bytes. The kernel takes 4095, of which some belong to the place of the tree.
const MAX_PATH: usize = 3500;
/// Bytes of a path that a message quotes.
const QUOTED: usize = 60;

/// What may be in a layer, however many commands and calls fill it.
#[derive(Clone, Copy, Debug)]
pub struct LayerLimits {
    /// Files, directories and links.
    pub files: u64,
    /// Bytes of the files as they would be read: holes cost nothing in a layer and much in an image.
    pub bytes: u64,
}

/// Remembers who was at which path of an upper directory.
///
/// `Who` is told after each time in which somebody alone could change it. The kernel's own change time, which nobody in
/// a build can set, and the inode number tell what was touched.
#[derive(Debug)]
pub struct Tracker<Who> {
    upper: PathBuf,
    limits: LayerLimits,
    seen: Seen,
    /// Everybody who was told, and by path who of them: many paths were changed by the same command.
    all: Vec<Who>,
    who: BTreeMap<PathBuf, BTreeSet<usize>>,
}

/// What a walk finds.
#[derive(Debug, Default)]
struct Seen {
    stamps: BTreeMap<PathBuf, Stamp>,
    bytes: u64,
}

/// Inode and change time.
type Stamp = (u64, i64, i64);

impl<Who: Ord + Clone> Tracker<Who> {
    pub fn new(upper: &Path, limits: LayerLimits) -> Self {
        Self { upper: upper.to_owned(), limits, seen: Seen::default(), all: Vec::new(), who: BTreeMap::new() }
    }

    /// Whatever changed since the last call, `who` changed.
    ///
    /// # Errors
    /// [`Failure::plugin`] if the layer has grown beyond its limits, or so deep that it could not be compared; otherwise
    /// if the directory cannot be read.
    pub fn settle(&mut self, who: &Who) -> Result<()> {
        let mut now = Seen::default();
        self.walk(Path::new(""), 0, &mut now)?;
        let number = self.all.iter().position(|known| known == who).unwrap_or(self.all.len());
        if number == self.all.len() {
            self.all.push(who.clone());
        }
        for (path, stamp) in &now.stamps {
            if self.seen.stamps.get(path) != Some(stamp) {
                self.who.entry(path.clone()).or_default().insert(number);
            }
        }
        self.seen = now;
        Ok(())
    }

    /// Who was at `inside`, a path relative to the tree; for what a directory hides, who was at the directory.
    pub fn who(&self, inside: &Path) -> BTreeSet<Who> {
        let numbers = inside.ancestors().find_map(|path| self.who.get(path));
        numbers.into_iter().flatten().map(|number| self.all[*number].clone()).collect()
    }

    fn walk(&self, inside: &Path, depth: usize, found: &mut Seen) -> Result<()> {
        let place = self.upper.join(inside);
        let metadata = std::fs::symlink_metadata(&place)
            .with_context(|| format!("cannot read `{}`", printable(&place.to_string_lossy())))?;
        found.stamps.insert(inside.to_owned(), (metadata.ino(), metadata.ctime(), metadata.ctime_nsec()));
        if metadata.is_file() {
            found.bytes = found.bytes.saturating_add(metadata.len());
        }
        self.check_size(found)?;
        if metadata.is_dir() {
            for name in compare::names(&place)? {
                let inside = inside.join(name);
                check_place(&inside, depth + 1)?;
                self.walk(&inside, depth + 1, found)?;
            }
        }
        Ok(())
    }

    fn check_size(&self, found: &Seen) -> Result<()> {
        let LayerLimits { files, bytes } = self.limits;
        if found.bytes > bytes {
            let text = format!("the files of its layer are longer than {} together", crate::ui::bytes(bytes));
            return Err(Failure::plugin(text).hint("holes count too: they must be written to the card").into());
        }
        if u64::try_from(found.stamps.len()).is_ok_and(|count| count > files) {
            return Err(Failure::plugin(format!("its layer has more than {files} files")).into());
        }
        Ok(())
    }
}

fn check_place(inside: &Path, depth: usize) -> Result<()> {
    let bytes = inside.as_os_str().as_bytes();
    if depth <= MAX_DEPTH && bytes.len() <= MAX_PATH {
        return Ok(());
    }
    let start = String::from_utf8_lossy(&bytes[..QUOTED.min(bytes.len())]).into_owned();
    let cause = format!("a layer has at most {MAX_DEPTH} directories in one another, and {MAX_PATH} bytes in a path");
    Err(anyhow::anyhow!(cause).context(Failure::plugin(format!("`/{}…` in its layer is too deep", printable(&start)))))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LIMITS: LayerLimits = LayerLimits { files: 2000, bytes: 1 << 20 };

    #[test]
    fn each_change_belongs_to_whoever_made_it() {
        let dir = tempfile::tempdir().unwrap();
        let etc = dir.path().join("etc");
        fs::create_dir(&etc).unwrap();
        let mut tracker = Tracker::new(dir.path(), LIMITS);
        tracker.settle(&"start").unwrap();
        fs::write(etc.join("a"), "1").unwrap();
        fs::create_dir(etc.join("old")).unwrap();
        tracker.settle(&"packages").unwrap();
        fs::write(etc.join("b"), "1").unwrap();
        // The clock of change times may stand still for some milliseconds.
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(etc.join("a"), "2").unwrap();
        tracker.settle(&"plugin").unwrap();
        let who = |path: &str| tracker.who(Path::new(path)).into_iter().collect::<Vec<_>>();
        assert_eq!(who("etc/a"), ["packages", "plugin"]);
        assert_eq!(who("etc/b"), ["plugin"]);
        assert_eq!(who("etc/old/hidden"), ["packages"]);
    }

    #[test]
    fn a_name_that_is_no_text_is_known_too() {
        use std::os::unix::ffi::OsStrExt as _;
        let dir = tempfile::tempdir().unwrap();
        let name = Path::new(std::ffi::OsStr::from_bytes(b"\xff"));
        let mut tracker = Tracker::new(dir.path(), LIMITS);
        fs::write(dir.path().join(name), "1").unwrap();
        tracker.settle(&"packages").unwrap();
        std::thread::sleep(std::time::Duration::from_millis(20));
        // The directory itself does not change.
        fs::write(dir.path().join(name), "2").unwrap();
        tracker.settle(&"plugin").unwrap();
        assert_eq!(tracker.who(name).into_iter().collect::<Vec<_>>(), ["packages", "plugin"]);
    }

    #[test]
    fn a_layer_that_outgrows_its_limits_is_refused() {
        let refused = |fill: fn(&Path)| {
            let dir = tempfile::tempdir().unwrap();
            fill(dir.path());
            let error = Tracker::new(dir.path(), LIMITS).settle(&"plugin").unwrap_err();
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
