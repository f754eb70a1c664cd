//! Holds what a recipe names of the host. It becomes a path, a variable or a command for piimg only here.
//!
//! A recipe decides about the image. It comes with a repository, as its plugins do, and whoever builds it has not read it:
//! so it reaches what lies in its own directory, and of the rest of the host only what the user allowed ([`super::trust`]).
//! [`RecipePath`], [`RecipeRing`] and [`RecipeSource`] are what it says; nothing can be done with them but to [`admit`] them.
//! What comes out is a [`HostPath`] or a [`Source`].

mod directory;

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

pub use directory::RecipeDirectory;
use directory::find;
use schemars::JsonSchema;
use serde::Deserialize;

use super::file::RecipeFile;
use super::overrides::Overrides;
use super::package::is_file;
use super::release::repository::Chosen;
use super::trust::Trust;
pub use crate::host_files::HostPath;
use crate::secret::source::{Form, Source};
use crate::ui::printable;

/// Variables that whoever sets them means for secrets of recipes: they need no further word.
const SECRET_VARIABLES: &str = "PIIMG_SECRET_";

/// A path as a recipe wrote it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, description = "Path, relative to the recipe.")]
pub struct RecipePath(PathBuf);

/// A key ring as a recipe wrote it: `FILE`, or `FILE#FINGERPRINT[,FINGERPRINT…]`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, description = "FILE, or FILE#FINGERPRINT[,FINGERPRINT…].")]
pub struct RecipeRing(String);

/// Source of a secret, by a recipe. It may be any value, so that no message of the parser quotes what may be a secret
/// itself.
#[derive(Clone, Debug, PartialEq, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline, description = "env:VARIABLE, file:PATH or cmd:COMMAND.")]
pub struct RecipeSource(#[schemars(with = "String")] toml::Value);

impl From<&str> for RecipePath {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl From<&str> for RecipeRing {
    fn from(text: &str) -> Self {
        Self(text.into())
    }
}

impl RecipeRing {
    /// Returns the text, for messages.
    pub fn text(&self) -> &str {
        &self.0
    }
}

/// Serialises the name of a path in a job, for a process that cannot see the host: there is no other way to read one.
pub(super) fn of_job<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<HostPath>, D::Error> {
    Ok(Option::<PathBuf>::deserialize(deserializer)?.map(HostPath::named))
}

/// Something of the host that a recipe wants to use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wish {
    pub thing: Thing,
    /// Purpose, such as: `the asset `logo``.
    purpose: String,
}

/// A thing of the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Thing {
    /// A path to be read, or to be written to.
    Path { shown: PathBuf, place: PathBuf, writes: bool },
    /// A path of which nobody can tell where it leads. It cannot be allowed.
    Nowhere(PathBuf),
    /// A variable of the environment.
    Variable(String),
    /// A shell command.
    Command(String),
}

impl Wish {
    pub(super) fn new(thing: Thing, purpose: &str) -> Self {
        Self { thing, purpose: purpose.to_owned() }
    }
}

impl fmt::Display for Wish {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { thing, purpose } = self;
        match thing {
            Thing::Path { shown, place, writes } => {
                let verb = if *writes { "writes to" } else { "reads" };
                write!(f, "{verb} `{}`, as {purpose}", printable(&place.to_string_lossy()))?;
                if shown != place {
                    write!(f, ", by the name `{}`", printable(&shown.to_string_lossy()))?;
                }
                Ok(())
            }
            Thing::Nowhere(shown) => {
                write!(f, "names `{}`, as {purpose}, which leads nowhere", printable(&shown.to_string_lossy()))
            }
            Thing::Variable(name) => write!(f, "reads the variable `{}`, for {purpose}", printable(name)),
            Thing::Command(command) => write!(f, "runs the command `{}`, for {purpose}", printable(command)),
        }
    }
}

/// Source of a recipe's secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Offer {
    Allowed(Source),
    /// Nobody needs to know unless the secret is needed.
    Refused(Wish),
    /// It has none of the forms.
    Malformed,
}

/// Things of the host that a recipe may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Admitted {
    pub plugins: Vec<HostPath>,
    pub base: Option<HostPath>,
    pub imagedir: Option<HostPath>,
    pub store: Option<HostPath>,
    pub assets: BTreeMap<String, HostPath>,
    /// Key rings, those of its own repositories included.
    pub keyrings: BTreeMap<String, Chosen>,
    pub secrets: BTreeMap<String, Offer>,
    /// Files of packages that are to be installed.
    pub packages: Vec<HostPath>,
    /// Directories of packages' files, beside the archives.
    pub package_directories: Vec<HostPath>,
}

