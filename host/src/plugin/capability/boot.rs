//! `boot:config:<key>` and `boot:cmdline:<name>`: a key of config.txt, a parameter of the kernel's command line.
//!
//! In both `*` is any text. The value is the plugin's to choose: what a key does is what the user allows.

use super::glob::TextGlob;

/// A key of config.txt, such as `dtoverlay`, `gpu_mem_1024` or `hdmi_group:1`.
pub(super) fn parse_config(scope: &str) -> Result<TextGlob, String> {
    parse(scope, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c)).map_err(|found| {
        found.unwrap_or_else(|| "a key of config.txt has lowercase letters, digits, `_` and `:`".into())
    })
}

/// A parameter's name, such as `quiet` or `usbcore.autosuspend`.
pub(super) fn parse_cmdline(scope: &str) -> Result<TextGlob, String> {
    parse(scope, |c| c.is_ascii_alphanumeric() || "_-.".contains(c)).map_err(|found| {
        found.unwrap_or_else(|| "a parameter's name has letters, digits, `_`, `-` and `.`, and no value".into())
    })
}

/// # Errors
/// What is wrong, or nothing if a character does not belong into it.
fn parse(scope: &str, belongs: impl Fn(char) -> bool) -> Result<TextGlob, Option<String>> {
    if scope.is_empty() {
        return Err(Some("the key is empty".into()));
    }
    if scope.contains("**") {
        return Err(Some("a key has `*`, not `**`".into()));
    }
    if !scope.chars().all(|c| c == '*' || belongs(c)) {
        return Err(None);
    }
    Ok(TextGlob::new(scope))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_match_whole() {
        for (pattern, key, expected) in [
            ("dtoverlay", "dtoverlay", true),
            ("dtoverlay", "dtoverlay2", false),
            ("gpu_mem*", "gpu_mem_1024", true),
            ("gpu_mem*", "gpu_me", false),
            ("hdmi_*:1", "hdmi_group:1", true),
            ("hdmi_*:1", "hdmi_group:0", false),
            ("hdmi_group", "hdmi_group:1", false),
        ] {
            assert_eq!(parse_config(pattern).unwrap().matches(key), expected, "{pattern} {key}");
        }
        let param = |text| parse_cmdline(text).unwrap();
        assert!(param("usbcore.*").matches("usbcore.autosuspend") && !param("usbcore").matches("usbcore.autosuspend"));
        assert!(param("*").includes(&param("quiet")) && !param("quiet").includes(&param("*")));
    }

    #[test]
    fn malformed_keys_say_why() {
        for (scope, cause) in [
            ("", "empty"),
            ("**", "`**`"),
            ("DTOVERLAY", "lowercase"),
            ("dtoverlay=x", "lowercase"),
            ("[pi4]", "lowercase"),
            ("a b", "lowercase"),
        ] {
            let error = parse_config(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
        for (scope, cause) in [("", "empty"), ("**", "`**`"), ("root=x", "no value"), ("a b", "no value")] {
            let error = parse_cmdline(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }
}
