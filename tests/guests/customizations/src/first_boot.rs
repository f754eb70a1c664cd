//! Something that each machine does once
//!
//! At its first start, and again at the next until it has succeeded. `done` is a file in a directory that exists.
//!
//! Asks for `fs:write:/usr/local/sbin/name-machine`, `svc:install:name-machine.service`, `svc:enable:name-machine.service`.

use piimg_plugin_sdk::services::{self, Unit};
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const PROGRAM: &str = "/usr/local/sbin/name-machine";
const UNIT: Unit = Unit::new("name-machine.service");

/// The last half of the serial number, of which no two boards have the same.
const TEXT: &str = "\
#!/bin/sh
set -e
serial=$(tr -d '\\0' < /proc/device-tree/serial-number | tail -c 8)
hostnamectl set-hostname \"field-$serial\"
";

pub struct FirstBoot;

impl Plugin for FirstBoot {
    fn conf() -> PluginConf {
        PluginConf::new("example/first-boot", "0.1.0", "First boot")
            .needs_because(fs::writing(PROGRAM), "names the machine")
            .needs(UNIT)
    }

    fn execute() -> Result {
        fs::write(PROGRAM, TEXT).mode(0o755).apply()?;
        UNIT.apply(&services::once("Names the machine", PROGRAM, "network-pre.target", "/var/lib/machine-is-named"))?;
        Ok(())
    }
}
