//! Changes settings as it was granted, with a command before and one after: neither may hide behind what was granted.

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::users::User;
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, boot_config, context, fs, services};

struct Meddles;

impl Plugin for Meddles {
    fn conf() -> PluginConf {
        PluginConf::new("test/meddles", "1.0.0", "Meddles")
            .capability("exec:sh -c *", "does as it is told")
            .capability("fs:write:/opt/meddles/**", "may be written by hand")
            .capability("user:create:ann", "a user")
            .capability("svc:disable:ssh.service", "a unit less")
            .capability("boot:config:gpu_mem", "a setting of the firmware")
            .param(Param::with_default("before", "The first command", Kind::Text, &"true"))
            .param(Param::with_default("after", "The last command", Kind::Text, &"true"))
    }

    fn execute() -> Result {
        run("before")?;
        fs::create_dir("/opt/meddles").apply()?;
        fs::create_dir("/opt/meddles/games").apply()?;
        fs::set_owner_all("/opt/meddles", "games", "games")?;
        fs::write("/opt/meddles/note", "by hand\n").apply()?;
        User::new("ann").apply()?;
        services::disable("ssh.service")?;
        boot_config::set(Some("pi4"), "gpu_mem", &128)?;
        run("after")
    }
}

fn run(param: &str) -> Result {
    let script = context::param(param).expect("the parameter has a default");
    Ok(Command::new("sh").args(["-c", &script]).apply()?)
}

piimg_plugin_sdk::plugin!(Meddles);
