//! Filters the system calls of a program (<https://docs.kernel.org/userspace-api/seccomp_filter.html>).
//!
//! Each filter is for this machine's own ABI. A program that uses another one, such as the 32-bit calls of `int 0x80`,
//! is killed with `SIGSYS`. The numbers of x32 calls are in no list.

mod calls;

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::libc;
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::SeccompCmpOp::{Eq, MaskedEq, Ne};
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

use super::confined::Sockets;
use crate::error::{Context as _, Failure, Result};

/// Calls that wait for the disk.
const SYNC: [libc::c_long; 6] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_msync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
];

/// Flags with which `clone` makes namespaces.
const NAMESPACES: [libc::c_int; 7] = [
    libc::CLONE_NEWCGROUP,
    libc::CLONE_NEWIPC,
    libc::CLONE_NEWNET,
    libc::CLONE_NEWNS,
    libc::CLONE_NEWPID,
    libc::CLONE_NEWUSER,
    libc::CLONE_NEWUTS,
];

/// Requests that insert characters into the input of a terminal, possibly somebody else's:
/// <https://man7.org/linux/man-pages/man2/ioctl_tty.2.html>.
const TERMINAL_INPUT: [libc::c_ulong; 2] = [libc::TIOCSTI, libc::TIOCLINUX];

/// The one netlink protocol that programs get: addresses and routes of the box's own network.
const NETLINK_ROUTE: libc::c_int = 0;

/// Allowed personalities; all others weaken the layout or protection of memory:
/// <https://man7.org/linux/man-pages/man2/personality.2.html>.
const PERSONALITIES: [u64; 5] = [0, 0x8, 0x2_0000, 0x2_0008, 0xffff_ffff];

type Rules = BTreeMap<libc::c_long, Vec<SeccompRule>>;

/// Makes the calls of `command` that wait for the disk succeed at once.
///
/// # Errors
/// [`Failure::host`] if there are no filters for this processor.
pub(super) fn ignore_sync(command: &mut Command) -> Result<()> {
    let filter = filter(always(&SYNC), SeccompAction::Allow, errno(0))?;
    let install = move || seccompiler::apply_filter(&filter).map_err(|_| std::io::Error::last_os_error());
    #[expect(unsafe_code, reason = "a filter holds for the process that installs it, so it comes after `fork`")]
    // SAFETY: installing a finished filter is two system calls: it neither allocates nor takes a lock.
    unsafe {
        command.pre_exec(install);
    }
    Ok(())
}

/// Confines this process, and everything that it becomes and starts, to the calls that programs of an image may make.
///
/// Every call that is not known to be harmless fails with `ENOSYS`, which C libraries handle: `clone3`, whose flags a
/// filter cannot see, becomes `clone`.
///
/// # Errors
/// [`Failure::host`] if there are no filters for this processor, or the kernel has none.
pub(super) fn confine_program() -> Result<()> {
    let mut known = always(calls::OF_PROGRAMS);
    known.extend(always(calls::OF_PROGRAMS_HERE));
    known.extend(always(calls::OF_PROGRAMS_NEW));
    install(&[
        filter(known, errno(libc::ENOSYS), SeccompAction::Allow)?,
        filter(refusals()?, SeccompAction::Allow, errno(libc::EPERM))?,
        filter(unknown_networks()?, SeccompAction::Allow, errno(libc::EAFNOSUPPORT))?,
    ])
}

/// Extra permissions of a confined program of the host, beside reading.
#[derive(Clone, Copy, Debug)]
pub(super) struct May {
    pub write: bool,
    /// Signals by process id; a filter cannot see whose it is.
    pub signal_threads: bool,
    pub sockets: Sockets,
}

