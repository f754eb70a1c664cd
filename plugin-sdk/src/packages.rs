//! Packages of the image. They lie below everything that plugins write, so that a call which needs others than there are
//! ends the run of `execute`, and it begins anew above those.

use crate::__private::bindings::piimg::plugin::packages as raw;
use crate::template::all_filled;
use crate::{Error, Need, Needs};
pub use raw::Installed;

/// Packages that are installed while the plugin runs; see [`present`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Present<'a> {
    specs: &'a [&'a str],
    recommended: bool,
}

/// Describes packages, each `name` or `name=version`, that follow from a parameter. What is always needed belongs into
/// [`PluginConf::package`](crate::PluginConf::package).
///
/// ```no_run
/// # use piimg_plugin_sdk::packages::{self, Present};
/// const DRIVER: Present = packages::present(&["python3-{params.sensor}"]);
/// DRIVER.apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn present<'a>(specs: &'a [&'a str]) -> Present<'a> {
    Present { specs, recommended: false }
}

impl Present<'_> {
    /// Installs what they recommend, too.
    pub const fn with_recommended(self) -> Self {
        Self { recommended: true, ..self }
    }

    /// Sees that they are installed.
    ///
    /// # Errors
    /// As [`install`].
    pub fn apply(&self) -> Result<Vec<Installed>, Error> {
        Ok(raw::install(&all_filled(self.specs)?, self.recommended)?)
    }
}

impl Needs for Present<'_> {
    fn needs(&self) -> Vec<Need> {
        let need = |spec: &&str| {
            let name = spec.split('=').next().unwrap_or(spec);
            Need::capability(format!("pkg:install:{name}"), format!("installs {name} if it is wanted"))
        };
        self.specs.iter().map(need).collect()
    }
}

/// Packages that are removed while the plugin runs; see [`absent`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Absent<'a>(&'a [&'a str]);

/// Describes packages that are not to be there, nor their configuration. What is never wanted belongs into
/// [`PluginConf::remove_package`](crate::PluginConf::remove_package).
///
/// ```no_run
/// # use piimg_plugin_sdk::packages;
/// packages::absent(&["nano"]).apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn absent<'a>(names: &'a [&'a str]) -> Absent<'a> {
    Absent(names)
}

impl Absent<'_> {
    /// Sees that they are gone.
    ///
    /// # Errors
    /// As [`remove`].
    pub fn apply(&self) -> Result<(), Error> {
        Ok(raw::remove(&all_filled(self.0)?, true)?)
    }
}

impl Needs for Absent<'_> {
    fn needs(&self) -> Vec<Need> {
        let need = |name: &&str| Need::capability(format!("pkg:remove:{name}"), format!("removes {name}"));
        self.0.iter().map(need).collect()
    }
}

/// Sees that packages, each `name` or `name=version`, are installed, without what they merely recommend; returns what came
/// into the image for this call, nothing if they were there without it. Needs `pkg:install:<name>` for each. What a plugin
/// always needs belongs into [`crate::PluginConf::package`] instead, and what it needs only while it runs into
/// [`crate::PluginConf::build_package`]. Ask for all of it in one call, and early: `execute` begins anew for each call
/// that installs something. A package that cannot be installed ends the build.
///
/// ```no_run
/// # use piimg_plugin_sdk::packages;
/// packages::install(&["python3-smbus", "i2c-tools"])?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`], and [`crate::ErrorCode::Invalid`] for what the recipe or another plugin removed.
pub fn install(specs: &[&str]) -> Result<Vec<Installed>, Error> {
    Ok(raw::install(&owned(specs), false)?)
}

/// Installs as [`install`] does, with recommended packages.
///
/// # Errors
/// As [`install`].
pub fn install_with_recommended(specs: &[&str]) -> Result<Vec<Installed>, Error> {
    Ok(raw::install(&owned(specs), true)?)
}

/// Sees that packages are not installed, and keeps their configuration. Needs `pkg:remove:<name>` for each.
///
/// ```no_run
/// # use piimg_plugin_sdk::packages;
/// packages::remove(&["nano"])?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`install`], and [`crate::ErrorCode::Invalid`] for what the recipe or a plugin asked for by name.
pub fn remove(names: &[&str]) -> Result<(), Error> {
    Ok(raw::remove(&owned(names), false)?)
}

/// Sees that neither packages nor their configuration are installed. Needs `pkg:remove:<name>` for each.
///
/// ```no_run
/// # use piimg_plugin_sdk::packages;
/// packages::purge(&["nano"])?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// As [`remove`].
pub fn purge(names: &[&str]) -> Result<(), Error> {
    Ok(raw::remove(&owned(names), true)?)
}

/// Tells which version is installed, if any.
///
/// ```no_run
/// # use piimg_plugin_sdk::packages;
/// let version = packages::query("systemd")?.map(|package| package.version);
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Invalid`] for what is no package name.
pub fn query(name: &str) -> Result<Option<Installed>, Error> {
    Ok(raw::query(name)?)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
