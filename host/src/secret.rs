//! Handles secrets: values that the user hands over by name, for host functions to use. A plugin names one and never
//! reads it.
//!
//! A value is in a [`Secret`] from the moment it is read until it is used. It has no text form, is not part of the plan, the
//! job or any report, and its memory is wiped. What is known of it elsewhere is its name and, in keys of layers,
//! [`Secret::fingerprint`].

pub mod leak;
pub mod source;

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{Read, Seek as _};
use std::sync::OnceLock;

use base64ct::{Base64, Encoding as _};
pub use piimg_capability::capability::check_secret as check_name;
use sha_crypt::{Params, sha512_crypt};
use sha2::{Digest as _, Sha256, Sha512};
use zeroize::{Zeroize as _, Zeroizing};

use crate::error::{Context as _, Failure, Result};
use crate::sealed;

/// Most bytes of a secret: keys and tokens stay far below.
pub const MAX_SIZE: usize = 64 << 10;

/// Rounds of a [`Secret::fingerprint`]: about a tenth of a second, for whoever tries passwords too.
const ROUNDS: u32 = 100_000;

/// Secrets by name.
pub type Secrets = BTreeMap<String, Secret>;

/// A value under its name.
pub struct Secret {
    name: String,
    value: Zeroizing<Vec<u8>>,
    fingerprint: OnceLock<String>,
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[secret {}]", self.name)
    }
}

impl Secret {
    /// Makes a secret of `value`. Removes a line end at the end, which most files have.
    ///
    /// # Errors
    /// What is wrong with it, without any of it.
    pub fn new(name: &str, mut value: Zeroizing<Vec<u8>>) -> Result<Self, String> {
        if value.last() == Some(&b'\n') {
            value.pop();
        }
        if value.is_empty() {
            return Err("it is empty".into());
        }
        if value.len() > MAX_SIZE {
            return Err(format!("it has more than {MAX_SIZE} bytes"));
        }
        Ok(Self { name: name.to_owned(), value, fingerprint: OnceLock::new() })
    }

    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the value. Callers must neither keep nor print a copy.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.value
    }

    /// Returns the value of an `Authorization` header that proves to have it.
    ///
    /// # Errors
    /// If it cannot be written that way: what form it must have, without any of it.
    pub(crate) fn authorization(&self, scheme: Scheme) -> Result<Authorization, String> {
        let unfit = |form: &str| format!("the secret `{}` is {form}", self.name);
        match scheme {
            Scheme::Bearer => {
                let token = std::str::from_utf8(&self.value).ok();
                let token = token.filter(|text| text.bytes().all(|byte| byte.is_ascii_graphic()));
                let token = token.ok_or_else(|| unfit("no bearer token: those are ASCII without white space"))?;
                Ok(Authorization(Zeroizing::new(["Bearer ", token].concat())))
            }
            // RFC 7617: a user's name has no `:`, and neither has a control character.
            Scheme::Basic => {
                let parts = self.value.iter().position(|byte| *byte == b':');
                if parts.is_none_or(|at| at == 0) || self.value.iter().any(u8::is_ascii_control) {
                    return Err(unfit("no `user:password` of one line"));
                }
                Ok(Authorization::basic(&self.value))
            }
        }
    }

    /// Returns the value of an `Authorization` header in which the secret is the password of `user`.
    ///
    /// # Errors
    /// Those of [`Secret::authorization`], and if the name cannot be written that way.
    pub(crate) fn authorization_of(&self, user: &str) -> Result<Authorization, String> {
        // RFC 7617, as above.
        if user.is_empty() || user.contains(|c: char| c == ':' || c.is_control()) {
            return Err(format!("`{user}` is no name of a user: those are not empty, and have no `:` and no line end"));
        }
        if self.value.iter().any(u8::is_ascii_control) {
            return Err(format!("the secret `{}` is no password of one line", self.name));
        }
        let pair = Zeroizing::new([user.as_bytes(), b":", &self.value].concat());
        Ok(Authorization::basic(&pair))
    }

    /// Returns a fingerprint of the value. It is slow to compute, so that guesses are expensive. It has no random part:
    /// equal builds have equal keys.
    pub fn fingerprint(&self) -> &str {
        self.fingerprint.get_or_init(|| {
            let salt = hex::encode(Sha256::new().chain_update("piimg secret\0").chain_update(&self.name).finalize());
            let params = Params::new(ROUNDS).expect("the number of rounds is within the scheme's");
            // Of its digest: the scheme is quadratic in the length.
            let mut digest = Sha512::digest(&*self.value);
            let slow = sha512_crypt(&digest, &salt.as_bytes()[..16], params);
            digest.as_mut_slice().zeroize();
            hex::encode(&slow[..32])
        })
    }

    /// Writes the secret to a sealed file in memory, for another process of this build.
    ///
    /// # Errors
    /// If there is no memory or no descriptor left.
    pub fn to_file(&self) -> Result<File> {
        sealed::file("secret", &self.value)
    }

    /// Returns the secret in a file of [`Secret::to_file`].
    ///
    /// # Errors
    /// [`Failure::bug`] if it is no such file.
    pub fn from_file(name: &str, mut file: File) -> Result<Self> {
        let wrong = || Failure::bug(format!("what was passed on is not the secret `{name}`"));
        anyhow::ensure!(sealed::is_sealed(&file).with_context(wrong)?, wrong());
        file.rewind().with_context(wrong)?;
        let value = read(file).with_context(wrong)?;
        Ok(Self { name: name.to_owned(), value, fingerprint: OnceLock::new() })
    }
}

