//! The kinds of capabilities, and through which functions of the contract each can be used.

use std::collections::BTreeSet;

/// One kind.
#[derive(Debug)]
pub(super) struct Kind {
    /// What stands before the scope, without the last `:`.
    pub(super) name: &'static str,
    /// `interface.function`; one of them is enough. None of what piimg does because it is asked for and granted.
    functions: &'static [&'static str],
    /// What it lets a plugin do; the scope follows.
    pub(super) verb: &'static str,
    /// What a plugin without any of the functions cannot do.
    pub(super) cannot: &'static str,
    /// A command inside the image could do the same.
    pub(super) by_command: bool,
}

const fn kind(
    name: &'static str,
    functions: &'static [&'static str],
    verb: &'static str,
    cannot: &'static str,
    by_command: bool,
) -> Kind {
    Kind { name, functions, verb, cannot, by_command }
}

/// The function that runs commands.
pub(super) const RUN: &str = "process.run";

/// The functions that use secrets in the plugin's place.
const SECRET: [&str; 3] = ["users.set-password-from", "net.fetch-authorized", "git.checkout-authorized"];

/// The functions that have piimg ask a server.
const NET: [&str; 4] = ["net.fetch", "net.fetch-authorized", "git.checkout", "git.checkout-authorized"];

/// All kinds, in the order in which they are told.
pub(super) const KINDS: [Kind; 22] = [
    kind("exec", &[RUN], "run", "run commands", false),
    kind(
        "fs:write",
        &[
            "fs.write",
            "fs.install",
            "fs.mkdir",
            "fs.symlink",
            "fs.rename",
            "fs.set-attrs",
            "fs.remove",
            "fs.ensure-line",
            "fs.replace",
            "git.checkout",
            "git.checkout-authorized",
        ],
        "write",
        "write files of the image",
        true,
    ),
    kind(
        "fs:read",
        // Two of the last tell what they found, and one puts it where it may be read.
        &["fs.stat", "fs.read", "fs.read-text", "fs.list-dir", "fs.ensure-line", "fs.replace", "fs.rename"],
        "read",
        "read files of the image",
        true,
    ),
    kind("svc:install", &["services.install-unit", "services.drop-in"], "write the units", "write units", true),
    kind("svc:enable", &["services.set-state"], "enable the units", "enable units", true),
    kind("svc:disable", &["services.set-state"], "disable the units", "disable units", true),
    kind("svc:mask", &["services.set-state"], "mask the units", "mask units", true),
    kind("user:create", &["users.ensure-user"], "create the users", "create users", true),
    kind("user:group", &["users.ensure-user", "users.ensure-group"], "fill the groups", "change groups", true),
    kind("user:keys", &["users.authorize-keys"], "let keys log in as", "let keys log in", true),
    kind("user:password", &["users.set-password-from"], "set the password of", "set passwords", true),
    kind(
        "boot:config",
        &["boot-config.values", "boot-config.set", "boot-config.add", "boot-config.remove"],
        "set in config.txt",
        "change config.txt",
        true,
    ),
    kind(
        "boot:cmdline",
        &[
            "boot-config.parameters",
            "boot-config.set-parameter",
            "boot-config.add-parameter",
            "boot-config.remove-parameter",
        ],
        "set on the kernel's command line",
        "change the kernel's command line",
        true,
    ),
    kind("pkg:install", &["packages.install"], "install the packages", "install packages", false),
    kind("pkg:remove", &["packages.remove"], "remove the packages", "remove packages", false),
    kind("pkg:build", &[], "have below itself, and not in the image, the packages", "", false),
    kind("pkg:repo", &[], "have packages come from the archives", "", false),
    kind("pkg:pin", &["wishes.set-pins"], "pin the packages", "pin packages", false),
    kind(
        "debconf",
        &["wishes.set-answers"],
        "answer, before packages are installed, the questions",
        "answer questions of packages",
        false,
    ),
    // A command reaches the network only through the same capability.
    kind("net", &NET, "download", "reach the network", false),
    kind("secret", &SECRET, "have piimg use, without reading them, the secrets", "use secrets", false),
    kind("asset", &["assets.open"], "use the assets", "read files of the host that are handed over", false),
];

/// The kind of a capability.
pub(super) fn kind_of(scope: &str) -> Option<&'static Kind> {
    KINDS.iter().find(|kind| scope.strip_prefix(kind.name).is_some_and(|rest| rest.starts_with(':')))
}

impl Kind {
    /// Whether nothing has to be called for it.
    pub(super) fn is_for_the_asking(&self) -> bool {
        self.functions.is_empty()
    }

    /// Whether one of the functions is imported.
    pub(super) fn is_possible(&self, imported: &BTreeSet<String>) -> bool {
        self.functions.iter().any(|function| imported.contains(*function))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugin::Capability;

    /// A function that no kind knows would count as none, and what it can do as proved to be impossible.
    #[test]
    fn every_function_that_is_named_is_one_of_the_contract() {
        for kind in &KINDS {
            for function in kind.functions {
                let (interface, name) = function.split_once('.').unwrap();
                let file = format!("{}/../wit/{interface}.wit", env!("CARGO_MANIFEST_DIR"));
                let text = std::fs::read_to_string(&file).unwrap();
                assert!(text.lines().any(|line| line.trim_start().starts_with(&format!("{name}: func"))), "{function}");
            }
        }
    }

    #[test]
    fn no_kind_of_the_grammar_is_forgotten() {
        for (name, _) in Capability::KINDS {
            let known = KINDS.iter().any(|kind| kind.name == name.trim_end_matches(':') || kind.name.starts_with(name));
            assert!(known, "{name}");
        }
    }
}
