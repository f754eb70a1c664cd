//! Rules for single values, each with a message that names the rule.

use super::package::PackageSpec;

/// Highest `rootfs-extra-space-mb`: 1 TiB, half of what a master boot record can address.
pub const MOST_EXTRA_SPACE_MB: u32 = 1 << 20;

/// Linux' limit for a host name, `__NEW_UTS_LEN`.
const HOSTNAME_LIMIT: usize = 64;
/// RFC 1123, section 2.1.
const LABEL_LIMIT: usize = 63;

/// Checks a host name by <https://www.rfc-editor.org/rfc/rfc1123.html#page-13>.
///
/// # Errors
/// The rule it breaks.
pub fn hostname(name: &str) -> Result<(), String> {
    if name.is_empty() || name.len() > HOSTNAME_LIMIT {
        return Err(format!("must have 1 to {HOSTNAME_LIMIT} characters"));
    }
    for label in name.split('.') {
        if label.is_empty() || label.len() > LABEL_LIMIT {
            return Err(format!("each part between dots must have 1 to {LABEL_LIMIT} characters"));
        }
        if !label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err("may hold only ASCII letters, digits and `-` (RFC 1123)".into());
        }
        if label.starts_with('-') || label.ends_with('-') {
            return Err("no part may start or end with `-` (RFC 1123)".into());
        }
    }
    Ok(())
}

/// Checks a word that becomes part of a file name.
///
/// # Errors
/// The rule it breaks.
pub fn flavour(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) || !name.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(
            "must be 1 to 64 ASCII letters, digits, `.`, `_`, `+` or `-`, and start with a letter or digit".into()
        );
    }
    Ok(())
}

/// Checks an amount of free space in MiB.
///
/// # Errors
/// The bound it exceeds.
pub fn extra_space_mb(size: u32) -> Result<(), String> {
    if size > MOST_EXTRA_SPACE_MB {
        return Err(format!("must be at most {MOST_EXTRA_SPACE_MB} MiB (1 TiB)"));
    }
    Ok(())
}

/// Checks `name` or `name=version`, with an optional `:architecture`: see [`PackageSpec`].
///
/// # Errors
/// The rule it breaks.
pub fn package(spec: &str) -> Result<(), String> {
    PackageSpec::parse(spec).map(drop)
}

/// Checks the name of a user or group by the rule of Debian's `adduser`
/// (<https://manpages.debian.org/stable/adduser/adduser.8.en.html>).
///
/// # Errors
/// The rule it breaks.
pub fn user_name(name: &str) -> Result<(), String> {
    let first = name.bytes().next().is_some_and(|byte| byte.is_ascii_lowercase() || byte == b'_');
    if !first
        || name.len() > 32
        || !name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_-".contains(&byte))
    {
        return Err(
            "must be 1 to 32 lowercase ASCII letters, digits, `-` or `_`, and start with a letter or `_`".into()
        );
    }
    Ok(())
}

/// Names of accounts and groups that every Debian or Ubuntu has: those of the package base-passwd, and what systemd, udev, dbus,
/// openssh-server and sudo make. The user would get a group of its own name.
const EVERYWHERE: &str = "\
    _apt _ssh adm audio avahi backup bin cdrom clock crontab daemon dialout dip disk fax floppy games gnats input \
    irc kmem kvm list lp mail man messagebus netdev news nobody nogroup operator plugdev polkitd proxy render root \
    sasl sgx shadow src sshd staff sudo sync sys systemd-journal systemd-network systemd-resolve systemd-timesync \
    tape tty users utmp uucp video voice www-data";

/// Checks the name of a user to create.
///
/// # Errors
/// The rule it breaks.
pub fn new_user(name: &str) -> Result<(), String> {
    user_name(name)?;
    if EVERYWHERE.split_whitespace().any(|it| it == name) {
        return Err("is the name of an account or a group that every image has".into());
    }
    Ok(())
}

/// Checks a plugin's id: `name` or `author/name`.
///
/// # Errors
/// The rule it breaks.
pub fn plugin_id(id: &str) -> Result<(), String> {
    let part = |part: &str| {
        part.bytes().next().is_some_and(|byte| byte.is_ascii_alphanumeric())
            && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    };
    if id.len() > 100 || id.split('/').count() > 2 || !id.split('/').all(part) {
        return Err("must be `name` or `author/name` of ASCII letters, digits, `.`, `_` and `-`".into());
    }
    Ok(())
}

