//! Sources from git repositories: `git::checkout("https://git.example.org/app.git", "ce0136…", "/opt/app").run()?`.

use crate::__private::bindings::piimg::plugin::git as raw;
use crate::Error;

/// A commit that is to be put into a directory of the image; nothing happens before [`Checkout::run`] or
/// [`Checkout::authorized`].
#[derive(Clone, Debug)]
#[must_use]
pub struct Checkout {
    url: String,
    commit: String,
    path: String,
    owner: Option<raw::Owner>,
}

/// The files of the commit with this whole id, 40 or 64 hexadecimal digits, for a directory that is not there or empty.
/// They come without history, and belong to root.
pub fn checkout(url: &str, commit: &str, path: &str) -> Checkout {
    Checkout { url: url.to_owned(), commit: commit.to_owned(), path: path.to_owned(), owner: None }
}

impl Checkout {
    /// Whose the files are.
    pub fn owner(mut self, user: &str, group: &str) -> Self {
        self.owner = Some(raw::Owner { user: user.to_owned(), group: group.to_owned() });
        self
    }

    /// Writes the files, and returns how many there are. Needs `net:<url>/**` and `fs:write:<path>/**`.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Denied`], [`crate::ErrorCode::Network`]; [`crate::ErrorCode::NotFound`] if the repository has no
    /// such commit; [`crate::ErrorCode::Exists`] if there is something in the directory; [`crate::ErrorCode::Invalid`] for
    /// a commit with submodules.
    pub fn run(&self) -> Result<u32, Error> {
        Ok(raw::checkout(&self.url, &self.commit, &self.path, self.owner.as_ref())?)
    }

    /// As [`Checkout::run`], from a server that wants to know who asks: the host sends the name of the user, and the secret
    /// of that name as the password. The plugin never sees it. Needs `secret:<secret>` too.
    ///
    /// # Errors
    /// As [`Checkout::run`]; [`crate::ErrorCode::NotFound`] also if no value was given for a secret that was asked for as
    /// optional.
    pub fn authorized(&self, user: &str, secret: &str) -> Result<u32, Error> {
        Ok(raw::checkout_authorized(&self.url, &self.commit, &self.path, self.owner.as_ref(), user, secret)?)
    }
}
