//! Limits the resources of a command, and monitors them.
//!
//! A thread checks the box from outside, several times a second. The command cannot see it, stop it, or keep it busy
//! with output. Behind it are the kernel's own limits on the length of a file and, set far higher, on the number of
//! processes.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::free_space::Free;
use crate::error::{Context as _, Result};
use crate::text::Printable as _;

/// Time between two checks: the fastest disks write some hundred megabytes in it.
const TICK: Duration = Duration::from_millis(100);

/// Time limit for an exact count of the memory of a box. The processes left then count with all memory that they share.
const CAREFUL: Duration = Duration::from_secs(1);

/// Divisor for the part of the machine's memory that is left to others, and the amount that is always enough.
const RESERVED_PART: u64 = 16;
const RESERVED_MEMORY: u64 = 512 << 20;

/// Resources that one command may use, with everything that it starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BoxLimits {
    /// Memory in bytes, swapped out or not. Files in memory have limits of their own and do not count.
    pub memory: u64,
    pub processes: u64,
    /// Bytes by which the image may grow.
    pub disk: u64,
    /// Number of files by which the image may grow.
    pub files: u64,
}

impl Default for BoxLimits {
    /// Allows three quarters of the machine's memory, and more of everything else than any step of an image needs.
    fn default() -> Self {
        Self { memory: total_memory() / 4 * 3, processes: 4096, disk: 64 << 30, files: 1_000_000 }
    }
}

/// The limit that a command exceeded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    Time(Duration),
    Memory(u64),
    Processes(u64),
    Disk(u64),
    Files(u64),
    /// The memory of the whole machine, whoever uses it: memory that the kernel keeps for a program is not attributed
    /// to it.
    Machine(u64),
}

impl fmt::Display for Exceeded {
    /// Describes the limit in words that follow the command.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Time(limit) => write!(f, "ran longer than {} s", limit.as_secs()),
            Self::Memory(limit) => write!(f, "used more than {} of memory", crate::text::bytes(*limit)),
            Self::Processes(limit) => write!(f, "started more than {limit} processes"),
            Self::Disk(limit) => write!(f, "wrote more than {} to the disk", crate::text::bytes(*limit)),
            Self::Files(limit) => write!(f, "made more than {limit} files"),
            Self::Machine(limit) => {
                write!(f, "ran while the machine had less than {} of memory left", crate::text::bytes(*limit))
            }
        }
    }
}

/// Returns the machine's memory in bytes; 4 GiB if it cannot be read.
fn total_memory() -> u64 {
    meminfo("MemTotal:").unwrap_or(4 << 30)
}

fn meminfo(name: &str) -> Option<u64> {
    kibibytes(&fs::read_to_string("/proc/meminfo").ok()?, name)
}

/// Parses the value of a line such as `MemTotal:  1024 kB`, in bytes.
fn kibibytes(text: &str, name: &str) -> Option<u64> {
    let value = text.lines().find_map(|line| line.strip_prefix(name))?;
    value.trim().strip_suffix(" kB")?.parse::<u64>().ok()?.checked_shl(10)
}

/// Enforces resource limits by polling `/proc`.
#[derive(Debug)]
pub(super) struct LimitMonitor {
    limits: BoxLimits,
    /// Parent of the box's PID 1.
    process: u32,
    root: File,
    /// Free disk space at the start.
    free: Free,
    /// Memory in bytes that is left to the rest of the machine.
    reserved: u64,
}

impl LimitMonitor {
    /// Makes a monitor.
    ///
    /// # Errors
    /// If the file system of the image cannot be asked.
    pub(super) fn new(limits: BoxLimits, process: u32, root: &Path) -> Result<Self> {
        let failed = || format!("cannot ask the file system of `{}`", root.printable());
        let root_file = File::open(root).with_context(failed)?;
        let free = Free::at(&root_file).with_context(failed)?;
        let reserved = (total_memory() / RESERVED_PART).min(RESERVED_MEMORY);
        Ok(Self { limits, process, root: root_file, free, reserved })
    }

