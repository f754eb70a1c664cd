//! A benchmark's place of work: a directory with a store of its own, and builds in it.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, Result, ensure};
use piimg_tests::bench::{Run, Section, Timings, bytes};
use piimg_tests::{guest, piimg};

use crate::measure::{command, run, text};

/// The release that all benchmarks build.
pub(crate) const RELEASE: &str = "bookworm";

/// Directories that a build leaves in the store, below `data/`.
const MADE: [&str; 3] = ["artifacts", "heads", "layers"];

/// Removed at its end, but for what is to be kept.
pub(crate) struct Place {
    dir: PathBuf,
    pub(crate) file_system: String,
    pub(crate) rounds: usize,
    pub(crate) full: bool,
    keep: bool,
    /// The store's content with which every benchmark begins.
    warm: RefCell<Held>,
    /// The last [`Place::new_number`].
    number: Cell<u32>,
}

/// A finished build.
pub(crate) struct Built {
    pub(crate) run: Run,
    pub(crate) timings: Timings,
    pub(crate) image: PathBuf,
}

/// The store's content at some time; nothing by default.
#[derive(Default)]
pub(crate) struct Held(BTreeSet<PathBuf>);

/// Plugins of a build, and the one that is changed between two builds.
pub(crate) struct Plugins {
    arguments: Vec<OsString>,
    /// Its id.
    changing: String,
    /// Bytes it writes, which no two builds of a run have in common.
    length: u32,
}

impl Plugins {
    /// Makes one that adds so much to the root, and one on top of it that is changed.
    pub(crate) fn carrying(place: &Place, mib: u32) -> Result<Self> {
        let mut plugins = Self::several(place, 1, true)?;
        let carries = guest("carries");
        let mut arguments: Vec<OsString> = vec!["--plugin".into(), carries.into()];
        arguments.extend(["--param".into(), format!("test/carries:mib={mib}").into()]);
        arguments.append(&mut plugins.arguments);
        plugins.arguments = arguments;
        Ok(plugins)
    }

    /// Makes so many that write a small file, of which the first or the last one is changed.
    ///
    /// They are one component with ids of the same length put in: the bytes around them stay where they are.
    pub(crate) fn several(place: &Place, number: usize, first_changes: bool) -> Result<Self> {
        const ID: &[u8] = b"test/busy";
        let component = fs::read(guest("busy")).context("cannot read a guest")?;
        let ids: Vec<String> = (0..number).map(|index| format!("test/bus{index}")).collect();
        let mut arguments = vec!["--grant-requested".into()];
        for id in &ids {
            let path = place.path(&format!("{}.wasm", id.replace('/', "-")));
            fs::write(&path, replaced(&component, ID, id.as_bytes())?).context("cannot write a guest")?;
            arguments.extend(["--plugin".into(), path.into()]);
            arguments
                .extend(["--param", &format!("{id}:kind=write"), "--param", &format!("{id}:count=1")].map(Into::into));
        }
        let changing = if first_changes { ids.first() } else { ids.last() }.context("there must be a plugin")?.clone();
        Ok(Self { arguments, changing, length: place.new_number() })
    }

    /// Arguments of a build in which the plugin is another than in all builds before.
    pub(crate) fn changed(&mut self, place: &Place) -> Vec<OsString> {
        self.length = place.new_number();
        self.unchanged()
    }

    /// Arguments of the same build once more.
    pub(crate) fn unchanged(&self) -> Vec<OsString> {
        let parameter = format!("{}:bytes={}", self.changing, self.length);
        self.arguments.iter().cloned().chain(["--param".into(), parameter.into()]).collect()
    }
}

/// Returns `bytes` with every `old` replaced by `new`, which is as long.
pub(crate) fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Result<Vec<u8>> {
    ensure!(old.len() == new.len(), "an id of another length would move everything behind it");
    let mut out = bytes.to_vec();
    let places: Vec<usize> =
        (0..=out.len().saturating_sub(old.len())).filter(|at| out[*at..].starts_with(old)).collect();
    ensure!(!places.is_empty(), "the guest has another id");
    for at in places {
        out[at..at + new.len()].copy_from_slice(new);
    }
    Ok(out)
}

impl Place {
    /// Makes a directory of its own below `work`.
    pub(crate) fn new(work: &Path, rounds: usize, full: bool, keep: bool) -> Result<Self> {
        let dir = work.join("piimg-bench");
        let named = || format!("cannot work in {}", work.display());
        fs::create_dir_all(&dir).with_context(named)?;
        let dir = fs::canonicalize(&dir).with_context(named)?;
        let file_system = text(command("findmnt").args(["--noheadings", "--output", "FSTYPE", "--target"]).arg(&dir))
            .with_context(named)?;
        // Below a megabyte, as it becomes the length of a file.
        let first = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() % 500_000);
        let first = u32::try_from(first).context("the remainder is small")?;
        Ok(Self {
            dir,
            // Of several mounts on one directory, the last one is seen.
            file_system: file_system.lines().last().unwrap_or_default().trim().to_owned(),
            rounds,
            full,
            keep,
            warm: RefCell::default(),
            number: Cell::new(first),
        })
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns the name as [`piimg_tests::bench::scrubbed`] wants it.
    pub(crate) fn name(&self) -> String {
        self.dir.display().to_string()
    }

