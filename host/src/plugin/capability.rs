//! The grammar of capabilities, `kind:scope`, and what each covers. Pure: no file is looked at.
//!
//! Only kinds that an interface of this version enforces exist; any other is an error, never ignored. A glob's
//! `*` stays within a segment and `**` is a whole segment that stands for any number of them, none included:
//! `/etc/app/**` covers `/etc/app` itself, so that a plugin can make the directory it owns.

mod archive;
mod boot;
mod debconf;
mod exec;
mod fs;
pub(crate) mod glob;
mod name;
mod net;
mod secret;
mod service;
mod template;
mod user;
mod variables;

use std::fmt;

use archive::ArchiveGlob;
use debconf::QuestionGlob;
use exec::ExecPattern;
pub use exec::Invocation;
pub(super) use exec::check_program;
use fs::PathGlob;
use glob::TextGlob;
use name::PackageName;
use net::UrlGlob;
use secret::SecretName;
pub use service::ServiceAction;
use service::ServicePattern;
pub use template::Template;
pub(super) use template::Unfilled;
pub use user::UserAction;
use user::UserPattern;
pub(super) use variables::is_variable;

/// A capability as requested or granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Capability {
    FsRead(PathGlob),
    FsWrite(PathGlob),
    Exec(ExecPattern),
    PkgInstall(TextGlob),
    PkgRemove(TextGlob),
    /// A package below the plugin while it runs, which the image does not have.
    PkgBuild(PackageName),
    /// What apt prefers of packages.
    PkgPin(TextGlob),
    /// An archive that packages may come from.
    PkgRepo(ArchiveGlob),
    /// Answers to questions of a package, before it is installed.
    Debconf(QuestionGlob),
    Asset(TextGlob),
    BootConfig(TextGlob),
    BootCmdline(TextGlob),
    Service(ServicePattern),
    User(UserPattern),
    Net(UrlGlob),
    Secret(SecretName),
}

/// What one call of a host function needs. Paths are resolved ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    FsRead(String),
    /// The path and everything below it.
    FsReadTree(String),
    FsWrite(String),
    /// The path and everything below it.
    FsWriteTree(String),
    Exec(Invocation),
    PkgInstall(String),
    PkgRemove(String),
    /// The name of the packages that are pinned, in which `*` is any text.
    PkgPin(String),
    /// The question that is answered.
    Debconf(String),
    Asset(String),
    /// A key of config.txt.
    BootConfig(String),
    /// The name of a kernel parameter.
    BootCmdline(String),
    /// What is done to a unit.
    Service(ServiceAction, String),
    /// What is done to an account.
    User(UserAction, String),
    /// A download.
    Net(String),
    /// An address and everything below it.
    NetTree(String),
    /// The name of a secret.
    Secret(String),
}

/// Why a text is no capability.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ScopeError {
    text: String,
    cause: String,
}

