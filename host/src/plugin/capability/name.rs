//! `pkg:install:<glob>`, `pkg:remove:<glob>` and `asset:<glob>`: a name, in which `*` is any text.

use super::glob::TextGlob;

/// A glob over names without `/`.
pub(super) fn parse(scope: &str) -> Result<TextGlob, String> {
    if scope.is_empty() {
        return Err("the name is empty".into());
    }
    if scope.contains("**") {
        return Err("a name has `*`, not `**`".into());
    }
    if scope.contains('/') {
        return Err("a name has no `/`".into());
    }
    if scope.contains(|c: char| c.is_whitespace() || c.is_control() || matches!(c, '=' | ':' | ',')) {
        return Err("a name has no white space, control character, `=`, `:` or `,`".into());
    }
    Ok(TextGlob::new(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_whole() {
        for (pattern, name, expected) in [
            ("htop", "htop", true),
            ("htop", "htop2", false),
            ("python3-*", "python3-serial", true),
            ("python3-*", "python3", false),
            ("*", "anything", true),
            ("htop", "HTOP", false),
            ("htop", "hto\u{440}", false),
            ("htop", "htop ", false),
            ("htop", "htop:armhf", false),
            ("htop", "htop=1", false),
            ("lib*-dev", "libfoo-dev", true),
            ("lib*-dev", "libfoo", false),
            ("lib*", "LIBFOO", false),
            ("caf\u{e9}", "cafe\u{301}", false),
            ("logo.png", "logo_png", false),
            ("logo.png", "logo.png.bak", false),
        ] {
            assert_eq!(parse(pattern).unwrap().matches(name), expected, "{pattern} {name}");
        }
    }

    #[test]
    fn malformed_names_say_why() {
        for (scope, cause) in [
            ("", "empty"),
            ("a/b", "`/`"),
            ("**", "`**`"),
            ("a**", "`**`"),
            ("htop=1", "`=`"),
            ("htop:armhf", "`:`"),
            ("a,b", "`,`"),
            ("a b", "white space"),
            ("a\u{a0}b", "white space"),
            ("a\tb", "white space"),
            ("a\0", "control character"),
        ] {
            let error = parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }

    #[test]
    fn inclusion_never_widens() {
        for (outer, inner, expected) in [
            ("htop", "htop", true),
            ("*", "htop", true),
            ("*", "*", true),
            ("python3-*", "python3-serial", true),
            ("python3-serial", "python3-*", false),
            ("python3-*", "python*", false),
            ("htop", "*", false),
            ("htop", "HTOP", false),
        ] {
            let glob = |text| parse(text).unwrap();
            assert_eq!(glob(outer).includes(&glob(inner)), expected, "{outer} {inner}");
        }
    }
}
