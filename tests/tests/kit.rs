//! The test kit of plugin authors, on the plugins of this repository and on guests that misbehave on purpose.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg")]

#[path = "kit/archives.rs"]
mod archives;
#[path = "kit/customizations.rs"]
mod customizations;

use std::io::BufRead as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::process::{Command, Output};

use piimg_plugin_test::{Stub, Trial};
use piimg_tests::device_tree::device_tree;
use piimg_tests::{guest, piimg};

fn trial(name: &str) -> Trial {
    Trial::of(guest(name)).with_program(piimg())
}

const ANN: [(&str, &str); 2] = [
    ("/etc/passwd", "root:x:0:0:root:/root:/bin/bash\nann:x:1001:1001::/home/ann:/bin/bash\n"),
    ("/etc/group", "root:x:0:\nsudo:x:27:\nann:x:1001:\n"),
];

/// With these files, and an account for `ann`.
fn with_ann(trial: Trial, files: &[(&str, &str)]) -> Trial {
    ANN.iter().chain(files).fold(trial, |trial, (path, text)| trial.file(path, text))
}

/// What a test says that is wrong.
fn fault(test: impl FnOnce()) -> String {
    let panic = catch_unwind(AssertUnwindSafe(test)).expect_err("the test must fail");
    panic.downcast_ref::<String>().cloned().or_else(|| panic.downcast_ref::<&str>().map(|it| (*it).to_owned())).unwrap()
}

fn htop() -> Stub {
    Stub::new("htop", ["--version"]).stdout("htop 3.2.2\n")
}

#[test]
fn minimal_writes_its_note_and_shows_how() {
    let ran = trial("minimal").hostname("box").stub(htop()).run();
    assert!(ran.read("/etc/piimg-minimal").starts_with("HOSTNAME=box\nFLAVOUR=test\n"));
    let note = ran.entry("/etc/piimg-minimal");
    assert_eq!((note.kind.as_str(), note.mode, note.user(), note.group()), ("file", 0o644, "root", "root"));
    assert_eq!(ran.changed(), ["/etc/piimg-minimal"]);
    assert_eq!(ran.commands(), ["htop --version"]);
    assert!(ran.has_logged("box is ready with htop 3.2.2"));
    assert_eq!(ran.used(), ["exec:htop --version", "fs:write:/etc/piimg-minimal"]);
    let functions: Vec<&str> = ran.calls().iter().map(|call| call.function.as_str()).collect();
    assert_eq!(functions, ["context.image", "fs.write", "process.run", "log.write"]);
}

#[test]
fn a_run_is_recorded_and_replayed() {
    let place = tempfile::tempdir().unwrap();
    let log = place.path().join("audit.jsonl");
    trial("minimal").stub(htop()).run().save_log(&log);
    trial("minimal").replay(&log);
    let text = std::fs::read_to_string(&log).unwrap().replace("/etc/piimg-minimal", "/etc/piimg-other");
    std::fs::write(&log, text).unwrap();
    let fault = fault(|| trial("minimal").replay(&log));
    assert!(
        fault.contains("call 2 was fs.write {\"path\":\"/etc/piimg-other\"") || fault.contains("call 2 was"),
        "{fault}"
    );
}

#[test]
fn what_a_test_says_too_much_or_too_little_is_one_sentence() {
    let text = fault(|| drop(trial("minimal").run()));
    assert!(
        text.contains(
            "the plugin runs `htop --version`, and the trial does not say what that does: in a test add \
                       .command(\"htop\", [\"--version\"])"
        ),
        "{text}"
    );
    // Also where the plugin is to fail: that would be another reason.
    let text = fault(|| drop(trial("minimal").fail()));
    assert!(text.contains("the trial does not say what that does"), "{text}");
    let text = fault(|| drop(trial("minimal").stub(htop()).command("true", []).run()));
    assert!(text.contains("the stub of `true` was never called: remove it, or look why"), "{text}");
    trial("minimal").stub(htop()).stub(Stub::new("true", []).optional()).run();
    let text = fault(|| drop(trial("minimal").stub(htop()).grant("exec:htop --version").run()));
    assert!(
        text.contains(
            "refused: `fs:write:/etc/piimg-minimal` in call 2, fs.write: the test grants other scopes; \
                       add .grant(\"fs:write:/etc/piimg-minimal\")"
        ),
        "{text}"
    );
    let failed = trial("minimal").stub(htop().optional()).grant("exec:htop --version").fail();
    assert_eq!(failed.before().refused()[0].scope, "fs:write:/etc/piimg-minimal");
    let text = fault(|| drop(trial("minimal").stub(htop()).fail()));
    assert!(
        text.contains("the plugin must fail, and it came to its end; it changed [\"/etc/piimg-minimal\"]"),
        "{text}"
    );
    let text = fault(|| drop(trial("minimal").stub(htop()).param("colour", "red").run()));
    assert!(text.contains("it has no parameter `colour`"), "{text}");
    let text = fault(|| drop(trial("minimal").stub(htop()).asset("x", "y").run()));
    assert!(text.contains("the plugin `piimg/minimal` does not ask for the asset `x`"), "{text}");
    let text = fault(|| drop(trial("minimal").stub(htop()).run().read("/etc/none")));
    assert!(text.contains("the image has no `/etc/none`; the plugin changed"), "{text}");
}

