//! Runs a program of the host that fetches untrusted data. Ten times a second a callback checks what has come; the
//! program is killed when the callback fails.

use std::io::Read as _;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::Duration;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use rustix::process::{Resource, Rlimit, prlimit};

use super::tool::{Output, exit_status};
use crate::error::{Context as _, Failure, Result};

/// Time between two checks: a fast network brings some ten megabytes in it.
const TICK: Duration = Duration::from_millis(100);

/// Bytes kept from the beginning of its standard error.
const SAID: u64 = 1 << 20;

/// A check to run while a program fetches. An error ends the program.
pub type Look<'a> = dyn FnMut() -> Result<()> + Send + 'a;

/// Runs `command` until it ends or `look` fails; no process of it survives. No file that it writes exceeds `longest`
/// bytes. `look` is called once more after the end.
///
/// # Errors
/// The error of `look`, or [`Failure::host`] if the program cannot be started.
pub fn run(mut command: Command, longest: u64, look: &mut Look<'_>) -> Result<Output> {
    let mut child = start(command.stdin(Stdio::null()).stdout(Stdio::null()), longest)?;
    let stderr = child.stderr.take().expect("stderr is piped");
    let reader = std::thread::spawn(move || read(stderr));
    let (running, ended) = channel::<()>();
    let (stderr, looked) = std::thread::scope(|scope| {
        let (leader, look) = (child.id(), &mut *look);
        let watcher = scope.spawn(move || watch(leader, &ended, look));
        // Waits until the program and all that it started have ended.
        let said = reader.join().expect("a reader does not panic");
        drop(running);
        (said, watcher.join().expect("the watcher does not panic"))
    });
    let status = exit_status(child.wait().context("cannot wait for a program of the host")?);
    looked?;
    look()?;
    Ok(Output { status, stdout: Vec::new(), stderr })
}

/// Starts `command` as the leader of a process group, with its standard error piped.
///
/// # Errors
/// [`Failure::host`] if it cannot be started or limited.
pub fn start(command: &mut Command, longest: u64) -> Result<Child> {
    let failed = || Failure::host(format!("cannot start `{}`", command_name(command)));
    let failed = failed();
    let child = command.stderr(Stdio::piped()).process_group(0).spawn().context(failed)?;
    let limit = Rlimit { current: Some(longest), maximum: Some(longest) };
    // It has not started others yet; these inherit the limit. The monitor catches whatever slips through.
    prlimit(rustix::process::Pid::from_raw(child.id().cast_signed()), Resource::Fsize, limit)
        .context(Failure::host("cannot limit a program of the host"))?;
    Ok(child)
}

/// Calls `look` until `ended` is hung up; kills the process group of `leader` if `look` fails.
///
/// # Errors
/// That of `look`, after the group has been killed.
pub fn watch(leader: u32, ended: &Receiver<()>, look: &mut Look<'_>) -> Result<()> {
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if let Err(error) = look() {
            // It may have ended in the meantime.
            killpg(Pid::from_raw(leader.cast_signed()), Signal::SIGKILL).ok();
            return Err(error);
        }
    }
    Ok(())
}

fn command_name(command: &Command) -> String {
    std::path::Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// Reads standard error to its end, so that the program never blocks, and keeps the first bytes.
fn read(mut stderr: ChildStderr) -> Vec<u8> {
    let mut said = Vec::new();
    stderr.by_ref().take(SAID).read_to_end(&mut said).ok();
    std::io::copy(&mut stderr, &mut std::io::sink()).ok();
    said
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tool::Tool;

    fn shell(script: &str) -> Command {
        Tool::new("sh").args(["-c", script]).command().unwrap()
    }

    #[test]
    fn a_program_ends_by_itself_or_for_what_is_seen() {
        let output = run(shell("echo why >&2; exit 3"), 1 << 20, &mut || Ok(())).unwrap();
        assert_eq!((output.status, output.stderr.as_slice()), (3, &b"why\n"[..]));
        // The sleeping child is killed with it: the test takes no hour.
        let mut looks = 0;
        let error = run(shell("sleep 3600 & sleep 3600"), 1 << 20, &mut || {
            looks += 1;
            anyhow::ensure!(looks < 2, "enough");
            Ok(())
        });
        assert_eq!(error.unwrap_err().to_string(), "enough");
    }

    #[test]
    fn what_came_is_looked_at_when_the_program_has_ended() {
        let error = run(shell("true"), 1 << 20, &mut || anyhow::bail!("too much")).unwrap_err();
        assert_eq!(error.to_string(), "too much");
    }

    #[test]
    fn no_file_gets_longer_than_it_may() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("x");
        let script = format!("sleep 0.2; head -c 200000 /dev/zero >{}", file.to_string_lossy());
        run(shell(&script), 100_000, &mut || Ok(())).unwrap();
        assert_eq!(std::fs::metadata(file).unwrap().len(), 100_000);
    }
}
