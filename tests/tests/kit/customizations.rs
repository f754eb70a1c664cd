//! The plugins of `docs/customizations.md`: each is run with what its own `conf()` requests, and does what the page says.

use guest_customizations::ALL;
use piimg_plugin_test::Ran;

use super::*;

/// Tries one with what it requests, and with nothing that another one of the page does.
fn of(name: &str) -> Trial {
    let one = ALL.iter().find(|one| one.name == name).unwrap();
    let trial = trial("customizations").param("of", name).grant_nothing();
    let trial = (one.conf)().capabilities().iter().fold(trial, |trial, capability| trial.grant(&capability.scope));
    // The whole is not tried without what one of its parts cannot do without.
    let app = concat!(env!("CARGO_MANIFEST_DIR"), "/guests/customizations/app");
    let trial = trial
        .asset("sensor", "\x7fELF")
        .asset_from("app", app)
        .asset("release", "")
        .secret("ann-password", "battery staple");
    trial.param("ssid", "field").param("passphrase", "correct horse")
}

/// Demands that all that it requests was used, but for these: what is wider than a trial, and files that only programs write.
#[track_caller]
fn uses_all_but(ran: &Ran, name: &str, unused: &[&str]) {
    let one = ALL.iter().find(|one| one.name == name).unwrap();
    let used = ran.used();
    let capabilities = (one.conf)().capabilities();
    let scopes = capabilities.iter().map(|it| it.scope.as_str()).filter(|scope| !scope.starts_with("pkg:build:"));
    let idle: Vec<&str> = scopes.filter(|scope| !used.contains(scope)).collect();
    assert_eq!(idle, unused, "{name} used {used:?}");
}

/// Lays these files, too.
fn with(trial: Trial, files: &[(&str, &str)]) -> Trial {
    files.iter().fold(trial, |trial, (path, text)| trial.file(path, text))
}

#[test]
fn each_does_what_the_page_says() {
    let tried = [MACHINE, NETWORK, PACKAGES, PROGRAMS, FILES, BOARD].concat();
    let mut names: Vec<&str> = tried.iter().map(|(name, _)| *name).collect();
    names.sort_unstable();
    assert_eq!(names, ALL.iter().map(|one| one.name).collect::<Vec<_>>(), "each is tried");
    let failed = tried.into_iter().filter(|(name, attempt)| catch_unwind(|| attempt(of(name))).is_err());
    let failed: Vec<&str> = failed.map(|(name, _)| name).collect();
    assert!(failed.is_empty(), "{failed:?} failed, for the reasons above");
}

/// The page is made of the sources; only here it is known what they ask for.
#[test]
fn the_page_names_what_each_asks_for() {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("docs/customizations.md");
    let page = std::fs::read_to_string(page).unwrap().split_whitespace().collect::<Vec<_>>().join(" ");
    let mut wrong = Vec::new();
    for one in ALL {
        let scopes: Vec<String> = (one.conf)().scopes().into_iter().map(|scope| format!("`{scope}`")).collect();
        let line = format!("Asks for {}.", scopes.join(", "));
        if !page.contains(&line) {
            wrong.push(format!("{}.rs: {line}", one.name));
        }
    }
    assert!(wrong.is_empty(), "these lines are missing in the sources:\n{}", wrong.join("\n"));
}

type Attempts = &'static [(&'static str, fn(Trial))];

