//! Looks for the values of secrets in a finished layer: as they are, in base64, and percent-encoded.
//!
//! No host function writes a value anywhere, so nothing should be found. What could put one there all the same is whatever
//! else knows it: a file that the user handed over, a download, a mistake in piimg.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;

use base64ct::{Base64Unpadded, Base64UrlUnpadded, Encoding as _};
use memchr::memmem::Finder;
use zeroize::Zeroizing;

use super::Secret;
use crate::error::{Context as _, Result};
use crate::ui::Printable as _;

/// Shorter ones would be found by chance.
pub const SHORTEST: usize = 8;

/// Bytes that are read at a time, beside what the longest form of a secret needs.
const PIECE: usize = 1 << 20;

/// Secrets to search for.
pub struct Search<'a> {
    needles: Vec<(&'a str, Zeroizing<Vec<u8>>)>,
}

impl std::fmt::Debug for Search<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Search for {} forms", self.needles.len())
    }
}

/// Place where a secret was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Leak {
    /// Relative to what was searched. Where the secret is in a name, the directory of that name.
    pub path: String,
    pub is_in_name: bool,
    /// The name of the secret.
    pub secret: String,
}

impl<'a> Search<'a> {
    /// Leaves out what is shorter than [`SHORTEST`].
    pub fn new(secrets: impl IntoIterator<Item = &'a Secret>) -> Self {
        let long = secrets.into_iter().filter(|secret| secret.expose().len() >= SHORTEST);
        let needles =
            long.flat_map(|secret| forms(secret.expose()).into_iter().map(|form| (secret.name(), form))).collect();
        Self { needles }
    }

    /// Returns whether there is nothing to be looked for.
    pub fn is_empty(&self) -> bool {
        self.needles.is_empty()
    }

    /// Returns the first secret in a file or in the tree below a directory: in contents, targets of links and names. No
    /// link is followed, and no device or pipe is opened.
    ///
    /// # Errors
    /// If something cannot be read.
    pub fn find(&self, path: &Path) -> Result<Option<Leak>> {
        if self.is_empty() { Ok(None) } else { self.find_below(path, Path::new("")) }
    }

    fn find_below(&self, root: &Path, inside: &Path) -> Result<Option<Leak>> {
        use std::os::unix::ffi::OsStrExt as _;
        let place = if inside.as_os_str().is_empty() { root.to_owned() } else { root.join(inside) };
        let failed = || format!("cannot search `{}` for secrets", place.printable());
        let metadata = std::fs::symlink_metadata(&place).with_context(failed)?;
        let leak = |path: &Path, is_in_name, secret: &str| {
            Ok(Some(Leak { path: path.to_string_lossy().into_owned(), is_in_name, secret: secret.to_owned() }))
        };
        if let Some(secret) = self.in_bytes(inside.file_name().unwrap_or_default().as_bytes()) {
            return leak(inside.parent().unwrap_or(inside), true, secret);
        }
        let found = if metadata.is_symlink() {
            self.in_bytes(std::fs::read_link(&place).with_context(failed)?.as_os_str().as_bytes())
        } else if metadata.is_file() {
            self.in_file(&File::open(&place).with_context(failed)?).with_context(failed)?
        } else {
            None
        };
        if let Some(secret) = found {
            return leak(inside, false, secret);
        }
        if metadata.is_dir() {
            let entries = std::fs::read_dir(&place).with_context(failed)?;
            let mut names =
                entries.map(|entry| Ok(entry?.file_name())).collect::<Result<Vec<_>>>().with_context(failed)?;
            names.sort();
            for name in names {
                if let Some(leak) = self.find_below(root, &inside.join(name))? {
                    return Ok(Some(leak));
                }
            }
        }
        Ok(None)
    }

    /// Returns whether a text that somebody else wrote has a secret in it.
    pub fn is_in(&self, text: &str) -> bool {
        self.in_bytes(text.as_bytes()).is_some()
    }

    fn in_bytes(&self, data: &[u8]) -> Option<&'a str> {
        self.needles.iter().find(|(_, form)| memchr::memmem::find(data, form).is_some()).map(|(name, _)| *name)
    }

    fn in_file(&self, mut file: &File) -> std::io::Result<Option<&'a str>> {
        let finders: Vec<(&str, Finder<'_>)> =
            self.needles.iter().map(|(name, form)| (*name, Finder::new(form.as_slice()))).collect();
        let overlap = self.needles.iter().map(|(_, form)| form.len()).max().unwrap_or_default().saturating_sub(1);
        let mut buffer = Zeroizing::new(vec![0; overlap + PIECE]);
        let mut held = 0;
        loop {
            let count = file.read(&mut buffer[held..])?;
            if count == 0 {
                return Ok(None);
            }
            let end = held + count;
            if let Some((name, _)) = finders.iter().find(|(_, finder)| finder.find(&buffer[..end]).is_some()) {
                return Ok(Some(*name));
            }
            // What may be the beginning of one stays.
            held = end.min(overlap);
            buffer.copy_within(end - held..end, 0);
        }
    }
}

