//! The build's private namespace: user, mount, PID, IPC and UTS namespaces of its own, with a shifted id map.
//!
//! The process the user started stays outside and does little: it waits, owns the output file and renames it
//! at the end. The build runs in a second process that sees a fresh root file system with the host's programs
//! read-only, the store, and nothing else. Its uid 0 is an unprivileged uid of the host. Whatever it mounts or
//! registers disappears with it; it dies when the outer process dies, by whatever signal.
//!
//! How it starts: the outer process executes itself as `piimg __inside`; that process unshares, asks over a
//! socket for its id maps, becomes uid 0 of the new namespace and starts `piimg __build`, the PID 1 of the
//! build, which receives its job over the same socket.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::Path;

use nix::sched::CloneFlags;
use rustix::io::FdFlags;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use super::{init, mounts, tool};
use crate::error::{Context, Failure, Result};
use crate::ui::Printable as _;

/// Ids inside the namespace, 0 up to here: what a Debian system uses, `nobody` and `nogroup` included.
pub const IDS: u32 = 65536;

/// All that a container must leave to a build, so that nobody learns of one after the other. By itself it refuses calls that
/// a namespace of its own would allow, and covers parts of `/proc`, without which the kernel mounts no other one.
pub(super) const CONTAINER: &str = "in a container, start it with all of these: podman run --security-opt \
     seccomp=unconfined --security-opt unmask=ALL, or docker run --security-opt seccomp=unconfined --security-opt \
     apparmor=unconfined --security-opt systempaths=unconfined; the store must be on a volume";

/// Descriptors of the inner processes, by number.
const CONTROL_ARG: &str = "--control=";

/// The host ids that stand for 0 inside; [`IDS`] of each from there on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    pub uid_base: u32,
    pub gid_base: u32,
}

impl IdMap {
    /// The map for this user: any free range for root, the user's own subordinate ids otherwise.
    ///
    /// # Errors
    /// [`Failure::host`] if an ordinary user has no 65536 subordinate ids.
    pub fn choose() -> Result<Self> {
        let uid = rustix::process::getuid();
        if uid.is_root() {
            return Ok(Self::for_root(&fs::read_to_string("/etc/subuid").unwrap_or_default()));
        }
        let name = user_name(uid.as_raw());
        Ok(Self {
            uid_base: subordinate_range("/etc/subuid", uid.as_raw(), name.as_deref())?,
            gid_base: subordinate_range("/etc/subgid", uid.as_raw(), name.as_deref())?,
        })
    }

    /// Whether this user may give these ids to images: a store says which ones it was made with.
    ///
    /// # Errors
    /// If they are ids of the host, where the kernel would let root map them.
    pub fn check(self) -> Result<()> {
        let is_shifted = |base: u32| base >= IDS && base.checked_add(IDS).is_some();
        anyhow::ensure!(
            is_shifted(self.uid_base) && is_shifted(self.gid_base),
            "its ids, from {} on, are this machine's own",
            self.uid_base.min(self.gid_base)
        );
        Ok(())
    }

    /// The first range from 524288 up, as systemd-nspawn picks them, that no user was given in `/etc/subuid`.
    fn for_root(subuid: &str) -> Self {
        let taken: Vec<(u64, u64)> =
            subuid.lines().filter_map(parse_range).map(|(_, start, count)| (start, count)).collect();
        let base = (8..28_000u32)
            .map(|index| index * IDS)
            .find(|base| {
                let base = u64::from(*base);
                taken.iter().all(|(start, count)| base + u64::from(IDS) <= *start || *start + *count <= base)
            })
            .unwrap_or(8 * IDS);
        Self { uid_base: base, gid_base: base }
    }
}

/// `name:start:count` of `/etc/subuid`.
fn parse_range(line: &str) -> Option<(&str, u64, u64)> {
    let mut parts = line.trim().splitn(3, ':');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn user_name(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}

fn subordinate_range(file: &str, uid: u32, name: Option<&str>) -> Result<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let id = uid.to_string();
    text.lines()
        .filter_map(parse_range)
        .filter(|(owner, _, count)| (*owner == id || Some(*owner) == name) && *count >= u64::from(IDS))
        .find_map(|(_, start, _)| u32::try_from(start).ok())
        .ok_or_else(|| {
            let user = name.unwrap_or(&id);
            Failure::host(format!("the user `{user}` has no 65536 subordinate ids in {file}"))
                .hint(format!(
                    "give them once: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
                ))
                .hint("or run piimg with sudo")
                .into()
        })
}

