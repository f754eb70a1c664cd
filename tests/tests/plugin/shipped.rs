//! The plugins of this repository: what they write into an image that has what their packages bring. They are granted
//! what they ask for and nothing else, so that each run shows that this is enough.

mod robots;

use std::io::{Seek as _, Write as _};
use std::os::unix::fs::symlink;

use piimg_tests::device_tree::device_tree;

use super::users::image_with_accounts;
use super::*;

/// An image with these files, their directories, and files for the firmware.
pub(super) fn image_with(files: &[(&str, &str)]) -> tempfile::TempDir {
    let root = image_with_accounts();
    let firmware = [("boot/firmware/config.txt", "kernel=vmlinuz\n"), ("boot/firmware/cmdline.txt", "console=tty1\n")];
    for (path, content) in files.iter().chain(&firmware) {
        let path = root.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }
    let tree = device_tree(&[("__overrides__", &[("spi", b"")])]);
    std::fs::write(root.path().join(TREE), tree).unwrap();
    root
}

const TREE: &str = "boot/firmware/bcm2710-rpi-3-b.dtb";

fn run_shipped(root: tempfile::TempDir, name: &str, params: &[(&str, &str)], assets: &[(&str, &str)]) -> Ran {
    let plugin = look(name).unwrap();
    // As the plan does it: what the user says, over the plugin's own.
    let own = plugin.conf.params.iter().filter_map(|param| Some((param.name.as_str(), param.default.as_deref()?)));
    let params: Vec<(&str, &str)> = own.chain(params.iter().copied()).collect();
    let file = |text: &str| {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        file.rewind().unwrap();
        file
    };
    let assets = assets.iter().map(|(name, text)| ((*name).to_owned(), file(text))).collect();
    run_with_assets(&engine(), root, &plugin, &all(), (&params, assets), Limits::EXECUTE)
}

const BASE: [(&str, &str); 8] = [
    ("etc/locale.gen", "# en_GB.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n"),
    ("etc/default/keyboard", "XKBLAYOUT=us\n"),
    ("etc/timezone", "Etc/UTC\n"),
    ("etc/udev/rules.d/README", ""),
    ("etc/modules-load.d/modules.conf", ""),
    ("usr/share/zoneinfo/Etc/UTC", "TZif2"),
    ("usr/share/zoneinfo/Europe/London", "TZif2"),
    ("usr/lib/systemd/system/apt-daily.timer", "[Timer]\n[Install]\nWantedBy=timers.target\n"),
];

#[test]
fn base_sets_the_region_and_lends_the_buses() {
    let root = image_with(&BASE);
    symlink("/usr/share/zoneinfo/Etc/UTC", root.path().join("etc/localtime")).unwrap();
    let params = [("locale", "en_GB.UTF-8"), ("keyboard", "gb"), ("timezone", "Europe/London"), ("user", "ann")];
    let ran = run_shipped(root, "base", &params, &[]);
    ran.result.as_ref().unwrap();
    let read = |path: &str| ran.read(path).unwrap();
    assert_eq!(read("etc/locale.gen"), "en_GB.UTF-8 UTF-8\n# en_US.UTF-8 UTF-8\n");
    assert_eq!(read("etc/default/locale"), "LANG=en_GB.UTF-8\n");
    let commands: Vec<_> = ran.commands.iter().map(|command| (command.program.as_str(), command.args.len())).collect();
    assert_eq!(commands, [("locale-gen", 0)]);
    assert!(read("etc/default/keyboard").contains("\nXKBLAYOUT=\"gb\"\n"));
    let localtime = std::fs::read_link(ran.root.path().join("etc/localtime")).unwrap();
    assert_eq!(localtime.to_str(), Some("/usr/share/zoneinfo/Europe/London"));
    assert_eq!(read("etc/timezone"), "Europe/London\n");

    let group = read("etc/group");
    for name in ["gpio", "i2c", "spi"] {
        assert!(group.lines().any(|line| line.starts_with(&format!("{name}:x:")) && line.ends_with(":ann")), "{group}");
    }
    assert!(read("etc/udev/rules.d/60-piimg-base.rules").contains("GROUP=\"spi\""));
    assert_eq!(read("etc/modules-load.d/piimg-base.conf"), "i2c-dev\n");
    assert_eq!(read("boot/firmware/config.txt"), "kernel=vmlinuz\ndtparam=i2c_arm=on\ndtparam=spi=on\n");
    assert!(read("etc/systemd/system/apt-daily.timer.d/later.conf").contains("\nPersistent=no\n"));
}

/// As on Debian's own releases.
#[test]
fn base_leaves_the_buses_to_a_kernel_that_takes_no_parameters() {
    let root = image_with(&BASE);
    symlink("/usr/share/zoneinfo/Etc/UTC", root.path().join("etc/localtime")).unwrap();
    std::fs::write(root.path().join(TREE), device_tree(&[])).unwrap();
    let ran = run_shipped(root, "base", &[("user", "ann")], &[]);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.read("boot/firmware/config.txt").unwrap(), "kernel=vmlinuz\n");
    for bus in ["i2c_arm", "spi"] {
        let start = format!("piimg/base: {bus} is left as the kernel has it: `dtparam={bus}=on` would do nothing");
        assert!(ran.log.iter().any(|line| line.starts_with(&start)), "{start} is not in {:?}", ran.log);
    }
}

