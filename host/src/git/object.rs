//! Objects of git: each is known by a digest of its kind, length and content.

use std::fmt;

use sha2::{Digest as _, Sha256};

use super::{Answer, GitError};

/// The digest that a repository uses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Format {
    Sha1,
    Sha256,
}

impl Format {
    /// Bytes of an id.
    pub(super) const fn length(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

/// The whole name of an object: 40 or 64 hexadecimal digits.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectId(Box<[u8]>);

impl ObjectId {
    /// Parses an id in lower-case hexadecimal. Returns `None` if a digit is missing or wrong.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok().filter(|bytes| matches!(bytes.len(), 20 | 32))?;
        (!text.bytes().any(|byte| byte.is_ascii_uppercase())).then(|| Self(bytes.into()))
    }

    /// Makes an id of `bytes`. Returns `None` if their number is not that of the format.
    pub(super) fn from_bytes(bytes: &[u8], format: Format) -> Option<Self> {
        (bytes.len() == format.length()).then(|| Self(bytes.into()))
    }

    pub(super) fn format(&self) -> Format {
        if self.0.len() == Format::Sha1.length() { Format::Sha1 } else { Format::Sha256 }
    }

    /// Returns the id of that content.
    ///
    /// # Errors
    /// If it was made to have the SHA-1 of other content: two contents are known whose digest is the same, and what
    /// makes them can be seen.
    pub(super) fn of(kind: Kind, content: &[u8], format: Format) -> Answer<Self> {
        let head = format!("{} {}\0", kind.name(), content.len());
        match format {
            Format::Sha256 => Ok(Self(Sha256::new().chain_update(head).chain_update(content).finalize()[..].into())),
            Format::Sha1 => {
                let found = sha1_checked::Sha1::new().chain_update(head).chain_update(content).try_finalize();
                if found.has_collision() {
                    return Err(GitError::damaged("it holds an object that was made to be taken for another"));
                }
                Ok(Self(found.hash()[..].into()))
            }
        }
    }
}

impl fmt::Display for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0))
    }
}

impl fmt::Debug for ObjectId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The kind of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Commit,
    Tree,
    Blob,
    Tag,
}

impl Kind {
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Commit => "commit",
            Self::Tree => "tree",
            Self::Blob => "blob",
            Self::Tag => "tag",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_whole_names_in_lowercase_are_ids() {
        let digits = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
        for text in [digits, &digits[..40]] {
            assert_eq!(ObjectId::parse(text).unwrap().to_string(), text);
        }
        for text in ["", "main", &digits[..39], &digits[..41], &digits[..63], &digits.to_uppercase(), &digits[..7]] {
            assert_eq!(ObjectId::parse(text), None, "{text}");
        }
    }

    #[test]
    fn ids_are_those_of_git() {
        // `git hash-object` of `hello` and a line end, in both formats.
        for (format, id) in [
            (Format::Sha1, "ce013625030ba8dba906f756967f9e9ca394464a"),
            (Format::Sha256, "2cf8d83d9ee29543b34a87727421fdecb7e3f3a183d337639025de576db9ebb4"),
        ] {
            assert_eq!(ObjectId::of(Kind::Blob, b"hello\n", format).unwrap().to_string(), id);
        }
    }
}
