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
    requests: Vec<String>,
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
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let grants = GrantSet::new(plugin, &params, granted).unwrap();
    let run = Run { plugin, grants: &grants, image: image_info(), params, assets: BTreeMap::new(), limits };
    let mut bench = Directory::open(root.path());
    let mut log = Vec::new();
    let mut sink = |id: &str, _level, line: &str| log.push(format!("{id}: {line}"));
    let result = execute(engine, &run, &mut bench, &mut sink, None);
    Ran {
        result: result.map_err(|error| report(&error)),
        log,
        commands: bench.commands,
        requests: bench.requests,
        root,
    }
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
    let grants = GrantSet::new(&plugin, &BTreeMap::new(), &Granted::default()).unwrap();
    let failure = grants.check().expect("nothing is granted by default");
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

/// Runs the guest `settings` for one interface; what it was told about each call.
fn settings(root: tempfile::TempDir, of: &str, granted: &Granted) -> (Ran, Vec<String>) {
    let ran = run_plugin(root, &look("settings").unwrap(), granted, &[("of", of)], Limits::EXECUTE);
    ran.result.as_ref().unwrap();
    let told = ran.log.iter().map(|line| line.trim_start_matches("test/settings: ").to_owned()).collect();
    (ran, told)
}

const CONFIG: &str = "# mine\ndtparam=audio=on\nkernel=vmlinuz\n";
const CMDLINE: &str = "console=tty1 root=PARTUUID={root_partuuid} rootwait\n";

fn image_with_boot_files() -> tempfile::TempDir {
    let root = image();
    let boot = root.path().join("boot/firmware");
    std::fs::create_dir_all(&boot).unwrap();
    std::fs::write(boot.join("config.txt"), CONFIG).unwrap();
    std::fs::write(boot.join("cmdline.txt"), CMDLINE).unwrap();
    root
}

#[test]
fn boot_settings_change_only_the_keys_that_were_granted() {
    let (ran, told) = settings(image_with_boot_files(), "boot", &all());
    let expected = [
        "set: ()",
        "add: true",
        "again: false",
        "values: [\"audio=on\", \"i2c_arm=on\"]",
        "remove: 1",
        "other key: needs boot:config:kernel",
        "two lines: a value of config.txt is ASCII text of one line, without space at its ends",
        "two in one: a section's name has letters, digits and `_-+.:=`, such as `pi4`, and is not `none`",
        "parameter: ()",
        "two parameters: a parameter's name begins with a letter or digit and has no others but `_`, `-` and `.`",
        "init: needs boot:cmdline:init",
        "root: `root` is set by piimg, for each image anew",
    ];
    assert_eq!(told, expected);
    let config = "# mine\nkernel=vmlinuz\n[pi4]\ngpu_mem=64\n[all]\ndtparam=i2c_arm=on\n";
    assert_eq!(ran.read("boot/firmware/config.txt").as_deref(), Some(config));
    let cmdline = "console=tty1 root=PARTUUID={root_partuuid} rootwait quiet\n";
    assert_eq!(ran.read("boot/firmware/cmdline.txt").as_deref(), Some(cmdline));
    assert_eq!(ran.read("etc/default/raspi-firmware-custom"), None);
}

#[test]
fn boot_settings_without_grant_change_nothing() {
    let (ran, told) = settings(image_with_boot_files(), "boot", &Granted::default());
    for call in
        ["set: needs boot:config:gpu_mem", "values: needs boot:config:dtparam", "parameter: needs boot:cmdline:quiet"]
    {
        assert!(told.contains(&call.to_owned()), "{call} is not in {told:?}");
    }
    assert_eq!(ran.read("boot/firmware/config.txt").as_deref(), Some(CONFIG));
    assert_eq!(ran.read("boot/firmware/cmdline.txt").as_deref(), Some(CMDLINE));
}

#[test]
fn a_link_at_the_place_of_a_boot_file_is_no_way_out() {
    let root = image_with_boot_files();
    let config = root.path().join("boot/firmware/config.txt");
    std::fs::remove_file(&config).unwrap();
    std::os::unix::fs::symlink("/etc/shadow", &config).unwrap();
    let (ran, told) = settings(root, "boot", &all());
    assert_eq!(told[0], "set: `/boot/firmware/config.txt` is no regular file");
    assert_eq!(told[3], "values: `/boot/firmware/config.txt` is no regular file");
    assert_eq!(ran.read("etc/shadow").as_deref(), Some("root:secret\n"));
}

