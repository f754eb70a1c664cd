//! Takes memory without end and writes to it.

use piimg_plugin_sdk::{Plugin, PluginConf, Result};

struct Allocates;

impl Plugin for Allocates {
    fn conf() -> PluginConf {
        PluginConf::new("test/allocates", "1.0.0", "Allocates")
    }

    fn execute() -> Result {
        let mut hoard = Vec::new();
        loop {
            hoard.push(std::hint::black_box(vec![1_u8; 1 << 20]));
        }
    }
}

piimg_plugin_sdk::plugin!(Allocates);
