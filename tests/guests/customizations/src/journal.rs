//! Logs that spare the card
//!
//! The journal in memory alone, and of a limited size. `Storage=persistent` with `SystemMaxUse=` keeps it on the card instead.
//!
//! Asks for `fs:write:/etc/systemd/journald.conf.d`, `fs:write:/etc/systemd/journald.conf.d/10-field.conf`.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const DIRECTORY: &str = "/etc/systemd/journald.conf.d";
const LIMITS: &str = "/etc/systemd/journald.conf.d/10-field.conf";

pub struct Journal;

impl Plugin for Journal {
    fn conf() -> PluginConf {
        PluginConf::new("example/journal", "0.1.0", "Journal")
            .needs_because([fs::writing(DIRECTORY), fs::writing(LIMITS)], "the journal stays in memory")
    }

    fn execute() -> Result {
        fs::create_dir_all(DIRECTORY).apply()?;
        fs::write(LIMITS, "[Journal]\nStorage=volatile\nRuntimeMaxUse=32M\n").apply()?;
        Ok(())
    }
}
