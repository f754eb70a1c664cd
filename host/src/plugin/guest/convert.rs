//! Converts between the types of the bindings and those of [`crate::plugin::protocol`].

use super::bindings::piimg::plugin::{
    context, fs, log, manifest, net, packages, process, services, types, users, wishes,
};
use crate::plugin::protocol::{Account, FileAttrs, FileKind, ImageInfo, Level, Metadata, Place, UnitState};
use crate::plugin::workbench::{CallError, Command, ErrorCode, InstalledPackage, Outcome, Sink};
use crate::recipe::{conf, debconf, pin};
use crate::secret::Scheme;

impl From<CallError> for types::Error {
    fn from(error: CallError) -> Self {
        let code = match error.code {
            ErrorCode::Denied => types::ErrorCode::Denied,
            ErrorCode::Invalid => types::ErrorCode::Invalid,
            ErrorCode::NotFound => types::ErrorCode::NotFound,
            ErrorCode::Exists => types::ErrorCode::Exists,
            ErrorCode::NotAFile => types::ErrorCode::NotAFile,
            ErrorCode::NotADirectory => types::ErrorCode::NotADirectory,
            ErrorCode::Limit => types::ErrorCode::Limit,
            ErrorCode::Timeout => types::ErrorCode::Timeout,
            ErrorCode::CommandFailed => types::ErrorCode::CommandFailed,
            ErrorCode::Network => types::ErrorCode::Network,
            ErrorCode::DigestMismatch => types::ErrorCode::DigestMismatch,
            ErrorCode::Cancelled => types::ErrorCode::Cancelled,
            ErrorCode::Unsupported => types::ErrorCode::Unsupported,
            ErrorCode::Io => types::ErrorCode::Io,
        };
        Self { code, message: error.message, needed: error.needed, details: Vec::new() }
    }
}

impl From<types::FileAttrs> for FileAttrs {
    fn from(attrs: types::FileAttrs) -> Self {
        Self { mode: attrs.mode, user: attrs.owner.user, group: attrs.owner.group }
    }
}

impl From<FileKind> for fs::FileKind {
    fn from(kind: FileKind) -> Self {
        match kind {
            FileKind::File => Self::File,
            FileKind::Directory => Self::Directory,
            FileKind::Symlink => Self::Symlink,
            FileKind::Other => Self::Other,
        }
    }
}

impl From<Metadata> for fs::Metadata {
    fn from(metadata: Metadata) -> Self {
        let FileAttrs { mode, user, group } = metadata.attrs;
        Self {
            kind: metadata.kind.into(),
            size: metadata.size,
            mode,
            owner: types::Owner { user, group },
            target: metadata.target,
        }
    }
}

impl From<fs::Place> for Place {
    fn from(place: fs::Place) -> Self {
        match place {
            fs::Place::Start => Self::Start,
            fs::Place::End => Self::End,
            fs::Place::Before(text) => Self::Before(text),
            fs::Place::After(text) => Self::After(text),
            fs::Place::InsteadOf(text) => Self::InsteadOf(text),
        }
    }
}

impl From<log::Level> for Level {
    fn from(level: log::Level) -> Self {
        match level {
            log::Level::Trace => Self::Trace,
            log::Level::Debug => Self::Debug,
            log::Level::Info => Self::Info,
            log::Level::Warn => Self::Warn,
            log::Level::Error => Self::Error,
        }
    }
}

impl From<ImageInfo> for context::ImageInfo {
    fn from(image: ImageInfo) -> Self {
        let ImageInfo { architecture, distribution, release, hostname, flavour, epoch } = image;
        Self { architecture, distribution, release, hostname, flavour, epoch }
    }
}

impl From<process::Sink> for Sink {
    fn from(sink: process::Sink) -> Self {
        match sink {
            process::Sink::Log => Self::Log,
            process::Sink::Capture => Self::Capture,
            process::Sink::Discard => Self::Discard,
        }
    }
}

