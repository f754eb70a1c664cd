//! The key ring that the recipe names for its mirror: read by the user's process, for the build sees few of the host's
//! files, and offered to apt inside.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _};
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{Context, Failure, Result};
use crate::sealed;

/// Longest key ring, in bytes; those of distributions have less than a tenth.
const LONGEST: u64 = 1 << 20;

/// How a key ring in text begins.
const ARMOR: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";

/// A key ring as apt finds it in the private namespace.
#[derive(Debug)]
pub(super) struct Keyring(PathBuf);

/// Reads the file at `path` into memory.
///
/// # Errors
/// [`Failure::usage`] if it cannot be read or is no key ring.
pub(super) fn read(path: &Path) -> Result<File> {
    let shown = path.display();
    let mut content = Vec::new();
    File::open(path)
        .and_then(|file| file.take(LONGEST + 1).read_to_end(&mut content))
        .with_context(|| Failure::usage(format!("cannot read the key ring `{shown}`")))?;
    if u64::try_from(content.len()).is_ok_and(|length| length > LONGEST) {
        return Err(Failure::usage(format!("`{shown}` is longer than 1 MiB: it is not a key ring")).into());
    }
    if !content.starts_with(ARMOR) && !is_key(&content) {
        let hint = format!("export it anew: gpg --export KEY > {}", crate::ui::shell_quoted(&shown.to_string()));
        return Err(Failure::usage(format!("`{shown}` is not a key ring of OpenPGP that apt reads")).hint(hint).into());
    }
    sealed::file("keyring", &content)
}

/// Whether the first packet is a public key (RFC 9580, sections 4.2 and 5).
fn is_key(content: &[u8]) -> bool {
    const PUBLIC_KEY: u8 = 6;
    match content.first() {
        Some(byte) if byte & 0xc0 == 0xc0 => byte & 0x3f == PUBLIC_KEY,
        Some(byte) if byte & 0xc0 == 0x80 => (byte & 0x3f) >> 2 == PUBLIC_KEY,
        _ => false,
    }
}

impl Keyring {
    /// Lays a file of [`read`] where apt finds it, under a name that follows from its content.
    ///
    /// # Privileges
    /// Uid 0 of the private namespace.
    ///
    /// # Errors
    /// If it cannot be read or written.
    pub(super) fn offer(mut file: File) -> Result<Self> {
        let (mut content, failed) = (Vec::new(), "cannot offer the key ring to apt");
        file.rewind().and_then(|()| file.read_to_end(&mut content)).context(failed)?;
        // apt tells the two forms apart by the name.
        let end = if content.starts_with(ARMOR) { "asc" } else { "gpg" };
        let path = PathBuf::from(format!("/run/piimg-{}.{end}", hex::encode(&Sha256::digest(&content)[..16])));
        fs::write(&path, content).context(failed)?;
        Ok(Self(path))
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::report;

    #[test]
    fn what_is_no_key_ring_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ring");
        let error = |content: &[u8]| {
            fs::write(&path, content).unwrap();
            report(&read(&path).unwrap_err()).messages.remove(0)
        };
        for other in [&b""[..], b"hello", b"-----BEGIN PGP MESSAGE-----", &[0xcb, 1, 2]] {
            assert!(error(other).ends_with("is not a key ring of OpenPGP that apt reads"), "{other:?}");
        }
        assert!(error(&vec![0x99; (1 << 20) + 1]).ends_with("is longer than 1 MiB: it is not a key ring"));
        for good in [&[0x99, 1, 0x0d][..], &[0x98, 0x33], &[0xc6, 0x33], b"-----BEGIN PGP PUBLIC KEY BLOCK-----\n"] {
            fs::write(&path, good).unwrap();
            let mut kept = Vec::new();
            let mut file = read(&path).unwrap();
            file.rewind().unwrap();
            file.read_to_end(&mut kept).unwrap();
            assert_eq!(kept, good);
        }
        fs::remove_file(&path).unwrap();
        assert!(report(&read(&path).unwrap_err()).messages[0].starts_with("cannot read the key ring `"));
    }
}