    /// Checks the box until `ended` is hung up. If the box exceeds a limit, kills it and returns the limit.
    pub(super) fn run(&self, time: Duration, ended: &Receiver<()>) -> Option<Exceeded> {
        let deadline = Instant::now() + time;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if ended.recv_timeout(left.min(TICK)) != Err(RecvTimeoutError::Timeout) {
                return None;
            }
            let exceeded = if left.is_zero() { Some(Exceeded::Time(time)) } else { self.check() };
            if exceeded.is_some() {
                self.kill();
                return exceeded;
            }
        }
    }

    fn check(&self) -> Option<Exceeded> {
        self.disk().or_else(|| self.machine()).or_else(|| self.processes())
    }

    /// Kills the box's PID 1, and with it everything in the box. Its parent reaps it and ends. If there is no PID 1,
    /// kills the parent; its id cannot be reused before it is waited for.
    fn kill(&self) {
        let process = i32::try_from(self.process).ok().and_then(rustix::process::Pid::from_raw);
        if !self.kill_first()
            && let Some(process) = process
        {
            // Fails only if it has ended already.
            rustix::process::kill_process(process, rustix::process::Signal::KILL).ok();
        }
    }

    fn kill_first(&self) -> bool {
        let first = || processes().into_iter().find(|process| process.parent == self.process).map(|process| process.id);
        let Some(id) = first() else { return false };
        let Some(pid) = i32::try_from(id).ok().and_then(rustix::process::Pid::from_raw) else { return false };
        let Ok(process) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return false };
        // The id belonged to that process both before and after it was opened, so the descriptor refers to it.
        first() == Some(id) && rustix::process::pidfd_send_signal(process, rustix::process::Signal::KILL).is_ok()
    }

    fn disk(&self) -> Option<Exceeded> {
        let (free, usable) = (Free::at(&self.root).ok()?, self.free.usable());
        let disk = self.limits.disk.min(usable.bytes);
        if self.free.bytes.saturating_sub(free.bytes) > disk {
            return Some(Exceeded::Disk(disk));
        }
        let files = self.limits.files.min(usable.files?);
        (self.free.files?.saturating_sub(free.files?) > files).then_some(Exceeded::Files(files))
    }

    /// Checks the machine's memory: socket buffers, pipes and descriptor tables are attributed to no process.
    fn machine(&self) -> Option<Exceeded> {
        let is_short = meminfo("MemAvailable:").is_some_and(|available| available < self.reserved);
        is_short.then_some(Exceeded::Machine(self.reserved))
    }

    fn processes(&self) -> Option<Exceeded> {
        let inside = descendants(self.process, &processes());
        let threads: u64 = inside.iter().map(|process| process.threads).sum();
        if threads > self.limits.processes {
            return Some(Exceeded::Processes(self.limits.processes));
        }
        let is_beyond = |memory: u64| memory > self.limits.memory;
        let used = inside.iter().map(|process| process.memory).sum();
        let start = Instant::now();
        let share = |process: &Process| if start.elapsed() < CAREFUL { own_share(process) } else { process.memory };
        // Shared memory was counted once per process, so this only calls for the exact count, which is slower.
        let is_beyond = is_beyond(used) && is_beyond(inside.iter().map(share).sum());
        is_beyond.then_some(Exceeded::Memory(self.limits.memory))
    }
}

/// A process, as its `/proc/N/status` describes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Process {
    id: u32,
    parent: u32,
    threads: u64,
    /// Resident memory, swapped-out memory and page tables, in bytes.
    memory: u64,
}

/// Lists all processes of this namespace.
fn processes() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let ids = entries.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    // A process that has ended in the meantime does not count.
    ids.filter_map(|id| parse_status(id, &fs::read(format!("/proc/{id}/status")).ok()?)).collect()
}

