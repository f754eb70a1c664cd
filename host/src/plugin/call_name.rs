//! What a call is called where people read of it: the function, as the contract has it, and what it was mainly about.

use super::protocol::{Call, UnitState};

/// Most characters of an argument; what is cut off is in the audit log.
const LONGEST: usize = 200;

/// Cuts a text to what fits into a line of a report.
pub(crate) fn shortened(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

impl Call {
    /// `interface.function`, and an argument if one matters.
    pub(super) fn name(&self) -> String {
        let (function, argument) = self.parts();
        if argument.is_empty() { function.to_owned() } else { format!("{function} {}", shortened(&argument)) }
    }

    fn parts(&self) -> (&'static str, String) {
        let with = |function, argument: &str| (function, argument.to_owned());
        let keyed = |function, section: &Option<String>, key: &str| {
            (function, section.as_ref().map_or_else(|| key.to_owned(), |section| format!("[{section}] {key}")))
        };
        match self {
            Self::Log { .. } | Self::Printed { .. } => with("log.write", ""),
            Self::Panicked { .. } => with("log.panicked", ""),
            Self::Image => with("context.image", ""),
            Self::Param { name } => with("context.param", name),
            Self::Granted { scope } => with("context.granted", scope),
            Self::BlobSize { .. } => with("blobs.size", ""),
            Self::BlobDigest { .. } => with("blobs.digest", ""),
            Self::BlobRead { .. } => with("blobs.read", ""),
            Self::BlobDrop { .. } => with("blobs.drop", ""),
            Self::BlobFromBytes { .. } => with("blobs.from-bytes", ""),
            Self::AssetNames => with("assets.names", ""),
            Self::AssetOpen { name } => with("assets.open", name),
            Self::Stat { path } => with("fs.stat", path),
            Self::ReadText { path } => with("fs.read-text", path),
            Self::Read { path } => with("fs.read", path),
            Self::ListDir { path } => with("fs.list-dir", path),
            Self::Write { path, .. } => with("fs.write", path),
            Self::Install { dest, .. } => with("fs.install", dest),
            Self::MakeDir { path, .. } => with("fs.mkdir", path),
            Self::Symlink { path, .. } => with("fs.symlink", path),
            Self::Rename { source, dest } => ("fs.rename", format!("{source} to {dest}")),
            Self::SetAttrs { path, .. } => with("fs.set-attrs", path),
            Self::Remove { path, .. } => with("fs.remove", path),
            Self::EnsureLine { path, .. } => with("fs.ensure-line", path),
            Self::Replace { path, .. } => with("fs.replace", path),
            Self::Run { command, .. } => {
                let words: Vec<&str> = std::iter::once(&command.program).chain(&command.args).map(|it| &**it).collect();
                ("process.run", words.join(" "))
            }
            Self::InstallPackages { specs, .. } => ("packages.install", specs.join(" ")),
            Self::RemovePackages { names, .. } => ("packages.remove", names.join(" ")),
            Self::PinPackages { pins } => {
                let names: Vec<&str> = pins.iter().map(|pin| pin.package.as_str()).collect();
                ("wishes.set-pins", names.join(" "))
            }
            Self::AnswerQuestions { answers } => {
                let questions: Vec<&str> = answers.iter().map(|answer| answer.question.as_str()).collect();
                ("wishes.set-answers", questions.join(" "))
            }
            Self::QueryPackage { name } => with("packages.query", name),
            Self::ConfigValues { section, key } => keyed("boot-config.values", section, key),
            Self::ConfigSet { section, key, .. } => keyed("boot-config.set", section, key),
            Self::ConfigAdd { section, key, .. } => keyed("boot-config.add", section, key),
            Self::ConfigRemove { section, key, .. } => keyed("boot-config.remove", section, key),
            Self::Parameters { name } => with("boot-config.parameters", name),
            Self::SetParameter { parameter } => with("boot-config.set-parameter", parameter),
            Self::AddParameter { parameter } => with("boot-config.add-parameter", parameter),
            Self::RemoveParameter { name } => with("boot-config.remove-parameter", name),
            Self::InstallUnit { name, .. } => with("services.install-unit", name),
            Self::DropIn { unit, name, .. } => ("services.drop-in", format!("{unit} {name}")),
            Self::SetUnitState { unit, state } => {
                let state = match state {
                    UnitState::Enabled => "enabled",
                    UnitState::Disabled => "disabled",
                    UnitState::Masked => "masked",
                    UnitState::Unmasked => "unmasked",
                };
                ("services.set-state", format!("{unit} {state}"))
            }
            Self::SetPasswordFrom { user, secret } => ("users.set-password-from", format!("{user} {secret}")),
            Self::EnsureUser { account } => with("users.ensure-user", &account.name),
            Self::EnsureGroup { name, .. } => with("users.ensure-group", name),
            Self::AuthorizeKeys { user, .. } => with("users.authorize-keys", user),
            Self::Fetch { url, .. } => with("net.fetch", url),
            Self::FetchAuthorized { url, .. } => with("net.fetch-authorized", url),
            Self::Checkout { checkout } => with("git.checkout", &checkout.url),
            Self::CheckoutAuthorized { checkout, .. } => with("git.checkout-authorized", &checkout.url),
        }
    }
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
            assert_eq!(call.name(), expected);
        }
    }

    #[test]
    fn a_long_argument_is_cut_between_characters() {
        assert_eq!(shortened(&"ä".repeat(200)), "ä".repeat(200));
        assert_eq!(shortened(&"ä".repeat(201)), format!("{}…", "ä".repeat(200)));
    }
}
