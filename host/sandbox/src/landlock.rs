//! Restricts the files that a process may open, by the kernel's Landlock
//! (<https://docs.kernel.org/userspace-api/landlock.html>). It needs no privilege and no namespace, and survives
//! `exec`.
//!
//! Callers have other walls, for kernels without it.

use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::libc;
use rustix::fs::{Mode, OFlags};

use super::confined::Sockets;
use crate::error::{Context as _, Result};

/// `LANDLOCK_ACCESS_FS_*`.
const EXECUTE: u64 = 1;
const WRITE_FILE: u64 = 1 << 1;
const READ_FILE: u64 = 1 << 2;
const READ_DIR: u64 = 1 << 3;
const TRUNCATE: u64 = 1 << 14;
const IOCTL_DEV: u64 = 1 << 15;

/// File rights by version of Landlock; then `LANDLOCK_ACCESS_NET_*` and `LANDLOCK_SCOPE_*`.
const FILE_RIGHTS: [(i64, u64); 4] = [(1, 0x1fff), (2, 0x2000), (3, 0x4000), (5, 0x8000)];
const NET_RIGHTS: [(i64, u64); 1] = [(4, 3)];
const SCOPES: [(i64, u64); 1] = [(6, 3)];

const BIND_TCP: u64 = 1;

/// `LANDLOCK_CREATE_RULESET_VERSION`, `LANDLOCK_RULE_PATH_BENEATH` and `LANDLOCK_RULE_NET_PORT`.
const ASK_VERSION: libc::c_ulong = 1;
const PATH_BENEATH: libc::c_int = 1;
const NET_PORT: libc::c_int = 2;

/// `struct landlock_ruleset_attr`.
#[repr(C)]
struct RulesetAttributes {
    files: u64,
    net: u64,
    scopes: u64,
}

/// `struct landlock_path_beneath_attr`.
#[repr(C, packed)]
struct PathBeneath {
    allowed: u64,
    parent: i32,
}

/// `struct landlock_net_port_attr`.
#[repr(C)]
struct NetPort {
    allowed: u64,
    port: u64,
}

/// A set of allowed files; empty at first.
#[derive(Debug)]
pub(super) struct Ruleset {
    /// `None` if the kernel has no Landlock.
    descriptor: Option<OwnedFd>,
    handled: u64,
}

impl Ruleset {
    /// Makes an empty set.
    ///
    /// # Errors
    /// If the kernel has Landlock and refuses.
    #[expect(unsafe_code, reason = "Landlock's calls have no wrapper")]
    pub(super) fn new(sockets: Sockets) -> Result<Self> {
        // SAFETY: without attributes the call only returns the version.
        let version = unsafe {
            libc::syscall(libc::SYS_landlock_create_ruleset, std::ptr::null::<libc::c_void>(), 0, ASK_VERSION)
        };
        let known = |rights: &[(i64, u64)]| {
            rights.iter().filter(|(since, _)| version >= *since).fold(0, |sum, (_, rights)| sum | rights)
        };
        if version < 1 {
            return Ok(Self { descriptor: None, handled: 0 });
        }
        let net = if sockets == Sockets::All { 0 } else { known(&NET_RIGHTS) };
        let attributes = RulesetAttributes { files: known(&FILE_RIGHTS), net, scopes: known(&SCOPES) };
        // An older kernel accepts a longer structure if the fields that it does not know are zero.
        let length = size_of::<RulesetAttributes>();
        // SAFETY: the attributes live during the call, and have that length.
        let number = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const attributes, length, 0) };
        let number = Errno::result(number).context("cannot make rules for the files of a program")?;
        let number = i32::try_from(number).context("cannot make rules for the files of a program")?;
        // SAFETY: the kernel has just made this descriptor for us.
        let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
        let rules = Self { descriptor: Some(descriptor), handled: attributes.files };
        if let Sockets::Listening(port) = sockets {
            rules.listen(port);
        }
        Ok(rules)
    }

    /// Allows listening on `port`, where the kernel would forbid it.
    #[expect(unsafe_code, reason = "Landlock's calls have no wrapper")]
    fn listen(&self, port: u16) {
        let Some(descriptor) = &self.descriptor else { return };
        let rule = NetPort { allowed: BIND_TCP, port: port.into() };
        // SAFETY: the rule lives during the call, and the descriptor is open.
        unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, descriptor.as_raw_fd(), NET_PORT, &raw const rule, 0);
        }
    }

    /// Returns whether the kernel enforces the set.
    #[cfg(test)]
    pub(super) const fn is_enforced(&self) -> bool {
        self.descriptor.is_some()
    }

    /// Allows reading and executing everything below `path`; does nothing if `path` does not exist.
    pub(super) fn read_below(&self, path: &Path) {
        if let Some(opened) = open(path) {
            let is_directory = rustix::fs::fstat(&opened)
                .is_ok_and(|stat| rustix::fs::FileType::from_raw_mode(stat.st_mode) == rustix::fs::FileType::Directory);
            self.allow(opened.as_fd(), READ_FILE | EXECUTE | if is_directory { READ_DIR } else { 0 });
        }
    }

    /// Allows reading an open file and opening it again. Landlock never restricts a file without a path.
    pub(super) fn read(&self, file: BorrowedFd<'_>) {
        self.allow(file, READ_FILE);
    }

    /// Allows reading and writing a device.
    pub(super) fn use_device(&self, path: &Path) {
        if let Some(opened) = open(path) {
            self.allow(opened.as_fd(), READ_FILE | WRITE_FILE | TRUNCATE);
        }
    }

    /// Allows reading and writing a device, and all of its ioctl requests.
    pub(super) fn command_device(&self, path: &Path) {
        if let Some(opened) = open(path) {
            self.allow(opened.as_fd(), READ_FILE | WRITE_FILE | IOCTL_DEV);
        }
    }

    /// Allows everything below the directory except execution.
    pub(super) fn write_below(&self, path: &Path) {
        if let Some(opened) = open(path) {
            self.allow(opened.as_fd(), !EXECUTE);
        }
    }

    /// Adds a rule. If that fails, access stays forbidden: the program fails and names what it cannot open.
    #[expect(unsafe_code, reason = "Landlock's calls have no wrapper")]
    fn allow(&self, below: BorrowedFd<'_>, rights: u64) {
        let Some(descriptor) = &self.descriptor else { return };
        let rule = PathBeneath { allowed: rights & self.handled, parent: below.as_raw_fd() };
        // SAFETY: the rule lives during the call, and both descriptors are open.
        unsafe {
            libc::syscall(libc::SYS_landlock_add_rule, descriptor.as_raw_fd(), PATH_BENEATH, &raw const rule, 0);
        }
    }

    /// Enforces the set for this process and all that it becomes. `no_new_privs` must be set.
    ///
    /// Makes one system call and nothing else: it may be used between `fork` and `exec`.
    #[expect(unsafe_code, reason = "Landlock's calls have no wrapper")]
    pub(super) fn enforce(&self) -> std::io::Result<()> {
        let Some(descriptor) = &self.descriptor else { return Ok(()) };
        // SAFETY: the descriptor is open; the call takes no memory.
        let result = unsafe { libc::syscall(libc::SYS_landlock_restrict_self, descriptor.as_raw_fd(), 0) };
        if result == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
    }
}

fn open(path: &Path) -> Option<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
}
