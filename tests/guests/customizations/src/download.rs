//! A file from the web
//!
//! piimg downloads it and compares its digest, so that the image does not depend on the day.
//!
//! Asks for `net:https://example.org/models/v3.bin`, `fs:write:/opt/model.bin`.

use piimg_plugin_sdk::net;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const MODEL: net::Download = net::download(
    "https://example.org/models/v3.bin",
    "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
);
const PATH: &str = "/opt/model.bin";

pub struct Download;

impl Plugin for Download {
    fn conf() -> PluginConf {
        PluginConf::new("example/download", "0.1.0", "Download")
            .needs(MODEL)
            .needs_because(fs::writing(PATH), "the model")
    }

    fn execute() -> Result {
        fs::install(&MODEL.fetch()?, PATH).apply()?;
        Ok(())
    }
}
