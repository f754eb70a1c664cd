//! Never returns from `execute` and calls nothing meanwhile.

use piimg_plugin_sdk::{Plugin, PluginConf, Result};

struct Loops;

impl Plugin for Loops {
    fn conf() -> PluginConf {
        PluginConf::new("test/loops", "1.0.0", "Loops")
    }

    fn execute() -> Result {
        let mut turns = 0_u64;
        loop {
            turns = std::hint::black_box(turns.wrapping_add(1));
        }
    }
}

piimg_plugin_sdk::plugin!(Loops);
