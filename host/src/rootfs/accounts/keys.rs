//! Lines of `authorized_keys`: a type, a key and a comment, without options. Pure.

use std::fmt;

/// Key types that OpenSSH accepts today, without `ssh-dss`.
const TYPES: [&str; 7] = [
    "ssh-ed25519",
    "ssh-rsa",
    "ecdsa-sha2-nistp256",
    "ecdsa-sha2-nistp384",
    "ecdsa-sha2-nistp521",
    "sk-ssh-ed25519@openssh.com",
    "sk-ecdsa-sha2-nistp256@openssh.com",
];

/// Longest line in bytes; an RSA key of 16384 bits has 2,800.
const MAX_LINE: usize = 8 << 10;

/// A public key, checked byte by byte.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AuthorizedKey<'a> {
    line: &'a str,
    /// Type and key, without the comment.
    key: &'a str,
}

impl<'a> AuthorizedKey<'a> {
    /// # Errors
    /// What is wrong with the line.
    pub fn parse(line: &'a str) -> Result<Self, String> {
        if line.len() > MAX_LINE || line.contains(|c: char| c.is_control()) {
            return Err(format!("it is not one line of at most {MAX_LINE} bytes without control characters"));
        }
        let mut words = line.splitn(3, ' ');
        let (kind, data) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
        if !TYPES.contains(&kind) {
            return Err(format!("it does not begin with a type of key, such as `{}`; options are refused", TYPES[0]));
        }
        let blob = decode(data).ok_or("the key is not base64")?;
        // The key says its type itself, behind the length of the name.
        let named = blob.split_first_chunk::<4>().and_then(|(length, rest)| {
            let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
            Some(rest.get(..length)? == kind.as_bytes() && rest.len() > length)
        });
        if named != Some(true) {
            return Err(format!("the key is not one of type `{kind}`"));
        }
        Ok(Self { line, key: &line[..kind.len() + 1 + data.len()] })
    }
}

impl fmt::Display for AuthorizedKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.line)
    }
}

/// Returns the text of the file with the keys that it lacks, and how many those are.
pub fn add(text: &str, keys: &[AuthorizedKey<'_>]) -> (String, u32) {
    let mut new = text.to_owned();
    let mut count = 0;
    for key in keys {
        // A key with options, or with another comment, is the same key.
        let known = new.lines().filter(|line| !line.starts_with('#')).any(|line| line.contains(key.key));
        if !known {
            if !new.is_empty() && !new.ends_with('\n') {
                new.push('\n');
            }
            new.push_str(key.line);
            new.push('\n');
            count += 1;
        }
    }
    (new, count)
}

/// Decodes strict base64 with padding: <https://www.rfc-editor.org/rfc/rfc4648.html#section-4>.
fn decode(text: &str) -> Option<Vec<u8>> {
    use base64ct::{Base64, Encoding as _};
    Base64::decode_vec(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const ED25519: &str = "AAAAC3NzaC1lZDI1NTE5AAAAIJVJPcpmZh+Z1hpVH+KDLfxDlU2XSCMkjd0XnpmV4mJT";

    #[test]
    fn only_plain_keys_are_keys() {
        let good = format!("ssh-ed25519 {ED25519}");
        for (line, cause) in [
            (good.clone(), None),
            (format!("{good} ann@desk, at home"), None),
            (String::new(), Some("options are refused")),
            (format!("command=\"/bin/sh\" {good}"), Some("options are refused")),
            (format!("no-pty {good}"), Some("options are refused")),
            (format!(" {good}"), Some("options are refused")),
            (format!("# {good}"), Some("options are refused")),
            (format!("ssh-dss {ED25519}"), Some("options are refused")),
            (format!("{good}\n{good}"), Some("one line")),
            (format!("{good}\r"), Some("one line")),
            (format!("{good} a\u{1b}[2J"), Some("one line")),
            (format!("{good} {}", "x".repeat(9000)), Some("one line")),
            ("ssh-ed25519".into(), Some("not one of type")),
            ("ssh-ed25519 AAAA".into(), Some("not one of type")),
            (format!("ssh-rsa {ED25519}"), Some("not one of type `ssh-rsa`")),
            ("ssh-ed25519 AAA".into(), Some("not base64")),
            (format!("ssh-ed25519  {ED25519}"), Some("not one of type")),
            ("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5".into(), Some("not one of type")),
        ] {
            match (AuthorizedKey::parse(&line), cause) {
                (Ok(key), None) => assert_eq!(key.to_string(), line),
                (Err(error), Some(cause)) => assert!(error.contains(cause), "{line}: {error}"),
                (result, _) => panic!("{line}: {result:?}"),
            }
        }
    }

    #[test]
    fn a_key_is_added_once() {
        let line = format!("ssh-ed25519 {ED25519} ann");
        let keys = [AuthorizedKey::parse(&line).unwrap()];
        assert_eq!(add("", &keys), (format!("{line}\n"), 1));
        assert_eq!(add("# mine", &keys), (format!("# mine\n{line}\n"), 1));
        let known = format!("restrict ssh-ed25519 {ED25519} other\n");
        assert_eq!(add(&known, &keys), (known.clone(), 0));
        let off = format!("#ssh-ed25519 {ED25519}\n");
        assert_eq!(add(&off, &keys), (format!("{off}{line}\n"), 1));
    }
}