#[test]
fn boot_settings_outlive_the_script_that_makes_the_files() {
    let root = image_with_boot_files();
    for (path, content) in
        [("etc/default/raspi-firmware-custom", "disable_splash=1\n"), ("etc/kernel/postinst.d/z50-raspi-firmware", "")]
    {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let (ran, _) = settings(root, "boot", &all());
    let custom = "disable_splash=1\n[pi4]\ngpu_mem=64\n[all]\ndtparam=i2c_arm=on\n";
    assert_eq!(ran.read("etc/default/raspi-firmware-custom").as_deref(), Some(custom));
    assert_eq!(ran.read("etc/default/raspi-extra-cmdline").as_deref(), Some("quiet"));
    assert!(ran.read("boot/firmware/config.txt").unwrap().ends_with("dtparam=i2c_arm=on\n"));
}

/// Units as packages bring them, and two links as they make them.
fn image_with_units() -> tempfile::TempDir {
    let root = image();
    let lib = root.path().join("usr/lib/systemd/system");
    let wants = root.path().join("etc/systemd/system/multi-user.target.wants");
    for directory in [&lib, &wants] {
        std::fs::create_dir_all(directory).unwrap();
    }
    for (name, install) in [
        ("ssh.service", "WantedBy=multi-user.target\nAlias=sshd.service"),
        ("ssh.socket", "WantedBy=sockets.target"),
        ("getty@.service", "WantedBy=getty.target\nDefaultInstance=tty1"),
        ("apt-daily.timer", "WantedBy=timers.target"),
        ("alias.service", "WantedBy=multi-user.target\nAlias=ssh.service"),
    ] {
        std::fs::write(lib.join(name), format!("[Unit]\n[Install]\n{install}\n")).unwrap();
    }
    let link = |target: &str, at: &str| std::os::unix::fs::symlink(target, root.path().join(at)).unwrap();
    link("/lib/systemd/system/ssh.service", "etc/systemd/system/multi-user.target.wants/ssh.service");
    link("/lib/systemd/system/ssh.service", "etc/systemd/system/sshd.service");
    root
}

/// Names and targets of all links below `/etc/systemd/system`, sorted.
fn unit_links(ran: &Ran) -> Vec<String> {
    let mut links = Vec::new();
    let mut directories = vec![ran.root.path().join("etc/systemd/system")];
    while let Some(directory) = directories.pop() {
        for entry in std::fs::read_dir(directory).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                directories.push(entry.path());
            } else if let Ok(target) = std::fs::read_link(entry.path()) {
                let path = entry.path();
                let name = path.strip_prefix(ran.root.path().join("etc/systemd/system")).unwrap();
                links.push(format!("{} {}", name.display(), target.display()));
            }
        }
    }
    links.sort();
    links
}

#[test]
fn units_get_the_links_that_systemctl_would_make() {
    let (ran, told) = settings(image_with_units(), "services", &all());
    let expected = [
        "install: ()",
        "enable: true",
        "again: false",
        "drop-in: ()",
        "instance: true",
        "disable: true",
        "mask: true",
        "unmask: true",
        "missing: needs svc:enable:getty@.timer",
        "other: needs svc:enable:ssh.service",
        "path: `../../passwd.service` is no unit: a unit's name has letters, digits and `:_.\\-`, at most one `@`, and begins with none of `.-@`",
        "part: `../../../x` is no name of a drop-in: letters, digits, `_` and `-`",
        "alias: cannot enable `alias.service`: its alias `ssh.service` is a unit already",
        "also: ()",
        "with also: needs svc:enable:ssh.socket",
    ];
    assert_eq!(told, expected);
    let expected = [
        "getty.target.wants/getty@ttyS1.service /usr/lib/systemd/system/getty@.service",
        "multi-user.target.wants/app.service /etc/systemd/system/app.service",
    ];
    assert_eq!(unit_links(&ran), expected);
    assert_eq!(ran.read("etc/systemd/system/app.service.d/10-nice.conf").as_deref(), Some("[Service]\nNice=5\n"));
    assert!(ran.commands.is_empty());
}

#[test]
fn units_without_grant_stay_as_they_are() {
    let (ran, told) = settings(image_with_units(), "services", &Granted::default());
    for call in [
        "install: needs svc:install:app.service",
        "enable: needs svc:enable:app.service",
        "drop-in: needs svc:install:app.service",
        "disable: needs svc:disable:ssh.service",
        "mask: needs svc:mask:apt-daily.timer",
    ] {
        assert!(told.contains(&call.to_owned()), "{call} is not in {told:?}");
    }
    assert_eq!(unit_links(&ran).len(), 2);
    assert_eq!(ran.read("etc/systemd/system/app.service"), None);
}

#[test]
fn a_link_at_the_place_of_units_is_no_way_out() {
    let root = image_with_units();
    std::fs::remove_dir_all(root.path().join("etc/systemd")).unwrap();
    std::os::unix::fs::symlink("/opt", root.path().join("etc/systemd")).unwrap();
    std::fs::create_dir(root.path().join("opt/system")).unwrap();
    let (ran, told) = settings(root, "services", &all());
    assert_eq!(
        told[0],
        "install: `/etc/systemd/system/app.service` is really `/opt/system/app.service`: a link is in the way"
    );
    assert_eq!(std::fs::read_dir(ran.root.path().join("opt/system")).unwrap().count(), 0);
}

