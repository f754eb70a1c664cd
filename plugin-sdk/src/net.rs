//! Downloads, which the host makes: `net::download("https://example.org/model.bin", "sha256:…").fetch()?`.

use crate::__private::bindings::piimg::plugin::net as raw;
pub use crate::__private::bindings::piimg::plugin::net::Authorization;
use crate::template::filled;
use crate::{Blob, Error, Need, Needs};

/// A file of an address and a digest; see [`download`].
#[must_use = "nothing happens before `fetch`"]
#[derive(Clone, Copy, Debug)]
pub struct Download<'a> {
    url: &'a str,
    digest: &'a str,
}

/// Describes a file of this digest, `sha256:` and 64 hexadecimal digits.
///
/// ```no_run
/// # use piimg_plugin_sdk::{fs, net};
/// let digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
/// let model = net::download("https://example.org/model.bin", digest).fetch()?;
/// fs::install(&model, "/opt/model.bin").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn download<'a>(url: &'a str, digest: &'a str) -> Download<'a> {
    Download { url, digest }
}

impl<'a> Download<'a> {
    /// Sets which secret the host sends to a server that wants to know who asks; see [`fetch_authorized`].
    pub const fn authorized(self, secret: &'a str, how: Authorization) -> AuthorizedDownload<'a> {
        AuthorizedDownload { download: self, secret, how }
    }

    /// Downloads it.
    ///
    /// # Errors
    /// As [`fetch`].
    pub fn fetch(&self) -> Result<Blob, Error> {
        fetch(&filled(self.url)?, &filled(self.digest)?)
    }
}

impl Needs for Download<'_> {
    fn needs(&self) -> Vec<Need> {
        vec![Need::capability(format!("net:{}", self.url), "downloads it, by its digest")]
    }
}

/// A file of a server that wants to know who asks; see [`Download::authorized`]. It is a type of its own, for the host function
/// behind it is one that plugins without secrets do not import.
#[must_use = "nothing happens before `fetch`"]
#[derive(Clone, Copy, Debug)]
pub struct AuthorizedDownload<'a> {
    download: Download<'a>,
    secret: &'a str,
    how: Authorization,
}

impl AuthorizedDownload<'_> {
    /// Downloads it.
    ///
    /// # Errors
    /// As [`fetch_authorized`].
    pub fn fetch(&self) -> Result<Blob, Error> {
        let Download { url, digest } = self.download;
        fetch_authorized(&filled(url)?, &filled(digest)?, &filled(self.secret)?, self.how)
    }
}

impl Needs for AuthorizedDownload<'_> {
    fn needs(&self) -> Vec<Need> {
        let secret = Need::capability(format!("secret:{}", self.secret), "downloads what is not everybody's");
        self.download.needs().into_iter().chain([secret]).collect()
    }
}

/// Downloads a file of this digest, `sha256:` and 64 hexadecimal digits; its content stays with the host until
/// [`crate::fs::install`]. Needs `net:<url>`, and the same for each address that the server sends on to.
///
/// ```no_run
/// # use piimg_plugin_sdk::{fs, net};
/// let digest = "sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae";
/// fs::install(&net::fetch("https://example.org/model.bin", digest)?, "/opt/model.bin").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`], [`crate::ErrorCode::Network`]; [`crate::ErrorCode::DigestMismatch`] if it is another
/// file.
pub fn fetch(url: &str, digest: &str) -> Result<Blob, Error> {
    Ok(Blob(raw::fetch(url, digest)?))
}

/// Fetches as [`fetch`] does, from an https address that wants to know who asks: the host sends the secret of that
/// name, as a token or as `user:password`. The plugin never sees it, and neither does another host or port that the
/// server sends on to. Needs `secret:<secret>` too.
///
/// # Errors
/// As [`fetch`]; [`crate::ErrorCode::NotFound`] if no value was given for a secret that was asked for as optional;
/// [`crate::ErrorCode::Invalid`] if the secret cannot be sent that way.
pub fn fetch_authorized(url: &str, digest: &str, secret: &str, how: Authorization) -> Result<Blob, Error> {
    Ok(Blob(raw::fetch_authorized(url, digest, secret, how)?))
}
