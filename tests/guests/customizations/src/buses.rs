//! I2C, SPI and an overlay
//!
//! Lines of config.txt, and a module for programs that talk to the bus. `.section("pi4")` is for lines of one board. A parameter or
//! an overlay that would do nothing is refused, as on Debian's own releases; Raspberry Pi OS and Ubuntu have them.
//!
//! Asks for `pkg:install:i2c-tools`, `boot:config:dtparam`, `boot:config:dtoverlay`, `boot:config:camera_auto_detect`,
//! `fs:write:/etc/modules-load.d/i2c.conf`.

use piimg_plugin_sdk::boot_config::{self, Setting};
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const SETTINGS: [Setting; 4] = [
    boot_config::setting("dtparam", "i2c_arm=on"),
    boot_config::setting("dtparam", "spi=on"),
    boot_config::setting("dtoverlay", "i2c-rtc,ds3231"),
    boot_config::setting("camera_auto_detect", "1"),
];
const MODULE: &str = "/etc/modules-load.d/i2c.conf";

pub struct Buses;

impl Plugin for Buses {
    fn conf() -> PluginConf {
        PluginConf::new("example/buses", "0.1.0", "Buses")
            .package("i2c-tools")
            .needs(SETTINGS)
            .needs_because(fs::writing(MODULE), "loads the module of I2C")
    }

    fn execute() -> Result {
        for setting in SETTINGS {
            setting.apply()?;
        }
        fs::write(MODULE, "i2c-dev\n").apply()?;
        Ok(())
    }
}
