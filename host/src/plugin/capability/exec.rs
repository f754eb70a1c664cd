//! `exec:<program> <arg|*>… [**]`.
//!
//! The program is compared as text, for a bare name is looked up only in the box. An argument is compared whole;
//! `*` stands for exactly one, `**` at the end for any number. There is no wildcard within an argument.

use std::fmt;

/// A command and which arguments it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPattern {
    program: String,
    args: Vec<String>,
    /// Ends in `**`.
    more: bool,
}

/// Whether the grammar can spell this argument literally.
pub(super) fn is_literal(arg: &str) -> bool {
    !arg.is_empty() && arg != "*" && arg != "**" && !arg.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Whether this is a program that a command may name: absolute without `..`, or a bare name.
///
/// # Errors
/// Says what is wrong with it.
pub(in crate::plugin) fn check_program(program: &str) -> Result<(), String> {
    if program.is_empty() {
        return Err("the program is missing".into());
    }
    if !is_literal(program) || program.contains('*') {
        return Err("the program has a wildcard, white space or a control character in it".into());
    }
    match program.strip_prefix('/') {
        Some(rest) if rest.split('/').any(|segment| matches!(segment, "" | "." | "..")) => {
            Err("the program's path has `//`, `.` or `..` in it".into())
        }
        None if program.contains('/') => Err("the program must be an absolute path or a bare name".into()),
        None if matches!(program, "." | "..") => Err("the program must be an absolute path or a bare name".into()),
        _ => Ok(()),
    }
}

impl ExecPattern {
    pub(super) fn parse(scope: &str) -> Result<Self, String> {
        let mut words = scope.split(' ').map(str::to_owned);
        let program = words.next().unwrap_or_default();
        check_program(&program)?;
        let mut args: Vec<String> = words.collect();
        let more = args.last().is_some_and(|last| last == "**");
        if more {
            args.pop();
        }
        for arg in &args {
            match arg.as_str() {
                "*" => {}
                "**" => return Err("`**` must be the last argument".into()),
                arg if !is_literal(arg) => {
                    return Err(
                        "arguments are separated by one space and have no control character; `*` stands for any other"
                            .into(),
                    );
                }
                _ => {}
            }
        }
        Ok(Self { program, args, more })
    }

    pub(super) fn matches(&self, program: &str, args: &[String]) -> bool {
        self.program == program && self.matches_args(args, &|pattern, arg| pattern == "*" || pattern == arg)
    }

    fn matches_args(&self, args: &[String], one: &dyn Fn(&str, &str) -> bool) -> bool {
        let enough = if self.more { args.len() >= self.args.len() } else { args.len() == self.args.len() };
        enough && self.args.iter().zip(args).all(|(pattern, arg)| one(pattern, arg))
    }

    pub(super) fn includes(&self, other: &Self) -> bool {
        self.program == other.program
            && (self.more || !other.more)
            && self.matches_args(&other.args, &|outer, inner| outer == "*" || outer == inner)
    }
}

impl fmt::Display for ExecPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.program)?;
        for arg in &self.args {
            write!(f, " {arg}")?;
        }
        f.write_str(if self.more { " **" } else { "" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arguments_match_one_by_one() {
        for (pattern, command, expected) in [
            ("htop --version", &["htop", "--version"][..], true),
            ("htop --version", &["htop"], false),
            ("htop --version", &["htop", "--version", "x"], false),
            ("htop --version", &["/usr/bin/htop", "--version"], false),
            ("htop", &["htop2"], false),
            ("systemctl enable *", &["systemctl", "enable", "ssh"], true),
            ("systemctl enable *", &["systemctl", "enable"], false),
            ("systemctl enable *", &["systemctl", "enable", "a", "b"], false),
            ("systemctl enable **", &["systemctl", "enable"], true),
            ("systemctl enable **", &["systemctl", "enable", "a", "b"], true),
            ("systemctl enable **", &["systemctl", "disable", "a"], false),
            ("sed s/*/x/", &["sed", "s/a/x/"], false),
            ("sed s/*/x/", &["sed", "s/*/x/"], true),
            ("sh", &["sh"], true),
            ("sh", &["/bin/sh"], false),
            ("/bin/sh", &["sh"], false),
            ("/bin/sh", &["/usr/bin/sh"], false),
            ("/bin/sh", &["/bin//sh"], false),
            ("/bin/sh", &["/bin/./sh"], false),
            ("/bin/sh", &["/bin/../bin/sh"], false),
            ("sh", &["SH"], false),
            ("sh", &["s\u{4bb}"], false),
            ("sh -c", &["sh", "-C"], false),
            ("sh -c", &["sh", "-c "], false),
            ("sh -c", &["sh -c"], false),
            ("id", &["id", ""], false),
            ("id *", &["id", ""], true),
            ("id *", &["id", "a b"], true),
            ("id *", &["id", "-x"], true),
            ("caf\u{e9}", &["cafe\u{301}"], false),
        ] {
            let args: Vec<String> = command[1..].iter().map(ToString::to_string).collect();
            assert_eq!(
                ExecPattern::parse(pattern).unwrap().matches(command[0], &args),
                expected,
                "{pattern} {command:?}"
            );
        }
    }

    #[test]
    fn malformed_commands_say_why() {
        for (scope, cause) in [
            ("", "missing"),
            (" x", "missing"),
            ("*", "wildcard"),
            ("ba*h", "wildcard"),
            ("bin/sh", "absolute path or a bare name"),
            ("..", "absolute path or a bare name"),
            ("/bin/../sh", "`..`"),
            ("//bin/sh", "`//`"),
            ("sh  -c", "one space"),
            ("sh ", "one space"),
            ("sh\t-c", "control character"),
            ("sh ** -c", "last argument"),
        ] {
            let error = ExecPattern::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope:?}: {error}");
        }
    }

    #[test]
    fn inclusion_never_widens() {
        for (outer, inner, expected) in [
            ("a b", "a b", true),
            ("a *", "a b", true),
            ("a b", "a *", false),
            ("a **", "a b **", true),
            ("a **", "a * c", true),
            ("a *", "a **", false),
            ("a * **", "a **", false),
            ("a **", "b **", false),
            ("/bin/a", "a", false),
            ("a", "A", false),
            ("a", "a **", false),
            ("a **", "a", true),
        ] {
            let parse = |text| ExecPattern::parse(text).unwrap();
            assert_eq!(parse(outer).includes(&parse(inner)), expected, "{outer} | {inner}");
        }
    }
}
