//! What the host looks like: before and after a plugin or command had its way.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// What a build could leave behind on the host.
#[derive(Debug, PartialEq, Eq)]
pub struct Host {
    mounts: String,
    loop_devices: usize,
    processes: Vec<String>,
    binfmt: Vec<String>,
}

impl Host {
    /// What there is now of the program at `program`, this process aside.
    ///
    /// # Panics
    /// If the host cannot be looked at.
    pub fn now(program: &Path) -> Self {
        let names = |directory: &str| -> Vec<String> {
            let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
            let mut names: Vec<String> = entries
                .map(|entry| entry.expect("a directory of the kernel can be read").file_name())
                .map(|name| name.into_string().expect("the kernel's names are text"))
                .collect();
            names.sort();
            names
        };
        let file = |path: &Path| fs::metadata(path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let wanted = file(program).expect("the program is there");
        // By the file that runs, so that another build on this machine is nobody's leftover, wherever the file is seen
        // from; the odd time is that of the probe's command.
        let ours = |pid: &&String| {
            let process = Path::new("/proc").join(pid);
            let command_line = fs::read_to_string(process.join("cmdline")).unwrap_or_default();
            **pid != std::process::id().to_string()
                && (file(&process.join("exe")) == Some(wanted) || command_line.contains("86397"))
        };
        Self {
            mounts: fs::read_to_string("/proc/self/mountinfo").expect("the mounts can be read"),
            loop_devices: names("/sys/block")
                .iter()
                .filter(|name| Path::new("/sys/block").join(name).join("loop").exists())
                .count(),
            processes: names("/proc").iter().filter(ours).cloned().collect(),
            binfmt: names("/proc/sys/fs/binfmt_misc"),
        }
    }

    /// The processes of the program.
    pub fn processes(&self) -> &[String] {
        &self.processes
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
    /// What a canary says; whoever prints it has read one.
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