/// What the outer process hands to the inner one besides the job.
#[derive(Debug)]
pub struct Entry<'a> {
    pub ids: IdMap,
    /// What `piimg` becomes inside: the name of an internal subcommand, which calls [`enter`].
    pub role: &'static str,
    /// Host directory that becomes `/store`; searchable by everybody, its content owned by the inner ids.
    pub store: &'a Path,
    /// Open files for the inner process; it finds them by the same numbers.
    pub files: Vec<BorrowedFd<'a>>,
    /// Variables of the environment that it does not get.
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
    let mut command = own_command()?;
    // What else a shell has is nobody's business inside, and would change what programs do there.
    command.env_clear().envs(tool::environment_of_piimg());
    entry.hidden.iter().for_each(|variable| {
        command.env_remove(variable);
    });
    let mut child = {
        // Only this process is started while the descriptors are inheritable.
        let _guard = Inheritable::new(&inherited)?;
        command
            .arg("__inside")
            .arg(format!("{CONTROL_ARG}{}", inner.as_raw_fd()))
            .arg(entry.role)
            // That of the user is not there inside.
            .env("TMPDIR", "/tmp")
            // The working directory is the one handle on the host's tree that survives `unshare`: the store is
            // reached through it, whatever directories above it the inner ids may not search.
            .current_dir(&store)
            .spawn()
            .context(Failure::host("cannot start the build's inner process"))?
    };
    drop(inner);
    let set_up = (|| -> Result<()> {
        if expect_byte(&mut control).is_err() {
            return Ok(()); // it died, and said why
        }
        write_maps(child.id(), Mapping::Shifted(entry.ids))?;
        control.write_all(b"m").context("the inner process went away")?;
        let length = u64::try_from(job.len()).expect("a length fits 64 bits").to_le_bytes();
        // The inner process may end early with its own message; its exit status then tells.
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

/// Gives `directory`, which the calling user owns, to the inner uid 0 of `ids`.
///
/// # Errors
/// [`Failure::host`] if the maps are refused.
pub fn give_to_inner_root(directory: &Path, ids: IdMap) -> Result<()> {
    if rustix::process::getuid().is_root() {
        return std::os::unix::fs::chown(directory, Some(ids.uid_base), Some(ids.gid_base))
            .with_context(|| Failure::host(format!("cannot change the owner of `{}`", directory.printable())));
    }
    let (mut control, inner) = UnixStream::pair().context("cannot make a socket pair")?;
    let mut child = {
        let descriptors = [inner.as_fd()];
        let _guard = Inheritable::new(&descriptors)?;
        own_command()?
            .arg("__give")
            .arg(format!("{CONTROL_ARG}{}", inner.as_raw_fd()))
            .arg(directory)
            .spawn()
            .context(Failure::host("cannot start a helper process"))?
    };
    drop(inner);
    if expect_byte(&mut control).is_ok() {
        write_maps(child.id(), Mapping::SelfAndShifted(ids))?;
        control.write_all(b"m").context("the helper process went away")?;
    }
    if child.wait().context("cannot wait for a helper process")?.success() {
        return Ok(());
    }
    Err(Failure::host(format!("cannot give `{}` to the subordinate ids", directory.printable())).into())
}

#[derive(Clone, Copy)]
enum Mapping {
    /// Inner 0 is the first shifted id.
    Shifted(IdMap),
    /// Inner 0 is the calling user, inner 1 the first shifted id: for giving a file away.
    SelfAndShifted(IdMap),
}

/// Writes the id maps of process `pid`: directly as root, through `newuidmap` and `newgidmap` otherwise.
#[expect(clippy::disallowed_methods, reason = "a file of the kernel, of the process with that number")]
fn write_maps(pid: u32, mapping: Mapping) -> Result<()> {
    let lines = |own: u32, base: u32| match mapping {
        Mapping::Shifted(_) => vec![[0, base, IDS]],
        Mapping::SelfAndShifted(_) => vec![[0, own, 1], [1, base, 1]],
    };
    let (Mapping::Shifted(ids) | Mapping::SelfAndShifted(ids)) = mapping;
    let uid = rustix::process::getuid();
    let uids = lines(uid.as_raw(), ids.uid_base);
    let gids = lines(rustix::process::getgid().as_raw(), ids.gid_base);
    for (kind, lines) in [("uid", uids), ("gid", gids)] {
        if uid.is_root() {
            let text: String = lines.iter().map(|[inner, outer, count]| format!("{inner} {outer} {count}\n")).collect();
            fs::write(format!("/proc/{pid}/{kind}_map"), text)
                .with_context(|| Failure::host(format!("cannot write the {kind} map of the user namespace")))?;
        } else {
            let program = format!("new{kind}map");
            tool::Tool::new(&program).arg(pid.to_string()).args(lines.iter().flatten().map(u32::to_string)).run()?;
        }
    }
    Ok(())
}

/// `piimg`, whatever path it was started by.
#[expect(clippy::disallowed_methods, reason = "piimg starts itself here, not a program of the host")]
pub(super) fn own_command() -> Result<std::process::Command> {
    Ok(std::process::Command::new("/proc/self/exe"))
}

fn expect_byte(control: &mut UnixStream) -> std::io::Result<()> {
    control.read_exact(&mut [0])
}

/// Keeps descriptors open across `exec` while it lives.
pub(super) struct Inheritable<'a>(&'a [BorrowedFd<'a>]);

impl<'a> Inheritable<'a> {
    pub(super) fn new(descriptors: &'a [BorrowedFd<'a>]) -> Result<Self> {
        for descriptor in descriptors {
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty()).context("cannot pass on a descriptor")?;
        }
        Ok(Self(descriptors))
    }
}

impl Drop for Inheritable<'_> {
    fn drop(&mut self) {
        for descriptor in self.0 {
            // They were valid a moment ago, and a leaked one would only stay open in a later child.
            rustix::io::fcntl_setfd(descriptor, FdFlags::CLOEXEC).ok();
        }
    }
}

