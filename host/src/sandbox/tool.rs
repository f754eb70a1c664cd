//! Runs a program of the host (`mke2fs`, `mmdebstrap` …): arguments as a list, output captured, a missing
//! program named together with the Debian package that has it.
//!
//! This is for tools that never execute anything of the image. A command *inside* the image goes through
//! the box instead.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::collect::{Collected, Patience, collect};
use super::ending::{self, Bounds};
use super::seccomp;
use crate::error::{Context, Failure, Result, with_cause};

/// Programs piimg starts, with the Debian and Ubuntu package of each.
pub const PACKAGES: &[(&str, &str)] = &[
    ("mmdebstrap", "mmdebstrap"),
    ("apt-get", "apt"),
    ("tar", "tar"),
    ("gpg", "gpg"),
    ("mke2fs", "e2fsprogs"),
    ("e2fsck", "e2fsprogs"),
    ("debugfs", "e2fsprogs"),
    ("dumpe2fs", "e2fsprogs"),
    ("fsck.fat", "dosfstools"),
    ("sfdisk", "fdisk"),
    ("newuidmap", "uidmap"),
    ("newgidmap", "uidmap"),
    ("qemu-system-aarch64", "qemu-system-arm"),
    ("qemu-aarch64-static", "qemu-user-static"),
    ("qemu-arm-static", "qemu-user-static"),
];

/// Where programs are looked for besides `PATH`: Debian keeps file-system tools in `sbin`, which an ordinary user's `PATH`
/// leaves out.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Where they are looked for too if nothing else is named: a service may have no `PATH` at all.
const BIN: [&str; 2] = ["/usr/bin", "/bin"];

/// Variables of the user's that programs of the host get, each with its reason. Whatever else a shell may hold changes what
/// such programs do (`POSIXLY_CORRECT`, `TAR_OPTIONS`, `MKE2FS_CONFIG`, `PERL5OPT`, `APT_CONFIG`, `GNUPGHOME`, `HOME` with the
/// files of settings in it, `TMPDIR`, languages), and so an image.
const ENVIRONMENT: [(&str, &str); 10] = [
    ("PATH", "where programs are"),
    ("http_proxy", NETWORK),
    ("https_proxy", NETWORK),
    ("ftp_proxy", NETWORK),
    ("all_proxy", NETWORK),
    ("no_proxy", NETWORK),
    ("HTTP_PROXY", NETWORK),
    ("HTTPS_PROXY", NETWORK),
    ("ALL_PROXY", NETWORK),
    ("NO_PROXY", NETWORK),
];

const NETWORK: &str = "how apt reaches the network";

/// Those that piimg itself gets too where it starts itself again.
const OF_PIIMG: [(&str, &str); 3] = [
    ("TERM", "whether progress can be drawn"),
    ("COLUMNS", "how wide progress may be"),
    ("NO_COLOR", "whether it has colours"),
];

/// How much of a failed program's output an error quotes.
const QUOTED_LINES: usize = 20;

/// The Debian package that contains `program`, if piimg knows it.
pub fn package_of(program: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|(name, _)| *name == program).map(|(_, package)| *package)
}

/// Finds `program` in `PATH`, or where programs are. What lies in the working directory is none.
pub fn find(program: &str) -> Option<PathBuf> {
    search_path(std::env::var_os("PATH")).into_iter().map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// The directories of a `PATH`, and those that it may leave out; one that is not absolute means another one each time.
fn search_path(path: Option<OsString>) -> Vec<PathBuf> {
    let path = path.unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
    let bin = if all.is_empty() { &BIN[..] } else { &[] };
    all.extend(SBIN.iter().chain(bin).map(PathBuf::from));
    all
}

/// Those of the [`ENVIRONMENT`] that are set; `PATH` always is, for what a program starts is found by it.
fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    let path = || std::env::join_paths(search_path(std::env::var_os("PATH"))).ok();
    let value = move |name| if name == "PATH" { path() } else { std::env::var_os(name) };
    ENVIRONMENT.into_iter().filter_map(move |(name, _)| Some((name, value(name)?)))
}