/// Parses `/proc/N/status` (<https://man7.org/linux/man-pages/man5/proc_pid_status.5.html>). The name in its first line
/// may hold anything; the kernel escapes line ends.
fn parse_status(id: u32, text: &[u8]) -> Option<Process> {
    let text = String::from_utf8_lossy(text);
    let value = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
    let number = |name: &str| value(name)?.trim().parse().ok();
    let parent = value("PPid:")?.trim().parse().ok()?;
    let memory = ["VmRSS:", "VmSwap:", "VmPTE:"].iter().filter_map(|name| kibibytes(&text, name)).sum();
    Some(Process { id, parent, threads: number("Threads:")?, memory })
}

/// Returns the processes of `all` that descend from `first`. Orphans are adopted by the PID 1 of their box.
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

/// Returns the proportional set size of a process in bytes: Pss, SwapPss and page tables. See
/// <https://docs.kernel.org/filesystems/proc.html>.
fn own_share(process: &Process) -> u64 {
    let text = fs::read_to_string(format!("/proc/{}/smaps_rollup", process.id)).unwrap_or_default();
    let Some(resident) = kibibytes(&text, "Pss:") else { return process.memory };
    let status = fs::read(format!("/proc/{}/status", process.id)).unwrap_or_default();
    let tables = kibibytes(&String::from_utf8_lossy(&status), "VmPTE:").unwrap_or_default();
    resident + kibibytes(&text, "SwapPss:").unwrap_or_default() + tables
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_read_whatever_it_is_called() {
        let status = b"Name:\tPPid:\t7\\nPPid: 7\xff\nTgid:\t17\nPPid:\t5\nVmPTE:\t      4 kB\nVmRSS:\t  250 kB\n\
            VmSwap:\t   50 kB\nThreads:\t3\n";
        let memory = 304 << 10;
        assert_eq!(parse_status(17, status), Some(Process { id: 17, parent: 5, threads: 3, memory }));
        assert_eq!(parse_status(17, b"Name:\ta\nPPid:\t0\nThreads:\t1\n").unwrap().memory, 0, "a zombie");
        assert_eq!(parse_status(17, b"Name:\ta\n"), None);
        let own = processes().into_iter().find(|process| process.id == std::process::id()).unwrap();
        assert_eq!(own.parent, std::os::unix::process::parent_id());
        assert!(own.memory > 1 << 20 && own_share(&own) > 1 << 18);
        assert!(meminfo("MemAvailable:").unwrap() < total_memory());
    }

    #[test]
    fn what_a_process_started_is_found_at_every_depth() {
        let process = |id, parent| Process { id, parent, threads: 1, memory: 0 };
        let all = [process(1, 0), process(2, 1), process(3, 2), process(4, 3), process(5, 1), process(6, 6)];
        let ids = |first| descendants(first, &all).iter().map(|process| process.id).collect::<Vec<_>>();
        assert_eq!(ids(2), [3, 4]);
        assert_eq!(ids(5), [0; 0]);
    }

    #[test]
    fn a_machine_without_memory_ends_a_command() {
        let mut monitor = LimitMonitor::new(BoxLimits::default(), std::process::id(), &std::env::temp_dir()).unwrap();
        monitor.reserved = u64::MAX;
        assert_eq!(monitor.check(), Some(Exceeded::Machine(u64::MAX)));
        monitor.reserved = 0;
        assert_eq!(monitor.check(), None);
    }

    #[test]
    fn a_limit_is_told_in_words() {
        for (exceeded, words) in [
            (Exceeded::Time(Duration::from_secs(5)), "ran longer than 5 s"),
            (Exceeded::Memory(64 << 20), "used more than 64 MiB of memory"),
            (Exceeded::Processes(40), "started more than 40 processes"),
            (Exceeded::Disk(1 << 30), "wrote more than 1 GiB to the disk"),
            (Exceeded::Files(1000), "made more than 1000 files"),
            (Exceeded::Machine(512 << 20), "ran while the machine had less than 512 MiB of memory left"),
        ] {
            assert_eq!(exceeded.to_string(), words);
        }
    }
}
