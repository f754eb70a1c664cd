//! A user who logs in with a key, and nobody with a password
//!
//! The first user of an image is the recipe's (`[user]`). This makes another one.
//!
//! Asks for `pkg:install:openssh-server`, `user:create:ann`, `user:group:sudo`, `user:group:video`, `user:keys:ann`,
//! `fs:write:/etc/ssh/sshd_config.d/10-keys-only.conf`.

use piimg_plugin_sdk::users::{self, Keys, User};
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const ANN: User = User::new("ann").groups(&["sudo", "video"]);
const KEYS: Keys = users::keys(
    "ann",
    &["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVJPcpmZh+Z1hpVH+KDLfxDlU2XSCMkjd0XnpmV4mJT ann@desk"],
);

/// sshd takes the first value of each option, and reads these files before its own.
const SSHD: &str = "/etc/ssh/sshd_config.d/10-keys-only.conf";

pub struct Ann;

impl Plugin for Ann {
    fn conf() -> PluginConf {
        PluginConf::new("example/ann", "0.1.0", "Ann")
            .package("openssh-server")
            .needs(ANN)
            .needs(KEYS)
            .needs_because(fs::writing(SSHD), "nobody logs in with a password")
    }

    fn execute() -> Result {
        ANN.apply()?;
        KEYS.apply()?;
        fs::write(SSHD, "PasswordAuthentication no\nKbdInteractiveAuthentication no\n").apply()?;
        Ok(())
    }
}
