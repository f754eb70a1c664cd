//! Runs untrusted code in a process that computes, and talks over one socket to its parent.
//!
//! The process has only the files that it was given open, an empty root directory, no network, an unprivileged user, no
//! capability, and only the system calls for memory and threads. It uses namespaces where the kernel allows them. In a
//! container that forbids them, the seccomp filter is the wall: it leaves no way to open, connect or start anything
//! either.
//!
//! The start: [`Worker::start`] executes piimg as `piimg __worker`, which calls [`enter`] before it does anything else.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use super::process::{Credentials, adopt_fd, become_user, close_all_but, die_with_parent, piimg, spawn_with};
use super::{mounts, seccomp, tool};
use crate::error::{Context, Failure, Result};

/// User and group that own nothing.
const NOBODY: u32 = 65534;

/// Most threads: the engine starts one for each core, and one that counts time.
const THREADS: u64 = 512;

/// Resource limits of a worker, enforced by the kernel.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes of writable memory.
    pub memory: u64,
    /// Longest file that it may write, in bytes, among those that it is given.
    pub file: u64,
    /// Processor time in seconds, over all threads.
    pub cpu: u64,
}

/// Parameters of the started process.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    socket: i32,
    files: Vec<i32>,
    bounds: Bounds,
}

/// A running worker. Dropping it kills it.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    socket: UnixStream,
}

impl Worker {
    /// Starts `program`, which is piimg, as a worker that has `files`.
    ///
    /// The worker dies with the calling thread.
    ///
    /// # Errors
    /// [`Failure::host`] if it cannot be started.
    pub fn start(program: &Path, bounds: Bounds, files: &[BorrowedFd<'_>]) -> Result<Self> {
        Self::start_as("__worker", program, bounds, files)
    }

    /// Starts a worker with the internal subcommand `role`, which must call [`enter`] first.
    ///
    /// # Errors
    /// Those of [`Worker::start`].
    pub fn start_as(role: &str, program: &Path, bounds: Bounds, files: &[BorrowedFd<'_>]) -> Result<Self> {
        let (socket, inner) = UnixStream::pair().context("cannot make a socket pair")?;
        let numbers: Vec<i32> = files.iter().map(|file| file.as_raw_fd()).collect();
        let entry = Entry { socket: inner.as_raw_fd(), files: numbers, bounds };
        let entry = serde_json::to_string(&entry).context("cannot describe a worker")?;
        let mut command = piimg(program);
        command.arg(role).arg(entry).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let files: Vec<BorrowedFd<'_>> = files.iter().copied().chain([inner.as_fd()]).collect();
        let child = spawn_with(command, &files).context(Failure::host("cannot start a worker process"))?;
        Ok(Self { child, socket })
    }

    /// Returns the connection to the worker. Everything that comes from it is untrusted.
    pub fn socket(&mut self) -> &mut UnixStream {
        &mut self.socket
    }

    /// Kills the worker if it still runs, and returns its exit status: 128 + the signal's number if a signal ended it.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub fn end(&mut self) -> Result<i32> {
        // Fails only if it has ended already.
        self.child.kill().ok();
        self.wait()
    }

    /// Waits for the worker to end, which it does once its socket is closed.
    ///
    /// # Errors
    /// Those of [`Worker::end`].
    pub fn wait(&mut self) -> Result<i32> {
        Ok(tool::exit_status(self.child.wait().context("cannot wait for a worker process")?))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end().ok();
    }
}

/// The worker's end of the connection, and its files.
#[derive(Debug)]
pub struct Entered {
    pub socket: UnixStream,
    pub files: Vec<File>,
    bounds: Bounds,
}

/// Takes over what the parent gave; the first thing that a worker does.
///
/// # Errors
/// [`Failure::usage`] if this process was not started by [`Worker::start`].
pub fn enter(arguments: &[String]) -> Result<Entered> {
    die_with_parent()?;
    let internal = || Failure::usage("this subcommand is internal to piimg");
    let entry: Entry = serde_json::from_str(arguments.first().with_context(internal)?).with_context(internal)?;
    let socket = UnixStream::from(adopt_fd(entry.socket)?);
    let files = entry.files.iter().map(|number| Ok(File::from(adopt_fd(*number)?))).collect::<Result<_>>()?;
    Ok(Entered { socket, files, bounds: entry.bounds })
}

impl Entered {
    /// Drops all other privileges. Must run before any thread starts and before anything untrusted is read.
    ///
    /// # Errors
    /// If the kernel refuses what it never refuses, or has no filters.
    pub fn confine(&self) -> Result<()> {
        let kept = self.files.iter().map(|file| file.as_raw_fd()).chain([self.socket.as_fd().as_raw_fd()]);
        close_all_but(kept.collect())?;
        let is_root = rustix::process::geteuid().is_root() && nobody_has_a_number();
        let spaces =
            CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
        // No ids are mapped: the user is `nobody` inside.
        let flags = if is_root { spaces } else { spaces | CloneFlags::CLONE_NEWUSER };
        if is_given(nix::sched::unshare(flags))? {
            empty_root();
        }
        if is_root {
            become_user(&Credentials { uid: NOBODY, gid: NOBODY, groups: Vec::new() })?;
            // A user namespace has its own process count, where one is available.
            is_given(nix::sched::unshare(CloneFlags::CLONE_NEWUSER))?;
        }
        drop_all_capabilities()?;
        set_limits(self.bounds)?;
        rustix::thread::set_no_new_privs(true).context("cannot set no_new_privs")?;
        // Each change of credentials clears it, so this comes last.
        die_with_parent()?;
        seccomp::confine_worker()
    }
}

/// Returns `false` if the kernel or the container denies the namespace to this process.
fn is_given(answer: nix::Result<()>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL | Errno::ENOSYS) => Ok(false),
        Err(error) => Err(error).context("cannot leave the namespaces of the host"),
    }
}

