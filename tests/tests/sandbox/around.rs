//! What is around a command: processes, descriptors, devices, the kernel's own files.

use std::collections::BTreeMap;
use std::fs;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::os::unix::net::UnixListener;

use super::{Image, Test};

pub(super) const TESTS: [Test; 7] = [
    ("processes_of_others_are_not_reached", processes),
    ("open_files_of_the_build_are_not_passed_on", descriptors),
    ("the_kernel_is_not_steered", kernel),
    ("devices_are_neither_made_nor_changed", devices),
    ("rights_and_namespaces_are_exactly_these", rights),
    ("there_is_no_root_but_the_image", chroot),
    ("a_socket_without_a_file_is_not_reached", abstract_socket),
];

fn processes() {
    let said = Image::new("others").script(
        "echo $(ls /proc | grep -c '^[0-9]')
        for name in root/etc cwd/etc exe environ mem maps ns/mnt fd/0 fd/1 fd/3; do cat /proc/1/$name 2>&1 | grep -v 'Permission denied'; done
        kill -9 1; kill -STOP 1; kill -9 $(($$ + 1000)) 2>/dev/null || echo no such process
        ls -d /store /build /host 2>/dev/null
        trap '' TERM; sleep 1 & kill -TERM -1; wait; echo survived",
    );
    // PID 1, the shell, the substitution, `ls` and `grep`; signals to PID 1 are lost.
    let lines: Vec<&str> = said.lines().collect();
    assert!(["4", "5"].contains(&lines[0]), "{said}");
    let fds = lines.iter().filter(|line| line.contains("/proc/1/fd/")).count();
    let rest: Vec<&&str> = lines[1..].iter().filter(|line| !line.contains("/proc/1/fd/")).collect();
    // A descriptor that PID 1 does not have is not there, one that it has is refused.
    assert_eq!((rest, fds < 3), (vec![&"no such process", &"survived"], true), "{said}");
}

fn descriptors() {
    // As a build has them that forgot to close them at the start of programs.
    let open: Vec<fs::File> = (0..200).map(|_| fs::File::open("/build/canary").unwrap()).collect();
    for file in &open {
        inherit(file);
    }
    let said = Image::new("descriptors").script("ls /proc/self/fd | tr '\\n' ' '; cat /proc/self/fd/9 2>&1 || :");
    assert_eq!(said.lines().next().unwrap().split(' ').take(4).collect::<Vec<_>>(), ["0", "1", "2", "3"], "{said}");
    assert!(said.contains("No such file") && said.lines().count() == 1, "{said}");
}

#[expect(unsafe_code, reason = "a descriptor is made inheritable as by an old C library")]
fn inherit(file: &fs::File) {
    // SAFETY: the descriptor is open, and the flags are none.
    assert_eq!(unsafe { nix::libc::fcntl(file.as_raw_fd(), nix::libc::F_SETFD, 0) }, 0);
}

fn kernel() {
    let said = Image::new("kernel").script(
        "for name in sys/kernel/core_pattern sys/kernel/modprobe sys/vm/drop_caches sys/kernel/hostname sys/kernel/shmall \
            sys/net/ipv4/ip_forward sys/fs/binfmt_misc/register sysrq-trigger irq/default_smp_affinity; do
            (echo 1 > /proc/$name) 2>/dev/null && echo wrote $name
        done
        find /proc/sys /proc/bus /proc/irq /proc/fs /proc/sysrq-trigger -writable 2>/dev/null
        find /sys -mindepth 1
        head -c 1 /proc/kcore /proc/kmsg /proc/keys /proc/timer_list 2>/dev/null | grep -v '^==>' | grep .
        echo end",
    );
    assert_eq!(said, "end");
}

