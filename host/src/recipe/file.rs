//! Parses `piimg.toml`, the user's description of an image.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use schemars::JsonSchema;
use serde::Deserialize;

use super::fetching::Fetching;
use super::host::{RecipeDirectory, RecipePath, RecipeRing, RecipeSource};
use super::layers;
use super::limits::CommandLimits;
use super::repository::OwnRepository;
use super::spelling;
use crate::error::{Context, Failure, Result, with_cause};
use crate::ui::{Printable as _, printable};

/// Most bytes of a recipe.
const LIMIT: u64 = 1 << 20;

/// The file's content; paths in it are relative to the file, and are none before [`super::host::admit`] made them some.
///
/// What the fields' comments say is shown by editors: they are the descriptions of `piimg schema`.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
#[schemars(title = "Recipe of an image", description = "What piimg builds, as it is read from piimg.toml.")]
pub struct RecipeFile {
    /// Files of the recipe's directory that this one lies over: lists add up, and what this file says of anything else wins.
    // `read` leaves none here.
    pub include: Vec<String>,
    /// Profiles by name, for `--profile`: what lies over the rest.
    // `read` leaves none here.
    pub profile: BTreeMap<String, Self>,
    /// Release of the distribution, by its code name.
    pub release: Option<String>,
    /// Architecture of the image, as Debian calls it; by default the release's first.
    #[serde(alias = "arch")]
    pub architecture: Option<String>,
    /// Image, or archive of a root file system, to build on in place of a bootstrap.
    pub base: Option<RecipePath>,
    /// Mirror of the release's own repository.
    pub mirror: Option<String>,
    /// Mirrors of other repositories, by name.
    pub mirrors: BTreeMap<String, String>,
    /// Whether the image has the mirrors too, in place of the release's own archives.
    pub keep_mirror: bool,
    /// State of the archive that is meant, by its time in UTC: 2025-06-01, or 20250601T120000Z.
    pub snapshot: Option<String>,
    /// Address of snapshots of the release's own repository, with `{timestamp}` for the time.
    pub snapshot_mirror: Option<String>,
    /// Files with the keys of repositories, by name, with `#` and fingerprints behind it if other keys are meant than those of the
    /// release.
    pub keyrings: BTreeMap<String, RecipeRing>,
    /// Repositories of the release that are used only on request.
    pub repositories: Vec<String>,
    /// Repositories that no release has.
    #[serde(rename = "repository")]
    pub own_repositories: Vec<OwnRepository>,
    /// Name of the machine.
    pub hostname: Option<String>,
    /// Second part of the image's file name.
    pub flavour: Option<String>,
    /// Directory that receives the image.
    pub imagedir: Option<RecipePath>,
    /// Directory of the store, with layers and packages.
    // Under the original scripts' name.
    #[serde(alias = "store")]
    pub rootfs: Option<RecipePath>,
    /// Free space in the root file system, in MiB.
    pub rootfs_extra_space_mb: Option<u32>,
    /// Results to make; the image by default.
    pub output: Vec<String>,
    /// Compression of image and archive: none, zstd, zstd:LEVEL, xz or xz:LEVEL.
    pub compress: Option<String>,
    /// Packages to install, name, name=version or the path of a file such as ./app.deb: with the base layer, or on top of a base.
    pub packages: Vec<String>,
    /// Packages of the release, with what they brought, that the image must not have.
    pub remove_packages: Vec<String>,
    /// Plugins, in the order in which they run.
    pub plugins: Vec<RecipePath>,
    /// Models that must be able to boot the image; by default all of the release.
    pub models: Vec<String>,
    /// Seconds since 1970; the environment's `SOURCE_DATE_EPOCH` wins.
    pub source_date_epoch: Option<u64>,
    pub user: UserFile,
    pub limits: CommandLimits,
    pub downloads: Fetching,
    /// Values of plugins' parameters: by the plugin's id, then by name.
    #[schemars(with = "BTreeMap<String, BTreeMap<String, serde_json::Value>>")]
    pub params: BTreeMap<String, BTreeMap<String, toml::Value>>,
    /// Files and directories for the plugins, by name.
    pub assets: BTreeMap<String, RecipePath>,
    /// Sources of the values of secrets, by name: `env:VARIABLE`, `file:PATH` or `cmd:COMMAND`.
    pub secrets: BTreeMap<String, RecipeSource>,
    /// Directory that paths are relative to.
    #[serde(skip)]
    pub directory: RecipeDirectory,
}

