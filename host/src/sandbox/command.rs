//! Runs one command inside the image, in a box of its own.
//!
//! The box has its own mount, PID, IPC, UTS, network and cgroup namespace, whose owner is the build; the command
//! runs in a user namespace nested in it, so that its root has no power over any of them. It sees the rootfs, a
//! minimal `/dev`, a `/proc` of its own processes, empty `/run` and `/tmp`, no `/sys` and no network but `lo`, or piimg's
//! proxy ([`super::proxy`]).
//! Everything it starts is dead when [`BoxCommand::run`] returns, which is when it ends or uses more than its
//! [`BoxLimits`].
//!
//! [`super::init`] holds the other side.

use std::fs::File;
use std::io::Write as _;
use std::os::fd::{AsFd, AsRawFd as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::limits::Watch;
pub use super::limits::{BoxLimits, Exceeded};
use super::private::{Inheritable, memory_file, own_command};
pub use super::proxy::Network;
use super::proxy::{self, Served};
use super::{ending, init, tool};
use crate::error::{Context, Failure, Result, with_cause};

pub(super) const SPEC_ARG: &str = "--spec=";
pub(super) const NETWORK_ARG: &str = "--network=";

/// Exit status of the box's own processes when the box could not be made; the reason is on standard error.
pub(super) const SET_UP_FAILED: i32 = 254;

/// Status of a command that the filter killed; see [`super::seccomp`].
const FOREIGN_CALL: i32 = 128 + nix::libc::SIGSYS;

const FOREIGN_CALL_TEXT: &str = "(killed by the box: it made a system call of another ABI, such as the 32-bit one)";

/// Bytes kept of each output stream; the rest is counted and dropped, so that a command cannot fill the
/// memory of the build.
const OUTPUT_LIMIT: usize = 8 << 20;

/// Pieces of output that wait to be looked at: a command that writes faster than that has to wait itself.
const WAITING: usize = 4;

/// What the box is called, for whoever asks the kernel. The image says the same while it is built.
pub const HOST_NAME: &str = "image";

/// As [`bound_addresses`].
static ADDRESSES: OnceLock<u64> = OnceLock::new();

/// From now on, bounds the addresses that each process of a box may have, in bytes: for emulated programs.
///
/// Some programs reserve terabytes, of which they use little, and are content with less: databases, runtimes of languages.
/// The kernel keeps no book of what is only reserved. qemu-user does, for each page, until the memory is full.
pub fn bound_addresses(bytes: u64) {
    ADDRESSES.get_or_init(|| bytes);
}

/// What every command finds in its environment, besides what its caller adds.
const ENVIRONMENT: [(&str, &str); 7] = [
    ("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"),
    ("HOME", "/root"),
    ("LC_ALL", "C.UTF-8"),
    ("TERM", "dumb"),
    ("DEBIAN_FRONTEND", "noninteractive"),
    // systemctl and deb-systemd-invoke only edit files then.
    ("SYSTEMD_OFFLINE", "1"),
    // How systemd and maintainer scripts learn that no init system runs here.
    ("container", "piimg"),
];

/// A host directory or file shown inside the box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Bind {
    /// In the build's private namespace.
    pub source: PathBuf,
    /// Absolute path in the image; what is there is covered, never changed. It must exist.
    pub target: PathBuf,
    pub writable: bool,
}

/// Who the command runs as, in numbers of the image.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Identity {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// A command and its box.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct BoxCommand {
    /// The mounted rootfs.
    pub root: PathBuf,
    /// Program (absolute, or looked for in the image's `PATH`) and arguments; never a shell string.
    pub argv: Vec<String>,
    pub env: Vec<(String, String)>,
    /// Working directory inside the image.
    pub cwd: String,
    pub identity: Identity,
    pub binds: Vec<Bind>,
    /// After this time the command is killed.
    pub timeout: Duration,
    /// If it uses more than this it is killed too.
    pub limits: BoxLimits,
    /// Bytes of addresses that each of its processes may have, if they are bounded.
    pub addresses: Option<u64>,
    /// The hosts that it may reach; none and it has no network.
    #[serde(skip)]
    pub network: Option<Network>,
}

/// How a command ended.
#[derive(Debug)]
pub struct BoxOutput {
    /// Exit status; 128 + the signal's number if a signal ended it.
    pub status: i32,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
    /// Bytes beyond the limit that were dropped, of both streams.
    pub dropped: u64,
    /// The limit for which it was killed.
    pub exceeded: Option<Exceeded>,
}

