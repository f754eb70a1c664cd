//! The grammar of capabilities, `kind:scope`, and what each covers. Pure: no file is looked at.
//!
//! Only kinds that an interface of this version enforces exist; any other is an error, never ignored. A glob's
//! `*` stays within a segment and `**` is a whole segment that stands for any number of them, none included:
//! `/etc/app/**` covers `/etc/app` itself, so that a plugin can make the directory it owns.

mod archive;
mod asset;
mod boot;
mod debconf;
mod declared;
mod exec;
mod fs;
pub mod glob;
mod kind;
mod net;
mod package;
mod secret;
pub mod service;
mod template;
pub mod user;
mod variables;

use std::fmt;

pub use declared::Declared;
pub use exec::CodeFrom;
pub use exec::Invocation;
pub use exec::check_program;
pub use fs::Reach;
pub use fs::begins_anywhere;
use kind::Scope;
pub use kind::{Kind, Risk};
pub use secret::check_name as check_secret;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
pub use service::ServiceAction;
pub use service::runs_nothing;
pub use template::Template;
pub use template::Unfilled;
pub use user::UserAction;
pub use variables::is_variable;

use crate::spelling::nearest;

/// The kinds by name, for the table of host functions.
pub mod kinds {
    pub use super::asset::ASSET;
    pub use super::boot::{CMDLINE, CONFIG};
    pub use super::debconf::DEBCONF;
    pub use super::exec::EXEC;
    pub use super::fs::{READ, WRITE};
    pub use super::net::NET;
    pub use super::package::{INSTALL, PIN, REMOVE};
    pub use super::secret::SECRET;
}

/// Parses the scope after one kind; the error is the cause alone.
type Parse = fn(&str) -> Result<Capability, String>;

/// Defines [`Capability`] and [`Need`] from the list of all kinds: a line for each file, with what stands before its scopes.
macro_rules! kinds {
    ($($(#[$doc:meta])* $variant:ident($scope:ty) = $prefix:literal,)*) => {
        /// A capability as requested or granted.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Capability {
            $($(#[$doc])* $variant($scope),)*
        }

        /// The need of one call of a host function.
        #[derive(Clone, Debug, PartialEq, Eq)]
        pub enum Need {
            $($(#[$doc])* $variant(<$scope as Scope>::Need),)*
        }

        impl Capability {
            const PREFIXES: &'static [(&'static str, Parse)] =
                &[$(($prefix, |scope| <$scope as Scope>::parse(scope).map(Self::$variant)),)*];

            const KINDS: &'static [&'static [&'static Kind]] = &[$(<$scope as Scope>::KINDS,)*];

            /// Returns what stands before its scope.
            pub fn prefix(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $prefix,)*
                }
            }

            /// Returns the kind that this capability is of.
            pub fn kind(&self) -> &'static Kind {
                match self {
                    $(Self::$variant(scope) => scope.kind(),)*
                }
            }

            /// Returns whether this capability alone allows the call.
            pub fn covers(&self, need: &Need) -> bool {
                match (self, need) {
                    $((Self::$variant(scope), Need::$variant(need)) => scope.covers(need),)*
                    _ => false,
                }
            }

            /// Returns whether everything that `other` covers is covered by this one too; errs on the side of no.
            pub fn includes(&self, other: &Self) -> bool {
                match (self, other) {
                    $((Self::$variant(scope), Self::$variant(other)) => scope.includes(other),)*
                    _ => false,
                }
            }

            /// Ranks the capability by itself, and says why; `None` if it only touches what nothing runs. `declared` is its
            /// scope as its author wrote it, this the widest that parameters could make of it.
            pub fn risk(&self, declared: &str) -> Option<(Risk, String)> {
                match self {
                    $(Self::$variant(scope) => scope.risk(declared),)*
                }
            }
        }

        impl fmt::Display for Capability {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(scope) => write!(f, concat!($prefix, "{}"), scope),)*
                }
            }
        }

        impl Need {
            /// Returns what stands before the scope of a capability that covers it.
            pub fn prefix(&self) -> &'static str {
                match self {
                    $(Self::$variant(_) => $prefix,)*
                }
            }
        }

        /// The narrowest capability that covers the need.
        impl fmt::Display for Need {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self {
                    $(Self::$variant(need) => write!(f, concat!($prefix, "{}"), need),)*
                }
            }
        }
    };
}

