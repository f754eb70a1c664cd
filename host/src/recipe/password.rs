//! Makes password hashes for `/etc/shadow`.

use sha_crypt::{PasswordHasher as _, ShaCrypt};
use sha2::{Digest as _, Sha256};

/// Longest password in bytes: as long as crypt(3) takes one (`CRYPT_MAX_PASSPHRASE_SIZE`).
const LONGEST: usize = 512;

/// # Errors
/// What a password must be, for one that could not be typed at a login.
pub fn check(password: &[u8]) -> Result<(), String> {
    if password.is_empty() || password.len() > LONGEST || password.iter().any(|byte| matches!(byte, b'\n' | 0)) {
        return Err(format!("must be one line of 1 to {LONGEST} bytes"));
    }
    Ok(())
}

/// Hashes `password` with SHA-512-crypt, which the libcrypt of every release reads; older ones lack yescrypt. See
/// <https://manpages.debian.org/stable/libcrypt-dev/crypt.5.en.html>.
///
/// The salt follows from `facts` about the account and its image, so that equal recipes give equal images; the user's name
/// must be one of them. It never follows from the password: it stands beside the hash, and a digest of the password there
/// would be tried much faster than the hash itself.
pub fn hash(password: &[u8], facts: &[&str]) -> String {
    let mut digest = Sha256::new().chain_update("piimg salt");
    for fact in facts {
        digest.update([0]);
        digest.update(fact);
    }
    // 12 bytes are the 16 characters of salt that this scheme uses.
    ShaCrypt::SHA512
        .hash_password_with_salt(password, &digest.finalize()[..12])
        .expect("a salt of 16 plain characters is valid")
        .to_string()
}

#[cfg(test)]
mod tests {
    use sha_crypt::PasswordVerifier as _;

    use super::*;

    /// `openssl passwd -6 -salt 0123456789abcdef ubuntu`
    const OPENSSL: &str =
        "$6$0123456789abcdef$BePitKraYdJTHQk5ydpkJz8M0JtYw1zhB7RfwKDhtWroD5k4CEonn5FdptcPq6femJQhj1K9YotkbQYcWjvZH.";

    #[test]
    fn a_password_is_one_line() {
        for (password, fits) in [
            (&b"x"[..], true),
            (&[b'x'; 512], true),
            (b"", false),
            (&[b'x'; 513], false),
            (b"a\nb", false),
            (b"a\0", false),
        ] {
            let expected = if fits { Ok(()) } else { Err("must be one line of 1 to 512 bytes".to_owned()) };
            assert_eq!(check(password), expected, "{password:?}");
        }
    }

    #[test]
    fn hashes_are_those_of_other_programs() {
        ShaCrypt::SHA512.verify_password(b"ubuntu", OPENSSL).unwrap();
        ShaCrypt::SHA512.verify_password(b"debian", OPENSSL).unwrap_err();
        ShaCrypt::SHA512.verify_password(b"ubuntu", hash(b"ubuntu", &["ann", "box"]).as_str()).unwrap();
    }

    #[test]
    fn the_salt_tells_nothing_of_the_password() {
        let salt = |password: &[u8], facts: &[&str]| hash(password, facts).split('$').nth_back(1).unwrap().to_owned();
        assert_eq!(salt(b"a", &["ann", "box"]).len(), 16);
        assert_eq!(salt(b"a", &["ann", "box"]), salt(b"b", &["ann", "box"]));
        assert_ne!(salt(b"a", &["ann", "box"]), salt(b"a", &["bob", "box"]));
        assert_ne!(salt(b"a", &["ann", "box"]), salt(b"a", &["ann", "pi"]));
        assert_ne!(salt(b"a", &["ann", "box"]), salt(b"a", &["annb", "ox"]));
        assert_eq!(hash(b"a", &["ann"]), hash(b"a", &["ann"]));
        assert_ne!(hash(b"a", &["ann"]), hash(b"b", &["ann"]));
    }
}
