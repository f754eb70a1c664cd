//! `boot:config:<key>` and `boot:cmdline:<name>`: a key of config.txt, a parameter of the kernel's command line.
//!
//! In both `*` is any text. The value is the plugin's to choose: what a key does is what the user allows.

use super::glob::{TextGlob, by_glob, text_scopes};
use super::kind::{Kind, Risk, Scope};

pub const CONFIG: Kind =
    Kind { name: "boot:config", verb: "set in config.txt", cannot: Some("change config.txt"), by_command: true };
pub const CMDLINE: Kind = Kind {
    name: "boot:cmdline",
    verb: "set on the kernel's command line",
    cannot: Some("change the kernel's command line"),
    by_command: true,
};

/// Keys of config.txt by which another kernel, firmware or command line is booted.
const BOOTING: [&str; 13] = [
    "kernel",
    "kernel_address",
    "initramfs",
    "ramfsfile",
    "cmdline",
    "include",
    "os_prefix",
    "overlay_prefix",
    "start_file",
    "start",
    "armstub",
    "device_tree",
    "boot_ramdisk",
];

/// Kernel parameters by which other code becomes the first process, or what protects the system is turned off.
const STARTING: [&str; 12] = [
    "init",
    "rdinit",
    "root",
    "initrd",
    "break",
    "systemd.run",
    "systemd.unit",
    "systemd.wants",
    "systemd.debug_shell",
    "apparmor",
    "lsm",
    "module_blacklist",
];

text_scopes! {
    /// Keys of config.txt, such as `dtoverlay`, `gpu_mem_1024` or `hdmi_group:1`.
    Config,
    /// Names of kernel parameters, such as `quiet` or `usbcore.autosuspend`.
    Cmdline,
}

impl Scope for Config {
    const KINDS: &'static [&'static Kind] = &[&CONFIG];
    by_glob! {
        /// A key.
        String, matches
    }

    fn parse(scope: &str) -> Result<Self, String> {
        parse(scope, |c| c.is_ascii_lowercase() || c.is_ascii_digit() || "_:".contains(c)).map(Self).map_err(|found| {
            found.unwrap_or_else(|| "a key of config.txt has lowercase letters, digits, `_` and `:`".into())
        })
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(if BOOTING.iter().any(|key| self.0.matches(key)) {
            (Risk::High, format!("`{declared}` decides what the Pi boots"))
        } else {
            (Risk::Medium, format!("`{declared}` changes how the Pi boots"))
        })
    }
}

impl Scope for Cmdline {
    const KINDS: &'static [&'static Kind] = &[&CMDLINE];
    by_glob! {
        /// The name of a parameter.
        String, matches
    }

    fn parse(scope: &str) -> Result<Self, String> {
        parse(scope, |c| c.is_ascii_alphanumeric() || "_-.".contains(c)).map(Self).map_err(|found| {
            found.unwrap_or_else(|| "a parameter's name has letters, digits, `_`, `-` and `.`, and no value".into())
        })
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(if STARTING.iter().any(|name| self.0.matches(name)) {
            (Risk::High, format!("`{declared}` decides what the kernel starts"))
        } else {
            (Risk::Medium, format!("`{declared}` changes how the Pi boots"))
        })
    }
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
            assert_eq!(Config::parse(pattern).unwrap().0.matches(key), expected, "{pattern} {key}");
        }
        let param = |text| Cmdline::parse(text).unwrap().0;
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
            let error = Config::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
        for (scope, cause) in [("", "empty"), ("**", "`**`"), ("root=x", "no value"), ("a b", "no value")] {
            let error = Cmdline::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }
}
