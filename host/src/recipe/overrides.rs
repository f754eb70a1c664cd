//! What the command line says, without its parser.

use std::path::PathBuf;

/// Values of flags; each one given wins over `piimg.toml` and over the plugins.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    pub release: Option<String>,
    pub architecture: Option<String>,
    /// An image or archive in place of a bootstrap.
    pub base: Option<PathBuf>,
    /// `url`, of the release's own repository, or `name=url`.
    pub mirrors: Vec<String>,
    /// `name=file`, or `name=file#fingerprint`.
    pub keyrings: Vec<String>,
    /// Added to those of `piimg.toml`.
    pub repositories: Vec<String>,
    pub snapshot: Option<String>,
    pub apt_proxy: Option<String>,
    pub offline: bool,
    pub hostname: Option<String>,
    pub flavour: Option<String>,
    pub imagedir: Option<PathBuf>,
    /// The store; the original's `rootfs`.
    pub store: Option<PathBuf>,
    pub extra_space_mb: Option<u32>,
    /// Kinds of output, as text; none for those of `piimg.toml`.
    pub outputs: Vec<String>,
    pub compress: Option<String>,
    /// Added to those of `piimg.toml`.
    pub packages: Vec<String>,
    /// `id:name=value`.
    pub params: Vec<String>,
    /// `name=path`.
    pub assets: Vec<String>,
    /// `name=source`.
    pub secrets: Vec<String>,
    /// `name=number`, of each command of a plugin.
    pub limits: Vec<String>,
    /// A plugin's own `rootfs` and `imagedir` may be used.
    pub allow_plugin_paths: bool,
}