fn image_with_accounts() -> tempfile::TempDir {
    let root = image();
    let etc = root.path().join("etc");
    std::fs::create_dir(etc.join("skel")).unwrap();
    for (name, text) in [
        ("passwd", "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n"),
        ("group", "root:x:0:\nsudo:x:27:\nvideo:x:44:\n"),
        ("shadow", "root:*:19000:0:99999:7:::\n"),
        ("gshadow", "root:*::\nsudo:*::\nvideo:*::\n"),
        ("subuid", ""),
        ("subgid", ""),
        ("login.defs", "UMASK 022\nHOME_MODE\t0750\n"),
        ("skel/.profile", "hello\n"),
    ] {
        std::fs::write(etc.join(name), text).unwrap();
    }
    root
}

#[test]
fn accounts_are_made_as_useradd_would() {
    let (ran, told) = settings(image_with_accounts(), "users", &all());
    let expected = [
        "group: true",
        "user: true",
        "again: false",
        "service: true",
        "keys: 1",
        "keys again: 0",
        "root: the name `root` is not a plugin's to change",
        "second root: cannot make the user `toor`: the number 0 is not between 100 and 999",
        "smuggled: `/bin/sh\\u{a}root2::0:0::/:/bin/sh` is not a plain path: no `..`, `//`, `:`, `,` and white space",
        "home: `/etc` cannot be a home: it is not below /home/, /var/lib/, /srv/, /opt/",
        "sudo: needs user:group:sudo",
        "package's: the user `daemon` exists already, with the number 1",
        "options: cannot authorize a key for `ann`: it does not begin with a type of key, such as `ssh-ed25519`; options are refused",
        "daemon's keys: `daemon` has the number 1: it is no account of a person",
        "other's keys: needs user:keys:ubuntu",
    ];
    assert_eq!(told, expected);
    let read = |path: &str| ran.read(path).unwrap();
    assert!(
        read("etc/passwd")
            .ends_with("\nann:x:1001:1001::/home/ann:/bin/bash\napp:x:999:999::/nonexistent:/usr/sbin/nologin\n")
    );
    assert_eq!(read("etc/group"), "root:x:0:\nsudo:x:27:\nvideo:x:44:ann\nfield:x:1000:ann\nann:x:1001:\napp:x:999:\n");
    // The day of the build's fixed time.
    assert_eq!(read("etc/shadow"), "root:*:19000:0:99999:7:::\nann:!:19675:0:99999:7:::\napp:!:19675::::::\n");
    assert_eq!(read("etc/subuid"), "ann:100000:65536\n");
    assert_eq!(read("home/ann/.profile"), "hello\n");
    let keys = std::fs::metadata(ran.root.path().join("home/ann/.ssh/authorized_keys")).unwrap();
    assert_eq!((keys.mode() & 0o7777, keys.uid()), (0o600, 1001));
    let home = std::fs::metadata(ran.root.path().join("home/ann")).unwrap();
    assert_eq!((home.mode() & 0o7777, home.uid(), home.gid()), (0o750, 1001, 1001));
}

#[test]
fn accounts_without_grant_stay_as_they_are() {
    let root = image_with_accounts();
    let before = std::fs::read_to_string(root.path().join("etc/passwd")).unwrap();
    // Root may be asked for with a wildcard, and is still not given.
    let granted = Granted { scopes: vec!["user:group:video".into()], ..Granted::default() };
    let (ran, told) = settings(root, "users", &granted);
    for call in ["group: needs user:group:field", "user: needs user:create:ann", "keys: needs user:keys:ann"] {
        assert!(told.contains(&call.to_owned()), "{call} is not in {told:?}");
    }
    assert_eq!(ran.read("etc/passwd"), Some(before));
    assert_eq!(ran.read("etc/group").as_deref(), Some("root:x:0:\nsudo:x:27:\nvideo:x:44:\n"));
}

#[test]
fn links_at_the_place_of_accounts_are_no_way_out() {
    let root = image_with_accounts();
    std::os::unix::fs::symlink("/opt", root.path().join("home")).unwrap();
    let (ran, told) = settings(root, "users", &all());
    assert_eq!(told[1], "user: `/home/ann` is really `/opt/ann`: a link is in the way");
    assert!(!ran.root.path().join("opt/ann").exists());
}

