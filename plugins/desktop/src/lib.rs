//! A desktop: gdm3 and GNOME, with or without a login, that does not go to sleep.

use piimg_plugin_sdk::process::Command;
use piimg_plugin_sdk::{Kind, Param, Plugin, PluginConf, Result, boot_config, context, fs, log, services, text};

/// The desktop with what is only recommended by its packages and still needed: programs for X11, a terminal, and a bus
/// for each session.
const PACKAGES: [&str; 6] =
    ["gdm3", "gnome-session", "gnome-terminal", "xserver-xorg", "xwayland", "dbus-user-session"];

/// Settings of gdm3 on Debian, and on Ubuntu.
const GDM: &str = "/etc/gdm3/daemon.conf";
const GDM_UBUNTU: &str = "/etc/gdm3/custom.conf";
const ACCOUNTS: &str = "/etc/passwd";

/// Settings that are everybody's defaults: their text, what dconf reads, and where it is told to.
const SETTINGS: &str = "/etc/dconf/db/piimg-desktop.d/stay-awake";
const SETTINGS_DIRECTORY: &str = "/etc/dconf/db/piimg-desktop.d";
const DATABASE: &str = "/etc/dconf/db/piimg-desktop";
const PROFILES: &str = "/etc/dconf/profile";
const PROFILE: &str = "/etc/dconf/profile/user";

/// All ways to sleep that systemd knows. The kernel cannot wake a Pi up again.
const SLEEP: [&str; 5] =
    ["sleep.target", "suspend.target", "hibernate.target", "hybrid-sleep.target", "suspend-then-hibernate.target"];

struct Desktop;

impl Plugin for Desktop {
    fn conf() -> PluginConf {
        let conf = PluginConf::new("piimg/desktop", env!("CARGO_PKG_VERSION"), "Desktop")
            .description("gdm3 and GNOME, with or without a login, that neither sleeps nor locks.")
            .rootfs_extra_space_mb(1000)
            .packages(PACKAGES)
            .param(Param::with_default("autologin", "who is logged in at once, or nobody", Kind::Text, &""))
            .param(Param::with_default(
                "session",
                "what draws: X11 is what programs for kiosks know",
                Kind::Choice(&["wayland", "x11"]),
                &"wayland",
            ))
            .param(Param::with_default("stay-awake", "neither suspend, blank nor lock when idle", Kind::Bool, &true))
            .param(Param::with_default(
                "mousepoll",
                "milliseconds between two looks at a mouse; 0: as it wants",
                Kind::Integer(0, 32),
                &4,
            ))
            .needs_because(fs::reading(ACCOUNTS), "looks whether there is the user who is to be logged in")
            .needs_because(fs::writing(GDM), "settings of gdm3 on Debian")
            .needs_because(fs::writing(GDM_UBUNTU), "settings of gdm3 on Ubuntu")
            .needs_because(fs::writing(SETTINGS_DIRECTORY), "the directory of the settings")
            .needs_because(fs::writing(SETTINGS), "settings that keep the screen on")
            .needs_because(compile(), "makes what dconf reads of the settings")
            .needs_because(fs::writing(DATABASE), "is what dconf reads")
            .needs_because(fs::writing(PROFILES), "the directory of the next, which no package may have made")
            .needs_because(
                fs::editing(PROFILE),
                "makes the settings everybody's defaults, and keeps what else is in it",
            )
            .capability("boot:cmdline:usbhid.mousepoll", "keeps the mouse from lagging");
        SLEEP.into_iter().fold(conf, |conf, unit| conf.capability(&format!("svc:mask:{unit}"), "keeps it awake"))
    }

    fn execute() -> Result {
        let (autologin, session) = (context::get::<String>("autologin")?, context::get::<String>("session")?);
        if !autologin.is_empty() {
            check_user(&autologin, &fs::read_to_string(ACCOUNTS)?)?;
            log::info!("{autologin} is logged in without a password by whoever turns the machine on");
        }
        let gdm = if context::image().distribution == "ubuntu" { GDM_UBUNTU } else { GDM };
        fs::write(gdm, gdm_settings(&autologin, session == "wayland")).mode(0o644).apply()?;
        if context::get("stay-awake")? {
            stay_awake()?;
        }
        let mousepoll: u8 = context::get("mousepoll")?;
        if mousepoll > 0 {
            // One word of a line in which the kernel's other words stay.
            boot_config::set_parameter(&format!("usbhid.mousepoll={mousepoll}"))?;
        }
        Ok(())
    }
}

piimg_plugin_sdk::plugin!(Desktop);

fn stay_awake() -> Result {
    // Whoever asks, GNOME or another program: there is no sleep to be had, and logind says so.
    for unit in SLEEP {
        services::mask(unit)?;
    }
    fs::create_dir_all(SETTINGS_DIRECTORY).apply()?;
    fs::write(SETTINGS, include_str!("stay-awake")).mode(0o644).apply()?;
    compile().apply()?;
    fs::create_dir_all(PROFILES).apply()?;
    let old = if fs::exists(PROFILE)? { Some(fs::read_to_string(PROFILE)?) } else { None };
    if let Some(new) = profile(old.as_deref()) {
        fs::write(PROFILE, new).mode(0o644).apply()?;
    }
    Ok(())
}

/// Compiles one database; `dconf update` would also make anew what packages have put beside it.
fn compile() -> Command {
    Command::new("dconf").args(["compile", DATABASE, SETTINGS_DIRECTORY])
}

/// Writes all of the file: what the package brings has nothing but comments in it.
fn gdm_settings(autologin: &str, wayland: bool) -> String {
    let login = match autologin {
        "" => String::new(),
        user => format!("AutomaticLoginEnable=true\nAutomaticLogin={user}\n"),
    };
    format!("# All keys are in /usr/share/gdm/gdm.schemas.\n[daemon]\nWaylandEnable={wayland}\n{login}")
}

/// Checks that there is such a user; without one gdm3 shows its login and says nothing.
fn check_user(user: &str, accounts: &str) -> Result<(), String> {
    let name = user.escape_debug();
    let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_' || it == '-';
    if !user.chars().all(plain) {
        return Err(format!("`{name}` is no name of a user: lowercase letters, digits, `-` and `_`"));
    }
    if !accounts.lines().any(|line| line.split(':').next() == Some(user)) {
        return Err(format!(
            "the image has no user `{name}` to log in: make it with `[user]` of the recipe, or a plugin before this one"
        ));
    }
    if user == "root" {
        return Err("`root` cannot be logged in by itself: gdm3 refuses it".to_owned());
    }
    Ok(())
}

/// Writes dconf's sources of a user's settings, the user's own first; `None` if ours is among them.
fn profile(old: Option<&str>) -> Option<String> {
    text::with_line(old.unwrap_or("user-db:user\n"), "system-db:piimg-desktop")
}

#[cfg(test)]
mod tests;
