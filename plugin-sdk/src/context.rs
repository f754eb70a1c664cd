//! What is being built.

use std::str::FromStr;

use crate::__private::bindings::piimg::plugin::context as raw;
use crate::{Error, ErrorCode};
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

/// Value of a parameter as a number, `bool`, text or any other type that can be made of one.
///
/// # Errors
/// [`ErrorCode::Invalid`] if it does not fit into the type, or for a name that `conf` does not list.
pub fn get<T: FromStr>(name: &str) -> Result<T, Error> {
    parsed(name, param(name).as_deref())
}

fn parsed<T: FromStr>(name: &str, value: Option<&str>) -> Result<T, Error> {
    let Some(value) = value else {
        return Err(Error::new(ErrorCode::Invalid, format!("the plugin has no parameter `{name}` with a value")));
    };
    value.parse().map_err(|_| {
        let message = format!("the value `{}` of the parameter `{name}` makes no sense", value.escape_debug());
        Error::new(ErrorCode::Invalid, message)
    })
}

/// Whether everything in this capability was asked for and granted.
#[must_use]
pub fn granted(scope: &str) -> bool {
    raw::granted(scope)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_has_the_type_that_is_asked_for() {
        assert_eq!(parsed::<u8>("channel", Some("11")).unwrap(), 11);
        assert!(parsed::<bool>("on", Some("true")).unwrap());
        let error = |value| parsed::<u8>("channel", value).unwrap_err().to_string();
        assert_eq!(error(Some("300")), "the value `300` of the parameter `channel` makes no sense");
        assert_eq!(error(None), "the plugin has no parameter `channel` with a value");
    }
}
