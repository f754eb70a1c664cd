//! The answer of `conf()`: what a plugin says about itself, put together step by step.

mod parts;

use crate::__private::bindings::exports::piimg::plugin::preparation::Repository;
use crate::__private::bindings::piimg::plugin::manifest as raw;
use crate::apt::{self, Pin};
use crate::debconf::Answer;
use crate::need::{Need, Needs};

/// A plugin's description; the answer to [`crate::Plugin::conf`].
///
/// ```
/// use piimg_plugin_sdk::{Kind, Param, PluginConf, region};
///
/// let conf = PluginConf::new("example/clock", "0.1.0", "Clock")
///     .description("Shows the time where it stands.")
///     .package("fbi")
///     .param(Param::with_default("zone", "time zone", Kind::Text, &"Europe/London"))
///     .needs(region::timezone("{params.zone}"))
///     .after("piimg/base");
/// ```
#[derive(Clone, Debug)]
pub struct PluginConf(raw::PluginConf, Wishes);

/// Wishes for package runs before `execute`, beside packages: they go to the host by functions of their own.
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

    /// Says what the plugin does, in a few sentences.
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

    /// Sets the host name of the finished system.
    #[must_use]
    pub fn hostname(mut self, name: &str) -> Self {
        self.0.image.hostname = Some(name.to_owned());
        self
    }

    /// Sets the free space in the root file system beyond its content, in MiB.
    #[must_use]
    pub fn rootfs_extra_space_mb(mut self, mebibytes: u32) -> Self {
        self.0.image.rootfs_extra_space_mb = Some(mebibytes);
        self
    }

    /// Sets the host directory where root file systems are kept; used only if the user allows that very path.
    #[must_use]
    pub fn rootfs(mut self, directory: &str) -> Self {
        self.0.image.rootfs = Some(directory.to_owned());
        self
    }

    /// Sets the second part of the image's file name.
    #[must_use]
    pub fn flavour(mut self, flavour: &str) -> Self {
        self.0.image.flavour = Some(flavour.to_owned());
        self
    }

    /// Sets the release to build from, such as `bookworm`.
    #[must_use]
    pub fn release(mut self, release: &str) -> Self {
        self.0.image.release = Some(release.to_owned());
        self
    }

    /// Sets the host directory that receives the image; used only if the user allows that very path.
    #[must_use]
    pub fn imagedir(mut self, directory: &str) -> Self {
        self.0.image.imagedir = Some(directory.to_owned());
        self
    }

    /// Asks for a package, `name` or `name=version`, to be installed before `execute`; it needs no
    /// [`PluginConf::capability`] of its own, but the user's grant.
    #[must_use]
    pub fn package(mut self, spec: &str) -> Self {
        self.0.image.apt_get_packages.push(spec.to_owned());
        self
    }

    /// Asks for several packages.
    #[must_use]
    pub fn packages<'a>(self, specs: impl IntoIterator<Item = &'a str>) -> Self {
        specs.into_iter().fold(self, Self::package)
    }

    /// Asks for a package, such as a compiler, that is there while `execute` runs and that the image does not get; and
    /// why. Of files that it brought nothing stays in the image, unless the plugin was granted to write there.
    #[must_use]
    pub fn build_package(self, name: &str, reason: &str) -> Self {
        self.capability(&format!("pkg:build:{name}"), reason)
    }

    /// Gives debconf an answer before any package of the plugin is installed; it needs no [`PluginConf::capability`] of
    /// its own, but the user's grant. The package that asks must be one that the plugin lists or brings, not one of the
    /// release.
    #[must_use]
    pub fn answer(mut self, answer: Answer) -> Self {
        self.1.answers.push(answer);
        self
    }

    /// Adds an archive that packages may come from during the build, and that the finished system has too, signed with
    /// the keys of these whole fingerprints; `key` holds them and no others. It needs no [`PluginConf::capability`] of
    /// its own, but the user's grant, `pkg:repo:<url>`: whoever holds a key is root of the image. Every other plugin's
    /// packages may come from it, too. Without components its suite is a directory that ends with `/`, such as `./`.
    #[must_use]
    pub fn repository(mut self, archive: &apt::Repository, fingerprints: &[&str], key: &[u8]) -> Self {
        self.1.repositories.push(archive.signed(fingerprints, key));
        self
    }

    /// Tells apt what to prefer from the plugin's first package on, and on the finished system; it needs no
    /// [`PluginConf::capability`] of its own, but the user's grant.
    #[must_use]
    pub fn pin(mut self, pin: Pin) -> Self {
        self.1.pins.push(pin);
        self
    }

    /// Names a package that the image is not to have, such as one of the release; it needs no
    /// [`PluginConf::capability`] of its own, but the user's grant. What the recipe or another plugin lists cannot be
    /// removed.
    #[must_use]
    pub fn remove_package(mut self, name: &str) -> Self {
        self.1.removals.push(name.to_owned());
        self
    }

    /// Asks for a capability without which the plugin cannot work, and says why, such as `fs:write:/etc/motd`.
    /// `{params.NAME}` in it stands for the value of a [`Param`] of the plugin.
    #[must_use]
    pub fn capability(mut self, scope: &str, reason: &str) -> Self {
        self.0.capabilities.push(Capability::new(scope, reason).into());
        self
    }

    /// Asks for a capability that the plugin can do without: ask [`crate::context::granted`] before using it.
    #[must_use]
    pub fn optional_capability(mut self, scope: &str, reason: &str) -> Self {
        self.0.capabilities.push(Capability { optional: true, ..Capability::new(scope, reason) }.into());
        self
    }

    /// Asks for all that a helper takes: its capabilities, with its reasons, and its packages. What was asked for already is
    /// not asked for again.
    ///
    /// ```
    /// use piimg_plugin_sdk::{PluginConf, region};
    ///
    /// let conf = PluginConf::new("example/zone", "0.1.0", "Zone").needs(region::timezone("Europe/London"));
    /// assert!(conf.capabilities().iter().any(|it| it.scope == "fs:write:/etc/localtime"));
    /// ```
    #[must_use]
    pub fn needs(self, what: impl Needs) -> Self {
        what.needs().iter().fold(self, |conf, need| conf.need(need, need.reason(), false))
    }

    /// Does what [`PluginConf::needs`] does, with a reason of your own in place of each of the helper's.
    ///
    /// ```
    /// use piimg_plugin_sdk::{PluginConf, fs};
    ///
    /// let conf = PluginConf::new("example/note", "0.1.0", "Note").needs_because(fs::writing("/etc/note"), "the note itself");
    /// assert_eq!(conf.capabilities()[0].reason, "the note itself");
    /// ```
    #[must_use]
    pub fn needs_because(self, what: impl Needs, reason: &str) -> Self {
        what.needs().iter().fold(self, |conf, need| conf.need(need, reason, false))
    }

    /// Asks for what a helper takes as [`PluginConf::optional_capability`] does: the plugin can do without. Ask
    /// [`crate::context::may`] before using it. Packages of the helper are installed all the same.
    ///
    /// ```
    /// use piimg_plugin_sdk::{PluginConf, fs};
    ///
    /// let conf = PluginConf::new("example/note", "0.1.0", "Note").can_use(fs::reading("/etc/note"), "keeps what is in it");
    /// assert!(conf.capabilities()[0].optional);
    /// ```
    #[must_use]
    pub fn can_use(self, what: impl Needs, reason: &str) -> Self {
        what.needs().iter().fold(self, |conf, need| conf.need(need, reason, true))
    }

    fn need(mut self, need: &Need, reason: &str, optional: bool) -> Self {
        if let Some(package) = need.package_name() {
            let packages = &mut self.0.image.apt_get_packages;
            if !packages.iter().any(|it| it == package) {
                packages.push(package.to_owned());
            }
            return self;
        }
        let scope = need.scope();
        match self.0.capabilities.iter_mut().find(|it| it.scope == scope) {
            // Whoever cannot do without it decides.
            Some(known) => known.optional &= optional,
            None => self.0.capabilities.push(raw::Capability { scope, reason: reason.to_owned(), optional }),
        }
        self
    }

    /// Adds a parameter of the plugin's own.
    #[must_use]
    pub fn param(mut self, param: Param) -> Self {
        self.0.params.push(param.0);
        self
    }

    /// Names a plugin, by id, that must run before this one if both take part in the build.
    #[must_use]
    pub fn after(mut self, id: &str) -> Self {
        self.0.after.push(id.to_owned());
        self
    }

    /// Names a plugin, by id, that cannot be in the same image.
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

    /// Returns what was said about the image, for tests.
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

    /// Returns the packages that are to go, for tests.
    #[must_use]
    pub fn removed_packages(&self) -> &[String] {
        &self.1.removals
    }

    /// Returns the answers for debconf, for tests.
    #[must_use]
    pub fn answers(&self) -> &[Answer] {
        &self.1.answers
    }

    /// Returns all that is asked for, for tests: the capabilities, and those of packages, answers, pins and archives.
    ///
    /// ```
    /// use piimg_plugin_sdk::{PluginConf, fs};
    ///
    /// let conf = PluginConf::new("example/note", "0.1.0", "Note").package("htop").needs(fs::writing("/etc/note"));
    /// assert_eq!(conf.scopes(), ["pkg:install:htop", "fs:write:/etc/note"]);
    /// ```
    #[must_use]
    pub fn scopes(&self) -> Vec<String> {
        let Self(conf, wishes) = self;
        let packages = conf.image.apt_get_packages.iter().map(|spec| Need::package(spec).scope());
        let removed = wishes.removals.iter().map(|name| format!("pkg:remove:{name}"));
        let archives = wishes.repositories.iter().map(|archive| format!("pkg:repo:{}", archive.url));
        let pins = wishes.pins.needs().into_iter().map(|need| need.scope());
        let answers = wishes.answers.needs().into_iter().map(|need| need.scope());
        let capabilities = conf.capabilities.iter().map(|capability| capability.scope.clone());
        packages.chain(removed).chain(archives).chain(pins).chain(answers).chain(capabilities).collect()
    }

    /// Returns the capabilities asked for, for tests.
    #[must_use]
    pub fn capabilities(&self) -> Vec<Capability> {
        self.0.capabilities.iter().cloned().map(Into::into).collect()
    }
}

