//! Runs a program of the host that reads an untrusted file: a file system, a partition table, a key ring.
//!
//! A hole in such a program must lead nowhere, and the program must end. It gets open descriptors of the files to read
//! and nothing else. Landlock, where the kernel has it, lets it open only the host's programs and libraries. It keeps
//! no capability but those to read files, starts no process, has no network, sends no signal, and has limits of time,
//! memory and output. This works for every user, without namespaces. A build has a stronger box ([`super::host_box`])
//! for programs that must also write.

use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
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
use super::{mounts, process, seccomp};
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::log::Running;
use crate::text::bytes;

/// Files that programs read beside programs and libraries: the loader's cache, time zones, defaults.
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

/// Capabilities that root keeps: without these it could not read another user's file. See
/// <https://man7.org/linux/man-pages/man7/capabilities.7.html>.
const CAPABILITIES: CapabilitySet = CapabilitySet::DAC_OVERRIDE.union(CapabilitySet::DAC_READ_SEARCH);

/// Resource limits of a confined program.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Processor time. The wall clock gets four times as much, since the machine may be busy. `None` for a program that
    /// runs until it is stopped.
    pub time: Option<Duration>,
    /// Memory in bytes.
    pub memory: u64,
    /// Most bytes kept of each of the two outputs, unless the caller reads them itself.
    pub output: usize,
    /// Most bytes of each file that it writes, where it may write at all.
    pub file: u64,
}

impl Limits {
    /// `e2fsck` takes some seconds and some hundred megabytes for the file system of a whole card. The file lists of a
    /// thousand packages have some megabytes.
    pub const USUAL: Self =
        Self { time: Some(Duration::from_secs(300)), memory: 2 << 30, output: 64 << 20, file: 2 << 30 };
}

/// Sockets that a program may use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sockets {
    /// Sockets that connect to nothing: `gpg` asks for its agent, and must hear that there is none.
    #[default]
    Dead,
    /// Accepts connections on this port, and makes none.
    Listening(u16),
    /// All sockets that the user's own programs may use.
    All,
}

/// A program to be run confined.
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
    /// Makes a confined program that may read `files`, which it finds at their [`place`]s.
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

    /// Returns the path at which the program finds the file with this index.
    pub fn place(&self, index: usize) -> PathBuf {
        // The path through this process's own directory would be refused: a confined process may not inspect others.
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

    /// Does what [`Tool::without_sync`] does.
    #[must_use]
    pub fn without_sync(mut self) -> Self {
        self.tool = self.tool.without_sync();
        self
    }

    /// Lets the program write below `directory`.
    #[must_use]
    pub fn writing_to(mut self, directory: &Path) -> Self {
        self.writable = Some(directory.to_owned());
        self
    }

    /// Lets the program use a device that runs code for it (`/dev/kvm`): all ioctl requests, and signals to its own
    /// threads.
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

    /// Runs the program and waits for it; a status other than 0 is no error here.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing or cannot be started, [`Failure::build`] if it exceeds a limit or a
    /// signal ends it.
    pub fn output(&self) -> Result<Output> {
        let (child, running) = self.started()?;
        let patience = Patience { time: self.limits.time.map(|time| time * 4), output: self.limits.output };
        let name = format!("`{}`", self.tool.name());
        match self.tool.wait(child, patience)? {
            Collected::Ended { status, stdout, stderr } => {
                let output = Output { status: exit_status(status), stdout, stderr };
                running.ended(self.tool.name(), output.status);
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

    /// Makes the error of a program that a signal ended, with the last of its output.
    fn ended(&self, name: &str, output: &Output) -> anyhow::Error {
        let failure = ending::failure(name, output.status, self.bounds());
        with_cause(self.tool.why(output), failure)
    }

    /// Returns the limits that the kernel enforces by a signal, to explain how the program ended.
    pub fn bounds(&self) -> Bounds {
        Bounds { file: Some(self.longest_file()), time: self.limits.time }
    }

    fn longest_file(&self) -> u64 {
        if self.writable.is_some() { self.limits.file } else { 0 }
    }

    /// Runs the program; a status other than 0 is an error that quotes the end of its output.
    ///
    /// # Errors
    /// Those of [`Confined::output`], and [`Failure::build`] if it fails.
    pub fn run(&self) -> Result<Output> {
        self.tool.check(self.output()?)
    }

    /// Starts the program, with pipes for its three streams; it dies with the thread that started it.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing or cannot be started.
    pub fn start(&self) -> Result<Child> {
        self.started().map(|(child, _)| child)
    }

    /// Starts the program as [`Confined::start`] does; how it ended can be logged.
    #[expect(unsafe_code, reason = "a process is confined between `fork` and `exec`")]
    fn started(&self) -> Result<(Child, Running)> {
        let (mut command, running) = self.tool.prepared()?;
        let rules = self.rules(Path::new(command.get_program()))?;
        let (limits, longest) = (self.limits, self.longest_file());
        let may = seccomp::May {
            write: self.writable.is_some(),
            signal_threads: self.accelerator.is_some(),
            sockets: self.sockets,
        };
        let filters = seccomp::reader(may)?;
        let pass = process::passing(&self.files.iter().map(|file| file.as_fd()).collect::<Vec<_>>());
        let confine = move || {
            pass()?;
            limit(limits, longest)?;
            process::set_death_signal()?;
            rustix::thread::set_no_new_privs(true)?;
            rules.enforce()?;
            drop_capabilities()?;
            seccomp::install_in_child(&filters)
        };
        // SAFETY: `confine` makes system calls alone: it neither allocates nor takes a lock.
        unsafe {
            command.pre_exec(confine);
        }
        Ok((self.tool.start(command)?, running))
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
        // A hard limit that is lower already cannot be raised:
        // <https://man7.org/linux/man-pages/man2/getrlimit.2.html>.
        let (limit, highest) = getrlimit(resource).map_or((limit, limit), |(_, highest)| (limit.min(highest), highest));
        // The kernel sends SIGXCPU at the soft limit of processor time and SIGKILL at the hard one.
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
        // One file that was deleted, and one that never had a name.
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
        // A shell needs a process of its own for another program.
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
        // A busy machine may hit either clock first.
        let busy = said(shell("while :; do :; done"));
        let ends = ["`sh` computed longer than 1 s and was stopped", "`sh` ran longer than 4 s and was stopped"];
        assert!(ends.contains(&&*busy), "{busy}");
        let sleep = Confined::new("sleep", &[]).unwrap().arg("1000");
        assert_eq!(said(sleep), "`sleep` ran longer than 4 s and was stopped");
        // Here the clocks of a busy machine are not to come first.
        let patient = Limits { time: Limits::USUAL.time, ..limits };
        let printed = Confined::new("yes", &[]).unwrap().within(patient).output().unwrap_err().to_string();
        assert_eq!(printed, "`yes` printed more than 1 MiB and was stopped");
        // The program may report it in its own words, or just die.
        let memory = shell("x=x; while :; do x=$x$x; done").within(patient).run().unwrap_err().to_string();
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