/// Ends this process when its parent ends. Set again after each change of credentials, which clears it.
pub(super) fn die_with_parent() -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).context("cannot set the parent-death signal")
}

/// Takes over the descriptor a parent announced as `PREFIX<number>`.
pub(super) fn inherited_fd(argument: Option<&str>, prefix: &str) -> Result<OwnedFd> {
    let number: i32 = argument
        .and_then(|argument| argument.strip_prefix(prefix))
        .and_then(|number| number.parse().ok())
        .ok_or_else(|| Failure::usage("this subcommand is internal to piimg"))?;
    adopt_fd(number)
}

/// Takes ownership of the inherited descriptor `number`.
///
/// # Errors
/// If no such descriptor is open.
#[expect(unsafe_code, reason = "an inherited descriptor is only a number")]
pub fn adopt_fd(number: i32) -> Result<OwnedFd> {
    use std::os::fd::FromRawFd as _;
    anyhow::ensure!(number > 2, "descriptor {number} is a standard stream");
    // SAFETY: only used for the next call, which fails if the number is not open.
    let borrowed = unsafe { BorrowedFd::borrow_raw(number) };
    rustix::io::fcntl_setfd(borrowed, FdFlags::CLOEXEC).with_context(|| format!("descriptor {number} is not open"))?;
    // SAFETY: it is open (just checked) and the parent passed it to this process for this one owner.
    Ok(unsafe { OwnedFd::from_raw_fd(number) })
}

/// `piimg __inside`: unshares, becomes uid 0 inside and starts the build's PID 1.
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
    control.write_all(b"u").context("the outer process went away")?;
    expect_byte(&mut control).context("the outer process went away")?;
    become_root()?;
    die_with_parent()?;
    let control_fd = control.as_fd();
    let descriptors = [control_fd];
    let _guard = Inheritable::new(&descriptors)?;
    let status = own_command()?
        .arg(arguments.get(1).context("no role given")?)
        .arg(arguments.first().map_or("", String::as_str))
        .status()
        .context(Failure::host("cannot start the build in its namespace"))?;
    Ok(tool::exit_status(status))
}

