//! A cron job, and a directory that is made at each start
//!
//! Names of files in `/etc/cron.d` have no dot in them: cron leaves out those that have.
//!
//! Asks for `pkg:install:cron`, `fs:write:/etc/cron.d/field-cleanup`, `fs:write:/etc/tmpfiles.d/field.conf`.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const JOB: &str = "/etc/cron.d/field-cleanup";
const DIRECTORY: &str = "/etc/tmpfiles.d/field.conf";

pub struct Cron;

impl Plugin for Cron {
    fn conf() -> PluginConf {
        PluginConf::new("example/cron", "0.1.0", "Cron")
            .package("cron")
            .needs_because(fs::writing(JOB), "removes old data every night")
            .needs_because(fs::writing(DIRECTORY), "where programs leave data for each other")
    }

    fn execute() -> Result {
        fs::write(JOB, "17 3 * * * root find /srv/field -type f -mtime +30 -delete\n").apply()?;
        fs::write(DIRECTORY, "d /run/field 0775 root video -\n").apply()?;
        Ok(())
    }
}
