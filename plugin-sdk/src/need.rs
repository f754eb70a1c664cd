//! Needs of helpers, said by the helpers themselves: a scope is written once, where the value is made.

use std::fmt;

/// A capability or a package that something takes, and why. See [`Need::capability`] and [`Need::package`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Need {
    what: What,
    reason: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Capability(String),
    Package(String),
}

impl Need {
    /// Returns the need of a capability, such as `fs:write:/etc/motd`, and why.
    ///
    /// ```
    /// use piimg_plugin_sdk::Need;
    ///
    /// assert_eq!(Need::capability("fs:write:/etc/motd", "greets").scope(), "fs:write:/etc/motd");
    /// ```
    #[must_use]
    pub fn capability(scope: impl fmt::Display, reason: impl fmt::Display) -> Self {
        Self { what: What::Capability(scope.to_string()), reason: reason.to_string() }
    }

    /// Returns the need of a package, which is installed before `execute`.
    ///
    /// ```
    /// assert_eq!(piimg_plugin_sdk::Need::package("tzdata").scope(), "pkg:install:tzdata");
    /// ```
    #[must_use]
    pub fn package(name: &str) -> Self {
        Self { what: What::Package(name.to_owned()), reason: String::new() }
    }

    /// Returns the capability, that of a package included.
    #[must_use]
    pub fn scope(&self) -> String {
        match &self.what {
            What::Capability(scope) => scope.clone(),
            What::Package(name) => format!("pkg:install:{}", name.split('=').next().unwrap_or(name)),
        }
    }

    /// Returns the reason; empty for a package, which piimg explains itself.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Returns the package, if it is one.
    pub(crate) fn package_name(&self) -> Option<&str> {
        match &self.what {
            What::Package(name) => Some(name),
            What::Capability(_) => None,
        }
    }
}

/// Something that says itself what it takes: the helpers of this crate, and yours.
///
/// `conf()` hands it to [`PluginConf::needs`](crate::PluginConf::needs), and `execute()` uses the same value.
///
/// ```
/// use piimg_plugin_sdk::region::{self, Locale};
/// use piimg_plugin_sdk::{Plugin, PluginConf, Result};
///
/// const LOCALE: Locale = region::locale("en_GB.UTF-8");
///
/// struct Language;
/// impl Plugin for Language {
///     fn conf() -> PluginConf { PluginConf::new("example/language", "0.1.0", "Language").needs(LOCALE) }
///     fn execute() -> Result { Ok(LOCALE.apply()?) }
/// }
/// ```
pub trait Needs {
    /// Returns what it takes: no more than is used.
    fn needs(&self) -> Vec<Need>;
}

impl<T: Needs + ?Sized> Needs for &T {
    fn needs(&self) -> Vec<Need> {
        (**self).needs()
    }
}

impl<T: Needs> Needs for [T] {
    fn needs(&self) -> Vec<Need> {
        self.iter().flat_map(Needs::needs).collect()
    }
}

impl<T: Needs, const N: usize> Needs for [T; N] {
    fn needs(&self) -> Vec<Need> {
        self.as_slice().needs()
    }
}

impl<T: Needs> Needs for Vec<T> {
    fn needs(&self) -> Vec<Need> {
        self.as_slice().needs()
    }
}

impl Needs for Need {
    fn needs(&self) -> Vec<Need> {
        vec![self.clone()]
    }
}
