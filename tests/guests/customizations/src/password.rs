//! A password that the plugin never sees
//!
//! The user of piimg gives the value, `--secret ann-password=file:PATH` for instance; piimg hashes it and writes the hash.
//!
//! Asks for `user:create:ann`, `user:password:ann`, `secret:ann-password`.

use piimg_plugin_sdk::users::{self, User};
use piimg_plugin_sdk::{Plugin, PluginConf, Result};

const ANN: User = User::new("ann");
const PASSWORD: users::Password = users::password("ann", "ann-password");

pub struct Password;

impl Plugin for Password {
    fn conf() -> PluginConf {
        PluginConf::new("example/password", "0.1.0", "Password").needs(ANN).needs(PASSWORD)
    }

    fn execute() -> Result {
        ANN.apply()?;
        PASSWORD.apply()?;
        Ok(())
    }
}
