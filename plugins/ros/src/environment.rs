//! Settings by which shells and programs know of ROS.

use super::distribution::Distribution;
use super::{ADDITIONS, RUN};

/// Writes the text that a shell reads.
///
/// # Errors
/// A sentence for what is no address of a master.
pub(crate) fn setup(ros: Distribution, workspace: &str, master: &str, domain: u8) -> Result<String, String> {
    check_master(master)?;
    // The name can change at the first boot; the others know the machine by mDNS.
    let own = "http://$(hostname):11311";
    let (network, compiled) = match ros {
        Distribution::Ros2(_) => (format!("export ROS_DOMAIN_ID={domain}\n"), "install"),
        _ => {
            let master = if master.is_empty() { own } else { master };
            (format!("export ROS_HOSTNAME=$(hostname).local\nexport ROS_MASTER_URI={master}\n"), "devel")
        }
    };
    let system = match ros {
        // Its programs are where all others are, and find their packages there by themselves.
        Distribution::Debian => String::new(),
        Distribution::Ros1(name) | Distribution::Ros2(name) => format!("/opt/ros/{name}/setup.bash "),
    };
    Ok(format!(
        "# The environment of ROS, for bash. `ros-env PROGRAM` runs a program in it.\n{network}\
         for file in {system}{workspace}/{compiled}/setup.bash {ADDITIONS}/*.bash; do\n    \
         if [ -r \"$file\" ]; then . \"$file\"; fi\ndone\nunset file\n"
    ))
}

/// Checks a name that goes into scripts.
///
/// # Errors
/// A sentence for what is no name.
pub(crate) fn check_name(name: &str) -> Result<(), String> {
    let plain = |it: char| it.is_ascii_alphanumeric() || it == '_' || it == '-';
    if !name.is_empty() && !name.starts_with('-') && name.chars().all(plain) {
        return Ok(());
    }
    let name = name.escape_debug();
    Err(format!("`{name}` is no name of a user or directory here: letters, digits, `_` and `-`"))
}

/// Checks an address that becomes a word of a script.
fn check_master(master: &str) -> Result<(), String> {
    let plain = |it: char| it.is_ascii_alphanumeric() || ".-_:/[]".contains(it);
    if master.is_empty() || master.starts_with("http://") && master.chars().all(plain) {
        return Ok(());
    }
    Err(format!("`{}` is no address of a master, such as `http://robot.local:11311`", master.escape_debug()))
}

/// Waits for the master's port, as long as the master itself is there.
pub(crate) const WAIT: &str =
    "until (: </dev/tcp/localhost/11311) 2>/dev/null; do kill -0 $MAINPID && sleep 1 || exit; done";

/// `roscore` ends a master that does not answer within ten seconds. Where that is too short, on a slow or busy board, each
/// further try would be too, and no option changes it; so it waits as long as the unit may take.
const ROSCORE: &str = "import roslaunch, roslaunch.launch as launch; \
     launch._TIMEOUT_MASTER_START = float(\"inf\"); roslaunch.main([\"roscore\", \"--core\"])";

/// Writes the unit of the master, which is started when the master can be asked: units after it need not look for it
/// while it starts, as `roslaunch --wait` does without end and at the cost of a third of a slow core.
pub(crate) fn master(user: &str) -> String {
    format!(
        "[Unit]\nDescription=Master of ROS\nAfter=network.target time-sync.target\n\n\
         [Service]\nUser={user}\n\
         # As `roscore`, but for its limit of ten seconds to the master's first answer.\n\
         ExecStart={RUN} python3 -c '{ROSCORE}'\n\
         ExecStartPost=/bin/bash -c '{WAIT}'\nTimeoutStartSec=600\nRestart=on-failure\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}
