//! Runs one command of the image in a box of its own.
//!
//! The box has its own mount, PID, IPC, UTS, network and cgroup namespace, which the build's user namespace owns. The
//! command runs in a user namespace nested in that one, so its root has no power over the box (see
//! <https://man7.org/linux/man-pages/man7/user_namespaces.7.html>). It sees the rootfs, a minimal `/dev`, a `/proc` of
//! its own processes, empty `/run` and `/tmp`, and no `/sys`. Its network is `lo`, or piimg's proxy ([`super::proxy`]).
//! [`BoxCommand::run`] returns when the command ends or exceeds its [`BoxLimits`]; everything that it started is dead
//! by then.
//!
//! [`super::init`] is the code that runs inside.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::LimitMonitor;
pub use super::limits::{BoxLimits, Exceeded};
pub use super::process::Credentials;
use super::process::{own_command, spawn_with};
pub use super::proxy::Network;
use super::proxy::{self, ProxyServer};
use super::{ending, init, tool};
use crate::error::{Context, Failure, Result, with_cause};
use crate::log::{self, CommandLine, Running};
use crate::sealed;
use crate::text::Printable as _;

pub(super) const SPEC_ARG: &str = "--spec=";
pub(super) const NETWORK_ARG: &str = "--network=";

/// Exit status of the box's own processes if the box could not be made; standard error has the reason.
pub(super) const SET_UP_FAILED: i32 = 254;

/// Exit status of a command that the seccomp filter killed; see [`super::seccomp`].
const FOREIGN_CALL: i32 = 128 + nix::libc::SIGSYS;

const FOREIGN_CALL_TEXT: &str = "(killed by the box: it made a system call of another ABI, such as the 32-bit one)";

/// Most bytes kept of each output stream. The rest is counted and dropped, so that a command cannot fill the memory of
/// the build.
const OUTPUT_LIMIT: usize = 8 << 20;

/// Capacity of the channel that carries output. A command that writes faster than it is read has to wait.
const WAITING: usize = 4;

/// Host name inside a box. The image's `/etc/hostname` says the same while it is built.
pub const HOST_NAME: &str = "image";

/// Limit set by [`bound_addresses`].
static ADDRESSES: OnceLock<u64> = OnceLock::new();

/// Limits the address space of each process in a box to `bytes`, from now on. For emulated programs.
///
/// Databases and language runtimes reserve terabytes, use little of it, and accept less. The kernel does not account
/// for reserved addresses. qemu-user does, for each page, until the memory is full.
pub fn bound_addresses(bytes: u64) {
    ADDRESSES.get_or_init(|| bytes);
}

/// Environment of every command; its caller adds to it.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    // Makes systemctl and deb-systemd-invoke edit files only: <https://systemd.io/ENVIRONMENT/>.
    ("SYSTEMD_OFFLINE", "1"),
    // Tells systemd and maintainer scripts that no init system runs here: <https://systemd.io/CONTAINER_INTERFACE>.
    ("container", "piimg"),
];

/// A directory or file of the host, shown inside the box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// Path in the build's private namespace.
    pub source: PathBuf,
    /// Absolute path in the image. It must exist; the bind mount covers it and changes nothing.
    pub target: PathBuf,
    pub writable: bool,
}

/// A command and its box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoxCommand {
    /// Mount point of the rootfs.
    pub root: PathBuf,
    /// Program and arguments; never a shell string. The program is absolute, or looked up in the image's `PATH`.
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Working directory inside the image.
    pub cwd: String,
    /// By the image's numbers.
    pub identity: Credentials,
    pub binds: Vec<Bind>,
    /// The command is killed after this time.
    pub timeout: Duration,
    /// The command is killed if it uses more than this.
    pub limits: BoxLimits,
    /// Limit of the address space of each process, in bytes; `None` for no limit.
    pub addresses: Option<u64>,
    /// Hosts that the command may reach; `None` for no network.
    #[serde(skip)]
    pub network: Option<Network>,
}

/// Result of a command.
#[derive(Debug)]
pub struct BoxOutput {
    /// Exit status; 128 + the signal's number if a signal ended it.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Bytes dropped beyond the limit, of both streams together.
    pub dropped: u64,
    /// The limit for which the command was killed.
    pub exceeded: Option<Exceeded>,
}

