//! A program in Python with its files
//!
//! The user hands a directory over, `--asset app=app/`; all files in it are copied. What it imports comes as packages of the
//! release, so that the build needs no pip and no network.
//!
//! Asks for `pkg:install:python3`, `pkg:install:python3-flask`, `asset:app`, `fs:write:/opt/app/**`, `user:create:app`,
//! `svc:install:app.service`, `svc:enable:app.service`.

use piimg_plugin_sdk::assets::{self, Tree};
use piimg_plugin_sdk::services::Unit;
use piimg_plugin_sdk::users::User;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const DIRECTORY: &str = "/opt/app";
const FILES: Tree = assets::tree("app/", DIRECTORY);
const USER: User = User::system("app");
const UNIT: Unit = Unit::new("app.service");

const TEXT: &str = "\
[Service]
ExecStart=/usr/bin/python3 main.py
WorkingDirectory=/opt/app
User=app
Restart=on-failure

[Install]
WantedBy=multi-user.target
";

pub struct PythonApp;

impl Plugin for PythonApp {
    fn conf() -> PluginConf {
        PluginConf::new("example/python-app", "0.1.0", "Python program")
            .packages(["python3", "python3-flask"])
            .needs(FILES)
            .needs(USER)
            .needs(UNIT)
    }

    fn execute() -> Result {
        fs::create_dir_all(DIRECTORY).apply()?;
        FILES.apply()?;
        USER.apply()?;
        UNIT.apply(TEXT)?;
        Ok(())
    }
}
