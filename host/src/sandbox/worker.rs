//! A process for code that nobody trusts: it computes, and talks over one socket to the process that started it.
//!
//! It has no file but those that it was given open, an empty root directory, no network, nobody's user, no capability,
//! and of the kernel's calls those for memory and threads. Namespaces are taken where the kernel gives them: in a
//! container that has none, the filter on system calls is the wall, which leaves no way to open, connect or start
//! anything either.
//!
//! How it starts: [`Worker::start`] executes piimg as `piimg __worker`, which calls [`enter`] before it does anything
//! else.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Stdio};

use nix::errno::Errno;
use nix::sched::CloneFlags;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid};
use rustix::thread::{CapabilitySet, CapabilitySets};
use serde::{Deserialize, Serialize};

use super::private::{adopt_fd, die_with_parent};
use super::{mounts, seccomp, tool};
use crate::error::{Context, Failure, Result};

/// The user and group that own nothing.
const NOBODY: u32 = 65534;

/// Threads: the engine starts one for each core, and one that counts time.
const THREADS: u64 = 512;

/// What a worker may use; the kernel counts it.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Bounds {
    /// Bytes of writable memory.
    pub memory: u64,
    /// Bytes of the longest file that it can write, of those that it is given.
    pub file: u64,
    /// Seconds of processor time, over all threads.
    pub cpu: u64,
}

/// What the started process is told.
#[derive(Debug, Serialize, Deserialize)]
struct Entry {
    socket: i32,
    files: Vec<i32>,
    bounds: Bounds,
}

/// A running worker. It is dead when this is dropped.
#[derive(Debug)]
pub struct Worker {
    child: Child,
    socket: UnixStream,
}

impl Worker {
    /// Starts `program`, which is piimg, as a worker that has `files`.
    ///
    /// It dies with the calling thread.
    ///
    /// # Errors
    /// [`Failure::host`] if it cannot be started.
    pub fn start(program: &Path, bounds: Bounds, files: &[BorrowedFd<'_>]) -> Result<Self> {
        Self::start_as("__worker", program, bounds, files)
    }

    /// The same with the internal subcommand that it becomes; that calls [`enter`] first.
    ///
    /// # Errors
    /// As [`Worker::start`].
    #[expect(unsafe_code, reason = "descriptors are made inheritable in the child, where no other child can get them")]
    pub fn start_as(role: &str, program: &Path, bounds: Bounds, files: &[BorrowedFd<'_>]) -> Result<Self> {
        let (socket, inner) = UnixStream::pair().context("cannot make a socket pair")?;
        let numbers: Vec<i32> = files.iter().map(|file| file.as_raw_fd()).collect();
        let entry = Entry { socket: inner.as_raw_fd(), files: numbers.clone(), bounds };
        let entry = serde_json::to_string(&entry).context("cannot describe a worker")?;
        let inherited: Vec<i32> = numbers.into_iter().chain([inner.as_raw_fd()]).collect();
        let inherit = move || {
            for number in &inherited {
                // SAFETY: the descriptors are open in the parent until `spawn` returns; this is their copy.
                let descriptor = unsafe { BorrowedFd::borrow_raw(*number) };
                rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
            }
            Ok(())
        };
        let mut command = own_program(program);
        command.arg(role).arg(entry).env_clear();
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        // SAFETY: `inherit` makes system calls alone: it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(inherit);
        }
        let child = command.spawn().context(Failure::host("cannot start a worker process"))?;
        Ok(Self { child, socket })
    }

    /// The way to talk with it. What comes from there is the word of whatever runs in the worker.
    pub fn socket(&mut self) -> &mut UnixStream {
        &mut self.socket
    }

    /// Ends it, if it still runs, and returns its exit status: 128 + the signal's number if a signal ended it.
    ///
    /// # Errors
    /// If the process cannot be waited for.
    pub fn end(&mut self) -> Result<i32> {
        // Fails only if it has ended.
        self.child.kill().ok();
        self.wait()
    }

    /// Waits for it to end by itself, which it does once its socket is closed.
    ///
    /// # Errors
    /// As [`Worker::end`].
    pub fn wait(&mut self) -> Result<i32> {
        Ok(tool::exit_status(self.child.wait().context("cannot wait for a worker process")?))
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.end().ok();
    }
}

#[expect(clippy::disallowed_methods, reason = "piimg starts itself here, not a program of the host")]
fn own_program(program: &Path) -> std::process::Command {
    std::process::Command::new(program)
}

/// What a worker has.
#[derive(Debug)]
pub struct Entered {
    pub socket: UnixStream,
    pub files: Vec<File>,
    bounds: Bounds,
}

/// The first thing that a worker does: takes over what it was given.
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
    /// Gives up everything else. Must run before any thread is started and before anything is read that is not trusted.
    ///
    /// # Errors
    /// If the kernel refuses what it never refuses, or has no filters.
    pub fn confine(&self) -> Result<()> {
        let kept = self.files.iter().map(|file| file.as_raw_fd()).chain([self.socket.as_fd().as_raw_fd()]);
        close_all_but(kept.collect())?;
        let is_root = rustix::process::geteuid().is_root() && nobody_has_a_number();
        let spaces =
            CloneFlags::CLONE_NEWNS | CloneFlags::CLONE_NEWNET | CloneFlags::CLONE_NEWIPC | CloneFlags::CLONE_NEWUTS;
        // Nobody maps ids: whoever it was is nobody in there.
        let flags = if is_root { spaces } else { spaces | CloneFlags::CLONE_NEWUSER };
        if is_given(nix::sched::unshare(flags))? {
            empty_root();
        }
        if is_root {
            become_nobody()?;
            // With its own count of processes, where there is one to be had.
            is_given(nix::sched::unshare(CloneFlags::CLONE_NEWUSER))?;
        }
        drop_all_capabilities()?;
        set_limits(self.bounds)?;
        rustix::thread::set_no_new_privs(true).context("cannot set no_new_privs")?;
        // After every change of credentials, each of which clears it.
        die_with_parent()?;
        seccomp::confine_worker()
    }
}