impl BoxOutput {
    /// Turns a status other than 0 into an error that quotes the end of the output; its message begins with `what`.
    ///
    /// # Errors
    /// [`Failure::build`] with the cause of the end.
    pub fn check(self, what: &str) -> Result<Self> {
        if self.status == 0 {
            return Ok(self);
        }
        let failure = match self.exceeded {
            Some(limit) => Failure::build(format!("{what} {limit}")),
            None => ending::failure(what, self.status, init::bounds()),
        };
        let tail = tool::Output { status: self.status, stdout: self.stdout, stderr: self.stderr }.tail();
        let cause = anyhow::anyhow!("{}", tail.lines().map(crate::text::printable).collect::<Vec<_>>().join("\n"));
        Err(with_cause(cause, failure))
    }
}

/// A box that was started.
struct Started {
    child: Child,
    running: Running,
    /// Serves it until it is dropped.
    _served: Option<ProxyServer>,
}

/// Output stream that a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl BoxCommand {
    /// Makes a command that runs as root in `/` for at most an hour.
    pub fn new(root: impl Into<PathBuf>, argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            root: root.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: "/".into(),
            identity: Credentials::default(),
            binds: Vec::new(),
            timeout: Duration::from_secs(3600),
            limits: BoxLimits::default(),
            addresses: ADDRESSES.get().copied(),
            network: None,
        }
    }

    /// Returns the environment: the standard one, the proxy's if `has_network`, and the caller's, which wins.
    pub(super) fn environment(&self, has_network: bool) -> Vec<(String, String)> {
        let standard = ENVIRONMENT.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let mut all: Vec<(String, String)> = standard.collect();
        if has_network {
            all.extend(proxy::environment());
        }
        for (name, value) in &self.env {
            all.retain(|(other, _)| other != name);
            all.push((name.clone(), value.clone()));
        }
        all
    }

    /// Runs the command; `on_line` sees each line of output as it comes.
    ///
    /// # Privileges
    /// Uid 0 of the build's private namespace.
    ///
    /// # Errors
    /// [`Failure::host`] if the box cannot be made. A status other than 0 is no error here.
    pub fn run(&self, stdin: Option<File>, on_line: &mut dyn FnMut(Stream, &str)) -> Result<BoxOutput> {
        let stdio = [stdin.map_or_else(Stdio::null, Stdio::from), Stdio::piped(), Stdio::piped()];
        let mut started = self.start(stdio)?;
        let mut output = self.collect(&mut started.child, on_line)?;
        started.running.ended(&self.argv[0], output.status);
        if output.status == SET_UP_FAILED {
            let reason = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            if let Some(reason) = reason.strip_prefix(BOX_ERROR) {
                let cause = anyhow::anyhow!("{reason}");
                return Err(with_cause(cause, Failure::host(format!("cannot run `{}` in its box", self.argv[0]))));
            }
        }
        if output.status == FOREIGN_CALL {
            on_line(Stream::Stderr, FOREIGN_CALL_TEXT);
            // For callers that ignore single lines and read the whole output.
            output.stderr.extend_from_slice(format!("{FOREIGN_CALL_TEXT}\n").as_bytes());
        }
        Ok(output)
    }

    /// Runs the command on a terminal, which becomes the one that controls it; nothing of what it prints is kept.
    ///
    /// # Privileges
    /// Uid 0 of the build's private namespace.
    ///
    /// # Errors
    /// [`Failure::host`] if the box cannot be made.
    pub fn run_on(&self, terminal: &File) -> Result<BoxOutput> {
        let end = || -> Result<Stdio> { Ok(terminal.try_clone().context("cannot pass on a terminal")?.into()) };
        let mut started = self.start([end()?, end()?, end()?])?;
        let monitor = LimitMonitor::new(self.limits, started.child.id(), &self.root).inspect_err(|_| {
            started.child.kill().ok();
            started.child.wait().ok();
        })?;
        let (running, ended) = mpsc::channel::<()>();
        let (status, exceeded) = std::thread::scope(|scope| {
            let watcher = scope.spawn(move || monitor.run(self.timeout, &ended));
            let status = started.child.wait();
            drop(running);
            (status, watcher.join().expect("the watch does not panic"))
        });
        let status = tool::exit_status(status.context("cannot wait for a box")?);
        started.running.ended(&self.argv[0], status);
        if status == SET_UP_FAILED {
            // The reason stands on the terminal.
            return Err(Failure::host(format!("cannot run `{}` in its box", self.argv[0])).into());
        }
        Ok(BoxOutput { status, stdout: Vec::new(), stderr: Vec::new(), dropped: 0, exceeded })
    }

    /// Starts the box, with standard input, output and error.
    fn start(&self, [stdin, stdout, stderr]: [Stdio; 3]) -> Result<Started> {
        let (served, network) = match &self.network {
            Some(network) => {
                let (inner, outer) = UnixStream::pair().context("cannot make a socket pair")?;
                (Some(ProxyServer::start(outer, network.clone())?), Some(inner))
            }
            None => (None, None),
        };
        let running = log::command("in the image: ", &CommandLine::new(&self.argv[0], &self.argv[1..]));
        for bind in &self.binds {
            let how = if bind.writable { "writable" } else { "read-only" };
            log::mount(format_args!(
                "in that box: `{}` on `{}`, {how}",
                bind.source.printable(),
                bind.target.printable()
            ));
        }
        let spec = serde_json::to_vec(self).context("cannot describe the box")?;
        let spec = sealed::file("piimg-box", &spec)?;
        let descriptors: Vec<_> = network.iter().map(AsFd::as_fd).chain([spec.as_fd()]).collect();
        let mut command = own_command();
        command
            .arg("__box")
            .arg(format!("{SPEC_ARG}{}", spec.as_raw_fd()))
            .args(network.as_ref().map(|network| format!("{NETWORK_ARG}{}", network.as_raw_fd())))
            .env_clear()
            .stdin(stdin)
            .stdout(stdout)
            .stderr(stderr);
        let child = spawn_with(command, &descriptors).context(Failure::host("cannot start a box"))?;
        // The build's copy of the socket is closed here: the proxy must notice the end of a box that could not be made.
        Ok(Started { child, running, _served: served })
    }

    /// Runs the command; a status other than 0 is an error that quotes the end of its output.
    ///
    /// # Errors
    /// Those of [`BoxCommand::run`], and [`Failure::build`] if the command fails.
    pub fn check(&self, on_line: &mut dyn FnMut(Stream, &str)) -> Result<BoxOutput> {
        self.check_with(None, on_line)
    }

    /// Does the same as [`BoxCommand::check`], with standard input.
    ///
    /// # Errors
    /// Those of [`BoxCommand::check`].
    pub fn check_with(&self, stdin: Option<File>, on_line: &mut dyn FnMut(Stream, &str)) -> Result<BoxOutput> {
        let output = self.run(stdin, on_line)?;
        output.check(&format!("`{}` in the image", self.argv.join(" ")))
    }

    fn collect(&self, child: &mut Child, on_line: &mut dyn FnMut(Stream, &str)) -> Result<BoxOutput> {
        let (sender, chunks) = mpsc::sync_channel(WAITING);
        let stdout = child.stdout.take().expect("stdout is piped");
        let stderr = child.stderr.take().expect("stderr is piped");
        let readers =
            [spawn_reader(stdout, Stream::Stdout, sender.clone()), spawn_reader(stderr, Stream::Stderr, sender)];
        let mut collected = [Collected::default(), Collected::default()];
        let monitor = LimitMonitor::new(self.limits, child.id(), &self.root).inspect_err(|_| {
            // Nobody would read its output.
            child.kill().ok();
            child.wait().ok();
        })?;
        let (running, ended) = mpsc::channel::<()>();
        let exceeded = std::thread::scope(|scope| {
            let watcher = scope.spawn(move || monitor.run(self.timeout, &ended));
            // Ends when both streams do, which is when everything in the box is dead.
            for (stream, chunk) in chunks {
                collected[stream as usize].push(stream, &chunk, on_line);
            }
            drop(running);
            watcher.join().expect("the watch does not panic")
        });
        for reader in readers {
            reader.join().expect("a reader does not panic");
        }
        let status = tool::exit_status(child.wait().context("cannot wait for a box")?);
        let [mut out, mut err] = collected;
        out.finish(Stream::Stdout, on_line);
        err.finish(Stream::Stderr, on_line);
        Ok(BoxOutput { status, dropped: out.dropped + err.dropped, stdout: out.kept, stderr: err.kept, exceeded })
    }
}

