//! Decides what a recipe may use beyond its own directory: by the user's own `~/.config/piimg/config.toml`, or a yes at
//! the terminal.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use super::config::Config;
use super::host::{RecipeDirectory, Thing, Wish};
use crate::error::{Context as _, Failure, Result};
use crate::home::Home;
use crate::ui::{Printable as _, printable};

/// Things of the host that a recipe may use.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trust {
    /// Paths, with everything below them.
    paths: Vec<PathBuf>,
    /// Word for word.
    commands: Vec<String>,
    variables: Vec<String>,
}

impl Trust {
    /// Reads what the user's configuration allows to recipes in that directory; nothing without a configuration.
    ///
    /// # Errors
    /// [`Failure::usage`] if it cannot be read, somebody else could have written it, or it says something unknown.
    pub fn of_user(home: Option<&Home>, recipe: &RecipeDirectory) -> Result<Self> {
        let config = Config::of_user(home)?;
        let cannot_use = || {
            let path = home.map(|home| home.config_file().printable()).unwrap_or_default();
            Failure::usage(format!("cannot use `{path}`"))
        };
        Self::of(config, recipe.place()).with_context(cannot_use)
    }

    fn of(config: Config, directory: &Path) -> Result<Self> {
        let mut all = Self::default();
        for entry in config.recipe {
            for path in entry.paths.iter().chain([&entry.directory]) {
                anyhow::ensure!(path.is_absolute(), "`{}` is no absolute path", printable(&path.to_string_lossy()));
            }
            if entry.directory.canonicalize().is_ok_and(|allowed| allowed == directory) {
                all.paths.extend(entry.paths);
                all.commands.extend(entry.commands);
                all.variables.extend(entry.variables);
            }
        }
        Ok(all)
    }

    #[cfg(test)]
    fn parse(text: &str, directory: &Path) -> Result<Self> {
        Self::of(Config::parse(text)?, directory)
    }

    /// Adds something that the user agreed to.
    #[must_use]
    pub fn and(mut self, wish: &Wish) -> Self {
        match &wish.thing {
            Thing::Path { place, .. } => self.paths.push(place.clone()),
            Thing::Variable(name) => self.variables.push(name.clone()),
            Thing::Command(command) => self.commands.push(command.clone()),
            Thing::Nowhere(_) => {}
        }
        self
    }

    /// Returns whether that path, absolute and without links, or what it is in may be used.
    pub(super) fn allows_path(&self, place: &Path) -> bool {
        // A path of the user's may itself lead by a link; what is not there yet is what it is called.
        self.paths.iter().any(|allowed| place.starts_with(allowed.canonicalize().unwrap_or_else(|_| allowed.clone())))
    }

    pub(super) fn allows_command(&self, command: &str) -> bool {
        self.commands.iter().any(|allowed| allowed == command)
    }

    pub(super) fn allows_variable(&self, name: &str) -> bool {
        self.variables.iter().any(|allowed| allowed == name)
    }
}

/// Describes everything that a recipe wants, one line each.
pub fn lines(wishes: &[Wish]) -> Vec<String> {
    wishes.iter().map(|wish| format!("  {wish}")).collect()
}

/// Returns the refusal of what nobody trusts the recipe with, with what to do about it. `can_ask`: whether the command
/// at hand knows `--trust-recipe`.
pub fn refuse(wishes: &[Wish], directory: &RecipeDirectory, home: Option<&Home>, can_ask: bool) -> Failure {
    let list = lines(wishes).join("\n");
    let failure = Failure::grant(format!(
        "the recipe in `{}` wants to use what is not its own:\n{list}",
        printable(&directory.place().to_string_lossy())
    ));
    if wishes.iter().all(|wish| matches!(wish.thing, Thing::Nowhere(_))) {
        return failure.hint("correct the recipe: no trust makes it lead anywhere");
    }
    let file = home.map_or_else(|| "~/.config/piimg/config.toml".to_owned(), |home| home.config_file().printable());
    let mut failure = failure.hint(format!(
        "if you trust it with all of that, add to `{}`:\n{}",
        printable(&file),
        entry(wishes, directory)
    ));
    if can_ask {
        failure = failure.hint("or agree for this time, at a terminal: --trust-recipe");
    }
    failure.hint("or name each on the command line in place of the recipe")
}