impl From<process::Command> for Command {
    fn from(command: process::Command) -> Self {
        let process::Command { program, args, env, cwd, user, timeout_ms, stdout, stderr } = command;
        let timeout = timeout_ms.map(|millis| std::time::Duration::from_millis(millis.into()));
        Self { program, args, env, cwd, user, timeout, stdout: stdout.into(), stderr: stderr.into() }
    }
}

impl From<Outcome> for process::Outcome {
    fn from(outcome: Outcome) -> Self {
        let Outcome { status, stdout, stderr, truncated, tail } = outcome;
        Self { status, stdout, stderr, truncated, tail }
    }
}

impl From<InstalledPackage> for packages::Installed {
    fn from(package: InstalledPackage) -> Self {
        let InstalledPackage { name, version, architecture } = package;
        Self { name, version, architecture }
    }
}

impl From<services::State> for UnitState {
    fn from(state: services::State) -> Self {
        match state {
            services::State::Enabled => Self::Enabled,
            services::State::Disabled => Self::Disabled,
            services::State::Masked => Self::Masked,
            services::State::Unmasked => Self::Unmasked,
        }
    }
}

impl From<net::Authorization> for Scheme {
    fn from(authorization: net::Authorization) -> Self {
        match authorization {
            net::Authorization::Bearer => Self::Bearer,
            net::Authorization::Basic => Self::Basic,
        }
    }
}

impl From<users::Account> for Account {
    fn from(account: users::Account) -> Self {
        let users::Account { name, uid, home, shell, groups, system } = account;
        Self { name, uid, home, shell, groups, system }
    }
}

impl From<manifest::PluginConf> for conf::PluginConf {
    fn from(raw: manifest::PluginConf) -> Self {
        let image = raw.image;
        Self {
            id: raw.id,
            version: raw.version,
            title: raw.title,
            description: raw.description,
            image: conf::ImageParams {
                hostname: image.hostname,
                rootfs_extra_space_mb: image.rootfs_extra_space_mb,
                rootfs: image.rootfs,
                flavour: image.flavour,
                release: image.release,
                imagedir: image.imagedir,
                apt_get_packages: image.apt_get_packages,
            },
            params: raw.params.into_iter().map(Into::into).collect(),
            capabilities: raw.capabilities.into_iter().map(Into::into).collect(),
            after: raw.after,
            conflicts: raw.conflicts,
            releases: raw.releases,
            architectures: raw.architectures,
            // Wishes come from the export `preparation`.
            wishes: conf::Wishes::default(),
        }
    }
}

impl From<wishes::Pin> for pin::Unchecked {
    fn from(raw: wishes::Pin) -> Self {
        let target = match raw.target {
            wishes::PinTarget::Release(text) => pin::Target::Release(text),
            wishes::PinTarget::Version(text) => pin::Target::Version(text),
            wishes::PinTarget::Origin(host) => pin::Target::Origin(host),
        };
        Self { package: raw.package, target, priority: raw.priority }
    }
}

impl From<wishes::Answer> for debconf::Unchecked {
    fn from(raw: wishes::Answer) -> Self {
        let kind = match raw.kind {
            wishes::AnswerKind::Boolean => debconf::AnswerKind::Boolean,
            wishes::AnswerKind::String => debconf::AnswerKind::String,
            wishes::AnswerKind::Select => debconf::AnswerKind::Select,
            wishes::AnswerKind::Multiselect => debconf::AnswerKind::Multiselect,
        };
        Self { question: raw.question, kind, value: raw.value }
    }
}

impl From<manifest::Param> for conf::Param {
    fn from(raw: manifest::Param) -> Self {
        let kind = match raw.kind {
            manifest::ParamKind::Boolean => conf::ParamKind::Bool,
            manifest::ParamKind::Integer((low, high)) => conf::ParamKind::Integer(low, high),
            manifest::ParamKind::Text => conf::ParamKind::Text,
            manifest::ParamKind::Choice(words) => conf::ParamKind::Choice(words),
        };
        Self { name: raw.name, title: raw.title, kind, default: raw.default }
    }
}

impl From<manifest::Capability> for conf::CapabilityRequest {
    fn from(raw: manifest::Capability) -> Self {
        Self { scope: raw.scope, reason: raw.reason, optional: raw.optional }
    }
}
