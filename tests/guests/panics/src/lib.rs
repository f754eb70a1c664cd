//! Panics in `execute`, with a message and a line to be found again.

use piimg_plugin_sdk::{Plugin, PluginConf, Result};

struct Panics;

impl Plugin for Panics {
    fn conf() -> PluginConf {
        PluginConf::new("test/panics", "1.0.0", "Panics")
    }

    fn execute() -> Result {
        let shelf: Vec<u8> = std::env::args().map(|_| 0).collect();
        panic!("the shelf has {} books", shelf.len());
    }
}

piimg_plugin_sdk::plugin!(Panics);
