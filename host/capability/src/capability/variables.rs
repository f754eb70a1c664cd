//! Variables that a command may have besides program and arguments.
//!
//! Programs take orders from their environment, and no list of the dangerous ones is ever complete: `TAR_OPTIONS`,
//! `APT_CONFIG`, `PERL5DB`, `GIT_SSH_COMMAND`, `MAKEFLAGS` and `HOME` all run code. So the few that do not are listed,
//! each with the values that it may have, and every other variable stands in the scope.

/// A variable that needs no grant, and what its value may be.
struct Harmless {
    /// The whole name, or its beginning if it ends in `*`.
    name: &'static str,
    is_value: fn(&str) -> bool,
}

/// Variables that decide what is said behind each. None of them names a file, a program or an option of one.
const HARMLESS: [Harmless; 11] = [
    // Language and character set of messages.
    Harmless { name: "LANG", is_value: is_locale },
    Harmless { name: "LANGUAGE", is_value: is_locale },
    Harmless { name: "LC_*", is_value: is_locale },
    // In which zone times are shown: a name below the zones' own directory, or a rule such as `CET-1CEST`.
    Harmless { name: "TZ", is_value: is_zone },
    // How wide and colourful output is.
    Harmless { name: "COLUMNS", is_value: is_number },
    Harmless { name: "LINES", is_value: is_number },
    Harmless { name: "NO_COLOR", is_value: is_word },
    Harmless { name: "TERM", is_value: is_word },
    // Whether packages ask questions; any other front end is a Perl module of that name.
    Harmless { name: "DEBIAN_FRONTEND", is_value: |value| value == "noninteractive" },
    Harmless { name: "DEBCONF_NONINTERACTIVE_SEEN", is_value: |value| matches!(value, "true" | "false") },
    // The time that archives and compilers write down.
    Harmless { name: "SOURCE_DATE_EPOCH", is_value: is_number },
];

/// Well-known ones by which loaders, shells, interpreters and tools run code. For a rank only: what is not among them may
/// do the same.
const DECIDING: [&str; 43] = [
    "APT_CONFIG",
    "AR*",
    "BASHOPTS",
    "BASH_ENV",
    "BASH_FUNC*",
    "BROWSER",
    "CARGO_*",
    "CC",
    "CDPATH",
    "CXX",
    "DPKG_*",
    "EDITOR",
    "ENV",
    "GCONV_PATH",
    "GIO_*",
    "GIT_*",
    "GLIBC_TUNABLES",
    "GTK_*",
    "HOME",
    "IFS",
    "JAVA_TOOL_OPTIONS",
    "LD_*",
    "LESS*",
    "LOCPATH",
    "LUA_*",
    "MAKE*",
    "NODE_*",
    "PAGER",
    "PATH",
    "PERL*",
    "PIP_*",
    "PKG_CONFIG*",
    "PS4",
    "PYTHON*",
    "QEMU_*",
    "QT_*",
    "RUBY*",
    "RUST*",
    "SHELL*",
    "TAR_OPTIONS",
    "VISUAL",
    "XDG_*",
    "ZDOTDIR",
];

fn is_named(pattern: &str, name: &str) -> bool {
    pattern.strip_suffix('*').map_or(name == pattern, |start| name.starts_with(start))
}

/// Returns whether a command may have the variable without a grant of it.
pub(super) fn is_harmless(name: &str, value: &str) -> bool {
    HARMLESS.iter().any(|known| is_named(known.name, name) && (known.is_value)(value))
}

/// Returns whether the variable is known to decide which code runs.
pub(super) fn decides_code(name: &str) -> bool {
    DECIDING.iter().any(|known| is_named(known, name))
}

/// Returns whether this can be the name of a variable, as shells have them.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns name and value, if a word of a scope sets a variable.
pub(super) fn assignment(word: &str) -> Option<(&str, &str)> {
    word.split_once('=').filter(|(name, _)| is_variable(name))
}

/// Accepts `de_DE.UTF-8@euro` and its like, or several of them: no path, from which a library would load what it finds.
fn is_locale(value: &str) -> bool {
    value.len() <= 200
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "_.@:-".contains(c))
        && !value.contains("..")
}

fn is_zone(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_+-/,.<>".contains(c);
    value.len() <= 200 && value.chars().all(plain) && !value.starts_with('/') && !value.contains("..")
}

fn is_number(value: &str) -> bool {
    (1..=20).contains(&value.len()) && value.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(value: &str) -> bool {
    value.len() <= 64 && value.chars().all(|c| c.is_ascii_alphanumeric() || c == '-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_changes_words_numbers_and_times_is_harmless() {
        for (name, value, expected) in [
            ("LANG", "C.UTF-8", true),
            ("LANG", "de_DE.UTF-8@euro", true),
            ("LANG", "/opt/x", false),
            ("LANG", "../x", false),
            ("LANGUAGE", "de:en", true),
            ("LC_ALL", "C", true),
            ("LC_", "C", true),
            ("LCALL", "C", false),
            ("LOCPATH", "C", false),
            ("TZ", "Europe/Berlin", true),
            ("TZ", "CET-1CEST,M3.5.0,M10.5.0/3", true),
            ("TZ", ":/opt/zone", false),
            ("TZ", "/opt/zone", false),
            ("TZ", "../../opt/zone", false),
            ("COLUMNS", "80", true),
            ("COLUMNS", "$(id)", false),
            ("TERM", "xterm-256color", true),
            ("TERM", "../x", false),
            ("DEBIAN_FRONTEND", "noninteractive", true),
            ("DEBIAN_FRONTEND", "Editor", false),
            ("SOURCE_DATE_EPOCH", "1750000000", true),
            ("lang", "C", false),
            ("HOME", "/root", false),
            ("PATH", "/usr/bin", false),
            ("TERMINFO", "x", false),
            ("USER", "ann", false),
            ("TMPDIR", "x", false),
        ] {
            assert_eq!(is_harmless(name, value), expected, "{name}={value}");
        }
    }

    /// What ran code in a command that was granted without a word of it.
    #[test]
    fn what_decides_code_is_never_harmless() {
        for name in [
            "APT_CONFIG",
            "BASH_ENV",
            "BASH_FUNC_ls",
            "CC",
            "EDITOR",
            "ENV",
            "GCONV_PATH",
            "GIT_CONFIG_GLOBAL",
            "GIT_DIR",
            "GIT_EXTERNAL_DIFF",
            "GIT_SSH_COMMAND",
            "GLIBC_TUNABLES",
            "HOME",
            "IFS",
            "LD_AUDIT",
            "LD_LIBRARY_PATH",
            "LD_PRELOAD",
            "LESSOPEN",
            "MAKEFLAGS",
            "NODE_OPTIONS",
            "PAGER",
            "PATH",
            "PERL5DB",
            "PERL5LIB",
            "PERL5OPT",
            "PS4",
            "PYTHONHOME",
            "PYTHONPATH",
            "PYTHONSTARTUP",
            "QEMU_LD_PREFIX",
            "RUBYOPT",
            "RUSTC_WRAPPER",
            "SHELLOPTS",
            "TAR_OPTIONS",
            "XDG_CONFIG_HOME",
            "ZDOTDIR",
        ] {
            assert!(decides_code(name), "{name}");
            for value in ["", "x", "1", "C", "true"] {
                assert!(!is_harmless(name, value), "{name}={value}");
            }
        }
    }
}
