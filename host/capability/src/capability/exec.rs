//! `exec:[<VARIABLE>=<value|*>…] <program> <arg|*>… [**]`.
//!
//! The program is compared as text, for a bare name is looked up only in the box. An argument is compared whole;
//! `*` stands for exactly one, `**` at the end for any number. There is no wildcard within an argument.
//!
//! Variables stand before the program, as in a shell. Each that the scope has must be set, to this value (`*`: to any);
//! of others a command has only those that are harmless ([`super::variables`]).

mod code;
mod risk;

use std::collections::BTreeMap;
use std::fmt;

use super::kind::{Kind, Risk, Scope};
use super::variables::{assignment, decides_code, is_harmless};
pub use code::CodeFrom;

pub const EXEC: Kind = Kind { name: "exec", verb: "run", cannot: Some("run commands"), by_command: false };

/// A command as a call asks for it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Invocation {
    pub program: String,
    /// Without the program's name.
    pub args: Vec<String>,
    /// Variables that the caller adds; no name twice.
    pub env: BTreeMap<String, String>,
}

impl Invocation {
    pub fn new(program: &str, args: &[&str]) -> Self {
        let args = args.iter().map(|arg| (*arg).to_owned()).collect();
        Self { program: program.to_owned(), args, env: BTreeMap::new() }
    }

    #[must_use]
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }
}

/// The scope of the narrowest capability that covers it. What the grammar cannot spell is shown as the wildcard that
/// would cover it.
impl fmt::Display for Invocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (name, value) in self.env.iter().filter(|(name, value)| !is_harmless(name, value)) {
            write!(f, "{name}={} ", if is_literal_value(value) { value } else { "*" })?;
        }
        f.write_str(&self.program)?;
        self.args.iter().try_for_each(|arg| write!(f, " {}", if is_literal(arg) { arg } else { "*" }))
    }
}

/// A command and which variables and arguments it may have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ExecPattern {
    env: BTreeMap<String, String>,
    program: String,
    args: Vec<String>,
    /// Ends in `**`.
    more: bool,
}

/// Returns whether the grammar can spell this argument literally.
pub(super) fn is_literal(arg: &str) -> bool {
    !arg.is_empty() && arg != "*" && arg != "**" && !arg.contains(|c: char| c.is_whitespace() || c.is_control())
}

/// Returns whether the grammar can spell this value of a variable literally.
fn is_literal_value(value: &str) -> bool {
    value.is_empty() || is_literal(value)
}

