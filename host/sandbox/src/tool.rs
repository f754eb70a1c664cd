//! Runs a program of the host (`mke2fs`, `mmdebstrap` …) with a list of arguments, and captures its output. A missing
//! program is reported with the Debian package that has it.
//!
//! This is for tools that never execute anything of the image. A command *inside* the image goes through the box
//! instead.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};

use super::collect::{Collected, Patience, collect};
use super::ending::{self, Bounds};
use super::packages::PACKAGES;
use super::seccomp;
use crate::error::{Context, Failure, Result, with_cause};
use crate::log::{self, CommandLine, Running};

/// Directories searched besides `PATH`: Debian keeps file-system tools in `sbin`, which the `PATH` of an ordinary user
/// lacks.
const SBIN: [&str; 3] = ["/usr/local/sbin", "/usr/sbin", "/sbin"];

/// Directories searched if there is no `PATH`, as in a service.
const BIN: [&str; 2] = ["/usr/bin", "/bin"];

/// Variables of the user that programs of the host get, each with its reason. All others may change how such programs
/// work, and so an image: `POSIXLY_CORRECT`, `TAR_OPTIONS`, `MKE2FS_CONFIG`, `PERL5OPT`, `APT_CONFIG`, `GNUPGHOME`,
/// `HOME` with its dot files, `TMPDIR`, languages.
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

const FOLDS: &str = "whose marks fold a log";
const NETWORK: &str = "how apt reaches the network";

/// Further variables for piimg itself, when it starts itself again.
const OF_PIIMG: [(&str, &str); 5] = [
    ("TERM", "whether progress can be drawn"),
    ("COLUMNS", "how wide progress may be"),
    ("NO_COLOR", "whether it has colours"),
    ("GITHUB_ACTIONS", FOLDS),
    ("GITLAB_CI", FOLDS),
];

/// Lines of a failed program's output that an error quotes.
const QUOTED_LINES: usize = 20;

/// Returns the Debian package that contains `program`, or `None` if piimg does not know it.
pub fn package_of(program: &str) -> Option<&'static str> {
    PACKAGES.iter().find(|package| package.programs.contains(&program)).map(|package| package.name)
}

/// Finds `program` in `PATH`, or in the usual directories. Ignores the working directory.
pub fn find(program: &str) -> Option<PathBuf> {
    search_path(std::env::var_os("PATH")).into_iter().map(|dir| dir.join(program)).find(|file| file.is_file())
}

/// Returns the directories of a `PATH` and the usual ones. Leaves out relative ones, whose meaning changes with the
/// working directory.
fn search_path(path: Option<OsString>) -> Vec<PathBuf> {
    let path = path.unwrap_or_default();
    let mut all: Vec<PathBuf> = std::env::split_paths(&path).filter(|directory| directory.is_absolute()).collect();
    let bin = if all.is_empty() { &BIN[..] } else { &[] };
    all.extend(SBIN.iter().chain(bin).map(PathBuf::from));
    all
}

/// Returns the [`ENVIRONMENT`] variables that are set. `PATH` is always among them: programs find other programs by it.
fn environment() -> impl Iterator<Item = (&'static str, OsString)> {
    let path = || std::env::join_paths(search_path(std::env::var_os("PATH"))).ok();
    let value = move |name| if name == "PATH" { path() } else { std::env::var_os(name) };
    ENVIRONMENT.into_iter().filter_map(move |(name, _)| Some((name, value(name)?)))
}

/// Adds what piimg itself needs, for the process that builds.
pub(super) fn environment_of_piimg() -> impl Iterator<Item = (&'static str, OsString)> {
    let own = OF_PIIMG.into_iter().filter_map(|(name, _)| Some((name, std::env::var_os(name)?)));
    environment().chain(own)
}

/// Makes the failure that names a missing program and its package.
pub fn missing(program: &str) -> Failure {
    let failure = Failure::host(format!("the program `{program}` is not installed"));
    match package_of(program) {
        Some(package) => failure.hint(format!("install it: sudo apt-get install {package}")),
        None => failure,
    }
}

/// Result of a program.
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

    /// Returns the last lines of standard error, or of standard output if there is no standard error.
    pub fn tail(&self) -> String {
        let text = if self.stderr.iter().all(u8::is_ascii_whitespace) { &self.stdout } else { &self.stderr };
        let text = String::from_utf8_lossy(text);
        let lines: Vec<&str> = text.trim_end().lines().collect();
        lines[lines.len().saturating_sub(QUOTED_LINES)..].join("\n")
    }
}