/// The image's first user.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct UserFile {
    /// Name; the release's user by default.
    pub name: Option<String>,
    /// Password, in plain text.
    pub password: Option<String>,
    /// Hash of the password as in `/etc/shadow` (<https://man7.org/linux/man-pages/man5/shadow.5.html>); `*` for none, to log in
    /// with a key only.
    pub password_hash: Option<String>,
    /// Whether the first login must change the password; the default is yes, unless a hash or password is given.
    pub expire_password: Option<bool>,
    /// Further groups, beside the release's own for the first user.
    pub groups: Vec<String>,
    /// Public keys that may log in by ssh, each as a line of `authorized_keys`.
    pub authorized_keys: Vec<String>,
}

impl RecipeFile {
    /// Reads `path` with all that it includes, and with `profile` over it.
    ///
    /// # Errors
    /// [`Failure::usage`] if one of the files cannot be read or says something unknown, with the line, or if there is no such
    /// profile.
    pub fn read(path: &Path, profile: Option<&str>) -> Result<Self> {
        let cannot_read = || Failure::usage(format!("cannot read `{}`", path.printable()));
        let directory = RecipeDirectory::open(path.parent().unwrap_or(Path::new(""))).with_context(cannot_read)?;
        let name = path.file_name().context("it has no name").with_context(cannot_read)?;
        let name = name.to_str().context("its name is not UTF-8").with_context(cannot_read)?;
        let mut read = |file: &str| Self::read_one(&directory, file, &path.with_file_name(file), file != name);
        let table = layers::gather(name, profile, &mut read)?;
        let together = || Failure::usage(format!("cannot use `{}` with what it includes", path.printable()));
        let file: Self = table.try_into().with_context(together)?;
        Ok(Self { directory, ..file })
    }

    /// Reads a file of the recipe, and checks it by itself: of the whole, no message could name a line.
    fn read_one(directory: &RecipeDirectory, name: &str, shown: &Path, is_included: bool) -> Result<toml::Table> {
        let cannot_read = || Failure::usage(format!("cannot read `{}`", shown.printable()));
        // Whoever made the link may be curious what a message says of another file.
        let itself = directory.recipe(Path::new(name)).with_context(|| {
            cannot_read().hint(if is_included {
                "a recipe includes files of its own directory, and of those below it"
            } else {
                "it is a link that leads out of its directory: name the file itself with --recipe"
            })
        })?;
        let mut text = String::new();
        let source = itself.open().with_context(cannot_read)?;
        source.take(LIMIT + 1).read_to_string(&mut text).with_context(cannot_read)?;
        if u64::try_from(text.len()).is_ok_and(|length| length > LIMIT) {
            return Err(
                Failure::usage(format!("`{}` is bigger than 1 MiB: it is not a recipe", shown.printable())).into()
            );
        }
        let cannot_use = || Failure::usage(format!("cannot use `{}`", shown.printable()));
        let file = Self::parse(&text).map_err(|error| {
            let hint = spelling::hint(error.message());
            let failure = hint.into_iter().fold(cannot_use(), Failure::hint);
            with_cause(error.into(), failure)
        })?;
        for (name, profile) in &file.profile {
            if !is_profile(name) {
                let rule = "must be of ASCII letters, digits, `-` and `_`";
                return Err(with_cause(anyhow::anyhow!("the profile `{}` {rule}", printable(name)), cannot_use()));
            }
            if !profile.include.is_empty() || !profile.profile.is_empty() {
                let cause = anyhow::anyhow!("the profile `{name}` has `include` or `profile`, as only a file may");
                return Err(with_cause(cause, cannot_use()));
            }
        }
        text.parse().with_context(cannot_use)
    }