#[test]
fn what_is_no_component_is_named() {
    let place = tempfile::tempdir().unwrap();
    let path = place.path().join("x.wasm");
    for (content, cause) in [(&b"hello"[..], "x.wasm` is no WebAssembly"), (&b"\0asm\x01\0\0\0"[..], "x.wasm`")] {
        std::fs::write(&path, content).unwrap();
        let text = fault(|| drop(Trial::of(&path).with_program(piimg()).run()));
        assert!(
            text.starts_with("the plugin could not be tried: error: ") && text.contains("x.wasm"),
            "{cause}: {text}"
        );
    }
    let text = fault(|| drop(Trial::of(guest("minimal")).with_program("/nowhere/piimg").run()));
    assert!(
        text.starts_with("`/nowhere/piimg` is not installed, which runs plugins: install piimg, or set PIIMG"),
        "{text}"
    );
}

/// The gate of a build judges what commands leave, too.
#[test]
fn what_a_command_changes_must_be_granted() {
    let stub = htop().writes("/etc/strange", "x\n");
    let failed = trial("minimal").stub(stub).fail();
    assert!(
        failed.message().contains("the plugin `piimg/minimal` changed what it was not granted")
            && failed.message().contains("/etc/strange added by call 3, `htop --version`"),
        "{}",
        failed.message()
    );
}

#[test]
fn a_base_directory_is_never_changed() {
    let base = tempfile::tempdir().unwrap();
    std::fs::create_dir(base.path().join("etc")).unwrap();
    std::fs::write(base.path().join("etc/piimg-minimal"), "old\n").unwrap();
    let ran = trial("minimal").on(base.path()).stub(htop()).run();
    assert_eq!(ran.changed(), ["/etc/piimg-minimal"]);
    assert_eq!(std::fs::read_to_string(base.path().join("etc/piimg-minimal")).unwrap(), "old\n");
    assert!(!ran.exists("/etc/passwd"), "it is the base and nothing else");
}

#[test]
fn guests_that_misbehave_end_as_in_a_build() {
    let failed = trial("panics").fail();
    assert!(failed.message().contains("panicked in execute()"), "{}", failed.message());
    let failed = trial("loops").fail();
    assert!(failed.message().contains("was stopped in execute()"), "{}", failed.message());
}

const BASE: [(&str, &str); 7] = [
    ("/etc/locale.gen", "# en_GB.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n"),
    ("/etc/default/keyboard", "XKBLAYOUT=us\n"),
    ("/etc/timezone", "Etc/UTC\n"),
    ("/etc/udev/rules.d/README", ""),
    ("/etc/modules-load.d/modules.conf", ""),
    ("/usr/share/zoneinfo/Etc/UTC", "TZif2"),
    ("/usr/lib/systemd/system/apt-daily.timer", "[Timer]\n[Install]\nWantedBy=timers.target\n"),
];

#[test]
fn base_makes_a_user_for_the_buses() {
    let place = tempfile::tempdir().unwrap();
    let tree = place.path().join("tree");
    std::fs::write(&tree, device_tree(&[("__overrides__", &[("spi", b"")])])).unwrap();
    let trial = BASE.iter().fold(trial("base"), |trial, (path, text)| trial.file(path, text));
    let trial = trial.file_from("/boot/firmware/bcm2710-rpi-3-b.dtb", &tree);
    let trial = trial.link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC");
    let ran = trial.param("user", "ann").command("locale-gen", []).run();
    assert_eq!(ran.read("/etc/default/locale"), "LANG=en_US.UTF-8\n");
    let home = ran.entry("/home/ann");
    assert_eq!((home.kind.as_str(), home.user(), home.group()), ("directory", "ann", "ann"));
    assert_eq!(ran.entry("/etc/shadow").mode, 0o640, "it keeps its mode");
}

