//! Lines of files that are there
//!
//! `text` has functions for the usual changes, and one of your own does as well. A text that `replace` does not find is an error:
//! the file is another one than you had in mind.
//!
//! Asks for `fs:read:/etc/login.defs`, `fs:write:/etc/login.defs`, `fs:read:/etc/hosts`, `fs:write:/etc/hosts`.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs, text};

const LOGIN: &str = "/etc/login.defs";
const HOSTS: &str = "/etc/hosts";

pub struct Edit;

impl Plugin for Edit {
    fn conf() -> PluginConf {
        PluginConf::new("example/edit", "0.1.0", "Edit")
            .needs_because(fs::editing(LOGIN), "new files are for their owner alone")
            .needs_because(fs::editing(HOSTS), "the server's address")
    }

    fn execute() -> Result {
        fs::edit(LOGIN, |old| text::with_option(old, "UMASK", ' ', "077"))?;
        fs::replace(HOSTS, "127.0.0.1\tlocalhost", "127.0.0.1\tlocalhost loopback")?;
        fs::ensure_line(HOSTS, "10.0.0.1\tserver", &fs::Place::End)?;
        Ok(())
    }
}
