//! Runs the build in a private namespace: its own user, mount, PID, IPC and UTS namespaces, with a shifted id map.
//!
//! The process that the user started stays outside and does little: it waits, owns the output file and renames it at
//! the end. The build runs in a second process. That one sees a fresh root file system with the host's programs
//! read-only, the store, and nothing else. Its uid 0 is an unprivileged uid of the host. Its mounts and registrations
//! disappear with it. It dies when the outer process dies, by whatever signal.
//!
//! The start: the outer process executes itself as `piimg __inside`. That process unshares, requests its id maps over a
//! socket, becomes uid 0 of the new namespace and starts `piimg __build`, the PID 1 of the build, which receives its
//! job over the same socket. The words of that start are [`super::process::Word`], the maps [`super::id_map`].
//!
//! See <https://man7.org/linux/man-pages/man7/user_namespaces.7.html>.

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use nix::sched::CloneFlags;

use super::container::{Restrictions, forbidding_setting};
use super::id_map::{IdMap, Mapping, write_maps};
use super::mounts;
use super::process::{
    Credentials, Word, adopt_fd, become_user, close_descriptors, die_with_parent, inherited_fd, own_command,
    spawn_with, wait_for_ids,
};
use super::tool;
use crate::error::{Context, Failure, Result};
use crate::log;
use crate::text::Printable as _;

/// Prefixes of the arguments that announce inherited descriptors by number.
const CONTROL_ARG: &str = "--control=";

/// Exit status of a process whose ids were not mapped: the outer process says why, or is gone.
const UNMAPPED: i32 = 1;

/// Inputs of the inner process besides the job.
#[derive(Debug)]
pub struct Entry<'a> {
    pub ids: IdMap,
    /// Name of the internal subcommand that runs inside; it must call [`enter`].
    pub role: &'static str,
    /// Host directory that becomes `/store`. It must be searchable by everybody; the inner ids own its content.
    pub store: &'a Path,
    /// Open files for the inner process, which sees them under the same numbers.
    pub files: Vec<BorrowedFd<'a>>,
    /// Environment variables to withhold.
    pub hidden: Vec<&'a str>,
}

/// Runs `job` in the private namespace and returns the exit status of the build.
///
/// # Privileges
/// None with subordinate ids and `newuidmap`; root may choose any range.
///
/// # Errors
/// [`Failure::host`] if the kernel or the id maps refuse.
pub fn run(entry: &Entry<'_>, job: &[u8]) -> Result<i32> {
    let store = fs::canonicalize(entry.store)
        .with_context(|| Failure::host(format!("cannot open the store `{}`", entry.store.printable())))?;
    let (mut control, inner) = UnixStream::pair().context("cannot make a socket pair")?;
    let mut inherited: Vec<BorrowedFd<'_>> = entry.files.clone();
    inherited.push(inner.as_fd());
    let log = log::handed_on();
    inherited.extend(log.map(|(file, _)| file));
    let mut command = own_command();
    // Other variables of the shell are not needed inside, and would change how programs behave there.
    command.env_clear().envs(tool::environment_of_piimg());
    entry.hidden.iter().for_each(|variable| {
        command.env_remove(variable);
    });
    command
        .arg("__inside")
        .arg(format!("{CONTROL_ARG}{}", inner.as_raw_fd()))
        .arg(entry.role)
        // The user's own directory does not exist inside.
        .env("TMPDIR", "/tmp")
        // The working directory is the one handle on the host's tree that survives `unshare`. The store is reached
        // through it, even if the inner ids may not search the directories above.
        .current_dir(&store);
    let started = spawn_with(command, &inherited).context(Failure::host("cannot start the build's inner process"));
    let mut child = started?;
    drop(inner);
    let set_up = (|| -> Result<()> {
        if Word::Unshared.hear(&mut control).is_err() {
            return Ok(()); // it died, and said why
        }
        write_maps(child.id(), Mapping::Shifted(entry.ids))?;
        Word::Mapped.say(&mut control).context("the inner process went away")?;
        control.write_all(&told_of_log(log)).context("the inner process went away")?;
        let length = u64::try_from(job.len()).expect("a length fits 64 bits").to_le_bytes();
        // The inner process may end early with a message of its own; its exit status tells.
        control.write_all(&length).and_then(|()| control.write_all(job)).ok();
        Ok(())
    })();
    if let Err(error) = set_up {
        child.kill().ok();
        child.wait().ok();
        return Err(error);
    }
    let status = child.wait().context("cannot wait for the inner process")?;
    Ok(tool::exit_status(status))
}

