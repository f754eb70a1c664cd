//! The host before and after a plugin or command ran.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Everything that a build could leave behind on the host.
#[derive(Debug, PartialEq, Eq)]
pub struct Host {
    mounts: String,
    loop_devices: usize,
    processes: Vec<String>,
    binfmt: Vec<String>,
}

impl Host {
    /// Looks at the host. Of processes it sees those that descend from this one, so that tests may run side by side: what
    /// loses its parent becomes a child of this process, as of a `PR_SET_CHILD_SUBREAPER`
    /// (<https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html>).
    ///
    /// # Panics
    /// If the host cannot be looked at.
    pub fn now() -> Self {
        nix::sys::prctl::set_child_subreaper(true).expect("any process may take care of orphans");
        let names = |directory: &str| -> Vec<String> {
            let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
            let mut names: Vec<String> = entries
                .map(|entry| entry.expect("a directory of the kernel can be read").file_name())
                .map(|name| name.into_string().expect("the kernel's names are text"))
                .collect();
            names.sort();
            names
        };
        Self {
            mounts: fs::read_to_string("/proc/self/mountinfo").expect("the mounts can be read"),
            loop_devices: names("/sys/block")
                .iter()
                .filter(|name| Path::new("/sys/block").join(name).join("loop").exists())
                .count(),
            processes: descendants(names("/proc").iter().filter_map(|name| name.parse().ok())),
            binfmt: names("/proc/sys/fs/binfmt_misc"),
        }
    }

    /// Returns what descends from this process, each with its name.
    pub fn processes(&self) -> &[String] {
        &self.processes
    }
}

/// Returns those of `all` that descend from this process and have not ended.
fn descendants(all: impl Iterator<Item = u32>) -> Vec<String> {
    let stats: BTreeMap<u32, Stat> = all.filter_map(|pid| Some((pid, Stat::of(pid)?))).collect();
    let own = std::process::id();
    let is_ours = |pid: &u32| {
        let mut ancestors = std::iter::successors(stats.get(pid), |stat| stats.get(&stat.parent));
        ancestors.any(|stat| stat.parent == own)
    };
    stats.iter().filter(|(pid, _)| is_ours(pid)).map(|(pid, stat)| format!("{pid} {}", stat.name)).collect()
}

/// The fields of `/proc/PID/stat` that are looked at.
struct Stat {
    name: String,
    parent: u32,
}

impl Stat {
    /// Returns `None` for one that has ended, whether or not anybody has asked for its status.
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may hold anything, so its end is the last bracket.
        let (before, after) = text.rsplit_once(')')?;
        let mut fields = after.split_whitespace();
        let state = fields.next()?;
        let stat = Self { name: before.split_once('(')?.1.to_owned(), parent: fields.next()?.parse().ok()? };
        (!["Z", "X"].contains(&state)).then_some(stat)
    }
}

/// Files that nothing may read or change; it is found out however small the change.
#[derive(Debug)]
pub struct Canary {
    files: BTreeMap<PathBuf, Seen>,
}

/// Content, and all that a file's owner could change but the time of its last reading.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    content: Vec<u8>,
    mode: u32,
    owner: (u32, u32),
    names: u64,
    modified: (i64, i64),
    /// Set by the kernel at every change, so that nothing can be put back.
    changed: (i64, i64),
}

impl Canary {
    /// The text of a canary; whoever prints it has read one.
    pub const SONG: &str = "a canary that sings to nobody";

    /// Puts one into the directory, under the given names.
    ///
    /// # Panics
    /// If a file cannot be made.
    pub fn new(directory: &Path, names: &[&str]) -> Self {
        let files = names.iter().map(|name| {
            let path = directory.join(name);
            fs::write(&path, Self::SONG).expect("a canary can be written");
            fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).expect("its mode can be set");
            let seen = Seen::now(&path);
            (path, seen)
        });
        Self { files: files.collect() }
    }

    /// # Panics
    /// If one of them is not as it was.
    #[track_caller]
    pub fn assert_well(&self) {
        for (path, seen) in &self.files {
            assert_eq!(Seen::now(path), *seen, "{}", path.display());
        }
    }
}

impl Seen {
    fn now(path: &Path) -> Self {
        let metadata = fs::symlink_metadata(path).expect("the canary is there");
        Self {
            content: fs::read(path).expect("the canary can be read"),
            mode: metadata.mode(),
            owner: (metadata.uid(), metadata.gid()),
            names: metadata.nlink(),
            modified: (metadata.mtime(), metadata.mtime_nsec()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}
