//! What a command may use of the machine, and the watch that ends it.
//!
//! The box is looked at several times a second from outside, which the command cannot see or stop. The kernel's own
//! limits, on the length of a file and far above on the number of processes, are behind that.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Result};

/// How often a command is looked at: the fastest disks write some hundred megabytes in this time.
pub(super) const TICK: Duration = Duration::from_millis(100);

/// Bytes and files that are left to the rest of the machine on the disk of the store.
const RESERVED_BYTES: u64 = 256 << 20;
const RESERVED_FILES: u64 = 10_000;

/// What one command may use, with everything that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxLimits {
    /// Bytes of memory, those of its files in memory not counted: these have limits of their own.
    pub memory: u64,
    pub processes: u64,
    /// Bytes by which the image may grow.
    pub disk: u64,
    /// Files by which the image may grow.
    pub files: u64,
}

impl Default for BoxLimits {
    /// Three quarters of the machine's memory; of the rest, more than any step of an image needs.
    fn default() -> Self {
        Self { memory: total_memory() / 4 * 3, processes: 4096, disk: 64 << 30, files: 1_000_000 }
    }
}

/// A limit that a command ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Time(Duration),
    Memory(u64),
    Processes(u64),
    Disk(u64),
    Files(u64),
}

impl fmt::Display for Exceeded {
    /// In words that follow the command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(limit) => write!(f, "ran longer than {} s", limit.as_secs()),
            Self::Memory(limit) => write!(f, "used more than {} of memory", crate::ui::bytes(*limit)),
            Self::Processes(limit) => write!(f, "started more than {limit} processes"),
            Self::Disk(limit) => write!(f, "wrote more than {} to the disk", crate::ui::bytes(*limit)),
            Self::Files(limit) => write!(f, "made more than {limit} files"),
        }
    }
}

/// Memory of the machine in bytes; 4 GiB if it does not say.
fn total_memory() -> u64 {
    let info = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = info.lines().find_map(|line| line.strip_prefix("MemTotal:")?.trim().strip_suffix(" kB")?.parse().ok());
    total.map_or(4 << 30, |kib: u64| kib << 10)
}

/// Looks at a running box.
#[derive(Debug)]
pub(super) struct Watch {
    limits: BoxLimits,
    /// The parent of the box's PID 1.
    process: u32,
    root: PathBuf,
    /// Free bytes and files at the beginning.
    free: (u64, u64),
    next: Instant,
}

impl Watch {
    /// # Errors
    /// If the file system of the image cannot be asked.
    pub(super) fn new(limits: BoxLimits, process: u32, root: &Path) -> Result<Self> {
        Ok(Self { limits, process, root: root.to_owned(), free: free(root)?, next: Instant::now() + TICK })
    }

    /// A limit that the box has run into, if it is time to look.
    pub(super) fn look(&mut self) -> Option<Exceeded> {
        if Instant::now() < self.next {
            return None;
        }
        let exceeded = self.disk().or_else(|| self.processes());
        self.next = Instant::now() + TICK;
        exceeded
    }

    /// Kills the box's PID 1, and with it everything in the box; its parent then ends by itself, having reaped it. False
    /// if there is none yet, or none any more.
    pub(super) fn kill(&self) -> bool {
        let first = || processes().into_iter().find(|process| process.parent == self.process).map(|process| process.id);
        let Some(id) = first() else { return false };
        let Some(pid) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) else { return false };
        let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return false };
        // The number was that process's before it was opened and after.
        first() == Some(id) && rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL).is_ok()
    }

    fn disk(&self) -> Option<Exceeded> {
        let (bytes, files) = free(&self.root).ok()?;
        let BoxLimits { disk, files: limit, .. } = self.limits;
        let disk = disk.min(self.free.0.saturating_sub(RESERVED_BYTES));
        if self.free.0.saturating_sub(bytes) > disk {
            return Some(Exceeded::Disk(disk));
        }
        // A file system that makes room for files as it goes counts none.
        let limit = limit.min(self.free.1.saturating_sub(RESERVED_FILES));
        (self.free.1.saturating_sub(files) > limit).then_some(Exceeded::Files(limit))
    }

    fn processes(&self) -> Option<Exceeded> {
        let inside = descendants(self.process, &processes());
        let threads: u64 = inside.iter().map(|process| process.threads).sum();
        if threads > self.limits.processes {
            return Some(Exceeded::Processes(self.limits.processes));
        }
        let is_beyond = |memory: u64| memory > self.limits.memory;
        let resident = inside.iter().map(|process| process.resident).sum();
        // What they share was counted for each, so that this is only a reason to count better, which takes longer.
        let is_beyond = is_beyond(resident) && is_beyond(inside.iter().map(own_share).sum());
        is_beyond.then_some(Exceeded::Memory(self.limits.memory))
    }
}