impl BoxOutput {
    /// An error that quotes the end of the output, if the status is not 0; `what` begins its message.
    ///
    /// # Errors
    /// [`Failure::build`] that says by what it ended.
    pub fn check(self, what: &str) -> Result<Self> {
        if self.status == 0 {
            return Ok(self);
        }
        let failure = match self.exceeded {
            Some(limit) => Failure::build(format!("{what} {limit}")),
            None => ending::failure(what, self.status, init::bounds()),
        };
        let tail = tool::Output { status: self.status, stdout: self.stdout, stderr: self.stderr }.tail();
        let cause = anyhow::anyhow!("{}", tail.lines().map(crate::ui::printable).collect::<Vec<_>>().join("\n"));
        Err(with_cause(cause, failure))
    }
}

/// Which of the two output streams a line came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

impl BoxCommand {
    /// A command run as root in `/` for at most an hour.
    pub fn new(root: impl Into<PathBuf>, argv: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self {
            root: root.into(),
            argv: argv.into_iter().map(Into::into).collect(),
            env: Vec::new(),
            cwd: "/".into(),
            identity: Identity::default(),
            binds: Vec::new(),
            timeout: Duration::from_secs(3600),
            limits: BoxLimits::default(),
            addresses: ADDRESSES.get().copied(),
            network: None,
        }
    }

    /// Standard environment, that of a network if there is one, and the caller's, the caller's last.
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
    /// [`Failure::host`] if the box cannot be made. A status other than 0 is not an error here.
    pub fn run(&self, stdin: Option<File>, on_line: &mut dyn FnMut(Stream, &str)) -> Result<BoxOutput> {
        let (_served, network) = match &self.network {
            Some(network) => {
                let (inner, outer) = UnixStream::pair().context("cannot make a socket pair")?;
                (Some(Served::start(outer, network.clone())?), Some(inner))
            }
            None => (None, None),
        };
        let spec = serde_json::to_vec(self).context("cannot describe the box")?;
        let spec = memory_file("piimg-box", &spec)?;
        let descriptors: Vec<_> = network.iter().map(AsFd::as_fd).chain([spec.as_fd()]).collect();
        let mut child = {
            let _guard = Inheritable::new(&descriptors)?;
            own_command()?
                .arg("__box")
                .arg(format!("{SPEC_ARG}{}", spec.as_raw_fd()))
                .args(network.as_ref().map(|network| format!("{NETWORK_ARG}{}", network.as_raw_fd())))
                .env_clear()
                .stdin(stdin.map_or_else(Stdio::null, Stdio::from))
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .context(Failure::host("cannot start a box"))?
        };
        // The box alone has it now: the proxy must see the end of a box that could not be made.
        drop(descriptors);
        drop(network);
        let mut output = self.collect(&mut child, on_line)?;
        if output.status == SET_UP_FAILED {
            let reason = String::from_utf8_lossy(&output.stderr).trim_end().to_owned();
            if let Some(reason) = reason.strip_prefix(BOX_ERROR) {
                let cause = anyhow::anyhow!("{reason}");
                return Err(with_cause(cause, Failure::host(format!("cannot run `{}` in its box", self.argv[0]))));
            }
        }
        if output.status == FOREIGN_CALL {
            on_line(Stream::Stderr, FOREIGN_CALL_TEXT);
            // Also for whoever does not look at lines, but takes all that there was.
            output.stderr.extend_from_slice(format!("{FOREIGN_CALL_TEXT}\n").as_bytes());
        }
        Ok(output)
    }

    /// Runs the command and makes a status other than 0 an error that quotes the end of its output.
    ///
    /// # Errors
    /// As [`BoxCommand::run`], and [`Failure::build`] if the command fails.
    pub fn check(&self, on_line: &mut dyn FnMut(Stream, &str)) -> Result<BoxOutput> {
        self.check_with(None, on_line)
    }

    /// As [`BoxCommand::check`], with standard input.
    ///
    /// # Errors
    /// As [`BoxCommand::check`].
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
        let watch = Watch::new(self.limits, child.id(), &self.root).inspect_err(|_| {
            // Nobody would look at it.
            child.kill().ok();
            child.wait().ok();
        })?;
        let (running, ended) = mpsc::channel::<()>();
        let exceeded = std::thread::scope(|scope| {
            let watcher = scope.spawn(move || watch.keep(self.timeout, &ended));
            // Until both streams are at their ends, which they are when everything in the box is dead.
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

/// Marks the message of a box that could not be made.
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

/// One output stream: what is kept, and the line being received.
#[derive(Default)]
struct Collected {
    kept: Vec<u8>,
    line: Vec<u8>,
    dropped: u64,
}

impl Collected {
    /// A line longer than this is cut, so that a stream without newlines cannot fill the memory.
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
        on_line(stream, &crate::ui::printable(&String::from_utf8_lossy(&self.line)));
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
