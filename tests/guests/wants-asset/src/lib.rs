//! Cannot do without an asset.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, assets, log};

struct WantsAsset;

impl Plugin for WantsAsset {
    fn conf() -> PluginConf {
        PluginConf::new("test/wants-asset", "1.0.0", "Wants an asset").capability("asset:logo", "is shown")
    }

    fn execute() -> Result {
        log::info!("{} bytes", assets::open("logo")?.size());
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(WantsAsset);
