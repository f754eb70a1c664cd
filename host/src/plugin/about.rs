//! Describes a call for people: its main argument, and the setting of the whole image that it makes. The match is
//! exhaustive, so that no call is forgotten.

use super::protocol::{Call, Checkout, UnitState};
use crate::rootfs::boot_config::REPEATED;

/// Most characters of an argument; what is cut off is in the audit log.
const LONGEST: usize = 200;

/// Cuts a text to what fits into a line of a report.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// Description of a call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct About {
    /// Its main argument; empty if it has no argument.
    argument: String,
    /// Key and value of the image setting that it makes, so that two plugins that disagree can be named; `None` for a
    /// call that cannot conflict.
    pub(super) setting: Option<(String, String)>,
}

impl About {
    fn nothing() -> Self {
        Self::of("")
    }

    fn of(argument: impl Into<String>) -> Self {
        Self { argument: argument.into(), setting: None }
    }

    fn sets(self, what: impl Into<String>, value: impl Into<String>) -> Self {
        Self { setting: Some((what.into(), value.into())), ..self }
    }

    fn of_all<'a>(names: impl IntoIterator<Item = &'a str>) -> Self {
        Self::of(names.into_iter().collect::<Vec<_>>().join(" "))
    }
}

impl Call {
    /// Returns the function and the main argument, if there is one.
    pub(super) fn named(&self, about: &About) -> String {
        let function = self.function().name;
        if about.argument.is_empty() {
            function.to_owned()
        } else {
            format!("{function} {}", shortened(&about.argument))
        }
    }

    pub(super) fn about(&self) -> About {
        match self {
            Self::Log { .. }
            | Self::Printed { .. }
            | Self::Panicked { .. }
            | Self::Image
            | Self::BlobSize { .. }
            | Self::BlobDigest { .. }
            | Self::BlobRead { .. }
            | Self::BlobDrop { .. }
            | Self::BlobFromBytes { .. }
            | Self::AssetNames => About::nothing(),
            Self::Param { name }
            | Self::AssetOpen { name }
            | Self::QueryPackage { name }
            | Self::Parameters { name }
            | Self::InstallUnit { name, .. }
            | Self::EnsureGroup { name, .. } => About::of(name),
            Self::Granted { scope } => About::of(scope),
            Self::Stat { path }
            | Self::ReadText { path }
            | Self::Read { path }
            | Self::ListDir { path }
            | Self::Write { path, .. }
            | Self::MakeDir { path, .. }
            | Self::Symlink { path, .. }
            | Self::SetAttrs { path, .. }
            | Self::SetOwner { path, .. }
            | Self::Remove { path, .. }
            | Self::EnsureLine { path, .. }
            | Self::Replace { path, .. } => About::of(path),
            Self::Install { dest, .. } | Self::Unpack { dest, .. } => About::of(dest),
            Self::Rename { source, dest } => About::of(format!("{source} to {dest}")),
            Self::Run { command, .. } => {
                About::of_all([command.program.as_str()].into_iter().chain(command.args.iter().map(String::as_str)))
            }
            Self::InstallPackages { specs: names, .. } | Self::RemovePackages { names, .. } => {
                About::of_all(names.iter().map(String::as_str))
            }
            Self::PinPackages { pins } => About::of_all(pins.iter().map(|pin| pin.package.as_str())),
            Self::AnswerQuestions { answers } => About::of_all(answers.iter().map(|answer| answer.question.as_str())),
            Self::ConfigValues { section, key } => About::of(keyed(section.as_deref(), key)),
            Self::ConfigSet { section, key, value } | Self::ConfigAdd { section, key, value } => {
                let (line, value) = config_line(section.as_deref(), key, value);
                About::of(keyed(section.as_deref(), key)).sets(line, value)
            }
            Self::ConfigRemove { section, key, value } => removed_line(section.as_deref(), key, value.as_deref()),
            Self::SetParameter { parameter } => {
                let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
                About::of(parameter).sets(on_command_line(name), value)
            }
            // Several parameters may stand side by side.
            Self::AddParameter { parameter } => About::of(parameter),
            Self::RemoveParameter { name } => About::of(name).sets(on_command_line(name), "removed"),
            Self::DropIn { unit, name, .. } => About::of(format!("{unit} {name}")),
            Self::SetUnitState { unit, state } => unit_state(unit, *state),
            Self::SetPasswordFrom { user, secret } => About::of(format!("{user} {secret}")),
            Self::EnsureUser { account } => About::of(&account.name),
            Self::AuthorizeKeys { user, .. } => About::of(user),
            Self::Fetch { url, .. }
            | Self::FetchAuthorized { url, .. }
            | Self::Checkout { checkout: Checkout { url, .. } }
            | Self::CheckoutAuthorized { checkout: Checkout { url, .. }, .. } => About::of(url),
        }
    }
}

