//! What a plugin's command changes is judged by what it changed, not by what it said: for real, in the private namespace.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg")]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use piimg::image::ext4::Ext4Reader;
use piimg_tests::{guest, piimg, system_store};

/// One build with the guest that runs `script`.
fn run(dir: &Path, script: &str) -> Output {
    build(dir, script, &[])
}

fn build(dir: &Path, script: &str, arguments: &[&str]) -> Output {
    // Another script is another layer; the same one must run again, too.
    let script = format!("test/runs:script={script} # {}", std::process::id());
    build_with("runs", dir, &[&["--param", &script], arguments].concat())
}

fn build_with(name: &str, dir: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(piimg());
    command.current_dir(dir).env("SOURCE_DATE_EPOCH", "1750000000");
    command.args(["build", "--release", "bookworm", "--imagedir", "images", "--store"]).arg(system_store());
    command.arg("--plugin").arg(guest(name)).arg("--grant-requested");
    command.args(arguments).output().unwrap()
}

/// One build with the guest that changes settings between two commands.
fn meddle(dir: &Path, before: &str, after: &str) -> Output {
    let param = |name: &str, script: &str| format!("test/meddles:{name}={script} # {}", std::process::id());
    build_with("meddles", dir, &["--param", &param("before", before), "--param", &param("after", after)])
}

