//! Implements `piimg init`.

use std::path::{Path, PathBuf};

use clap::Args;

use super::recipe::RECIPE;
use crate::error::{Context as _, Failure, Result};
use crate::host_files::{Directory, Links, for_user};
use crate::ui::{Printable as _, Ui};

/// Recipe with a word on each key that an image often needs.
const TEMPLATE: &str = include_str!("../../../files/piimg.toml");

/// Write a recipe with comments, to begin with.
#[derive(Debug, Args)]
#[command(after_help = "Example: piimg init && piimg plan")]
pub(super) struct Arguments {
    /// Directory of the recipe; it must be there.
    #[arg(default_value = ".")]
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments, ui: &Ui) -> Result<i32> {
    let path = arguments.directory.join(RECIPE);
    let shown = path.strip_prefix(".").unwrap_or(&path);
    write(&arguments.directory, shown)?;
    ui.path(shown);
    ui.info("next: change what is in it, then `piimg plan`");
    Ok(0)
}

/// Writes the recipe, unless there is one.
fn write(directory: &Path, shown: &Path) -> Result<()> {
    use std::io::Write as _;

    let failed = || Failure::usage(format!("cannot write `{}`", shown.printable()));
    let directory = Directory::open(directory, Links::Followed).with_context(failed)?;
    let mut file = match directory.create_new(RECIPE, for_user(0o666)) {
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            return Err(Failure::usage(format!("`{}` is there already", shown.printable()))
                .hint("change it, or choose another directory: piimg init DIRECTORY")
                .into());
        }
        made => made.with_context(failed)?,
    };
    file.write_all(TEMPLATE.as_bytes()).with_context(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::file::RecipeFile;

    /// Returns the template with what it shows in effect: a line that is `# ` and a key or table.
    fn in_full() -> String {
        let is_toml = |text: &str| {
            text.starts_with('[')
                || text.split_once(" = ").is_some_and(|(key, _)| {
                    key.chars().all(|letter| letter.is_ascii_lowercase() || letter.is_ascii_digit() || letter == '-')
                })
        };
        let line = |line: &'static str| match line.strip_prefix("# ") {
            Some(shown) if is_toml(shown) => shown,
            _ => line,
        };
        TEMPLATE.lines().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn the_recipe_is_valid_as_it_is_and_with_all_that_it_shows() {
        let place = tempfile::tempdir().unwrap();
        let path = place.path().join(RECIPE);
        write(place.path(), Path::new(RECIPE)).unwrap();
        assert_eq!(RecipeFile::read(&path, None).unwrap().hostname.as_deref(), Some("raspberrypi"));
        std::fs::write(&path, in_full()).unwrap();
        let full = RecipeFile::read(&path, None).unwrap();
        assert_eq!(full.user.name.as_deref(), Some("ann"));
        assert_eq!(full.models, ["pi4"]);
        assert_eq!(full.params["example/clock"]["interval"].as_integer(), Some(30));
        assert_eq!((full.assets.len(), full.secrets.len()), (1, 1));
    }

    #[test]
    fn a_recipe_that_is_there_is_left_as_it_is() {
        let place = tempfile::tempdir().unwrap();
        std::fs::write(place.path().join(RECIPE), "hostname = 'mine'\n").unwrap();
        let report = crate::error::report(&write(place.path(), Path::new(RECIPE)).unwrap_err());
        assert_eq!(report.messages, ["`piimg.toml` is there already"]);
        assert!(report.hints[0].contains("piimg init DIRECTORY"), "{report:?}");
        assert_eq!(std::fs::read_to_string(place.path().join(RECIPE)).unwrap(), "hostname = 'mine'\n");
        let report = crate::error::report(&write(&place.path().join("no"), Path::new("no/piimg.toml")).unwrap_err());
        assert_eq!(report.messages[0], "cannot write `no/piimg.toml`");
    }
}
