//! Returns an error of its own with a cause.

use std::fmt;

use piimg_plugin_sdk::{Plugin, PluginConf, Result};

#[derive(Debug)]
struct NoLuck(std::num::ParseIntError);

impl fmt::Display for NoLuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("cannot count the books")
    }
}

impl std::error::Error for NoLuck {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

struct Fails;

impl Plugin for Fails {
    fn conf() -> PluginConf {
        PluginConf::new("test/fails", "1.0.0", "Fails")
    }

    fn execute() -> Result {
        "many".parse::<u32>().map_err(NoLuck)?;
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Fails);
