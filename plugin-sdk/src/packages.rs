//! Packages of the image. They lie below everything that plugins write, so that a call which needs others than there are
//! ends the run of `execute`, and it begins anew above those.

use crate::__private::bindings::piimg::plugin::packages as raw;
use crate::Error;
pub use raw::Installed;

/// Sees that packages, each `name` or `name=version`, are installed, without what they merely recommend; returns what came
/// into the image for this call, nothing if they were there without it. Needs `pkg:install:<name>` for each. What a plugin
/// always needs belongs into [`crate::PluginConf::package`] instead, and what it needs only while it runs into
/// [`crate::PluginConf::build_package`]. Ask for all of it in one call, and early: `execute` begins anew for each call
/// that installs something. A package that cannot be installed ends the build.
///
/// # Errors
/// [`crate::ErrorCode::Denied`], and [`crate::ErrorCode::Invalid`] for what the recipe or another plugin removed.
pub fn install(specs: &[&str]) -> Result<Vec<Installed>, Error> {
    Ok(raw::install(&owned(specs), false)?)
}

/// As [`install`], with recommended packages.
///
/// # Errors
/// As [`install`].
pub fn install_with_recommended(specs: &[&str]) -> Result<Vec<Installed>, Error> {
    Ok(raw::install(&owned(specs), true)?)
}

/// Sees that packages are not installed, and keeps their configuration. Needs `pkg:remove:<name>` for each.
///
/// # Errors
/// As [`install`], and [`crate::ErrorCode::Invalid`] for what the recipe or a plugin asked for by name.
pub fn remove(names: &[&str]) -> Result<(), Error> {
    Ok(raw::remove(&owned(names), false)?)
}

/// Sees that neither packages nor their configuration are installed. Needs `pkg:remove:<name>` for each.
///
/// # Errors
/// As [`remove`].
pub fn purge(names: &[&str]) -> Result<(), Error> {
    Ok(raw::remove(&owned(names), true)?)
}

/// Tells which version is installed, if any.
///
/// # Errors
/// [`crate::ErrorCode::Invalid`] for what is no package name.
pub fn query(name: &str) -> Result<Option<Installed>, Error> {
    Ok(raw::query(name)?)
}

fn owned(names: &[&str]) -> Vec<String> {
    names.iter().map(ToString::to_string).collect()
}
