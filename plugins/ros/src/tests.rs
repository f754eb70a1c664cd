#![expect(
    clippy::disallowed_methods,
    reason = "the environment is read by a shell as it is, and the tools of the host are out of reach here"
)]

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::*;

#[test]
fn each_release_has_its_ros() {
    for (distribution, release, packages) in [
        ("debian", "bookworm", "ros-base rosbash build-essential ros-base-dev"),
        ("debian", "trixie", "ros-base rosbash build-essential ros-base-dev"),
        ("ubuntu", "focal", "ros-noetic-ros-base build-essential"),
        ("ubuntu", "noble", "ros-jazzy-ros-base build-essential python3-colcon-common-extensions"),
    ] {
        let ros = Distribution::of(distribution, release).unwrap();
        assert_eq!(ros.packages("base", true).join(" "), packages, "{release}");
    }
    let noetic = Distribution::Ros1("noetic");
    assert_eq!(noetic.packages("desktop", false), ["ros-noetic-desktop"]);
    assert_eq!(noetic.packages("core", false), ["ros-noetic-ros-core"]);
    assert!(noetic.has_master() && !Distribution::Ros2("jazzy").has_master());
    assert_eq!(
        Distribution::of("ubuntu", "bionic").unwrap_err(),
        "there is no ROS for the release `bionic` of `ubuntu`: choose one of Debian, or focal, jammy or noble of Ubuntu"
    );
}

#[test]
fn it_may_install_what_it_installs_and_nothing_else() {
    let scopes = Ros::conf().capabilities().into_iter().map(|capability| capability.scope);
    let may: Vec<String> = scopes.filter_map(|scope| scope.strip_prefix("pkg:install:").map(str::to_owned)).collect();
    let all = [Distribution::Debian, Distribution::Ros1("noetic"), Distribution::Ros2("jazzy")];
    let installed: Vec<String> = all.iter().flat_map(|ros| ros.packages("base", true)).collect();
    let covers = |scope: &String, name: &String| match scope.strip_suffix('*') {
        Some(start) => name.starts_with(start),
        None => scope == name,
    };
    for name in &installed {
        assert!(may.iter().any(|scope| covers(scope, name)), "{name} is not in {may:?}");
    }
    for scope in &may {
        assert!(installed.iter().any(|name| covers(scope, name)), "{scope} is of no use");
    }
}

#[test]
fn a_master_is_an_address() {
    for odd in ["robot:11311", "http://robot; reboot", "http://$(reboot)", "http://robot\nreboot"] {
        let error = environment::setup(Distribution::Debian, "/home/ann/ws", odd, 0).unwrap_err();
        let odd = odd.escape_debug();
        assert_eq!(error, format!("`{odd}` is no address of a master, such as `http://robot.local:11311`"));
    }
}

#[test]
fn what_would_be_more_than_a_name_in_a_script_is_refused() {
    assert_eq!(environment::check_name("catkin_ws-2"), Ok(()));
    for odd in ["", "-x", "my ws", "ws;reboot", "$HOME", "a.b"] {
        let error = environment::check_name(odd).unwrap_err();
        assert_eq!(error, format!("`{odd}` is no name of a user or directory here: letters, digits, `_` and `-`"));
    }
}

/// A directory of the test's own, removed at its end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("piimg-ros-{name}-{}", std::process::id()));
        std::fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn write(&self, path: &str, text: &str) -> PathBuf {
        let path = self.0.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, text).unwrap();
        path
    }

    /// `ros-env` with the environment of this directory.
    fn run(&self, setup: &str, arguments: &[&str]) -> Output {
        let here = |text: &str, path: &str| text.replace(path, self.0.join(&path[1..]).to_str().unwrap());
        self.write(&SETUP[1..], &here(&here(setup, "/home/ann"), ADDITIONS));
        let program = self.write(&RUN[1..], &here(include_str!("ros-env"), SETUP));
        Command::new("bash").arg(program).args(arguments).output().unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        std::fs::remove_dir_all(&self.0).unwrap();
    }
}

