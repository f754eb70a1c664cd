//! A robot, for real: ROS from the archive, a workspace that is compiled in the image, and an image whose nodes talk when
//! it is booted in QEMU.
//!
//! Needs what `system.rs` needs. It installs and runs a compiler of another architecture, which takes some minutes.

#![expect(clippy::disallowed_methods, reason = "tests start piimg")]

use std::process::Command;
use std::time::Duration;

use piimg::image::boot::{BootOptions, boot};
use piimg_tests::{guest, piimg, system_store};

const RECIPE: &str = "[user]\nname = \"ubuntu\"\npassword = \"raspberry\"\n";

/// Beyond what the units allow themselves: on an emulated board Python takes its time.
const PATIENCE: Duration = Duration::from_secs(900);

#[test]
fn a_robot_says_that_it_is_up() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("piimg.toml"), RECIPE).unwrap();
    let mut command = Command::new(piimg());
    command.current_dir(dir.path()).env("SOURCE_DATE_EPOCH", "1750000000");
    command.args(["build", "--release", "bookworm", "--grant-requested", "--store"]).arg(system_store());
    command.arg("--plugin").arg(guest("ros")).arg("--plugin").arg(guest("breadcrumb"));
    // The emulated board has no wireless interface.
    command.args(["--param", "piimg/ros:variant=core", "--param", "piimg/breadcrumb:name-after=eth0"]);
    let output = command.output().unwrap();
    piimg_tests::expect_success(&output);
    let image = dir.path().join(String::from_utf8(output.stdout).unwrap().trim());

    let mut machine = boot(
        &std::fs::File::open(&image).unwrap(),
        &BootOptions { parser: piimg_tests::parser(), ..BootOptions::default() },
        Box::new(|_| {}),
    )
    .unwrap();
    machine.wait_for_login(PATIENCE).unwrap();
    machine.login("ubuntu", "raspberry").unwrap();
    let mut ask = |command: &str| {
        let (status, output) = machine.run(command, PATIENCE).unwrap();
        (status, output.trim().to_owned())
    };
    // One may log in before all is started. A master that was ended and started again would be one too many.
    assert_eq!(ask("systemctl is-system-running --wait"), (0, "running".into()));
    for unit in ["breadcrumb-name", "roscore", "breadcrumb"] {
        assert_eq!(ask(&format!("systemctl is-active {unit}")), (0, "active".into()), "{unit}");
    }
    let (_, journal) = ask("journalctl -b -o cat -n 40 -u roscore -u breadcrumb");
    assert_eq!(ask("systemctl show -P NRestarts roscore").1, "0", "{journal}");
    let digits = ask("tr -d ':\\n' </sys/class/net/eth0/address | tail -c 4").1;
    assert_eq!(ask("hostname"), (0, format!("breadcrumb-{digits}")));
    assert_eq!(ask("getent hosts $(hostname).local").0, 0);

    // The master is there, so that this fails at once if it cannot be asked, and otherwise waits for the node.
    let (status, heard) = ask("ros-env rostopic echo -n 2 /heartbeat");
    let seconds: Vec<u32> = heard.lines().filter_map(|line| line.strip_prefix("data: ")?.trim().parse().ok()).collect();
    assert!(status == 0 && seconds.len() == 2 && seconds[1] > seconds[0], "{status}: {heard}\n{journal}");
    // It is the node that was compiled here, by the user, and its logs are in memory.
    let node = "/home/ubuntu/catkin_ws/devel/lib/breadcrumb_bringup/heartbeat";
    assert_eq!(ask(&format!("stat -c %U {node}")), (0, "ubuntu".into()));
    assert_eq!(ask(&format!("test \"$(readlink /proc/$(pgrep -x heartbeat)/exe)\" = {node}")).0, 0);
    assert_eq!(ask("findmnt -n -o FSTYPE --target /run/breadcrumb"), (0, "tmpfs".into()));
    assert_eq!(ask("sudo -n /usr/bin/touch /etc/breadcrumb/debug && echo may"), (0, "may".into()));
    let (status, refused) = ask("sudo -n /usr/bin/touch /etc/breadcrumb/other");
    assert!(status != 0 && refused.contains("a password is required"), "{status}: {refused}");
    assert_eq!(ask("ip -4 -o address show dev eth0 | grep -c 'inet 192.168.42.125/24 '"), (0, "1".into()));
}