/// The same with what piimg itself needs, for the process that builds.
pub(super) fn environment_of_piimg() -> impl Iterator<Item = (&'static str, OsString)> {
    let own = OF_PIIMG.into_iter().filter_map(|(name, _)| Some((name, std::env::var_os(name)?)));
    environment().chain(own)
}

/// The failure that says a program is missing and which package has it.
pub fn missing(program: &str) -> Failure {
    let failure = Failure::host(format!("the program `{program}` is not installed"));
    match package_of(program) {
        Some(package) => failure.hint(format!("install it: sudo apt-get install {package}")),
        None => failure,
    }
}

/// What a program left behind.
#[derive(Debug)]
pub struct Output {
    /// Exit status; 128 + the signal's number if a signal ended it, as shells report it.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Output {
    pub fn stdout_text(&self) -> String {
        String::from_utf8_lossy(&self.stdout).into_owned()
    }

    /// The last lines of standard error, then of standard output if there were none.
    pub fn tail(&self) -> String {
        let text = if self.stderr.iter().all(u8::is_ascii_whitespace) { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(text);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
    }
}

/// A program to be run on the host.
#[derive(Debug)]
pub struct Tool {
    program: String,
    args: Vec<OsString>,
    env: Vec<(String, OsString)>,
    stdin: Vec<u8>,
    syncs: bool,
    inherits: bool,
}

impl Tool {
    pub fn new(program: &str) -> Self {
        // Output that is parsed must not depend on the user's language.
        let env = vec![("LC_ALL".to_owned(), OsString::from("C.UTF-8"))];
        Self { program: program.to_owned(), args: Vec::new(), env, stdin: Vec::new(), syncs: true, inherits: false }
    }

    #[must_use]
    pub fn arg(mut self, arg: impl AsRef<OsStr>) -> Self {
        self.args.push(arg.as_ref().to_owned());
        self
    }

    #[must_use]
    pub fn args<I: IntoIterator<Item = S>, S: AsRef<OsStr>>(mut self, args: I) -> Self {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn env(mut self, name: &str, value: impl AsRef<OsStr>) -> Self {
        self.env.push((name.to_owned(), value.as_ref().to_owned()));
        self
    }

    #[must_use]
    pub fn stdin(mut self, data: impl Into<Vec<u8>>) -> Self {
        self.stdin = data.into();
        self
    }

    /// Makes the program's requests to wait for the disk succeed without waiting.
    ///
    /// The e2fsprogs sync a file whenever they close it, even one that they only read. What piimg makes is synced once,
    /// by piimg, before it gets its name.
    ///
    /// The program can no longer gain privileges, as `newuidmap` must.
    #[must_use]
    pub const fn without_sync(mut self) -> Self {
        self.syncs = false;
        self
    }

    /// Gives the program all variables of the user's: for what the user runs, not piimg.
    #[must_use]
    pub fn with_environment_of_user(mut self) -> Self {
        self.inherits = true;
        self.env.clear();
        self
    }

    /// Runs the program and waits for it; a status other than 0 is not an error here.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing or cannot be started.
    pub fn output(&self) -> Result<Output> {
        let child = self.start(self.command()?)?;
        match self.wait(child, Patience::ENDLESS)? {
            Collected::Ended { status, stdout, stderr } => Ok(Output { status: exit_status(status), stdout, stderr }),
            Collected::TooLong | Collected::TooMuch => unreachable!("nothing is too long or too much"),
        }
    }

    /// Starts a [`Tool::command`] of this program, to which the caller may have added something, with pipes for its streams.
    pub(super) fn start(&self, mut command: Command) -> Result<Child> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().with_context(|| Failure::host(format!("cannot start `{}`", self.program)))
    }

    /// Gives its input to a program that was started, and waits for it.
    pub(super) fn wait(&self, child: Child, patience: Patience) -> Result<Collected> {
        collect(child, &self.stdin, patience).with_context(|| format!("cannot run `{}`", self.program))
    }

    /// What the program is called.
    pub(super) fn name(&self) -> &str {
        &self.program
    }

    /// Runs the program; a status other than 0 is an error that quotes the end of its output.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing, [`Failure::build`] if it fails.
    pub fn run(&self) -> Result<Output> {
        self.check(self.output()?)
    }