#[track_caller]
fn printed(output: &Output) -> String {
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn a_program_runs_in_the_environment_of_workspace_and_additions() {
    let scratch = Scratch::new("environment");
    let setup = environment::setup(Distribution::Debian, "/home/ann/ws", "http://robot:11311", 0).unwrap();
    let show = ["sh", "-c", "echo $ROS_MASTER_URI $WORKSPACE $ADDED \"$1\"", "sh", "two words"];
    assert_eq!(printed(&scratch.run(&setup, &show)), "http://robot:11311 two words\n");

    scratch.write("home/ann/ws/devel/setup.bash", "export WORKSPACE=compiled$#\n");
    scratch.write("etc/ros/setup.d/app.bash", "export ADDED=yes ROS_MASTER_URI=http://other:11311\n");
    // What is added has the last word, and no script sees the program's arguments.
    assert_eq!(printed(&scratch.run(&setup, &show)), "http://other:11311 compiled0 yes two words\n");
}

#[test]
fn the_master_is_this_machine_unless_named() {
    let scratch = Scratch::new("master");
    let setup = environment::setup(Distribution::Debian, "/home/ann/ws", "", 0).unwrap();
    let script = "test \"$ROS_MASTER_URI $ROS_HOSTNAME\" = \"http://$(hostname):11311 $(hostname).local\" && echo same";
    assert_eq!(printed(&scratch.run(&setup, &["sh", "-c", script])), "same\n");
}

#[test]
fn ros_2_has_a_number_and_no_master() {
    let scratch = Scratch::new("two");
    let setup = environment::setup(Distribution::Ros2("jazzy"), "/home/ann/ws", "", 7).unwrap();
    let shown = printed(&scratch.run(&setup, &["sh", "-c", "echo $ROS_DOMAIN_ID${ROS_MASTER_URI-.}"]));
    assert_eq!(shown, "7.\n");
    assert!(
        setup.contains("/opt/ros/jazzy/setup.bash") && setup.contains("/home/ann/ws/install/setup.bash"),
        "{setup}"
    );
}

#[test]
fn no_program_is_no_use() {
    let scratch = Scratch::new("none");
    let output = scratch.run("", &[]);
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(String::from_utf8_lossy(&output.stderr), "usage: ros-env PROGRAM [ARGUMENT…]\n");
    assert!(Path::new(RUN).is_absolute());
}

/// The exit status of what waits for the master, where the master's port and process are these.
fn wait(port: u16, process: u32) -> Option<i32> {
    let script = environment::WAIT.replace("11311", &port.to_string());
    let output = Command::new("bash").args(["-c", &script]).env("MAINPID", process.to_string()).output().unwrap();
    output.status.code()
}

#[test]
fn the_master_is_started_when_its_port_answers() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    assert_eq!(wait(port, std::process::id()), Some(0));
    // A master that has ended is not waited for.
    drop(listener);
    let mut ended = Command::new("true").spawn().unwrap();
    ended.wait().unwrap();
    assert_eq!(wait(port, ended.id()), Some(1));
}

#[test]
fn the_unit_of_the_master_is_one_that_systemd_reads_as_meant() {
    let unit = environment::master("ann");
    for line in ["User=ann", "TimeoutStartSec=600", &format!("ExecStartPost=/bin/bash -c '{}'", environment::WAIT)] {
        assert!(unit.lines().any(|it| it == line), "`{line}` is missing:\n{unit}");
    }
    // systemd ends a word at a second quote, and takes `%` and `${` for its own.
    let starts: Vec<&str> = unit.lines().filter(|line| line.starts_with("Exec")).collect();
    assert_eq!(starts.len(), 2);
    for line in starts {
        assert!(line.matches('\'').count() == 2 && line.ends_with('\''), "{line}");
        assert!(!line.contains('%') && !line.contains("${") && !line.contains('\\'), "{line}");
    }
}
