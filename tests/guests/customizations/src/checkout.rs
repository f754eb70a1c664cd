//! Sources from git
//!
//! A commit by its whole id, over https, without git in the image. `.authorized("ann", "token")` sends a secret of the user's.
//!
//! Asks for `net:https://git.example.org/field/app.git/**`, `fs:write:/opt/app/**`.

use piimg_plugin_sdk::git;
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const SOURCES: git::Checkout = git::checkout(
    "https://git.example.org/field/app.git",
    "ce013625030ba8dba906f756967f9e9ca394464a",
    "/opt/app",
);

pub struct Checkout;

impl Plugin for Checkout {
    fn conf() -> PluginConf {
        PluginConf::new("example/checkout", "0.1.0", "Checkout").needs(SOURCES)
    }

    fn execute() -> Result {
        SOURCES.apply()?;
        Ok(())
    }
}
