//! What a command may ask of the kernel.

use super::{Image, Test};

pub(super) const TESTS: [Test; 3] = [
    ("calls_that_lead_out_are_refused", refused),
    ("calls_of_another_abi_are_fatal", other_abi),
    ("ordinary_programs_notice_nothing", ordinary),
];

const UNKNOWN: [&str; 6] = ["statmount", "clone3", "memfd_create", "memfd_secret", "io_setup", "x32"];
const NO_NETWORK: [&str; 6] = ["AF_VSOCK", "AF_ALG", "AF_PACKET", "AF_KEY", "AF_XDP", "netlink audit"];
const ALLOWED: [&str; 6] = ["AF_UNIX", "AF_INET", "AF_INET6", "netlink route", "current personality", "thread"];

fn refused() {
    let (output, text) = Image::new("refused").run(&["/attack", "attack", "calls"]);
    assert_eq!(output.status, 0, "{text}");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 53, "{text}");
    for line in lines {
        let (name, answer) = line.rsplit_once(' ').unwrap();
        let expected = match name {
            name if UNKNOWN.contains(&name) => "ENOSYS",
            name if NO_NETWORK.contains(&name) => "EAFNOSUPPORT",
            name if ALLOWED.contains(&name) => "allowed",
            _ => "EPERM",
        };
        assert_eq!(answer, expected, "{name}");
    }
}

fn other_abi() {
    let (output, text) = Image::new("other").run(&["/attack", "attack", "32-bit"]);
    if cfg!(target_arch = "x86_64") {
        assert_eq!(output.status, 128 + nix::libc::SIGSYS, "{text}");
        assert_eq!(text, "(killed by the box: it made a system call of another ABI, such as the 32-bit one)");
    }
}

fn ordinary() {
    let script = "grep -E '^(NoNewPrivs|Seccomp|Seccomp_filters):' /proc/self/status | tr '\t' ' '
        echo one | sort | tr a-z A-Z
        ( sleep 0.01 & wait )
        mkdir /var/tmp/d && touch /var/tmp/d/f && chown 1:1 /var/tmp/d/f && chmod 4755 /var/tmp/d/f && ls -ln /var/tmp/d/f | cut -c1-10
        setpriv --reuid 7 --clear-groups id -u";
    let (output, text) = Image::new("ordinary").run(&["sh", "-ec", script]);
    assert_eq!(output.status, 0, "{text}");
    assert_eq!(text, "NoNewPrivs: 1\nSeccomp: 2\nSeccomp_filters: 3\nONE\n-rwsr-xr-x\n7");
}
