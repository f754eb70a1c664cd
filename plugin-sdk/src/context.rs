//! The image that is being built.

use std::str::FromStr;

use crate::__private::bindings::piimg::plugin::context as raw;
use crate::{Error, ErrorCode};
/// The image that is being built; an ordinary record, so that a test can make one.
pub use raw::ImageInfo;

/// Tells about the image.
///
/// ```no_run
/// # use piimg_plugin_sdk::{context, log};
/// log::info!("this becomes {}, of {}", context::image().hostname, context::image().release);
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[must_use]
pub fn image() -> ImageInfo {
    raw::image()
}

/// Returns the value of one of the plugin's own parameters as the user would write it, checked against its kind; `None`
/// for a name that `conf` does not list.
///
/// ```no_run
/// # use piimg_plugin_sdk::context;
/// let site = context::param("site").unwrap_or_default();
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[must_use]
pub fn param(name: &str) -> Option<String> {
    raw::param(name)
}

/// Returns the value of a parameter as a number, `bool`, text or any other type that can be made of one.
///
/// ```no_run
/// # use piimg_plugin_sdk::context;
/// let interval: u32 = context::get("interval")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
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

/// Returns whether everything in this capability was asked for and granted.
///
/// ```no_run
/// # use piimg_plugin_sdk::{context, fs};
/// if context::granted("fs:write:/etc/motd") {
///     fs::write("/etc/motd", "welcome\n").apply()?;
/// }
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[must_use]
pub fn granted(scope: &str) -> bool {
    raw::granted(scope)
}

/// Returns whether all that a helper takes was granted, its packages left out: those are installed in any case.
///
/// ```no_run
/// # use piimg_plugin_sdk::{context, process::Command};
/// let check = Command::new("/usr/sbin/visudo").arg("-c");
/// if context::may(&check) {
///     check.apply()?;
/// }
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[must_use]
pub fn may(what: &impl crate::Needs) -> bool {
    what.needs().iter().all(|need| need.package_name().is_some() || granted(&need.scope()))
}

/// Fills in `{params.NAME}` wherever it stands in a text, such as a file of the plugin's own.
///
/// ```no_run
/// # use piimg_plugin_sdk::{context, services};
/// let unit = context::filled("[Service]\nUser={params.user}\nExecStart=/opt/app\n")?;
/// services::install("app.service", &unit)?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`ErrorCode::Invalid`] for a parameter that `conf` does not list.
pub fn filled(text: &str) -> Result<String, Error> {
    crate::template::filled(text).map(std::borrow::Cow::into_owned)
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
