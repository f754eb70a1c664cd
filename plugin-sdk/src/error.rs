//! Failed calls of the host and how a plugin's own error travels back.

use std::fmt;

use crate::__private::bindings::exports::piimg::plugin::customization::Failure;
use crate::__private::bindings::piimg::plugin::types::Error as Raw;
pub use crate::__private::bindings::piimg::plugin::types::ErrorCode;

/// A failed call of the host.
///
/// ```
/// use piimg_plugin_sdk::{Error, ErrorCode, Result};
///
/// fn interval(text: &str) -> Result<u32> {
///     let refuse = |_| Error::new(ErrorCode::Invalid, format!("`{text}` is no number of seconds"));
///     Ok(text.parse().map_err(refuse)?)
/// }
/// assert_eq!(interval("soon").unwrap_err().to_string(), "`soon` is no number of seconds");
/// ```
#[derive(Clone, Debug)]
pub struct Error(Raw);

impl Error {
    /// Makes an error of the same form as the host's, for checks that a plugin makes itself.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self(Raw { code, message: message.into(), needed: None, details: Vec::new() })
    }

    /// Returns the kind of failure.
    pub fn code(&self) -> ErrorCode {
        self.0.code
    }

    /// Returns the narrowest capability that would have allowed the call, if one was missing.
    pub fn needed(&self) -> Option<&str> {
        self.0.needed.as_deref()
    }
}

impl From<Raw> for Error {
    fn from(raw: Raw) -> Self {
        Self(raw)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {}

/// Takes an error apart: its causes as text, and the failed call among them.
pub(crate) fn failure(error: &(dyn std::error::Error + 'static)) -> Failure {
    let chain = || std::iter::successors(Some(error), |error| error.source());
    Failure {
        message: error.to_string(),
        causes: chain().skip(1).map(ToString::to_string).collect(),
        error: chain().find_map(|error| error.downcast_ref::<Error>()).map(|error| error.0.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Wrapped(Error);

    impl fmt::Display for Wrapped {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("cannot leave a note")
        }
    }

    impl std::error::Error for Wrapped {
        fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
            Some(&self.0)
        }
    }

    #[test]
    fn a_failure_keeps_the_causes_and_the_failed_call() {
        let failure = failure(&Wrapped(Error::new(ErrorCode::NotFound, "there is no `/etc/x`")));
        assert_eq!(failure.message, "cannot leave a note");
        assert_eq!(failure.causes, ["there is no `/etc/x`"]);
        assert_eq!(failure.error.unwrap().code, ErrorCode::NotFound);
    }

    #[test]
    fn a_plain_message_is_a_failure_too() {
        let failure = failure(&*Box::<dyn std::error::Error>::from("no luck"));
        assert_eq!((failure.message.as_str(), failure.causes.len(), failure.error.is_none()), ("no luck", 0, true));
    }
}
