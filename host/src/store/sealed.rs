//! Reads and writes small files of the store with a digest of their own at the end, which reveals damage.

use serde::Serialize;
use serde::de::DeserializeOwned;
use sha2::{Digest as _, Sha256};

/// Bytes of a digest.
const DIGEST: usize = 32;

/// Appends the digest of `content`.
pub(super) fn seal(mut content: Vec<u8>) -> Vec<u8> {
    let digest = Sha256::digest(&content);
    content.extend_from_slice(&digest);
    content
}

/// Returns the content of a sealed file; `None` if it is damaged.
pub(super) fn open(bytes: &[u8]) -> Option<&[u8]> {
    let (content, digest) = bytes.split_at_checked(bytes.len().checked_sub(DIGEST)?)?;
    (Sha256::digest(content)[..] == *digest).then_some(content)
}

/// Returns a value as a line of JSON, and a line with the digest of that.
///
/// # Errors
/// If it cannot be written as JSON.
pub(crate) fn to_text(value: &impl Serialize) -> serde_json::Result<String> {
    let text = serde_json::to_string(value)?;
    let digest = hex::encode(Sha256::digest(&text));
    Ok(format!("{text}\n{digest}\n"))
}

/// Returns the value of such a text; `None` if it is damaged.
pub(crate) fn from_text<T: DeserializeOwned>(text: &[u8]) -> Option<T> {
    let (text, digest) = std::str::from_utf8(text).ok()?.strip_suffix('\n')?.split_once('\n')?;
    (hex::encode(Sha256::digest(text)) == digest).then(|| serde_json::from_str(text).ok())?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flipped_bit_is_seen() {
        let text = to_text(&("key", 7)).unwrap();
        assert_eq!(from_text::<(String, u32)>(text.as_bytes()), Some(("key".to_owned(), 7)));
        let sealed = seal(b"content".to_vec());
        assert_eq!(open(&sealed), Some(&b"content"[..]));
        let flipped = |bytes: &[u8], at: usize| {
            let mut bytes = bytes.to_vec();
            bytes[at] ^= 4;
            bytes
        };
        for at in 0..text.len() {
            assert_eq!(from_text::<(String, u32)>(&flipped(text.as_bytes(), at)), None, "byte {at}");
        }
        for at in 0..sealed.len() {
            assert_eq!(open(&flipped(&sealed, at)), None, "byte {at}");
        }
        for length in 0..sealed.len() {
            assert_eq!(open(&sealed[..length]), None);
        }
        assert_eq!(from_text::<(String, u32)>(b"[\"key\",7]"), None);
    }
}