/// Makes the filters of a confined program of the host: the calls of an image's programs, without processes, signals,
/// sockets and changes of files, except as `may` permits.
///
/// # Errors
/// [`Failure::host`] if there are no filters for this processor.
pub(super) fn reader(may: May) -> Result<Vec<BpfProgram>> {
    let mut known = always(calls::OF_PROGRAMS);
    known.extend(always(calls::OF_PROGRAMS_HERE));
    known.extend(always(calls::OF_PROGRAMS_NEW));
    let mut refused = refusals()?;
    refused.extend(always(calls::NOT_OF_A_READER));
    refused.extend(always(calls::NOT_OF_A_READER_HERE));
    if !may.write {
        refused.extend(always(calls::OF_WRITERS));
        refused.extend(always(calls::OF_WRITERS_HERE));
    }
    if may.signal_threads {
        refused.remove(&libc::SYS_tgkill);
    }
    // The limits of another process.
    refused.insert(libc::SYS_prlimit64, vec![all([condition(0, Qword, Ne, 0)])?]);
    match may.sockets {
        Sockets::Dead => refused.extend(streams_of(&[libc::AF_UNIX])?),
        Sockets::Listening(_) => refused.extend(streams_of(&[libc::AF_UNIX, libc::AF_INET, libc::AF_INET6])?),
        Sockets::All => refused.extend(unknown_networks()?),
    }
    if may.sockets != Sockets::Dead {
        calls::OF_LISTENERS.iter().for_each(|call| drop(refused.remove(call)));
    }
    // Allows threads, but no processes.
    let thread = u64::try_from(libc::CLONE_THREAD).expect("a flag is positive");
    let processes = Rules::from([(libc::SYS_clone, vec![all([condition(0, Qword, MaskedEq(thread), 0)])?])]);
    let mut filters = vec![
        filter(known, errno(libc::ENOSYS), SeccompAction::Allow)?,
        filter(refused, SeccompAction::Allow, errno(libc::EPERM))?,
        filter(processes, SeccompAction::Allow, errno(libc::EPERM))?,
    ];
    if may.sockets != Sockets::All {
        filters.push(filter(always(&[libc::SYS_connect]), SeccompAction::Allow, errno(libc::ECONNREFUSED))?);
    }
    Ok(filters)
}

/// Allows only stream sockets of `families`, which cannot send unless connected, and forbids connecting by sending (TCP
/// Fast Open).
fn streams_of(families: &[libc::c_int]) -> Result<Rules> {
    let number = |value: libc::c_int| u64::try_from(value).expect("a small number");
    let others: Vec<_> = families.iter().map(|family| condition(0, Dword, Ne, number(*family))).collect();
    let others: Vec<_> = others.into_iter().collect::<Result<_>>()?;
    let mut sockets = vec![SeccompRule::new(others).context("cannot make a system call filter")?];
    for kind in [libc::SOCK_DGRAM, libc::SOCK_RAW, libc::SOCK_RDM, libc::SOCK_SEQPACKET] {
        sockets.push(all([condition(1, Dword, MaskedEq(0xf), number(kind))])?);
    }
    let mut rules = Rules::from([(libc::SYS_socket, sockets)]);
    let connects = number(libc::MSG_FASTOPEN);
    for (call, flags) in [(libc::SYS_sendto, 3), (libc::SYS_sendmsg, 2), (libc::SYS_sendmmsg, 3)] {
        rules.insert(call, vec![all([condition(flags, Dword, MaskedEq(connects), connects)])?]);
    }
    Ok(rules)
}

/// Installs filters between `fork` and `exec`, by system calls alone.
pub(super) fn install_in_child(filters: &[BpfProgram]) -> std::io::Result<()> {
    filters.iter().try_for_each(|filter| seccompiler::apply_filter(filter).map_err(|_| std::io::Error::last_os_error()))
}

/// Confines this process to the calls that the plugin engine needs: memory, threads, open descriptors.
///
/// # Errors
/// Those of [`confine_program`].
#[expect(clippy::disallowed_methods, reason = "it names this very process")]
pub(super) fn confine_worker() -> Result<()> {
    let mut known = always(calls::OF_A_WORKER);
    known.extend(always(calls::OF_A_WORKER_HERE));
    let flag = |flag: libc::c_int| u64::try_from(flag).expect("a flag is positive");
    // Allows threads, but no processes.
    let thread = flag(libc::CLONE_THREAD | libc::CLONE_VM);
    known.insert(libc::SYS_clone, vec![all([condition(0, Qword, MaskedEq(thread), thread)])?]);
    // No limit counts shared memory.
    let kind = flag(libc::MAP_TYPE);
    known.insert(libc::SYS_mmap, vec![all([condition(3, Dword, MaskedEq(kind), flag(libc::MAP_PRIVATE))])?]);
    // `abort` sends a signal to its own process.
    let own = u64::from(std::process::id());
    known.insert(libc::SYS_tgkill, vec![all([condition(0, Dword, Eq, own)])?]);
    install(&[filter(known, errno(libc::ENOSYS), SeccompAction::Allow)?])
}

