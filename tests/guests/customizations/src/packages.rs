//! Packages of the release
//!
//! What is always wanted belongs into `conf()`, and so does what the image is to do without. A package that follows from a
//! parameter is installed while the plugin runs.
//!
//! Asks for `pkg:install:htop`, `pkg:install:tmux`, `pkg:remove:nano`, `pkg:install:python3-{params.driver}`.

use piimg_plugin_sdk::packages::{self, Present};
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result};

const DRIVER: Present = packages::present(&["python3-{params.driver}"]);

pub struct Packages;

impl Plugin for Packages {
    fn conf() -> PluginConf {
        PluginConf::new("example/packages", "0.1.0", "Packages")
            .packages(["htop", "tmux"])
            .remove_package("nano")
            .param(Param::with_default("driver", "for the bus", Kind::Choice(&["smbus", "spidev"]), &"smbus"))
            .needs(DRIVER)
    }

    fn execute() -> Result {
        DRIVER.apply()?;
        Ok(())
    }
}