    fn parse(text: &str) -> Result<Self, toml::de::Error> {
        toml::from_str(text)
    }
}

/// Returns whether a profile may have that name, which becomes a part of a file's.
fn is_profile(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
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
        let file = RecipeFile::read(&path, None).unwrap();
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
        assert_eq!(RecipeFile::read(&clone.join("inside.toml"), None).unwrap().hostname.as_deref(), Some("a"));
        let report = crate::error::report(&RecipeFile::read(&clone.join("piimg.toml"), None).unwrap_err());
        assert_eq!(report.messages, [format!("cannot read `{}/piimg.toml`", clone.printable())]);
        assert!(report.hints[0].starts_with("it is a link that leads out of its directory"), "{report:?}");
    }

    #[test]
    fn a_file_lies_over_what_it_includes_and_a_profile_over_the_file() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::create_dir(dir.path().join("shared")).unwrap();
        write("shared/base.toml", "packages = ['htop']\nhostname = 'base'\n[assets]\nlogo = 'logo.png'\n");
        write(
            "piimg.toml",
            "include = ['shared/base.toml']\nhostname = 'robot'\n[profile.dev]\npackages = ['gdb']\nflavour = 'dev'\n",
        );
        let path = dir.path().join("piimg.toml");
        let plain = RecipeFile::read(&path, None).unwrap();
        assert_eq!((plain.packages.as_slice(), plain.hostname.as_deref()), (&["htop".to_owned()][..], Some("robot")));
        assert!(plain.include.is_empty() && plain.profile.is_empty(), "{plain:?}");
        // A path is the recipe's, whichever file names it.
        assert_eq!(plain.assets["logo"], "logo.png".into());
        let dev = RecipeFile::read(&path, Some("dev")).unwrap();
        assert_eq!(
            (dev.packages.as_slice(), dev.flavour.as_deref()),
            (&["htop".to_owned(), "gdb".to_owned()][..], Some("dev"))
        );
        for (text, messages) in [
            (
                "include = ['none.toml']\n",
                &["cannot read `DIR/none.toml`", "No such file or directory (os error 2)"][..],
            ),
            ("include = ['../other.toml']\n", &["cannot read `DIR/../other.toml`"]),
            ("include = ['piimg.toml']\n", &["the recipe's file `piimg.toml` includes itself"]),
            (
                "[profile.dev]\ninclude = ['x']\n",
                &["cannot use `DIR/piimg.toml`", "the profile `dev` has `include` or `profile`, as only a file may"],
            ),
            (
                "[profile.'a/b']\n",
                &["cannot use `DIR/piimg.toml`", "the profile `a/b` must be of ASCII letters, digits, `-` and `_`"],
            ),
        ] {
            write("piimg.toml", text);
            let report = crate::error::report(&RecipeFile::read(&path, None).unwrap_err());
            let expected: Vec<String> =
                messages.iter().map(|message| message.replace("DIR", &dir.path().printable())).collect();
            assert_eq!(report.messages, expected, "{text}");
        }
        write("piimg.toml", "include = ['shared/base.toml']\n");
        write("shared/base.toml", "\nhostnam = 'x'\n");
        let report = crate::error::report(&RecipeFile::read(&path, None).unwrap_err());
        assert_eq!(report.messages[0], format!("cannot use `{}/shared/base.toml`", dir.path().printable()));
        assert!(report.messages[1].contains("line 2") && report.hints[0].contains("`hostname`"), "{report:?}");
    }

    #[test]
    fn a_huge_file_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("piimg.toml");
        std::fs::File::create(&path).unwrap().set_len(100 << 20).unwrap();
        let error = RecipeFile::read(&path, None).unwrap_err();
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
