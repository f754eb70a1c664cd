//! Owns one directory and tries to reach another file through links and `..` from inside it.

#![expect(clippy::print_stdout, reason = "what a plugin prints ends up in the log, where the test reads it")]

use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

struct Escapes;

impl Plugin for Escapes {
    fn conf() -> PluginConf {
        PluginConf::new("test/escapes", "1.0.0", "Escapes")
            .capability("fs:write:/opt/own/**", "its own directory")
            .capability("fs:read:/opt/own/**", "its own directory")
    }

    fn execute() -> Result {
        fs::create_dir_all("/opt/own").apply()?;
        fs::symlink("/opt/own/link", "/etc/shadow")?;
        fs::symlink("/opt/own/dir", "../../../../../../../etc")?;
        for path in ["/opt/own/link", "/opt/own/dir/shadow", "/opt/own/../../etc/shadow", "/opt/own/dir/none"] {
            for result in [
                fs::write(path, "x").apply(),
                fs::read_to_string(path).map(|_| ()),
                fs::set_owner(path, "root", "root"),
                fs::set_owner_all(path, "root", "root"),
            ] {
                let error = result.expect_err("the call must be refused");
                println!("{path}: {:?} {}", error.code(), error.needed().unwrap_or("nothing"));
            }
        }
        Ok(fs::rename("/opt/own/dir/shadow", "/opt/own/loot")?)
    }
}

piimg_plugin_sdk::plugin!(Escapes);
