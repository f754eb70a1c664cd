//! What the attacked box runs.

#![expect(clippy::print_stdout, reason = "what an attack finds out is read from its standard output")]

use std::io::{Read as _, Write as _};

use nix::libc::{self, c_long};

pub(super) fn main(arguments: &[String]) {
    match arguments[0].as_str() {
        "calls" => calls(),
        "32-bit" => old_calls(),
        "ask" => ask(&arguments[1], &arguments[2]),
        "abstract" => connect_abstract(&arguments[1]),
        "chroot" => chroot(arguments.get(1).map_or("/etc", String::as_str)),
        "deep" => deep(arguments[1].parse().unwrap()),
        "shared" => shared_memory(),
        "tables" => page_tables(),
        "xattr" => set_attribute(&arguments[1], &arguments[2]),
        other => panic!("no attack {other}"),
    }
}

/// Sends a text to an address and prints the answer.
fn ask(address: &str, text: &str) {
    let answer = (|| -> std::io::Result<String> {
        let mut socket = std::net::TcpStream::connect(address)?;
        socket.write_all(text.as_bytes())?;
        let mut answer = Vec::new();
        // Whatever came before the connection was cut counts.
        socket.read_to_end(&mut answer).ok();
        Ok(String::from_utf8_lossy(&answer).into_owned())
    })();
    println!("{}", answer.unwrap_or_else(|error| error.to_string()));
}

/// Connects to a socket that has a name and no file.
fn connect_abstract(name: &str) {
    use std::os::linux::net::SocketAddrExt as _;
    let address = std::os::unix::net::SocketAddr::from_abstract_name(name).unwrap();
    match std::os::unix::net::UnixStream::connect_addr(&address) {
        Ok(_) => println!("connected"),
        Err(error) => println!("{:?}", nix::errno::Errno::from_raw(error.raw_os_error().unwrap())),
    }
}

/// Leaves a root directory that it has a descriptor above of, and lists where it ends up.
fn chroot(place: &str) {
    let above = std::fs::File::open("/").unwrap();
    nix::unistd::chroot(place).unwrap();
    nix::unistd::fchdir(&above).unwrap();
    for _ in 0..100 {
        nix::unistd::chdir("..").unwrap();
    }
    nix::unistd::chroot(".").unwrap();
    let names = std::fs::read_dir("/").unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    println!("{}", names.collect::<Vec<_>>().join(" "));
}

/// Directories in one another, beyond the length of any path.
fn deep(levels: u32) {
    for _ in 0..levels {
        std::fs::create_dir("d").unwrap();
        nix::unistd::chdir("d").unwrap();
    }
}

/// Sets an attribute and says if it could.
#[expect(unsafe_code, reason = "there is no safe wrapper among the tests' crates")]
fn set_attribute(path: &str, name: &str) {
    let text = |text: &str| std::ffi::CString::new(text).unwrap();
    let (path, key) = (text(path), text(name));
    // SAFETY: all pointers are to memory that outlives the call, of the length that is said.
    say(name, unsafe { libc::lsetxattr(path.as_ptr(), key.as_ptr(), b"y".as_ptr().cast(), 1, 0) }.into());
}

/// Takes shared memory of System V until there is no more, and says how many pieces of a MiB it got.
#[expect(unsafe_code, reason = "there is no safe wrapper")]
fn shared_memory() {
    // SAFETY: the calls take no memory of this process.
    let take = || unsafe { libc::shmget(libc::IPC_PRIVATE, 1 << 20, libc::IPC_CREAT | 0o600) };
    let count = (0..5000).take_while(|_| take() >= 0).count();
    println!("{count} {:?}", nix::errno::Errno::last());
}

