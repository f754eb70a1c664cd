//! Packages of Python that the release does not have
//!
//! Each by its address and digest: nothing is resolved on the day of the build. They lie in a directory of the program's own,
//! which finds them by `PYTHONPATH`.
//!
//! Asks for `pkg:install:python3`, `pkg:build:python3-pip`, `fs:write:/opt/gauge/lib/**`,
//! `net:https://example.org/wheels/gauge-1.2-py3-none-any.whl`,
//! `exec:pip3 install --no-index --no-deps --no-compile --no-cache-dir --target /opt/gauge/lib /opt/gauge/lib/gauge-1.2-py3-none-any.whl`,
//! `fs:write:/opt/gauge`, `svc:install:gauge.service`, `svc:enable:gauge.service`.

use piimg_plugin_sdk::python::{self, Packages, Wheel};
use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const GAUGE: Wheel = python::wheel(
    "https://example.org/wheels/gauge-1.2-py3-none-any.whl",
    "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
);
const LIBRARIES: Packages = python::packages("/opt/gauge/lib", &[GAUGE]);
const UNIT: Unit = Unit::new("gauge.service");

const TEXT: &str = "\
[Service]
Environment=PYTHONPATH=/opt/gauge/lib
ExecStart=/usr/bin/python3 -m gauge
DynamicUser=yes
Restart=on-failure

[Install]
WantedBy=multi-user.target
";

pub struct Wheels;

impl Plugin for Wheels {
    fn conf() -> PluginConf {
        PluginConf::new("example/wheels", "0.1.0", "Packages of Python")
            .package("python3")
            .needs(LIBRARIES)
            .needs_because(fs::writing("/opt/gauge"), "its directory")
            .needs(UNIT)
    }

    fn execute() -> Result {
        fs::create_dir_all("/opt/gauge").apply()?;
        LIBRARIES.apply()?;
        UNIT.apply(TEXT)?;
        Ok(())
    }
}