#[test]
fn hardening_lets_nothing_in_but_what_was_named() {
    let files = [
        ("/etc/nftables.conf", "flush ruleset\n"),
        ("/etc/ssh/sshd_config.d/README", ""),
        ("/etc/sysctl.d/README", ""),
        ("/etc/modprobe.d/README", ""),
        ("/usr/lib/systemd/system/nftables.service", "[Service]\n[Install]\nWantedBy=sysinit.target\n"),
        ("/usr/lib/systemd/system/apt-daily-upgrade.timer", "[Timer]\n[Install]\nWantedBy=timers.target\n"),
    ];
    let trial = files.iter().fold(trial("hardening"), |trial, (path, text)| trial.file(path, text));
    let ran = trial.param("ports", "tcp/22").run();
    assert!(ran.read("/etc/nftables.conf").ends_with("\t\ttcp dport 22 accept\n\t}\n}\n"));
    assert_eq!(ran.entry("/etc/systemd/system/sysinit.target.wants/nftables.service").kind, "link");
}

#[test]
fn desktop_logs_nobody_in_who_is_not_there() {
    let files =
        [("/etc/gdm3/daemon.conf", "[daemon]\n"), ("/etc/dconf/db/README", ""), ("/etc/dconf/profile/user", "")];
    let failed = with_ann(trial("desktop"), &files).param("autologin", "bob").fail();
    assert!(failed.message().contains("the image has no user `bob` to log in"), "{}", failed.message());
    let dconf = Stub::new("dconf", ["compile", "*", "*"]);
    let ran = with_ann(trial("desktop"), &files).param("autologin", "ann").stub(dconf).run();
    assert!(ran.read("/etc/gdm3/daemon.conf").contains("\nAutomaticLogin=ann\n"));
}

#[test]
fn ros_gives_the_workspace_to_its_user() {
    let files = [("/home/ann/.bashrc", "# mine\n")];
    let names = ["ros-core", "rosbash", "build-essential", "ros-core-dev"];
    let ros = names.iter().fold(with_ann(trial("ros"), &files), |trial, name| trial.package(name, "1.0"));
    let ran = ros.param("user", "ann").param("variant", "core").run();
    let workspace = ran.entry("/home/ann/catkin_ws/src");
    assert_eq!((workspace.user(), workspace.group(), workspace.uid), ("ann", "ann", 1001));
    assert_eq!(ran.entry("/usr/local/bin/ros-env").mode, 0o755);
    let text = fault(|| drop(with_ann(trial("ros"), &files).param("user", "ann").run()));
    assert!(
        text.contains("the plugin installs the package `ros-base`, and the trial has none: in a test add"),
        "{text}"
    );
}

#[test]
fn breadcrumb_names_the_machine_at_its_first_boot() {
    let files = [
        ("/usr/local/bin/ros-env", ""),
        ("/etc/ros/setup.d/README", ""),
        ("/etc/NetworkManager/system-connections/README", ""),
        ("/usr/lib/systemd/system/roscore.service", "[Service]\n[Install]\nWantedBy=multi-user.target\n"),
    ];
    let make = Stub::new("/usr/local/bin/ros-env", ["catkin_make"]).writes("/home/ann/catkin_ws/devel/setup.bash", "");
    let ran = with_ann(trial("breadcrumb"), &files)
        .dir("/home/ann")
        .param("user", "ann")
        .stub(make)
        .stub(Stub::new("/usr/sbin/visudo", ["-c", "-f", "*"]))
        .run();
    assert_eq!(ran.entry("/etc/sudoers.d/piimg-ann").mode, 0o440);
    assert_eq!(ran.entry("/opt/breadcrumb/name-machine").mode, 0o755);
    assert!(ran.exists("/home/ann/catkin_ws/devel/setup.bash"));
}

#[test]
fn cloud_init_takes_what_it_is_handed() {
    let files = [
        ("/etc/cloud/cloud.cfg.d/README", ""),
        ("/usr/lib/systemd/system/cloud-init-local.service", "[Service]\n[Install]\nWantedBy=cloud-init.target\n"),
    ];
    let trial = files.iter().fold(trial("cloud-init"), |trial, (path, text)| trial.file(path, text));
    let data = "#cloud-config\nhostname: field\n";
    let ran = trial.hostname("box").asset("user-data", data).param("user", "ann").run();
    assert_eq!(ran.read("/boot/firmware/user-data"), data);
    assert_eq!(ran.read("/boot/firmware/meta-data"), "instance-id: box-test\nlocal-hostname: box\n");
}