// In the order in which they are told.
kinds! {
    Exec(exec::ExecPattern) = "exec:",
    FsWrite(fs::Write) = "fs:write:",
    FsRead(fs::Read) = "fs:read:",
    Service(service::ServicePattern) = "svc:",
    User(user::UserPattern) = "user:",
    BootConfig(boot::Config) = "boot:config:",
    BootCmdline(boot::Cmdline) = "boot:cmdline:",
    PkgInstall(package::Install) = "pkg:install:",
    PkgRemove(package::Remove) = "pkg:remove:",
    /// A package below the plugin while it runs, which the image does not have.
    PkgBuild(package::PackageName) = "pkg:build:",
    /// An archive that packages may come from.
    PkgRepo(archive::ArchiveGlob) = "pkg:repo:",
    /// Preferences of apt for packages.
    PkgPin(package::Pin) = "pkg:pin:",
    /// Answers to questions of a package, before it is installed.
    Debconf(debconf::QuestionGlob) = "debconf:",
    Net(net::UrlGlob) = "net:",
    Secret(secret::SecretName) = "secret:",
    Asset(asset::Asset) = "asset:",
}

impl Kind {
    /// Returns all kinds, in the order in which they are told.
    pub fn all() -> impl Iterator<Item = &'static Self> {
        Capability::KINDS.iter().copied().flatten().copied()
    }

    /// Splits the text of a capability, in which there may be parameters, into its kind and its scope.
    pub fn split(text: &str) -> Option<(&'static Self, &str)> {
        Self::all().find_map(|kind| Some((kind, text.strip_prefix(kind.name)?.strip_prefix(':')?)))
    }
}

/// The reason why a text is no capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeError {
    text: String,
    cause: String,
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no capability: {}",
            piimg_sandbox::text::printable(&self.text),
            piimg_sandbox::text::printable(&self.cause)
        )
    }
}

impl std::error::Error for ScopeError {}

/// Travels as its text, and is parsed once where it arrives.
impl Serialize for Capability {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Capability {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

/// Longest text of a capability, in bytes.
const MAX_SCOPE: usize = 8192;

impl Capability {
    /// Returns the prefix of all capabilities that a kind alone stands for, such as `fs:write`; `None` if there are none.
    pub fn prefix_of(kind: &str) -> Option<&'static str> {
        let mut prefixes = Self::PREFIXES.iter().map(|(prefix, _)| *prefix);
        prefixes.find(|prefix| prefix.strip_suffix(':') == Some(kind))
    }

    /// # Errors
    /// Names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let fail = |cause: String| ScopeError { text: text.chars().take(200).collect(), cause };
        if text.len() > MAX_SCOPE {
            return Err(fail(format!("it is longer than {MAX_SCOPE} bytes")));
        }
        for (prefix, parse) in Self::PREFIXES {
            if let Some(scope) = text.strip_prefix(prefix) {
                return parse(scope).map_err(fail);
            }
        }
        Err(fail(Self::unknown_kind(text)))
    }

    /// Says that the text begins with no kind, and with which it may have been meant to.
    fn unknown_kind(text: &str) -> String {
        let names: Vec<&str> = Self::PREFIXES.iter().map(|(prefix, _)| prefix.trim_end_matches(':')).collect();
        // As many words as the kind has.
        let written = |kind: &str| {
            let words = kind.split(':').count();
            text.match_indices(':').nth(words - 1).map_or(text, |(at, _)| &text[..at])
        };
        let meant = nearest(names.iter().copied(), written).map(|kind| format!(", did you mean `{kind}`?"));
        let there = if meant.is_some() { " There are" } else { "; there are" };
        let known: Vec<String> = names.iter().map(|kind| format!("`{kind}`")).collect();
        let (meant, known) = (meant.unwrap_or_default(), known.join(", "));
        format!("its kind is not offered{meant}{there} {known}, each followed by `:` and a scope")
    }

