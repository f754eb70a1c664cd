//! Checks the limits of the shell that started piimg: a build that would run into one says so before it begins.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::error::{Context as _, Failure, Result};
use crate::host_files::umask;

/// Processes and threads that a build has at the same time: packages, the emulator, compressors on all cores.
const PROCESSES: u64 = 512;
/// Files that a build has open at the same time, beside its input files.
const FILES: u64 = 256;
/// Length of a file in bytes: a partition is as long as its content may become.
const FILE_LENGTH: u64 = 16 << 30;
/// Earliest plausible time of a build, in seconds since 1970: 2025-06-01.
const EARLIEST: u64 = 1_748_736_000;

/// Raises limits that are too low, as far as the shell allows.
///
/// `given` is the number of input files, assets and plugins.
///
/// # Errors
/// [`Failure::host`] that names the limit and the command that raises it.
pub fn check(given: usize) -> Result<()> {
    check_clock(SystemTime::now())?;
    if umask() & 0o700 != 0 {
        return Err(Failure::host(format!(
            "with the umask {:03o} you could not use what piimg makes for you",
            umask()
        ))
        .hint("set one that leaves you your own files: umask 022")
        .into());
    }
    let files = FILES + u64::try_from(given).unwrap_or(u64::MAX / 2);
    allow(Resource::RLIMIT_NOFILE, files, 0, "files that a process may have open", "-n")?;
    // The kernel counts all processes of the user: <https://man7.org/linux/man-pages/man2/getrlimit.2.html>.
    let running =
        if rustix::process::geteuid().is_root() { 0 } else { threads_of(rustix::process::geteuid().as_raw()) };
    allow(Resource::RLIMIT_NPROC, PROCESSES, running, "processes that you may run", "-u")?;
    // The shell counts in KiB.
    allow(Resource::RLIMIT_FSIZE, FILE_LENGTH, 0, "bytes that a file may have", "-f")
}

/// Checks the clock: a machine without a battery starts in 1970. Signatures and certificates would then be refused,
/// each with another message.
fn check_clock(now: SystemTime) -> Result<()> {
    if now >= UNIX_EPOCH + Duration::from_secs(EARLIEST) {
        return Ok(());
    }
    let year = now.duration_since(UNIX_EPOCH).map_or(1969, |time| 1970 + time.as_secs() / (365 * 86_400 + 86_400 / 4));
    Err(Failure::host(format!("this machine's clock says that it is {year}, which was before this piimg was made"))
        .hint("set the clock (see `date`, `timedatectl`) and build again")
        .into())
}

fn allow(resource: Resource, needed: u64, taken: u64, what: &str, option: &str) -> Result<()> {
    let (soft, hard) = getrlimit(resource).with_context(|| format!("cannot ask for {resource:?}"))?;
    let wanted = needed.saturating_add(taken);
    if soft >= wanted {
        return Ok(());
    }
    // Raises the soft limit without asking: this process exists for the build only. Only root may raise the hard limit.
    let raised = setrlimit(resource, wanted, hard.max(wanted)).is_ok();
    if raised || (hard >= wanted && setrlimit(resource, wanted, hard).is_ok()) {
        return Ok(());
    }
    let free = if taken > 0 { format!(", of which you have {taken} already") } else { String::new() };
    let value = if resource == Resource::RLIMIT_FSIZE { "unlimited".to_owned() } else { wanted.to_string() };
    Err(Failure::host(format!("a build needs {needed} {what}, and the limit of this shell is {hard}{free}"))
        .hint(format!("raise it, as root if the shell refuses: ulimit {option} {value}"))
        .into())
}

/// Counts the threads of all processes of a user.
fn threads_of(user: u32) -> u64 {
    let threads = |status: String| -> Option<u64> {
        let field = |name: &str| status.lines().find_map(|line| line.strip_prefix(name)).map(str::trim);
        let uid: u32 = field("Uid:")?.split_whitespace().next()?.parse().ok()?;
        if uid == user { field("Threads:")?.parse().ok() } else { None }
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    let processes =
        entries.filter(|entry| entry.file_name().to_string_lossy().bytes().all(|byte| byte.is_ascii_digit()));
    processes.filter_map(|entry| threads(fs::read_to_string(entry.path().join("status")).ok()?)).sum()
}

/// Returns `limit`, or the hard limit if that is lower.
pub(super) fn at_most(resource: Resource, limit: u64) -> u64 {
    getrlimit(resource).map_or(limit, |(_, hard)| if hard == RLIM_INFINITY { limit } else { limit.min(hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_or_named() {
        // In a process of its own: limits belong to the whole process.
        let run = |limits: &str| {
            let test = std::env::current_exe().unwrap();
            let name = "shell::tests::says_what_is_too_low";
            let script = format!("{limits}; exec \"$0\" --exact {name} --nocapture");
            let output = crate::tool::Tool::new("sh")
                .args(["-c", &script])
                .arg(test)
                .with_environment_of_user()
                .env("PIIMG_TEST_SHELL", "1")
                .output()
                .unwrap();
            assert_eq!(output.status, 0, "{}", String::from_utf8_lossy(&output.stderr));
            output.stdout_text()
        };
        assert!(run("ulimit -S -n 64; umask 077").contains("SAID: nothing"));
        assert!(run("umask 277").contains("with the umask 277 you could not use"));
        if !rustix::process::geteuid().is_root() {
            let said = run("ulimit -n 64");
            assert!(
                said.contains(
                    "a build needs 256 files that a process may have open, and the limit of this shell is 64"
                )
            );
            assert!(said.contains("ulimit -n 256"), "{said}");
            assert!(run("ulimit -f 1000000").contains("ulimit -f unlimited"));
        }
    }

    #[test]
    fn a_clock_without_a_battery_is_wrong() {
        let at = |seconds| check_clock(UNIX_EPOCH + Duration::from_secs(seconds)).err().map(|error| error.to_string());
        assert_eq!(at(EARLIEST), None);
        assert!(at(0).unwrap().starts_with("this machine's clock says that it is 1970, "));
        assert!(at(1_600_000_000).unwrap().contains(" 2020, "));
        assert!(check_clock(UNIX_EPOCH - Duration::from_secs(9)).unwrap_err().to_string().contains(" 1969, "));
    }

    /// Is run by the test above in a process with low limits; does nothing otherwise.
    #[test]
    #[expect(clippy::print_stdout, reason = "the test above reads it")]
    fn says_what_is_too_low() {
        if std::env::var_os("PIIMG_TEST_SHELL").is_some() {
            let said =
                check(0).err().map_or("nothing".to_owned(), |error| format!("{:?}", crate::error::report(&error)));
            println!("SAID: {said}");
        }
    }
}
