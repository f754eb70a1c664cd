//! Runs whatever script it is given, and has a grant for one directory alone: what piimg makes of that, the test judges.

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, log};

struct Runs;

impl Plugin for Runs {
    fn conf() -> PluginConf {
        PluginConf::new("test/runs", "1.0.0", "Runs")
            .capability("exec:sh -c *", "does as it is told")
            .capability("fs:write:/opt/runs/**", "all that it may change")
            .optional_capability("net:http://127.0.0.1:{params.port}/**", "may be told to talk")
            .param(Param::with_default("port", "Where it may connect to", Kind::Integer(1, 65535), &9))
            .param(Param::required("script", "What it is told", Kind::Text))
    }

    fn execute() -> Result {
        let script = context::param("script").expect("the parameter is required");
        let output = Command::new("sh").args(["-c", &script]).output()?;
        log::info!("status {}: {}", output.status, output.stdout_text().trim());
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Runs);
