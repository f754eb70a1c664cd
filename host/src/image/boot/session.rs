//! Runs a machine and talks to it over its serial line.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::Child;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::OnLine;
use super::console::{Console, Found};
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::sandbox::ending::{self, Bounds, describe};
use crate::sandbox::tool::exit_status;

/// A terminal takes no longer line.
const LONGEST_COMMAND: usize = 3500;

/// Lines of the log that an error quotes.
const QUOTED_LINES: usize = 25;

/// Time limit for a password prompt or a shell.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// Time after which an answer is asked for again, and then twice that.
const PATIENCE: Duration = Duration::from_secs(10);

/// Factor by which a prompt is waited for longer, since programs start before it.
const AT_PROMPT: u32 = 6;

/// Most attempts to type a user's name.
const LOGIN_ATTEMPTS: u32 = 5;

/// A machine that runs until this is dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    bounds: Bounds,
    pub(super) console: Console,
    threads: Vec<JoinHandle<()>>,
    errors: Console,
    /// Counts commands, so that the answer to one is never taken for that to another.
    commands: u32,
    pub(super) patience: Duration,
    _temp: TempDir,
    _disk: File,
}

impl Session {
    /// Talks to `child`, whose standard streams are piped and which runs within `bounds`. `temp` and `disk` are kept as long
    /// as it runs.
    pub(super) fn start(mut child: Child, bounds: Bounds, temp: TempDir, disk: File, on_line: OnLine) -> Result<Self> {
        let stdout = child.stdout.take().context("the machine has no standard output")?;
        let stderr = child.stderr.take().context("the machine has no standard error")?;
        let (console, errors) = (Console::default(), Console::default());
        let threads = vec![
            std::thread::spawn({
                let console = console.clone();
                move || console.pump(stdout, on_line)
            }),
            std::thread::spawn({
                let errors = errors.clone();
                move || errors.pump(stderr.take(1 << 20), Box::new(|_| ()))
            }),
        ];
        Ok(Self { child, bounds, console, threads, errors, commands: 0, patience: PATIENCE, _temp: temp, _disk: disk })
    }

