//! Packages of Node.js that the release does not have
//!
//! Each by its address and digest, unpacked where a program of that directory finds it: no `npm` is in the image, and no script of a
//! package runs.
//!
//! Asks for `pkg:install:nodejs`, `fs:write:/opt/panel/node_modules/**`, `net:https://example.org/npm/gauge-1.2.0.tgz`,
//! `net:https://example.org/npm/@robots/wheels-2.0.1.tgz`, `fs:write:/opt/panel`, `fs:write:/opt/panel/main.js`,
//! `svc:install:panel.service`, `svc:enable:panel.service`.

use piimg_plugin_sdk::node::{self, Package, Packages};
use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const GAUGE: Package = node::package(
    "gauge",
    "https://example.org/npm/gauge-1.2.0.tgz",
    "sha256:3d8d0add463acded061e0dc09713b8411887cd2275ba2a9e0ce68769a1030c25",
);
const WHEELS: Package = node::package(
    "@robots/wheels",
    "https://example.org/npm/@robots/wheels-2.0.1.tgz",
    "sha256:3d8d0add463acded061e0dc09713b8411887cd2275ba2a9e0ce68769a1030c25",
);
const MODULES: Packages = node::packages("/opt/panel", &[GAUGE, WHEELS]);
const UNIT: Unit = Unit::new("panel.service");

const TEXT: &str = "\
[Service]
ExecStart=/usr/bin/node /opt/panel/main.js
DynamicUser=yes
Restart=on-failure

[Install]
WantedBy=multi-user.target
";

pub struct Modules;

impl Plugin for Modules {
    fn conf() -> PluginConf {
        PluginConf::new("example/modules", "0.1.0", "Packages of Node.js")
            .package("nodejs")
            .needs(MODULES)
            .needs_because(fs::writing("/opt/panel"), "its directory")
            .needs_because(fs::writing("/opt/panel/main.js"), "its program")
            .needs(UNIT)
    }

    fn execute() -> Result {
        fs::create_dir_all("/opt/panel").apply()?;
        MODULES.apply()?;
        fs::write("/opt/panel/main.js", "require('gauge').watch(require('@robots/wheels'));\n").apply()?;
        UNIT.apply(TEXT)?;
        Ok(())
    }
}