/// Free bytes and files for those who are not root.
fn free(root: &Path) -> Result<(u64, u64)> {
    let stat =
        rustix::fs::statvfs(root).with_context(|| format!("cannot ask the file system of `{}`", root.display()))?;
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), stat.f_favail))
}

/// A process as its `stat` tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    parent: u32,
    threads: u64,
    resident: u64,
}

/// All processes of this namespace.
fn processes() -> Vec<Process> {
    let page = u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // One that has ended meanwhile counts no more.
    ids.filter_map(|id| parse_stat(&fs::read_to_string(format!("/proc/{id}/stat")).ok()?, page)).collect()
}

/// `/proc/N/stat`: the name, in parentheses, may hold anything.
fn parse_stat(text: &str, page: u64) -> Option<Process> {
    let (start, rest) = text.rsplit_once(')')?;
    let id = start.split(' ').next()?.parse().ok()?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
    let resident = number(21)?.saturating_mul(page);
    Some(Process { id, parent: fields.get(1)?.parse().ok()?, threads: number(17)?, resident })
}

/// Those of `all` that `first` started, whoever started them since: orphans go to the first process of their box.
fn descendants(first: u32, all: &[Process]) -> Vec<Process> {
    let mut children: BTreeMap<u32, Vec<Process>> = BTreeMap::new();
    for process in all {
        children.entry(process.parent).or_default().push(*process);
    }
    let mut found = Vec::new();
    let mut parents = vec![first];
    while let Some(parent) = parents.pop() {
        for child in children.remove(&parent).unwrap_or_default() {
            parents.push(child.id);
            found.push(child);
        }
    }
    found
}

/// Memory of a process in bytes, of what it shares its part.
fn own_share(process: &Process) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id)).unwrap_or_default();
    let share = text.lines().find_map(|line| line.strip_prefix("Pss:")?.trim().strip_suffix(" kB")?.parse().ok());
    share.map_or(process.resident, |kib: u64| kib << 10)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let stat = "17 (a) R 1 (b) S 5 17 17 0 -1 4194304 1 0 0 0 0 0 0 0 20 0 3 0 99 8192 250 18446744073709551615 1";
        assert_eq!(parse_stat(stat, 4096), Some(Process { id: 17, parent: 5, threads: 3, resident: 1_024_000 }));
        assert_eq!(parse_stat("17 (a", 4096), None);
        let own = processes().into_iter().find(|process| process.id == std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.resident > 1 << 20 && own_share(&own) > 1 << 18);
    }

    #[test]
    fn what_a_process_started_is_found_at_every_depth() {
        let process = |id, parent| Process { id, parent, threads: 1, resident: 0 };
        let all = [process(1, 0), process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 6)];
        let ids = |first| descendants(first, &all).iter().map(|process| process.id).collect::<Vec<_>>();
        assert_eq!(ids(2), [3, 4]);
        assert_eq!(ids(5), [0; 0]);
    }

    #[test]
    fn a_limit_is_told_in_words() {
        for (exceeded, words) in [
            (Exceeded::Time(Duration::from_secs(5)), "ran longer than 5 s"),
            (Exceeded::Memory(64 << 20), "used more than 64 MiB of memory"),
            (Exceeded::Processes(40), "started more than 40 processes"),
            (Exceeded::Disk(1 << 30), "wrote more than 1 GiB to the disk"),
            (Exceeded::Files(1000), "made more than 1000 files"),
        ] {
            assert_eq!(exceeded.to_string(), words);
        }
    }
}
