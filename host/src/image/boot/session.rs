//! A running machine and its serial line.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::process::{Child, ChildStdin};
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

/// How much of the log an error quotes.
const QUOTED_LINES: usize = 25;

/// How long a password prompt or a shell may take.
const PROMPT_TIMEOUT: Duration = Duration::from_secs(120);

/// How often a user's name is typed at most.
const LOGIN_ATTEMPTS: u32 = 5;

/// A machine that runs until this is dropped.
#[derive(Debug)]
pub struct Session {
    child: Child,
    bounds: Bounds,
    stdin: ChildStdin,
    console: Console,
    threads: Vec<JoinHandle<()>>,
    errors: Console,
    /// Counts commands, so that the answer to one is never taken for that to another.
    commands: u32,
    _temp: TempDir,
    _disk: File,
}

impl Session {
    /// Talks to `child`, whose standard streams are piped and which runs within `bounds`. `temp` and `disk` are kept as long
    /// as it runs.
    pub(super) fn start(mut child: Child, bounds: Bounds, temp: TempDir, disk: File, on_line: OnLine) -> Result<Self> {
        let stdin = child.stdin.take().context("the machine has no standard input")?;
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
        Ok(Self { child, bounds, stdin, console, threads, errors, commands: 0, _temp: temp, _disk: disk })
    }

    /// Waits until `text` comes over the serial line; returns what came before it, and it.
    ///
    /// # Errors
    /// [`Failure::build`] quoting the end of the log if it does not come in time or the machine stops.
    pub fn wait_for(&mut self, text: &str, timeout: Duration) -> Result<String> {
        self.wait_for_any(&[text], timeout)
    }

    fn wait_for_any(&mut self, patterns: &[&str], timeout: Duration) -> Result<String> {
        let what = match self.console.wait_for(patterns, timeout) {
            Found::Text(text) => return Ok(text),
            Found::Timeout => format!("`{}` did not appear within {} s", patterns[0].trim(), timeout.as_secs()),
            Found::End => {
                let ended = describe(self.child.wait().map_or(-1, exit_status), self.bounds);
                format!("the machine {ended} before `{}` appeared", patterns[0].trim())
            }
        };
        let log = [self.errors.tail(QUOTED_LINES), self.console.tail(QUOTED_LINES)].concat();
        Err(with_cause(anyhow::anyhow!("{log}"), Failure::build(what)))
    }

    /// Waits for the prompt that asks for a user.
    ///
    /// # Errors
    /// See [`Self::wait_for`].
    pub fn wait_for_login(&mut self, timeout: Duration) -> Result<()> {
        self.wait_for(" login: ", timeout).map(drop)
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
            let answer = self.wait_for_any(&["assword: ", " login: "], PROMPT_TIMEOUT)?;
            if answer.ends_with("assword: ") {
                break;
            }
            if attempt == LOGIN_ATTEMPTS {
                return Err(Failure::build("the image does not ask for a password").into());
            }
        }
        self.send(password)?;
        self.wait_for_shell(user)?;
        // A shell without line editing, prompts and echo; nothing is typed while one shell replaces the other.
        self.send(
            "exec env PS1= PS2= PS4= TERM=dumb LC_ALL=C.UTF-8 PAGER=cat SYSTEMD_COLORS=0 /bin/sh -c \
             'stty -echo -onlcr; dmesg -n 1 2>/dev/null; printf \"PIIMG-%s\\n\" READY; exec /bin/sh'",
        )?;
        self.wait_for("PIIMG-READY\n", PROMPT_TIMEOUT).map(drop)
    }

    /// Asks for a sign of life until a shell gives it: what is typed while it starts may be lost.
    fn wait_for_shell(&mut self, user: &str) -> Result<()> {
        const REFUSALS: [&str; 2] = ["Login incorrect", "Authentication failure"];
        // The mark is written in two parts: the echo of the command is not its answer.
        const MARK: &str = "PIIMG-SHELL\n";
        let patterns = [MARK, REFUSALS[0], REFUSALS[1]];
        let deadline = Instant::now() + PROMPT_TIMEOUT;
        while Instant::now() < deadline {
            // A refusal comes first, if at all, so that nothing is typed as the next user's name.
            let answer = match self.console.wait_for(&patterns, Duration::from_secs(3)) {
                Found::Text(text) => text,
                Found::Timeout => {
                    self.send("printf 'PIIMG-%s\\n' SHELL")?;
                    continue;
                }
                Found::End => break,
            };
            if answer.ends_with(MARK) {
                return Ok(());
            }
            return Err(Failure::build(format!("the image refuses the user `{user}`")).into());
        }
        self.wait_for(MARK, Duration::ZERO).map(drop)
    }

    /// Runs a shell command after [`Self::login`]; returns its exit status and everything it printed.
    ///
    /// # Errors
    /// [`Failure::build`] if it does not end in time.
    pub fn run(&mut self, command: &str, timeout: Duration) -> Result<(i32, String)> {
        if command.len() > LONGEST_COMMAND || command.contains(|c: char| c.is_control()) {
            return Err(Failure::bug("a command for the serial line must be one line of at most 3500 bytes").into());
        }
        self.commands += 1;
        let number = self.commands;
        // Input that the command leaves is ours, and its syntax errors end only the inner shell.
        let quoted = command.replace('\'', r"'\''");
        self.send(&format!(
            "printf '\\nPIIMG-%s-{number}\\n' BEGIN; sh -c '{quoted}' </dev/null 2>&1; printf '\\nPIIMG-%s-{number}:%d;\\n' END $?"
        ))?;
        self.wait_for(&format!("PIIMG-BEGIN-{number}\n"), timeout)?;
        let end = format!("\nPIIMG-END-{number}:");
        let output = self.wait_for(&end, timeout)?;
        let status = self.wait_for(";", PROMPT_TIMEOUT)?;
        let status =
            status.trim_end_matches(';').parse().with_context(|| format!("`{status}` is not an exit status"))?;
        Ok((status, output.strip_suffix(&end).unwrap_or(&output).to_owned()))
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
        self.stdin
            .write_all(format!("{line}\n").as_bytes())
            .and_then(|()| self.stdin.flush())
            .context("cannot write to the serial line")
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
