//! Asks for one file, for one in the home of a user that a parameter names, and for a command it can do without.

#![expect(clippy::print_stdout, reason = "what a plugin prints ends up in the log, where the test reads it")]

use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, context, fs};

struct Asks;

impl Plugin for Asks {
    fn conf() -> PluginConf {
        PluginConf::new("test/asks", "1.0.0", "Asks")
            .param(Param::with_default("user", "User", Kind::Text, &"ubuntu"))
            .capability("fs:write:/etc/asks", "a note for all")
            .capability("fs:write:/home/{params.user}/.asks", "a note for the user")
            .optional_capability("exec:id", "tells who it is")
    }

    fn execute() -> Result {
        for scope in ["exec:id", "fs:write:/home/{params.user}/.asks", "fs:write:/home/{params.nobody}/.asks"] {
            println!("{scope}: {}", context::granted(scope));
        }
        fs::write("/etc/asks", "a note\n").apply()?;
        let user = context::param("user").unwrap_or_default();
        fs::write(&format!("/home/{user}/.asks"), "a note\n").apply()?;
        let error = fs::write("/home/other/.asks", "no\n").apply().expect_err("another user's home is not granted");
        println!("needed: {}", error.needed().unwrap_or("nothing"));
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Asks);
