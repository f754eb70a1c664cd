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
fn desktop_needs_no_settings_of_others() {
    let ran = run_shipped(image_of_ann(&DESKTOP[..2]), "desktop", &[], &[]);
    ran.result.as_ref().unwrap();
    assert_eq!(ran.read("etc/dconf/profile/user").as_deref(), Some("user-db:user\nsystem-db:piimg-desktop\n"));
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
    let unit = read("etc/systemd/system/roscore.service");
    assert!(unit.contains("\nUser=ann\n") && unit.contains("\nExecStart=/usr/local/bin/ros-env python3 -c "), "{unit}");
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

const BREADCRUMB: [(&str, &str); 7] = [
    ("usr/local/bin/ros-env", ""),
    ("opt/README", ""),
    ("home/ann/catkin_ws/src/README", ""),
    ("etc/ros/setup.d/README", ""),
    ("etc/sudoers.d/README", ""),
    ("etc/NetworkManager/system-connections/README", ""),
    ("usr/lib/systemd/system/roscore.service", "[Service]\n[Install]\nWantedBy=multi-user.target\n"),
];

#[test]
fn breadcrumb_makes_a_robot_of_a_ros() {
    let params = [("user", "ann"), ("screen", "robot_screen touch.launch")];
    let ran = run_shipped(image_of_ann(&BREADCRUMB), "breadcrumb", &params, &[]);
    ran.result.as_ref().unwrap();
    let read = |path: &str| ran.read(path).unwrap();
    let metadata = |path: &str| std::fs::metadata(ran.root.path().join(path)).unwrap();
    let attributes = |path: &str| (metadata(path).mode() & 0o7777, metadata(path).uid());

    let package = "home/ann/catkin_ws/src/breadcrumb_bringup";
    assert!(read(&format!("{package}/package.xml")).contains("<name>breadcrumb_bringup</name>"));
    assert_eq!(attributes(&format!("{package}/launch")), (0o755, 1001));
    assert_eq!(attributes(&format!("{package}/src/heartbeat.cpp")), (0o644, 1001));
    let commands: Vec<_> = ran.commands.iter().map(|it| format!("{} {}", it.program, it.args.join(" "))).collect();
    assert_eq!(commands, ["/usr/local/bin/ros-env catkin_make", "/usr/sbin/visudo -c -f /etc/sudoers.d/piimg-ann"]);
    let compile = &ran.commands[0];
    assert_eq!((compile.user.as_deref(), compile.cwd.as_deref()), (Some("ann"), Some("/home/ann/catkin_ws")));

    assert!(read("etc/sudoers.d/piimg-ann").starts_with("ann ALL=(root) NOPASSWD: /usr/bin/systemctl poweroff, "));
    assert_eq!(attributes("etc/sudoers.d/piimg-ann"), (0o440, 0));
    let connection = read("etc/NetworkManager/system-connections/breadcrumb.nmconnection");
    assert!(connection.contains("\ninterface-name=eth*;\n"), "{connection}");
    assert!(connection.contains("\nmethod=manual\naddress1=192.168.42.125/24\n"), "{connection}");

    let unit = read("etc/systemd/system/breadcrumb.service");
    assert!(
        unit.contains("\nUser=ann\nExecStart=/usr/local/bin/ros-env roslaunch --wait breadcrumb_bringup base.launch\n")
    );
    let drop_in = read("etc/systemd/system/roscore.service.d/breadcrumb.conf");
    assert_eq!(drop_in, "[Service]\nRuntimeDirectory=roscore\nEnvironment=ROS_LOG_DIR=/run/roscore\n");
    let name = read("etc/systemd/system/breadcrumb-name.service");
    assert!(name.contains("\nExecStart=/opt/breadcrumb/name-machine /sys/class/net/wlan0/address box\n"), "{name}");
    for unit in ["breadcrumb.service", "breadcrumb-name.service"] {
        let link = ran.root.path().join("etc/systemd/system/multi-user.target.wants").join(unit);
        assert!(link.is_symlink(), "{unit} does not start");
    }
    assert_eq!(attributes("opt/breadcrumb/name-machine"), (0o755, 0));
    let autostart = "home/ann/.config/autostart";
    assert!(read(&format!("{autostart}/breadcrumb.desktop")).contains("/show-screen robot_screen touch.launch\n"));
    assert_eq!(attributes(autostart), (0o755, 1001));
    assert!(ran.requests.is_empty(), "{:?} was asked for", ran.requests);
}

/// An id of a commit.
const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

#[test]
fn breadcrumb_asks_for_its_sources_where_it_was_told() {
    let params = [
        ("user", "ann"),
        ("commit", COMMIT),
        ("git-host", "git.example.com"),
        ("git-owner", "field"),
        ("git-repository", "cart.git"),
    ];
    let ran = run_shipped(image_of_ann(&BREADCRUMB), "breadcrumb", &params, &[]);
    assert_eq!(ran.requests, ["https://git.example.com/field/cart.git/git-upload-pack"]);
    // There is no server behind this image.
    assert_eq!(ran.failure(Kind::Plugin).messages[1], "there is no server of git");
    assert!(ran.commands.is_empty(), "{:?} ran without the sources", ran.commands);
}

#[test]
fn breadcrumb_sends_a_secret_only_with_its_grant() {
    let plugin = look("breadcrumb").unwrap();
    let own = plugin.conf.params.iter().filter_map(|param| Some((param.name.as_str(), param.default.as_deref()?)));
    let params: Vec<(&str, &str)> = own.chain([("user", "ann"), ("commit", COMMIT), ("private", "true")]).collect();
    let required = plugin.conf.capabilities.iter().filter(|it| !it.optional).map(|it| it.scope.clone());
    let repository = "net:https://{params.git-host}/{params.git-owner}/{params.git-repository}/**".to_owned();
    let without_secret: Vec<String> = required.clone().chain([repository]).collect();
    for (scopes, needed) in [
        (without_secret, "secret:git-token"),
        (required.collect(), "net:https://git.example.org/example/breadcrumb/**"),
    ] {
        let granted = Granted { scopes: scopes_of("--grant", &scopes).unwrap(), ..Granted::default() };
        let ran = run_plugin(image_of_ann(&BREADCRUMB), &plugin, &granted, &params, Limits::EXECUTE);
        let report = ran.failure(Kind::Grant);
        assert!(report.hints.iter().any(|hint| hint.contains(needed)), "{needed}: {report:?}");
        assert!(ran.requests.is_empty(), "{:?} was asked for", ran.requests);
    }
}

#[test]
fn breadcrumb_refuses_what_would_not_work() {
    let launch =
        "`base.launch` is nothing to launch: it is a package and a file, such as `breadcrumb_bringup base.launch`";
    let address = "`10.0.0.1` is no address with its network, such as `192.168.42.125/24`";
    for (param, expected) in [(("launch", "base.launch"), launch), (("address", "10.0.0.1"), address)] {
        let ran = run_shipped(image_of_ann(&BREADCRUMB), "breadcrumb", &[("user", "ann"), param], &[]);
        assert_eq!(ran.failure(Kind::Plugin).messages[1], expected);
        assert!(ran.commands.is_empty());
    }
    let ran = run_shipped(image_of_ann(&BREADCRUMB[1..]), "breadcrumb", &[("user", "ann")], &[]);
    let message = &ran.failure(Kind::Plugin).messages[1];
    assert_eq!(message, "the image has no ROS: let the plugin `piimg/ros` run before this one");
}

#[test]
fn a_plugin_for_robots_without_its_grants_is_refused() {
    for (name, files, param, needed) in [
        ("desktop", DESKTOP.as_slice(), ("autologin", "ann"), "fs:read:/etc/passwd"),
        ("ros", &ROS, ("user", "ann"), "pkg:install:ros-base"),
        ("breadcrumb", &BREADCRUMB, ("user", "ann"), "fs:read:/usr/local/bin/ros-env"),
    ] {
        let plugin = look(name).unwrap();
        let own = plugin.conf.params.iter().filter_map(|param| Some((param.name.as_str(), param.default.as_deref()?)));
        let params: Vec<(&str, &str)> = own.chain([param]).collect();
        let ran = run_plugin(image_of_ann(files), &plugin, &Granted::default(), &params, Limits::EXECUTE);
        let report = ran.failure(Kind::Grant);
        assert!(report.hints.iter().any(|hint| hint.contains(needed)), "{name}: {report:?}");
        assert!(ran.commands.is_empty() && ran.packages.is_empty(), "{name}");
    }
}
