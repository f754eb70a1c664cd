//! Plugins that misbehave on purpose, from the file to the message the user reads; the image is a directory.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use piimg::error::{Kind, Report, report};
use piimg::plugin::grant::{GrantSet, Granted};
use piimg::plugin::inspect::{PluginInfo, inspect, keep_code};
use piimg::plugin::run::{Run, RunReport, execute};
use piimg::plugin::workbench::Command;
use piimg::plugin::{CodeCache, CompileLimits, Engine, Limits};
use piimg_tests::directory::{Directory, image, image_info};
use piimg_tests::{engine, guest, piimg};

/// What a run left behind.
struct Ran {
    result: Result<RunReport, Report>,
    log: Vec<String>,
    commands: Vec<Command>,
    root: tempfile::TempDir,
}

impl Ran {
    fn read(&self, path: &str) -> Option<String> {
        std::fs::read_to_string(self.root.path().join(path)).ok()
    }

    /// The failure, which must be of this kind.
    fn failure(&self, kind: Kind) -> &Report {
        let report = self.result.as_ref().expect_err("the plugin must fail");
        assert_eq!(report.kind, kind, "{report:?}");
        report
    }
}

fn look(name: &str) -> Result<PluginInfo, Report> {
    inspect(&engine(), &guest(name), None).map_err(|error| report(&error))
}

fn run(name: &str, granted: &Granted, limits: Limits) -> Ran {
    run_in(image(), name, granted, limits)
}

fn run_in(root: tempfile::TempDir, name: &str, granted: &Granted, limits: Limits) -> Ran {
    run_plugin(root, &look(name).unwrap(), granted, &[], limits)
}

fn run_plugin(
    root: tempfile::TempDir,
    plugin: &PluginInfo,
    granted: &Granted,
    params: &[(&str, &str)],
    limits: Limits,
) -> Ran {
    run_with(&engine(), root, plugin, granted, params, limits)
}

fn run_with(
    engine: &Engine,
    root: tempfile::TempDir,
    plugin: &PluginInfo,
    granted: &Granted,
    params: &[(&str, &str)],
    limits: Limits,
) -> Ran {
    let grants = GrantSet::new(plugin, granted).unwrap();
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let run = Run { plugin, grants: &grants, image: image_info(), params, assets: BTreeMap::new(), limits };
    let mut bench = Directory::open(root.path());
    let mut log = Vec::new();
    let mut sink = |id: &str, _level, line: &str| log.push(format!("{id}: {line}"));
    let result = execute(engine, &run, &mut bench, &mut sink, None);
    Ran { result: result.map_err(|error| report(&error)), log, commands: bench.commands, root }
}

fn all() -> Granted {
    Granted { requested: true, ..Granted::default() }
}

#[test]
fn the_minimal_plugin_writes_its_note_and_runs_its_command() {
    let plugin = look("minimal").unwrap();
    let functions: Vec<String> = plugin
        .imports
        .iter()
        .filter(|import| import.name.starts_with("piimg:"))
        .map(|import| format!("{} {}", import.name, import.functions.join(" ")))
        .collect();
    // What it does not call is not there: it can neither read files nor install packages by itself.
    assert_eq!(
        functions,
        [
            "piimg:plugin/log write panicked",
            "piimg:plugin/context image",
            "piimg:plugin/fs write",
            "piimg:plugin/process run"
        ]
    );
    assert_eq!(plugin.conf.image.hostname.as_deref(), Some("piimg-minimal"));
    let scopes: Vec<&str> = plugin.requests.iter().map(|request| request.scope.as_str()).collect();
    assert_eq!(scopes, ["pkg:install:htop", "fs:write:/etc/piimg-minimal", "exec:htop --version"]);

    let ran = run("minimal", &all(), Limits::EXECUTE);
    let report = ran.result.as_ref().unwrap();
    assert_eq!(ran.read("etc/piimg-minimal").unwrap().lines().next(), Some("HOSTNAME=box"));
    assert_eq!((ran.commands[0].program.as_str(), ran.commands[0].args.join(" ")), ("htop", "--version".to_owned()));
    assert_eq!(ran.log, ["piimg/minimal: box is ready with htop 3.2.2"]);
    let used: Vec<&str> = report.uses.keys().map(String::as_str).collect();
    assert_eq!(used, ["exec:htop --version", "fs:write:/etc/piimg-minimal"]);
    let again = run("minimal", &all(), Limits::EXECUTE);
    assert_eq!(again.result.unwrap().fuel, report.fuel, "a run is deterministic to the instruction");
}