/// Checks that this is a program that a command may name: absolute without `..`, or a bare name.
///
/// # Errors
/// Says what is wrong with it.
pub fn check_program(program: &str) -> Result<(), String> {
    if program.is_empty() {
        return Err("the program is missing".into());
    }
    if !is_literal(program) || program.contains('*') {
        return Err("the program has a wildcard, white space or a control character in it".into());
    }
    if !program.starts_with('/') && program.contains('=') {
        return Err("a bare name with `=` in it is no program; variables are `NAME=value`".into());
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

impl Scope for ExecPattern {
    const KINDS: &'static [&'static Kind] = &[&EXEC];
    type Need = Invocation;

    fn parse(scope: &str) -> Result<Self, String> {
        let mut words = scope.split(' ').peekable();
        let mut env = BTreeMap::new();
        while let Some((name, value)) = words.peek().and_then(|word| assignment(word)) {
            if value != "*" && !is_literal_value(value) {
                return Err(format!(
                    "the value of `{name}` has a control character in it or is `**`; `*` stands for any value"
                ));
            }
            if env.insert(name.to_owned(), value.to_owned()).is_some() {
                return Err(format!("the variable `{name}` stands there twice"));
            }
            words.next();
        }
        let program = words.next().unwrap_or_default().to_owned();
        check_program(&program)?;
        let mut args: Vec<String> = words.map(str::to_owned).collect();
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
        Ok(Self { env, program, args, more })
    }

    fn covers(&self, call: &Invocation) -> bool {
        self.program == call.program
            && self.matches_args(&call.args, &|pattern, arg| pattern == "*" || pattern == arg)
            && self.matches_env(&call.env, is_harmless)
    }

    fn includes(&self, other: &Self) -> bool {
        self.program == other.program
            && (self.more || !other.more)
            && self.matches_args(&other.args, &|outer, inner| outer == "*" || outer == inner)
            // A value that may be any is free of nothing, whatever the variable.
            && self.matches_env(&other.env, |name, value| value != "*" && is_harmless(name, value))
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(risk::rank(self, declared))
    }
}

impl ExecPattern {
    /// Returns whether `env` has each variable of this pattern, and beside them only such as are `free`.
    fn matches_env(&self, env: &BTreeMap<String, String>, free: fn(&str, &str) -> bool) -> bool {
        let is_set =
            |(name, pattern): (&String, &String)| env.get(name).is_some_and(|value| pattern == "*" || pattern == value);
        self.env.iter().all(is_set) && env.iter().all(|(name, value)| self.env.contains_key(name) || free(name, value))
    }

    /// Tells where from the command takes what it runs, beside its program.
    pub fn code_from(&self) -> CodeFrom {
        code::code_from(self)
    }

    /// Returns the program; a name or a path.
    pub fn program(&self) -> &str {
        &self.program
    }

    /// Returns whether it may have any arguments after some.
    pub fn has_any_arguments(&self) -> bool {
        self.more
    }

    /// Returns the variables that it sets, and to what; `*` is any value.
    pub fn variables(&self) -> impl Iterator<Item = (&str, &str)> {
        self.env.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    fn matches_args(&self, args: &[String], one: &dyn Fn(&str, &str) -> bool) -> bool {
        let enough = if self.more { args.len() >= self.args.len() } else { args.len() == self.args.len() };
        enough && self.args.iter().zip(args).all(|(pattern, arg)| one(pattern, arg))
    }

    /// Returns a variable by which it may run what the scope does not name: one that is known for it, or of any value.
    pub fn telling_variable(&self) -> Option<&str> {
        self.variables().find(|(name, value)| *value == "*" || decides_code(name)).map(|(name, _)| name)
    }
}

impl fmt::Display for ExecPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.env.iter().try_for_each(|(name, value)| write!(f, "{name}={value} "))?;
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
            let call = Invocation::new(command[0], &command[1..]);
            assert_eq!(ExecPattern::parse(pattern).unwrap().covers(&call), expected, "{pattern} {command:?}");
        }
    }

    #[test]
    fn variables_match_by_name_and_value() {
        for (pattern, env, expected) in [
            ("tar *", &[][..], true),
            ("tar *", &["LANG=C", "LC_ALL=C", "TZ=UTC", "DEBIAN_FRONTEND=noninteractive"], true),
            ("tar *", &["TAR_OPTIONS=--to-command=sh"], false),
            ("tar *", &["LANG=/opt/x"], false),
            ("tar *", &["UNHEARD_OF="], false),
            ("TAR_OPTIONS=-v tar *", &["TAR_OPTIONS=-v"], true),
            ("TAR_OPTIONS=-v tar *", &["TAR_OPTIONS=-v", "LANG=C"], true),
            ("TAR_OPTIONS=-v tar *", &["TAR_OPTIONS=-vv"], false),
            ("TAR_OPTIONS=-v tar *", &["TAR_OPTIONS=-v", "APT_CONFIG=x"], false),
            // Without it the command is another one.
            ("TAR_OPTIONS=-v tar *", &[], false),
            ("TAR_OPTIONS= tar *", &["TAR_OPTIONS="], true),
            ("TAR_OPTIONS= tar *", &["TAR_OPTIONS=x"], false),
            ("TAR_OPTIONS=* tar *", &["TAR_OPTIONS=a b"], true),
            ("TAR_OPTIONS=a*b tar *", &["TAR_OPTIONS=a*b"], true),
            ("TAR_OPTIONS=a*b tar *", &["TAR_OPTIONS=ab"], false),
            ("tar_options=* tar *", &["TAR_OPTIONS=x"], false),
            ("A=1 B=2 tar *", &["B=2", "A=1"], true),
            ("LANG=C tar *", &["LANG=C"], true),
            ("LANG=C tar *", &["LANG=de_DE"], false),
        ] {
            let call = env.iter().fold(Invocation::new("tar", &["x"]), |call, word| {
                let (name, value) = word.split_once('=').unwrap();
                call.with(name, value)
            });
            let pattern = ExecPattern::parse(pattern).unwrap();
            assert_eq!(pattern.covers(&call), expected, "{pattern} {env:?}");
        }
        // After the program it is an argument like any other.
        let argument = Invocation::new("make", &["CC=gcc"]);
        assert!(ExecPattern::parse("make CC=gcc").unwrap().covers(&argument));
        assert!(!ExecPattern::parse("CC=gcc make").unwrap().covers(&argument));
        assert!(ExecPattern::parse("/opt/a=b x").unwrap().covers(&Invocation::new("/opt/a=b", &["x"])));
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
            ("A=1", "missing"),
            ("A=1 ", "missing"),
            ("A=1  sh", "missing"),
            ("A=1 A=2 sh", "twice"),
            ("A=** sh", "any value"),
            ("A=\t sh", "control character"),
            ("1A=x sh", "no program"),
            ("A-B=x sh", "no program"),
            ("=x sh", "no program"),
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
            ("a", "X=1 a", false),
            ("X=1 a", "a", false),
            ("X=1 a", "X=1 a", true),
            ("X=* a", "X=1 a", true),
            ("X=1 a", "X=* a", false),
            ("X=1 a", "X=1 Y=1 a", false),
            ("X=1 Y=1 a", "X=1 a", false),
            // Whoever may run it with any locale may run it with one.
            ("a", "LANG=C a", true),
            ("a", "LANG=* a", false),
            ("a", "LANG=/x a", false),
            ("LANG=C a", "a", false),
        ] {
            let parse = |text| ExecPattern::parse(text).unwrap();
            assert_eq!(parse(outer).includes(&parse(inner)), expected, "{outer} | {inner}");
        }
    }
}
