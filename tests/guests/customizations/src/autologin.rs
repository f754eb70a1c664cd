//! A login on the console by itself
//!
//! For whoever stands before the machine. `login::lightdm` does it at a screen.
//!
//! Asks for `user:create:field`, `svc:install:getty@tty1.service`.

use piimg_plugin_sdk::login::{self, Console};
use piimg_plugin_sdk::users::User;
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const USER: User = User::new("field");
const LOGIN: Console = login::console("field");

pub struct Autologin;

impl Plugin for Autologin {
    fn conf() -> PluginConf {
        PluginConf::new("example/autologin", "0.1.0", "Autologin").needs(USER).needs(LOGIN)
    }

    fn execute() -> Result {
        USER.apply()?;
        LOGIN.apply()?;
        Ok(())
    }
}
