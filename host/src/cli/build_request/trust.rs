//! Asks whether a recipe may use what it names of the host outside its own directory.

use crate::error::{Failure, Result};
use crate::home::Home;
use crate::recipe::file::RecipeFile;
use crate::recipe::host::{Admitted, Wish, admit};
use crate::recipe::overrides::Overrides;
use crate::recipe::trust::{Trust, lines, refuse};
use crate::ui::{Ui, Verbosity, printable};

/// Inputs of the answer.
pub(super) struct Question<'a> {
    pub(super) file: &'a RecipeFile,
    pub(super) flags: &'a Overrides,
    pub(super) home: Option<&'a Home>,
}

impl Question<'_> {
    /// Determines what the recipe may use of the host. With `asks`, the user at the terminal is asked for the rest.
    ///
    /// # Errors
    /// [`Failure::grant`] with each thing in full and what to do about it: nobody allowed it.
    pub(super) fn admit(&self, asks: bool) -> Result<Admitted> {
        let trust = Trust::of_user(self.home, &self.file.directory)?;
        let admitted = admit(self.file, self.flags, &trust);
        let wishes = match &admitted {
            // Of secrets it is known later which ones a plugin needs. Who is asked is asked for all at once.
            Ok(admitted) if asks => crate::recipe::host::refused_secrets(&admitted.secrets),
            Ok(_) => Vec::new(),
            Err(wishes) => wishes.clone(),
        };
        if asks && !wishes.is_empty() && self.is_agreed(&wishes)? {
            let trust = wishes.iter().fold(trust, Trust::and);
            return admit(self.file, self.flags, &trust).map_err(|rest| self.refuse(&rest).into());
        }
        if asks && !wishes.is_empty() {
            return Err(self.refuse(&wishes).into());
        }
        admitted.map_err(|wishes| self.refuse(&wishes).into())
    }

    pub(super) fn refuse(&self, wishes: &[Wish]) -> Failure {
        refuse(wishes, &self.file.directory, self.home, true)
    }

    fn is_agreed(&self, wishes: &[Wish]) -> Result<bool> {
        let ui = Ui::new(Verbosity::Normal);
        if !ui.can_ask() {
            return Ok(false);
        }
        let directory = self.file.directory.place().to_string_lossy();
        ui.say(&format!("the recipe in `{}` wants to use what is not its own:", printable(&directory)));
        lines(wishes).iter().for_each(|line| ui.say(line));
        ui.ask("Let it, for this time?")
    }
}
