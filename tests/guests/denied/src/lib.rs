//! Asks for one file and writes others; each refusal is only printed but the last.

#![expect(clippy::print_stdout, reason = "what a plugin prints ends up in the log, where the test reads it")]

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{ErrorCode, Plugin, PluginConf, Result, context, fs, packages};

struct Denied;

impl Plugin for Denied {
    fn conf() -> PluginConf {
        PluginConf::new("test/denied", "1.0.0", "Denied")
            .capability("fs:write:/etc/allowed", "a file it may have")
            .optional_capability("fs:write:/etc/optional", "a file it can do without")
    }

    fn execute() -> Result {
        fs::write("/etc/allowed", "fine\n").apply()?;
        println!("optional granted: {}", context::granted("fs:write:/etc/optional"));
        let refused = [
            fs::read_to_string("/etc/allowed").map(|_| ()),
            fs::write("/etc/allowed2", "no\n").apply(),
            fs::rename("/etc/allowed", "/etc/elsewhere"),
            fs::set_owner_all("/etc/allowed", "root", "root"),
            Command::new("sh").args(["-c", "echo no"]).apply(),
            packages::install(&["nano"]).map(|_| ()),
        ];
        for result in refused {
            let error = result.expect_err("the call must be refused");
            assert_eq!(error.code(), ErrorCode::Denied, "{error}");
            println!("needed: {}", error.needed().unwrap_or("nothing"));
        }
        Ok(fs::write("/etc/passwd", "root::0:0::/:/bin/sh\n").apply()?)
    }
}

piimg_plugin_sdk::plugin!(Denied);
