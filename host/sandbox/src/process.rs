//! Has what each process of piimg needs to start another one and to become somebody: running piimg again, passing on
//! descriptors, ids, the death signal, and the word by word start of a process in a user namespace. The one place for it.

use std::io::{Read as _, Write as _};
use std::os::fd::{AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command};

use nix::errno::Errno;
use nix::unistd::{Gid, Uid};
use rustix::io::FdFlags;
use rustix::process::Signal;
use serde::{Deserialize, Serialize};

use crate::error::{Context, Failure, Result};

/// This program, whatever path it was started by.
const OWN: &str = "/proc/self/exe";

/// Makes a command that runs this `piimg` again.
pub(super) fn own_command() -> Command {
    piimg(Path::new(OWN))
}

/// Makes a command that runs the `piimg` at `program`.
#[expect(clippy::disallowed_methods, reason = "piimg starts itself here, not a program of the host")]
pub(super) fn piimg(program: &Path) -> Command {
    Command::new(program)
}

/// Starts the command with `files` open in it, under the same numbers. No other child gets them.
pub(super) fn spawn_with(mut command: Command, files: &[BorrowedFd<'_>]) -> std::io::Result<Child> {
    let pass = passing(files);
    #[expect(unsafe_code, reason = "descriptors are made inheritable in the child, where no other child can get them")]
    // SAFETY: it makes system calls alone: it neither allocates nor takes a lock. The descriptors are borrowed until
    // `spawn` returns, and the command ends here: the hook never runs later, when the numbers may be other files'.
    unsafe {
        command.pre_exec(pass);
    }
    command.spawn()
}

/// Returns what makes `files` inheritable, to be run between `fork` and `exec` while they are open in the parent.
pub(super) fn passing(files: &[BorrowedFd<'_>]) -> impl Fn() -> std::io::Result<()> + Send + Sync + use<> {
    let numbers: Vec<i32> = files.iter().map(|file| file.as_raw_fd()).collect();
    move || {
        for number in &numbers {
            #[expect(unsafe_code, reason = "a descriptor of the parent is only a number in its child")]
            // SAFETY: the descriptors are open in the parent until `spawn` returns; this is their copy.
            let descriptor = unsafe { BorrowedFd::borrow_raw(*number) };
            rustix::io::fcntl_setfd(descriptor, FdFlags::empty())?;
        }
        Ok(())
    }
}

/// Kills this process when the thread that started it ends: for outer processes the main one.
///
/// `execve` keeps it, changes of credentials clear it, so it is set wherever one of both happened. See
/// `PR_SET_PDEATHSIG` in <https://man7.org/linux/man-pages/man2/prctl.2.html>.
pub(super) fn die_with_parent() -> Result<()> {
    set_death_signal().context("cannot set the parent-death signal")
}

/// Does the same between `fork` and `exec`, where nothing may be allocated.
pub(super) fn set_death_signal() -> rustix::io::Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
}

/// Takes over the descriptor that a parent announced as `PREFIX<number>`.
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

/// Keeps all descriptors but the standard streams from programs that this process becomes or starts.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub(super) fn close_descriptors() -> Result<()> {
    // SAFETY: marks descriptors close-on-exec; none is closed while this program still runs.
    let result = unsafe {
        nix::libc::close_range(3, u32::MAX, i32::try_from(nix::libc::CLOSE_RANGE_CLOEXEC).expect("a small flag"))
    };
    Errno::result(result).context(CLOSING)?;
    Ok(())
}

const CLOSING: &str = "cannot close inherited descriptors";

/// Closes all descriptors but the standard streams and `kept`. For a process that was just started.
#[expect(unsafe_code, reason = "close_range has no safe wrapper")]
pub(super) fn close_all_but(mut kept: Vec<i32>) -> Result<()> {
    kept.sort_unstable();
    let mut first = 3;
    for number in kept.into_iter().map(i32::cast_unsigned).chain([u32::MAX]) {
        if first < number {
            // SAFETY: nothing in this process owns a descriptor but those of `kept`: it was just started.
            let result = unsafe { nix::libc::close_range(first, number - 1, 0) };
            Errno::result(result).context(CLOSING)?;
        }
        first = number.saturating_add(1);
    }
    Ok(())
}

/// User and groups of a process. The default is root.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Credentials {
    pub uid: u32,
    pub gid: u32,
    pub groups: Vec<u32>,
}

/// Becomes that user for good, with these groups and no others. The death signal has to be set again after it.
pub(super) fn become_user(user: &Credentials) -> Result<()> {
    let groups: Vec<Gid> = user.groups.iter().copied().map(Gid::from_raw).collect();
    nix::unistd::setgroups(&groups).context("cannot set the groups")?;
    let (uid, gid) = (Uid::from_raw(user.uid), Gid::from_raw(user.gid));
    nix::unistd::setresgid(gid, gid, gid).with_context(|| format!("cannot become the group {gid}"))?;
    nix::unistd::setresuid(uid, uid, uid).with_context(|| format!("cannot become the user {uid}"))
}

/// Words between a process that leaves for a user namespace and the one that maps its ids. A byte each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Word {
    /// The process is in its namespace, and has no ids there.
    Unshared = b'u',
    /// The ids are mapped: it can become somebody.
    Mapped = b'm',
}

impl Word {
    /// Says the word to the process at the other end.
    pub(super) fn say(self, to: &mut UnixStream) -> std::io::Result<()> {
        to.write_all(&[self as u8])
    }

    /// Waits for this very word. Fails if the other process ended, or said something else.
    pub(super) fn hear(self, from: &mut UnixStream) -> std::io::Result<()> {
        let mut byte = [0];
        from.read_exact(&mut byte)?;
        if byte == [self as u8] {
            return Ok(());
        }
        Err(std::io::Error::new(std::io::ErrorKind::InvalidData, format!("it said {byte:?}, not {self:?}")))
    }
}

/// Says that this process has left for its user namespace, and waits until its ids are mapped.
pub(super) fn wait_for_ids(mapper: &mut UnixStream) -> std::io::Result<()> {
    Word::Unshared.say(mapper)?;
    Word::Mapped.hear(mapper)
}

#[cfg(test)]
mod tests {
    use std::io::Seek as _;
    use std::os::fd::AsFd as _;

    use super::*;

    #[test]
    fn words_are_told_apart() {
        let (mut here, mut there) = UnixStream::pair().unwrap();
        Word::Unshared.say(&mut here).unwrap();
        Word::Unshared.hear(&mut there).unwrap();
        Word::Unshared.say(&mut here).unwrap();
        let error = Word::Mapped.hear(&mut there).unwrap_err();
        assert_eq!(error.to_string(), "it said [117], not Mapped");
        drop(here);
        assert_eq!(Word::Mapped.hear(&mut there).unwrap_err().kind(), std::io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn a_file_is_passed_to_one_child_alone() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"passed").unwrap();
        file.rewind().unwrap();
        let shell = |script: String| {
            let mut command = piimg(Path::new("/bin/sh"));
            command.args(["-c", &script]).stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::null());
            command
        };
        let number = file.as_raw_fd();
        let child = spawn_with(shell(format!("cat /proc/self/fd/{number}")), &[file.as_fd()]).unwrap();
        assert_eq!(child.wait_with_output().unwrap().stdout, b"passed");
        let status = shell(format!("test -e /proc/self/fd/{number}")).status().unwrap();
        assert!(!status.success(), "it stayed inheritable");
    }
}
