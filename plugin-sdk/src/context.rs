//! What is being built.

use crate::__private::bindings::piimg::plugin::context as raw;
/// The image that is being built; an ordinary record, so that a test can make one.
pub use raw::ImageInfo;

/// Tells about the image.
#[must_use]
pub fn image() -> ImageInfo {
    raw::image()
}

/// Value of one of the plugin's own parameters as the user would write it, checked against its kind; none for a
/// name that `conf` does not list.
#[must_use]
pub fn param(name: &str) -> Option<String> {
    raw::param(name)
}

/// Whether everything in this capability was asked for and granted.
#[must_use]
pub fn granted(scope: &str) -> bool {
    raw::granted(scope)
}