impl PluginConf {
    /// Parts it into the two halves, each of which the host asks for by itself.
    pub(crate) fn into_raw(self) -> (raw::PluginConf, Wishes) {
        (self.0, self.1)
    }
}

/// Parameters of an image; what is left out is up to the user.
///
/// ```
/// use piimg_plugin_sdk::{Image, PluginConf};
///
/// let image = Image { hostname: Some("robot".into()), flavour: Some("field".into()), ..Image::default() };
/// assert_eq!(PluginConf::new("example/robot", "0.1.0", "Robot").image(image.clone()).image_params(), image);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Image {
    /// Host name of the finished system.
    pub hostname: Option<String>,
    /// Free space in the root file system beyond its content, in MiB.
    pub rootfs_extra_space_mb: Option<u32>,
    /// Host directory where root file systems are kept; used only if the user allows that very path.
    pub rootfs: Option<String>,
    /// Second part of the image's file name.
    pub flavour: Option<String>,
    /// Release to build from, such as `bookworm`.
    pub release: Option<String>,
    /// Host directory that receives the image; used only if the user allows that very path.
    pub imagedir: Option<String>,
    /// Packages to be installed before `execute`, each `name` or `name=version`.
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
///
/// ```
/// use piimg_plugin_sdk::PluginConf;
///
/// let conf = PluginConf::new("example/note", "0.1.0", "Note").capability("fs:write:/etc/note", "the note itself");
/// assert_eq!((conf.capabilities()[0].reason.as_str(), conf.capabilities()[0].optional), ("the note itself", false));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Capability {
    /// The capability, `kind:scope`.
    pub scope: String,
    /// The reason, in the author's words.
    pub reason: String,
    /// The plugin can do without.
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

