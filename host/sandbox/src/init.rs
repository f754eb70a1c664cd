//! Sets up a box from inside, by three short-lived processes with a single thread each.
//!
//! `piimg __box` unshares the namespaces. Its child is the box's PID 1: it mounts everything, changes the root and
//! reaps processes. The child of PID 1 enters the nested user namespace, drops its privileges and becomes the command.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};

use nix::sched::CloneFlags;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::{ForkResult, Pid};
use rustix::thread::{CapabilitySet, CapabilitySets};

use super::command::{BOX_ERROR, BoxCommand, HOST_NAME, NETWORK_ARG, SET_UP_FAILED, SPEC_ARG};
use super::ending::Bounds;
use super::id_map::write_same_maps;
use super::process::{Credentials, Word, become_user, close_descriptors, die_with_parent, inherited_fd, wait_for_ids};
use super::shell::at_most;
use super::{mounts, proxy, seccomp};
use crate::error::{Context, Failure, Result};
use crate::text::Printable as _;

/// Capabilities that apt, dpkg and maintainer scripts need
/// (<https://man7.org/linux/man-pages/man7/capabilities.7.html>). Each was removed in turn during an installation of
/// 139 packages. Without `FSETID` setgid bits are lost silently, without `SETFCAP` a `setcap` in a postinst fails.
const CAPABILITIES: CapabilitySet = CapabilitySet::CHOWN
    .union(CapabilitySet::DAC_OVERRIDE)
    .union(CapabilitySet::FOWNER)
    .union(CapabilitySet::FSETID)
    .union(CapabilitySet::SETUID)
    .union(CapabilitySet::SETGID)
    .union(CapabilitySet::SETFCAP)
    .union(CapabilitySet::KILL)
    .union(CapabilitySet::SYS_CHROOT);

/// Number of capabilities to drop from the bounding set: the width of the kernel's own set.
const CAPABILITY_NUMBERS: u32 = 64;

/// Processes between piimg's limit and the kernel's. Some are needed, so that the monitor sees that the limit was
/// passed and can say so. With many, a fork bomb slows the machine down before the monitor sees it.
const PROCESS_HEADROOM: u64 = 256;

/// Largest file that a command may write. No file of an image is larger; that of a runaway command is.
const FILE_SIZE_LIMIT: u64 = 64 << 30;

/// Most open files of one process; the usual limit is 1024.
const OPEN_FILES: u64 = 8192;

/// Limits for System V semaphores: per set, in all, operations per call, sets. The kernel's old defaults:
/// <https://docs.kernel.org/admin-guide/sysctl/kernel.html>.
const SEMAPHORES: &str = "250 32000 32 128";
/// Most System V message queues, of 16 KiB each.
const MESSAGE_QUEUES: &str = "256";

/// Parts of `/proc` that describe or control the host; mounted read-only. See
/// <https://docs.kernel.org/filesystems/proc.html>.
const PROC_READ_ONLY: [&str; 5] = ["sys", "bus", "irq", "fs", "sysrq-trigger"];
/// Parts of `/proc` that no command needs to read; hidden.
const PROC_HIDDEN: [&str; 7] = ["kcore", "keys", "timer_list", "kmsg", "sched_debug", "acpi", "scsi"];

/// Implements `piimg __box`: runs the command that an inherited file describes, and returns its exit status.
pub fn main(arguments: &[String]) -> i32 {
    match boxed(arguments) {
        Ok(status) => status,
        Err(error) => {
            let message = format!("{BOX_ERROR}{error:#}\n");
            // If standard error is closed, nobody can be told.
            std::io::stderr().write_all(message.as_bytes()).ok();
            SET_UP_FAILED
        }
    }
}

