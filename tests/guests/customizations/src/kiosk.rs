//! A page of the Web on the whole screen
//!
//! For a display on the wall: one program and no desktop, as a user who can do nothing else. The session on the console lends
//! the screen to it.
//!
//! Asks for `pkg:install:cage`, `pkg:install:chromium`, `user:create:display`, `svc:install:kiosk.service`,
//! `svc:enable:kiosk.service`.

use piimg_plugin_sdk::login::{self, Kiosk as Page};
use piimg_plugin_sdk::users::User;
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const USER: User = User::new("display");
const PAGE: Page = login::kiosk("display", "https://dashboard.example.org/");

pub struct Kiosk;

impl Plugin for Kiosk {
    fn conf() -> PluginConf {
        PluginConf::new("example/kiosk", "0.1.0", "Kiosk").needs(USER).needs(PAGE)
    }

    fn execute() -> Result {
        USER.apply()?;
        PAGE.apply()?;
        Ok(())
    }
}