fn blame(image: &Path, path: &str) -> String {
    let output = Command::new(piimg()).arg("blame").arg(image).arg(path).output().unwrap();
    // Of what is not there it says so, and ends with another status.
    let is_missing = text(&output.stdout).contains("there is no such file");
    assert_eq!(output.status.code(), Some(i32::from(is_missing)), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// The root file system of an image.
fn open_root(image: &Path) -> Ext4Reader {
    let file = std::fs::File::open(image).unwrap();
    let table = piimg::image::mbr::read(&file).unwrap();
    Ext4Reader::open(&file, table.root().unwrap().1.start.to_bytes()).unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_change_that_was_not_granted_drops_the_layer() {
    let dir = tempfile::tempdir().unwrap();
    for (script, path, kind) in [
        ("echo x > /etc/strange", "/etc/strange", "added"),
        ("mkdir /opt/runs2", "/opt/runs2", "added"),
        ("echo x >> /etc/issue", "/etc/issue", "changed (size, content, time)"),
        ("rm /etc/issue", "/etc/issue", "removed"),
        ("rm -r /usr/share/doc/bash", "/usr/share/doc/bash", "removed"),
        ("mv /etc/issue.net /etc/issue.old", "/etc/issue.net", "removed"),
        ("chmod 600 /etc/issue", "/etc/issue", "changed (mode)"),
        ("chown 1:1 /etc/issue", "/etc/issue", "changed (owner)"),
        ("touch -d @1 /etc/issue", "/etc/issue", "changed (time)"),
        ("ln -sfn /dev/null /etc/os-release", "/etc/os-release", "changed (content"),
        ("rm -r /etc/skel && mkdir /etc/skel", "/etc/skel/.bashrc", "removed"),
        // The same file under a name that was granted.
        (
            "mkdir -p /opt/runs && ln /etc/issue /opt/runs/x && echo y >> /opt/runs/x",
            "/etc/issue",
            "changed (links, size",
        ),
        ("mkdir -p /opt/runs && ln -s /etc /opt/runs/e && echo y > /opt/runs/e/via-link", "/etc/via-link", "added"),
        ("mkfifo /etc/pipe", "/etc/pipe", "added"),
        ("chmod u+s /bin/true", "/usr/bin/true", "changed (mode)"),
        // No image keeps the files there, but who may write them.
        ("chmod 777 /var/log/apt", "/var/log/apt", "changed (mode)"),
        ("mkdir /var/log/runs", "/var/log/runs", "added"),
        ("rm -r /var/log/apt && ln -s /etc /var/log/apt", "/var/log/apt", "changed (type"),
        ("chmod 755 /var/tmp", "/var/tmp", "changed (mode)"),
        ("chown 1:1 /var/cache/apt/archives", "/var/cache/apt/archives", "changed (owner)"),
        ("rm -r /var/tmp && ln -s /etc /var/tmp", "/var/tmp", "changed (type"),
    ] {
        let output = run(dir.path(), script);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{script}:\n{said}");
        assert!(said.contains("the plugin `test/runs` changed what it was not granted"), "{script}:\n{said}");
        let finding = said.lines().find(|line| line.trim_start().starts_with(&format!("{path} {kind}")));
        let finding = finding.unwrap_or_else(|| panic!("{script}: no `{path} {kind}` in:\n{said}"));
        assert!(finding.contains(" by call ") && finding.contains(", `sh -c"), "{script}: {finding}");
        // What it called stays, for only the owner to read, and nothing else.
        let left: Vec<PathBuf> =
            dir.path().join("images").read_dir().unwrap().map(|entry| entry.unwrap().path()).collect();
        let [log] = &left[..] else { panic!("{script} left {left:?}") };
        let name = log.file_name().unwrap().to_str().unwrap();
        assert!(name.ends_with("raspberry-pi.img.failed.audit.jsonl"), "{name}");
        assert!(said.contains(&format!("hint: what the plugins called before is in `images/{name}`")), "{said}");
        assert_eq!(std::fs::metadata(log).unwrap().permissions().mode() & 0o777, 0o600);
        let log = std::fs::read_to_string(log).unwrap();
        assert!(log.contains("\"event\":\"end\"") && log.contains(&script[..4]), "{log}");
    }
}

/// One build with the guest that has the package `tree` and hands a file of the image to a shell.
fn judge(dir: &Path, script: &str) -> Output {
    build_with("judged", dir, &["--param", &format!("test/judged:script={script} # {}", std::process::id())])
}

#[test]
fn what_a_package_of_the_plugin_brought_is_not_the_plugins_to_take_away() {
    let dir = tempfile::tempdir().unwrap();
    for (script, path, kind) in [
        ("rm /usr/bin/tree", "/usr/bin/tree", "removed"),
        ("mv /usr/bin/tree /opt/judged/tree", "/usr/bin/tree", "removed"),
        ("rm -r /usr/share/doc/tree", "/usr/share/doc/tree", "removed"),
        ("rm -r /usr/share/doc/tree && ln -s /etc /usr/share/doc/tree", "/usr/share/doc/tree", ""),
        ("chmod u+s /usr/bin/tree", "/usr/bin/tree", ""),
    ] {
        let output = judge(dir.path(), script);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{script}:\n{said}");
        assert!(said.contains("the plugin `test/judged` changed what it was not granted"), "{script}:\n{said}");
        let finding = said.lines().find(|line| line.trim_start().starts_with(&format!("{path} {kind}")));
        assert!(
            finding.is_some_and(|finding| finding.contains(", `sh -c")),
            "{script}: no `{path} {kind}` in:\n{said}"
        );
    }
}

/// The command gets what is in the file, and no way to the file.
#[test]
fn standard_input_is_read_and_not_written() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo x >&0 && exit 9; truncate -s 0 /proc/self/fd/0 && exit 8; cat > /opt/judged/copy; \
                  cmp /etc/os-release /opt/judged/copy";
    let output = judge(dir.path(), script);
    piimg_tests::expect_success(&output);
    let root = open_root(&dir.path().join(text(&output.stdout).trim_end()));
    let copy = root.read_text("/opt/judged/copy").unwrap().unwrap();
    assert!(copy.contains("ID=debian") && root.read_text("/usr/lib/os-release").unwrap().unwrap() == copy, "{copy}");
}

/// Wherever a plugin may write, the build says what comes of it.
#[test]
fn what_runs_by_itself_is_named_though_it_was_granted() {
    let dir = tempfile::tempdir().unwrap();
    let places = [
        ("/etc/cron.d/x", "is run by the clock"),
        ("/etc/sudoers.d/x", "says who may become root"),
        ("/etc/ld.so.preload", "is loaded into every program"),
        ("/etc/udev/rules.d/x.rules", "is run when a device appears"),
        ("/etc/NetworkManager/dispatcher.d/x", "is run when the network changes"),
        ("/etc/pam.d/x", "decides who may log in"),
        ("/etc/profile.d/x.sh", "is run by each shell"),
        ("/etc/update-motd.d/x", "is run at each login"),
        ("/etc/apt/apt.conf.d/x", "decides which packages are installed and believed, and may run commands"),
        ("/etc/systemd/system-generators/x", "is run at the beginning of every boot"),
        ("/etc/systemd/system/x.service", "says what systemd runs, when and as whom"),
        ("/etc/modprobe.d/x.conf", "says which code the kernel loads, and may run commands"),
        ("/etc/sysctl.d/x.conf", "changes settings of the kernel, of which some are programs that it runs"),
        ("/etc/tmpfiles.d/x.conf", "makes files of any owner and mode at boot"),
        ("/etc/dbus-1/system.d/x.conf", "is started by a request over D-Bus, or says who may make one"),
        ("/etc/initramfs-tools/hooks/x", "is run when a kernel or an initramfs is made, or goes into it"),
        ("/etc/skel/.xsessionrc", "is copied into each new home, where shells run it"),
        ("/etc/default/x", "is read as shell code or variables by what runs at boot"),
        ("/usr/local/bin/ls", "comes first where programs are looked for"),
        ("/usr/lib/python3/dist-packages/x.pth", "is loaded by every program of its language"),
        ("/usr/bin/ls2", "is a program that everybody runs"),
        ("/root/.bashrc", "is in root's own home"),
        ("/boot/firmware/user-data", "is obeyed as root at the first boot"),
    ];
    let list = places.map(|(path, _)| path).join(" ");
    let script = format!(
        "test/everywhere:script=for f in {list}; do mkdir -p ${{f%/*}}; echo '#' >> $f; done; chmod 777 /etc/cron.d # {}",
        std::process::id()
    );
    // No image has to be made of it: a second plugin ends the build.
    let fails = guest("fails");
    let output = build_with("everywhere", dir.path(), &["--param", &script, "--plugin", fails.to_str().unwrap()]);
    let said = text(&output.stderr);
    assert_eq!(output.status.code(), Some(5), "{said}");
    assert!(said.contains("the plugin `test/fails` failed"), "{said}");
    let directory = "/etc/cron.d leads to what is run by the clock: changed (mode) by call 2, `sh -c";
    assert!(said.contains(directory) && said.contains("/etc/cron.d can be changed by every account: "), "{said}");
    for (path, does) in places {
        let found = said.lines().any(|line| line.contains(&format!(" | {path} {does}: ")));
        assert!(found, "`{path} {does}` is not in:\n{said}");
    }
}

#[test]
fn a_command_does_not_hide_behind_a_call_that_was_granted() {
    let dir = tempfile::tempdir().unwrap();
    const BY_CALL: &str = ", users.ensure-user ann";
    let in_place = "cp -p /etc/shadow /tmp/s && sed -i s/^daemon:.:/daemon::/ /tmp/s && cat /tmp/s > /etc/shadow && \
                    touch -d @1750000000 /etc/shadow";
    let wants = "/etc/systemd/system/multi-user.target.wants";
    let link = format!("ln -sf /opt/meddles/evil.service {wants}/ssh.service");
    let other = format!("ln -s /opt/meddles/evil.service {wants}/evil.service");
    for (before, after, path, who) in [
        ("true", in_place, "/etc/shadow", Some(BY_CALL)),
        (in_place, "true", "/etc/shadow", Some(BY_CALL)),
        (
            "true",
            "echo kernel=evil.img >> /boot/firmware/config.txt",
            "/boot/firmware/config.txt",
            Some("boot-config.set"),
        ),
        ("true", &link, &format!("{wants}/ssh.service"), Some("services.set-state")),
        ("true", &other, &format!("{wants}/evil.service"), None),
        ("true", "touch /home/ann/.bash_login", "/home/ann/.bash_login", None),
    ] {
        let output = meddle(dir.path(), before, after);
        let said = text(&output.stderr);
        assert_eq!(output.status.code(), Some(5), "{before} {after}:\n{said}");
        assert!(said.contains("the plugin `test/meddles` changed what it was not granted"), "{said}");
        let findings: Vec<&str> = said.lines().filter(|line| line.starts_with("  /")).collect();
        // Not the alias of the unit too, of which the overlay's mark is one file with that of the unit's link.
        let [finding] = findings[..] else { panic!("{before} {after}: {findings:?}") };
        assert!(finding.starts_with(&format!("  {path} ")) && finding.contains(", `sh -c"), "{finding}");
        assert!(who.is_none_or(|who| finding.contains(who)), "{finding}");
    }
}

#[test]
fn what_a_call_was_allowed_is_kept_and_blamed_on_that_call() {
    let dir = tempfile::tempdir().unwrap();
    let owned = "test $(stat -c %U:%G:%a /opt/meddles/games) = games:games:755";
    let output = meddle(dir.path(), "true", owned);
    piimg_tests::expect_success(&output);
    let image = dir.path().join(text(&output.stdout).trim_end());
    let log = std::fs::read_to_string(format!("{}.audit.jsonl", image.display())).unwrap();
    for (path, call) in [
        ("/etc/shadow", "users.ensure-user ann"),
        ("/home/ann/.bashrc", "users.ensure-user ann"),
        ("/opt/meddles/note", "fs.write /opt/meddles/note"),
        ("/boot/firmware/config.txt", "boot-config.set [pi4] gpu_mem"),
    ] {
        let said = blame(&image, path);
        let (_, by) = said.lines().next().unwrap().split_once(" by call ").unwrap_or_else(|| panic!("{said}"));
        let (number, name) = by.split_once(", ").unwrap();
        assert_eq!(name, call, "{said}");
        let lines = log.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
        let line = lines.into_iter().find(|line| line["number"] == number.parse::<u64>().unwrap()).unwrap();
        assert_eq!(line["call"], call.split(' ').next().unwrap(), "{line}");
        assert!(line["args"].is_object(), "{line}");
    }
}

/// What finalises an image replaces only what the build itself put there.
#[test]
fn settings_that_a_plugin_wrote_are_in_the_image() {
    let dir = tempfile::tempdir().unwrap();
    let script = "echo 'LABEL=data /srv/data ext4 nofail,noatime 0 2' >> /etc/fstab; \
                  rm -f /etc/resolv.conf; echo 'nameserver 192.0.2.53' > /etc/resolv.conf; \
                  echo '192.0.2.7 cell' >> /etc/hosts; echo 0123456789abcdef0123456789abcdef > /opt/id";
    let param = format!("test/everywhere:script={script} # {}", std::process::id());
    let output = build_with("everywhere", dir.path(), &["--param", &param, "--log-file", "log"]);
    piimg_tests::expect_success(&output);
    let log = std::fs::read_to_string(dir.path().join("log")).unwrap();
    for part in [
        " step     begins: Run the plugin test/everywhere",
        " mount    `overlay` on `/build/",
        " start    in the image: sh -c 'echo '\\''LABEL=data ",
        " start    mke2fs ",
        " end      mke2fs: status 0 after ",
        " was made by: Run the plugin test/everywhere\n",
    ] {
        assert!(log.contains(part), "{part:?} is missing from:\n{log}");
    }
    let root = open_root(&dir.path().join(text(&output.stdout).trim_end()));
    let read = |path: &str| root.read_text(path).unwrap().unwrap_or_else(|| panic!("the image has no {path}"));
    let fstab = read("/etc/fstab");
    let places: Vec<&str> =
        fstab.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_whitespace().nth(1)).collect();
    assert_eq!(places, ["/", "/boot/firmware", "/srv/data"], "{fstab}");
    assert!(fstab.contains("LABEL=data /srv/data ext4 nofail,noatime 0 2\n"), "{fstab}");
    assert_eq!(read("/etc/resolv.conf"), "nameserver 192.0.2.53\n");
    assert!(read("/etc/hosts").contains("192.0.2.7 cell\n"));
    assert_eq!(read("/opt/id"), "0123456789abcdef0123456789abcdef\n");
}

/// A second run at another time makes the same bytes as the bootstrap did.
#[test]
fn an_initramfs_does_not_depend_on_the_clock() {
    let dir = tempfile::tempdir().unwrap();
    // The layer of the packages has the archive's time, which is that of the file.
    let script = "mkdir -p /opt/runs; cd /boot; for i in initrd.img-*; do export SOURCE_DATE_EPOCH=$(stat -c %Y $i); mkinitramfs -o /opt/runs/made ${i#initrd.img-} \
                  && sha256sum $i /opt/runs/made; done";
    let output = build(dir.path(), script, &["-v"]);
    let said = text(&output.stderr);
    piimg_tests::expect_success(&output);
    let digests: Vec<&str> = said
        .split_whitespace()
        .filter(|word| word.len() == 64 && word.chars().all(|c| c.is_ascii_hexdigit()))
        .collect();
    assert!(digests.len() >= 2 && digests[0] == digests[1], "{said}");
}

#[test]
fn a_command_reaches_the_host_that_was_granted_and_no_other() {
    let dir = tempfile::tempdir().unwrap();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = server.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in server.incoming() {
            let mut stream = stream.unwrap();
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nConnection: close\r\n\r\nhello").unwrap();
        }
    });
    let other = port - 1;
    // The proxy of the box, spoken to by hand; what comes back is kept where the plugin may write.
    let get = |port: u16, name: &str| {
        format!(
            "exec 3<>/dev/tcp/127.0.0.1/3128; printf \"GET http://127.0.0.1:{port}/ HTTP/1.1\\r\\nHost: \
             127.0.0.1:{port}\\r\\n\\r\\n\" >&3; cat <&3 > /opt/runs/{name}; exec 3>&-; "
        )
    };
    let script = format!("mkdir -p /opt/runs; bash -c '{}{}'", get(port, "granted"), get(other, "other"));
    let output = build(dir.path(), &script, &["--param", &format!("test/runs:port={port}")]);
    piimg_tests::expect_success(&output);
    let image = dir.path().join(text(&output.stdout).trim_end());
    let log = std::fs::read_to_string(format!("{}.audit.jsonl", image.display())).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let connections = &lines.iter().find(|line| line["connections"].is_array()).unwrap()["connections"];
    let fates: Vec<(u64, &str)> = connections
        .as_array()
        .unwrap()
        .iter()
        .map(|it| (it["port"].as_u64().unwrap(), it["fate"].as_str().unwrap()))
        .collect();
    assert_eq!(fates, [(port.into(), "connected"), (other.into(), "refused: it was not granted")]);
    let root = open_root(&image);
    assert!(root.read_text("/opt/runs/granted").unwrap().unwrap().ends_with("hello"));
    assert!(root.read_text("/opt/runs/other").unwrap().unwrap().contains("403"));
}