/// Returns the number of the open log, or -1, and the microseconds that it counts from.
fn told_of_log(log: Option<(BorrowedFd<'_>, Duration)>) -> [u8; 12] {
    let (number, base) = log.map_or((-1, Duration::ZERO), |(file, base)| (file.as_raw_fd(), base));
    let mut told = [0; 12];
    told[..4].copy_from_slice(&number.to_le_bytes());
    told[4..].copy_from_slice(&u64::try_from(base.as_micros()).unwrap_or_default().to_le_bytes());
    told
}

/// Goes on with the log that the outer process has begun, if it has.
fn resume_log(told: [u8; 12]) -> Result<()> {
    let [number @ .., _, _, _, _, _, _, _, _] = told;
    let [_, _, _, _, base @ ..] = told;
    let number = i32::from_le_bytes(number);
    if number >= 0 {
        log::start(adopt_fd(number)?.into(), Duration::from_micros(u64::from_le_bytes(base)));
    }
    Ok(())
}

/// Changes the owner of `directory`, which the calling user owns, to the inner uid 0 of `ids`.
///
/// # Errors
/// [`Failure::host`] if the maps are refused.
pub fn chown_to_namespace_root(directory: &Path, ids: IdMap) -> Result<()> {
    if rustix::process::getuid().is_root() {
        return std::os::unix::fs::chown(directory, Some(ids.uid_base), Some(ids.gid_base))
            .with_context(|| Failure::host(format!("cannot change the owner of `{}`", directory.printable())));
    }
    let (mut control, inner) = UnixStream::pair().context("cannot make a socket pair")?;
    let mut command = own_command();
    command.arg("__give").arg(format!("{CONTROL_ARG}{}", inner.as_raw_fd())).arg(directory);
    let started = spawn_with(command, &[inner.as_fd()]).context(Failure::host("cannot start a helper process"));
    let mut child = started?;
    drop(inner);
    if Word::Unshared.hear(&mut control).is_ok() {
        write_maps(child.id(), Mapping::SelfAndShifted(ids))?;
        Word::Mapped.say(&mut control).context("the helper process went away")?;
    }
    if child.wait().context("cannot wait for a helper process")?.success() {
        return Ok(());
    }
    Err(Failure::host(format!("cannot give `{}` to the subordinate ids", directory.printable())).into())
}

/// Implements `piimg __inside`: unshares, becomes uid 0 inside and starts the build's PID 1.
///
/// # Errors
/// [`Failure::host`] if the kernel refuses the namespaces.
pub fn inside(arguments: &[String]) -> Result<i32> {
    die_with_parent()?;
    let mut control = UnixStream::from(inherited_fd(arguments.first().map(String::as_str), CONTROL_ARG)?);
    unshare(
        CloneFlags::CLONE_NEWUSER
            | CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS,
    )?;
    if wait_for_ids(&mut control).is_err() {
        return Ok(UNMAPPED);
    }
    become_user(&Credentials::default())?;
    die_with_parent()?;
    let mut command = own_command();
    command.arg(arguments.get(1).context("no role given")?).arg(arguments.first().map_or("", String::as_str));
    let status = spawn_with(command, &[control.as_fd()])
        .and_then(|mut child| child.wait())
        .context(Failure::host("cannot start the build in its namespace"))?;
    Ok(tool::exit_status(status))
}

/// Implements `piimg __give`: changes the owner of the calling user's directory to the first shifted id.
///
/// # Errors
/// If the kernel refuses.
pub fn give(arguments: &[String]) -> Result<i32> {
    die_with_parent()?;
    let mut control = UnixStream::from(inherited_fd(arguments.first().map(String::as_str), CONTROL_ARG)?);
    let directory = arguments.get(1).context("no directory given")?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    if wait_for_ids(&mut control).is_err() {
        return Ok(UNMAPPED);
    }
    become_user(&Credentials::default())?;
    std::os::unix::fs::chown(directory, Some(1), Some(1))
        .with_context(|| format!("cannot change the owner of `{directory}`"))?;
    Ok(0)
}

fn unshare(flags: CloneFlags) -> Result<()> {
    nix::sched::unshare(flags).with_context(|| {
        let refused = Failure::host("the kernel refuses a user namespace");
        let is_root = rustix::process::getuid().is_root();
        match (forbidding_setting(is_root), Restrictions::find().hint()) {
            (Some(setting), _) if is_root => refused.hint(format!("allow them: {setting}")),
            (Some(setting), _) => refused.hint(format!("allow them: {setting}")).hint("or run piimg with sudo"),
            (None, Some(container)) => refused.hint(container),
            (None, None) => refused,
        }
    })
}

/// Begins every role: makes the private root file system and receives the job.
///
/// Must run before any thread is started.
///
/// # Errors
/// [`Failure::host`] if a mount fails.
pub fn enter(arguments: &[String]) -> Result<Vec<u8>> {
    die_with_parent()?;
    let mut control = UnixStream::from(inherited_fd(arguments.first().map(String::as_str), CONTROL_ARG)?);
    // The job's files belong to this process alone. Open descriptors also take low numbers away from programs of the
    // build: mmdebstrap passes its own to a shell that knows none above 9.
    close_descriptors()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    let mut told = [0; 12];
    control.read_exact(&mut told).context("the outer process went away")?;
    resume_log(told)?;
    private_root()?;
    let mut length = [0; 8];
    control.read_exact(&mut length).context("the outer process went away")?;
    let length = usize::try_from(u64::from_le_bytes(length)).context("the job is too long")?;
    let mut job = vec![0; length];
    control.read_exact(&mut job).context("the outer process went away")?;
    // From here on only the death of the outer process matters, which `die_with_parent` covers.
    Ok(job)
}

/// Names the UTS namespace, and makes the private root file system. A container may refuse both, for different reasons,
/// which are told together.
fn private_root() -> Result<()> {
    let restrictions = Restrictions::find();
    let named = nix::unistd::sethostname("piimg");
    let restrictions = if named.is_ok() { restrictions.with_calls() } else { restrictions };
    let failure = |what: &str| {
        let failure = Failure::host(what);
        match restrictions.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    };
    mounts::private_root().with_context(|| failure("cannot make the build's private root file system"))?;
    named.with_context(|| failure("cannot name the UTS namespace"))
}
