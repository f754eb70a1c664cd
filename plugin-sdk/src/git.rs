//! Sources from git repositories: `git::checkout("https://git.example.org/app.git", "ce0136…", "/opt/app").apply()?`.

use std::borrow::Cow;

use crate::__private::bindings::piimg::plugin::git as raw;
use crate::__private::bindings::piimg::plugin::types::Owner;
use crate::template::filled;
use crate::{Error, Need, Needs};

/// A commit that is to be put into a directory of the image; see [`checkout`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Checkout<'a> {
    url: &'a str,
    commit: &'a str,
    path: &'a str,
    owner: Option<(&'a str, &'a str)>,
}

/// Describes the files of the commit with this whole id, 40 or 64 hexadecimal digits, in a directory that is not there or
/// empty. They come without history, and belong to root.
///
/// ```no_run
/// # use piimg_plugin_sdk::git;
/// let commit = "ce013625030ba8dba906f756967f9e9ca394464a";
/// git::checkout("https://git.example.org/app.git", commit, "/opt/app").owner("ann", "ann").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn checkout<'a>(url: &'a str, commit: &'a str, path: &'a str) -> Checkout<'a> {
    Checkout { url, commit, path, owner: None }
}

impl<'a> Checkout<'a> {
    /// Sets whose the files are.
    pub const fn owner(self, user: &'a str, group: &'a str) -> Self {
        Self { owner: Some((user, group)), ..self }
    }

    /// Sets who asks, for a server that wants to know: the host sends the name of the user, and the secret of that name as
    /// the password. The plugin never sees it.
    pub const fn authorized(self, user: &'a str, secret: &'a str) -> AuthorizedCheckout<'a> {
        AuthorizedCheckout { checkout: self, user, secret }
    }

    /// Writes the files, and returns how many there are.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Denied`], [`crate::ErrorCode::Network`]; [`crate::ErrorCode::NotFound`] if the repository has no
    /// such commit; [`crate::ErrorCode::Exists`] if there is something in the directory; [`crate::ErrorCode::Invalid`] for a
    /// commit with submodules.
    pub fn apply(&self) -> Result<u32, Error> {
        let (url, commit, path, owner) = self.filled()?;
        Ok(raw::checkout(&url, &commit, &path, owner.as_ref())?)
    }

    /// Fills in the values of parameters.
    fn filled(&self) -> Result<Filled<'a>, Error> {
        let owner = self.owner.map(|(user, group)| crate::fs::filled_owner(user, group)).transpose()?;
        Ok((filled(self.url)?, filled(self.commit)?, filled(self.path)?, owner))
    }
}

type Filled<'a> = (Cow<'a, str>, Cow<'a, str>, Cow<'a, str>, Option<Owner>);

impl Needs for Checkout<'_> {
    fn needs(&self) -> Vec<Need> {
        let Self { url, path, .. } = self;
        vec![
            Need::capability(format!("net:{url}/**"), format!("fetches the sources of {path}")),
            Need::capability(format!("fs:write:{path}/**"), "the sources"),
        ]
    }
}

/// A commit of a server that wants to know who asks; see [`Checkout::authorized`]. It is a type of its own, for the host function
/// behind it is one that plugins without secrets do not import.
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct AuthorizedCheckout<'a> {
    checkout: Checkout<'a>,
    user: &'a str,
    secret: &'a str,
}

impl<'a> AuthorizedCheckout<'a> {
    /// Sets whose the files are.
    pub const fn owner(self, user: &'a str, group: &'a str) -> Self {
        Self { checkout: self.checkout.owner(user, group), ..self }
    }

    /// Writes the files, and returns how many there are.
    ///
    /// # Errors
    /// As [`Checkout::apply`]; [`crate::ErrorCode::NotFound`] too if no value was given for a secret that was asked for as
    /// optional.
    pub fn apply(&self) -> Result<u32, Error> {
        let (url, commit, path, owner) = self.checkout.filled()?;
        let (user, secret) = (filled(self.user)?, filled(self.secret)?);
        Ok(raw::checkout_authorized(&url, &commit, &path, owner.as_ref(), &user, &secret)?)
    }
}

impl Needs for AuthorizedCheckout<'_> {
    fn needs(&self) -> Vec<Need> {
        let scope = format!("secret:{}", self.secret);
        let secret = Need::capability(scope, "fetches sources that are not everybody's");
        self.checkout.needs().into_iter().chain([secret]).collect()
    }
}
