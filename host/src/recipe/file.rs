//! `piimg.toml`: the user's description of an image.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use serde::Deserialize;

use super::fetching::Fetching;
use super::host::{RecipeDirectory, RecipePath, RecipeRing, RecipeSource};
use super::limits::CommandLimits;
use super::repository::OwnRepository;
use crate::error::{Context, Failure, Result};
use crate::ui::Printable as _;

/// Most bytes of a recipe.
const LIMIT: u64 = 1 << 20;

/// The file's content; paths in it are relative to the file, and are none before [`super::host::admit`] made them some.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct RecipeFile {
    pub release: Option<String>,
    #[serde(alias = "arch")]
    pub architecture: Option<String>,
    /// Image, or archive of a root file system, in place of a bootstrap.
    pub base: Option<RecipePath>,
    /// Of the release's own repository.
    pub mirror: Option<String>,
    /// Repository → mirror.
    pub mirrors: BTreeMap<String, String>,
    /// Whether the image has the mirrors too.
    pub keep_mirror: bool,
    /// The state of the archive that is meant, by its time.
    pub snapshot: Option<String>,
    /// Where states of the release's own repository are kept, with `{timestamp}` for the time.
    pub snapshot_mirror: Option<String>,
    /// Key ring → file, with `#` and fingerprints behind it if other keys are meant than those of the release.
    pub keyrings: BTreeMap<String, RecipeRing>,
    /// Those of the release that are used only if somebody asks for them.
    pub repositories: Vec<String>,
    /// Those that no release has.
    #[serde(rename = "repository")]
    pub own_repositories: Vec<OwnRepository>,
    pub hostname: Option<String>,
    pub flavour: Option<String>,
    pub imagedir: Option<RecipePath>,
    /// Directory of the store, under the original scripts' name.
    #[serde(alias = "store")]
    pub rootfs: Option<RecipePath>,
    pub rootfs_extra_space_mb: Option<u32>,
    /// Kinds of output, as text.
    pub output: Vec<String>,
    /// Format of the image file, with or without a level.
    pub compress: Option<String>,
    /// Installed with the base layer, or on top of what [`RecipeFile::base`] names.
    pub packages: Vec<String>,
    /// Those of the release, and what they brought, that the image is not to have.
    pub remove_packages: Vec<String>,
    /// Components, in the order in which they run.
    pub plugins: Vec<RecipePath>,
    pub models: Vec<String>,
    /// Seconds since 1970; the environment's `SOURCE_DATE_EPOCH` wins.
    pub source_date_epoch: Option<u64>,
    pub user: UserFile,
    /// Of each command of a plugin.
    pub limits: CommandLimits,
    /// How files are fetched.
    pub downloads: Fetching,
    /// Plugin id → parameter → value.
    pub params: BTreeMap<String, BTreeMap<String, toml::Value>>,
    /// Name → file.
    pub assets: BTreeMap<String, RecipePath>,
    /// Name → where its value comes from.
    pub secrets: BTreeMap<String, RecipeSource>,
    /// What paths are relative to.
    #[serde(skip)]
    pub directory: RecipeDirectory,
}

/// The first user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct UserFile {
    pub name: Option<String>,
    pub password: Option<String>,
    /// As in `/etc/shadow`; `*` for none, to log in with a key only.
    pub password_hash: Option<String>,
    /// Whether the first login must change the password; the default is yes, unless a hash or password is given.
    pub expire_password: Option<bool>,
    /// Further groups, beside the release's own for the first user.
    pub groups: Vec<String>,
    pub authorized_keys: Vec<String>,
}

