//! Password hashes for `/etc/shadow`.

use sha_crypt::{PasswordHasher as _, ShaCrypt};
use sha2::{Digest as _, Sha256};

/// SHA-512-crypt of `password`, which every release's libcrypt reads (yescrypt is unknown to older ones).
///
/// The salt follows from user and password, so that equal recipes give equal images. It still differs between
/// users and between passwords, which is what keeps tables of precomputed hashes from working.
pub fn hash(password: &str, user: &str) -> String {
    let digest = Sha256::new()
        .chain_update("piimg salt\0")
        .chain_update(user)
        .chain_update([0])
        .chain_update(password)
        .finalize();
    // 12 bytes are the 16 characters of salt that this scheme uses.
    ShaCrypt::SHA512
        .hash_password_with_salt(password.as_bytes(), &digest[..12])
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
    fn hashes_are_those_of_other_programs() {
        ShaCrypt::SHA512.verify_password(b"ubuntu", OPENSSL).unwrap();
        ShaCrypt::SHA512.verify_password(b"debian", OPENSSL).unwrap_err();
        ShaCrypt::SHA512.verify_password(b"ubuntu", hash("ubuntu", "ann").as_str()).unwrap();
    }

    #[test]
    fn the_salt_differs_between_users_and_passwords_only() {
        assert_ne!(hash("a", "ann"), hash("a", "bob"));
        assert_ne!(hash("a", "ann").split('$').nth(3), hash("b", "ann").split('$').nth(3));
        assert_eq!(hash("a", "ann"), hash("a", "ann"));
    }
}
