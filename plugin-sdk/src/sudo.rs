//! Commands that users may run as root: `sudo::without_password("ubuntu", &["/usr/bin/systemctl restart
//! app"]).apply()?`.

use crate::template::{all_filled, filled};
use crate::{Error, ErrorCode, Need, Needs, fs};

/// Commands that a user may run as root; see [`without_password`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Rule<'a> {
    who: &'a str,
    /// None for everything.
    commands: Option<&'a [&'a str]>,
}

/// Describes that a user, or with `%` before its name a group, may run these commands as root without a password; each
/// begins with an absolute path, and without arguments allows any. It replaces an earlier rule for the same user or group.
/// `ALL` must be meant: see [`everything_without_password`]. It brings the package `sudo`.
///
/// ```no_run
/// # use piimg_plugin_sdk::sudo;
/// sudo::without_password("ann", &["/usr/sbin/reboot"]).apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn without_password<'a>(who: &'a str, commands: &'a [&'a str]) -> Rule<'a> {
    Rule { who, commands: Some(commands) }
}

/// Describes that a user or `%group` may do everything as root without a password.
///
/// ```no_run
/// # use piimg_plugin_sdk::sudo;
/// sudo::everything_without_password("%field").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn everything_without_password(who: &str) -> Rule<'_> {
    Rule { who, commands: None }
}

impl Rule<'_> {
    /// Writes the rule.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no name or command; [`ErrorCode::NotFound`] without `sudo`.
    pub fn apply(&self) -> Result<(), Error> {
        let who = filled(self.who)?;
        let Some(commands) = self.commands else { return write(&who, "ALL") };
        let commands = all_filled(commands)?;
        let commands = commands.iter().map(|command| escaped(command)).collect::<Result<Vec<_>, _>>()?;
        write(&who, &commands.join(", "))
    }
}

impl Needs for Rule<'_> {
    fn needs(&self) -> Vec<Need> {
        let what = if self.commands.is_some() { "some commands" } else { "everything" };
        let reason = format!("lets {} do {what} as root", self.who);
        vec![Need::package("sudo"), Need::capability(format!("fs:write:{}", file_of(self.who)), reason)]
    }
}

fn write(who: &str, commands: &str) -> Result<(), Error> {
    check_name(who)?;
    if commands.is_empty() {
        return Err(Error::new(ErrorCode::Invalid, format!("no command was named that `{who}` may run with sudo")));
    }
    // sudo ignores files that others can write, and those with a dot in their name.
    let text = format!("{who} ALL=(root) NOPASSWD: {commands}\n");
    fs::write(&file_of(who), text).mode(0o440).owner("root", "root").apply()
}

/// Names the file: a user and a group of the same name have one each.
fn file_of(who: &str) -> String {
    format!("/etc/sudoers.d/piimg-{who}")
}

fn check_name(who: &str) -> Result<(), Error> {
    let name = who.strip_prefix('%').unwrap_or(who);
    let plain = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '_' || it == '-';
    if name.is_empty() || name.starts_with('-') || !name.chars().all(plain) {
        let message = format!("`{}` is no user for sudo: lowercase letters, digits, `-` and `_`", who.escape_debug());
        return Err(Error::new(ErrorCode::Invalid, message));
    }
    Ok(())
}

/// Writes a command as sudoers(5) wants it: what separates there has a backslash. Wildcards are refused, as they match
/// spaces and so more than one argument.
fn escaped(command: &str) -> Result<String, Error> {
    let refuse = |why: &str| {
        let message = format!("`{}` cannot be allowed with sudo: {why}", command.escape_debug());
        Err(Error::new(ErrorCode::Invalid, message))
    };
    if !command.starts_with('/') || command.ends_with('/') {
        return refuse("it does not begin with the absolute path of a program");
    }
    if command.contains(|it: char| it.is_control() || "*?[]!\"#\\".contains(it)) {
        return refuse("it has a wildcard, a quotation mark or another special character in it");
    }
    let escape = |it: char| if ",:=".contains(it) { format!("\\{it}") } else { it.to_string() };
    Ok(command.chars().map(escape).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_separates_is_escaped() {
        assert_eq!(escaped("/bin/mount -o ro,noexec a:b x=1").unwrap(), "/bin/mount -o ro\\,noexec a\\:b x\\=1");
        assert_eq!(escaped("/usr/sbin/reboot").unwrap(), "/usr/sbin/reboot");
    }

    #[test]
    fn more_than_a_command_is_refused() {
        for (command, why) in [
            ("reboot", "it does not begin with the absolute path of a program"),
            ("ALL", "it does not begin with the absolute path of a program"),
            ("/usr/bin/", "it does not begin with the absolute path of a program"),
            ("/bin/cat /var/log/*", "it has a wildcard, a quotation mark or another special character in it"),
            ("/bin/x\nann ALL=(ALL) ALL", "it has a wildcard, a quotation mark or another special character in it"),
        ] {
            let error = escaped(command).unwrap_err().to_string();
            assert!(error.ends_with(&format!("cannot be allowed with sudo: {why}")), "{error}");
        }
    }

    #[test]
    fn users_and_groups_are_names() {
        for name in ["ann", "%field"] {
            check_name(name).unwrap();
        }
        assert_ne!(file_of("field"), file_of("%field"));
        for odd in ["", "%", "ALL", "ann,bob", "../x", "#0", "-x"] {
            let error = check_name(odd).unwrap_err().to_string();
            assert!(error.ends_with("is no user for sudo: lowercase letters, digits, `-` and `_`"), "{error}");
        }
    }
}