/// Prefix of the message of a box that could not be made.
pub(super) const BOX_ERROR: &str = "piimg box: ";

fn spawn_reader(
    mut pipe: impl std::io::Read + Send + 'static,
    stream: Stream,
    sender: mpsc::SyncSender<(Stream, Vec<u8>)>,
) -> std::thread::JoinHandle<()> {
    std::thread::spawn(move || {
        let mut buffer = vec![0; 64 << 10];
        while let Ok(length) = pipe.read(&mut buffer) {
            if length == 0 || sender.send((stream, buffer[..length].to_vec())).is_err() {
                break;
            }
        }
    })
}

/// One output stream: the bytes kept, and the line being received.
#[derive(Default)]
struct Collected {
    kept: Vec<u8>,
    line: Vec<u8>,
    dropped: u64,
}

impl Collected {
    /// Longest line; a longer one is cut, so that a stream without newlines cannot fill the memory.
    const LINE_LIMIT: usize = 4096;

    fn push(&mut self, stream: Stream, chunk: &[u8], on_line: &mut dyn FnMut(Stream, &str)) {
        let room = OUTPUT_LIMIT.saturating_sub(self.kept.len());
        let kept = &chunk[..chunk.len().min(room)];
        self.kept.write_all(kept).expect("writing to memory");
        self.dropped += u64::try_from(chunk.len() - kept.len()).expect("a length fits 64 bits");
        for &byte in kept {
            if byte == b'\n' {
                self.emit(stream, on_line);
            } else if self.line.len() < Self::LINE_LIMIT {
                self.line.push(byte);
            }
        }
    }

