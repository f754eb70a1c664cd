//! ROS as the release has it: packages, environment, workspace and master.

mod distribution;
mod environment;

use distribution::Distribution;
use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs, log, packages};

/// Settings that a shell reads, and what starts a program in the same surroundings.
const SETUP: &str = "/etc/ros/setup.bash";
const ADDITIONS: &str = "/etc/ros/setup.d";
const RUN: &str = "/usr/local/bin/ros-env";
const MASTER: Unit = Unit::new("roscore.service");

struct Ros;

impl Plugin for Ros {
    fn conf() -> PluginConf {
        PluginConf::new("piimg/ros", env!("CARGO_PKG_VERSION"), "ROS")
            .description("ROS of the release: its packages, its environment, a workspace and a master.")
            .rootfs_extra_space_mb(1000)
            .param(Param::with_default(
                "variant",
                "how much of ROS",
                Kind::Choice(&["core", "base", "desktop"]),
                &"base",
            ))
            .param(Param::with_default("tools", "what compiles a workspace", Kind::Bool, &true))
            .param(Param::with_default("user", "whose the workspace is", Kind::Text, &"ubuntu"))
            .param(Param::with_default("workspace", "its directory in the user's home", Kind::Text, &"catkin_ws"))
            .param(Param::with_default(
                "master",
                "where ROS 1 finds its master, as `http://HOST:11311`; empty: on this machine, reachable by name",
                Kind::Text,
                &"",
            ))
            .param(Param::with_default("roscore", "start the master of ROS 1 with the system", Kind::Bool, &true))
            .param(Param::with_default("domain", "number of the network of ROS 2", Kind::Integer(0, 101), &0))
            .capability("pkg:install:ros-*", "ROS itself; what its packages are called is the release's business")
            .capability("pkg:install:rosbash", "runs programs of packages, on Debian")
            .capability("pkg:install:build-essential", "compiles workspaces")
            .capability("pkg:install:python3-colcon-common-extensions", "compiles workspaces of ROS 2")
            .capability("fs:write:/etc/ros", "the directory of the environment")
            .needs_because(fs::writing(SETUP), "the environment of ROS")
            .needs_because(fs::writing(ADDITIONS), "a place for what other plugins add to it")
            .needs_because(fs::writing(RUN), "runs a program in that environment")
            .capability("fs:write:/home/{params.user}/{params.workspace}", "the workspace")
            .capability("fs:write:/home/{params.user}/{params.workspace}/src", "where its packages go")
            .needs_because(
                fs::editing("/home/{params.user}/.bashrc"),
                "gives the user's shell the environment, and keeps what is in it",
            )
            .needs_because(MASTER, "the master of ROS 1, which starts with the system")
    }

    fn execute() -> Result {
        let image = context::image();
        let ros = Distribution::of(&image.distribution, &image.release)?;
        let (variant, user) = (context::get::<String>("variant")?, context::get::<String>("user")?);
        let workspace: String = context::get("workspace")?;
        [&user, &workspace].into_iter().try_for_each(|name| environment::check_name(name))?;
        let home = format!("/home/{user}");
        let workspace = format!("{home}/{workspace}");
        // What can be refused, before half an hour of installing.
        let setup = environment::setup(ros, &workspace, &context::get::<String>("master")?, context::get("domain")?)?;

        let wanted = ros.packages(&variant, context::get("tools")?);
        let new = packages::install(&wanted.iter().map(String::as_str).collect::<Vec<_>>())?;
        log::info!("{}: {} packages", ros.title(), new.len());

        for directory in ["/etc/ros", ADDITIONS] {
            fs::create_dir_all(directory).apply()?;
        }
        fs::write(SETUP, setup).mode(0o644).apply()?;
        fs::write(RUN, include_str!("ros-env")).mode(0o755).owner("root", "root").apply()?;

        fs::create_dir_all(&format!("{workspace}/src")).owner(&user, &user).apply()?;
        // Not every shell's: root's would then run what the user compiles.
        fs::ensure_line(&format!("{home}/.bashrc"), &format!(". {SETUP}"), &fs::Place::End)?;

        if ros.has_master() && context::get("roscore")? {
            MASTER.apply(&environment::master(&user))?;
        }
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Ros);

#[cfg(test)]
mod tests;
