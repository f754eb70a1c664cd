//! A program of the host that reads what a stranger made: a file system, a partition table, a key ring.
//!
//! A hole in it must lead nowhere, and it must end. It gets the open files that it is to read and nothing else: by Landlock
//! where the kernel has it, it opens the host's programs and libraries alone; it keeps no capability but those to read
//! files, starts no process, has no network, sends no signal, and lives within limits of time, memory and output. It works
//! for everybody, without namespaces. A build has a stronger box ([`super::host_box`]) for programs that must also write.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _, BorrowedFd};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::collect::{Collected, Patience};
use super::ending::{self, Bounds};
use super::landlock::Ruleset;
use super::tool::{Output, Tool, exit_status};
use super::{mounts, seccomp};
use crate::error::{Context as _, Failure, Result, with_cause};
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
    /// Of the processor; four times as much by the clock, for a machine that has other things to do too. None for a program
    /// that runs until somebody ends it.
    pub time: Option<Duration>,
    /// Bytes.
    pub memory: u64,
    /// Bytes of each of its two outputs that are kept, unless the caller reads them itself.
    pub output: usize,
    /// Bytes of each file that it writes, where it may write at all.
    pub file: u64,
}

impl Limits {
    /// `e2fsck` takes some seconds and some hundred megabytes for the file system of a whole card. `dumpe2fs` prints some
    /// megabytes, as do the lists of files of a thousand packages.
    pub const USUAL: Self =
        Self { time: Some(Duration::from_secs(300)), memory: 2 << 30, output: 64 << 20, file: 2 << 30 };
}

/// Which sockets a program gets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sockets {
    /// Such as connect to nothing: `gpg` asks whether its agent is there, and must hear that it is not.
    #[default]
    Dead,
    /// Those to which others of this machine connect at this port; it connects to nobody itself.
    Listening(u16),
    /// Whatever the user's own programs could do.
    All,
}

/// A program that is to be run so.
#[derive(Debug)]
pub struct Confined {
    tool: Tool,
    files: Vec<File>,
    writable: Option<PathBuf>,
    accelerator: Option<PathBuf>,
    sockets: Sockets,
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
            tool: Tool::new(program),
            files: files.context("cannot open a file again")?,
            writable: None,
            accelerator: None,
            sockets: Sockets::Dead,
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
        self.tool = self.tool.stdin(data);
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

    /// A device that runs code for it (`/dev/kvm`): all of its requests are allowed, and signals to threads of its own.
    #[must_use]
    pub fn accelerated_by(mut self, device: &Path) -> Self {
        self.accelerator = Some(device.to_owned());
        self
    }