    fn finish(&mut self, stream: Stream, on_line: &mut dyn FnMut(Stream, &str)) {
        if !self.line.is_empty() {
            self.emit(stream, on_line);
        }
    }

    fn emit(&mut self, stream: Stream, on_line: &mut dyn FnMut(Stream, &str)) {
        on_line(stream, &crate::text::printable(&String::from_utf8_lossy(&self.line)));
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_environment_replaces_the_standard_one() {
        let mut command = BoxCommand::new("/r", ["true"]);
        command.env = vec![("HOME".into(), "/home/ann".into()), ("X".into(), "1".into())];
        let environment = command.environment(false);
        assert_eq!(environment.iter().filter(|(name, _)| name == "HOME").count(), 1);
        assert!(!environment.iter().any(|(name, _)| name.contains("proxy")));
        let with_network = command.environment(true);
        assert!(with_network.contains(&("https_proxy".into(), "http://127.0.0.1:3128".into())));
        assert!(environment.contains(&("HOME".into(), "/home/ann".into())));
        assert!(environment.contains(&("X".into(), "1".into())));
    }

    #[test]
    fn output_is_capped_and_split_into_lines() {
        let mut lines = Vec::new();
        let mut collected = Collected::default();
        let mut on_line = |_: Stream, line: &str| lines.push(line.to_owned());
        collected.push(Stream::Stdout, b"one\ntw", &mut on_line);
        collected.push(Stream::Stdout, b"o\n\x1b[2Jend", &mut on_line);
        collected.finish(Stream::Stdout, &mut on_line);
        assert_eq!(lines, ["one", "two", "\\u{1b}[2Jend"]);
        let mut big = Collected::default();
        big.push(Stream::Stdout, &vec![b'x'; OUTPUT_LIMIT + 7], &mut |_, _| {});
        assert_eq!((big.kept.len(), big.dropped, big.line.len()), (OUTPUT_LIMIT, 7, Collected::LINE_LIMIT));
    }
}