const MACHINE: Attempts = &[
    ("region", |trial| {
        let files = [
            ("/etc/locale.gen", "# en_GB.UTF-8 UTF-8\n"),
            ("/etc/default/keyboard", "XKBLAYOUT=us\n"),
            ("/usr/share/zoneinfo/Europe/London", "TZif2"),
        ];
        let trial = with(trial, &files).link("/etc/localtime", "/usr/share/zoneinfo/Etc/UTC").file("/etc/timezone", "");
        let ran = trial.command("locale-gen", []).run();
        assert_eq!(ran.read("/etc/default/locale"), "LANG=en_GB.UTF-8\n");
        assert!(ran.read("/etc/default/keyboard").contains("XKBLAYOUT=\"gb\""));
        assert_eq!(ran.read("/etc/timezone"), "Europe/London\n");
        uses_all_but(&ran, "region", &["fs:write:/usr/lib/locale/locale-archive", "fs:read:/usr/share/zoneinfo/**"]);
    }),
    ("user", |trial| {
        let ran = trial.dir("/etc/ssh/sshd_config.d").run();
        let keys = ran.entry("/home/ann/.ssh/authorized_keys");
        assert_eq!((keys.mode, keys.user()), (0o600, "ann"));
        assert!(ran.read("/etc/group").contains("\nvideo:x:44:ann\n"));
        assert!(ran.read("/etc/ssh/sshd_config.d/10-keys-only.conf").contains("PasswordAuthentication no\n"));
        uses_all_but(&ran, "user", &[]);
    }),
    ("password", |trial| {
        let ran = trial.run();
        let shadow = ran.read("/etc/shadow");
        assert!(shadow.lines().any(|line| line.starts_with("ann:$6$")), "{shadow}");
        uses_all_but(&ran, "password", &[]);
    }),
    ("autologin", |trial| {
        let ran = trial.file("/usr/lib/systemd/system/getty@.service", "[Install]\nWantedBy=getty.target\n").run();
        let text = ran.read("/etc/systemd/system/getty@tty1.service.d/autologin.conf");
        assert!(text.contains("--autologin field "), "{text}");
        uses_all_but(&ran, "autologin", &[]);
    }),
    ("kiosk", |trial| {
        let ran = trial.run();
        let unit = ran.read("/etc/systemd/system/kiosk.service");
        assert!(unit.contains("\nUser=display\n") && unit.contains(" https://dashboard.example.org/\n"), "{unit}");
        assert!(ran.exists("/etc/systemd/system/multi-user.target.wants/kiosk.service"));
        uses_all_but(&ran, "kiosk", &[]);
    }),
    ("message", |trial| {
        let ran = trial.hostname("robot").run();
        assert_eq!(ran.read("/etc/motd"), "This is robot, made of bookworm.\n");
        uses_all_but(&ran, "message", &[]);
    }),
];

const NETWORK: Attempts = &[
    ("wifi", |trial| {
        let ran = trial.dir("/etc/NetworkManager/system-connections").run();
        let path = "/etc/NetworkManager/system-connections/20-wifi.nmconnection";
        assert!(ran.read(path).contains("\npsk=correct horse\n"), "{}", ran.read(path));
        assert_eq!(ran.entry(path).mode, 0o600);
        assert!(ran.read("/boot/firmware/cmdline.txt").ends_with(" cfg80211.ieee80211_regdom=GB\n"));
        uses_all_but(&ran, "wifi", &[]);
    }),
    ("address", |trial| {
        let ran = trial.dir("/etc/systemd/network").run();
        assert!(ran.read("/etc/systemd/network/10-lan.network").contains("\nAddress=192.168.42.10/24\n"));
        let others = [
            "fs:write:/etc/netplan/10-lan.yaml",
            "fs:write:/etc/NetworkManager/system-connections/10-lan.nmconnection",
        ];
        uses_all_but(&ran, "address", &others);
    }),
    ("firewall", |trial| {
        let unit = "[Service]\n[Install]\nWantedBy=sysinit.target\n";
        let ran = trial.file("/usr/lib/systemd/system/nftables.service", unit).run();
        assert!(ran.read("/etc/nftables.conf").contains("\ttcp dport 22 accept\n"));
        assert!(ran.exists("/etc/systemd/system/sysinit.target.wants/nftables.service"));
        uses_all_but(&ran, "firewall", &[]);
    }),
];

const PACKAGES: Attempts = &[
    ("packages", |trial| {
        let ran = trial.package("python3-spidev", "3.5").param("driver", "spidev").run();
        assert_eq!(ran.package_requests(), ["Install python3-spidev"]);
        assert_eq!(ran.used(), ["pkg:install:python3-spidev"]);
    }),
    // What these ask for is done before they run.
    ("archive", |trial| assert_eq!(trial.run().changed(), Vec::<&str>::new())),
    ("debconf", |trial| assert_eq!(trial.run().changed(), Vec::<&str>::new())),
];

