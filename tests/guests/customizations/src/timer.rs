//! Something that runs every hour
//!
//! A timer starts the unit of the same name, which is written and not started with the system.
//!
//! Asks for `svc:install:report.service`, `svc:install:report.timer`, `svc:enable:report.timer`.

use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const REPORT: Unit = Unit::new("report.service").on_demand();
const TIMER: Unit = Unit::new("report.timer");

pub struct Timer;

impl Plugin for Timer {
    fn conf() -> PluginConf {
        PluginConf::new("example/timer", "0.1.0", "Timer").needs(REPORT).needs(TIMER)
    }

    fn execute() -> Result {
        REPORT.apply("[Service]\nType=oneshot\nExecStart=/usr/bin/logger all is well\n")?;
        TIMER.apply("[Timer]\nOnCalendar=hourly\nPersistent=true\n\n[Install]\nWantedBy=timers.target\n")?;
        Ok(())
    }
}
