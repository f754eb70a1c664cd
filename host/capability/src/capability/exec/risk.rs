//! The reach of a command: as far as its program does what others tell it.

use super::ExecPattern;
use crate::capability::kind::Risk;

/// Programs that do whatever their arguments or input say.
const INTERPRETERS: [&str; 50] = [
    "sh",
    "ash",
    "bash",
    "dash",
    "fish",
    "ksh",
    "rbash",
    "zsh",
    "busybox",
    "toybox",
    "python",
    "python2",
    "python3",
    "perl",
    "ruby",
    "node",
    "nodejs",
    "lua",
    "php",
    "tclsh",
    "expect",
    "gdb",
    "awk",
    "gawk",
    "mawk",
    "sed",
    "ed",
    "vi",
    "vim",
    "find",
    "env",
    "xargs",
    "parallel",
    "chroot",
    "nsenter",
    "unshare",
    "setpriv",
    "runuser",
    "su",
    "sudo",
    "nice",
    "nohup",
    "timeout",
    "script",
    "flock",
    "run-parts",
    "start-stop-daemon",
    "systemd-run",
    "make",
    "ld.so",
];

/// Ranks a command and says why; `declared` is its scope as the author wrote it.
pub(super) fn rank(pattern: &ExecPattern, declared: &str) -> (Risk, String) {
    if program_is_a_parameter(declared) {
        return (Risk::Critical, "runs whatever program a parameter names".to_owned());
    }
    let name = pattern.program().rsplit('/').next().unwrap_or_default();
    if is_interpreter(name) {
        return (Risk::Critical, format!("`{name}` does whatever it is told: any command in the image"));
    }
    if let Some(variable) = pattern.telling_variable() {
        return (Risk::Critical, format!("tells `{name}` by the variable `{variable}` what else to run, or may"));
    }
    if pattern.has_any_arguments() {
        return (Risk::High, format!("runs `{name}` with any arguments, as root of the image"));
    }
    let with: Vec<String> = pattern.variables().map(|(name, value)| format!("`{name}={value}`")).collect();
    let with = if with.is_empty() { String::new() } else { format!(" with {}", with.join(", ")) };
    (Risk::High, format!("runs `{name}`{with} as root of the image; what it changes is still checked"))
}

/// Returns whether a program does whatever its arguments or input say, by its name without a version.
pub(super) fn is_interpreter(name: &str) -> bool {
    let plain = name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.');
    INTERPRETERS.contains(&name) || INTERPRETERS.contains(&plain) || name.starts_with("ld-linux")
}

/// Returns whether the first word that sets no variable has a parameter in it.
fn program_is_a_parameter(scope: &str) -> bool {
    scope.split(' ').find(|word| word.starts_with('/') || !word.contains('=')).is_some_and(|word| word.contains('{'))
}
