//! Filters on the system calls of a program.

use std::collections::BTreeMap;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

use crate::error::{Context as _, Failure, Result};

/// Calls that wait until the disk has what was written.
const SYNC: [libc::c_long; 6] = [
    libc::SYS_fsync,
    libc::SYS_fdatasync,
    libc::SYS_msync,
    libc::SYS_sync,
    libc::SYS_syncfs,
    libc::SYS_sync_file_range,
];

/// Lets the program of `command` believe that the disk has what it wrote.
///
/// # Errors
/// [`Failure::host`] if the processor is one that filters are not made for.
pub(super) fn ignore_sync(command: &mut Command) -> Result<()> {
    let filter = filter(&SYNC, SeccompAction::Errno(0))?;
    let install = move || seccompiler::apply_filter(&filter).map_err(|_| std::io::Error::last_os_error());
    #[expect(unsafe_code, reason = "a filter holds for the process that installs it, so it comes after `fork`")]
    // SAFETY: installing a finished filter is two system calls: it neither allocates nor takes a lock
    unsafe {
        command.pre_exec(install);
    }
    Ok(())
}

/// A filter that answers `calls` with `action` and lets all others through.
fn filter(calls: &[libc::c_long], action: SeccompAction) -> Result<BpfProgram> {
    let unsupported = || Failure::host(format!("there are no system call filters for {}", std::env::consts::ARCH));
    let architecture = std::env::consts::ARCH.try_into().with_context(unsupported)?;
    let rules: BTreeMap<_, _> = calls.iter().map(|call| (*call, Vec::new())).collect();
    SeccompFilter::new(rules, SeccompAction::Allow, action, architecture)
        .and_then(BpfProgram::try_from)
        .context("cannot make a system call filter")
}
