//! Users and groups of the image: `User::new("ann").group("video").ensure()?`. Root is never changed.

use crate::__private::bindings::piimg::plugin::users as raw;
use crate::Error;

/// A user as it shall be. Needs `user:create:<name>`, and `user:group:<group>` for each group.
#[derive(Clone, Debug)]
pub struct User(raw::Account);

impl User {
    /// A person, with a home directory in `/home` and `/bin/bash`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let (name, groups) = (name.to_owned(), Vec::new());
        Self(raw::Account { name, uid: None, home: None, shell: None, groups, system: false })
    }

    /// An account for a service: nobody logs in with it.
    #[must_use]
    pub fn system(name: &str) -> Self {
        let Self(account) = Self::new(name);
        Self(raw::Account { system: true, ..account })
    }

    /// Its number; the next free one by default.
    #[must_use]
    pub fn uid(mut self, uid: u32) -> Self {
        self.0.uid = Some(uid);
        self
    }

    #[must_use]
    pub fn home(mut self, directory: &str) -> Self {
        self.0.home = Some(directory.to_owned());
        self
    }

    #[must_use]
    pub fn shell(mut self, program: &str) -> Self {
        self.0.shell = Some(program.to_owned());
        self
    }

    /// A group that it is in; it must exist.
    #[must_use]
    pub fn group(mut self, name: &str) -> Self {
        self.0.groups.push(name.to_owned());
        self
    }

    /// Groups that it is in; they must exist.
    #[must_use]
    pub fn groups<'a>(self, names: impl IntoIterator<Item = &'a str>) -> Self {
        names.into_iter().fold(self, Self::group)
    }

    /// Makes sure that the user is there and in its groups; true if that was not so.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Exists`] if one of that name is of another kind.
    pub fn ensure(&self) -> Result<bool, Error> {
        Ok(raw::ensure_user(&self.0)?)
    }
}

/// Makes sure that a group exists; true if it did not. Needs `user:group:<name>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`].
pub fn ensure_group(name: &str) -> Result<bool, Error> {
    Ok(raw::ensure_group(name, None, false)?)
}

/// As [`ensure_group`], with a number for services, or with this one.
///
/// # Errors
/// As [`ensure_group`]; [`crate::ErrorCode::Exists`] if the group has another number.
pub fn ensure_system_group(name: &str, gid: Option<u32>) -> Result<bool, Error> {
    Ok(raw::ensure_group(name, gid, true)?)
}

/// Makes the secret of that name the password of a user; true if it was another. The plugin sees neither the secret nor
/// its hash. Needs `user:password:<user>` and `secret:<secret>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::NotFound`] if there is no such user, or no value was given for a
/// secret that was asked for as optional; [`crate::ErrorCode::Invalid`] if the secret can be no password, or the user is an
/// account of a service.
pub fn set_password_from(user: &str, secret: &str) -> Result<bool, Error> {
    Ok(raw::set_password_from(user, secret)?)
}

/// Lets the owners of these keys, each `type key comment`, log in as a user; returns how many are new. Needs
/// `user:keys:<user>`.
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Invalid`] for a key with options or a broken one.
pub fn authorize_keys(user: &str, keys: &[&str]) -> Result<u32, Error> {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    Ok(raw::authorize_keys(user, &keys)?)
}
