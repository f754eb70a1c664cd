//! What a call settles for the whole image, so that two plugins that disagree can be named.

use super::protocol::{Call, UnitState};

/// Keys of config.txt whose lines add something each: what is added is told by the first word of the value.
const ADDED: [&str; 3] = ["dtoverlay", "dtparam", "gpio"];

impl Call {
    /// What it settles, and how; none for a call that settles nothing that others could want otherwise.
    pub(super) fn setting(&self) -> Option<(String, String)> {
        let config = |section: &Option<String>, key: &str, value: &str| {
            let section = section.as_ref().map_or(String::new(), |section| format!("[{section}] "));
            if !ADDED.contains(&key) {
                return (format!("{section}{key} of config.txt"), value.to_owned());
            }
            // `w1-gpio,gpiopin=4`, `audio=on`
            let (first, rest) = value.split_once([',', '=']).unwrap_or((value, ""));
            (format!("{section}{key}={first} of config.txt"), rest.to_owned())
        };
        let removed = || "removed".to_owned();
        Some(match self {
            Self::ConfigSet { section, key, value } | Self::ConfigAdd { section, key, value } => {
                config(section, key, value)
            }
            Self::ConfigRemove { section, key, value: Some(value) } => (config(section, key, value).0, removed()),
            Self::ConfigRemove { section, key, value: None } if !ADDED.contains(&key.as_str()) => {
                (config(section, key, "").0, removed())
            }
            Self::SetParameter { parameter } => {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                (format!("{name} of the kernel's command line"), value.to_owned())
            }
            Self::RemoveParameter { name } => (format!("{name} of the kernel's command line"), removed()),
            Self::SetUnitState { unit, state } => {
                let state = match state {
                    UnitState::Enabled => "enabled",
                    UnitState::Disabled => "disabled",
                    UnitState::Masked => "masked",
                    UnitState::Unmasked => return None,
                };
                (format!("the unit {unit}"), state.to_owned())
            }
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_is_what_others_could_want_otherwise() {
        let add = |key: &str, value: &str| Call::ConfigAdd { section: None, key: key.into(), value: value.into() };
        for (call, expected) in [
            (add("dtoverlay", "w1-gpio,gpiopin=4"), Some(("dtoverlay=w1-gpio of config.txt", "gpiopin=4"))),
            (add("dtparam", "audio=on"), Some(("dtparam=audio of config.txt", "on"))),
            (
                Call::ConfigSet { section: Some("pi4".into()), key: "gpu_mem".into(), value: "64".into() },
                Some(("[pi4] gpu_mem of config.txt", "64")),
            ),
            (
                Call::ConfigRemove { section: None, key: "dtoverlay".into(), value: Some("w1-gpio".into()) },
                Some(("dtoverlay=w1-gpio of config.txt", "removed")),
            ),
            (Call::ConfigRemove { section: None, key: "dtoverlay".into(), value: None }, None),
            (
                Call::SetParameter { parameter: "consoleblank=0".into() },
                Some(("consoleblank of the kernel's command line", "0")),
            ),
            (
                Call::SetUnitState { unit: "ssh.service".into(), state: UnitState::Masked },
                Some(("the unit ssh.service", "masked")),
            ),
            // Several may stand beside each other.
            (Call::AddParameter { parameter: "console=tty1".into() }, None),
            (Call::Image, None),
        ] {
            let expected = expected.map(|(what, value)| (what.to_owned(), value.to_owned()));
            assert_eq!(call.setting(), expected, "{}", call.name());
        }
    }
}