const PROGRAMS: Attempts = &[
    ("program", |trial| {
        let ran = trial.run();
        assert_eq!(ran.entry("/usr/local/bin/sensor").mode, 0o755);
        assert!(ran.exists("/etc/systemd/system/multi-user.target.wants/sensor.service"));
        assert!(ran.read("/etc/passwd").contains("\nsensor:x:"));
        uses_all_but(&ran, "program", &[]);
    }),
    ("python_app", |trial| {
        let ran = trial.run();
        assert!(ran.read("/opt/app/main.py").starts_with("import flask\n") && ran.exists("/opt/app/pages/index.html"));
        assert!(ran.exists("/etc/systemd/system/multi-user.target.wants/app.service"));
        uses_all_but(&ran, "python_app", &["fs:write:/opt/app/**"]);
    }),
    ("wheels", |trial| {
        let wheel = "/opt/gauge/lib/gauge-1.2-py3-none-any.whl";
        let options =
            ["install", "--no-index", "--no-deps", "--no-compile", "--no-cache-dir", "--target", "/opt/gauge/lib"];
        let pip =
            Stub::new("pip3", [&options[..], &[wheel]].concat()).writes("/opt/gauge/lib/gauge/__main__.py", "x\n");
        let ran = trial.download("https://example.org/wheels/gauge-1.2-py3-none-any.whl", "hello\n").stub(pip).run();
        assert!(ran.exists("/opt/gauge/lib/gauge/__main__.py") && !ran.exists(wheel));
        uses_all_but(&ran, "wheels", &["fs:write:/opt/gauge/lib/**"]);
    }),
    ("modules", |trial| {
        let package = tempfile::tempdir().unwrap();
        std::fs::create_dir(package.path().join("package")).unwrap();
        std::fs::write(package.path().join("package/index.js"), "exports.watch = () => {};\n").unwrap();
        // The same bytes each time: the plugin names their digest.
        let mut tar = Command::new("tar");
        tar.args(["--format=ustar", "--sort=name", "--mtime=@0", "--owner=0", "--group=0", "--numeric-owner"]);
        tar.args(["--mode=u=rwX,go=rX", "-cf", "-", "-C"]).arg(package.path()).arg("package");
        let archive = tar.output().unwrap().stdout;
        let ran = trial
            .download("https://example.org/npm/gauge-1.2.0.tgz", &archive)
            .download("https://example.org/npm/@robots/wheels-2.0.1.tgz", &archive)
            .run();
        for module in ["gauge", "@robots/wheels"] {
            assert_eq!(ran.read(&format!("/opt/panel/node_modules/{module}/index.js")), "exports.watch = () => {};\n");
        }
        uses_all_but(&ran, "modules", &["fs:write:/opt/panel/node_modules/**"]);
    }),
    ("compile", |trial| {
        let arguments = ["-O2", "-x", "c", "-o", "/usr/local/bin/blink", "-"];
        let ran = trial.stub(Stub::new("gcc", arguments).writes("/usr/local/bin/blink", "\x7fELF")).run();
        assert_eq!(ran.changed(), ["/usr/local/bin/blink"]);
    }),
    ("timer", |trial| {
        let ran = trial.run();
        assert!(ran.exists("/etc/systemd/system/report.service"));
        let wants = ran.changed().into_iter().filter(|path| path.contains(".wants/")).collect::<Vec<_>>();
        assert_eq!(wants, ["/etc/systemd/system/timers.target.wants/report.timer"]);
        uses_all_but(&ran, "timer", &[]);
    }),
    ("cron", |trial| {
        let ran = trial.dir("/etc/cron.d").dir("/etc/tmpfiles.d").run();
        assert!(ran.read("/etc/cron.d/field-cleanup").ends_with(" -delete\n"));
        assert_eq!(ran.entry("/etc/cron.d/field-cleanup").mode, 0o644, "cron takes no file that others can write");
        uses_all_but(&ran, "cron", &[]);
    }),
    ("first_boot", |trial| {
        let ran = trial.run();
        let unit = ran.read("/etc/systemd/system/name-machine.service");
        assert!(unit.contains("\nConditionPathExists=!/var/lib/machine-is-named\n"), "{unit}");
        assert_eq!(ran.entry("/usr/local/sbin/name-machine").mode, 0o755);
        uses_all_but(&ran, "first_boot", &[]);
    }),
    ("session", |trial| {
        let ran = trial.dir("/etc/systemd/user").run();
        assert!(ran.read("/etc/systemd/user/notes.service").contains("http.server --directory %h/notes\n"));
        assert_eq!(ran.entry("/etc/systemd/user/default.target.wants/notes.service").kind, "link");
        uses_all_but(&ran, "session", &[]);
    }),
    ("switched_off", |trial| {
        let unit = "[Service]\n[Install]\nWantedBy=bluetooth.target\n";
        let link = "/etc/systemd/system/bluetooth.target.wants/bluetooth.service";
        let trial = trial.file("/usr/lib/systemd/system/bluetooth.service", unit);
        let ran = trial.link(link, "/usr/lib/systemd/system/bluetooth.service").run();
        assert!(!ran.exists(link));
        assert_eq!(ran.entry("/etc/systemd/system/apt-daily.timer").kind, "link");
        uses_all_but(&ran, "switched_off", &[]);
    }),
];