#[test]
fn a_parameter_decides_whose_home_is_written_to() {
    let plugin = look("asks").unwrap();
    for (user, granted, lines) in [
        ("ann", all(), ["exec:id: true", "fs:write:/home/{params.user}/.asks: true"]),
        (
            "bob",
            Granted {
                scopes: vec!["fs:write:/etc/asks".into(), "fs:write:/home/{params.user}/.asks".into()],
                ..Granted::default()
            },
            ["exec:id: false", "fs:write:/home/{params.user}/.asks: true"],
        ),
    ] {
        let root = image();
        for name in ["ann", "bob", "other"] {
            std::fs::create_dir_all(root.path().join("home").join(name)).unwrap();
        }
        let ran = run_plugin(root, &plugin, &granted, &[("user", user)], Limits::EXECUTE);
        let report = ran.result.as_ref().unwrap();
        let mut expected: Vec<String> = lines.iter().map(|line| format!("test/asks: {line}")).collect();
        expected.push("test/asks: fs:write:/home/{params.nobody}/.asks: false".into());
        expected.push("test/asks: needed: fs:write:/home/other/.asks".into());
        assert_eq!(ran.log, expected);
        for name in ["ann", "bob", "other"] {
            assert_eq!(ran.read(&format!("home/{name}/.asks")).is_some(), name == user, "{user} {name}");
        }
        assert!(report.uses.contains_key(&format!("fs:write:/home/{user}/.asks")), "{report:?}");
    }
}

#[test]
fn links_above_and_second_names_are_no_way_to_a_file() {
    for (user, prepare, expected) in [
        // The user's home is a link: what counts is where it leads.
        ("ann", "link", Some("fs:write:/etc/.asks")),
        ("ann", "link-inside", Some("fs:write:/srv/ann/.asks")),
        // A second name of another file: that keeps its content, for a write makes a new file.
        ("ann", "hard", None),
        ("ann", "plain", None),
    ] {
        let root = image();
        let home = root.path().join("home");
        std::fs::create_dir_all(home.join("other")).unwrap();
        std::fs::create_dir_all(root.path().join("srv/ann")).unwrap();
        match prepare {
            "link" => std::os::unix::fs::symlink("/etc", home.join(user)).unwrap(),
            "link-inside" => std::os::unix::fs::symlink("../srv/ann", home.join(user)).unwrap(),
            _ => std::fs::create_dir(home.join(user)).unwrap(),
        }
        if prepare == "hard" {
            std::fs::hard_link(root.path().join("etc/shadow"), home.join(user).join(".asks")).unwrap();
        }
        let ran = run_plugin(root, &look("asks").unwrap(), &all(), &[("user", user)], Limits::EXECUTE);
        assert_eq!(ran.read("etc/shadow").as_deref(), Some("root:secret\n"), "{prepare}");
        match expected {
            Some(needed) => {
                let message = &ran.failure(Kind::Grant).messages[1];
                assert_eq!(message, &format!("`{needed}` was not requested"), "{prepare}");
                assert_eq!((ran.read("etc/.asks"), ran.read("srv/ann/.asks")), (None, None), "{prepare}");
            }
            None => assert_eq!(ran.read("home/ann/.asks").as_deref(), Some("a note\n"), "{prepare}"),
        }
    }
}

#[test]
fn downloads_are_made_from_granted_addresses_only() {
    let (ran, told) = settings(image(), "net", &all());
    let expected = [
        "install: ()",
        "moved: 6",
        "away: needs net:https://evil.org/x",
        "down: cannot download `https://example.org/pub/down`: it leads from https to http",
        "round: `https://example.org/pub/round` is the end of more than 5 redirections",
        "changed: `https://example.org/pub/changed` has the digest sha256:d67e2e944994496c8d8ec76eed0cf9f09679448d584b532bebf941852a37f5ed, not sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "dots: cannot download `https://example.org/pub/../secret`: its path has `.`, `..` or `//` in it",
        "coded dots: cannot download `https://example.org/pub/%2e%2e/secret`: its path has `%2e`, which servers read differently",
        "user: cannot download `https://example.org@evil.org/pub/hello`: it has a user or password in it",
        "unencrypted: needs net:http://example.org/pub/hello",
        "unpinned: `` is no digest: `sha256:` and 64 hexadecimal digits in lowercase",
    ];
    assert_eq!(told, expected);
    assert_eq!(ran.read("opt/file").as_deref(), Some("hello\n"));
    assert!(ran.requests.iter().all(|url| url.starts_with("https://") && !url.contains("evil")), "{:?}", ran.requests);
    assert!(ran.requests.contains(&"https://a.files.example.org/x?signed=1".to_owned()));
}

#[test]
fn without_grant_nothing_is_downloaded() {
    let (ran, told) = settings(image(), "net", &Granted::default());
    assert_eq!(told[0], "install: needs net:https://example.org/pub/hello");
    assert_eq!((ran.requests.len(), ran.read("opt/file")), (0, None));
}