/// Authentication scheme of a request with a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Scheme {
    /// The secret is a token.
    Bearer,
    /// The secret is `user:password`.
    Basic,
}

/// The value of an `Authorization` header, which is as good as the secret.
pub struct Authorization(Zeroizing<String>);

impl Authorization {
    fn basic(pair: &[u8]) -> Self {
        let encoded = Zeroizing::new(Base64::encode_string(pair));
        Self(Zeroizing::new(["Basic ", encoded.as_str()].concat()))
    }

    /// Returns the value. Callers must neither keep nor print a copy.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Authorization {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[authorization]")
    }
}

/// Reads at most one byte more than a secret and its line end have, into memory that does not move: nothing is left behind.
fn read(source: impl Read) -> std::io::Result<Zeroizing<Vec<u8>>> {
    const ROOM: usize = MAX_SIZE + 2;
    let mut value = Zeroizing::new(vec![0; ROOM]);
    let mut source = source;
    let mut length = 0;
    while length < ROOM {
        match source.read(&mut value[length..]) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    value.truncate(length);
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    pub(super) fn secret(value: &[u8]) -> Secret {
        Secret::new("token", Zeroizing::new(value.to_vec())).unwrap()
    }

    #[test]
    fn one_line_end_is_none_of_it() {
        for (value, expected) in [
            (&b"abc"[..], Ok(&b"abc"[..])),
            (b"abc\n", Ok(b"abc")),
            (b"abc\n\n", Ok(b"abc\n")),
            (b"\xff\0", Ok(b"\xff\0")),
            (b"", Err("it is empty")),
            (b"\n", Err("it is empty")),
        ] {
            let made = Secret::new("token", Zeroizing::new(value.to_vec()));
            assert_eq!(made.as_ref().map(|it| it.expose()).map_err(String::as_str), expected, "{value:?}");
        }
        let long = |length| Secret::new("token", Zeroizing::new(vec![b'x'; length])).map(|_| ());
        assert_eq!(long(MAX_SIZE), Ok(()));
        assert_eq!(long(MAX_SIZE + 1), Err("it has more than 65536 bytes".into()));
    }

    #[test]
    fn its_name_is_all_that_is_shown() {
        assert_eq!(format!("{:?}", secret(b"hunter22")), "[secret token]");
    }

    #[test]
    fn only_a_file_that_cannot_change_is_taken_over() {
        let back = Secret::from_file("token", secret(b"hunter22").to_file().unwrap()).unwrap();
        assert_eq!((back.name(), back.expose()), ("token", &b"hunter22"[..]));
        for file in [tempfile::tempfile().unwrap(), sealed::empty_file("x").unwrap()] {
            let error = Secret::from_file("token", file).unwrap_err();
            assert_eq!(error.to_string(), "what was passed on is not the secret `token`");
        }
    }

    #[test]
    fn fingerprints_follow_from_name_and_value() {
        let of = |name: &str, value: &[u8]| {
            Secret::new(name, Zeroizing::new(value.to_vec())).unwrap().fingerprint().to_owned()
        };
        let first = of("token", b"hunter22");
        assert_eq!((first.len(), &first), (64, &of("token", b"hunter22")));
        assert!(first != of("token", b"hunter23") && first != of("other", b"hunter22"));
        // No plain digest, which could be tried quickly.
        assert_ne!(first, hex::encode(Sha256::digest(b"hunter22")));
    }

    #[test]
    fn a_header_has_what_fits_into_it() {
        for (value, scheme, expected) in [
            (&b"abc.d-_/+="[..], Scheme::Bearer, Ok("Bearer abc.d-_/+=")),
            (b"a:b", Scheme::Bearer, Ok("Bearer a:b")),
            (b"a b", Scheme::Bearer, Err("no bearer token")),
            (b"a\r\nX: y", Scheme::Bearer, Err("no bearer token")),
            (b"\xff", Scheme::Bearer, Err("no bearer token")),
            (b"Aladdin:open sesame", Scheme::Basic, Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            (b"a:b:c", Scheme::Basic, Ok("Basic YTpiOmM=")),
            (b"a:", Scheme::Basic, Ok("Basic YTo=")),
            (b"token", Scheme::Basic, Err("no `user:password`")),
            (b":token", Scheme::Basic, Err("no `user:password`")),
            (b"a:b\nc", Scheme::Basic, Err("no `user:password`")),
        ] {
            match (secret(value).authorization(scheme), expected) {
                (Ok(header), Ok(expected)) => assert_eq!(header.expose(), expected),
                (Err(error), Err(cause)) => {
                    assert!(error.starts_with("the secret `token` is ") && error.contains(cause), "{error}");
                }
                (found, expected) => panic!("{value:?}: {found:?}, not {expected:?}"),
            }
        }
    }

    #[test]
    fn a_password_goes_with_the_name_of_a_user() {
        for (user, value, expected) in [
            ("Aladdin", &b"open sesame"[..], Ok("Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==")),
            ("a", b"b:c", Ok("Basic YTpiOmM=")),
            ("", b"x", Err("`` is no name of a user")),
            ("a:b", b"x", Err("`a:b` is no name of a user")),
            ("a\r\nX", b"x", Err("is no name of a user")),
            ("a", b"one\ntwo", Err("the secret `token` is no password of one line")),
        ] {
            match (secret(value).authorization_of(user), expected) {
                (Ok(header), Ok(expected)) => assert_eq!(header.expose(), expected),
                (Err(error), Err(cause)) => assert!(error.contains(cause), "{error}"),
                (found, expected) => panic!("{user:?}: {found:?}, not {expected:?}"),
            }
        }
    }
}