#[test]
fn access_point_keeps_its_passphrase_from_others() {
    let access_point = |passphrase| {
        let trial = trial("access-point").file("/etc/NetworkManager/NetworkManager.conf", "");
        let trial = trial.dir("/etc/udev/rules.d").dir("/usr/local/sbin");
        trial.param("passphrase", passphrase).param("country", "GB")
    };
    let ran = access_point("correct horse").run();
    assert_eq!(ran.entry("/etc/NetworkManager/piimg-access-point.template").mode, 0o600);
    assert!(ran.read("/boot/firmware/cmdline.txt").ends_with(" cfg80211.ieee80211_regdom=GB\n"));
    let failed = access_point("short").fail();
    assert!(failed.message().contains("does not have 8 to 63 printable ASCII characters"), "{}", failed.message());
}

fn run(arguments: &[&str], plugin: &Path) -> Output {
    Command::new(piimg()).args(["plugin", "run"]).arg(plugin).args(arguments).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn by_hand_it_shows_a_tree_of_changes_with_their_calls() {
    let output = run(&["--command", "htop --version"], &guest("minimal"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert_eq!(text(&output.stdout), "/etc/\n  piimg-minimal  added by call 2, fs.write /etc/piimg-minimal\n");
    let output = run(&[], &guest("minimal"));
    assert_eq!(output.status.code(), Some(5), "{}", text(&output.stderr));
    assert!(text(&output.stderr).contains("by hand --command 'htop --version'"), "{}", text(&output.stderr));
    let output = run(&["--param", "x"], &guest("minimal"));
    assert_eq!((output.status.code(), text(&output.stdout)), (Some(2), String::new()));
    assert!(text(&output.stderr).contains("--param `x` must be NAME=VALUE"), "{}", text(&output.stderr));
}

#[test]
fn an_archive_is_a_base_and_an_image_names_the_way() {
    let place = tempfile::tempdir().unwrap();
    std::fs::create_dir(place.path().join("etc")).unwrap();
    std::fs::write(place.path().join("etc/piimg-minimal"), "old\n").unwrap();
    let tar = place.path().join("base.tar.gz");
    let made = Command::new("tar").arg("-C").arg(place.path()).arg("-czf").arg(&tar).arg("etc").status().unwrap();
    assert!(made.success());
    let output = run(&["--command", "htop --version", "--rootfs", tar.to_str().unwrap()], &guest("minimal"));
    assert_eq!(output.status.code(), Some(0), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("piimg-minimal  changed ("), "{}", text(&output.stdout));
    let output = run(&["--rootfs", "/nowhere"], &guest("minimal"));
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("cannot copy the root file system `/nowhere`"), "{}", text(&output.stderr));
}

#[test]
fn a_plugin_that_is_watched_runs_again_when_it_changes() {
    let place = tempfile::tempdir().unwrap();
    let (plugin, next) = (place.path().join("plugin.wasm"), place.path().join("next"));
    std::fs::copy(guest("minimal"), &plugin).unwrap();
    let mut watched = Command::new(piimg())
        .args(["plugin", "run", "--watch", "--command", "htop --version"])
        .arg(&plugin)
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(watched.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut until_it_waits =
        || -> Vec<String> { lines.by_ref().take_while(|line| !line.contains("waiting for")).collect() };
    let ready = "piimg/minimal | raspberrypi is ready with ";
    let said = until_it_waits();
    assert!(said.iter().any(|line| line.starts_with(ready)), "{said:?}");
    // A build that was cut off is told, and does not end it.
    std::fs::write(&next, "no component").unwrap();
    std::fs::rename(&next, &plugin).unwrap();
    let said = until_it_waits();
    assert!(said.iter().any(|line| line.contains("is not a WebAssembly file")), "{said:?}");
    std::fs::copy(guest("minimal"), &next).unwrap();
    std::fs::rename(&next, &plugin).unwrap();
    let said = until_it_waits();
    assert!(said.iter().any(|line| line.starts_with(ready)), "{said:?}");
    watched.kill().unwrap();
    watched.wait().unwrap();
}
