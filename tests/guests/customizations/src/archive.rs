//! Packages of somebody else's archive
//!
//! The archive is signed with a key that comes with the plugin, and its whole fingerprint stands in the code: it must be the only
//! key in that file. Whoever has it is root of the image, and the audit says so.
//!
//! Asks for `pkg:install:field-sensor`, `pkg:repo:https://packages.example.org/debian`, `pkg:pin:*`.

use piimg_plugin_sdk::apt::{self, Repository};
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const KEY: &[u8] = include_bytes!("archive.asc");
const FINGERPRINT: &str = "EDAE45EFC348E33451A06F300FDF26DFB09FE5C4";

pub struct Archive;

impl Plugin for Archive {
    fn conf() -> PluginConf {
        let archive = Repository::new("field", "https://packages.example.org/debian", "bookworm").component("main");
        PluginConf::new("example/archive", "0.1.0", "Archive")
            .repository(&archive, &[FINGERPRINT], KEY)
            // Only what is asked for by name comes from there.
            .pin(apt::pin_origin("*", "packages.example.org", 100))
            .package("field-sensor")
    }

    fn execute() -> Result {
        Ok(())
    }
}
