//! Answers to the questions of packages
//!
//! debconf has them before the package is installed. `debconf-show PACKAGE` on a machine that has it names the questions.
//!
//! Asks for `pkg:install:iperf3`, `debconf:iperf3/start_daemon`.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, debconf};

pub struct Debconf;

impl Plugin for Debconf {
    fn conf() -> PluginConf {
        PluginConf::new("example/debconf", "0.1.0", "Answers")
            .package("iperf3")
            .answer(debconf::boolean("iperf3/start_daemon", true))
    }

    fn execute() -> Result {
        Ok(())
    }
}
