//! Units of systemd in the image, named with their suffix: `services::enable("app.service")?`.
//!
//! Nothing is started while an image is built; a state is what the finished system will start.

use crate::__private::bindings::piimg::plugin::services as raw;
use crate::Error;

/// Writes `/etc/systemd/system/<name>`; [`enable`] it too if it shall start. Needs `svc:install:<name>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Invalid`] for what is no unit.
pub fn install(name: &str, text: &str) -> Result<(), Error> {
    Ok(raw::install_unit(name, text)?)
}

/// Adds `/etc/systemd/system/<unit>.d/<name>.conf` to a unit. Needs `svc:install:<unit>`.
///
/// # Errors
/// As [`install`].
pub fn drop_in(unit: &str, name: &str, text: &str) -> Result<(), Error> {
    Ok(raw::drop_in(unit, name, text)?)
}

/// Starts the unit with the system, as its `[Install]` section says; true if it did not before. Needs
/// `svc:enable:<unit>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::NotFound`] if there is no such unit.
pub fn enable(unit: &str) -> Result<bool, Error> {
    Ok(raw::set_state(unit, raw::State::Enabled)?)
}

/// Writes a unit as [`install`] does and lets the system start it. Needs `svc:install:<name>` and `svc:enable:<name>`.
///
/// # Errors
/// As [`install`] and [`enable`].
pub fn add(name: &str, text: &str) -> Result<(), Error> {
    install(name, text)?;
    enable(name).map(|_| ())
}

/// The text of a unit for [`add`] that runs a program once, at the first boot, before what `before` names (separated by
/// spaces, or empty). `done` is a file in a directory that exists: it is made when the program has succeeded, and until
/// then each boot tries again.
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
/// # Errors
/// As [`enable`].
pub fn disable(unit: &str) -> Result<bool, Error> {
    Ok(raw::set_state(unit, raw::State::Disabled)?)
}

/// Keeps the unit from ever being started; true if it could be before. Needs `svc:mask:<unit>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Exists`] for a unit that is in `/etc/systemd/system` itself.
pub fn mask(unit: &str) -> Result<bool, Error> {
    Ok(raw::set_state(unit, raw::State::Masked)?)
}

/// Undoes [`mask`]; true if the unit was masked. Needs `svc:mask:<unit>`.
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
}
