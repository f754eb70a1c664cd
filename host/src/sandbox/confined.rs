//! A program of the host that reads what a stranger made: a file system, a partition table, a key ring.
//!
//! A hole in it must lead nowhere, and it must end. It gets the open files that it is to read and nothing else: by Landlock
//! where the kernel has it, it opens the host's programs and libraries alone; it keeps no capability but those to read
//! files, starts no process, has no network, sends no signal, and lives within limits of time, memory and output. It works
//! for everybody, without namespaces. A build has a stronger box ([`super::host_box`]) for programs that must also write.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Write as _};
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use rustix::event::{PollFd, PollFlags};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::landlock::Ruleset;
use super::tool::{Output, Tool, exit_status};
use super::{mounts, seccomp};
use crate::error::{Context as _, Failure, Result};
use crate::ui::bytes;

/// Files beside programs and libraries that programs look at: how libraries are found, what time it is where, defaults.
const SETTINGS: [&str; 8] = [
    "/etc/ld.so.cache",
    "/etc/localtime",
    "/etc/mke2fs.conf",
    "/etc/e2fsck.conf",
    "/etc/mtab",
    "/etc/gnupg",
    "/etc/gcrypt",
    "/proc",
];
const DEVICES: [&str; 4] = ["/dev/null", "/dev/zero", "/dev/random", "/dev/urandom"];

/// What root keeps: without these it could not read another user's file.
const CAPABILITIES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

/// What a program may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Of the processor; four times as much by the clock, for a machine that has other things to do too.
    pub time: Duration,
    /// Bytes.
    pub memory: u64,
    /// Bytes of each of its two outputs.
    pub output: usize,
}

impl Limits {
    /// `e2fsck` takes some seconds and some hundred megabytes for the file system of a whole card. `dumpe2fs` prints some
    /// megabytes, as do the lists of files of a thousand packages.
    pub const USUAL: Self = Self { time: Duration::from_secs(300), memory: 2 << 30, output: 64 << 20 };
}

/// A program that is to be run so.
#[derive(Debug)]
pub struct Confined {
    name: String,
    tool: Tool,
    files: Vec<File>,
    writable: Option<PathBuf>,
    stdin: Vec<u8>,
    limits: Limits,
}

impl Confined {
    /// `files` are those that it may open, at their [`place`]s.
    ///
    /// # Errors
    /// If there is no descriptor left.
    pub fn new(program: &str, files: &[&File]) -> Result<Self> {
        let files = files.iter().map(|file| file.try_clone()).collect::<std::io::Result<_>>();
        Ok(Self {
            name: program.to_owned(),
            tool: Tool::new(program),
            files: files.context("cannot open a file again")?,
            writable: None,
            stdin: Vec::new(),
            limits: Limits::USUAL,
        })
    }

