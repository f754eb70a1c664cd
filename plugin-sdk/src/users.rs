//! Users and groups of the image: `User::new("ann").groups(&["video"]).apply()?`. Root is never changed.

use crate::__private::bindings::piimg::plugin::users as raw;
use crate::template::{all_filled, filled};
use crate::{Error, Need, Needs};

/// A user as it shall be. See [`User::new`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct User<'a> {
    name: &'a str,
    uid: Option<u32>,
    home: Option<&'a str>,
    shell: Option<&'a str>,
    groups: &'a [&'a str],
    system: bool,
}

impl<'a> User<'a> {
    /// Describes a person, with a home directory in `/home` and `/bin/bash`.
    ///
    /// ```no_run
    /// # use piimg_plugin_sdk::users::User;
    /// const ANN: User = User::new("ann").groups(&["video"]);
    /// ANN.apply()?;
    /// # Ok::<(), piimg_plugin_sdk::Error>(())
    /// ```
    pub const fn new(name: &'a str) -> Self {
        Self { name, uid: None, home: None, shell: None, groups: &[], system: false }
    }

    /// Describes an account for a service: nobody logs in with it.
    pub const fn system(name: &'a str) -> Self {
        Self { system: true, ..Self::new(name) }
    }

    /// Sets its number; the next free one by default.
    pub const fn uid(self, uid: u32) -> Self {
        Self { uid: Some(uid), ..self }
    }

    /// Sets its home directory, below `/home`, `/var/lib`, `/srv` or `/opt`.
    pub const fn home(self, directory: &'a str) -> Self {
        Self { home: Some(directory), ..self }
    }

    /// Sets the program that a login starts.
    pub const fn shell(self, program: &'a str) -> Self {
        Self { shell: Some(program), ..self }
    }

    /// Sets the groups that it is in, beside one of its own name; they must exist.
    pub const fn groups(self, names: &'a [&'a str]) -> Self {
        Self { groups: names, ..self }
    }

    /// Makes sure that the user is there and in its groups; true if that was not so.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Exists`] if one of that name is of another kind.
    pub fn apply(&self) -> Result<bool, Error> {
        let owned = |text: Option<&str>| text.map(|text| filled(text).map(std::borrow::Cow::into_owned)).transpose();
        Ok(raw::ensure_user(&raw::Account {
            name: filled(self.name)?.into_owned(),
            uid: self.uid,
            home: owned(self.home)?,
            shell: owned(self.shell)?,
            groups: all_filled(self.groups)?,
            system: self.system,
        })?)
    }
}

impl Needs for User<'_> {
    fn needs(&self) -> Vec<Need> {
        let name = self.name;
        let user = Need::capability(format!("user:create:{name}"), format!("makes the user {name} if there is none"));
        let group = |group: &&str| Need::capability(format!("user:group:{group}"), format!("puts {name} into {group}"));
        std::iter::once(user).chain(self.groups.iter().map(group)).collect()
    }
}

/// A group that shall be there. See [`Group::new`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Group<'a> {
    name: &'a str,
    gid: Option<u32>,
    system: bool,
}

impl<'a> Group<'a> {
    /// Describes a group of people.
    ///
    /// ```no_run
    /// # use piimg_plugin_sdk::users::Group;
    /// Group::new("field").apply()?;
    /// # Ok::<(), piimg_plugin_sdk::Error>(())
    /// ```
    pub const fn new(name: &'a str) -> Self {
        Self { name, gid: None, system: false }
    }

    /// Describes a group for services or devices, with a number below 1000.
    pub const fn system(name: &'a str) -> Self {
        Self { system: true, ..Self::new(name) }
    }

    /// Sets its number; the next free one by default.
    pub const fn gid(self, gid: u32) -> Self {
        Self { gid: Some(gid), ..self }
    }

    /// Makes sure that the group is there; true if it was not.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Exists`] if the group has another number.
    pub fn apply(&self) -> Result<bool, Error> {
        Ok(raw::ensure_group(&filled(self.name)?, self.gid, self.system)?)
    }
}

impl Needs for Group<'_> {
    fn needs(&self) -> Vec<Need> {
        vec![Need::capability(format!("user:group:{}", self.name), format!("makes the group {}", self.name))]
    }
}

/// Keys that log in as a user; see [`keys`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Keys<'a> {
    user: &'a str,
    keys: &'a [&'a str],
}

/// Describes that the owners of these keys, each `type key comment`, may log in as a user.
///
/// ```no_run
/// # use piimg_plugin_sdk::users;
/// let key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVJPcpmZh+Z1hpVH+KDLfxDlU2XSCMkjd0XnpmV4mJT ann@desk";
/// users::keys("ann", &[key]).apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn keys<'a>(user: &'a str, keys: &'a [&'a str]) -> Keys<'a> {
    Keys { user, keys }
}

impl Keys<'_> {
    /// Lets them log in; returns how many are new.
    ///
    /// # Errors
    /// As [`authorize_keys`].
    pub fn apply(&self) -> Result<u32, Error> {
        Ok(raw::authorize_keys(&filled(self.user)?, &all_filled(self.keys)?)?)
    }
}

impl Needs for Keys<'_> {
    fn needs(&self) -> Vec<Need> {
        let user = self.user;
        vec![Need::capability(format!("user:keys:{user}"), format!("lets keys log in as {user}"))]
    }
}

/// A password that the plugin does not know; see [`password`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Password<'a> {
    user: &'a str,
    secret: &'a str,
}

/// Describes that the secret of that name is the password of a user.
///
/// ```no_run
/// # use piimg_plugin_sdk::users;
/// users::password("ann", "ann-password").apply()?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn password<'a>(user: &'a str, secret: &'a str) -> Password<'a> {
    Password { user, secret }
}

impl Password<'_> {
    /// Sets it; true if it was another.
    ///
    /// # Errors
    /// As [`set_password_from`].
    pub fn apply(&self) -> Result<bool, Error> {
        set_password_from(&filled(self.user)?, &filled(self.secret)?)
    }
}

impl Needs for Password<'_> {
    fn needs(&self) -> Vec<Need> {
        let Self { user, secret } = self;
        vec![
            Need::capability(format!("user:password:{user}"), format!("sets the password of {user}")),
            Need::capability(format!("secret:{secret}"), format!("the password of {user}, which it never sees")),
        ]
    }
}

/// Makes the secret of that name the password of a user; true if it was another. The plugin sees neither the secret nor
/// its hash. Needs `user:password:<user>` and `secret:<secret>`.
///
/// ```no_run
/// # use piimg_plugin_sdk::users;
/// users::set_password_from("ann", "ann-password")?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
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
/// ```no_run
/// # use piimg_plugin_sdk::users;
/// users::authorize_keys("ann", &["ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJVJPcpmZh+Z1hpVH+KDLfxDlU2XSCMkjd0XnpmV4mJT ann"])?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
///
/// # Errors
/// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Invalid`] for a key with options or a broken one.
pub fn authorize_keys(user: &str, keys: &[&str]) -> Result<u32, Error> {
    let keys: Vec<String> = keys.iter().map(ToString::to_string).collect();
    Ok(raw::authorize_keys(user, &keys)?)
}
