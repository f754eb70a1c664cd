//! A program of one's own as a service
//!
//! The user hands the program over, `--asset sensor=target/release/sensor`. It runs as an account of its own.
//!
//! Asks for `asset:sensor`, `fs:write:/usr/local/bin/sensor`, `user:create:sensor`, `svc:install:sensor.service`,
//! `svc:enable:sensor.service`.

use piimg_plugin_sdk::assets::{self, Asset};
use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::users::User;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const SENSOR: Asset = assets::asset("sensor");
const PATH: &str = "/usr/local/bin/sensor";
const USER: User = User::system("sensor");
const UNIT: Unit = Unit::new("sensor.service");

const TEXT: &str = "\
[Unit]
Description=Reads the sensor

[Service]
ExecStart=/usr/local/bin/sensor
User=sensor
Restart=on-failure

[Install]
WantedBy=multi-user.target
";

pub struct Program;

impl Plugin for Program {
    fn conf() -> PluginConf {
        PluginConf::new("example/program", "0.1.0", "Program")
            .needs(SENSOR)
            .needs_because(fs::writing(PATH), "the program")
            .needs(USER)
            .needs(UNIT)
    }

    fn execute() -> Result {
        fs::install(&SENSOR.open()?, PATH).mode(0o755).apply()?;
        USER.apply()?;
        UNIT.apply(TEXT)?;
        Ok(())
    }
}