/// Reads memory that was never written to: it takes nothing but the tables that say so.
#[expect(unsafe_code, reason = "the memory is mapped as an attacker does it")]
fn page_tables() {
    const STEP: usize = 2 << 20;
    let length = STEP << 17;
    let (protection, flags) = (libc::PROT_READ, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
    // SAFETY: a new mapping at a place of the kernel's choice.
    let start = unsafe { libc::mmap(std::ptr::null_mut(), length, protection, flags, -1, 0) };
    assert_ne!(start, libc::MAP_FAILED, "{}", std::io::Error::last_os_error());
    for offset in (0..length).step_by(STEP) {
        // SAFETY: within the mapping, which is readable and full of zeroes.
        assert_eq!(unsafe { start.cast::<u8>().add(offset).read_volatile() }, 0);
    }
    std::thread::sleep(std::time::Duration::from_secs(99));
}

fn say(name: &str, result: c_long) {
    let answer = if result < 0 { format!("{:?}", nix::errno::Errno::last()) } else { "allowed".to_owned() };
    println!("{name} {answer}");
}

/// The answer to each call that matters, whatever its arguments mean.
#[expect(unsafe_code, reason = "the calls are made as an attacker makes them")]
fn calls() {
    let number = |value: libc::c_int| c_long::from(value);
    for (name, call, first, second, third) in [
        ("mount", libc::SYS_mount, 0, 0, 0),
        ("umount", libc::SYS_umount2, 0, 0, 0),
        ("pivot_root", libc::SYS_pivot_root, 0, 0, 0),
        ("fsopen", libc::SYS_fsopen, 0, 0, 0),
        ("open_tree", libc::SYS_open_tree, 0, 0, 0),
        ("move_mount", libc::SYS_move_mount, 0, 0, 0),
        ("mount_setattr", libc::SYS_mount_setattr, 0, 0, 0),
        ("statmount", 457, 0, 0, 0),
        ("unshare mount", libc::SYS_unshare, number(libc::CLONE_NEWNS), 0, 0),
        ("unshare user", libc::SYS_unshare, number(libc::CLONE_NEWUSER), 0, 0),
        ("setns", libc::SYS_setns, 0, 0, 0),
        ("clone user", libc::SYS_clone, number(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0),
        ("clone net", libc::SYS_clone, number(libc::CLONE_NEWNET | libc::SIGCHLD), 0, 0),
        ("clone3", libc::SYS_clone3, 0, 0, 0),
        ("ptrace", libc::SYS_ptrace, 0, 0, 0),
        ("process_vm_readv", libc::SYS_process_vm_readv, 1, 0, 0),
        ("pidfd_getfd", libc::SYS_pidfd_getfd, 0, 0, 0),
        ("kcmp", libc::SYS_kcmp, 1, 1, 0),
        ("bpf", libc::SYS_bpf, 0, 0, 0),
        ("perf_event_open", libc::SYS_perf_event_open, 0, 0, 0),
        ("userfaultfd", libc::SYS_userfaultfd, 1, 0, 0),
        ("io_uring_setup", libc::SYS_io_uring_setup, 1, 0, 0),
        ("fanotify_init", libc::SYS_fanotify_init, 0, 0, 0),
        ("keyctl", libc::SYS_keyctl, 0, 0, 0),
        ("add_key", libc::SYS_add_key, 0, 0, 0),
        ("request_key", libc::SYS_request_key, 0, 0, 0),
        ("kexec_load", libc::SYS_kexec_load, 0, 0, 0),
        ("init_module", libc::SYS_init_module, 0, 0, 0),
        ("finit_module", libc::SYS_finit_module, 0, 0, 0),
        ("reboot", libc::SYS_reboot, 0, 0, 0),
        ("swapon", libc::SYS_swapon, 0, 0, 0),
        ("settimeofday", libc::SYS_settimeofday, 0, 0, 0),
        ("sethostname", libc::SYS_sethostname, 0, 0, 0),
        ("open_by_handle_at", libc::SYS_open_by_handle_at, 0, 0, 0),
        ("memfd_create", libc::SYS_memfd_create, 0, 0, 0),
        ("io_setup", libc::SYS_io_setup, 1, 0, 0),
        ("memfd_secret", libc::SYS_memfd_secret, 0, 0, 0),
        ("TIOCSTI", libc::SYS_ioctl, 0, c_long::try_from(libc::TIOCSTI).unwrap(), 0),
        ("TIOCLINUX", libc::SYS_ioctl, 0, c_long::try_from(libc::TIOCLINUX).unwrap(), 0),
        ("personality", libc::SYS_personality, 0x4_0000, 0, 0),
        ("AF_VSOCK", libc::SYS_socket, number(libc::AF_VSOCK), number(libc::SOCK_STREAM), 0),
        ("AF_ALG", libc::SYS_socket, number(libc::AF_ALG), number(libc::SOCK_SEQPACKET), 0),
        ("AF_PACKET", libc::SYS_socket, number(libc::AF_PACKET), number(libc::SOCK_RAW), 0),
        ("AF_KEY", libc::SYS_socket, number(libc::AF_KEY), number(libc::SOCK_RAW), 2),
        ("AF_XDP", libc::SYS_socket, number(libc::AF_XDP), number(libc::SOCK_RAW), 0),
        ("netlink audit", libc::SYS_socket, number(libc::AF_NETLINK), number(libc::SOCK_RAW), 9),
        ("AF_UNIX", libc::SYS_socket, number(libc::AF_UNIX), number(libc::SOCK_STREAM), 0),
        ("AF_INET", libc::SYS_socket, number(libc::AF_INET), number(libc::SOCK_STREAM), 0),
        ("AF_INET6", libc::SYS_socket, number(libc::AF_INET6), number(libc::SOCK_DGRAM), 0),
        ("netlink route", libc::SYS_socket, number(libc::AF_NETLINK), number(libc::SOCK_RAW), 0),
        ("current personality", libc::SYS_personality, 0xffff_ffff, 0, 0),
    ] {
        // SAFETY: none of them is given memory, and what is allowed of them changes nothing here.
        say(name, unsafe { libc::syscall(call, first, second, third, 0, 0, 0) });
    }
    // SAFETY: the x32 number of getpid.
    say("x32", unsafe { libc::syscall(0x4000_0000 | 39) });
    println!("thread {}", std::thread::spawn(|| "allowed").join().unwrap());
}

/// The calls of 32-bit programs are other calls, with other arguments.
#[cfg(target_arch = "x86_64")]
#[expect(unsafe_code, reason = "the 32-bit way into the kernel")]
fn old_calls() {
    let mut answer = 20_u64;
    // SAFETY: getpid of the 32-bit ABI changes nothing but the register of the answer.
    unsafe {
        std::arch::asm!("int 0x80", inout("rax") answer, out("r8") _, out("r9") _, out("r10") _, out("r11") _);
    }
    println!("still alive as {answer}");
}

#[cfg(not(target_arch = "x86_64"))]
fn old_calls() {
    println!("this processor has no such calls");
}