#[test]
fn kept_code_is_used_and_damaged_code_replaced() {
    let store = tempfile::tempdir().unwrap();
    let directory = store.path().join("compiled");
    // A file that is written anew is another one.
    let file = || {
        let mut entries = std::fs::read_dir(&directory).unwrap().map(Result::unwrap);
        let entry = entries.next().unwrap();
        assert!(entries.next().is_none(), "there is one plugin");
        (entry.path(), entry.metadata().unwrap().ino())
    };
    let cached = || {
        let plugin = inspect(&engine(), &guest("panics"), CodeCache::open(&directory).as_ref()).unwrap();
        keep_code(&directory, [&plugin].into_iter()).unwrap();
        plugin
    };
    cached();
    let kept = file();
    let plugin = cached();
    assert_eq!(file(), kept, "it was compiled again");
    let ran = run_plugin(image(), &plugin, &all(), &[], Limits::EXECUTE);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(message.contains("panics/src/lib.rs:14:9)"), "{message}");

    let mut code = std::fs::read(&kept.0).unwrap();
    let middle = code.len() / 2;
    code[middle] ^= 1;
    std::fs::write(&kept.0, code).unwrap();
    let plugin = cached();
    assert_ne!(file(), kept, "damaged code was used");
    run_plugin(image(), &plugin, &all(), &[], Limits::EXECUTE).failure(Kind::Plugin);
}

#[test]
fn a_plugin_makes_as_many_calls_as_it_was_told() {
    let plugin = look("busy").unwrap();
    for (kind, use_of) in
        [("log", None), ("param", None), ("stat", Some("fs:read:/opt/busy")), ("write", Some("fs:write:/opt/busy"))]
    {
        let calls = |count: &str| {
            let params = [("kind", kind), ("count", count), ("bytes", "10")];
            let ran = run_plugin(image(), &plugin, &all(), &params, Limits::EXECUTE);
            let report = ran.result.as_ref().unwrap();
            let uses = report.uses.iter().map(|(scope, uses)| (scope.clone(), uses.allowed)).collect::<Vec<_>>();
            assert!(report.first_call.is_some());
            (report.calls, uses, ran.read("opt/busy").unwrap_or_default())
        };
        let (none, some) = (calls("0"), calls("70"));
        assert_eq!(some.0 - none.0, 70, "{kind}");
        assert_eq!(some.1, use_of.map(|scope| (scope.to_owned(), 70)).into_iter().collect::<Vec<_>>());
        assert_eq!(some.2, if kind == "write" { "xxxxxxxxxx" } else { "" });
    }
}