/// Returns the door: what the recipe names and no flag stands in for, as far as it lies in the recipe's own directory
/// or the user trusts it. Reads links on the way of paths, and nothing else.
///
/// # Errors
/// All that the recipe would have to be trusted with, secrets that may not be needed included, if it is more than these.
pub fn admit(file: &RecipeFile, flags: &Overrides, trust: &Trust) -> Result<Admitted, Vec<Wish>> {
    let mut door = Door { directory: &file.directory, trust, refused: Vec::new() };
    let is_flagged = |flags: &[String], name: &str| {
        flags.iter().any(|flag| flag.split_once('=').is_some_and(|(flagged, _)| flagged == name))
    };
    let plugins = file.plugins.iter().map(|path| door.path(path, false, "a plugin")).collect();
    let base = file.base.as_ref().filter(|_| flags.base.is_none()).map(|path| door.path(path, false, "the base"));
    let imagedir = file.imagedir.as_ref().filter(|_| flags.imagedir.is_none());
    let imagedir = imagedir.map(|path| door.path(path, true, "the directory of images"));
    let store = file.rootfs.as_ref().filter(|_| flags.store.is_none()).map(|path| door.path(path, true, "the store"));
    let mut assets = BTreeMap::new();
    for (name, path) in file.assets.iter().filter(|(name, _)| !is_flagged(&flags.assets, name)) {
        assets.insert(name.clone(), door.path(path, false, &format!("the asset `{}`", printable(name))));
    }
    let files = file.packages.iter().filter(|text| is_file(text));
    let packages = files.map(|text| door.path(&RecipePath(text.into()), false, "a package")).collect();
    let directories = file.own_repositories.iter().filter_map(|own| own.path.as_ref());
    let package_directories = directories.map(|path| door.path(path, false, "a directory of packages")).collect();
    let own = file.own_repositories.iter().filter(|own| own.path.is_none()).map(|own| (&own.name, &own.keyring));
    let mut keyrings = BTreeMap::new();
    for (name, ring) in own.chain(&file.keyrings).filter(|(name, _)| !is_flagged(&flags.keyrings, name)) {
        let (path, fingerprints) = Chosen::parts(&ring.0);
        let path = RecipePath(path.into());
        let path = door.path(&path, false, &format!("the key ring `{}`", printable(name)));
        keyrings.insert(name.clone(), Chosen { path, fingerprints });
    }
    let mut secrets = BTreeMap::new();
    for (name, source) in file.secrets.iter().filter(|(name, _)| !is_flagged(&flags.secrets, name)) {
        secrets.insert(name.clone(), door.source(source, &format!("the secret `{}`", printable(name))));
    }
    let mut refused = door.refused;
    if !refused.is_empty() {
        refused.extend(refused_secrets(&secrets));
        return Err(refused);
    }
    Ok(Admitted { plugins, base, imagedir, store, assets, keyrings, secrets, packages, package_directories })
}

/// Returns the secrets among these that nobody trusts the recipe with.
pub fn refused_secrets(secrets: &BTreeMap<String, Offer>) -> Vec<Wish> {
    let refused = secrets.values().filter_map(|offer| match offer {
        Offer::Refused(wish) => Some(wish.clone()),
        _ => None,
    });
    refused.collect()
}

struct Door<'a> {
    /// The recipe's, absolute and without links; `None` where there is no recipe.
    directory: &'a RecipeDirectory,
    trust: &'a Trust,
    refused: Vec<Wish>,
}