/// Checks one line of `authorized_keys` (<https://man.openbsd.org/sshd#AUTHORIZED_KEYS_FILE_FORMAT>).
///
/// # Errors
/// The rule it breaks.
pub fn authorized_key(key: &str) -> Result<(), String> {
    if key.contains(['\n', '\r', '\0']) || key.len() > 16 << 10 {
        return Err("must be one line of at most 16 KiB".into());
    }
    if key.split_whitespace().count() < 2 {
        return Err("must be a key type and a key, as in `ssh-ed25519 AAAA… comment`".into());
    }
    Ok(())
}

/// Checks the address of an archive or a mirror, as mmdebstrap and apt take it.
///
/// # Errors
/// The rule it breaks.
pub fn mirror(mirror: &str) -> Result<(), String> {
    let url = ["http://", "https://"].iter().any(|scheme| mirror.starts_with(scheme));
    if !url || mirror.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return Err("must be a http or https URL without spaces".into());
    }
    if mirror.split("//").nth(1).and_then(|rest| rest.split('/').next()).is_some_and(|host| host.contains('@')) {
        return Err("must not hold a password, which would end up in the image: use the host's apt `auth.conf`".into());
    }
    Ok(())
}

/// Checks the name of an archive, which becomes that of a file in `/etc/apt/sources.list.d`
/// (<https://manpages.debian.org/stable/apt/sources.list.5.en.html>).
///
/// # Errors
/// The rule it breaks.
pub fn repository(name: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) || !name.as_bytes()[0].is_ascii_alphanumeric() {
        return Err("must be 1 to 64 ASCII letters, digits, `.`, `_` or `-`, and start with a letter or digit".into());
    }
    Ok(())
}

/// Checks a suite: a word if it has components, else a directory of a flat archive, such as `./` or `/`
/// (<https://wiki.debian.org/DebianRepository/Format#Flat_Repository_Format>).
///
/// # Errors
/// The rule it breaks.
pub fn suite(suite: &str, has_components: bool) -> Result<(), String> {
    let Some(directory) = suite.strip_suffix('/') else {
        archive_word(suite)?;
        return match has_components {
            true => Ok(()),
            false => {
                Err("must end with `/` if there are no components, such as `./`: it is a flat archive then".into())
            }
        };
    };
    if has_components {
        return Err("must not end with `/`: such an archive is flat, and has no components".into());
    }
    let is_part = |part: &str| part != ".." && (part == "." || archive_word(part).is_ok());
    if directory.is_empty() || directory.split('/').all(is_part) {
        return Ok(());
    }
    Err("must be a directory of the archive, such as `./` or `stable/`".into())
}

/// Checks a component or architecture of an archive, or a suite that has components.
///
/// # Errors
/// The rule it breaks.
pub fn archive_word(word: &str) -> Result<(), String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._+~/-".contains(&byte);
    if word.ends_with('/') {
        return Err("must not end with `/`".into());
    }
    if word.is_empty() || !word.bytes().all(plain) || !word.as_bytes()[0].is_ascii_alphanumeric() {
        return Err(
            "must be ASCII letters, digits, `.`, `_`, `+`, `~`, `/` or `-`, and start with one of the first".into()
        );
    }
    Ok(())
}

/// Checks the address of a proxy, as apt takes it.
///
/// # Errors
/// The rule it breaks.
pub fn proxy(proxy: &str) -> Result<(), String> {
    let rest = ["http://", "https://", "socks5h://"].iter().find_map(|scheme| proxy.strip_prefix(scheme));
    let Some(rest) =
        rest.filter(|rest| !rest.is_empty() && !rest.contains(|c: char| c.is_whitespace() || c.is_control()))
    else {
        return Err("must be a http, https or socks5h URL without spaces".into());
    };
    // In apt's configuration it ends a value.
    if rest.contains(['"', ';', '\\']) {
        return Err("may not hold quotes, backslashes or semicolons".into());
    }
    if rest.contains('@') {
        return Err(
            "must not hold a password, which every process could see: set `http_proxy` in the environment".into()
        );
    }
    Ok(())
}