#[test]
fn base_names_what_the_image_does_not_have() {
    let ran = run_shipped(image_with(&BASE), "base", &[("timezone", "Europe/Lodnon")], &[]);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert!(message.starts_with("there is no time zone `Europe/Lodnon` in the image"), "{message}");
    let ran = run_shipped(image_with(&BASE), "base", &[("locale", "english")], &[]);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert!(message.starts_with("`english` is no locale"), "{message}");
    assert_eq!(ran.read("etc/locale.gen").as_deref(), Some(BASE[0].1));
}

const HARDENING: [(&str, &str); 6] = [
    ("etc/nftables.conf", "flush ruleset\n"),
    ("etc/ssh/sshd_config.d/README", ""),
    ("etc/sysctl.d/README", ""),
    ("etc/modprobe.d/README", ""),
    ("usr/lib/systemd/system/nftables.service", "[Service]\n[Install]\nWantedBy=sysinit.target\n"),
    ("usr/lib/systemd/system/apt-daily-upgrade.timer", "[Timer]\n[Install]\nWantedBy=timers.target\n"),
];

fn image_to_harden() -> tempfile::TempDir {
    let root = image_with(&HARDENING);
    let wants = root.path().join("etc/systemd/system/timers.target.wants");
    std::fs::create_dir_all(&wants).unwrap();
    symlink("/usr/lib/systemd/system/apt-daily-upgrade.timer", wants.join("apt-daily-upgrade.timer")).unwrap();
    root
}

#[test]
fn hardening_opens_what_was_named_and_nothing_else() {
    let ran = run_shipped(image_to_harden(), "hardening", &[("ports", "tcp/22 udp/67")], &[]);
    ran.result.as_ref().unwrap();
    let read = |path: &str| ran.read(path).unwrap();
    let rules = read("etc/nftables.conf");
    assert!(rules.contains("policy drop;") && !rules.contains("5353") && !rules.contains("flush ruleset"), "{rules}");
    assert!(rules.ends_with("\t\ttcp dport 22 accept\n\t\tudp dport 67 accept\n\t}\n}\n"), "{rules}");
    let links = ran.root.path().join("etc/systemd/system");
    assert!(links.join("sysinit.target.wants/nftables.service").is_symlink());
    assert!(links.join("timers.target.wants/apt-daily-upgrade.timer").is_symlink(), "updates were not to be stopped");
    assert!(read("etc/ssh/sshd_config.d/10-piimg-hardening.conf").contains("\nPasswordAuthentication no\n"));
    assert!(read("etc/sysctl.d/90-piimg-hardening.conf").contains("\nkernel.kptr_restrict = 2\n"));
    assert!(read("etc/modprobe.d/piimg-hardening.conf").contains("\ninstall dccp /bin/false\n"));
    assert_eq!(ran.log, ["piimg/hardening: SSH takes keys only: the image needs one, or nobody can log in with it"]);
}

#[test]
fn hardening_heeds_its_parameters() {
    let ran = run_shipped(image_to_harden(), "hardening", &[("ssh-passwords", "true"), ("updates", "false")], &[]);
    ran.result.as_ref().unwrap();
    let ssh = ran.read("etc/ssh/sshd_config.d/10-piimg-hardening.conf").unwrap();
    assert!(ssh.contains("\nPasswordAuthentication yes\n"), "{ssh}");
    assert!(!ran.root.path().join("etc/systemd/system/timers.target.wants/apt-daily-upgrade.timer").is_symlink());
    assert!(ran.log.is_empty(), "{:?}", ran.log);

    let ran = run_shipped(image_to_harden(), "hardening", &[("ports", "ssh")], &[]);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert_eq!(message, "`ssh` is no port: it is such as `tcp/22` or `udp/5353`");
    assert_eq!(ran.read("etc/nftables.conf").as_deref(), Some("flush ruleset\n"));
}

const CLOUD_INIT: [(&str, &str); 2] = [
    ("etc/cloud/cloud.cfg.d/README", ""),
    ("usr/lib/systemd/system/cloud-init-local.service", "[Service]\n[Install]\nWantedBy=cloud-init.target\n"),
];

#[test]
fn cloud_init_finds_what_the_user_hands_over() {
    let assets = [("user-data", "#cloud-config\nhostname: field\n"), ("network-config", "version: 2\n")];
    let ran = run_shipped(image_with(&CLOUD_INIT), "cloud-init", &[("user", "ann")], &assets);
    ran.result.as_ref().unwrap();
    let read = |path: &str| ran.read(path).unwrap();
    assert_eq!(read("boot/firmware/user-data"), assets[0].1);
    assert_eq!(read("boot/firmware/network-config"), assets[1].1);
    assert_eq!(read("boot/firmware/meta-data"), "instance-id: box-test\nlocal-hostname: box\n");
    let config = read("etc/cloud/cloud.cfg.d/99-piimg.cfg");
    assert!(
        config.contains("    seedfrom: file:///boot/firmware/\n") && config.contains("    name: ann\n"),
        "{config}"
    );
    assert!(!config.contains("network:"), "{config}");
    let drop_in = read("etc/systemd/system/cloud-init-local.service.d/piimg.conf");
    assert_eq!(drop_in, "[Unit]\nRequiresMountsFor=/boot/firmware\n");
}