fn boxed(arguments: &[String]) -> Result<i32> {
    die_with_parent()?;
    let mut text = Vec::new();
    File::from(inherited_fd(arguments.first().map(String::as_str), SPEC_ARG)?)
        .read_to_end(&mut text)
        .context("cannot read the description of the box")?;
    let command: BoxCommand = serde_json::from_slice(&text).context("cannot read the description of the box")?;
    let network = match arguments.get(1) {
        Some(argument) => Some(UnixStream::from(inherited_fd(Some(argument), NETWORK_ARG)?)),
        None => None,
    };
    nix::sched::unshare(
        CloneFlags::CLONE_NEWNS
            | CloneFlags::CLONE_NEWPID
            | CloneFlags::CLONE_NEWIPC
            | CloneFlags::CLONE_NEWUTS
            | CloneFlags::CLONE_NEWNET
            | CloneFlags::CLONE_NEWCGROUP,
    )
    .context("cannot make the namespaces of the box")?;
    match fork()? {
        ForkResult::Parent { child } => wait_for(child),
        ForkResult::Child => std::process::exit(report(pid1(&command, network))),
    }
}

/// Prints the error of a forked child, which has no caller to return it to.
fn report(result: Result<i32>) -> i32 {
    result.unwrap_or_else(|error| {
        std::io::stderr().write_all(format!("{BOX_ERROR}{error:#}\n").as_bytes()).ok();
        SET_UP_FAILED
    })
}

#[expect(unsafe_code, reason = "fork: the box is three processes of one program")]
fn fork() -> Result<ForkResult> {
    // SAFETY: this process has a single thread: it was started to become a box and has spawned none.
    unsafe { nix::unistd::fork() }.context("cannot fork")
}