/// Returns the time of a state of an archive: the form that snapshot services use, `YYYYMMDDTHHMMSSZ`.
///
/// # Errors
/// The rule it breaks.
pub fn snapshot(text: &str) -> Result<String, String> {
    let digits: String = text.chars().filter(char::is_ascii_digit).collect();
    let number =
        |from: usize, to: usize| digits.get(from..to).and_then(|part| part.parse::<u32>().ok()).unwrap_or(u32::MAX);
    let shape: String = text.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    let has_time = match shape.as_str() {
        "0000-00-00" | "00000000" => false,
        "00000000T000000Z" | "0000-00-00T00:00:00Z" => true,
        _ => return Err("must be a date or a time in UTC, as `2025-06-01` or `20250601T120000Z`".into()),
    };
    let is_date = (1..=12).contains(&number(4, 6)) && (1..=31).contains(&number(6, 8));
    let is_time = !has_time || (number(8, 10) < 24 && number(10, 12) < 60 && number(12, 14) < 60);
    if !is_date || !is_time {
        return Err("is no valid date or time: a month, day, hour, minute or second is out of range".into());
    }
    Ok(format!("{}T{}Z", &digits[..8], if has_time { &digits[8..14] } else { "000000" }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_accepted_or_refused_for_the_right_reason() {
        type Check = fn(&str) -> Result<(), String>;
        let long = "a".repeat(64);
        let cases: &[(Check, &str, Option<&str>)] = &[
            (hostname, "pi", None),
            (hostname, "robot-7.example", None),
            (hostname, "", Some("1 to 64")),
            (hostname, &long, Some("1 to 63")),
            (hostname, "a/b", Some("RFC 1123")),
            (hostname, "-x", Some("start or end")),
            (hostname, "x-", Some("start or end")),
            (hostname, "a..b", Some("between dots")),
            (hostname, "pi\n", Some("RFC 1123")),
            (hostname, "größe", Some("RFC 1123")),
            (flavour, "minimal", None),
            (flavour, "../x", Some("1 to 64")),
            (flavour, "-x", Some("start with")),
            (package, "libstdc++6", None),
            (package, "vim=2:9.0.1378-2+deb12u2", None),
            (package, "libc6:arm64", None),
            (package, "-oX=y", Some("package name")),
            (package, "X", Some("package name")),
            (package, "vim=", Some("version")),
            (package, "vim=1;rm", Some("version")),
            (user_name, "ubuntu", None),
            (new_user, "ubuntu", None),
            (new_user, "root", Some("that every image has")),
            (new_user, "video", Some("that every image has")),
            (new_user, "Ann", Some("lowercase")),
            (user_name, "-r", Some("start with")),
            (user_name, "$(id)", Some("lowercase")),
            (plugin_id, "author/name", None),
            (plugin_id, "a/b/c", Some("author/name")),
            (plugin_id, "", Some("author/name")),
            (plugin_id, "a\u{1b}", Some("ASCII")),
            (authorized_key, "ssh-ed25519 AAAA me", None),
            (authorized_key, "ssh-ed25519 AAAA\nssh-rsa B", Some("one line")),
            (authorized_key, "nonsense", Some("key type")),
            (mirror, "https://host/debian", None),
            // The private namespace shows no such directory.
            (mirror, "file:///srv/debian", Some("http or https")),
            (mirror, "http://user:pw@host/debian", Some("password")),
            (mirror, "http://h/ x", Some("spaces")),
            (proxy, "http://cache:3142", None),
            (proxy, "socks5h://cache:1080/", None),
            (proxy, "cache:3142", Some("must be a http")),
            (proxy, "http://", Some("must be a http")),
            (proxy, "http://h\"; x", Some("without spaces")),
            (proxy, "http://h\";x", Some("quotes")),
            (proxy, "http://user:pw@cache", Some("password")),
        ];
        for (check, value, expected) in cases {
            match (check(value), expected) {
                (Ok(()), None) => {}
                (Err(message), Some(expected)) if message.contains(expected) => {}
                (result, expected) => panic!("{value:?}: {result:?}, expected {expected:?}"),
            }
        }
        for (text, time) in [
            ("2025-06-01", Ok("20250601T000000Z")),
            ("20250601", Ok("20250601T000000Z")),
            ("20250601T235959Z", Ok("20250601T235959Z")),
            ("2025-06-01T12:30:00Z", Ok("20250601T123000Z")),
            ("2025-06", Err("must be a date")),
            ("../20250601", Err("must be a date")),
            ("2025-13-01", Err("is out of range")),
            ("20250601T240000Z", Err("is out of range")),
            ("２０２５0601", Err("must be a date")),
        ] {
            match (snapshot(text), time) {
                (Ok(found), Ok(time)) if found == time => {}
                (Err(message), Err(expected)) if message.contains(expected) => {}
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        assert!(extra_space_mb(MOST_EXTRA_SPACE_MB).is_ok());
        assert!(extra_space_mb(MOST_EXTRA_SPACE_MB + 1).unwrap_err().contains("1 TiB"));
    }
}
