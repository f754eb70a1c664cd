//! Calls the host in `conf`, which must be pure.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, context};

struct ConfImports;

impl Plugin for ConfImports {
    fn conf() -> PluginConf {
        PluginConf::new("test/conf-imports", "1.0.0", &context::image().hostname)
    }

    fn execute() -> Result {
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(ConfImports);