/// A program to run on the host.
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
        // Parsed output must not depend on the user's language.
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

    /// Makes the program's requests to wait for the disk succeed at once.
    ///
    /// e2fsprogs sync a file when they close it, even one that they only read. piimg syncs its results once, before it
    /// names them.
    ///
    /// The program can no longer gain privileges, as `newuidmap` must.
    #[must_use]
    pub const fn without_sync(mut self) -> Self {
        self.syncs = false;
        self
    }

    /// Passes all of the user's variables on: for programs that the user runs, not piimg.
    #[must_use]
    pub fn with_environment_of_user(mut self) -> Self {
        self.inherits = true;
        self.env.clear();
        self
    }

    /// Runs the program and waits for it; a status other than 0 is no error here.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing or cannot be started.
    pub fn output(&self) -> Result<Output> {
        let (command, running) = self.prepared()?;
        let child = self.start(command)?;
        match self.wait(child, Patience::ENDLESS)? {
            Collected::Ended { status, stdout, stderr } => {
                let status = exit_status(status);
                running.ended(&self.program, status);
                Ok(Output { status, stdout, stderr })
            }
            Collected::TooLong | Collected::TooMuch => unreachable!("nothing is too long or too much"),
        }
    }

    /// Starts a [`Tool::command`] of this program, possibly extended by the caller, with pipes for its streams.
    pub(super) fn start(&self, mut command: Command) -> Result<Child> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().with_context(|| Failure::host(format!("cannot start `{}`", self.program)))
    }

    /// Feeds a started program and waits for it.
    pub(super) fn wait(&self, child: Child, patience: Patience) -> Result<Collected> {
        collect(child, &self.stdin, patience).with_context(|| format!("cannot run `{}`", self.program))
    }

    /// Returns the program's name.
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

    /// Does the same as [`Tool::run`], with files of any length for input and output.
    ///
    /// # Errors
    /// Those of [`Tool::run`].
    pub fn run_between(&self, stdin: Stdio, stdout: Stdio) -> Result<()> {
        let (mut command, running) = self.prepared()?;
        let child = command.stdin(stdin).stdout(stdout).stderr(Stdio::piped()).spawn();
        let output = child
            .and_then(std::process::Child::wait_with_output)
            .with_context(|| Failure::host(format!("cannot start `{}`", self.program)))?;
        let status = exit_status(output.status);
        running.ended(&self.program, status);
        self.check(Output { status, stdout: output.stdout, stderr: output.stderr }).map(drop)
    }

    pub(super) fn check(&self, output: Output) -> Result<Output> {
        if output.status == 0 {
            return Ok(output);
        }
        let failure = ending::failure(&format!("`{}`", self.program), output.status, Bounds::default());
        Err(with_cause(self.why(&output), failure))
    }

    /// Returns what the program said before it failed, and its command line.
    pub(super) fn why(&self, output: &Output) -> anyhow::Error {
        let command = anyhow::anyhow!("the command was: {}", self.line());
        match output.tail() {
            said if said.is_empty() => command,
            said => with_cause(command, said),
        }
    }

    fn line(&self) -> CommandLine<'_> {
        CommandLine::new(OsStr::new(&self.program), self.args.iter().map(OsString::as_os_str))
    }

    /// Returns the command for `std`, for callers that stream the output.
    ///
    /// # Errors
    /// [`Failure::host`] if the program is missing.
    pub fn command(&self) -> Result<Command> {
        self.prepared().map(|(command, _)| command)
    }

    /// Makes the command as [`Tool::command`] does; how it ended can be logged.
    #[expect(clippy::disallowed_methods, reason = "this is the one place that makes host commands")]
    pub(super) fn prepared(&self) -> Result<(Command, Running)> {
        let program = find(&self.program).ok_or_else(|| missing(&self.program))?;
        let mut command = Command::new(program);
        if !self.inherits {
            command.env_clear().envs(environment());
        }
        command.args(&self.args).envs(self.env.iter().map(|(name, value)| (name, value)));
        if !self.syncs {
            seccomp::ignore_sync(&mut command)?;
        }
        Ok((command, log::command("", &self.line())))
    }
}

/// Returns the exit status as shells report it.
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
        let command = "the command was: sh -c 'echo out; echo why >&2; exit 3'";
        assert_eq!(report(&error).messages, ["`sh` failed with status 3", "why", command]);
        let error = Tool::new("false").run().unwrap_err();
        assert_eq!(report(&error).messages, ["`false` failed with status 1", "the command was: false"]);
    }

    #[test]
    fn a_program_that_a_signal_ended_is_told_by_its_cause() {
        let error = Tool::new("sh").args(["-c", "echo why >&2; kill -SEGV $$"]).run().unwrap_err();
        assert_eq!(
            report(&error).messages,
            ["`sh` crashed (SIGSEGV)", "why", "the command was: sh -c 'echo why >&2; kill -SEGV $$'"]
        );
    }

    #[test]
    fn a_program_need_not_wait_for_the_disk() {
        // `/dev/null` cannot be synced; only the kernel would say so.
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
    fn what_is_read_of_the_environment_is_documented() {
        let page = include_str!("../../../docs/environment.md");
        for (name, _) in ENVIRONMENT.into_iter().chain(OF_PIIMG) {
            assert!(page.contains(&format!("`{name}`")), "docs/environment.md does not name `{name}`");
        }
    }

    #[test]
    fn input_reaches_the_program_and_output_comes_back() {
        let output = Tool::new("cat").stdin("hello").run().unwrap();
        assert_eq!(output.stdout_text(), "hello");
    }
}
