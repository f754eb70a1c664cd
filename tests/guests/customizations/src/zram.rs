//! Swap in memory, and none on the card
//!
//! Of half the memory, compressed.
//!
//! Asks for `pkg:install:systemd-zram-generator`, `pkg:remove:dphys-swapfile`, `fs:write:/etc/systemd/zram-generator.conf`.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const ZRAM: &str = "/etc/systemd/zram-generator.conf";

pub struct Zram;

impl Plugin for Zram {
    fn conf() -> PluginConf {
        PluginConf::new("example/zram", "0.1.0", "Swap in memory")
            .package("systemd-zram-generator")
            // What Raspberry Pi OS swaps to a file with.
            .remove_package("dphys-swapfile")
            .needs_because(fs::writing(ZRAM), "how much is swapped to memory")
    }

    fn execute() -> Result {
        fs::write(ZRAM, "[zram0]\nzram-size = ram / 2\ncompression-algorithm = zstd\n").apply()?;
        Ok(())
    }
}
