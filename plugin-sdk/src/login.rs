//! Logins that happen by themselves when the machine starts: on the console, at a screen with lightdm, or of a kiosk, which
//! shows a page of the Web and nothing else.

use crate::template::filled;
use crate::{Error, ErrorCode, Need, Needs, fs, services};

const CONSOLE: &str = "getty@tty1.service";
const DIRECTORY: &str = "/etc/lightdm/lightdm.conf.d";
const LIGHTDM: &str = "/etc/lightdm/lightdm.conf.d/50-piimg-autologin.conf";

/// A login on the first console; see [`console`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Console<'a>(&'a str);

/// Describes a login on the first console, without a password: for whoever is at the machine.
///
/// ```no_run
/// # use piimg_plugin_sdk::login;
/// login::console("ann").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn console(user: &str) -> Console<'_> {
    Console(user)
}

impl Console<'_> {
    /// Sets it up.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no user's name.
    pub fn apply(&self) -> Result<(), Error> {
        services::drop_in(CONSOLE, "autologin", &console_text(&user(self.0)?))
    }
}

impl Needs for Console<'_> {
    fn needs(&self) -> Vec<Need> {
        vec![Need::capability(format!("svc:install:{CONSOLE}"), format!("logs {} in on the first console", self.0))]
    }
}

/// Writes the drop-in; see agetty(8). An empty line comes first, as a unit of this type has one command.
fn console_text(user: &str) -> String {
    format!("[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin {user} --noclear %I $TERM\n")
}

/// A login at the screen, with lightdm; see [`lightdm`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Lightdm<'a> {
    user: &'a str,
    session: Option<&'a str>,
}

/// Describes a login at the screen, without a password. It brings the package `lightdm`.
///
/// ```no_run
/// # use piimg_plugin_sdk::login;
/// login::lightdm("ann").session("openbox").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn lightdm(user: &str) -> Lightdm<'_> {
    Lightdm { user, session: None }
}

impl<'a> Lightdm<'a> {
    /// Sets the session, by the name of its file in `/usr/share/xsessions`; lightdm's choice by default.
    pub const fn session(self, name: &'a str) -> Self {
        Self { session: Some(name), ..self }
    }

    /// Sets it up.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no name of a user or session.
    pub fn apply(&self) -> Result<(), Error> {
        let session = self.session.map(|name| word(name, "session")).transpose()?;
        let text = lightdm_text(&user(self.user)?, session.as_deref());
        fs::create_dir_all(DIRECTORY).apply()?;
        fs::write(LIGHTDM, text).mode(0o644).apply()
    }
}

impl Needs for Lightdm<'_> {
    fn needs(&self) -> Vec<Need> {
        let reason = format!("logs {} in at the screen", self.user);
        let need = |path: &str| Need::capability(format!("fs:write:{path}"), &reason);
        vec![Need::package("lightdm"), need(DIRECTORY), need(LIGHTDM)]
    }
}

fn lightdm_text(user: &str, session: Option<&str>) -> String {
    let session = session.map(|name| format!("autologin-session={name}\n")).unwrap_or_default();
    format!("[Seat:*]\nautologin-user={user}\nautologin-user-timeout=0\n{session}")
}

const KIOSK: services::Unit = services::Unit::new("kiosk.service");

/// A page of the Web on the whole screen; see [`kiosk`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Kiosk<'a> {
    user: &'a str,
    url: &'a str,
}

/// Describes a page of the Web on the whole screen, as this user, without a desktop: `cage` shows one program, and that is
/// `chromium`. It brings both packages, which Debian and Raspberry Pi OS have; Ubuntu has chromium as a snap alone.
///
/// ```no_run
/// # use piimg_plugin_sdk::login;
/// login::kiosk("ann", "https://dashboard.example.org/").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn kiosk<'a>(user: &'a str, url: &'a str) -> Kiosk<'a> {
    Kiosk { user, url }
}

impl Kiosk<'_> {
    /// Sets it up.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no user's name, or no address in one word.
    pub fn apply(&self) -> Result<(), Error> {
        KIOSK.apply(&kiosk_text(&user(self.user)?, &address(&filled(self.url)?)?))
    }
}

