//! Finds the recipe of a command, and what belongs to it.

use std::path::{Path, PathBuf};

use clap::Args;

use crate::error::{Failure, Result};
use crate::recipe::file::RecipeFile;
use crate::recipe::overrides::heading::PLUGINS;
use crate::ui::shell_quoted;

/// File that is read from the current directory if there is one.
pub(super) const RECIPE: &str = "piimg.toml";

/// Says which recipe is meant.
#[derive(Args, Clone, Debug, Default)]
pub(super) struct RecipeArguments {
    /// Recipe; `piimg.toml` of the current directory if there is one.
    #[arg(long, value_name = "FILE", help_heading = PLUGINS)]
    recipe: Option<PathBuf>,
    /// Profile: what `[profile.NAME]` of the recipe says lies over the rest.
    #[arg(long, value_name = "NAME", help_heading = PLUGINS)]
    profile: Option<String>,
}

impl RecipeArguments {
    /// Returns the path of the recipe, if there is one.
    pub(super) fn path(&self) -> Option<PathBuf> {
        let is_there = Path::new(RECIPE).symlink_metadata().is_ok();
        self.recipe.clone().or_else(|| is_there.then(|| RECIPE.into()))
    }

    /// Returns the name of the profile, if one is asked for.
    pub(super) fn profile(&self) -> Option<&str> {
        self.profile.as_deref()
    }

    /// Reads the recipe; without one, nothing is said.
    ///
    /// # Errors
    /// Those of [`RecipeFile::read`], and [`Failure::usage`] if there is no recipe for the profile.
    pub(super) fn read(&self) -> Result<RecipeFile> {
        match (self.path(), &self.profile) {
            (Some(path), profile) => RecipeFile::read(&path, profile.as_deref()),
            (None, None) => Ok(RecipeFile::default()),
            (None, Some(_)) => {
                let failure = Failure::usage("there is no recipe whose profile could be used");
                Err(failure.hint(format!("make one with `piimg init`: it is called {RECIPE}")).into())
            }
        }
    }

    /// Returns the path of the lock file, beside the recipe. A profile has one of its own: another profile's plugins and
    /// packages are none of its business.
    pub(super) fn lock(&self) -> PathBuf {
        let name = self.profile.as_ref().map_or_else(|| "piimg.lock".to_owned(), |name| format!("piimg.{name}.lock"));
        self.path().unwrap_or_else(|| RECIPE.into()).with_file_name(name)
    }

    /// Returns these arguments as they were given, each with a space before it, for a command that a hint tells.
    pub(super) fn words(&self) -> String {
        let recipe = self.recipe.as_ref().map(|path| format!(" --recipe {}", shell_quoted(&path.to_string_lossy())));
        let profile = self.profile.as_ref().map(|name| format!(" --profile {}", shell_quoted(name)));
        recipe.into_iter().chain(profile).collect()
    }
}
