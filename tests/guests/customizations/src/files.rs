//! Files with owner and mode
//!
//! A new file is 0644 and root's, a new directory 0755. The directory that something lies in must be there. `**` stands for
//! everything below a directory and for itself.
//!
//! Asks for `user:group:field`, `fs:write:/srv/field/**`.

use piimg_plugin_sdk::users::Group;
use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};

const GROUP: Group = Group::system("field");

pub struct Files;

impl Plugin for Files {
    fn conf() -> PluginConf {
        PluginConf::new("example/files", "0.1.0", "Files")
            .needs(GROUP)
            .needs_because(fs::writing("/srv/field/**"), "where measurements go")
    }

    fn execute() -> Result {
        GROUP.apply()?;
        fs::create_dir_all("/srv/field/data").mode(0o770).owner("root", "field").apply()?;
        fs::write("/srv/field/settings.toml", "interval = 30\n").mode(0o640).owner("root", "field").apply()?;
        fs::symlink("/srv/field/current", "data")?;
        Ok(())
    }
}
