//! A message for those who log in
//!
//! `/etc/issue` is what stands above the login on a console, in the same way.
//!
//! Asks for `fs:write:/etc/motd`.

use piimg_plugin_sdk::{Plugin, PluginConf, Result, context, fs};

const MOTD: &str = "/etc/motd";

pub struct Message;

impl Plugin for Message {
    fn conf() -> PluginConf {
        PluginConf::new("example/message", "0.1.0", "Message").needs_because(fs::writing(MOTD), "the message")
    }

    fn execute() -> Result {
        let image = context::image();
        fs::write(MOTD, format!("This is {}, made of {}.\n", image.hostname, image.release)).apply()?;
        Ok(())
    }
}