/// Waits for `child` and reaps whatever else ends meanwhile.
fn wait_for(child: Pid) -> Result<i32> {
    loop {
        match waitpid(None, None) {
            Ok(WaitStatus::Exited(pid, status)) if pid == child => return Ok(status),
            Ok(WaitStatus::Signaled(pid, signal, _)) if pid == child => return Ok(128 + signal as i32),
            Ok(_) | Err(nix::errno::Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot wait for the command"),
        }
    }
}

/// Runs as the box's PID 1. When it ends, the kernel kills all other processes of the box:
/// <https://man7.org/linux/man-pages/man7/pid_namespaces.7.html>.
fn pid1(command: &BoxCommand, network: Option<UnixStream>) -> Result<i32> {
    die_with_parent()?;
    nix::unistd::sethostname(HOST_NAME).context("cannot name the box")?;
    bring_up_loopback()?;
    limit_shared_memory(command.limits.memory / 8);
    let has_network = network.is_some();
    if let Some(build) = network {
        proxy::send_listener(&build)?;
    }
    mount_all(command, has_network)?;
    let (mut to_child, mut at_child) = UnixStream::pair().context("cannot make a socket pair")?;
    match fork()? {
        ForkResult::Parent { child } => {
            drop(at_child);
            Word::Unshared.hear(&mut to_child).context("the command's process ended early")?;
            write_same_maps(child.as_raw().cast_unsigned())?;
            Word::Mapped.say(&mut to_child).context("the command's process ended early")?;
            drop(to_child);
            wait_for(child)
        }
        ForkResult::Child => {
            drop(to_child);
            let error = (|| -> Result<std::convert::Infallible> {
                die_with_parent()?;
                limit_processes(command)?;
                nix::sched::unshare(CloneFlags::CLONE_NEWUSER).context("cannot make the box's user namespace")?;
                wait_for_ids(&mut at_child).context("the box's first process ended")?;
                become_command(command, has_network)
            })();
            let Err(error) = error;
            std::process::exit(report(Err(error)))
        }
    }
}

/// Limits System V shared memory in the box's IPC namespace, which belongs to no process and no file system.
///
/// An older kernel lets only the host's root do that. There the monitor is the limit: it measures the machine's memory.
fn limit_shared_memory(bytes: u64) {
    let pages = bytes / u64::try_from(rustix::param::page_size()).unwrap_or(4096);
    for (name, value) in [("shmall", &*pages.to_string()), ("sem", SEMAPHORES), ("msgmni", MESSAGE_QUEUES)] {
        fs::write(Path::new("/proc/sys/kernel").join(name), value).ok();
    }
}

fn mount_all(command: &BoxCommand, has_network: bool) -> Result<()> {
    mounts::make_private()?;
    let root = &command.root;
    for name in ["dev", "proc", "run", "tmp", "sys"] {
        // A symbolic link here would make the mounts below land somewhere else.
        let path = root.join(name);
        let metadata = fs::symlink_metadata(&path).with_context(|| format!("the image has no `/{name}`"))?;
        if !metadata.is_dir() {
            return Err(Failure::build(format!("`/{name}` of the image is not a directory")).into());
        }
    }
    mounts::dev(root, command.limits.memory / 8)?;
    proc(&root.join("proc"))?;
    // No other limit counts files in memory (tmpfs): <https://docs.kernel.org/filesystems/tmpfs.html>.
    let part = |divisor: u64| format!("size={},nr_inodes={}", command.limits.memory / divisor, command.limits.files);
    mounts::tmpfs(&root.join("run"), &format!("mode=755,{}", part(16)))?;
    fs::create_dir(root.join("run/lock")).context("cannot create `/run/lock`")?;
    // `systemd-detect-virt` recognises a container by this file (<https://systemd.io/CONTAINER_INTERFACE>). Without it,
    // a script would behave differently on a virtual machine and on real hardware.
    fs::create_dir(root.join("run/host"))
        .and_then(|()| fs::write(root.join("run/host/container-manager"), "piimg\n"))
        .context("cannot create `/run/host/container-manager`")?;
    if has_network {
        let file = root.join(proxy::APT_CONFIG);
        fs::create_dir(file.parent().expect("it is in a directory"))
            .and_then(|()| fs::write(&file, proxy::apt_config()))
            .context("cannot configure apt for the proxy")?;
    }
    mounts::tmpfs(&root.join("tmp"), &format!("mode=1777,{}", part(2)))?;
    for bind in &command.binds {
        let target = inside(root, &bind.target)?;
        if bind.writable {
            mounts::bind(&bind.source, &target)?;
        } else {
            mounts::bind_read_only(&bind.source, &target)?;
        }
    }
    mounts::pivot(root)
}

/// Resolves `target` below `root`, and refuses symbolic links on the way: those of the image may lead out.
fn inside(root: &Path, target: &Path) -> Result<PathBuf> {
    let mut path = root.to_owned();
    for component in target.components().skip(1) {
        path.push(component);
        if fs::symlink_metadata(&path).is_ok_and(|metadata| metadata.is_symlink()) {
            return Err(
                Failure::build(format!("`{}` of the image leads through a symbolic link", target.printable())).into()
            );
        }
    }
    Ok(path)
}

fn proc(target: &Path) -> Result<()> {
    mounts::proc(target)?;
    for name in PROC_READ_ONLY {
        let path = target.join(name);
        if path.exists() {
            mounts::bind_read_only(&path, &path)?;
        }
    }
    let empty_file = target.with_file_name("dev").join("null");
    for name in PROC_HIDDEN {
        let path = target.join(name);
        match fs::symlink_metadata(&path) {
            Ok(metadata) if metadata.is_dir() => mounts::tmpfs(&path, "mode=555,size=4k")?,
            Ok(_) => mounts::bind(&empty_file, &path)?,
            Err(_) => {}
        }
    }
    Ok(())
}

/// Brings up `lo`: services that maintainer scripts start for a moment expect `localhost` to answer.
#[expect(unsafe_code, reason = "the interface's flags are set with an ioctl")]
fn bring_up_loopback() -> Result<()> {
    use std::os::fd::AsRawFd as _;
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::DGRAM, None)
        .context("cannot make a socket")?;
    // SAFETY: `ifreq` is plain data, for which all zeroes is a valid value.
    let mut request: nix::libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
        *to = from.cast_signed();
    }
    request.ifr_ifru.ifru_flags = i16::try_from(nix::libc::IFF_UP | nix::libc::IFF_RUNNING).expect("two low bits");
    // SAFETY: the descriptor is an open socket and the request an initialised `ifreq`, as SIOCSIFFLAGS wants.
    let result = unsafe { nix::libc::ioctl(socket.as_raw_fd(), nix::libc::SIOCSIFFLAGS, &request) };
    nix::errno::Errno::result(result).context("cannot bring up the loopback interface")?;
    Ok(())
}

/// Returns the limits of every boxed command that the kernel enforces by a signal.
pub(super) fn bounds() -> Bounds {
    Bounds { file: Some(at_most(nix::sys::resource::Resource::RLIMIT_FSIZE, FILE_SIZE_LIMIT)), time: None }
}