    /// Where the program finds the file that was given as the one of that index.
    pub fn place(&self, index: usize) -> PathBuf {
        // That of this process would be closed to it: a confined process may not look into others.
        PathBuf::from(format!("/proc/self/fd/{}", self.files[index].as_raw_fd()))
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.tool = self.tool.arg(arg);
        self
    }

    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.tool = self.tool.args(args);
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.tool = self.tool.env(name, value);
        self
    }

    #[must_use]
    pub fn stdin(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.stdin = data.into();
        self
    }

    /// As [`Tool::without_sync`].
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.tool = self.tool.without_sync();
        self
    }

    /// A directory in which it may do what it likes.
    #[must_use]
    pub fn writing_to(mut self, directory: &Path) -> Self {
        self.writable = Some(directory.to_owned());
        self
    }

    #[must_use]
    pub const fn within(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    /// Runs the program and waits for it; a status other than 0 is not an error here.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing or cannot be started, [`Failure::build`] if it runs into a limit.
    pub fn output(&self) -> Result<Output> {
        let child = self.start()?;
        self.collect(child)
    }

    /// Runs the program; a status other than 0 is an error that quotes the end of its output.
    ///
    /// # Errors
    /// As [`Confined::output`], and [`Failure::build`] if it fails.
    pub fn run(&self) -> Result<Output> {
        self.tool.check(self.output()?)
    }

    #[expect(unsafe_code, reason = "a process is confined between `fork` and `exec`")]
    fn start(&self) -> Result<Child> {
        let mut command = self.tool.command()?;
        let rules = self.rules(Path::new(command.get_program()))?;
        let (limits, may_write) = (self.limits, self.writable.is_some());
        let filters = seccomp::reader(may_write)?;
        let numbers: Vec<i32> = self.files.iter().map(|file| file.as_raw_fd()).collect();
        let confine = move || {
            for number in &numbers {
                // SAFETY: the descriptors are open in the parent until `spawn` returns; this is their copy.
                let descriptor = unsafe { BorrowedFd::borrow_raw(*number) };
                rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
            }
            limit(limits, may_write)?;
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL))?;
            rustix::thread::set_no_new_privs(true)?;
            rules.enforce()?;
            drop_capabilities()?;
            seccomp::install_in_child(&filters)
        };
        // SAFETY: `confine` makes system calls alone: it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(confine);
        }
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| Failure::host(format!("cannot start `{}`", self.name)))
    }

    fn rules(&self, program: &Path) -> Result<Ruleset> {
        let rules = Ruleset::new()?;
        rules.read_below(program);
        let directories = mounts::HOST_DIRECTORIES.into_iter().filter(|name| *name != "etc");
        directories.for_each(|name| rules.read_below(&Path::new("/").join(name)));
        SETTINGS.iter().for_each(|path| rules.read_below(Path::new(path)));
        DEVICES.iter().for_each(|path| rules.use_device(Path::new(path)));
        self.files.iter().for_each(|file| rules.read(file.as_fd()));
        self.writable.iter().for_each(|path| rules.write_below(path));
        Ok(rules)
    }

    fn collect(&self, mut child: Child) -> Result<Output> {
        let mut stdin = child.stdin.take().expect("stdin is piped");
        let (stdout, stderr) =
            (child.stdout.take().expect("stdout is piped"), child.stderr.take().expect("it is piped"));
        let process = rustix::process::Pid::from_child(&child);
        let ended = std::thread::scope(|scope| {
            // It may end without reading all of its input; its status tells whether that was a failure.
            let writer = scope.spawn(move || stdin.write_all(&self.stdin));
            let kill = move || {
                // Fails only if it has ended.
                rustix::process::kill_process(process, rustix::process::Signal::KILL).ok();
            };
            let (out, err) = (
                scope.spawn(move || keep(stdout, self.limits.output).inspect_err(|()| kill())),
                scope.spawn(move || keep(stderr, self.limits.output).inspect_err(|()| kill())),
            );
            let in_time = wait(&child, self.limits.time * 4);
            if !matches!(in_time, Ok(true)) {
                kill();
            }
            // Its process number is its own until here, where it is waited for by `child`.
            let (out, err) = (out.join().expect("it does not panic"), err.join().expect("it does not panic"));
            writer.join().expect("it does not panic").ok();
            (in_time, out, err)
        });
        let status = child.wait().with_context(|| format!("cannot wait for `{}`", self.name))?;
        let (in_time, out, err) = ended;
        let refused = |why: String| Err(Failure::build(format!("`{}` {why}", self.name)).into());
        let status = exit_status(status);
        match (in_time?, out, err) {
            (false, _, _) => refused(format!("ran longer than {} s and was stopped", (self.limits.time * 4).as_secs())),
            (true, Ok(_), Ok(_)) if status == 128 + nix::libc::SIGXCPU => {
                refused(format!("computed longer than {} s and was stopped", self.limits.time.as_secs()))
            }
            (true, Ok(stdout), Ok(stderr)) => Ok(Output { status, stdout, stderr }),
            (true, _, _) => {
                let most = u64::try_from(self.limits.output).unwrap_or(u64::MAX);
                refused(format!("printed more than {} and was stopped", bytes(most)))
            }
        }
    }
}

/// Waits until the process has ended, and no longer than that; it still has its number then.
fn wait(child: &Child, time: Duration) -> Result<bool> {
    let failed = "cannot wait for a program";
    let process = rustix::process::Pid::from_child(child);
    let process = rustix::process::pidfd_open(process, rustix::process::PidfdFlags::empty()).context(failed)?;
    let end = Instant::now() + time;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        let timeout = rustix::event::Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        match rustix::event::poll(&mut [PollFd::new(&process, PollFlags::IN)], Some(&timeout)) {
            Ok(0) if Instant::now() >= end => return Ok(false),
            Ok(0) | Err(rustix::io::Errno::INTR) => {}
            Ok(_) => return Ok(true),
            Err(error) => return Err(error).context(failed),
        }
    }
}

/// All that comes, unless it is more than `most` bytes.
fn keep(pipe: impl Read, most: usize) -> std::result::Result<Vec<u8>, ()> {
    let mut kept = Vec::new();
    let limit = u64::try_from(most).unwrap_or(u64::MAX).saturating_add(1);
    pipe.take(limit).read_to_end(&mut kept).map_err(drop)?;
    if kept.len() > most { Err(()) } else { Ok(kept) }
}

