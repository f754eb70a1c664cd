//! Units of systemd in the image, named with their suffix: `services::enable("app.service")?`.
//!
//! Nothing is started while an image is built; a state is what the finished system will start.

use crate::__private::bindings::piimg::plugin::services as raw;
use crate::template::filled;
use crate::{Error, ErrorCode, Need, Needs, fs};

/// A unit of the plugin's own; see [`Unit::new`].
#[derive(Clone, Copy, Debug)]
pub struct Unit<'a> {
    name: &'a str,
    starts: bool,
}

impl<'a> Unit<'a> {
    /// Names a unit of the plugin's own, which the system starts.
    ///
    /// ```no_run
    /// # use piimg_plugin_sdk::services::Unit;
    /// const APP: Unit = Unit::new("app.service");
    /// APP.apply("[Service]\nExecStart=/opt/app\n[Install]\nWantedBy=multi-user.target\n")?;
    /// # Ok::<(), piimg_plugin_sdk::Error>(())
    /// ```
    #[must_use]
    pub const fn new(name: &'a str) -> Self {
        Self { name, starts: true }
    }

    /// Leaves it to those that need it, such as a timer of its name: the system does not start it by itself.
    ///
    /// ```
    /// # use piimg_plugin_sdk::{Needs, services::Unit};
    /// assert_eq!(Unit::new("report.service").on_demand().needs().len(), 1);
    /// ```
    #[must_use]
    pub const fn on_demand(self) -> Self {
        Self { starts: false, ..self }
    }

    /// Writes it with this text, and lets the system start it.
    ///
    /// # Errors
    /// As [`install`] and [`enable`].
    pub fn apply(&self, text: &str) -> Result<(), Error> {
        let name = filled(self.name)?;
        install(&name, text)?;
        if self.starts {
            enable(&name)?;
        }
        Ok(())
    }
}

impl Needs for Unit<'_> {
    fn needs(&self) -> Vec<Need> {
        let unit = self.name;
        let written = Need::capability(format!("svc:install:{unit}"), format!("writes {unit}"));
        let started = self.starts.then(|| enabled(unit).needs());
        std::iter::once(written).chain(started.into_iter().flatten()).collect()
    }
}

/// Directory of the units of all users' sessions: systemd.unit(5).
const USER_UNITS: &str = "/etc/systemd/user";

/// A unit of users' sessions; see [`user_unit`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct UserUnit<'a> {
    name: &'a str,
    target: &'a str,
}

/// Describes a unit that is started in the session of each user who logs in.
///
/// ```no_run
/// # use piimg_plugin_sdk::services::{self, UserUnit};
/// const PANEL: UserUnit = services::user_unit("panel.service");
/// PANEL.apply("[Service]\nExecStart=/usr/bin/panel\n")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn user_unit(name: &str) -> UserUnit<'_> {
    UserUnit { name, target: "default.target" }
}

impl<'a> UserUnit<'a> {
    /// Sets what starts it, such as `graphical-session.target`; the session itself by default.
    pub const fn wanted_by(self, target: &'a str) -> Self {
        Self { target, ..self }
    }

    /// Writes it with this text, and lets the target start it: what its `[Install]` section says does not count.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no name of a unit.
    pub fn apply(&self, text: &str) -> Result<(), Error> {
        let (name, target) = (unit_name(self.name)?, unit_name(self.target)?);
        fs::write(&format!("{USER_UNITS}/{name}"), text).mode(0o644).apply()?;
        let wants = format!("{USER_UNITS}/{target}.wants");
        fs::create_dir_all(&wants).apply()?;
        fs::symlink(&format!("{wants}/{name}"), &format!("{USER_UNITS}/{name}"))
    }
}

impl Needs for UserUnit<'_> {
    fn needs(&self) -> Vec<Need> {
        let Self { name, target } = self;
        let reason = format!("starts {name} in each user's session");
        let paths = [(*name).to_owned(), format!("{target}.wants"), format!("{target}.wants/{name}")];
        paths.iter().map(|path| Need::capability(format!("fs:write:{USER_UNITS}/{path}"), &reason)).collect()
    }
}

/// Returns the name of a unit, which becomes that of a file.
fn unit_name(text: &str) -> Result<std::borrow::Cow<'_, str>, Error> {
    let name = filled(text)?;
    let is_plain = |it: char| it.is_ascii_alphanumeric() || ".-_@\\:".contains(it);
    if name.contains('.') && !name.starts_with('.') && name.chars().all(is_plain) {
        return Ok(name);
    }
    let message = format!("`{}` is no name of a unit, such as `panel.service`", name.escape_debug());
    Err(Error::new(ErrorCode::Invalid, message))
}

/// A state of a unit that is there; see [`enabled`], [`disabled`] and [`masked`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Wanted<'a> {
    unit: &'a str,
    state: raw::State,
}

/// Describes that a unit is started with the system, as its `[Install]` section says.
///
/// ```no_run
/// # use piimg_plugin_sdk::services::{self, Wanted};
/// const FIREWALL: Wanted = services::enabled("nftables.service");
/// FIREWALL.apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn enabled(unit: &str) -> Wanted<'_> {
    Wanted { unit, state: raw::State::Enabled }
}

/// Describes that a unit is left to those that need it.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::disabled("ModemManager.service").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn disabled(unit: &str) -> Wanted<'_> {
    Wanted { unit, state: raw::State::Disabled }
}

/// Describes that a unit is never started.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::masked("apt-daily.timer").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn masked(unit: &str) -> Wanted<'_> {
    Wanted { unit, state: raw::State::Masked }
}