/// Drops all privileges and becomes the command; returns only on failure.
fn become_command(command: &BoxCommand, has_network: bool) -> Result<std::convert::Infallible> {
    become_user(&Credentials::default())?;
    drop_capabilities()?;
    nix::unistd::setsid().context("cannot start a session")?;
    if rustix::termios::isatty(rustix::stdio::stdin()) {
        // For job control: <https://man7.org/linux/man-pages/man2/TIOCSCTTY.2const.html>.
        rustix::process::ioctl_tiocsctty(rustix::stdio::stdin()).context("cannot take the terminal")?;
    }
    set_limits(command.addresses)?;
    rustix::thread::set_no_new_privs(true).context("cannot set no_new_privs")?;
    if command.identity.uid != 0 || command.identity.gid != 0 {
        become_user(&command.identity)?;
    }
    // Each change of credentials clears it, so this comes last.
    die_with_parent()?;
    close_descriptors()?;
    let environment = command.environment(has_network);
    let program = find_program(&command.argv[0], &environment)?;
    std::env::set_current_dir(&command.cwd).with_context(|| format!("cannot enter `{}`", command.cwd))?;
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
    seccomp::confine_program()?;
    let error =
        tool_command(&program).arg0(&command.argv[0]).args(&command.argv[1..]).env_clear().envs(environment).exec();
    Err(error).with_context(|| format!("cannot run `{}`", program.printable()))
}

#[expect(clippy::disallowed_methods, reason = "this is the command of the image, not a tool of the host")]
fn tool_command(program: &Path) -> std::process::Command {
    std::process::Command::new(program)
}

fn drop_capabilities() -> Result<()> {
    for number in 0..CAPABILITY_NUMBERS {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if CAPABILITIES.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // The kernel knows no capability with this number.
            Err(rustix::io::Errno::INVAL) => break,
            Err(error) => return Err(error).context("cannot drop a capability"),
        }
    }
    rustix::thread::clear_ambient_capability_set().context("cannot clear the ambient capabilities")?;
    let sets = CapabilitySets { effective: CAPABILITIES, permitted: CAPABILITIES, inheritable: CapabilitySet::empty() };
    rustix::thread::set_capabilities(None, sets).context("cannot drop capabilities")
}

/// Limits the number of processes. Must run before the user namespace is made: the kernel then counts all processes
/// inside it together, whichever users they become. See `RLIMIT_NPROC` in
/// <https://man7.org/linux/man-pages/man2/getrlimit.2.html>.
fn limit_processes(command: &BoxCommand) -> Result<()> {
    use nix::sys::resource::{Resource, setrlimit};
    let limit = at_most(Resource::RLIMIT_NPROC, command.limits.processes.saturating_add(PROCESS_HEADROOM));
    setrlimit(Resource::RLIMIT_NPROC, limit, limit).context("cannot limit the number of processes")
}

fn set_limits(addresses: Option<u64>) -> Result<()> {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    // If the machine runs out of memory nevertheless, the command is killed first.
    fs::write("/proc/self/oom_score_adj", "1000").context("cannot set the score of the command")?;
    let limits = [(Resource::RLIMIT_FSIZE, FILE_SIZE_LIMIT), (Resource::RLIMIT_CORE, 0)];
    for (resource, limit) in limits.into_iter().chain(addresses.map(|addresses| (Resource::RLIMIT_AS, addresses))) {
        let limit = at_most(resource, limit);
        setrlimit(resource, limit, limit).with_context(|| format!("cannot set {resource:?}"))?;
    }
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).context("cannot ask for the number of open files")?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.min(OPEN_FILES), hard.min(OPEN_FILES))
        .context("cannot limit the number of open files")
}

/// Looks up `program` in the image's own `PATH`, not in this process's.
fn find_program(program: &str, environment: &[(String, String)]) -> Result<PathBuf> {
    if program.contains('/') {
        return Ok(program.into());
    }
    let path = environment.iter().find(|(name, _)| name == "PATH").map_or("", |(_, value)| value);
    path.split(':')
        .map(|dir| Path::new(dir).join(program))
        .find(|file| file.is_file())
        .ok_or_else(|| Failure::build(format!("the image has no program `{program}`")).into())
}