    /// Makes an empty directory of that name.
    pub(crate) fn fresh(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        remove(&path)?;
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Fails early if there is not so much space.
    pub(crate) fn require_space(&self, needed: u64) -> Result<()> {
        let found = nix::sys::statvfs::statvfs(&self.dir).context("cannot ask for the free space")?;
        let free = found.blocks_available() * found.fragment_size();
        let (needed_text, free_text) = (bytes(needed), bytes(free));
        ensure!(
            free >= needed,
            "{} must have {needed_text} free, but has {free_text}; choose another place with --work",
            self.dir.display()
        );
        Ok(())
    }

    /// Prepares `piimg` with this store, away from any recipe.
    pub(crate) fn piimg(&self, subcommand: &str) -> Command {
        let mut command = command(piimg());
        command.current_dir(&self.dir).arg(subcommand).args(["--release", RELEASE, "--store"]).arg(self.path("store"));
        command
    }

    /// Builds an image in an empty directory.
    pub(crate) fn build<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Built> {
        self.fresh("images")?;
        self.build_again(arguments)
    }

    /// Builds an image of that time in an empty directory.
    pub(crate) fn build_at<A: AsRef<OsStr>>(&self, epoch: u64, arguments: &[A]) -> Result<Built> {
        self.fresh("images")?;
        let mut command = self.piimg("build");
        command.env("SOURCE_DATE_EPOCH", epoch.to_string());
        self.finish(command, arguments)
    }

    /// Builds an image where the one of the last build lies.
    pub(crate) fn build_again<A: AsRef<OsStr>>(&self, arguments: &[A]) -> Result<Built> {
        self.finish(self.piimg("build"), arguments)
    }

    fn finish<A: AsRef<OsStr>>(&self, mut command: Command, arguments: &[A]) -> Result<Built> {
        let images = self.path("images");
        let events = self.path("events");
        command.arg("--imagedir").arg(&images).arg("--json-events").arg(&events).args(arguments);
        let mut run = run(&mut command)?;
        let timings = Timings::parse(&fs::read_to_string(events).context("cannot read the events")?)?;
        run.parts = timings.parts();
        let latest = fs::read_to_string(images.join("latest_image")).context("the build named no image")?;
        Ok(Built { run, timings, image: images.join(latest.trim_end()) })
    }

    /// Makes sure that the store has a base layer, its packages and native tools, so that no round begins with them.
    pub(crate) fn warm_up(&self) -> Result<Built> {
        self.require_space(8 << 30)?;
        self.say("preparing the store");
        let built = self.build::<&str>(&[])?;
        self.warm.replace(self.held()?);
        Ok(built)
    }

    /// Removes what a benchmark left, and leaves the store as warm as it was.
    pub(crate) fn tidy_up(&self) -> Result<()> {
        self.forget_since(&self.warm.borrow())?;
        remove(&self.path("images"))
    }

    fn data(&self) -> PathBuf {
        self.path("store/data")
    }

    /// Remembers what the store has now.
    pub(crate) fn held(&self) -> Result<Held> {
        let mut held = BTreeSet::new();
        for kind in MADE {
            let dir = self.data().join(kind);
            for entry in fs::read_dir(&dir).with_context(|| format!("cannot read {}", dir.display()))? {
                held.insert(entry.with_context(|| format!("cannot read {}", dir.display()))?.path());
            }
        }
        Ok(Held(held))
    }

    /// Returns a number that nothing in the store was made with, neither in this run nor in one that was killed.
    pub(crate) fn new_number(&self) -> u32 {
        self.number.set(self.number.get() + 1);
        self.number.get()
    }

    /// Removes what the store has got since.
    pub(crate) fn forget_since(&self, held: &Held) -> Result<()> {
        self.held()?.0.difference(&held.0).try_for_each(|path| remove(path))
    }

    /// Removes the partitions that it has got since; the layers stay.
    pub(crate) fn forget_artifacts_since(&self, held: &Held) -> Result<()> {
        let artifacts = self.data().join("artifacts");
        self.held()?.0.difference(&held.0).filter(|path| path.starts_with(&artifacts)).try_for_each(|path| remove(path))
    }

    /// Prints one line about what is going on.
    #[expect(clippy::unused_self, reason = "a place of work is where one talks about it")]
    pub(crate) fn say(&self, what: &str) {
        eprintln!("  {what}");
    }

    /// Returns a section without content.
    pub(crate) fn section(&self, name: &str, title: &str) -> Result<Section> {
        let date = text(command("date").args(["--utc", "+%F"]))?.trim().to_owned();
        // A tree without a repository has none.
        let commit = text(command("git").args(["rev-parse", "--short=12", "HEAD"])).ok();
        Ok(Section {
            name: name.into(),
            title: title.into(),
            file_system: self.file_system.clone(),
            date,
            commit: commit.map(|commit| commit.trim().to_owned()),
            rounds: self.rounds,
            full: self.full,
            method: Vec::new(),
            quotes: Vec::new(),
            tables: Vec::new(),
            figures: Vec::new(),
            plots: Vec::new(),
            says: String::new(),
            raw: Vec::new(),
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let result = if self.keep {
            // Everything but the store and the package caches.
            let entries = fs::read_dir(&self.dir).into_iter().flatten().flatten().map(|entry| entry.path());
            let kept = ["store", "archives", "mkosi-arm64", "mkosi-amd64"];
            let is_kept = |path: &PathBuf| kept.iter().any(|name| path.ends_with(name));
            entries.filter(|path| !is_kept(path)).try_for_each(|path| remove(&path))
        } else {
            remove(&self.dir)
        };
        if let Err(error) = result {
            eprintln!("warning: {error:#}");
        }
    }
}

/// Removes a file or a whole directory, if there is one.
pub(crate) fn remove(path: &Path) -> Result<()> {
    let result = if path.is_dir() && !path.is_symlink() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}