#[test]
fn what_was_granted_is_kept_told_and_blamed() {
    let dir = tempfile::tempdir().unwrap();
    let script = "mkdir -p /opt/runs && echo x > /opt/runs/a && cp /bin/true /opt/runs/su && chmod 4755 /opt/runs/su \
                  && echo gone > /var/log/runs.log";
    let output = run(dir.path(), script);
    let said = text(&output.stderr);
    piimg_tests::expect_success(&output);
    assert!(
        said.contains("/opt/runs/su runs with the rights of its owner or group: added by call 2, `sh -c"),
        "{said}"
    );
    let image: PathBuf = dir.path().join(text(&output.stdout).trim_end());

    let blame = |path: &str| blame(&image, path);
    let of_plugin = blame("/opt/runs/a");
    assert!(of_plugin.starts_with("plugin test/runs 1.0.0 (sha256:"), "{of_plugin}");
    assert!(of_plugin.contains("/opt/runs/a added by call 2, `sh -c"), "{of_plugin}");
    assert_eq!(blame("/usr/bin/env"), "package coreutils\n");
    assert_eq!(blame("/etc/hostname"), "piimg: made for this image\n");
    assert!(blame("/nowhere").contains("there is no such file"), "{}", blame("/nowhere"));

    let log = format!("{}.audit.jsonl", image.display());
    assert_eq!(std::fs::metadata(&log).unwrap().permissions().mode() & 0o777, 0o600, "it holds what plugins read");
    let log = std::fs::read_to_string(log).unwrap();
    let lines: Vec<serde_json::Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.first().unwrap()["event"], "begin");
    assert_eq!(lines.last().unwrap()["event"], "end");
    let call = lines.iter().find(|line| line["call"] == "process.run").unwrap();
    assert_eq!(call["args"]["command"]["program"], "sh");
    assert_eq!(call["asked"][0]["allowed"], true);
    assert_eq!(call["reply"]["Outcome"]["status"], 0);

    let replay = |log: &str| {
        let file = dir.path().join("log");
        std::fs::write(&file, log).unwrap();
        let output = Command::new(piimg()).arg("audit").arg(guest("runs")).arg("--replay").arg(file).output().unwrap();
        (output.status.code(), text(&output.stdout) + &text(&output.stderr))
    };
    let (status, said) = replay(&log);
    assert!(status == Some(0) && said.starts_with("the same: "), "{said}");
    let (status, said) = replay(&log.replace("\"program\":\"sh\"", "\"program\":\"ls\""));
    assert!(status == Some(1) && said.contains("not the same, after 1 call: call 2 was"), "{said}");
    let (status, said) = replay(&log.replace("\"digest\":\"sha256:", "\"digest\":\"sha256:0"));
    assert!(status == Some(2) && said.contains("has no run of this build of `test/runs`"), "{said}");

    let audit = Command::new(piimg()).arg("audit").arg(guest("runs")).arg("--image").arg(&image).output().unwrap();
    let report = text(&audit.stdout);
    piimg_tests::expect_success(&audit);
    // It writes by its command alone: the directory and two files.
    let (_, row) = report.split_once("\n    /opt/runs/**\n").unwrap();
    let row = row.lines().take(3).map(str::trim).collect::<Vec<_>>().join(" ");
    assert!(row.contains("by a command alone; used 0 times, changed 3 paths"), "{report}");
    assert!(report.contains("critical `sh` does whatever it is told"), "{report}");
}

