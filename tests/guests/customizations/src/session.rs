//! A program in each user's session
//!
//! A unit of the session manager: it starts with the user's first login, as that user, and ends with the last one.
//!
//! Asks for `fs:write:/etc/systemd/user/notes.service`, `fs:write:/etc/systemd/user/default.target.wants`,
//! `fs:write:/etc/systemd/user/default.target.wants/notes.service`.

use piimg_plugin_sdk::services::{self, UserUnit};
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const NOTES: UserUnit = services::user_unit("notes.service");

pub struct Session;

impl Plugin for Session {
    fn conf() -> PluginConf {
        PluginConf::new("example/session", "0.1.0", "Session").needs(NOTES)
    }

    fn execute() -> Result {
        NOTES.apply("[Unit]\nDescription=Notes\n\n[Service]\nExecStart=/usr/bin/python3 -m http.server --directory %h/notes\n")?;
        Ok(())
    }
}
