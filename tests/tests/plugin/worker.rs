//! The process in which a plugin is compiled and run.

use super::*;

/// The worker that a thread of this process has started.
fn worker_of(thread: u32) -> u32 {
    let children = format!("/proc/self/task/{thread}/children");
    for _ in 0..2000 {
        let found = std::fs::read_to_string(&children).unwrap();
        if let Some(pid) = found.split_whitespace().next() {
            return pid.parse().unwrap();
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    panic!("no worker was started");
}

/// Runs a plugin that loops, and does `meanwhile` with the process in which it does.
fn loop_and<T>(limits: Limits, meanwhile: impl FnOnce(u32) -> T) -> (Ran, T) {
    let plugin = look("loops").unwrap();
    let (tell, thread) = std::sync::mpsc::channel();
    std::thread::scope(|scope| {
        let ran = scope.spawn(move || {
            tell.send(nix::unistd::gettid().as_raw()).unwrap();
            run_plugin(image(), &plugin, &all(), &[], limits)
        });
        let worker = worker_of(thread.recv().unwrap().cast_unsigned());
        let seen = meanwhile(worker);
        (ran.join().unwrap(), seen)
    })
}

#[test]
fn a_worker_that_is_killed_is_a_failure_of_its_plugin() {
    let (ran, ()) = loop_and(Limits::EXECUTE, |worker| {
        std::thread::sleep(Duration::from_millis(300));
        let pid = nix::unistd::Pid::from_raw(worker.cast_signed());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGKILL).unwrap();
    });
    assert_eq!(
        ran.failure(Kind::Plugin).messages,
        ["the plugin `test/loops` was stopped in execute(): it lost its process, which was killed, most \
          likely because the machine had no memory left"]
    );
}

#[test]
fn a_worker_has_nothing_but_its_socket() {
    let limits = Limits { time: Duration::from_secs(2), ..Limits::EXECUTE };
    let (ran, (status, links, root)) = loop_and(limits, |worker| {
        std::thread::sleep(Duration::from_millis(700));
        let dir = std::path::PathBuf::from(format!("/proc/{worker}"));
        let link = |name: &str| std::fs::read_link(dir.join(name)).unwrap().display().to_string();
        let mut links: Vec<String> = std::fs::read_dir(dir.join("fd"))
            .unwrap()
            .map(|entry| link(&format!("fd/{}", entry.unwrap().file_name().to_str().unwrap())))
            .collect();
        links.sort();
        for space in ["user", "mnt", "net", "ipc", "uts"] {
            let own = std::fs::read_link(format!("/proc/self/ns/{space}")).unwrap().display().to_string();
            assert_ne!(link(&format!("ns/{space}")), own, "are user namespaces allowed here?");
        }
        let root = std::fs::read_dir(dir.join("root")).unwrap().count();
        (std::fs::read_to_string(dir.join("status")).unwrap(), links, root)
    });
    assert!(ran.failure(Kind::Plugin).messages[0].contains("it ran for longer than 2"), "{:?}", ran.result);
    let field = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(&format!("{name}:"))).unwrap();
        line.split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
    };
    for set in ["CapEff", "CapPrm", "CapInh", "CapAmb"] {
        assert_eq!(field(set), "0000000000000000", "{set}");
    }
    assert_eq!((field("NoNewPrivs"), field("Seccomp"), field("Groups")), ("1".into(), "2".into(), field("Groups")));
    if nix::unistd::getuid().is_root() {
        assert_eq!((field("Uid"), field("Groups")), ("65534 65534 65534 65534".into(), String::new()));
    }
    assert_eq!(links[..3], ["/dev/null", "/dev/null", "/dev/null"]);
    assert!(links[3].starts_with("/memfd:plugin") && links[4].starts_with("socket:"), "{links:?}");
    assert_eq!((links.len(), root), (5, 0));
}

#[test]
fn compiling_is_limited_in_time_and_memory() {
    let compile = |limits| {
        let engine = Engine::of(piimg(), limits).unwrap();
        let report = report(&inspect(&engine, &guest("busy"), None).unwrap_err());
        assert_eq!(report.kind, Kind::Usage);
        assert!(report.messages[0].starts_with("cannot compile the plugin `"), "{report:?}");
        report.messages[0].clone()
    };
    let message = compile(CompileLimits { time: Duration::from_millis(20), ..CompileLimits::USUAL });
    assert!(message.contains("busy.wasm`: it took longer than 0.0 s"), "{message}");
    let message = compile(CompileLimits { memory: 8 << 20, ..CompileLimits::USUAL });
    assert!(message.contains("it needs more than the 8 MiB of memory that it may use"), "{message}");
    look("busy").unwrap();
}

#[test]
fn a_worker_that_sends_garbage_is_stopped() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("worker");
    std::fs::write(&program, "#!/bin/bash\n[[ $2 =~ socket..([0-9]+) ]] && yes >&${BASH_REMATCH[1]}\n").unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
    let engine = Engine::of(program, CompileLimits::USUAL).unwrap();
    let ran = run_with(&engine, image(), &look("fails").unwrap(), &all(), &[], Limits::EXECUTE);
    assert_eq!(
        ran.failure(Kind::Plugin).messages,
        [
            "the plugin `test/fails` was stopped in execute(): it did not keep to the protocol and was killed: its process \
          sent a message that is too long"
        ]
    );
}