impl Wanted<'_> {
    /// Sees to it; true if it was not so before.
    ///
    /// # Errors
    /// As [`enable`] and [`mask`].
    pub fn apply(&self) -> Result<bool, Error> {
        Ok(raw::set_state(&filled(self.unit)?, self.state)?)
    }
}

impl Needs for Wanted<'_> {
    fn needs(&self) -> Vec<Need> {
        let unit = self.unit;
        let (verb, reason) = match self.state {
            raw::State::Enabled => ("enable", format!("starts {unit} with the system")),
            raw::State::Disabled => ("disable", format!("does not start {unit} with the system")),
            raw::State::Masked | raw::State::Unmasked => ("mask", format!("keeps {unit} from being started")),
        };
        vec![Need::capability(format!("svc:{verb}:{unit}"), reason)]
    }
}

/// Writes `/etc/systemd/system/<name>`; [`enable`] it too if it shall start. Needs `svc:install:<name>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::install("app.service", "[Service]\nExecStart=/opt/app\n")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Invalid`] for what is no unit.
pub fn install(name: &str, text: &str) -> Result<(), Error> {
    Ok(raw::install_unit(name, text)?)
}

/// Adds `/etc/systemd/system/<unit>.d/<name>.conf` to a unit. Needs `svc:install:<unit>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::drop_in("ssh.service", "restart", "[Service]\nRestart=always\n")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`install`].
pub fn drop_in(unit: &str, name: &str, text: &str) -> Result<(), Error> {
    Ok(raw::drop_in(unit, name, text)?)
}

/// Starts the unit with the system, as its `[Install]` section says; true if it did not before. Needs
/// `svc:enable:<unit>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::enable("nftables.service")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::NotFound`] if there is no such unit.
pub fn enable(unit: &str) -> Result<bool, Error> {
    Ok(raw::set_state(unit, raw::State::Enabled)?)
}

/// Writes a unit as [`install`] does and lets the system start it. Needs `svc:install:<name>` and `svc:enable:<name>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::add("app.service", "[Service]\nExecStart=/opt/app\n[Install]\nWantedBy=multi-user.target\n")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`install`] and [`enable`].
pub fn add(name: &str, text: &str) -> Result<(), Error> {
    install(name, text)?;
    enable(name).map(|_| ())
}

/// Writes the text of a unit for [`add`] that runs a program once, at the first boot, before what `before` names
/// (separated by spaces, or empty). `done` is a file in a directory that exists: it is made when the program has
/// succeeded, and until then each boot tries again.
///
/// ```
/// use piimg_plugin_sdk::services;
///
/// let unit = services::once("Names the machine", "/opt/name", "network-pre.target", "/var/lib/named");
/// assert!(unit.contains("\nConditionPathExists=!/var/lib/named\n"));
/// ```
#[must_use]
pub fn once(description: &str, program: &str, before: &str, done: &str) -> String {
    let before = if before.is_empty() { String::new() } else { format!("Before={before}\n") };
    format!(
        "[Unit]\nDescription={description}\nConditionPathExists=!{done}\n{before}\n\
         [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart={program}\nExecStartPost=/usr/bin/touch {done}\n\n\
         [Install]\nWantedBy=multi-user.target\n"
    )
}

/// Leaves the unit to those that need it; true if it was enabled before. Needs `svc:disable:<unit>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::disable("bluetooth.service")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`enable`].
pub fn disable(unit: &str) -> Result<bool, Error> {
    Ok(raw::set_state(unit, raw::State::Disabled)?)
}

/// Keeps the unit from ever being started; true if it could be before. Needs `svc:mask:<unit>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::mask("apt-daily.timer")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Exists`] for a unit that is in `/etc/systemd/system` itself.
pub fn mask(unit: &str) -> Result<bool, Error> {
    Ok(raw::set_state(unit, raw::State::Masked)?)
}

/// Undoes [`mask`]; true if the unit was masked. Needs `svc:mask:<unit>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::services;
/// services::unmask("apt-daily.timer")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`].
pub fn unmask(unit: &str) -> Result<bool, Error> {
    Ok(raw::set_state(unit, raw::State::Unmasked)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_that_runs_once_is_done_when_it_has_succeeded() {
        assert_eq!(
            once("Names the box", "/usr/local/sbin/name", "network-pre.target", "/var/lib/named"),
            "[Unit]\nDescription=Names the box\nConditionPathExists=!/var/lib/named\nBefore=network-pre.target\n\n\
             [Service]\nType=oneshot\nRemainAfterExit=yes\nExecStart=/usr/local/sbin/name\n\
             ExecStartPost=/usr/bin/touch /var/lib/named\n\n[Install]\nWantedBy=multi-user.target\n"
        );
        assert!(!once("x", "/x", "", "/y").contains("Before="));
    }

    #[test]
    fn a_unit_of_sessions_asks_for_its_file_and_its_link() {
        let scopes: Vec<String> = user_unit("panel.service").needs().iter().map(Need::scope).collect();
        let expected = [
            "fs:write:/etc/systemd/user/panel.service",
            "fs:write:/etc/systemd/user/default.target.wants",
            "fs:write:/etc/systemd/user/default.target.wants/panel.service",
        ];
        assert_eq!(scopes, expected);
        assert_eq!(unit_name("a@b.service").unwrap(), "a@b.service");
        for odd in ["", "panel", ".service", "../x.service", "a b.service"] {
            let error = unit_name(odd).unwrap_err().to_string();
            assert!(error.ends_with("is no name of a unit, such as `panel.service`"), "{error}");
        }
    }
}