#[test]
fn plugins_that_disagree_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let settings = guest("settings");
    let other = ["--plugin", settings.to_str().unwrap(), "--param", "test/settings:of=boot"];
    let output = build_with("meddles", dir.path(), &other);
    let said = text(&output.stderr);
    piimg_tests::expect_success(&output);
    let warnings: Vec<&str> = said.lines().filter(|line| line.contains("both `")).collect();
    let [warning] = &warnings[..] else { panic!("{warnings:?} in:\n{said}") };
    let expected = "both `test/meddles` and `test/settings` set [pi4] gpu_mem of config.txt: `128`, then `64`";
    assert!(warning.ends_with(expected), "{warning}");
}

/// One build with the guest that puts links where piimg works when all plugins are done: an archive, if there is one.
fn link(dir: &Path, links: &str) -> (Output, Option<PathBuf>) {
    let param = format!("test/links:links={links}");
    let output = build_with("links", dir, &["--rootfs-only", "--param", &param]);
    let archive = output.status.success().then(|| dir.join(text(&output.stdout).trim_end()));
    (output, archive)
}

fn of_archive(archive: &Path, path: &str) -> String {
    let output = Command::new("tar").args(["--extract", "--to-stdout", "--file"]).arg(archive).arg(path).output();
    let output = output.unwrap();
    piimg_tests::expect_success(&output);
    text(&output.stdout)
}

