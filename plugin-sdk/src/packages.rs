//! Packages of the image.

use crate::__private::bindings::piimg::plugin::packages as raw;
use crate::Error;
pub use raw::Installed;

/// Installs packages, each `name` or `name=version`, without what they merely recommend; returns what was not there
/// before. Needs `pkg:install:<name>` for each. What a plugin always needs belongs into
/// [`crate::PluginConf::package`] instead, where piimg can cache it.
///
/// # Errors
/// [`crate::ErrorCode::Denied`], or [`crate::ErrorCode::CommandFailed`] if the package manager fails.
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

/// Removes packages and keeps their configuration. Needs `pkg:remove:<name>` for each.
///
/// # Errors
/// As [`install`].
pub fn remove(names: &[&str]) -> Result<(), Error> {
    Ok(raw::remove(&owned(names), false)?)
}

/// Removes packages and their configuration. Needs `pkg:remove:<name>` for each.
///
/// # Errors
/// As [`install`].
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
