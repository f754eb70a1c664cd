//! Runs whatever script it is given, and may write wherever it likes: what piimg says of that, the test judges.

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context};

struct Everywhere;

impl Plugin for Everywhere {
    fn conf() -> PluginConf {
        PluginConf::new("test/everywhere", "1.0.0", "Everywhere")
            .capability("exec:sh -c *", "does as it is told")
            .capability("fs:write:/**", "all there is")
            .param(Param::required("script", "What it is told", Kind::Text))
    }

    fn execute() -> Result {
        let script = context::param("script").expect("the parameter is required");
        Ok(Command::new("sh").args(["-c", &script]).apply()?)
    }
}

piimg_plugin_sdk::plugin!(Everywhere);