#[test]
fn cloud_init_leaves_the_network_alone_and_refuses_what_would_be_ignored() {
    let ran = run_shipped(image_with(&CLOUD_INIT), "cloud-init", &[], &[]);
    ran.result.as_ref().unwrap();
    assert!(ran.read("boot/firmware/user-data").unwrap().starts_with("#cloud-config\n"));
    assert_eq!(ran.read("boot/firmware/network-config"), None);
    assert!(ran.read("etc/cloud/cloud.cfg.d/99-piimg.cfg").unwrap().contains("\nnetwork: {config: disabled}\n"));

    let ran = run_shipped(image_with(&CLOUD_INIT), "cloud-init", &[], &[("user-data", "hostname: field\n")]);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert!(message.starts_with("the asset `user-data` begins with `hostname: field`, which cloud-init"), "{message}");
    assert_eq!(ran.read("boot/firmware/user-data"), None);
}

const ACCESS_POINT: [(&str, &str); 3] =
    [("etc/NetworkManager/NetworkManager.conf", ""), ("etc/udev/rules.d/README", ""), ("usr/local/sbin/README", "")];

#[test]
fn access_point_leaves_its_name_to_the_first_boot() {
    let params = [("passphrase", "correct horse"), ("country", "GB"), ("prefix", "cart-"), ("interface", "wlan1")];
    let ran = run_shipped(image_with(&ACCESS_POINT), "access-point", &params, &[]);
    ran.result.as_ref().unwrap();
    let read = |path: &str| ran.read(path).unwrap();
    let mode = |path: &str| std::fs::metadata(ran.root.path().join(path)).unwrap().mode() & 0o7777;
    let template = read("etc/NetworkManager/piimg-access-point.template");
    assert!(template.contains("\nssid=cart-@@@@\n") && template.contains("\npsk=correct horse\n"), "{template}");
    assert_eq!(mode("etc/NetworkManager/piimg-access-point.template"), 0o600);
    assert_eq!(mode("usr/local/sbin/piimg-access-point"), 0o755);
    let unit = read("etc/systemd/system/piimg-access-point.service");
    assert!(unit.contains("\nExecStart=/usr/local/sbin/piimg-access-point /sys/class/net/wlan1/address "), "{unit}");
    let rules = read("etc/udev/rules.d/70-piimg-access-point.rules");
    assert!(rules.contains("KERNEL==\"wlan1\"") && rules.contains("+=\"piimg-access-point.service\""), "{rules}");
    assert_eq!(read("boot/firmware/cmdline.txt"), "console=tty1 cfg80211.ieee80211_regdom=GB\n");
    assert!(ran.commands.is_empty());
}

#[test]
fn access_point_refuses_what_would_not_work() {
    for (passphrase, country, expected) in [
        (
            "short",
            "GB",
            "the passphrase of the wireless network `robot-@@@@` does not have 8 to 63 printable ASCII characters, \
             or 64 hexadecimal digits",
        ),
        ("correct horse", "Britain", "`Britain` is no country: it is two capital letters, such as `GB`"),
    ] {
        let params = [("passphrase", passphrase), ("country", country)];
        let ran = run_shipped(image_with(&ACCESS_POINT), "access-point", &params, &[]);
        assert_eq!(ran.failure(Kind::Plugin).messages[1], expected);
        assert_eq!(ran.read("etc/NetworkManager/piimg-access-point.template"), None);
    }
}

#[test]
fn a_plugin_without_its_grants_is_refused() {
    for (name, files, params, needed) in [
        ("base", BASE.as_slice(), [("user", "ann"), ("keyboard", "gb")], "fs:read:/etc/locale.gen"),
        ("hardening", &HARDENING, [("updates", "true"), ("ssh-passwords", "true")], "fs:write:/etc/nftables.conf"),
        ("cloud-init", &CLOUD_INIT, [("user", "ann"), ("user", "ann")], "fs:write:/boot/firmware/user-data"),
        (
            "access-point",
            &ACCESS_POINT,
            [("passphrase", "correct horse"), ("country", "GB")],
            "boot:cmdline:cfg80211.ieee80211_regdom",
        ),
    ] {
        let plugin = look(name).unwrap();
        let own = plugin.conf.params.iter().filter_map(|param| Some((param.name.as_str(), param.default.as_deref()?)));
        let params: Vec<(&str, &str)> = own.chain(params).collect();
        let ran = run_plugin(image_with(files), &plugin, &Granted::default(), &params, Limits::EXECUTE);
        let report = ran.failure(Kind::Grant);
        assert!(report.hints.iter().any(|hint| hint.contains(needed)), "{name}: {report:?}");
    }
}
