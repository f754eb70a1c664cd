//! What a plugin says about itself, put together step by step.

use crate::__private::bindings::exports::piimg::plugin::preparation::Repository;
use crate::__private::bindings::piimg::plugin::manifest as raw;
use crate::apt::{self, Pin};
use crate::debconf::Answer;

/// A plugin's description; the answer to [`crate::Plugin::conf`].
#[derive(Clone, Debug)]
pub struct PluginConf(raw::PluginConf, Wishes);

/// What it wants of package runs before `execute`, beside packages: it goes to the host by functions of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wishes {
    pub(crate) answers: Vec<Answer>,
    pub(crate) pins: Vec<Pin>,
    pub(crate) repositories: Vec<Repository>,
    pub(crate) removals: Vec<String>,
}

impl PluginConf {
    /// Starts with the id, `author/name`, the version, `major.minor.patch`, and a title for people.
    #[must_use]
    pub fn new(id: &str, version: &str, title: &str) -> Self {
        let conf = raw::PluginConf {
            id: id.to_owned(),
            version: version.to_owned(),
            title: title.to_owned(),
            description: String::new(),
            image: raw::ImageParams {
                hostname: None,
                rootfs_extra_space_mb: None,
                rootfs: None,
                flavour: None,
                release: None,
                imagedir: None,
                apt_get_packages: Vec::new(),
            },
            params: Vec::new(),
            capabilities: Vec::new(),
            after: Vec::new(),
            conflicts: Vec::new(),
            releases: Vec::new(),
            architectures: Vec::new(),
        };
        Self(conf, Wishes::default())
    }

    /// What it does, in a few sentences.
    #[must_use]
    pub fn description(mut self, text: &str) -> Self {
        self.0.description = text.to_owned();
        self
    }

    /// Describes a whole image with one value of [`Image`]; the methods below set the same fields one by one.
    #[must_use]
    pub fn image(mut self, image: Image) -> Self {
        self.0.image = image.into();
        self
    }

    /// Host name of the finished system.
    #[must_use]
    pub fn hostname(mut self, name: &str) -> Self {
        self.0.image.hostname = Some(name.to_owned());
        self
    }

    /// Free space in the root file system beyond its content, in MiB.
    #[must_use]
    pub fn rootfs_extra_space_mb(mut self, mebibytes: u32) -> Self {
        self.0.image.rootfs_extra_space_mb = Some(mebibytes);
        self
    }

    /// Host directory where root file systems are kept; used only if the user allows that very path.
    #[must_use]
    pub fn rootfs(mut self, directory: &str) -> Self {
        self.0.image.rootfs = Some(directory.to_owned());
        self
    }

    /// Second part of the image's file name.
    #[must_use]
    pub fn flavour(mut self, flavour: &str) -> Self {
        self.0.image.flavour = Some(flavour.to_owned());
        self
    }

    /// Release to build from, such as `bookworm`.
    #[must_use]
    pub fn release(mut self, release: &str) -> Self {
        self.0.image.release = Some(release.to_owned());
        self
    }

    /// Host directory that receives the image; used only if the user allows that very path.
    #[must_use]
    pub fn imagedir(mut self, directory: &str) -> Self {
        self.0.image.imagedir = Some(directory.to_owned());
        self
    }

    /// A package, `name` or `name=version`, to be installed before `execute`; it needs no [`PluginConf::capability`]
    /// of its own, but the user's grant.
    #[must_use]
    pub fn package(mut self, spec: &str) -> Self {
        self.0.image.apt_get_packages.push(spec.to_owned());
        self
    }

