//! Content that stays on the host's side.

use crate::__private::bindings::piimg::plugin::blobs as raw;
use crate::Error;

/// A file or other content held by the host: of any size, as it never enters the plugin's memory by itself.
///
/// ```no_run
/// # use piimg_plugin_sdk::{Blob, process::Command};
/// let input = Blob::from_bytes("on\n")?;
/// Command::new("tee").arg("/etc/state").apply_with_input(&input)?;
/// assert_eq!((input.size(), input.read(0, 2)?.as_slice()), (3, &b"on"[..]));
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
#[derive(Debug)]
pub struct Blob(pub(crate) raw::Blob);

impl Blob {
    /// Makes a blob of bytes, at most 4 MiB.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Limit`] for more, and if the plugin holds too many.
    pub fn from_bytes(data: impl AsRef<[u8]>) -> Result<Self, Error> {
        let data = data.as_ref();
        crate::fs::check_size("make a blob", data)?;
        Ok(Self(raw::from_bytes(data)?))
    }

    /// Returns the length in bytes.
    #[must_use]
    pub fn size(&self) -> u64 {
        self.0.size()
    }

    /// Returns the digest: `sha256:` and 64 hexadecimal digits.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Io`] if the content cannot be read.
    pub fn digest(&self) -> Result<String, Error> {
        Ok(self.0.digest()?)
    }

    /// Reads at most `length` bytes from `offset`: a call returns at most 1 MiB, and nothing at the end.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Io`] if the content cannot be read.
    pub fn read(&self, offset: u64, length: u32) -> Result<Vec<u8>, Error> {
        Ok(self.0.read(offset, length)?)
    }
}
