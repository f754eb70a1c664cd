//! Texts of units, and of what the desktop starts.

use piimg_plugin_sdk::services;

use super::{NAME, NAMED, RUN, SCREEN};

/// Writes the unit of the robot's programs. A new master knows nothing of them: with it they are started anew.
pub(crate) fn application(user: &str, launch: &str) -> String {
    format!(
        "[Unit]\nDescription=Programs of the robot\nWants=roscore.service\nPartOf=roscore.service\nAfter=roscore.service network.target\n\n\
         {}User={user}\nExecStart={RUN} roslaunch --wait {launch}\nRestart=on-failure\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        logs_in_memory("breadcrumb")
    )
}

/// Writes the unit of a directory in memory: a card wears out, and logs without end fill it.
pub(crate) fn logs_in_memory(name: &str) -> String {
    format!("[Service]\nRuntimeDirectory={name}\nEnvironment=ROS_LOG_DIR=/run/{name}\n")
}

/// Names the machine before anything tells others what it is called.
pub(crate) fn name(interface: &str, hostname: &str) -> String {
    let program = format!("{NAME} /sys/class/net/{interface}/address {hostname}");
    let before = "avahi-daemon.service NetworkManager.service roscore.service breadcrumb.service";
    services::once("Name the machine after its hardware address", &program, before, NAMED)
}

/// Writes what the user's desktop starts.
pub(crate) fn autostart(screen: &str) -> String {
    format!("[Desktop Entry]\nType=Application\nName=Screen of the robot\nExec={SCREEN} {screen}\nTerminal=false\n")
}