impl Needs for Kiosk<'_> {
    fn needs(&self) -> Vec<Need> {
        let packages = ["cage", "chromium"].map(Need::package);
        packages.into_iter().chain(KIOSK.needs()).collect()
    }
}

/// Returns the address as a word of a command in a unit: systemd.service(5), COMMAND LINES.
fn address(url: &str) -> Result<String, Error> {
    let is_whole = url.split_once("://").is_some_and(|(scheme, rest)| {
        !scheme.is_empty() && scheme.chars().all(|it| it.is_ascii_alphanumeric()) && !rest.is_empty()
    });
    if is_whole && url.chars().all(|it| it.is_ascii_graphic() && !"\"'\\`".contains(it)) {
        return Ok(url.replace('%', "%%").replace('$', "$$"));
    }
    let url = url.escape_debug();
    Err(Error::new(ErrorCode::Invalid, format!("`{url}` is no address of a page, such as `https://example.org/`")))
}

/// Writes the unit: it takes the place of the login on the first console, whose session it needs to use the screen. See
/// <https://github.com/cage-kiosk/cage/wiki/Starting-Cage-on-boot-with-systemd>.
fn kiosk_text(user: &str, url: &str) -> String {
    format!(
        "[Unit]
Description=A page of the Web on the whole screen
After=systemd-user-sessions.service network-online.target getty@tty1.service
Wants=network-online.target
Conflicts=getty@tty1.service

[Service]
User={user}
PAMName=login
TTYPath=/dev/tty1
TTYReset=yes
StandardInput=tty-fail
StandardOutput=journal
UtmpIdentifier=tty1
UtmpMode=user
ExecStart=/usr/bin/cage -- /usr/bin/chromium --ozone-platform=wayland --kiosk --noerrdialogs --no-first-run {url}
Restart=always
RestartSec=5

[Install]
WantedBy=multi-user.target
"
    )
}

/// Returns the name, which becomes a word of a file; root is not logged in by itself.
fn user(name: &str) -> Result<String, Error> {
    let name = word(name, "user")?;
    if name == "root" {
        return Err(Error::new(ErrorCode::Invalid, "`root` is not logged in by itself: choose another user"));
    }
    Ok(name)
}

fn word(text: &str, what: &str) -> Result<String, Error> {
    let text = filled(text)?;
    if crate::text::is_plain_name(&text) && !text.starts_with('-') {
        return Ok(text.into_owned());
    }
    let text = text.escape_debug();
    Err(Error::new(ErrorCode::Invalid, format!("`{text}` is no name of a {what}: letters, digits, `_` and `-`")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_written_as_the_programs_read_it() {
        assert_eq!(
            console_text("ann"),
            "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin ann --noclear %I $TERM\n"
        );
        assert_eq!(
            lightdm_text("ann", Some("openbox")),
            "[Seat:*]\nautologin-user=ann\nautologin-user-timeout=0\nautologin-session=openbox\n"
        );
    }

    #[test]
    fn a_page_is_one_word_of_a_unit() {
        let text = kiosk_text("ann", &address("https://example.org/a%20b?x=$y").unwrap());
        assert!(
            text.contains("\nUser=ann\n") && text.contains(" --no-first-run https://example.org/a%%20b?x=$$y\n"),
            "{text}"
        );
        for odd in ["", "example.org", "://x", "https://", "https://a b", "https://a\nExecStart=/x", "https://a\"b"] {
            let error = address(odd).unwrap_err().to_string();
            assert!(error.ends_with("is no address of a page, such as `https://example.org/`"), "{error}");
        }
    }

    #[test]
    fn who_is_logged_in_is_one_word_and_not_root() {
        assert_eq!(user("ann").unwrap(), "ann");
        assert_eq!(user("root").unwrap_err().to_string(), "`root` is not logged in by itself: choose another user");
        for odd in ["", "-f", "ann\nx=1", "a b"] {
            let error = user(odd).unwrap_err().to_string();
            assert!(error.ends_with("is no name of a user: letters, digits, `_` and `-`"), "{error}");
        }
    }
}
