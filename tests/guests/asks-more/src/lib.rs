//! What `asks` became: it wants a directory now, and no note for the user any more.

use piimg_plugin_sdk::{Plugin, PluginConf, Result};

struct AsksMore;

impl Plugin for AsksMore {
    fn conf() -> PluginConf {
        PluginConf::new("test/asks", "2.0.0", "Asks")
            .capability("fs:write:/etc/asks", "a note for all")
            .capability("fs:write:/etc/asks.d/**", "more notes")
            .optional_capability("exec:id", "tells who it is")
    }

    fn execute() -> Result {
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(AsksMore);