    /// Several packages.
    #[must_use]
    pub fn packages<'a>(self, specs: impl IntoIterator<Item = &'a str>) -> Self {
        specs.into_iter().fold(self, Self::package)
    }

    /// A package, such as a compiler, that is there while `execute` runs and that the image does not get; and why. Of files
    /// that it brought nothing stays in the image, unless the plugin was granted to write there.
    #[must_use]
    pub fn build_package(self, name: &str, reason: &str) -> Self {
        self.capability(&format!("pkg:build:{name}"), reason)
    }

    /// An answer that debconf has before any package of the plugin is installed; it needs no [`PluginConf::capability`] of its
    /// own, but the user's grant. The package that asks must be one that the plugin lists or brings, not one of the release.
    #[must_use]
    pub fn answer(mut self, answer: Answer) -> Self {
        self.1.answers.push(answer);
        self
    }

    /// An archive that packages may come from during the build, and that the finished system has too, signed with the keys of
    /// these whole fingerprints; `key` holds them and no others. It needs no [`PluginConf::capability`] of its own, but the
    /// user's grant, `pkg:repo:<url>`: whoever holds a key is root of the image. Every other plugin's packages may come from
    /// it, too. Without components its suite is a directory that ends with `/`, such as `./`.
    #[must_use]
    pub fn repository(mut self, archive: &apt::Repository, fingerprints: &[&str], key: &[u8]) -> Self {
        self.1.repositories.push(archive.signed(fingerprints, key));
        self
    }

    /// What apt prefers from the plugin's first package on, and on the finished system; it needs no [`PluginConf::capability`]
    /// of its own, but the user's grant.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.1.pins.push(pin);
        self
    }

    /// A package that the image is not to have, such as one of the release; it needs no [`PluginConf::capability`] of its own,
    /// but the user's grant. What the recipe or another plugin lists cannot be removed.
    #[must_use]
    pub fn remove_package(mut self, name: &str) -> Self {
        self.1.removals.push(name.to_owned());
        self
    }

    /// A capability without which the plugin cannot work, and why, such as `fs:write:/etc/motd`. `{params.NAME}` in it
    /// stands for the value of a [`Param`] of the plugin.
    #[must_use]
    pub fn capability(mut self, scope: &str, reason: &str) -> Self {
        self.0.capabilities.push(Capability::new(scope, reason).into());
        self
    }

    /// A capability the plugin can do without: ask [`crate::context::granted`] before using it.
    #[must_use]
    pub fn optional_capability(mut self, scope: &str, reason: &str) -> Self {
        self.0.capabilities.push(Capability { optional: true, ..Capability::new(scope, reason) }.into());
        self
    }

    /// A parameter of the plugin's own.
    #[must_use]
    pub fn param(mut self, param: Param) -> Self {
        self.0.params.push(param.0);
        self
    }

    /// A plugin, by id, that must run before this one if both take part in the build.
    #[must_use]
    pub fn after(mut self, id: &str) -> Self {
        self.0.after.push(id.to_owned());
        self
    }

    /// A plugin, by id, that cannot be in the same image.
    #[must_use]
    pub fn conflicts(mut self, id: &str) -> Self {
        self.0.conflicts.push(id.to_owned());
        self
    }

    /// Releases it was made for; any, if this is never called.
    #[must_use]
    pub fn releases<'a>(mut self, releases: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.releases.extend(releases.into_iter().map(str::to_owned));
        self
    }

    /// Architectures it was made for, such as `arm64`; any, if this is never called.
    #[must_use]
    pub fn architectures<'a>(mut self, architectures: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.architectures.extend(architectures.into_iter().map(str::to_owned));
        self
    }

    /// What was said about the image, for tests.
    #[must_use]
    pub fn image_params(&self) -> Image {
        let image = self.0.image.clone();
        Image {
            hostname: image.hostname,
            rootfs_extra_space_mb: image.rootfs_extra_space_mb,
            rootfs: image.rootfs,
            flavour: image.flavour,
            release: image.release,
            imagedir: image.imagedir,
            apt_get_packages: image.apt_get_packages,
        }
    }

    /// The packages that are to go, for tests.
    #[must_use]
    pub fn removed_packages(&self) -> &[String] {
        &self.1.removals
    }

    /// The answers for debconf, for tests.
    #[must_use]
    pub fn answers(&self) -> &[Answer] {
        &self.1.answers
    }

    /// The capabilities asked for, for tests.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        self.0.capabilities.iter().cloned().map(Into::into).collect()
    }
}

impl PluginConf {
    /// The two halves, each of which the host asks for by itself.
    pub(crate) fn into_raw(self) -> (raw::PluginConf, Wishes) {
        (self.0, self.1)
    }
}

/// Parameters of an image; what is left out is up to the user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    pub hostname: Option<String>,
    pub rootfs_extra_space_mb: Option<u32>,
    pub rootfs: Option<String>,
    pub flavour: Option<String>,
    pub release: Option<String>,
    pub imagedir: Option<String>,
    pub apt_get_packages: Vec<String>,
}

impl From<Image> for raw::ImageParams {
    fn from(image: Image) -> Self {
        Self {
            hostname: image.hostname,
            rootfs_extra_space_mb: image.rootfs_extra_space_mb,
            rootfs: image.rootfs,
            flavour: image.flavour,
            release: image.release,
            imagedir: image.imagedir,
            apt_get_packages: image.apt_get_packages,
        }
    }
}

/// A capability as it was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    pub scope: String,
    pub reason: String,
    pub optional: bool,
}

impl Capability {
    fn new(scope: &str, reason: &str) -> Self {
        Self { scope: scope.to_owned(), reason: reason.to_owned(), optional: false }
    }
}

impl From<Capability> for raw::Capability {
    fn from(capability: Capability) -> Self {
        Self { scope: capability.scope, reason: capability.reason, optional: capability.optional }
    }
}

impl From<raw::Capability> for Capability {
    fn from(raw: raw::Capability) -> Self {
        Self { scope: raw.scope, reason: raw.reason, optional: raw.optional }
    }
}

/// A parameter of the plugin's own, read back with [`crate::context::param`].
#[derive(Clone, Debug)]
pub struct Param(raw::Param);

/// What values a parameter takes.
#[derive(Clone, Copy, Debug)]
pub enum Kind<'a> {
    /// `true` or `false`.
    Bool,
    /// A whole number between the two, both included.
    Integer(i64, i64),
    /// Any text of one line.
    Text,
    /// One of these words.
    Choice(&'a [&'a str]),
}

impl Param {
    /// A parameter that the user must set.
    #[must_use]
    pub fn required(name: &str, title: &str, kind: Kind<'_>) -> Self {
        let kind = match kind {
            Kind::Bool => raw::ParamKind::Boolean,
            Kind::Integer(low, high) => raw::ParamKind::Integer((low, high)),
            Kind::Text => raw::ParamKind::Text,
            Kind::Choice(words) => raw::ParamKind::Choice(words.iter().map(ToString::to_string).collect()),
        };
        Self(raw::Param { name: name.to_owned(), title: title.to_owned(), kind, default: None })
    }

    /// A parameter with a default.
    #[must_use]
    pub fn with_default(name: &str, title: &str, kind: Kind<'_>, default: &impl ToString) -> Self {
        let mut param = Self::required(name, title, kind);
        param.0.default = Some(default.to_string());
        param
    }
}
