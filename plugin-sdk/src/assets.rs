//! Files that the person who builds the image hands to the plugin.

use crate::__private::bindings::piimg::plugin::assets as raw;
use crate::{Blob, Error};

/// Names of the files handed over that the plugin may open.
#[must_use]
pub fn names() -> Vec<String> {
    raw::names()
}

/// Opens one, to read from it or to [`crate::fs::install`] it. Needs `asset:<name>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`] without the capability, [`crate::ErrorCode::NotFound`] if the user gave no such file.
pub fn open(name: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::open(name)?))
}