/// Returns refusals by argument, for calls that are otherwise allowed, and refusals that programs expect.
fn refusals() -> Result<Rules> {
    let mut rules = always(calls::REFUSED);
    let clone = NAMESPACES.iter().map(|flag| {
        let flag = u64::try_from(*flag).expect("a flag is positive");
        all([condition(0, Qword, MaskedEq(flag), flag)])
    });
    rules.insert(libc::SYS_clone, clone.collect::<Result<_>>()?);
    let ioctl = TERMINAL_INPUT.iter().map(|request| all([condition(1, Dword, Eq, *request)]));
    rules.insert(libc::SYS_ioctl, ioctl.collect::<Result<_>>()?);
    let personality = all(PERSONALITIES.map(|known| condition(0, Dword, Ne, known)))?;
    rules.insert(libc::SYS_personality, vec![personality]);
    Ok(rules)
}

/// Refuses all address families but those that programs of an image need. A network namespace stops neither `AF_VSOCK`
/// (<https://man7.org/linux/man-pages/man7/vsock.7.html>) nor `AF_ALG`
/// (<https://docs.kernel.org/crypto/userspace-if.html>).
fn unknown_networks() -> Result<Rules> {
    let number = |value: libc::c_int| u64::try_from(value).expect("a small number");
    let is_not = |family| condition(0, Dword, Ne, number(family));
    let other = all([libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK].map(is_not))?;
    let netlink =
        all([condition(0, Dword, Eq, number(libc::AF_NETLINK)), condition(2, Dword, Ne, number(NETLINK_ROUTE))])?;
    let pair = all([is_not(libc::AF_UNIX)])?;
    Ok(BTreeMap::from([(libc::SYS_socket, vec![other, netlink]), (libc::SYS_socketpair, vec![pair])]))
}

fn always(calls: &[libc::c_long]) -> Rules {
    calls.iter().map(|call| (*call, Vec::new())).collect()
}

fn condition(argument: u8, length: SeccompCmpArgLen, compare: SeccompCmpOp, value: u64) -> Result<SeccompCondition> {
    SeccompCondition::new(argument, length, compare, value).context("cannot make a system call filter")
}

/// Makes a rule that matches if all of its conditions do.
fn all<const N: usize>(conditions: [Result<SeccompCondition>; N]) -> Result<SeccompRule> {
    let conditions = conditions.into_iter().collect::<Result<_>>()?;
    SeccompRule::new(conditions).context("cannot make a system call filter")
}

fn errno(number: libc::c_int) -> SeccompAction {
    SeccompAction::Errno(u32::try_from(number).expect("an error number is positive"))
}

/// Makes a filter that answers calls matched by `rules` with `action`, and all others with `otherwise`.
fn filter(rules: Rules, otherwise: SeccompAction, action: SeccompAction) -> Result<BpfProgram> {
    let unsupported = || Failure::host(format!("there are no system call filters for {}", std::env::consts::ARCH));
    let architecture = std::env::consts::ARCH.try_into().with_context(unsupported)?;
    SeccompFilter::new(rules, otherwise, action, architecture)
        .and_then(BpfProgram::try_from)
        .context("cannot make a system call filter")
}

/// Installs the filters in this order: if several return an error, the kernel takes that of the last one installed.
fn install<const N: usize>(filters: &[BpfProgram; N]) -> Result<()> {
    for filter in filters {
        seccompiler::apply_filter(filter)
            .context(Failure::host("the kernel refuses a system call filter").hint("it needs CONFIG_SECCOMP_FILTER"))?;
    }
    Ok(())
}
