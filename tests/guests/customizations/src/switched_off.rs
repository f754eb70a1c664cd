//! Services that are not wanted
//!
//! One that is disabled may still be started by another; one that is masked never is.
//!
//! Asks for `svc:mask:apt-daily.timer`, `svc:disable:bluetooth.service`.

use piimg_plugin_sdk::services::{self, Wanted};
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const OFF: [Wanted; 2] = [services::masked("apt-daily.timer"), services::disabled("bluetooth.service")];

pub struct SwitchedOff;

impl Plugin for SwitchedOff {
    fn conf() -> PluginConf {
        PluginConf::new("example/switched-off", "0.1.0", "Switched off").needs(OFF)
    }

    fn execute() -> Result {
        for service in OFF {
            service.apply()?;
        }
        Ok(())
    }
}
