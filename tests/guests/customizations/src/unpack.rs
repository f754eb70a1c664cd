//! An archive of files
//!
//! The user hands a tar archive over, compressed or not, `--asset release=app-1.2.tar.gz`. piimg unpacks it, so that the image needs no
//! `tar` and the plugin no command. An archive of somebody's is looked at as a whole first: one that leads elsewhere is refused.
//!
//! Asks for `asset:release`, `fs:write:/opt/release/**`.

use piimg_plugin_sdk::assets::{self, Asset};
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const RELEASE: Asset = assets::asset("release");
const FILES: fs::Unpack = fs::unpack("/opt/release").without_first(1);

pub struct Unpack;

impl Plugin for Unpack {
    fn conf() -> PluginConf {
        PluginConf::new("example/unpack", "0.1.0", "Unpack").needs(RELEASE).needs(FILES)
    }

    fn execute() -> Result {
        FILES.apply(&RELEASE.open()?)?;
        Ok(())
    }
}
