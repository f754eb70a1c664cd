//! Messages for the person who builds the image: `log::info!("made {count} users")` and its siblings.

use crate::__private::bindings::piimg::plugin::log as raw;
pub use raw::Level;

pub use crate::{__debug as debug, __error as error, __info as info, __trace as trace, __warn as warn};

/// Writes a message; each line of it becomes one of the log.
///
/// ```no_run
/// # use piimg_plugin_sdk::log;
/// log::write(log::Level::Warn, "no logo was given");
/// log::warn!("no logo was given, and {} is missing", "a name");
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub fn write(level: Level, message: &str) {
    raw::write(level, message);
}

/// For the plugin's author alone.
#[doc(hidden)]
#[macro_export]
macro_rules! __trace {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Trace, &::std::format!($($arg)*)) };
}

/// Shown with `--verbose`.
#[doc(hidden)]
#[macro_export]
macro_rules! __debug {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Debug, &::std::format!($($arg)*)) };
}

/// A line about what the plugin is doing.
#[doc(hidden)]
#[macro_export]
macro_rules! __info {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Info, &::std::format!($($arg)*)) };
}

/// Something is not as it should be; the build goes on.
#[doc(hidden)]
#[macro_export]
macro_rules! __warn {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Warn, &::std::format!($($arg)*)) };
}

/// Something failed; the build goes on nevertheless.
#[doc(hidden)]
#[macro_export]
macro_rules! __error {
    ($($arg:tt)*) => { $crate::log::write($crate::log::Level::Error, &::std::format!($($arg)*)) };
}