    /// Waits until `text` comes over the serial line; returns what came before it, and it.
    ///
    /// # Errors
    /// [`Failure::build`] quoting the end of the log if it does not come in time or the machine stops.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<String> {
        self.wait_for_any(&[text], timeout)
    }

    fn wait_for_any(&mut self, patterns: &[&str], timeout: Duration) -> Result<String> {
        match self.console.wait_for(patterns, timeout) {
            Found::Text(text) => Ok(text),
            missing => Err(self.missing(&missing, &format!("`{}`", patterns[0].trim()), timeout)),
        }
    }

    /// Waits for one of the prompts. Whoever asks is asked to ask again after a while: the kernel writes its messages to this
    /// line too, in the middle of whatever is being printed.
    fn wait_for_prompt(&mut self, prompts: &[&str], timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        let patience = self.patience * AT_PROMPT;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.console.wait_for(prompts, left.min(patience)) {
                Found::Text(text) => return Ok(text),
                Found::Timeout if left > patience => self.send("")?,
                missing => return Err(self.missing(&missing, &format!("`{}`", prompts[0].trim()), timeout)),
            }
        }
    }

    /// Makes the error for something that did not come.
    fn missing(&mut self, found: &Found, what: &str, timeout: Duration) -> anyhow::Error {
        let text = if matches!(found, Found::End) {
            let ended = describe(self.child.wait().map_or(-1, exit_status), self.bounds);
            format!("the machine {ended} before {what} appeared")
        } else {
            format!("{what} did not appear within {} s", timeout.as_secs())
        };
        let log = [self.errors.tail(QUOTED_LINES), self.console.tail(QUOTED_LINES)].concat();
        with_cause(anyhow::anyhow!("{log}"), Failure::build(text))
    }

    /// Waits for the prompt that asks for a user.
    ///
    /// # Errors
    /// See [`Self::wait_for`].
    pub fn wait_for_login(&mut self, timeout: Duration) -> Result<()> {
        self.wait_for_prompt(&[" login: "], timeout).map(drop)
    }

    /// Logs in at the prompt that [`Self::wait_for_login`] has seen and starts a plain shell.
    ///
    /// # Errors
    /// [`Failure::build`] if the image refuses the user or the password.
    pub fn login(&mut self, user: &str, password: &str) -> Result<()> {
        // A getty that has just printed its prompt may still flush what was typed, and then asks again.
        for attempt in 1.. {
            std::thread::sleep(Duration::from_secs(1));
            self.send(user)?;
            let answer = self.wait_for_prompt(&["assword: ", " login: "], PROMPT_TIMEOUT)?;
            if answer.ends_with("assword: ") {
                break;
            }
            if attempt == LOGIN_ATTEMPTS {
                return Err(Failure::build("the image does not ask for a password").into());
            }
        }
        self.send(password)?;
        let refused = Failure::build(format!("the image refuses the user `{user}`"));
        self.wait_for_shell("SHELL", &["Login incorrect", "Authentication failure"], refused)?;
        // A shell without line editing, prompts and echo; nothing is typed while one shell replaces the other.
        self.send(
            "exec env PS1= PS2= PS4= TERM=dumb LC_ALL=C.UTF-8 PAGER=cat SYSTEMD_COLORS=0 /bin/sh -c \
             'stty -echo -onlcr; dmesg -n 1 2>/dev/null; printf \"PIIMG-%s\\n\" READY; exec /bin/sh'",
        )?;
        self.wait_for_shell("READY", &[], Failure::build("the image's shell does not start another one"))
    }

    /// Asks for the sign of life `PIIMG-WORD` until a shell gives it: what is typed while it starts may be lost. Fails as
    /// `refused` if one of `refusals` comes first, if at all, so that nothing is typed as the next user's name.
    fn wait_for_shell(&mut self, word: &str, refusals: &[&str], refused: Failure) -> Result<()> {
        // The mark is asked for in two parts: the echo of the command is not its answer.
        let mark = format!("PIIMG-{word}\n");
        let patterns: Vec<&str> = [mark.as_str()].into_iter().chain(refusals.iter().copied()).collect();
        let deadline = Instant::now() + PROMPT_TIMEOUT;
        loop {
            match self.console.wait_for(&patterns, Duration::from_secs(3)) {
                Found::Text(text) if text.ends_with(&mark) => return Ok(()),
                Found::Text(_) => return Err(refused.into()),
                Found::Timeout if Instant::now() < deadline => self.send(&format!("printf 'PIIMG-%s\\n' {word}"))?,
                missing => return Err(self.missing(&missing, &format!("`{}`", mark.trim()), PROMPT_TIMEOUT)),
            }
        }
    }

    /// Runs a shell command after [`Self::login`]; returns its exit status and everything that it and what it leaves running
    /// printed.
    ///
    /// # Errors
    /// [`Failure::build`] if it does not end in time.
    pub fn run(&mut self, command: &str, timeout: Duration) -> Result<(i32, String)> {
        if command.len() > LONGEST_COMMAND || command.contains(|c: char| c.is_control()) {
            return Err(Failure::bug("a command for the serial line must be one line of at most 3500 bytes").into());
        }
        self.commands += 1;
        // Input that the command leaves is ours, and its syntax errors end only the inner shell.
        let quoted = command.replace('\'', r"'\''");
        self.send(&format!("answer=$(sh -c '{quoted}' </dev/null 2>&1; printf :%d $?)"))?;
        let answer = self.answer(timeout)?;
        let (output, status) = answer.rsplit_once(':').context("a shell answered without a status")?;
        let status = status.parse().with_context(|| format!("`{status}` is not an exit status"))?;
        Ok((status, output.to_owned()))
    }

    /// Has the shell print its variable `answer` until two copies are the same: a message of the kernel's may be in one.
    fn answer(&mut self, timeout: Duration) -> Result<String> {
        let deadline = Instant::now() + timeout;
        // What a busy shell is asked meanwhile waits in the terminal, which does not hold much.
        let mut patience = self.patience;
        let (number, mut copy, mut previous) = (self.commands, 0, None);
        loop {
            copy += 1;
            self.send(&format!(
                "printf '\\nPIIMG-%s-{number}.{copy}\\n%s\\nPIIMG-%s-{number}.{copy}\\n' BEGIN \"$answer\" END"
            ))?;
            let (begin, end) = (format!("\nPIIMG-BEGIN-{number}.{copy}\n"), format!("\nPIIMG-END-{number}.{copy}\n"));
            let left = deadline.saturating_duration_since(Instant::now());
            match self.console.wait_for(&[&end], left.min(patience)) {
                Found::Text(text) => {
                    let text = text.strip_suffix(&end).and_then(|text| text.split_once(&begin));
                    let Some((_, answer)) = text else { continue };
                    if previous.as_deref() == Some(answer) {
                        return Ok(answer.to_owned());
                    }
                    previous = Some(answer.to_owned());
                }
                Found::Timeout if left > patience => patience *= 2,
                missing => return Err(self.missing(&missing, "the end of a command", timeout)),
            }
        }
    }

    /// Waits until the machine turns itself off.
    ///
    /// # Errors
    /// [`Failure::build`] if it does not in time, or ends with an error.
    pub fn wait_for_end(&mut self, timeout: Duration) -> Result<()> {
        match self.console.wait_for(&["\0"], timeout) {
            Found::End => match self.child.wait().map_or(-1, exit_status) {
                0 => Ok(()),
                status => {
                    let failure = ending::failure("the machine", status, self.bounds);
                    Err(with_cause(anyhow::anyhow!("{}", self.errors.tail(QUOTED_LINES)), failure))
                }
            },
            _ => {
                let failure = Failure::build(format!("the machine did not turn off within {} s", timeout.as_secs()));
                Err(with_cause(anyhow::anyhow!("{}", self.console.tail(QUOTED_LINES)), failure))
            }
        }
    }

    /// Types one line.
    ///
    /// # Errors
    /// If the machine has stopped.
    pub fn send(&mut self, line: &str) -> Result<()> {
        let stdin = self.child.stdin.as_mut().context("the machine has no standard input")?;
        let written = stdin.write_all(format!("{line}\n").as_bytes()).and_then(|()| stdin.flush());
        written.context("cannot write to the serial line")
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        // It may have stopped by itself.
        self.child.kill().ok();
        self.child.wait().ok();
        for thread in self.threads.drain(..) {
            thread.join().ok();
        }
    }
}