/// Empties the root directory. Where mounts are forbidden in spite of the namespace, only the filter keeps this process
/// from opening files.
fn empty_root() {
    let place = Path::new("/tmp");
    mounts::make_private()
        .and_then(|()| mounts::tmpfs(place, "mode=555,size=4k,nr_inodes=1"))
        .and_then(|()| mounts::pivot(place))
        .ok();
}

/// Returns whether this user namespace maps a single user, as `unshare --map-root-user` does: it has no other user to
/// become.
fn nobody_has_a_number() -> bool {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let covers = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or_default());
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(count).is_some_and(|(first, count)| (first..first.saturating_add(count)).contains(&NOBODY.into()))
    };
    text("setgroups").trim() != "deny" && ["uid_map", "gid_map"].iter().all(|name| text(name).lines().any(covers))
}

fn drop_all_capabilities() -> Result<()> {
    rustix::thread::clear_ambient_capability_set().context("cannot clear the ambient capabilities")?;
    let none = CapabilitySet::empty();
    let sets = CapabilitySets { effective: none, permitted: none, inheritable: none };
    rustix::thread::set_capabilities(None, sets).context("cannot drop the capabilities")
}

fn set_limits(bounds: Bounds) -> Result<()> {
    for (resource, limit) in [
        // Not the address space: the engine reserves much and uses little of it.
        (Resource::RLIMIT_DATA, bounds.memory),
        (Resource::RLIMIT_FSIZE, bounds.file),
        (Resource::RLIMIT_CPU, bounds.cpu),
        (Resource::RLIMIT_NPROC, THREADS),
        (Resource::RLIMIT_CORE, 0),
        (Resource::RLIMIT_MEMLOCK, 0),
        (Resource::RLIMIT_MSGQUEUE, 0),
    ] {
        // A hard limit that is lower already cannot be raised.
        let (limit, highest) = getrlimit(resource).map_or((limit, limit), |(_, highest)| (limit.min(highest), highest));
        // The kernel sends SIGXCPU at the soft limit of processor time and SIGKILL at the hard one.
        let hard = if matches!(resource, Resource::RLIMIT_CPU) { highest.min(limit.saturating_add(1)) } else { limit };
        setrlimit(resource, limit, hard).with_context(|| format!("cannot set {resource:?}"))?;
    }
    Ok(())
}
