#![expect(
    clippy::disallowed_methods,
    reason = "the scripts are run as they are, and the tools of the host are out of reach here"
)]

use std::path::PathBuf;
use std::process::{Command as Host, Output};

use super::*;

/// A directory of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("piimg-breadcrumb-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.join(name);
        std::fs::write(&path, text).unwrap();
        path
    }

    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.0.join(name)).unwrap()
    }

    /// Names a machine `cart` with this hardware address.
    fn name_after(&self, address: &str) -> Output {
        let script = self.write("script", include_str!("name-machine"));
        let address = self.write("address", address);
        Host::new("sh").arg(script).arg(address).arg("cart").arg(&self.0).output().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[test]
fn the_machine_is_named_after_the_address() {
    let scratch = Scratch::new("named");
    scratch.write("hostname", "cart\n");
    scratch.write("hosts", "127.0.0.1\tlocalhost\n127.0.1.1\tcart cart.local\n10.0.0.1\tserver\n");
    // Another boot before it was done makes no other name of it.
    for _ in 0..2 {
        let output = scratch.name_after("dc:a6:32:01:ab:cd\n");
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
        assert_eq!(scratch.read("hostname"), "cart-abcd\n");
        assert_eq!(
            scratch.read("hosts"),
            "127.0.0.1\tlocalhost\n127.0.1.1\tcart-abcd cart-abcd.local\n10.0.0.1\tserver\n"
        );
    }
}

#[test]
fn no_address_is_no_name() {
    let scratch = Scratch::new("unnamed");
    scratch.write("hostname", "cart\n");
    scratch.write("hosts", "127.0.0.1\tlocalhost\n");
    let output = scratch.name_after("\n");
    assert_eq!(output.status.code(), Some(1));
    let message = String::from_utf8_lossy(&output.stderr);
    assert!(message.ends_with("/address has no hardware address in it\n"), "{message}");
    assert_eq!(
        (scratch.read("hostname").as_str(), scratch.read("hosts").as_str()),
        ("cart\n", "127.0.0.1\tlocalhost\n")
    );
}

#[test]
fn ros_stays_here_unless_it_is_looked_into_or_elsewhere() {
    let scratch = Scratch::new("environment");
    let debug = scratch.0.join("debug");
    let text = include_str!("environment.bash").replace("/etc/breadcrumb/debug", debug.to_str().unwrap());
    let addition = scratch.write("environment.bash", &text);
    let master = |before: &str| {
        let script = format!("export ROS_MASTER_URI={before}; . {}; printf %s $ROS_MASTER_URI", addition.display());
        let output = Host::new("bash").args(["-c", &script]).output().unwrap();
        String::from_utf8_lossy(&output.stdout).into_owned()
    };
    assert_eq!(master("http://$(hostname):11311"), "http://localhost:11311");
    assert_eq!(master("http://other:11311"), "http://other:11311");
    std::fs::write(&debug, "").unwrap();
    assert_ne!(master("http://$(hostname):11311"), "http://localhost:11311");
}

#[test]
fn what_is_launched_is_a_package_and_a_file() {
    assert_eq!(checks::launch("robot_bringup base.launch").unwrap(), "robot_bringup base.launch");
    for odd in [
        "",
        "robot_bringup",
        "robot_bringup base.launch x:=1",
        "robot_bringup ../base.launch",
        "--help x",
        "a b\nUser=root",
    ] {
        assert_eq!(
            checks::launch(odd).unwrap_err(),
            format!(
                "`{}` is nothing to launch: it is a package and a file, such as `breadcrumb_bringup base.launch`",
                odd.escape_debug()
            )
        );
    }
}

#[test]
fn what_would_be_more_than_a_name_is_refused() {
    assert_eq!(checks::name("catkin_ws-2"), Ok(()));
    for odd in ["", "-x", "my ws", "ws;reboot", "a.b"] {
        assert_eq!(
            checks::name(odd).unwrap_err(),
            format!("`{odd}` is no name of a user, directory or interface here: letters, digits, `_` and `-`")
        );
    }
}

#[test]
fn the_programs_run_as_the_user_and_log_into_memory() {
    let unit = units::application("ann", "robot_bringup base.launch");
    assert!(
        unit.contains(
            "\n[Service]\nRuntimeDirectory=breadcrumb\nEnvironment=ROS_LOG_DIR=/run/breadcrumb\nUser=ann\n\
             ExecStart=/usr/local/bin/ros-env roslaunch --wait robot_bringup base.launch\n"
        ),
        "{unit}"
    );
    assert!(unit.contains("\nPartOf=roscore.service\nAfter=roscore.service "), "{unit}");
    let name = units::name("wlan0", "cart");
    assert!(name.contains("\nBefore=avahi-daemon.service "), "{name}");
    assert!(name.contains("\nExecStart=/opt/breadcrumb/name-machine /sys/class/net/wlan0/address cart\n"), "{name}");
}

#[test]
fn it_asks_for_exactly_the_files_that_it_writes() {
    let scopes = Breadcrumb::conf().capabilities().into_iter().map(|capability| capability.scope);
    let mut files: Vec<String> =
        scopes.filter_map(|scope| scope.strip_prefix("fs:write:").map(str::to_owned)).collect();
    files.sort();
    let home = "/home/{params.user}";
    let mut expected = [
        ADDITION,
        CONFIG,
        SCRIPTS,
        NAME,
        SCREEN,
        "/etc/sudoers.d/piimg-{params.user}",
        "/etc/NetworkManager/system-connections/breadcrumb.nmconnection",
        &format!("{home}/{{params.workspace}}/**"),
        &format!("{home}/.config"),
        &format!("{home}/.config/autostart"),
        &format!("{home}/.config/autostart/breadcrumb.desktop"),
    ]
    .map(str::to_owned);
    expected.sort();
    assert_eq!(files, expected);
}