/// False where the kernel or the container has no such namespace for this process.
fn is_given(answer: nix::Result<()>) -> Result<bool> {
    match answer {
        Ok(()) => Ok(true),
        Err(Errno::EPERM | Errno::EACCES | Errno::ENOSPC | Errno::EUSERS | Errno::EINVAL | Errno::ENOSYS) => Ok(false),
        Err(error) => Err(error).context("cannot leave the namespaces of the host"),
    }
}

/// Where mounts are forbidden in spite of the namespace, the filter alone keeps this process from opening files.
fn empty_root() {
    let place = Path::new("/tmp");
    mounts::make_private()
        .and_then(|()| mounts::tmpfs(place, "mode=555,size=4k,nr_inodes=1"))
        .and_then(|()| mounts::pivot(place))
        .ok();
}

/// Root of a namespace for one user, as `unshare --map-root-user` makes it, is that user outside, and nobody else to become.
fn nobody_has_a_number() -> bool {
    let text = |name: &str| std::fs::read_to_string(format!("/proc/self/{name}")).unwrap_or_default();
    let covers = |line: &str| {
        let mut numbers = line.split_whitespace().map(|number| number.parse::<u64>().unwrap_or_default());
        let (first, _, count) = (numbers.next(), numbers.next(), numbers.next());
        first.zip(count).is_some_and(|(first, count)| (first..first.saturating_add(count)).contains(&NOBODY.into()))
    };
    text("setgroups").trim() != "deny" && ["uid_map", "gid_map"].iter().all(|name| text(name).lines().any(covers))
}

fn become_nobody() -> Result<()> {
    nix::unistd::setgroups(&[]).context("cannot drop supplementary groups")?;
    let (uid, gid) = (Uid::from_raw(NOBODY), Gid::from_raw(NOBODY));
    nix::unistd::setresgid(gid, gid, gid).context("cannot become nobody's group")?;
    nix::unistd::setresuid(uid, uid, uid).context("cannot become nobody")
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
        // What is lower already cannot be raised any more.
        let (limit, highest) = getrlimit(resource).map_or((limit, limit), |(_, highest)| (limit.min(highest), highest));
        // At the first limit of processor time the kernel says so, at the second it kills.
        let hard = if matches!(resource, Resource::RLIMIT_CPU) { highest.min(limit.saturating_add(1)) } else { limit };
        setrlimit(resource, limit, hard).with_context(|| format!("cannot set {resource:?}"))?;
    }
    Ok(())
}

#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
fn close_all_but(mut kept: Vec<i32>) -> Result<()> {
    kept.sort_unstable();
    let mut first = 3;
    for number in kept.into_iter().map(i32::cast_unsigned).chain([u32::MAX]) {
        if first < number {
            // SAFETY: nothing in this process owns a descriptor but those of `kept`: it was just started.
            let result = unsafe { nix::libc::close_range(first, number - 1, 0) };
            Errno::result(result).context("cannot close inherited descriptors")?;
        }
        first = number.saturating_add(1);
    }
    Ok(())
}
