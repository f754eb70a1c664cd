//! Host name, language, keyboard and time zone
//!
//! The host name is a wish for the image, and the user's recipe wins over it. Everything else is a value that says itself what it
//! takes: `conf()` asks for it, `execute()` applies it.
//!
//! Asks for `pkg:install:locales`, `pkg:install:keyboard-configuration`, `pkg:install:console-setup`, `pkg:install:tzdata`,
//! `fs:read:/etc/locale.gen`, `fs:write:/etc/locale.gen`, `exec:locale-gen`, `fs:write:/usr/lib/locale/locale-archive`,
//! `fs:write:/etc/default/locale`, `fs:write:/etc/default/keyboard`, `fs:read:/usr/share/zoneinfo/**`,
//! `fs:read:/etc/localtime`, `fs:write:/etc/localtime`, `fs:write:/etc/timezone`.

use piimg_plugin_sdk::region::{self, Keyboard, Locale, Timezone};
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const LOCALE: Locale = region::locale("en_GB.UTF-8");
const KEYBOARD: Keyboard = Keyboard::new("gb");
const TIMEZONE: Timezone = region::timezone("Europe/London");

pub struct Region;

impl Plugin for Region {
    fn conf() -> PluginConf {
        PluginConf::new("example/region", "0.1.0", "Region")
            .hostname("robot")
            .needs(LOCALE)
            .needs(KEYBOARD)
            .needs(TIMEZONE)
    }

    fn execute() -> Result {
        LOCALE.apply()?;
        KEYBOARD.apply()?;
        TIMEZONE.apply()?;
        Ok(())
    }
}