    /// The same with files for its input and output, of whatever length.
    ///
    /// # Errors
    /// As [`Tool::run`].
    pub fn run_between(&self, stdin: Stdio, stdout: Stdio) -> Result<()> {
        let child = self.command()?.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn();
        let output = child
            .and_then(std::process::Child::wait_with_output)
            .with_context(|| Failure::host(format!("cannot start `{}`", self.program)))?;
        self.check(Output { status: exit_status(output.status), stdout: output.stdout, stderr: output.stderr })
            .map(drop)
    }

    pub(super) fn check(&self, output: Output) -> Result<Output> {
        if output.status == 0 {
            return Ok(output);
        }
        let cause = anyhow::anyhow!("{}", output.tail());
        Err(with_cause(cause, ending::failure(&format!("`{}`", self.program), output.status, Bounds::default())))
    }

    /// The command as `std` wants it, for callers that stream the output.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes host commands")]
    pub fn command(&self) -> Result<Command> {
        let program = find(&self.program).ok_or_else(|| missing(&self.program))?;
        let mut command = Command::new(program);
        if !self.inherits {
            command.env_clear().envs(environment());
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        if !self.syncs {
            seccomp::ignore_sync(&mut command)?;
        }
        Ok(command)
    }
}

/// Exit status as shells report it.
pub fn exit_status(status: ExitStatus) -> i32 {
    use std::os::unix::process::ExitStatusExt as _;
    status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Kind, report};

    #[test]
    fn a_missing_program_names_its_package() {
        let failure = missing("mke2fs");
        let report = report(&failure.into());
        assert_eq!(report.kind, Kind::Host);
        assert_eq!(report.hints, ["install it: sudo apt-get install e2fsprogs"]);
    }

    #[test]
    fn programs_are_found_without_a_path_and_never_in_the_working_directory() {
        let usual = ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(PathBuf::from);
        for path in [None, Some(""), Some(":"), Some("."), Some("bin:./sbin:..")] {
            assert_eq!(search_path(path.map(Into::into)), usual, "{path:?}");
        }
        let own = ["/opt/x", "/bin", "/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from);
        assert_eq!(search_path(Some("/opt/x::/bin:.".into())), own);
    }

    #[test]
    fn a_failing_program_is_quoted() {
        let error = Tool::new("sh").args(["-c", "echo out; echo why >&2; exit 3"]).run().unwrap_err();
        assert_eq!(report(&error).messages, ["`sh` failed with status 3", "why"]);
    }

    #[test]
    fn a_program_that_a_signal_ended_is_told_by_its_cause() {
        let error = Tool::new("sh").args(["-c", "echo why >&2; kill -SEGV $$"]).run().unwrap_err();
        assert_eq!(report(&error).messages, ["`sh` crashed (SIGSEGV)", "why"]);
    }

    #[test]
    fn a_program_need_not_wait_for_the_disk() {
        // Nothing can be synced there, which only the kernel knows.
        let sync = || Tool::new("sync").arg("/dev/null");
        let error = sync().run().unwrap_err();
        assert!(report(&error).messages[1].contains("Invalid argument"), "{error:?}");
        sync().without_sync().run().unwrap();
    }

    #[test]
    fn a_program_gets_few_variables() {
        let environment = Tool::new("env").env("OWN", "1").run().unwrap().stdout_text();
        let names: Vec<&str> = environment.lines().filter_map(|line| line.split('=').next()).collect();
        assert!(names.contains(&"PATH") && names.contains(&"OWN") && names.contains(&"LC_ALL"), "{names:?}");
        // cargo sets this one for its tests.
        assert!(std::env::var_os("CARGO_MANIFEST_DIR").is_some() && !names.contains(&"CARGO_MANIFEST_DIR"));
        let all = Tool::new("env").with_environment_of_user().run().unwrap().stdout_text();
        assert!(all.contains("CARGO_MANIFEST_DIR="));
    }

    #[test]
    fn input_reaches_the_program_and_output_comes_back() {
        let output = Tool::new("cat").stdin("hello").run().unwrap();
        assert_eq!(output.stdout_text(), "hello");
    }
}