/// Returns the lines of the user's configuration that allow just that.
fn entry(wishes: &[Wish], directory: &RecipeDirectory) -> String {
    let mut text = format!("[[recipe]]\ndirectory = {}", quoted(&directory.place().to_string_lossy()));
    let mut list = |name: &str, of: fn(&Thing) -> Option<String>| {
        let mut values: Vec<String> = Vec::new();
        for value in wishes.iter().filter_map(|wish| of(&wish.thing)).map(|value| quoted(&value)) {
            if !values.contains(&value) {
                values.push(value);
            }
        }
        if !values.is_empty() {
            write!(text, "\n{name} = [{}]", values.join(", ")).expect("a string takes everything");
        }
    };
    list("paths", |thing| match thing {
        Thing::Path { place, .. } => Some(place.to_string_lossy().into_owned()),
        _ => None,
    });
    list("commands", |thing| match thing {
        Thing::Command(command) => Some(command.clone()),
        _ => None,
    });
    list("variables", |thing| match thing {
        Thing::Variable(name) => Some(name.clone()),
        _ => None,
    });
    text
}

/// Returns a string as TOML writes it, in which nothing hides.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            _ if printable(c.encode_utf8(&mut [0; 4])).starts_with('\\') => {
                write!(out, "\\U{:08X}", u32::from(c)).expect("a string takes everything");
            }
            _ => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_directory_has_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let here = dir.path().canonicalize().unwrap();
        std::fs::create_dir(here.join("other")).unwrap();
        std::os::unix::fs::symlink(&here, here.join("link")).unwrap();
        let text = format!(
            "[[recipe]]\ndirectory = '{0}/link'\npaths = ['/srv/keys', '{0}/link']\ncommands = ['a b']\n\
             [[recipe]]\ndirectory = '{0}/other'\nvariables = ['TOKEN']\n",
            here.printable()
        );
        let trust = Trust::parse(&text, &here).unwrap();
        for (path, allowed) in [
            (Path::new("/srv/keys"), true),
            (Path::new("/srv/keys/a.gpg"), true),
            (Path::new("/srv/keys2"), false),
            (Path::new("/srv"), false),
            (&here.join("x"), true),
        ] {
            assert_eq!(trust.allows_path(path), allowed, "{}", path.printable());
        }
        assert!(trust.allows_command("a b") && !trust.allows_command("a b; c") && !trust.allows_command("a"));
        assert!(!trust.allows_variable("TOKEN"));
        assert!(Trust::parse(&text, &here.join("other")).unwrap().allows_variable("TOKEN"));
        assert_eq!(Trust::parse(&text, Path::new("/")).unwrap(), Trust::default());
        for (text, why) in [
            ("[[recipe]]\ndirectory = '~/x'", "`~/x` is no absolute path"),
            ("[[recipe]]\ndirectory = '/x'\npaths = ['y']", "`y` is no absolute path"),
            ("[[recipe]]\npaths = []", "missing field `directory`"),
            ("[[recipe]]\ndirectory = '/x'\ncommand = []", "unknown field `command`"),
            ("[trust]", "unknown field `trust`"),
        ] {
            let error = format!("{:#}", Trust::parse(text, &here).unwrap_err());
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn what_was_agreed_to_is_allowed_and_nothing_else() {
        let wish = |thing| Wish::new(thing, "the secret `a`");
        let trust = Trust::default().and(&wish(Thing::Command("x".into()))).and(&wish(Thing::Path {
            shown: "b".into(),
            place: "/a/b".into(),
            writes: false,
        }));
        assert!(trust.allows_command("x") && trust.allows_path(Path::new("/a/b/c")));
        assert!(!trust.allows_path(Path::new("/a")) && !trust.allows_variable("x"));
    }

    #[test]
    fn the_lines_to_add_are_whole_and_hide_nothing() {
        let command = "echo \"a\\b\"\n# \u{202e}x \u{1b}[2K";
        let wishes = [
            Wish::new(Thing::Command(command.into()), "the secret `a`"),
            Wish::new(Thing::Path { shown: "x".into(), place: "/etc/ä".into(), writes: true }, "the store"),
            Wish::new(Thing::Variable("TOKEN".into()), "the secret `b`"),
        ];
        let directory = RecipeDirectory::open(Path::new("/usr")).unwrap();
        let text = entry(&wishes, &directory);
        assert!(!text.contains('\u{202e}') && !text.contains('\u{1b}') && text.lines().count() == 5, "{text}");
        let trust = Trust::parse(&text, directory.place()).unwrap();
        assert!(trust.allows_command(command) && trust.allows_variable("TOKEN"));
        assert!(trust.allows_path(Path::new("/etc/ä")));
        let shown = lines(&wishes).join("\n");
        assert!(shown.contains("  writes to `/etc/ä`, as the store, by the name `x`\n"), "{shown}");
        assert!(shown.contains("# \\u{202e}x \\u{1b}[2K`, for the secret `a`\n"), "{shown}");
    }
}