/// `piimg __give`: gives a directory of the calling user to the first shifted id.
///
/// # Errors
/// If the kernel refuses.
pub fn give(arguments: &[String]) -> Result<i32> {
    die_with_parent()?;
    let mut control = UnixStream::from(inherited_fd(arguments.first().map(String::as_str), CONTROL_ARG)?);
    let directory = arguments.get(1).context("no directory given")?;
    unshare(CloneFlags::CLONE_NEWUSER)?;
    control.write_all(b"u").context("the outer process went away")?;
    expect_byte(&mut control).context("the outer process went away")?;
    become_root()?;
    std::os::unix::fs::chown(directory, Some(1), Some(1))
        .with_context(|| format!("cannot change the owner of `{directory}`"))?;
    Ok(0)
}

fn unshare(flags: CloneFlags) -> Result<()> {
    nix::sched::unshare(flags).context(
        Failure::host("the kernel refuses a user namespace")
            .hint("allow them: sysctl user.max_user_namespaces (and kernel.apparmor_restrict_unprivileged_userns=0 on Ubuntu), or run piimg with sudo")
            .hint(CONTAINER),
    )
}

fn become_root() -> Result<()> {
    nix::unistd::setgroups(&[]).context("cannot drop supplementary groups")?;
    let (uid, gid) = (nix::unistd::Uid::from_raw(0), nix::unistd::Gid::from_raw(0));
    nix::unistd::setresgid(gid, gid, gid).context("cannot become gid 0 of the namespace")?;
    nix::unistd::setresuid(uid, uid, uid).context("cannot become uid 0 of the namespace")
}

/// The first half of each role: makes the private root file system and receives the job.
///
/// Must run before any thread is started.
///
/// # Errors
/// [`Failure::host`] if a mount fails.
pub fn enter(arguments: &[String]) -> Result<Vec<u8>> {
    die_with_parent()?;
    let mut control = UnixStream::from(inherited_fd(arguments.first().map(String::as_str), CONTROL_ARG)?);
    // The job's files are for this process alone. What is open in a program of the build also takes numbers away from
    // it: mmdebstrap hands its own to a shell that knows none above 9.
    init::close_descriptors()?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    mounts::private_root().context("cannot make the build's private root file system")?;
    nix::unistd::sethostname("piimg").context(Failure::host("cannot name the UTS namespace").hint(CONTAINER))?;
    let mut length = [0; 8];
    control.read_exact(&mut length).context("the outer process went away")?;
    let length = usize::try_from(u64::from_le_bytes(length)).context("the job is too long")?;
    let mut job = vec![0; length];
    control.read_exact(&mut job).context("the outer process went away")?;
    // From here on only the death of the outer process matters, and `die_with_parent` covers that.
    Ok(job)
}

/// A pipe-free way to hand a small document to a child: an anonymous file in memory.
pub(crate) fn memory_file(name: &str, data: &[u8]) -> Result<File> {
    let descriptor =
        rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC).context("cannot make a file in memory")?;
    let mut file = File::from(descriptor);
    file.write_all(data).context("cannot write a file in memory")?;
    std::io::Seek::rewind(&mut file).context("cannot rewind a file in memory")?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_takes_the_first_range_nobody_owns() {
        for (subuid, base) in [
            ("", 524_288),
            ("ann:100000:65536\n", 524_288),
            ("ann:524288:65536\n", 589_824),
            ("ann:500000:100000\nbob:600000:65536\n", 720_896),
            ("garbage\nann:x:y\n", 524_288),
        ] {
            assert_eq!(IdMap::for_root(subuid).uid_base, base, "{subuid:?}");
        }
    }

    #[test]
    fn a_user_without_subordinate_ids_is_told_how_to_get_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subuid");
        fs::write(&file, "ann:100000:65536\n1001:300000:65536\nbob:400000:1000\n").unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(subordinate_range(file, 7, Some("ann")).unwrap(), 100_000);
        assert_eq!(subordinate_range(file, 1001, None).unwrap(), 300_000);
        let report = crate::error::report(&subordinate_range(file, 8, Some("bob")).unwrap_err());
        assert!(report.messages[0].contains("`bob` has no 65536 subordinate ids"), "{report:?}");
        assert!(report.hints[0].contains("usermod --add-subuids"), "{report:?}");
    }
}
