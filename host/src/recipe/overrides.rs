//! Holds the command line's values for a build. They are parsed where clap is, in `cli`; here is what there is to say.

use std::path::PathBuf;

use clap::Args;

use super::store_limit::Limit;

/// Headings under which the help of a command lists its options.
pub mod heading {
    pub const PLUGINS: &str = "Recipe and plugins";
    pub const IMAGE: &str = "Image";
    pub const PACKAGES: &str = "Packages";
    pub const GRANTS: &str = "Grants";
    pub const RESULTS: &str = "Results";
    pub const MACHINE: &str = "This machine";
}

use heading::{GRANTS, IMAGE, MACHINE, PACKAGES, PLUGINS, RESULTS};

/// Values of flags; each one given wins over `piimg.toml` and over the plugins. Repositories and packages are added to
/// those of `piimg.toml`.
#[derive(Args, Clone, Debug, Default)]
pub struct Overrides {
    /// Release of the distribution.
    #[arg(long, help_heading = IMAGE)]
    pub release: Option<String>,
    /// Architecture of the image, as Debian calls it.
    #[arg(long = "arch", value_name = "ARCH", visible_alias = "architecture", help_heading = IMAGE)]
    pub architecture: Option<String>,
    /// Image, or tar archive of a root file system, to build on in place of a bootstrap; may be compressed.
    #[arg(long, value_name = "FILE", help_heading = IMAGE)]
    pub base: Option<PathBuf>,
    /// Mirror to take packages from, of the release's own repository or of the one named; may be repeated.
    #[arg(long = "mirror", value_name = "[NAME=]URL", help_heading = PACKAGES)]
    pub mirrors: Vec<String>,
    /// Key ring of a repository, with a fingerprint if another key is meant than the release names; may be repeated.
    #[arg(long = "keyring", value_name = "NAME=FILE[#KEY]", help_heading = PACKAGES)]
    pub keyrings: Vec<String>,
    /// Repository of the release that is used only if asked for; may be repeated.
    #[arg(long = "repository", value_name = "NAME", help_heading = PACKAGES)]
    pub repositories: Vec<String>,
    /// State of the archive of that time, from a mirror that keeps old ones: 2025-06-01 or 20250601T120000Z.
    #[arg(long, value_name = "TIME", help_heading = PACKAGES)]
    pub snapshot: Option<String>,
    /// Proxy for apt, in place of the environment's.
    #[arg(long, value_name = "URL", help_heading = PACKAGES)]
    pub apt_proxy: Option<String>,
    /// Fetch nothing: build from what the store holds.
    #[arg(long, conflicts_with = "refresh", help_heading = PACKAGES)]
    pub offline: bool,
    /// Name of the machine.
    #[arg(long, help_heading = IMAGE)]
    pub hostname: Option<String>,
    /// Second part of the image's file name.
    #[arg(long, help_heading = IMAGE)]
    pub flavour: Option<String>,
    /// Directory that receives the image; the current one by default.
    #[arg(long, value_name = "DIR", help_heading = RESULTS)]
    pub imagedir: Option<PathBuf>,
    /// Directory of layers and packages, kept between builds.
    #[arg(long, value_name = "DIR", help_heading = MACHINE)]
    pub store: Option<PathBuf>,
    /// How much may be in the store, such as 20G, 25% of its disk, or none: what was not used for longest is removed.
    #[arg(long, value_name = "SIZE", value_parser = Limit::parse, help_heading = MACHINE)]
    pub store_limit: Option<Limit>,
    /// Free space in the root file system, in MiB.
    #[arg(long = "rootfs-extra-space-mb", value_name = "MIB", help_heading = IMAGE)]
    pub extra_space_mb: Option<u32>,
    /// What to make: image, tar, partitions or directory, with commas between several; the image by default.
    #[arg(long = "output", value_name = "KIND", value_delimiter = ',', help_heading = RESULTS)]
    pub outputs: Vec<String>,
    /// Make the root file system alone, as a tar archive: the same as `--output tar`.
    #[arg(long, conflicts_with = "outputs", help_heading = RESULTS)]
    pub rootfs_only: bool,
    /// Compress image and archive: none, zstd[:LEVEL] or xz[:LEVEL].
    #[arg(long, value_name = "HOW", help_heading = RESULTS)]
    pub compress: Option<String>,
    /// Package to install with the base: a name, or a path such as ./app.deb; may be repeated.
    #[arg(long = "package", value_name = "NAME|FILE", help_heading = PACKAGES)]
    pub packages: Vec<String>,
    /// Value of a plugin's parameter; may be repeated.
    #[arg(long = "param", value_name = "ID:NAME=VALUE", help_heading = PLUGINS)]
    pub params: Vec<String>,
    /// File for the plugins, or directory of files; may be repeated.
    #[arg(long = "asset", value_name = "NAME=PATH", help_heading = PLUGINS)]
    pub assets: Vec<String>,
    /// Where a secret comes from: file:PATH, env:VARIABLE or cmd:COMMAND; may be repeated.
    #[arg(long = "secret", value_name = "NAME=SOURCE", help_heading = PLUGINS)]
    pub secrets: Vec<String>,
    /// What a command of a plugin may use: memory-mb, processes, disk-mb, files or minutes; may be repeated.
    #[arg(long = "limit", value_name = "NAME=NUMBER", help_heading = GRANTS)]
    pub limits: Vec<String>,
    /// A plugin's own `rootfs` and `imagedir` may be used. Its flag stands among those of trust.
    #[arg(skip)]
    pub allow_plugin_paths: bool,
}

impl Overrides {
    /// Returns the kinds of output that are asked for, as text; none for those of `piimg.toml`.
    pub fn outputs(&self) -> Vec<String> {
        if self.rootfs_only { vec!["tar".into()] } else { self.outputs.clone() }
    }
}