impl Door<'_> {
    fn path(&mut self, path: &RecipePath, writes: bool, purpose: &str) -> HostPath {
        self.decide(path, writes, purpose).unwrap_or_else(|wish| {
            self.refused.push(wish);
            HostPath::default()
        })
    }

    fn decide(&self, path: &RecipePath, writes: bool, purpose: &str) -> Result<HostPath, Wish> {
        let shown = self.directory.shown.join(&path.0);
        let Some(place) = find(&self.directory.place.join(&path.0)) else {
            return Err(Wish::new(Thing::Nowhere(shown), purpose));
        };
        let is_allowed = self.trust.allows_path(&place);
        if is_allowed || self.directory.holds(&place) {
            return Ok(HostPath::admitted(shown, place, !is_allowed));
        }
        Err(Wish::new(Thing::Path { shown, place, writes }, purpose))
    }

    fn source(&self, source: &RecipeSource, purpose: &str) -> Offer {
        let refused = |thing| Offer::Refused(Wish::new(thing, purpose));
        match source.0.as_str().and_then(Form::parse) {
            None => Offer::Malformed,
            Some(Form::File(path)) => match self.decide(&RecipePath(path.into()), false, purpose) {
                Ok(path) => Offer::Allowed(Source::File(path)),
                Err(wish) => Offer::Refused(wish),
            },
            Some(Form::Env(name)) if name.starts_with(SECRET_VARIABLES) || self.trust.allows_variable(name) => {
                Offer::Allowed(Source::Env(name.to_owned()))
            }
            Some(Form::Env(name)) => refused(Thing::Variable(name.to_owned())),
            Some(Form::Command(command)) if self.trust.allows_command(command) => {
                Offer::Allowed(Source::Command(command.to_owned()))
            }
            Some(Form::Command(command)) => refused(Thing::Command(command.to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::ui::Printable as _;

    /// A clone with links that lead out of it, in a directory with other things of the host.
    struct Place(tempfile::TempDir);

    impl Place {
        fn new() -> Self {
            let place = Self(tempfile::tempdir().unwrap());
            let clone = place.path("clone");
            for name in ["clone/inside", "clone/.git", "outside/deep"] {
                fs::create_dir_all(place.path(name)).unwrap();
            }
            for (target, name) in [
                ("inside", "link-inside"),
                ("../outside", "link-out"),
                ("/etc", "link-absolute"),
                ("link-out", "link-to-link"),
                ("../nowhere/x", "link-to-nothing"),
                ("inside/none", "link-to-nothing-inside"),
                ("loop-b", "loop-a"),
                ("loop-a", "loop-b"),
            ] {
                symlink(target, clone.join(name)).unwrap();
            }
            place
        }

        fn path(&self, name: &str) -> PathBuf {
            self.0.path().canonicalize().unwrap().join(name)
        }

        fn file(&self, text: &str) -> RecipeFile {
            let directory = RecipeDirectory::open(&self.path("clone")).unwrap();
            RecipeFile { directory, ..toml::from_str(text).unwrap() }
        }
    }

    #[test]
    fn a_path_of_a_recipe_ends_in_its_own_directory() {
        let place = Place::new();
        let assets = |path: &str, trust: &Trust| {
            admit(&place.file(&format!("[assets]\na = {path:?}\n")), &Overrides::default(), trust)
        };
        for path in
            ["x", "inside/x", "./inside/../x", "link-inside/x", ".", "link-to-nothing-inside", "a/b/c", ".gitignore"]
        {
            let admitted = assets(path, &Trust::default()).unwrap_or_else(|wishes| panic!("{path}: {wishes:?}"));
            let asset = &admitted.assets["a"];
            assert!(asset.path().starts_with(place.path("clone")) && asset.is_recipes(), "{path}: {asset:?}");
        }
        let canonical = place.path("");
        let outside = canonical.printable();
        for (path, leads) in [
            ("..", canonical.clone()),
            ("../outside/x", place.path("outside/x")),
            ("inside/../../outside", place.path("outside")),
            ("/etc/shadow", "/etc/shadow".into()),
            ("/proc/self/environ", PathBuf::new()),
            ("link-out", place.path("outside")),
            ("link-out/deep/x", place.path("outside/deep/x")),
            ("link-to-link/x", place.path("outside/x")),
            ("link-to-nothing", place.path("nowhere/x")),
            ("link-absolute/passwd", "/etc/passwd".into()),
            (".git/config", place.path("clone/.git/config")),
            (".GIT/config", place.path("clone/.GIT/config")),
            (&format!("{outside}clone2"), place.path("clone2")),
        ] {
            let wishes = assets(path, &Trust::default()).expect_err(path);
            let [Wish { thing: Thing::Path { place: found, .. }, .. }] = wishes.as_slice() else {
                panic!("{wishes:?}")
            };
            assert!(*found == leads || leads == std::path::Path::new(""), "{path}: {found:?}");
            let trust = Trust::default().and(&wishes[0]);
            assert!(!assets(path, &trust).unwrap().assets["a"].is_recipes(), "{path}: the user says so then");
        }
        let long = "n".repeat(300);
        for path in ["none/../../outside", "none/..", "loop-a", "loop-a/x", &long] {
            let wishes = assets(path, &Trust::default()).expect_err(path);
            assert!(wishes[0].to_string().ends_with("as the asset `a`, which leads nowhere"), "{wishes:?}");
            // No word of the user's makes it one.
            assert_eq!(assets(path, &Trust::default().and(&wishes[0])), Err(wishes));
        }
        // No file is called so.
        let nul = place.file("[assets]\na = 'x'\nb = \"a\\u0000b\"\n");
        let wishes = admit(&nul, &Overrides::default(), &Trust::default()).unwrap_err();
        assert!(wishes[0].to_string().ends_with("as the asset `b`, which leads nowhere"), "{wishes:?}");
    }

    #[test]
    fn each_key_goes_through_the_door() {
        let place = Place::new();
        let text = "plugins = ['../p.wasm']\nbase = '/b.img'\nimagedir = '/i'\nrootfs = '/s'\n\
                    [assets]\na = '/a'\n[keyrings]\nk = '/k.gpg'\n\
                    [[repository]]\nname = 'r'\nkeyring = '/r.gpg#AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA'\n\
                    [secrets]\nc = 'cmd:id'\nv = 'env:TOKEN'\nf = 'file:/f'\nown = 'env:PIIMG_SECRET_X'\nbad = 3\n";
        let wishes = admit(&place.file(text), &Overrides::default(), &Trust::default()).unwrap_err();
        let outside = place.path("");
        let outside = outside.printable();
        assert_eq!(
            wishes.iter().map(ToString::to_string).collect::<Vec<_>>(),
            [
                format!("reads `{outside}p.wasm`, as a plugin, by the name `{outside}clone/../p.wasm`"),
                "reads `/b.img`, as the base".into(),
                "writes to `/i`, as the directory of images".into(),
                "writes to `/s`, as the store".into(),
                "reads `/a`, as the asset `a`".into(),
                "reads `/r.gpg`, as the key ring `r`".into(),
                "reads `/k.gpg`, as the key ring `k`".into(),
                "runs the command `id`, for the secret `c`".into(),
                "reads `/f`, as the secret `f`".into(),
                "reads the variable `TOKEN`, for the secret `v`".into(),
            ]
        );
        // What the command line says instead is the user's.
        let owned = |text: &str| vec![text.to_owned()];
        let flags = Overrides {
            base: Some("/b".into()),
            imagedir: Some("/i".into()),
            store: Some("/s".into()),
            assets: owned("a=/b"),
            keyrings: vec!["k=/k".into(), "r=/r".into()],
            secrets: vec!["c=cmd:x".into(), "v=env:X".into()],
            ..Overrides::default()
        };
        let wishes = admit(&place.file(text), &flags, &Trust::default()).unwrap_err();
        assert_eq!(wishes.len(), 2, "{wishes:?}");
        let trust = wishes.iter().fold(Trust::default(), Trust::and);
        let admitted = admit(&place.file(text), &flags, &trust).unwrap();
        assert_eq!(admitted.secrets["own"], Offer::Allowed(Source::Env("PIIMG_SECRET_X".into())));
        assert_eq!(admitted.secrets["bad"], Offer::Malformed);
        assert!(admitted.assets.is_empty() && admitted.base.is_none());
    }

    #[test]
    fn a_link_that_comes_later_is_not_followed() {
        let place = Place::new();
        fs::write(place.path("clone/inside/a"), "own").unwrap();
        fs::write(place.path("outside/a"), "canary").unwrap();
        let file = place.file("imagedir = 'inside/new'\n[assets]\na = 'inside/a'\n");
        let admitted = admit(&file, &Overrides::default(), &Trust::default()).unwrap();
        let read = || admitted.assets["a"].open().map(|file| std::io::read_to_string(file).unwrap());
        assert_eq!(read().unwrap(), "own");
        fs::rename(place.path("clone/inside"), place.path("clone/moved")).unwrap();
        symlink("../outside", place.path("clone/inside")).unwrap();
        assert!(read().is_err());
        let error = admitted.imagedir.unwrap().create_directory().unwrap_err().to_string();
        assert_eq!(error, "`inside` is a symbolic link");
        assert!(!place.path("outside/new").exists());
    }
}
