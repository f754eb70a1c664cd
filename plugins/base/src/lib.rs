//! A base image for robots: tools, groups and rules for the buses, language, keyboard and time zone.

use piimg_plugin_sdk::region::{self, Keyboard};
use piimg_plugin_sdk::users::{self, User};
use piimg_plugin_sdk::{ErrorCode, Kind, Param, Plugin, PluginConf, Result, boot_config, context, fs, log, services};

/// What one wants to find on a robot that does not do what it should.
const PACKAGES: [&str; 19] = [
    "bash-completion",
    "curl",
    "ethtool",
    "git",
    "gpiod",
    "htop",
    "i2c-tools",
    "minicom",
    "nano",
    "python3",
    "rsync",
    "screen",
    "tmux",
    "unzip",
    "usbutils",
    // What `region` needs.
    "console-setup",
    "keyboard-configuration",
    "locales",
    "tzdata",
];

/// Who may use the buses without being root.
const GROUPS: [&str; 3] = ["gpio", "i2c", "spi"];

const RULES: &str = "/etc/udev/rules.d/60-piimg-base.rules";
const MODULES: &str = "/etc/modules-load.d/piimg-base.conf";

struct Base;

impl Plugin for Base {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("piimg/base", env!("CARGO_PKG_VERSION"), "Base image for robots")
            .description(
                "Tools for the terminal, the buses of the Pi for ordinary users, language, keyboard and time zone.",
            )
            .hostname("robot")
            .flavour("base")
            .rootfs_extra_space_mb(500)
            .packages(PACKAGES)
            .param(Param::with_default("user", "who may use the buses", Kind::Text, &"ubuntu"))
            .param(Param::with_default("locale", "language and character set", Kind::Text, &"en_US.UTF-8"))
            .param(Param::with_default("keyboard", "layout of the keyboard", Kind::Text, &"us"))
            .param(Param::with_default("timezone", "time zone", Kind::Text, &"Etc/UTC"))
            .capability("fs:read:/etc/locale.gen", "finds the language in the list")
            .capability("fs:write:/etc/locale.gen", "chooses the language")
            .capability("exec:locale-gen", "makes the language's files")
            .capability("fs:write:/usr/lib/locale/locale-archive", "is where `locale-gen` puts them")
            .capability("fs:write:/etc/default/locale", "makes the language the system's")
            .capability("fs:write:/etc/default/keyboard", "sets the layout")
            .capability("fs:read:/usr/share/zoneinfo/**", "finds the time zone")
            .capability("fs:read:/etc/localtime", "looks whether there is a time zone to replace")
            .capability("fs:write:/etc/localtime", "sets the time zone")
            .capability("fs:write:/etc/timezone", "names the time zone")
            .capability("fs:write:/etc/udev/rules.d/60-piimg-base.rules", "gives the buses to their groups")
            .capability("fs:write:/etc/modules-load.d/piimg-base.conf", "loads the driver behind /dev/i2c-*")
            .capability("user:create:{params.user}", "makes the user if there is none")
            .capability("boot:config:dtparam", "turns on I2C and SPI")
            .capability("svc:install:apt-daily.timer", "keeps the first look for updates out of the boot");
        GROUPS.into_iter().fold(conf, |conf, group| {
            conf.capability(&format!("user:group:{group}"), "makes the group and puts the user into it")
        })
    }

    fn execute() -> Result {
        region::set_locale(&context::get::<String>("locale")?)?;
        Keyboard::new(&context::get::<String>("keyboard")?).apply()?;
        region::set_timezone(&context::get::<String>("timezone")?)?;

        for group in GROUPS {
            users::ensure_system_group(group, None)?;
        }
        let user: String = context::get("user")?;
        User::new(&user).groups(GROUPS).ensure()?;
        fs::write(RULES, include_str!("buses.rules")).mode(0o644).apply()?;
        fs::write(MODULES, "i2c-dev\n").mode(0o644).apply()?;
        for bus in ["i2c_arm", "spi"] {
            turn_on(bus)?;
        }

        services::drop_in("apt-daily.timer", "later", include_str!("apt-daily.conf"))?;
        log::info!("{user} may use the buses: {}", GROUPS.join(", "));
        Ok(())
    }
}

/// Turns a bus on where the device tree can be asked to.
fn turn_on(bus: &str) -> Result {
    match boot_config::add(None, "dtparam", &format!("{bus}=on")) {
        // Debian's own kernels: their trees have I2C on and SPI off.
        Err(error) if error.code() == ErrorCode::Unsupported => {
            log::warn!("{bus} is left as the kernel has it: {error}");
        }
        added => drop(added?),
    }
    Ok(())
}

piimg_plugin_sdk::plugin!(Base);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_asks_for_every_file_that_it_writes() {
        let scopes: Vec<String> = Base::conf().capabilities().into_iter().map(|capability| capability.scope).collect();
        for path in [RULES, MODULES] {
            assert!(scopes.contains(&format!("fs:write:{path}")), "{path} is not in {scopes:?}");
        }
        assert!(!scopes.iter().any(|scope| scope.contains('*') && scope.starts_with("exec:")), "{scopes:?}");
    }

    #[test]
    fn each_group_has_its_bus() {
        for group in GROUPS {
            assert!(include_str!("buses.rules").contains(&format!("GROUP=\"{group}\"")), "{group}");
        }
    }
}