impl RecipeFile {
    /// Reads `path`.
    ///
    /// # Errors
    /// [`Failure::usage`] if it cannot be read or says something unknown, with the line.
    pub fn read(path: &Path) -> Result<Self> {
        let cannot_read = || Failure::usage(format!("cannot read `{}`", path.printable()));
        let directory = RecipeDirectory::open(path.parent().unwrap_or(Path::new(""))).with_context(cannot_read)?;
        let name = path.file_name().context("it has no name").with_context(cannot_read)?;
        // Whoever made the link may be curious what a message says of another file.
        let itself = directory.recipe(Path::new(name)).with_context(|| {
            cannot_read().hint("it is a link that leads out of its directory: name the file itself with --recipe")
        })?;
        let mut text = String::new();
        let source = itself.open().with_context(cannot_read)?;
        source.take(LIMIT + 1).read_to_string(&mut text).with_context(cannot_read)?;
        if u64::try_from(text.len()).is_ok_and(|length| length > LIMIT) {
            return Err(
                Failure::usage(format!("`{}` is bigger than 1 MiB: it is not a recipe", path.printable())).into()
            );
        }
        let mut file =
            Self::parse(&text).with_context(|| Failure::usage(format!("cannot use `{}`", path.printable())))?;
        file.directory = directory;
        Ok(file)
    }

    fn parse(text: &str) -> Result<Self> {
        Ok(toml::from_str(text)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_recipe_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("piimg.toml");
        std::fs::write(
            &path,
            "release = \"trixie\"\nrootfs-extra-space-mb = 5\nplugins = [\"a.wasm\", \"/b.wasm\"]\n\
             [user]\nname = \"ann\"\n[params.\"me/a\"]\ncolour = \"red\"\ncount = 3\n[assets]\nlogo = \"logo.png\"\n",
        )
        .unwrap();
        let file = RecipeFile::read(&path).unwrap();
        assert_eq!(file.plugins, ["a.wasm".into(), "/b.wasm".into()]);
        assert_eq!(file.assets["logo"], "logo.png".into());
        assert_eq!(file.directory, RecipeDirectory::open(dir.path()).unwrap());
        assert_eq!(file.params["me/a"]["count"].as_integer(), Some(3));
    }

    #[test]
    fn the_original_and_the_short_names_are_known() {
        let file = RecipeFile::parse("arch = \"arm64\"\nstore = \"/s\"\nsource-date-epoch = 9\n").unwrap();
        assert_eq!((file.architecture.as_deref(), file.rootfs), (Some("arm64"), Some("/s".into())));
        assert_eq!(file.source_date_epoch, Some(9));
    }

    #[test]
    fn a_link_is_read_only_in_the_recipes_own_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (clone, secret) = (dir.path().join("clone"), dir.path().join("secret"));
        std::fs::create_dir(&clone).unwrap();
        std::fs::write(&secret, "root:hash").unwrap();
        std::fs::write(clone.join("real.toml"), "hostname = 'a'\n").unwrap();
        std::os::unix::fs::symlink("real.toml", clone.join("inside.toml")).unwrap();
        std::os::unix::fs::symlink(&secret, clone.join("piimg.toml")).unwrap();
        assert_eq!(RecipeFile::read(&clone.join("inside.toml")).unwrap().hostname.as_deref(), Some("a"));
        let report = crate::error::report(&RecipeFile::read(&clone.join("piimg.toml")).unwrap_err());
        assert_eq!(report.messages, [format!("cannot read `{}/piimg.toml`", clone.printable())]);
        assert!(report.hints[0].starts_with("it is a link that leads out of its directory"), "{report:?}");
    }

    #[test]
    fn a_huge_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("piimg.toml");
        std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let error = RecipeFile::read(&path).unwrap_err();
        assert!(error.to_string().contains("bigger than 1 MiB"), "{error}");
    }

    #[test]
    fn mistakes_are_named_with_their_line() {
        for (text, expected) in [
            ("release = \"x\"\nhostnam = \"y\"\n", "unknown field `hostnam`"),
            ("rootfs-extra-space-mb = -1\n", "invalid value"),
            ("[user]\nname = 3\n", "invalid type"),
            ("[limits]\nmemory = 3\n", "unknown field `memory`"),
            ("[limits]\nfiles = -3\n", "invalid value"),
            ("release = \n", "line 1"),
            ("hostname = \"a\"\nhostname = \"b\"\n", "duplicate key"),
            (&format!("models = {}", "[".repeat(10_000)), "recursion"),
        ] {
            let error = format!("{:#}", RecipeFile::parse(text).unwrap_err());
            assert!(error.contains(expected) && error.contains("line"), "{text:?}: {error}");
        }
    }
}
