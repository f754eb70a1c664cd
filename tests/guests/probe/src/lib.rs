//! Runs commands in the box and reports what they see; the test on the host judges.

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, log};

struct Probe;

/// Name, and what a shell prints for it.
const QUESTIONS: [(&str, &str); 12] = [
    ("uid", "id -u"),
    ("uid-map", "tr -s ' ' < /proc/self/uid_map"),
    ("capabilities", "grep CapEff /proc/self/status"),
    ("bounding", "grep CapBnd /proc/self/status"),
    ("no-new-privs", "grep NoNewPrivs /proc/self/status"),
    ("interfaces", "tail -n +3 /proc/net/dev | cut -d: -f1 | tr -d ' '"),
    ("sys", "ls -A /sys | wc -l"),
    ("descriptors", "ls /proc/self/fd | tr '\\n' ' '"),
    ("store", "ls -d /store 2>&1"),
    ("mount", "mount -t tmpfs none /mnt > /dev/null 2>&1; echo status $?"),
    ("mknod", "mknod /root/null c 1 3 2>&1; echo status $?"),
    // A process of its own session must not survive its command; the odd time makes it easy to find.
    ("straggler", "setsid sh -c 'trap \"\" TERM HUP; sleep 86397' > /dev/null 2>&1 & echo started"),
];

impl Plugin for Probe {
    fn conf() -> PluginConf {
        PluginConf::new("test/probe", "1.0.0", "Probe")
            .capability("exec:sh **", "looks around")
            .capability("exec:id **", "looks around as another user")
    }

    fn execute() -> Result {
        for (name, script) in QUESTIONS {
            let output = Command::new("sh").args(["-c", script]).output()?;
            log::info!("{name} = {}", output.stdout_text().trim());
        }
        let user = Command::new("id").arg("-un").user("ubuntu").read()?;
        log::info!("user = {}", user.trim());
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Probe);
