//! A base image for robots: tools, groups and rules for the buses, language, keyboard and time zone.

use piimg_plugin_sdk::region::{self, Keyboard, Locale, Timezone};
use piimg_plugin_sdk::users::{Group, User};
use piimg_plugin_sdk::{ErrorCode, Kind, Param, Plugin, PluginConf, Result, boot_config, context, fs, log, services};

/// Packages that one wants to find on a robot that does not do what it should.
const PACKAGES: [&str; 15] = [
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
];

const LOCALE: Locale = region::locale("{params.locale}");
const KEYBOARD: Keyboard = Keyboard::new("{params.keyboard}");
const TIMEZONE: Timezone = region::timezone("{params.timezone}");

/// Groups that may use the buses without being root.
const GROUPS: [&str; 3] = ["gpio", "i2c", "spi"];
const USER: User = User::new("{params.user}").groups(&GROUPS);

const RULES: &str = "/etc/udev/rules.d/60-piimg-base.rules";
const MODULES: &str = "/etc/modules-load.d/piimg-base.conf";

struct Base;

impl Plugin for Base {
    fn conf() -> PluginConf {
        PluginConf::new("piimg/base", env!("CARGO_PKG_VERSION"), "Base image for robots")
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
            .needs(LOCALE)
            .needs(KEYBOARD)
            .needs(TIMEZONE)
            .needs(USER)
            .needs_because(fs::writing(RULES), "gives the buses to their groups")
            .needs_because(fs::writing(MODULES), "loads the driver behind /dev/i2c-*")
            .capability("boot:config:dtparam", "turns on I2C and SPI")
            .capability("svc:install:apt-daily.timer", "keeps the first look for updates out of the boot")
    }

    fn execute() -> Result {
        LOCALE.apply()?;
        KEYBOARD.apply()?;
        TIMEZONE.apply()?;

        for group in GROUPS {
            Group::system(group).apply()?;
        }
        USER.apply()?;
        fs::write(RULES, include_str!("buses.rules")).mode(0o644).apply()?;
        fs::write(MODULES, "i2c-dev\n").mode(0o644).apply()?;
        for bus in ["i2c_arm", "spi"] {
            turn_on(bus)?;
        }

        services::drop_in("apt-daily.timer", "later", include_str!("apt-daily.conf"))?;
        let user: String = context::get("user")?;
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