/// A parameter of the plugin's own, read back with [`crate::context::param`]. See [`Kind`] for an example.
#[derive(Clone, Debug)]
pub struct Param(raw::Param);

/// The values that a parameter takes.
///
/// ```
/// use piimg_plugin_sdk::{Kind, Param};
///
/// Param::with_default("interval", "seconds between two readings", Kind::Integer(1, 3600), &30);
/// Param::required("site", "where it will stand", Kind::Choice(&["north", "south"]));
/// ```
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
    /// Describes a parameter that the user must set.
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

    /// Describes a parameter with a default.
    #[must_use]
    pub fn with_default(name: &str, title: &str, kind: Kind<'_>, default: &impl ToString) -> Self {
        let mut param = Self::required(name, title, kind);
        param.0.default = Some(default.to_string());
        param
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fs;

    fn conf() -> PluginConf {
        PluginConf::new("a/b", "0.1.0", "B")
    }

    #[test]
    fn what_is_needed_twice_is_asked_for_once_and_is_not_optional() {
        let (file, tools) = (fs::writing("/etc/x"), [Need::package("tzdata"), Need::package("tzdata")]);
        let as_list =
            |conf: &PluginConf| conf.capabilities().into_iter().map(|it| (it.scope, it.optional)).collect::<Vec<_>>();
        let expected = [("fs:write:/etc/x".to_owned(), false)];
        assert_eq!(as_list(&conf().needs(file).can_use(file, "x")), expected);
        assert_eq!(as_list(&conf().can_use(file, "x").needs(file)), expected);
        assert_eq!(conf().needs(tools).image_params().apt_get_packages, ["tzdata"]);
    }
}