/// A plugin that was granted `/etc/hosts` and `/tmp` gets neither at the passwords nor at the rules for logging in.
#[test]
fn what_piimg_does_at_the_end_follows_no_link() {
    let dir = tempfile::tempdir().unwrap();
    let canary = dir.path().join("canary");
    std::fs::write(&canary, "of the host\n").unwrap();
    let host = canary.to_str().unwrap();

    // Files of the image's own are made anew, whatever is there, and are not read through a link.
    let links = format!(
        "/etc/hosts=/etc/shadow /etc/hostname=../etc/shadow /etc/machine-id={host} /root/.cache={} \
         /usr/share/piimg/build.json=/etc/shadow /tmp/x=/etc/pam.d /var/log/lastlog=/etc/shadow /var/log/pam=/etc/pam.d \
         /var/tmp=/tmp",
        dir.path().display()
    );
    let (output, archive) = link(dir.path(), &links);
    let archive = archive.unwrap_or_else(|| panic!("{}", text(&output.stderr)));
    let hosts = of_archive(&archive, "./etc/hosts");
    assert!(hosts.starts_with("127.0.0.1\tlocalhost\n127.0.1.1\t") && !hosts.contains("root:"), "{hosts}");
    assert_eq!(of_archive(&archive, "./etc/machine-id"), "");
    assert!(of_archive(&archive, "./etc/shadow").starts_with("root:"));
    assert!(of_archive(&archive, "./usr/share/piimg/build.json").contains("\"test/links\""));
    assert!(of_archive(&archive, "./etc/pam.d/login").contains("pam_"));
    let list = Command::new("tar").args(["--list", "--verbose", "--numeric-owner", "--file"]).arg(&archive).output();
    let list = text(&list.unwrap().stdout);
    let entry =
        |path: &str| list.lines().find(|line| line.split(" -> ").next().unwrap().ends_with(&format!(" {path}")));
    for path in ["./etc/hosts", "./etc/hostname", "./usr/share/piimg/build.json"] {
        assert!(entry(path).unwrap().starts_with('-'), "{path} is no file: {:?}", entry(path));
    }
    assert!(entry("./etc/shadow").unwrap().starts_with("-rw-r----- 0/42"), "{:?}", entry("./etc/shadow"));
    for gone in ["./tmp/x", "./var/log/pam", "./var/log/lastlog"] {
        assert!(entry(gone).is_none_or(|line| !line.contains(" -> ")), "{gone}: {:?}", entry(gone));
    }
    assert!(entry("./etc/pam.d/common-auth").is_some() && entry("./var/tmp").unwrap().ends_with(" -> /tmp"));

    // What is to be emptied, or becomes the boot partition, is a directory itself: everything else ends the build.
    for (links, said) in [
        ("/tmp=/etc/pam.d", "cannot empty `/tmp` of the image"),
        ("/var/tmp=../etc/pam.d", "cannot empty `/var/tmp` of the image"),
        ("/var/log=/etc", "cannot empty `/var/log` of the image"),
        ("/root/.cache=/home", "cannot empty `/root/.cache` of the image"),
        ("/usr/share/piimg=/etc", "`/usr/share/piimg`: it is a symbolic link to `/etc`"),
        ("/boot/firmware=/etc", "`/boot/firmware` is a symbolic link to `/etc`"),
        (
            "/boot/firmware/cmdline.txt=/etc/shadow",
            "`/boot/firmware/cmdline.txt`: it is a symbolic link to `/etc/shadow`",
        ),
    ] {
        let (output, archive) = link(dir.path(), links);
        let said_all = text(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{links}: {said_all}");
        assert!(said_all.contains(said) && said_all.contains("links are not followed here"), "{links}: {said_all}");
        assert!(archive.is_none(), "{links}: {said_all}");
    }
    assert_eq!(std::fs::read_to_string(&canary).unwrap(), "of the host\n");
}