    #[must_use]
    pub const fn with_sockets(mut self, sockets: Sockets) -> Self {
        self.sockets = sockets;
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
    /// [`Failure::host`] if the program is missing or cannot be started, [`Failure::build`] if it runs into a limit or a
    /// signal ends it.
    pub fn output(&self) -> Result<Output> {
        let child = self.start()?;
        let patience = Patience { time: self.limits.time.map(|time| time * 4), output: self.limits.output };
        let name = format!("`{}`", self.tool.name());
        match self.tool.wait(child, patience)? {
            Collected::Ended { status, stdout, stderr } => {
                let output = Output { status: exit_status(status), stdout, stderr };
                match status.signal() {
                    Some(_) => Err(self.ended(&name, &output)),
                    None => Ok(output),
                }
            }
            Collected::TooLong => {
                let most = patience.time.unwrap_or_default().as_secs();
                Err(Failure::build(format!("{name} ran longer than {most} s and was stopped")).into())
            }
            Collected::TooMuch => {
                let most = bytes(u64::try_from(patience.output).unwrap_or(u64::MAX));
                Err(Failure::build(format!("{name} printed more than {most} and was stopped")).into())
            }
        }
    }

    /// By a signal, and what it said before.
    fn ended(&self, name: &str, output: &Output) -> anyhow::Error {
        let failure = ending::failure(name, output.status, self.bounds());
        match output.tail() {
            said if said.is_empty() => failure.into(),
            said => with_cause(anyhow::anyhow!("{said}"), failure),
        }
    }

    /// What the kernel keeps by a signal, for whoever started it and tells how it ended.
    pub fn bounds(&self) -> Bounds {
        Bounds { file: Some(self.longest_file()), time: self.limits.time }
    }

    fn longest_file(&self) -> u64 {
        if self.writable.is_some() { self.limits.file } else { 0 }
    }

    /// Runs the program; a status other than 0 is an error that quotes the end of its output.
    ///
    /// # Errors
    /// As [`Confined::output`], and [`Failure::build`] if it fails.
    pub fn run(&self) -> Result<Output> {
        self.tool.check(self.output()?)
    }

    /// Starts the program, with pipes for its three streams; it dies with the thread that started it.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing or cannot be started.
    #[expect(unsafe_code, reason = "a process is confined between `fork` and `exec`")]
    pub fn start(&self) -> Result<Child> {
        let mut command = self.tool.command()?;
        let rules = self.rules(Path::new(command.get_program()))?;
        let (limits, longest) = (self.limits, self.longest_file());
        let may = seccomp::May {
            write: self.writable.is_some(),
            signal_threads: self.accelerator.is_some(),
            sockets: self.sockets,
        };
        let filters = seccomp::reader(may)?;
        let numbers: Vec<i32> = self.files.iter().map(|file| file.as_raw_fd()).collect();
        let confine = move || {
            for number in &numbers {
                // SAFETY: the descriptors are open in the parent until `spawn` returns; this is their copy.
                let descriptor = unsafe { BorrowedFd::borrow_raw(*number) };
                rustix::io::fcntl_setfd(descriptor, rustix::io::FdFlags::empty())?;
            }
            limit(limits, longest)?;
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
        self.tool.start(command)
    }

    fn rules(&self, program: &Path) -> Result<Ruleset> {
        let rules = Ruleset::new(self.sockets)?;
        rules.read_below(program);
        let directories = mounts::HOST_DIRECTORIES.into_iter().filter(|name| *name != "etc");
        directories.for_each(|name| rules.read_below(&Path::new("/").join(name)));
        SETTINGS.iter().for_each(|path| rules.read_below(Path::new(path)));
        DEVICES.iter().for_each(|path| rules.use_device(Path::new(path)));
        self.files.iter().for_each(|file| rules.read(file.as_fd()));
        self.writable.iter().for_each(|path| rules.write_below(path));
        self.accelerator.iter().for_each(|path| rules.command_device(path));
        Ok(rules)
    }
}

fn limit(limits: Limits, longest: u64) -> std::io::Result<()> {
    for (resource, limit) in [
        (Resource::RLIMIT_CPU, limits.time.map_or(RLIM_INFINITY, |time| time.as_secs().max(1))),
        (Resource::RLIMIT_DATA, limits.memory),
        (Resource::RLIMIT_FSIZE, longest),
        (Resource::RLIMIT_CORE, 0),
    ] {
        // What is lower already cannot be raised any more.
        let (limit, highest) = getrlimit(resource).map_or((limit, limit), |(_, highest)| (limit.min(highest), highest));
        // At the first limit of processor time the kernel says so, at the second it kills.
        let is_time = matches!(resource, Resource::RLIMIT_CPU);
        let hard = if is_time { highest.min(limit.saturating_add(1)) } else { limit };
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
    use std::io::Write as _;
    use std::time::Instant;

    use super::*;
    use crate::error::report;

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
        if Ruleset::new(Sockets::Dead).unwrap().is_enforced() {
            for path in [&other, Path::new("/etc/passwd"), Path::new("/proc/1/environ")] {
                let said = refused(Confined::new("cat", &[]).unwrap().arg(path));
                assert!(said.contains("Permission denied"), "{said}");
            }
            let said = refused(shell(&format!("echo x > {}", dir.path().join("new").to_string_lossy())));
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
        shell(&format!("echo x > {}", path.to_string_lossy())).writing_to(dir.path()).run().unwrap();
        assert_eq!(std::fs::read(path).unwrap(), b"x\n");
    }

    #[test]
    fn a_program_that_does_not_end_is_ended() {
        let limits = Limits { time: Some(Duration::from_secs(1)), memory: 64 << 20, output: 1 << 20, ..Limits::USUAL };
        let said = |program: Confined| program.within(limits).output().unwrap_err().to_string();
        let start = Instant::now();
        // By which of the two clocks is the affair of whoever else is at work here.
        let busy = said(shell("while :; do :; done"));
        let ends = ["`sh` computed longer than 1 s and was stopped", "`sh` ran longer than 4 s and was stopped"];
        assert!(ends.contains(&&*busy), "{busy}");
        let sleep = Confined::new("sleep", &[]).unwrap().arg("1000");
        assert_eq!(said(sleep), "`sleep` ran longer than 4 s and was stopped");
        assert_eq!(said(Confined::new("yes", &[]).unwrap()), "`yes` printed more than 1 MiB and was stopped");
        assert!(start.elapsed() < Duration::from_secs(30));
        // What a program says of it, or how it ends, is its own affair.
        let memory = shell("x=x; while :; do x=$x$x; done").within(limits).run().unwrap_err().to_string();
        assert!(memory.starts_with("`sh` failed") || memory.starts_with("`sh` crashed"), "{memory}");
    }

    #[test]
    fn a_program_that_a_signal_ended_is_told_by_its_cause() {
        let dir = tempfile::tempdir().unwrap();
        let limits = Limits { file: 1 << 20, ..Limits::USUAL };
        let path = dir.path().join("long");
        let error = Confined::new("dd", &[])
            .unwrap()
            .args(["if=/dev/zero", "bs=1M", "count=2", &format!("of={}", path.to_string_lossy())])
            .writing_to(dir.path())
            .within(limits)
            .output()
            .unwrap_err();
        let report = report(&error);
        assert_eq!(report.messages[0], "`dd` was stopped at a file longer than the 1 MiB that one may have here");
        assert!(report.hints[0].contains("look at where it comes from"), "{report:?}");
        assert_eq!(std::fs::metadata(path).unwrap().len(), 1 << 20);
    }

    #[test]
    fn a_missing_program_names_its_package() {
        let error = Confined::new("no-such-program", &[]).unwrap().run().unwrap_err();
        assert_eq!(error.to_string(), "the program `no-such-program` is not installed");
    }
}
