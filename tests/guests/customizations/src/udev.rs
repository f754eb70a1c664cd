//! A name and a group for a device
//!
//! A rule for udev, by the ids that `lsusb` shows.
//!
//! Asks for `user:group:sensor`, `fs:write:/etc/udev/rules.d/60-sensor.rules`.

use piimg_plugin_sdk::users::Group;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const GROUP: Group = Group::system("sensor");
const RULES: &str = "/etc/udev/rules.d/60-sensor.rules";
const RULE: &str = "SUBSYSTEM==\"tty\", ATTRS{idVendor}==\"0403\", ATTRS{idProduct}==\"6001\", \
                    SYMLINK+=\"sensor\", GROUP=\"sensor\", MODE=\"0660\"\n";

pub struct Udev;

impl Plugin for Udev {
    fn conf() -> PluginConf {
        PluginConf::new("example/udev", "0.1.0", "Device")
            .needs(GROUP)
            .needs_because(fs::writing(RULES), "the name of the device, and whose it is")
    }

    fn execute() -> Result {
        GROUP.apply()?;
        fs::write(RULES, RULE).apply()?;
        Ok(())
    }
}