    /// Returns the secret that this is for.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Secret(name) => Some(name.as_str()),
            _ => None,
        }
    }

    /// Returns the package that is there while the plugin runs, and not in the image.
    pub fn build_package(&self) -> Option<&str> {
        match self {
            Self::PkgBuild(name) => Some(name.as_str()),
            _ => None,
        }
    }

    /// Returns whether servers prove who they are before anything is downloaded by it.
    pub fn uses_https(&self) -> bool {
        matches!(self, Self::Net(glob) if glob.is_https())
    }

    /// Returns whether a command may connect to that host and port: `net` for all of a host.
    pub fn reaches(&self, host: &str, port: u16) -> bool {
        matches!(self, Self::Net(glob) if glob.matches_all_of(host, port))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_offered_is_an_error() {
        for (text, cause) in [
            ("", "kind is not offered"),
            ("fs:/etc/x", "kind is not offered"),
            ("net:example.org", "does not begin"),
            ("net:unpinned:https://example.org/**", "does not begin"),
            ("FS:write:/etc/x", "kind is not offered"),
            ("fs:write:", "not absolute"),
            ("pkg:install:", "empty"),
            ("asset:a/b", "a name has no `/`"),
            ("boot:quiet", "kind is not offered"),
            ("boot:config:", "empty"),
            ("svc:app.service", "comes `enable`"),
            ("user:ann", "comes `create`"),
            ("secret:", "a secret's name"),
            ("secret:*", "a secret's name"),
            ("secrets:token", "kind is not offered, did you mean `secret`? There are `exec`, "),
            ("fs:wrte:/etc/x", "did you mean `fs:write`?"),
            ("pkg:instal:htop", "did you mean `pkg:install`?"),
            ("exec htop", "did you mean `exec`?"),
            ("gpio:17", "kind is not offered; there are `exec`, "),
        ] {
            let error = Capability::parse(text).unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn kinds_do_not_cover_each_other() {
        let read = Capability::parse("fs:read:/**").unwrap();
        assert!(!read.covers(&Need::fs_write("/etc/x".into())));
        assert!(!read.includes(&Capability::parse("fs:write:/etc/x").unwrap()));
        let install = Capability::parse("pkg:install:*").unwrap();
        assert!(!install.covers(&Need::PkgRemove("htop".into())));
        let pin = Capability::parse("pkg:pin:lib*").unwrap();
        let pins = |name: &str| pin.covers(&Need::PkgPin(name.into()));
        assert!(pins("libc6") && pins("lib*") && !pins("*") && !pins("l*"));
        let key = Capability::parse("boot:config:*").unwrap();
        assert!(!key.covers(&Need::BootCmdline("quiet".into())));
        assert!(!Capability::parse("asset:*").unwrap().covers(&Need::Secret("token".into())));
        assert!(!Capability::parse("asset:*").unwrap().includes(&Capability::parse("secret:token").unwrap()));
        assert!(!Capability::parse("fs:write:/**").unwrap().covers(&Need::BootConfig("gpu_mem".into())));
        assert!(!Capability::parse("fs:write:/**").unwrap().covers(&Need::Exec(Invocation::new("sh", &[]))));
    }

    #[test]
    fn a_need_names_the_capability_that_covers_it() {
        for need in [
            Need::fs_read("/etc/x".into()),
            Need::fs_write_tree("/opt/app".into()),
            Need::fs_write_tree("/".into()),
            Need::fs_read_tree("/opt/app".into()),
            Need::Exec(Invocation::new("apt-mark", &["hold", "a b", "*", ""])),
            Need::Exec(Invocation::new("tar", &["x"]).with("TAR_OPTIONS", "a b").with("APT_CONFIG", "").with("A", "*")),
            Need::Exec(Invocation::new("tar", &["x"]).with("LANG", "C").with("TAR_OPTIONS", "-v")),
            Need::PkgInstall("htop".into()),
            Need::PkgPin("ros-*".into()),
            Need::Debconf("tzdata/Zones/Europe".into()),
            Need::Asset("firmware.bin".into()),
            Need::BootConfig("hdmi_group:1".into()),
            Need::BootCmdline("usbcore.autosuspend".into()),
            Need::service(ServiceAction::Mask, "getty@tty1.service"),
            Need::user(UserAction::Keys, "robot-1"),
            Need::net("https://example.org/a?b".into()),
            Need::net_tree("https://example.org:8443/ann/app.git".into()),
            Need::Secret("ann-password".into()),
        ] {
            let capability = Capability::parse(&need.to_string()).unwrap();
            assert!(capability.covers(&need), "{need}");
            assert_eq!(capability.to_string(), need.to_string());
        }
    }
}
