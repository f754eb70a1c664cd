//! Downloads, which the host makes: `net::fetch("https://example.org/model.bin", "sha256:…")?`.

use crate::__private::bindings::piimg::plugin::net as raw;
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