/// Returns a value as it may stand somewhere.
fn forms(value: &[u8]) -> Vec<Zeroizing<Vec<u8>>> {
    let mut forms = vec![Zeroizing::new(value.to_vec())];
    for digits in [b"0123456789ABCDEF", b"0123456789abcdef"] {
        forms.push(percent_encoded(value, digits));
    }
    // In base64 three bytes are four characters: how a value looks depends on how many bytes are before it.
    for before in 0..3 {
        let mut padded = Zeroizing::new(vec![0; before]);
        padded.extend_from_slice(value);
        // Characters that hold bits of what comes before and behind are left out.
        let start = [0, 2, 3][before];
        let end = padded.len() * 8 / 6;
        for encode in [Base64Unpadded::encode_string, Base64UrlUnpadded::encode_string] {
            let text = Zeroizing::new(encode(&padded).into_bytes());
            forms.push(Zeroizing::new(text[start..end].to_vec()));
        }
    }
    forms.sort_by(|a, b| a.as_slice().cmp(b));
    forms.dedup();
    forms
}

/// Returns all but the characters that RFC 3986 leaves as they are.
fn percent_encoded(value: &[u8], digits: &[u8; 16]) -> Zeroizing<Vec<u8>> {
    let mut text = Zeroizing::new(Vec::with_capacity(3 * value.len()));
    for byte in value {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(byte) {
            text.push(*byte);
        } else {
            text.extend([b'%', digits[usize::from(byte >> 4)], digits[usize::from(byte & 15)]]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::secret;
    use super::*;

    const VALUE: &[u8] = b"s3cr+t/p?ss>\xff";

    fn found(content: &[u8]) -> Option<Leak> {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/conf"), content).unwrap();
        Search::new([&secret(VALUE)]).find(dir.path()).unwrap()
    }

    #[test]
    fn every_form_is_found_and_near_misses_are_not() {
        use base64ct::{Base64, Base64Url};
        let wrapped = |before: &str, after: &str| [before.as_bytes(), VALUE, after.as_bytes()].concat();
        let mut leaks = vec![
            VALUE.to_vec(),
            wrapped("token=", "\n"),
            b"https://a/?t=s3cr%2Bt%2Fp%3Fss%3E%FF&x".to_vec(),
            b"https://a/?t=s3cr%2bt%2fp%3fss%3e%ff&x".to_vec(),
        ];
        for before in ["", "a", "ab", "abc", "user:"] {
            for after in ["", "x", "xy"] {
                leaks.push(Base64::encode_string(&wrapped(before, after)).into_bytes());
                leaks.push(Base64Url::encode_string(&wrapped(before, after)).into_bytes());
            }
        }
        for content in leaks {
            let leak = Leak { path: "etc/conf".into(), is_in_name: false, secret: "token".into() };
            assert_eq!(found(&content), Some(leak), "{}", String::from_utf8_lossy(&content));
        }
        for content in [&b""[..], &VALUE[1..], &VALUE[..VALUE.len() - 1], b"s3cr%2Bt", b"S3CR+T/P?SS>\xff"] {
            assert_eq!(found(content), None, "{}", String::from_utf8_lossy(content));
        }
    }

    #[test]
    fn one_on_the_border_of_two_pieces_is_found() {
        for before in [PIECE - 5, PIECE, 2 * PIECE + 3, 3 * PIECE - 1] {
            let content = [&vec![b'x'; before][..], VALUE, &vec![b'y'; PIECE]].concat();
            assert!(found(&content).is_some(), "{before}");
        }
    }

    #[test]
    fn names_and_targets_are_looked_at_and_links_not_followed() {
        let token = secret(b"hunter2hunter2");
        let search = Search::new([&token]);
        let dir = tempfile::tempdir().unwrap();
        let outside = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(outside.path(), "hunter2hunter2").unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        assert_eq!(search.find(dir.path()).unwrap(), None);
        std::os::unix::fs::symlink("/x/hunter2hunter2", dir.path().join("target")).unwrap();
        assert_eq!(search.find(dir.path()).unwrap().unwrap().path, "target");
        std::fs::remove_file(dir.path().join("target")).unwrap();
        // The path would tell it.
        std::fs::create_dir_all(dir.path().join("a/b-hunter2hunter2/c")).unwrap();
        let leak = search.find(dir.path()).unwrap().unwrap();
        assert!(leak.is_in_name && leak.path == "a", "{leak:?}");
    }

    #[test]
    fn short_ones_are_not_looked_for() {
        let (short, long) = (secret(b"1234567"), secret(b"12345678"));
        assert!(Search::new([&short]).is_empty() && !Search::new([&long]).is_empty());
    }
}
