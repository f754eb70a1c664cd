//! What the shell that started piimg lets it use: a build that would run into one of these limits says so before it begins.

use std::fs;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

use crate::error::{Context as _, Failure, Result};
use crate::host_files::umask;

/// Processes and threads that a build has at the same time: packages, the emulator, compressors of all cores.
const PROCESSES: u64 = 512;
/// Files that a build has open at the same time, beside those that it is given.
const FILES: u64 = 256;
/// Bytes of a file: partitions are as long as what is in them may become.
const FILE_LENGTH: u64 = 16 << 30;
/// Seconds since 1970 before which no build takes place: 2025-06-01.
const EARLIEST: u64 = 1_748_736_000;

/// Raises what is too low as far as the shell lets it.
///
/// `given` is the number of files that the build is given, assets and plugins.
///
/// # Errors
/// [`Failure::host`] that names the limit and the command that sets another.
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
    // The kernel counts all processes of the user.
    let running =
        if rustix::process::geteuid().is_root() { 0 } else { threads_of(rustix::process::geteuid().as_raw()) };
    allow(Resource::RLIMIT_NPROC, PROCESSES, running, "processes that you may run", "-u")?;
    // The shell counts in KiB.
    allow(Resource::RLIMIT_FSIZE, FILE_LENGTH, 0, "bytes that a file may have", "-f")
}

/// A machine without a battery begins in 1970. Signatures and certificates would be refused, each in words of its own.
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
    // What is enough is not the user's wish: a build is the one thing that this process is for. Only root may raise the second.
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

/// Threads of all processes of a user.
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

/// The lower one of a limit and of what cannot be raised any more.
pub(super) fn at_most(resource: Resource, limit: u64) -> u64 {
    getrlimit(resource).map_or(limit, |(_, hard)| if hard == RLIM_INFINITY { limit } else { limit.min(hard) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_raised_or_named() {
        // In a process of its own: limits are those of all threads.
        let run = |limits: &str| {
            let test = std::env::current_exe().unwrap();
            let name = "sandbox::shell::tests::says_what_is_too_low";
            let script = format!("{limits}; exec \"$0\" --exact {name} --nocapture");
            let output = crate::sandbox::tool::Tool::new("sh")
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

    /// The other half of the test above; alone it has nothing to say.
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