#[test]
fn a_plugin_carries_as_much_as_it_was_told() {
    let plugin = look("carries").unwrap();
    let ran = run_plugin(image(), &plugin, &all(), &[("mib", "5")], Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    let length = |name: &str| std::fs::metadata(ran.root.path().join("opt/carries").join(name)).map(|file| file.len());
    assert_eq!((length("0").unwrap(), length("1").unwrap()), (4 << 20, 1 << 20));
    assert!(length("2").is_err() && length("load").is_err());
}

#[test]
fn missing_grants_are_known_before_anything_runs() {
    let plugin = look("minimal").unwrap();
    let failure = GrantSet::new(&plugin, &Granted::default()).unwrap().check().expect("nothing is granted by default");
    let report = report(&failure.into());
    assert_eq!(report.kind, Kind::Grant);
    for scope in ["pkg:install:htop", "fs:write:/etc/piimg-minimal", "exec:htop --version"] {
        assert!(report.messages[0].contains(scope), "{report:?}");
        assert!(report.hints[0].contains(&format!("--grant '{scope}'")), "{report:?}");
        assert!(report.hints[1].contains(&format!("\"{scope}\"")), "{report:?}");
    }
}

#[test]
fn a_panic_names_the_plugin_the_message_and_the_line() {
    let ran = run("panics", &all(), Limits::EXECUTE);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(
        message.starts_with("the plugin `test/panics` panicked in execute(): the shelf has 0 books ("),
        "{message}"
    );
    assert!(message.contains("panics/src/lib.rs:14:9)"), "{message}");
}

#[test]
fn a_loop_is_stopped_by_time_and_by_fuel() {
    let time = Limits { time: Duration::from_millis(300), ..Limits::EXECUTE };
    let ran = run("loops", &all(), time);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(
        message.starts_with("the plugin `test/loops` was stopped in execute(): it ran for longer than 0.3 s in `"),
        "{message}"
    );
    assert!(message.contains("loops/src/lib.rs:"), "{message}");

    let fuel = Limits { fuel: 10_000_000, ..Limits::EXECUTE };
    let ran = run("loops", &all(), fuel);
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(message.contains("it used more than 10000000 instructions in `"), "{message}");
    assert!(message.contains("loops/src/lib.rs:"), "{message}");
}

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
        ["the plugin `test/loops` was stopped in execute(): it lost its process to signal 9"]
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

#[test]
fn memory_without_end_is_stopped_where_it_was_asked_for() {
    let ran = run("allocates", &all(), Limits { memory: 32 << 20, ..Limits::EXECUTE });
    let message = &ran.failure(Kind::Plugin).messages[0];
    assert!(
        message.contains("`test/allocates` was stopped in execute(): it used more than 32 MiB of memory in `"),
        "{message}"
    );
    assert!(message.contains("allocates/src/lib.rs:"), "{message}");
}

#[test]
fn a_call_without_grant_is_refused_and_says_what_was_needed() {
    let granted = Granted {
        scopes: vec!["fs:write:/etc/allowed".into(), "fs:read:/**".into(), "exec:sh **".into()],
        ..Granted::default()
    };
    let ran = run("denied", &granted, Limits::EXECUTE);
    assert_eq!(
        ran.log,
        [
            "test/denied: optional granted: false",
            "test/denied: needed: fs:read:/etc/allowed",
            "test/denied: needed: fs:write:/etc/allowed2",
            "test/denied: needed: fs:write:/etc/elsewhere",
            "test/denied: needed: exec:sh -c *",
            "test/denied: needed: pkg:install:nano",
        ]
    );
    let report = ran.failure(Kind::Grant);
    assert_eq!(report.messages, ["the plugin `test/denied` failed", "`fs:write:/etc/passwd` was not requested"]);
    assert_eq!(report.hints, ["it is for the author of `test/denied` to request it in conf()"]);
    assert_eq!(ran.read("etc/allowed").as_deref(), Some("fine\n"));
    assert_eq!((ran.read("etc/allowed2"), ran.read("etc/elsewhere"), ran.commands.len()), (None, None, 0));
    assert_eq!(ran.read("etc/passwd").as_deref(), Some("root:x:0:0:root:/root:/bin/bash\n"));
}

#[test]
fn a_request_that_was_not_granted_says_how_to_grant_it() {
    let ran = run("denied", &Granted::default(), Limits::EXECUTE);
    let report = ran.failure(Kind::Grant);
    assert_eq!(report.messages[1], "`fs:write:/etc/allowed` was requested, but not granted");
    assert_eq!(report.hints, ["to allow it: --grant 'fs:write:/etc/allowed'"]);
    assert_eq!(ran.read("etc/allowed"), None);
}

#[test]
fn a_link_in_its_own_directory_is_no_way_out() {
    let ran = run("escapes", &all(), Limits::EXECUTE);
    for path in ["/opt/own/link", "/opt/own/dir/shadow", "/opt/own/../../etc/shadow"] {
        for kind in ["write", "read"] {
            let line = format!("test/escapes: {path}: ErrorCode::Denied fs:{kind}:/etc/shadow");
            assert!(ran.log.contains(&line), "{line} is not in {:?}", ran.log);
        }
    }
    let message = &ran.failure(Kind::Grant).messages[1];
    assert_eq!(message, "`fs:write:/etc/shadow` was not requested");
    assert_eq!(ran.read("etc/shadow").as_deref(), Some("root:secret\n"));
    assert_eq!((ran.read("etc/none"), ran.read("opt/own/loot")), (None, None));
}

#[test]
fn an_error_is_told_with_its_causes() {
    let ran = run("fails", &all(), Limits::EXECUTE);
    assert_eq!(
        ran.failure(Kind::Plugin).messages,
        ["the plugin `test/fails` failed", "cannot count the books", "invalid digit found in string"]
    );
}

#[test]
fn conf_cannot_call_the_host() {
    let report = look("conf-imports").unwrap_err();
    assert_eq!(report.kind, Kind::Plugin);
    assert!(report.messages[0].contains("failed: it called `piimg:plugin/context@0.1.0#image`"), "{report:?}");
    assert!(report.messages[0].contains("conf-imports/src/lib.rs:9)"), "{report:?}");
    assert!(report.hints[0].contains("move the call to execute()"), "{report:?}");
}

#[test]
fn a_plugin_with_sockets_is_refused_before_it_runs() {
    let report = look("sockets").unwrap_err();
    assert_eq!(report.kind, Kind::Usage);
    assert!(report.messages[0].contains("imports `wasi:sockets/"), "{report:?}");
    assert!(report.messages[0].ends_with("but a plugin has no network"), "{report:?}");
}
