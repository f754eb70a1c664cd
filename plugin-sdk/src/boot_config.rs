//! What the Pi's firmware reads: config.txt and the kernel's command line.
//!
//! `boot_config::add(None, "dtparam", "i2c_arm=on")?` for every board, `Some("pi4")` for the lines of one. Changes of
//! config.txt need `boot:config:<key>`, those of the command line `boot:cmdline:<name>`.

use crate::__private::bindings::piimg::plugin::boot_config as raw;
use crate::Error;

/// Values of a key of config.txt, in their order.
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Invalid`] for what is no key or section.
pub fn values(section: Option<&str>, key: &str) -> Result<Vec<String>, Error> {
    Ok(raw::values(section, key)?)
}

/// Gives a key its only value in a section, and puts the line where no other one counts instead: what is set last holds for
/// every board that the section is for. Not for `dtoverlay`, `dtparam` and `gpio`, which are added.
///
/// # Errors
/// As [`values`]; [`crate::ErrorCode::Unsupported`] if the image has no such file.
pub fn set(section: Option<&str>, key: &str, value: &(impl ToString + ?Sized)) -> Result<(), Error> {
    Ok(raw::set(section, key, &value.to_string())?)
}

/// Makes sure that a section has this line; true if it was not there before.
///
/// # Errors
/// As [`set`]; [`crate::ErrorCode::Unsupported`] too for an overlay or a parameter that would do nothing, as on Debian's own
/// releases: their device trees take no parameters.
pub fn add(section: Option<&str>, key: &str, value: &(impl ToString + ?Sized)) -> Result<bool, Error> {
    Ok(raw::add(section, key, &value.to_string())?)
}

/// Makes sure that a device tree overlay is loaded, with these parameters; true if it was not.
///
/// # Errors
/// As [`add`]. An overlay of the plugin's own is put to `/boot/firmware/overlays/NAME.dtbo` first.
pub fn overlay(section: Option<&str>, name: &str, params: &[&str]) -> Result<bool, Error> {
    add(section, "dtoverlay", &[&[name], params].concat().join(","))
}

/// Removes the lines of a section with this key, or only those with this value, and returns how many there were.
///
/// # Errors
/// As [`set`]; [`crate::ErrorCode::Unsupported`] too for lines that a package writes again with the next kernel.
pub fn remove(section: Option<&str>, key: &str, value: Option<&str>) -> Result<u32, Error> {
    Ok(raw::remove(section, key, value)?)
}

/// The kernel's parameters with this name, whole.
///
/// # Errors
/// As [`values`].
pub fn parameters(name: &str) -> Result<Vec<String>, Error> {
    Ok(raw::parameters(name)?)
}

/// Puts `name` or `name=value` in the place of all with this name. `root` and the like are piimg's.
///
/// # Errors
/// As [`set`].
pub fn set_parameter(parameter: &str) -> Result<(), Error> {
    Ok(raw::set_parameter(parameter)?)
}

/// Makes sure that the parameter is there, beside others with this name; true if it was not.
///
/// # Errors
/// As [`set`].
pub fn add_parameter(parameter: &str) -> Result<bool, Error> {
    Ok(raw::add_parameter(parameter)?)
}

/// Removes the parameters with this name and returns how many there were.
///
/// # Errors
/// As [`set`].
pub fn remove_parameter(name: &str) -> Result<u32, Error> {
    Ok(raw::remove_parameter(name)?)
}
