//! The plugins of which a robot's image is made: `desktop`, `ros` and `breadcrumb`.

use super::*;

const ACCOUNTS: [(&str, &str); 2] = [
    ("etc/passwd", "root:x:0:0:root:/root:/bin/bash\nann:x:1001:1001::/home/ann:/bin/bash\n"),
    ("etc/group", "root:x:0:\nsudo:x:27:\nann:x:1001:\n"),
];

fn image_of_ann(files: &[(&str, &str)]) -> tempfile::TempDir {
    image_with(&[&ACCOUNTS, files].concat())
}

const DESKTOP: [(&str, &str); 3] = [
    ("etc/gdm3/daemon.conf", "[daemon]\n#  AutomaticLogin = user1\n"),
    ("etc/dconf/db/README", ""),
    ("etc/dconf/profile/user", "user-db:user\nsystem-db:site\n"),
];

#[test]
fn desktop_logs_in_whom_it_was_told_and_stays_awake() {
    let params = [("autologin", "ann"), ("session", "x11")];
    let ran = run_shipped(image_of_ann(&DESKTOP), "desktop", &params, &[]);
    ran.result.as_ref().unwrap();
    let read = |path: &str| ran.read(path).unwrap();
    let gdm = read("etc/gdm3/daemon.conf");
    assert!(gdm.ends_with("\nWaylandEnable=false\nAutomaticLoginEnable=true\nAutomaticLogin=ann\n"), "{gdm}");
    assert!(read("etc/dconf/db/piimg-desktop.d/stay-awake").contains("\nidle-delay=uint32 0\n"));
    assert_eq!(read("etc/dconf/profile/user"), "user-db:user\nsystem-db:site\nsystem-db:piimg-desktop\n");
    let commands: Vec<_> = ran.commands.iter().map(|it| format!("{} {}", it.program, it.args.join(" "))).collect();
    assert_eq!(commands, ["dconf compile /etc/dconf/db/piimg-desktop /etc/dconf/db/piimg-desktop.d"]);
    for unit in ["sleep", "suspend", "hibernate", "hybrid-sleep", "suspend-then-hibernate"] {
        let link = std::fs::read_link(ran.root.path().join(format!("etc/systemd/system/{unit}.target"))).unwrap();
        assert_eq!(link.to_str(), Some("/dev/null"), "{unit}");
    }
    // What was on the line is there still.
    assert_eq!(read("boot/firmware/cmdline.txt"), "console=tty1 usbhid.mousepoll=4\n");
    assert_eq!(ran.log, ["piimg/desktop: ann is logged in without a password by whoever turns the machine on"]);
}

#[test]
fn desktop_leaves_alone_what_was_not_wanted() {
    let params = [("stay-awake", "false"), ("mousepoll", "0")];
    let ran = run_shipped(image_of_ann(&DESKTOP), "desktop", &params, &[]);
    ran.result.as_ref().unwrap();
    assert!(ran.read("etc/gdm3/daemon.conf").unwrap().ends_with("\n[daemon]\nWaylandEnable=true\n"));
    assert_eq!(ran.read("etc/dconf/profile/user").as_deref(), Some(DESKTOP[2].1));
    assert!(!ran.root.path().join("etc/systemd/system").exists());
    assert_eq!(ran.read("boot/firmware/cmdline.txt").as_deref(), Some("console=tty1\n"));
    assert!(ran.commands.is_empty() && ran.log.is_empty(), "{:?}", ran.log);

    let ran = run_shipped(image_of_ann(&DESKTOP), "desktop", &[("autologin", "bob")], &[]);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert!(message.starts_with("the image has no user `bob` to log in: make it with `[user]`"), "{message}");
    assert_eq!(ran.read("etc/gdm3/daemon.conf").as_deref(), Some(DESKTOP[0].1));
}

const ROS: [(&str, &str); 2] = [("home/ann/.bashrc", "# mine\n"), ("usr/local/bin/README", "")];

#[test]
fn ros_is_the_releases_own_with_a_workspace_of_the_users() {
    let ran = run_shipped(image_of_ann(&ROS), "ros", &[("user", "ann"), ("variant", "core")], &[]);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.packages, ["ros-core", "rosbash", "build-essential", "ros-core-dev"]);
    let read = |path: &str| ran.read(path).unwrap();
    let setup = read("etc/ros/setup.bash");
    assert!(setup.contains("\nexport ROS_MASTER_URI=http://$(hostname):11311\n"), "{setup}");
    assert!(setup.contains("/home/ann/catkin_ws/devel/setup.bash") && !setup.contains("/opt/ros"), "{setup}");
    let metadata = |path: &str| std::fs::metadata(ran.root.path().join(path)).unwrap();
    assert_eq!(metadata("usr/local/bin/ros-env").mode() & 0o7777, 0o755);
    assert_eq!(metadata("home/ann/catkin_ws/src").uid(), 1001);
    assert_eq!(read("home/ann/.bashrc"), "# mine\n. /etc/ros/setup.bash\n");
    assert!(
        read("etc/systemd/system/roscore.service").contains("\nUser=ann\nExecStart=/usr/local/bin/ros-env roscore\n")
    );
    assert!(ran.root.path().join("etc/systemd/system/multi-user.target.wants/roscore.service").is_symlink());
    assert!(ran.commands.is_empty());
}

#[test]
fn ros_heeds_its_parameters() {
    let params = [("user", "ann"), ("tools", "false"), ("roscore", "false"), ("master", "http://robot.local:11311")];
    let ran = run_shipped(image_of_ann(&ROS), "ros", &params, &[]);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.packages, ["ros-base", "rosbash"]);
    assert!(ran.read("etc/ros/setup.bash").unwrap().contains("\nexport ROS_MASTER_URI=http://robot.local:11311\n"));
    assert_eq!(ran.read("etc/systemd/system/roscore.service"), None);

    let ran = run_shipped(image_of_ann(&ROS), "ros", &[("user", "ann"), ("master", "robot")], &[]);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert_eq!(message, "`robot` is no address of a master, such as `http://robot.local:11311`");
    assert!(ran.packages.is_empty(), "{:?} were installed for nothing", ran.packages);
}
