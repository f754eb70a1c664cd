//! Downloads, which the host makes: `net::fetch("https://example.org/model.bin", "sha256:…")?`.

use crate::__private::bindings::piimg::plugin::net as raw;
pub use crate::__private::bindings::piimg::plugin::net::Authorization;
use crate::{Blob, Error};

/// Downloads a file of this digest, `sha256:` and 64 hexadecimal digits; its content stays with the host until
/// [`crate::fs::install`]. Needs `net:<url>`, and the same for each address that the server sends on to.
///
/// # Errors
/// [`crate::ErrorCode::Denied`], [`crate::ErrorCode::Network`]; [`crate::ErrorCode::DigestMismatch`] if it is another
/// file.
pub fn fetch(url: &str, digest: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::fetch(url, digest)?))
}

/// As [`fetch`], from an https address that wants to know who asks: the host sends the secret of that name, as a token or as
/// `user:password`. The plugin never sees it, and neither does another host or port that the server sends on to. Needs
/// `secret:<secret>` too.
///
/// # Errors
/// As [`fetch`]; [`crate::ErrorCode::NotFound`] if no value was given for a secret that was asked for as optional;
/// [`crate::ErrorCode::Invalid`] if the secret cannot be sent that way.
pub fn fetch_authorized(url: &str, digest: &str, secret: &str, how: Authorization) -> Result<Blob, Error> {
    Ok(Blob(raw::fetch_authorized(url, digest, secret, how)?))
}