fn on_command_line(name: &str) -> String {
    format!("{name} of the kernel's command line")
}

/// Returns a key of config.txt, with its section.
fn keyed(section: Option<&str>, key: &str) -> String {
    section.map_or_else(|| key.to_owned(), |section| format!("[{section}] {key}"))
}

/// Returns a line of config.txt and its value. Of keys whose lines add something each, a line is told by the value's
/// first word: `w1-gpio,gpiopin=4`, `audio=on`.
fn config_line(section: Option<&str>, key: &str, value: &str) -> (String, String) {
    let keyed = keyed(section, key);
    if !REPEATED.contains(&key) {
        return (format!("{keyed} of config.txt"), value.to_owned());
    }
    let (first, rest) = value.split_once([',', '=']).unwrap_or((value, ""));
    (format!("{keyed}={first} of config.txt"), rest.to_owned())
}

fn removed_line(section: Option<&str>, key: &str, value: Option<&str>) -> About {
    let about = About::of(keyed(section, key));
    match value {
        Some(value) => about.sets(config_line(section, key, value).0, "removed"),
        // Removes all such lines, whatever their values.
        None if REPEATED.contains(&key) => about,
        None => about.sets(config_line(section, key, "").0, "removed"),
    }
}

fn unit_state(unit: &str, state: UnitState) -> About {
    let word = match state {
        UnitState::Enabled => "enabled",
        UnitState::Disabled => "disabled",
        UnitState::Masked => "masked",
        // This leaves the state of the unit to others.
        UnitState::Unmasked => return About::of(format!("{unit} unmasked")),
    };
    About::of(format!("{unit} {word}")).sets(format!("the unit {unit}"), word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_named_by_what_it_is_about() {
        let text = |text: &str| text.to_owned();
        for (call, expected) in [
            (Call::Image, "context.image"),
            (Call::Write { path: text("/etc/x"), data: vec![1], attrs: None }, "fs.write /etc/x"),
            (Call::Rename { source: text("/a"), dest: text("/b") }, "fs.rename /a to /b"),
            (
                Call::SetUnitState { unit: text("ssh.service"), state: UnitState::Disabled },
                "services.set-state ssh.service disabled",
            ),
            (
                Call::ConfigSet { section: Some(text("pi4")), key: text("gpu_mem"), value: text("64") },
                "boot-config.set [pi4] gpu_mem",
            ),
        ] {
            assert_eq!(call.named(&call.about()), expected);
        }
    }

    #[test]
    fn a_long_argument_is_cut_between_characters() {
        assert_eq!(shortened(&"ä".repeat(200)), "ä".repeat(200));
        assert_eq!(shortened(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
    }

    #[test]
    fn a_setting_is_what_others_could_want_otherwise() {
        let add = |key: &str, value: &str| Call::ConfigAdd { section: None, key: key.into(), value: value.into() };
        for (call, expected) in [
            (add("dtoverlay", "w1-gpio,gpiopin=4"), Some(("dtoverlay=w1-gpio of config.txt", "gpiopin=4"))),
            (add("dtparam", "audio=on"), Some(("dtparam=audio of config.txt", "on"))),
            (add("device_tree_param", "spi=on"), Some(("device_tree_param=spi of config.txt", "on"))),
            (add("include", "more.txt"), Some(("include=more.txt of config.txt", ""))),
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
            (Call::AddParameter { parameter: "console=tty1".into() }, None),
            (Call::Image, None),
        ] {
            let expected = expected.map(|(what, value)| (what.to_owned(), value.to_owned()));
            assert_eq!(call.about().setting, expected, "{call:?}");
        }
    }
}
