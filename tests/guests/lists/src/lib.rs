//! Lists 300 packages of an archive that a benchmark makes, and writes a line that the benchmark changes in the component.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

/// Those of the archive have these names.
const PACKAGES: usize = 300;

struct Lists;

impl Plugin for Lists {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("test/lists", "1.0.0", "Lists")
            .capability("fs:write:/opt/lists", "writes its file")
            .capability("fs:write:/opt", "its directory");
        (0..PACKAGES).fold(conf, |conf, number| conf.package(&format!("made-up-{number:03}")))
    }

    fn execute() -> Result {
        fs::create_dir_all("/opt").apply()?;
        Ok(fs::write("/opt/lists", "change 000000\n").apply()?)
    }
}

piimg_plugin_sdk::plugin!(Lists);