impl fmt::Display for ScopeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` is no capability: {}", crate::ui::printable(&self.text), crate::ui::printable(&self.cause))
    }
}

impl std::error::Error for ScopeError {}

/// Reads the scope after one kind; the error is the cause alone.
type Parse = fn(&str) -> Result<Capability, String>;

/// Longest text of a capability, in bytes.
const MAX_SCOPE: usize = 8192;

impl Capability {
    pub(crate) const KINDS: [(&str, Parse); 16] = [
        ("fs:read:", |scope| PathGlob::parse(scope).map(Self::FsRead)),
        ("fs:write:", |scope| PathGlob::parse(scope).map(Self::FsWrite)),
        ("exec:", |scope| ExecPattern::parse(scope).map(Self::Exec)),
        ("pkg:install:", |scope| name::parse(scope).map(Self::PkgInstall)),
        ("pkg:remove:", |scope| name::parse(scope).map(Self::PkgRemove)),
        ("pkg:build:", |scope| PackageName::parse(scope).map(Self::PkgBuild)),
        ("pkg:repo:", |scope| ArchiveGlob::parse(scope).map(Self::PkgRepo)),
        ("pkg:pin:", |scope| name::parse(scope).map(Self::PkgPin)),
        ("debconf:", |scope| QuestionGlob::parse(scope).map(Self::Debconf)),
        ("asset:", |scope| name::parse(scope).map(Self::Asset)),
        ("boot:config:", |scope| boot::parse_config(scope).map(Self::BootConfig)),
        ("boot:cmdline:", |scope| boot::parse_cmdline(scope).map(Self::BootCmdline)),
        ("svc:", |scope| ServicePattern::parse(scope).map(Self::Service)),
        ("user:", |scope| UserPattern::parse(scope).map(Self::User)),
        ("net:", |scope| UrlGlob::parse(scope).map(Self::Net)),
        ("secret:", |scope| SecretName::parse(scope).map(Self::Secret)),
    ];

    /// Whether this is a kind alone, such as `fs:write`.
    pub(super) fn is_kind(text: &str) -> bool {
        Self::KINDS.iter().any(|(kind, _)| kind.strip_suffix(':') == Some(text))
    }

    /// # Errors
    /// Names the text and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let fail = |cause: String| ScopeError { text: text.chars().take(200).collect(), cause };
        if text.len() > MAX_SCOPE {
            return Err(fail(format!("it is longer than {MAX_SCOPE} bytes")));
        }
        for (kind, parse) in Self::KINDS {
            if let Some(scope) = text.strip_prefix(kind) {
                return parse(scope).map_err(fail);
            }
        }
        let known = Self::KINDS.map(|(kind, _)| format!("`{}`", kind.trim_end_matches(':'))).join(", ");
        Err(fail(format!("its kind is not offered; there are {known}, each followed by `:` and a scope")))
    }

    /// Whether this capability alone allows the call.
    pub fn covers(&self, need: &Need) -> bool {
        match (self, need) {
            (Self::FsRead(glob), Need::FsRead(path)) | (Self::FsWrite(glob), Need::FsWrite(path)) => glob.matches(path),
            (Self::FsRead(glob), Need::FsReadTree(path)) | (Self::FsWrite(glob), Need::FsWriteTree(path)) => {
                glob.matches_tree(path)
            }
            (Self::Exec(pattern), Need::Exec(call)) => pattern.matches(call),
            (Self::PkgInstall(glob), Need::PkgInstall(name))
            | (Self::PkgRemove(glob), Need::PkgRemove(name))
            | (Self::Asset(glob), Need::Asset(name)) => glob.matches(name),
            (Self::PkgPin(glob), Need::PkgPin(name)) => glob.includes(&TextGlob::new(name)),
            (Self::Debconf(glob), Need::Debconf(question)) => glob.matches(question),
            (Self::BootConfig(glob), Need::BootConfig(key)) | (Self::BootCmdline(glob), Need::BootCmdline(key)) => {
                glob.matches(key)
            }
            (Self::Service(pattern), Need::Service(action, unit)) => pattern.matches(*action, unit),
            (Self::User(pattern), Need::User(action, name)) => pattern.matches(*action, name),
            (Self::Net(glob), Need::Net(url)) => glob.matches(url),
            (Self::Net(glob), Need::NetTree(url)) => glob.matches_tree(url),
            (Self::Secret(secret), Need::Secret(name)) => secret.matches(name),
            _ => false,
        }
    }

    /// The secret that this is for.
    pub fn secret(&self) -> Option<&str> {
        match self {
            Self::Secret(name) => Some(name.as_str()),
            _ => None,
        }
    }

    /// The package that is there while the plugin runs, and not in the image.
    pub fn build_package(&self) -> Option<&str> {
        match self {
            Self::PkgBuild(name) => Some(name.as_str()),
            _ => None,
        }
    }

    /// Whether a command may connect to that host and port: `net` for all of a host.
    pub fn reaches(&self, host: &str, port: u16) -> bool {
        matches!(self, Self::Net(glob) if glob.matches_all_of(host, port))
    }

    /// Whether everything that `other` covers is covered by this one too; errs on the side of no.
    pub fn includes(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::FsRead(a), Self::FsRead(b)) | (Self::FsWrite(a), Self::FsWrite(b)) => a.includes(b),
            (Self::Exec(a), Self::Exec(b)) => a.includes(b),
            (Self::PkgInstall(a), Self::PkgInstall(b))
            | (Self::PkgRemove(a), Self::PkgRemove(b))
            | (Self::PkgPin(a), Self::PkgPin(b))
            | (Self::Asset(a), Self::Asset(b)) => a.includes(b),
            (Self::BootConfig(a), Self::BootConfig(b)) | (Self::BootCmdline(a), Self::BootCmdline(b)) => a.includes(b),
            (Self::Service(a), Self::Service(b)) => a.includes(b),
            (Self::User(a), Self::User(b)) => a.includes(b),
            (Self::Net(a), Self::Net(b)) => a.includes(b),
            (Self::PkgBuild(a), Self::PkgBuild(b)) => a == b,
            (Self::PkgRepo(a), Self::PkgRepo(b)) => a.includes(b),
            (Self::Debconf(a), Self::Debconf(b)) => a.includes(b),
            (Self::Secret(a), Self::Secret(b)) => a == b,
            _ => false,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FsRead(glob) => write!(f, "fs:read:{glob}"),
            Self::FsWrite(glob) => write!(f, "fs:write:{glob}"),
            Self::Exec(pattern) => write!(f, "exec:{pattern}"),
            Self::PkgInstall(glob) => write!(f, "pkg:install:{glob}"),
            Self::PkgRemove(glob) => write!(f, "pkg:remove:{glob}"),
            Self::PkgBuild(name) => write!(f, "pkg:build:{name}"),
            Self::PkgRepo(glob) => write!(f, "pkg:repo:{glob}"),
            Self::PkgPin(glob) => write!(f, "pkg:pin:{glob}"),
            Self::Debconf(glob) => write!(f, "debconf:{glob}"),
            Self::Asset(glob) => write!(f, "asset:{glob}"),
            Self::BootConfig(glob) => write!(f, "boot:config:{glob}"),
            Self::BootCmdline(glob) => write!(f, "boot:cmdline:{glob}"),
            Self::Service(pattern) => write!(f, "svc:{pattern}"),
            Self::User(pattern) => write!(f, "user:{pattern}"),
            Self::Net(glob) => write!(f, "net:{glob}"),
            Self::Secret(name) => write!(f, "secret:{name}"),
        }
    }
}

/// The narrowest capability that covers the need.
impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FsRead(path) => write!(f, "fs:read:{path}"),
            Self::FsReadTree(path) => write!(f, "fs:read:{}/**", path.trim_end_matches('/')),
            Self::FsWrite(path) => write!(f, "fs:write:{path}"),
            Self::FsWriteTree(path) => write!(f, "fs:write:{}/**", path.trim_end_matches('/')),
            Self::Exec(call) => write!(f, "exec:{call}"),
            Self::PkgInstall(name) => write!(f, "pkg:install:{name}"),
            Self::PkgRemove(name) => write!(f, "pkg:remove:{name}"),
            Self::PkgPin(name) => write!(f, "pkg:pin:{name}"),
            Self::Debconf(question) => write!(f, "debconf:{question}"),
            Self::Asset(name) => write!(f, "asset:{name}"),
            Self::BootConfig(key) => write!(f, "boot:config:{key}"),
            Self::BootCmdline(name) => write!(f, "boot:cmdline:{name}"),
            Self::Service(action, unit) => write!(f, "svc:{action}:{unit}"),
            Self::User(action, name) => write!(f, "user:{action}:{name}"),
            Self::Net(url) => write!(f, "net:{}", net::narrowest(url)),
            Self::NetTree(url) => write!(f, "net:{url}/**"),
            Self::Secret(name) => write!(f, "secret:{name}"),
        }
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
            ("secrets:token", "kind is not offered"),
        ] {
            let error = Capability::parse(text).unwrap_err().to_string();
            assert!(error.contains(cause), "{text}: {error}");
        }
    }

    #[test]
    fn kinds_do_not_cover_each_other() {
        let read = Capability::parse("fs:read:/**").unwrap();
        assert!(!read.covers(&Need::FsWrite("/etc/x".into())));
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
            Need::FsRead("/etc/x".into()),
            Need::FsWriteTree("/opt/app".into()),
            Need::FsWriteTree("/".into()),
            Need::FsReadTree("/opt/app".into()),
            Need::Exec(Invocation::new("apt-mark", &["hold", "a b", "*", ""])),
            Need::Exec(Invocation::new("tar", &["x"]).with("TAR_OPTIONS", "a b").with("APT_CONFIG", "").with("A", "*")),
            Need::Exec(Invocation::new("tar", &["x"]).with("LANG", "C").with("TAR_OPTIONS", "-v")),
            Need::PkgInstall("htop".into()),
            Need::PkgPin("ros-*".into()),
            Need::Debconf("tzdata/Zones/Europe".into()),
            Need::Asset("firmware.bin".into()),
            Need::BootConfig("hdmi_group:1".into()),
            Need::BootCmdline("usbcore.autosuspend".into()),
            Need::Service(ServiceAction::Mask, "getty@tty1.service".into()),
            Need::User(UserAction::Keys, "robot-1".into()),
            Need::Net("https://example.org/a?b".into()),
            Need::NetTree("https://example.org:8443/ann/app.git".into()),
            Need::Secret("ann-password".into()),
        ] {
            let capability = Capability::parse(&need.to_string()).unwrap();
            assert!(capability.covers(&need), "{need}");
            assert_eq!(capability.to_string(), need.to_string());
        }
    }
}