fn limit(limits: Limits, may_write: bool) -> std::io::Result<()> {
    for (resource, limit) in [
        (Resource::RLIMIT_CPU, limits.time.as_secs().max(1)),
        (Resource::RLIMIT_DATA, limits.memory),
        (Resource::RLIMIT_FSIZE, if may_write { limits.memory } else { 0 }),
        (Resource::RLIMIT_CORE, 0),
    ] {
        // What is lower already cannot be raised any more.
        let (limit, highest) = getrlimit(resource).map_or((limit, limit), |(_, highest)| (limit.min(highest), highest));
        // At the first limit of processor time the kernel says so, at the second it kills.
        let hard = if matches!(resource, Resource::RLIMIT_CPU) { highest.min(limit + 1) } else { limit };
        setrlimit(resource, limit, hard)?;
    }
    Ok(())
}

fn drop_capabilities() -> std::io::Result<()> {
    let held = rustix::thread::capabilities(None)?;
    let left = held.permitted.intersection(CAPABILITIES);
    let sets = CapabilitySets { effective: left, permitted: left, inheritable: CapabilitySet::empty() };
    rustix::thread::clear_ambient_capability_set().ok();
    Ok(rustix::thread::set_capabilities(None, sets)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shell(script: &str) -> Confined {
        Confined::new("sh", &[]).unwrap().arg("-c").arg(script)
    }

    #[test]
    fn a_program_reads_what_it_is_given_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let (given, other) = (dir.path().join("given"), dir.path().join("other"));
        std::fs::write(&given, "hello").unwrap();
        std::fs::write(&other, "secret").unwrap();
        let cat = Confined::new("cat", &[&File::open(&given).unwrap()]).unwrap();
        let place = cat.place(0);
        assert_eq!(cat.arg(place).run().unwrap().stdout, b"hello");
        // One that has no name any more, and one that never had a place.
        let unnamed = tempfile::tempfile_in(dir.path()).unwrap();
        (&unnamed).write_all(b"unnamed").unwrap();
        let memory = File::from(rustix::fs::memfd_create("m", rustix::fs::MemfdFlags::CLOEXEC).unwrap());
        (&memory).write_all(b"memory").unwrap();
        for (file, content) in [(&unnamed, &b"unnamed"[..]), (&memory, b"memory")] {
            let cat = Confined::new("cat", &[file]).unwrap();
            let place = cat.place(0);
            assert_eq!(cat.arg(place).run().unwrap().stdout, content);
        }
        let refused = |program: Confined| {
            let output = program.output().unwrap();
            assert_ne!(output.status, 0, "{output:?}");
            output.tail()
        };
        if Ruleset::new().unwrap().is_enforced() {
            for path in [&other, Path::new("/etc/passwd"), Path::new("/proc/1/environ")] {
                let said = refused(Confined::new("cat", &[]).unwrap().arg(path));
                assert!(said.contains("Permission denied"), "{said}");
            }
            let said = refused(shell(&format!("echo x > {}", dir.path().join("new").display())));
            assert!(said.contains("Permission denied"), "{said}");
        }
        let said = refused(shell(&format!("kill -9 {}", std::process::id())));
        assert!(said.contains("not permitted"), "{said}");
        // Another program can only be started by a process of one's own.
        let said = refused(shell("cat /dev/null; exit 1"));
        assert!(said.contains("fork"), "{said}");
    }

    #[test]
    fn a_program_may_write_to_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("new");
        shell(&format!("echo x > {}", path.display())).writing_to(dir.path()).run().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"x\n");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let limits = Limits { time: Duration::from_secs(1), memory: 64 << 20, output: 1 << 20 };
        let said = |program: Confined| program.within(limits).output().unwrap_err().to_string();
        let start = Instant::now();
        assert_eq!(said(shell("while :; do :; done")), "`sh` computed longer than 1 s and was stopped");
        let sleep = Confined::new("sleep", &[]).unwrap().arg("1000");
        assert_eq!(said(sleep), "`sleep` ran longer than 4 s and was stopped");
        assert_eq!(said(Confined::new("yes", &[]).unwrap()), "`yes` printed more than 1 MiB and was stopped");
        assert!(start.elapsed() < Duration::from_secs(30));
        let memory = shell("x=x; while :; do x=$x$x; done").within(limits).output().unwrap();
        assert_ne!(memory.status, 0);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = Confined::new("no-such-program", &[]).unwrap().run().unwrap_err();
        assert_eq!(error.to_string(), "the program `no-such-program` is not installed");
    }
}