fn devices() {
    let look = || -> BTreeMap<_, _> {
        let entries = fs::read_dir("/dev").unwrap().map(|entry| entry.unwrap().path());
        let devices = entries.filter(|path| fs::metadata(path).is_ok_and(|it| it.file_type().is_char_device()));
        let seen = |path: &std::path::Path| {
            let metadata = fs::metadata(path).unwrap();
            (metadata.mode(), metadata.uid(), metadata.rdev(), metadata.mtime(), metadata.mtime_nsec())
        };
        devices.map(|path| (path.clone(), seen(&path))).collect()
    };
    let before = look();
    assert!(before.len() > 4, "{before:?}");
    let said = Image::new("devices").script(
        "cd /root
        for device in 'c 1 3' 'c 1 1' 'c 5 1' 'b 8 0' 'b 7 0' 'b 254 0'; do mknod device $device 2>/dev/null && echo made $device; done
        for name in null zero full random urandom tty; do
            touch -d @1 /dev/$name 2>/dev/null && echo touched $name
            touch /dev/$name 2>/dev/null && echo touched $name
            chmod 600 /dev/$name 2>/dev/null && echo changed $name
            rm -f /dev/$name 2>/dev/null && echo removed $name
        done
        echo x > /dev/null && head -c 2 /dev/zero | wc -c
        (: < /dev/tty) 2>/dev/null || echo no terminal
        ls /dev | tr '\\n' ' '",
    );
    assert_eq!(said, "2\nno terminal\nfd full null ptmx pts random shm stderr stdin stdout tty urandom zero ");
    assert_eq!(look(), before);
}

fn rights() {
    let said = Image::new("rights").script(
        "grep -E '^(Cap|NoNewPrivs|Seccomp:)' /proc/self/status | tr -d '\\t'
        tr -s ' ' < /proc/self/uid_map; tr -s ' ' < /proc/self/gid_map; cat /proc/self/setgroups
        ulimit -c; ulimit -H -n
        for space in cgroup ipc mnt net pid user uts; do readlink /proc/self/ns/$space; done
        env | sort",
    );
    let expected = [
        "CapInh:0000000000000000",
        "CapPrm:00000000800400fb",
        "CapEff:00000000800400fb",
        "CapBnd:00000000800400fb",
        "CapAmb:0000000000000000",
        "NoNewPrivs:1",
        "Seccomp:2",
        " 0 0 65536",
        " 0 0 65536",
        "allow",
        "0",
    ];
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines[..expected.len()], expected, "{said}");
    assert!(lines[expected.len()].parse::<u32>().unwrap() <= 8192, "{said}");
    for space in ["cgroup", "ipc", "mnt", "net", "pid", "user", "uts"] {
        let own = fs::read_link(format!("/proc/self/ns/{space}")).unwrap().display().to_string();
        assert!(said.contains(&format!("{space}:[")) && !said.contains(&own), "{space}: {said}");
    }
    let environment: Vec<&str> = lines.iter().skip_while(|line| !line.contains('=')).copied().collect();
    let names: Vec<&str> = environment.iter().filter_map(|line| line.split('=').next()).collect();
    let known = ["DEBIAN_FRONTEND", "HOME", "LC_ALL", "PATH", "PWD", "SYSTEMD_OFFLINE", "TERM", "container"];
    assert!(names.iter().all(|name| known.contains(name) || *name == "_" || *name == "OLDPWD"), "{said}");
}

fn chroot() {
    let said = Image::new("chroot").script("/attack attack chroot; mkdir /root/n; /attack attack chroot /root/n");
    for line in said.lines() {
        let names: Vec<&str> = line.split(' ').collect();
        assert!(names.contains(&"attack") && names.contains(&"etc"), "{said}");
        assert!(!names.contains(&"store") && !names.contains(&"build"), "{said}");
    }
    assert_eq!(said.lines().count(), 2, "{said}");
}

fn abstract_socket() {
    use std::os::linux::net::SocketAddrExt as _;
    // Root and an ordinary user try it at the same time, in one network.
    let place = tempfile::tempdir().unwrap();
    let name = format!("piimg-canary{}", place.path().file_name().unwrap().to_str().unwrap());
    let address = std::os::unix::net::SocketAddr::from_abstract_name(&name).unwrap();
    let _listener = UnixListener::bind_addr(&address).unwrap();
    std::os::unix::net::UnixStream::connect_addr(&address).unwrap();
    let said = Image::new("abstract").script(&format!("/attack attack abstract {name}"));
    assert_eq!(said, "ECONNREFUSED");
}
