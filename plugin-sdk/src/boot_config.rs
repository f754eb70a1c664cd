//! Settings that the Pi's firmware reads: config.txt and the kernel's command line.
//!
//! `boot_config::setting("dtparam", "i2c_arm=on").apply()?` for every board, with `.section("pi4")` for one. Changes of
//! config.txt need `boot:config:<key>`, those of the command line `boot:cmdline:<name>`.

use crate::__private::bindings::piimg::plugin::boot_config as raw;
use crate::template::filled;
use crate::{Error, Need, Needs};

/// A line of config.txt; see [`setting`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Setting<'a> {
    section: Option<&'a str>,
    key: &'a str,
    value: &'a str,
}

/// Describes a line of config.txt. Lines of `dtoverlay`, `dtparam` and `gpio` are added beside each other; any other key has one
/// value.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config::{self, Setting};
/// const I2C: Setting = boot_config::setting("dtparam", "i2c_arm=on");
/// I2C.apply()?;
/// boot_config::setting("dtoverlay", "disable-bt").section("pi4").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn setting<'a>(key: &'a str, value: &'a str) -> Setting<'a> {
    Setting { section: None, key, value }
}

impl<'a> Setting<'a> {
    /// Sets for which board or condition the line is, such as `pi4`; without it, for all.
    pub const fn section(self, name: &'a str) -> Self {
        Self { section: Some(name), ..self }
    }

    /// Writes it.
    ///
    /// # Errors
    /// As [`add`] and [`set`].
    pub fn apply(&self) -> Result<(), Error> {
        let (key, value) = (filled(self.key)?, filled(self.value)?);
        if ["dtoverlay", "dtparam", "gpio"].contains(&&*key) {
            return add(self.section, &key, &*value).map(|_| ());
        }
        set(self.section, &key, &*value)
    }
}

impl Needs for Setting<'_> {
    fn needs(&self) -> Vec<Need> {
        let Self { key, value, .. } = self;
        vec![Need::capability(format!("boot:config:{key}"), format!("sets {key}={value} in config.txt"))]
    }
}

/// A parameter of the kernel; see [`kernel_parameter`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct KernelParameter<'a>(&'a str);

/// Describes a parameter of the kernel, `name` or `name=value`, the only one with its name.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config::{self, KernelParameter};
/// const QUIET: KernelParameter = boot_config::kernel_parameter("quiet");
/// QUIET.apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn kernel_parameter(parameter: &str) -> KernelParameter<'_> {
    KernelParameter(parameter)
}

impl KernelParameter<'_> {
    /// Puts it on the command line.
    ///
    /// # Errors
    /// As [`set_parameter`].
    pub fn apply(&self) -> Result<(), Error> {
        set_parameter(&filled(self.0)?)
    }
}

impl Needs for KernelParameter<'_> {
    fn needs(&self) -> Vec<Need> {
        let name = self.0.split('=').next().unwrap_or(self.0);
        vec![Need::capability(format!("boot:cmdline:{name}"), format!("starts the kernel with {}", self.0))]
    }
}

/// Values of a key of config.txt, in their order.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// let overlays = boot_config::values(None, "dtoverlay")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Invalid`] for what is no key or section.
pub fn values(section: Option<&str>, key: &str) -> Result<Vec<String>, Error> {
    Ok(raw::values(section, key)?)
}

/// Gives a key its only value in a section, and puts the line where no other one counts instead: what is set last holds for
/// every board that the section is for. Not for `dtoverlay`, `dtparam` and `gpio`, which are added.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// boot_config::set(Some("pi4"), "gpu_mem", &64)?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`values`]; [`crate::ErrorCode::Unsupported`] if the image has no such file.
pub fn set(section: Option<&str>, key: &str, value: &(impl ToString + ?Sized)) -> Result<(), Error> {
    Ok(raw::set(section, key, &value.to_string())?)
}

/// Makes sure that a section has this line; true if it was not there before.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// boot_config::add(None, "dtparam", "i2c_arm=on")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`set`]; [`crate::ErrorCode::Unsupported`] too for an overlay or a parameter that would do nothing, as on Debian's own
/// releases: their device trees take no parameters.
pub fn add(section: Option<&str>, key: &str, value: &(impl ToString + ?Sized)) -> Result<bool, Error> {
    Ok(raw::add(section, key, &value.to_string())?)
}

/// Makes sure that a device tree overlay is loaded, with these parameters; true if it was not.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// boot_config::overlay(None, "i2c-rtc", &["ds3231"])?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`add`]. An overlay of the plugin's own is put to `/boot/firmware/overlays/NAME.dtbo` first.
pub fn overlay(section: Option<&str>, name: &str, params: &[&str]) -> Result<bool, Error> {
    add(section, "dtoverlay", &[&[name], params].concat().join(","))
}

/// Removes the lines of a section with this key, or only those with this value, and returns how many there were.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// boot_config::remove(None, "dtoverlay", Some("vc4-kms-v3d"))?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`set`]; [`crate::ErrorCode::Unsupported`] too for lines that a package writes again with the next kernel.
pub fn remove(section: Option<&str>, key: &str, value: Option<&str>) -> Result<u32, Error> {
    Ok(raw::remove(section, key, value)?)
}

/// Returns the kernel's parameters with this name, whole.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// let consoles = boot_config::parameters("console")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`values`].
pub fn parameters(name: &str) -> Result<Vec<String>, Error> {
    Ok(raw::parameters(name)?)
}

/// Puts `name` or `name=value` in the place of all with this name. `root` and the like are piimg's.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// boot_config::set_parameter("usbcore.autosuspend=-1")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`set`].
pub fn set_parameter(parameter: &str) -> Result<(), Error> {
    Ok(raw::set_parameter(parameter)?)
}

/// Makes sure that the parameter is there, beside others with this name; true if it was not.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// boot_config::add_parameter("console=tty1")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`set`].
pub fn add_parameter(parameter: &str) -> Result<bool, Error> {
    Ok(raw::add_parameter(parameter)?)
}

/// Removes the parameters with this name and returns how many there were.
///
/// ```no_run
/// # use piimg_plugin_sdk::boot_config;
/// boot_config::remove_parameter("quiet")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`set`].
pub fn remove_parameter(name: &str) -> Result<u32, Error> {
    Ok(raw::remove_parameter(name)?)
}
