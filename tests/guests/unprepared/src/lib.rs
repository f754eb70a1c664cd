//! A component of the world `plugin`, which exports `customization` and nothing else: what every plugin was before there was
//! `preparation`.

#![cfg(target_arch = "wasm32")]
#![expect(unsafe_code, reason = "the bindings are made here, where the SDK would have them")]

use exports::piimg::plugin::customization::{Failure, Guest};
use piimg::plugin::log;
use piimg::plugin::manifest::{ImageParams, PluginConf};

wit_bindgen::generate!({ path: "../../../wit", world: "plugin", generate_all });

struct Unprepared;

impl Guest for Unprepared {
    fn conf() -> PluginConf {
        PluginConf {
            id: "test/unprepared".to_owned(),
            version: "1.0.0".to_owned(),
            title: "Unprepared".to_owned(),
            description: String::new(),
            image: ImageParams {
                hostname: None,
                rootfs_extra_space_mb: None,
                rootfs: None,
                flavour: None,
                release: None,
                imagedir: None,
                apt_get_packages: Vec::new(),
            },
            params: Vec::new(),
            capabilities: Vec::new(),
            after: Vec::new(),
            conflicts: Vec::new(),
            releases: Vec::new(),
            architectures: Vec::new(),
        }
    }

    fn execute() -> Result<(), Failure> {
        log::write(log::Level::Info, "it runs");
        Ok(())
    }
}

export!(Unprepared);