const FILES: Attempts = &[
    ("files", |trial| {
        let ran = trial.run();
        let data = ran.entry("/srv/field/data");
        assert_eq!((data.mode, data.user(), data.group()), (0o770, "root", "field"));
        assert_eq!(ran.entry("/srv/field/current").kind, "link");
        uses_all_but(&ran, "files", &["fs:write:/srv/field/**"]);
    }),
    ("unpack", |trial| {
        let files = tempfile::tempdir().unwrap();
        std::fs::create_dir(files.path().join("app-1.2")).unwrap();
        std::fs::write(files.path().join("app-1.2/main"), "x").unwrap();
        let archive = files.path().join("release.tar.gz");
        let made = Command::new("tar").arg("-C").arg(files.path()).arg("-czf").arg(&archive).arg("app-1.2").status();
        assert!(made.unwrap().success());
        let ran = trial.asset_from("release", archive).run();
        assert_eq!(ran.read("/opt/release/main"), "x");
        uses_all_but(&ran, "unpack", &[]);
    }),
    ("edit", |trial| {
        let ran = trial.run();
        assert_eq!(ran.read("/etc/login.defs"), "UMASK 077\nHOME_MODE\t0750\n");
        assert_eq!(ran.read("/etc/hosts"), "127.0.0.1\tlocalhost loopback\n127.0.1.1\traspberrypi\n10.0.0.1\tserver\n");
        uses_all_but(&ran, "edit", &[]);
    }),
    ("download", |trial| {
        let ran = trial.download("https://example.org/models/v3.bin", "hello\n").run();
        assert_eq!(ran.read("/opt/model.bin"), "hello\n");
        uses_all_but(&ran, "download", &[]);
    }),
    ("checkout", |trial| {
        let files = [("main.py", "print()\n"), ("data/a.txt", "a\n")];
        let ran = trial.checkout("https://git.example.org/field/app.git", files).run();
        assert_eq!((ran.read("/opt/app/main.py"), ran.read("/opt/app/data/a.txt")), ("print()\n".into(), "a\n".into()));
        uses_all_but(&ran, "checkout", &[]);
    }),
];

const BOARD: Attempts = &[
    ("buses", |trial| {
        let place = tempfile::tempdir().unwrap();
        let tree = place.path().join("tree");
        let parameters: &[(&str, &[u8])] = &[("i2c_arm", b""), ("spi", b"")];
        std::fs::write(&tree, device_tree(&[("__overrides__", parameters), ("__symbols__", &[])])).unwrap();
        let trial = trial.file_from("/boot/firmware/bcm2711-rpi-4-b.dtb", &tree);
        let trial = trial.file_from("/boot/firmware/overlays/i2c-rtc.dtbo", &tree).dir("/etc/modules-load.d");
        let ran = trial.run();
        let lines = "dtparam=i2c_arm=on\ndtparam=spi=on\ndtoverlay=i2c-rtc,ds3231\ncamera_auto_detect=1\n";
        assert!(ran.read("/boot/firmware/config.txt").ends_with(lines), "{}", ran.read("/boot/firmware/config.txt"));
        uses_all_but(&ran, "buses", &[]);
    }),
    ("kernel", |trial| {
        let ran = trial.dir("/etc/sysctl.d").run();
        assert!(ran.read("/boot/firmware/cmdline.txt").ends_with(" quiet usbcore.autosuspend=-1\n"));
        uses_all_but(&ran, "kernel", &[]);
    }),
    ("udev", |trial| {
        let ran = trial.dir("/etc/udev/rules.d").run();
        assert!(ran.read("/etc/udev/rules.d/60-sensor.rules").contains("SYMLINK+=\"sensor\", GROUP=\"sensor\""));
        uses_all_but(&ran, "udev", &[]);
    }),
    ("journal", |trial| {
        let ran = trial.run();
        assert!(ran.read("/etc/systemd/journald.conf.d/10-field.conf").contains("\nStorage=volatile\n"));
        uses_all_but(&ran, "journal", &[]);
    }),
    ("zram", |trial| {
        let ran = trial.run();
        assert!(ran.read("/etc/systemd/zram-generator.conf").starts_with("[zram0]\n"));
        uses_all_but(&ran, "zram", &[]);
    }),
];
