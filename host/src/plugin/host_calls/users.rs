//! Implements `users`: accounts of the image. Everything is checked and authorized before the first file is written.
//! Each group that a user joins is authorized, since groups carry rights.

use super::{Answer, Session, invalid};
use crate::plugin::capability::{Need, UserAction};
use crate::plugin::protocol::Account;
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::recipe::{check, password};
use crate::rootfs::accounts::User;
use crate::rootfs::accounts::database::{Database, FILES, NewUser, PEOPLE};
use crate::rootfs::accounts::keys::{self, AuthorizedKey};
use crate::rootfs::files::{Attrs, FileKind, ImagePath};
use crate::rootfs::text::encode;
use crate::ui::printable;

/// Most bytes of each account file.
const LIMIT: u64 = 4 << 20;
/// Most groups of a user, and most keys in one call.
const MAX_ITEMS: usize = 100;
/// Template of a new home directory.
const SKEL: &str = "/etc/skel";
/// Deepest and most that is copied from there.
const MAX_DEPTH: usize = 8;
const MAX_FILES: usize = 1000;
/// Allowed directories for homes.
const HOMES: [&str; 4] = ["/home/", "/var/lib/", "/srv/", "/opt/"];
/// The home of those who have none.
const NO_HOME: &str = "/nonexistent";

impl Session<'_> {
    pub(super) fn ensure_user(&mut self, account: &Account) -> Answer<bool> {
        let name = account.name.as_str();
        check_name(name)?;
        let home = account.home.clone().unwrap_or_else(|| match account.system {
            true => NO_HOME.into(),
            false => format!("/home/{name}"),
        });
        let shell = account.shell.as_deref().unwrap_or(if account.system { "/usr/sbin/nologin" } else { "/bin/bash" });
        check_home(&home, account.system)?;
        check_path(shell)?;
        check_count(account.groups.len())?;
        for group in &account.groups {
            check_name(group)?;
        }
        self.gate(&Need::user(UserAction::Create, name))?;
        for group in &account.groups {
            self.gate(&Need::user(UserAction::Group, group))?;
        }
        let old = self.database()?;
        let mut new = old.clone();
        let fail = |cause: String| invalid(format!("cannot make the user `{name}`: {cause}"));
        let made = match old.accounts().user(name) {
            Some(known) => {
                let same_kind = PEOPLE.contains(&known.uid) != account.system && known.uid != 0;
                if !same_kind || account.uid.is_some_and(|uid| uid != known.uid) {
                    let message = format!("the user `{name}` exists already, with the number {}", known.uid);
                    return Err(CallError::new(ErrorCode::Exists, message));
                }
                None
            }
            None => {
                let user = NewUser { name, uid: account.uid, home: &home, shell, system: account.system };
                Some(new.add_user(&user, self.day()).map_err(fail)?)
            }
        };
        for group in &account.groups {
            new.join(name, group).map_err(fail)?;
        }
        if let Some(user) = made.as_ref().filter(|_| !account.system) {
            self.make_home(user)?;
        }
        self.write_database(&old, &new)
    }

    pub(super) fn ensure_group(&mut self, name: &str, gid: Option<u32>, system: bool) -> Answer<bool> {
        check_name(name)?;
        self.gate(&Need::user(UserAction::Group, name))?;
        let old = self.database()?;
        if let Some(known) = old.accounts().gid(name) {
            if gid.is_some_and(|gid| gid != known) {
                let message = format!("the group `{name}` exists already, with the number {known}");
                return Err(CallError::new(ErrorCode::Exists, message));
            }
            return Ok(false);
        }
        let mut new = old.clone();
        new.add_group(name, gid, system)
            .map_err(|cause| invalid(format!("cannot make the group `{name}`: {cause}")))?;
        self.write_database(&old, &new)
    }

    pub(super) fn authorize_keys(&mut self, name: &str, lines: &[String]) -> Answer<u64> {
        check_name(name)?;
        check_count(lines.len())?;
        let parse = |line| {
            AuthorizedKey::parse(line).map_err(|cause| invalid(format!("cannot authorize a key for `{name}`: {cause}")))
        };
        let keys: Vec<AuthorizedKey<'_>> = lines.iter().map(|line| parse(line)).collect::<Answer<_>>()?;
        self.gate(&Need::user(UserAction::Keys, name))?;
        let user = self.person(name)?;
        let attrs = |mode| Attrs { mode, uid: user.uid, gid: user.gid };
        let home = ImagePath::parse(&user.home)?;
        // Keys in somebody else's directory would let that person in.
        if !self.own_entry(&home)?.is_some_and(|it| it.kind == FileKind::Directory && it.attrs.uid == user.uid) {
            return Err(invalid(format!("`{}` is no directory of `{name}`", user.home)));
        }
        let directory = home.join(".ssh")?;
        let file = directory.join("authorized_keys")?;
        let old = self.own_text(&file, LIMIT)?.unwrap_or_default();
        let (new, count) = keys::add(&old, &keys);
        match self.own_entry(&directory)? {
            None => self.bench.rootfs().make_dir(&directory, attrs(0o700))?,
            Some(found) if found.kind == FileKind::Directory => {}
            Some(_) => return Err(invalid(format!("`{}` is no directory", directory.as_str()))),
        }
        if count > 0 {
            self.bench.rootfs().write(&file, &encode(&new), attrs(0o600))?;
        }
        Ok(count.into())
    }

    /// Makes a secret the password. Its hash is made here and reaches the image alone.
    pub(super) fn set_password_from(&mut self, name: &str, secret: &str) -> Answer<bool> {
        check_name(name)?;
        self.gate(&Need::user(UserAction::Password, name))?;
        let secret = self.secret(secret)?;
        let value = secret.expose();
        password::check(value)
            .map_err(|rule| invalid(format!("the secret `{}` cannot be a password: it {rule}", secret.name())))?;
        self.person(name)?;
        // The salt differs for each user, plugin and state of the archive, and is the same in the next build.
        let hash = password::hash(value, &[name, self.digest, &self.bench.rootfs().time().to_string()]);
        let old = self.database()?;
        let mut new = old.clone();
        new.set_password(name, &hash, self.day())
            .map_err(|cause| invalid(format!("cannot set the password of `{name}`: {cause}")))?;
        self.write_database(&old, &new)
    }

    /// Returns a user that is neither root nor an account of a service.
    pub(super) fn person(&self, name: &str) -> Answer<User> {
        let user = self.database()?.accounts().user(name).ok_or_else(|| {
            CallError::new(ErrorCode::NotFound, format!("the image has no user `{}`", printable(name)))
        })?;
        if !PEOPLE.contains(&user.uid) {
            return Err(invalid(format!("`{name}` has the number {}: it is no account of a person", user.uid)));
        }
        Ok(user)
    }

    /// Returns the layer's day, since 1970: the clock's would differ between builds.
    pub(super) fn day(&self) -> u64 {
        self.bench.rootfs().time() / 86_400
    }

    pub(super) fn database(&self) -> Answer<Database> {
        let read = |path: &str| self.own_text(&ImagePath::parse(path)?, LIMIT);
        let [passwd, group, shadow, gshadow, subuid, subgid] = FILES;
        let needed = |path: &str| {
            read(path)?.ok_or_else(|| CallError::new(ErrorCode::Unsupported, format!("the image has no `{path}`")))
        };
        Ok(Database {
            passwd: needed(passwd)?,
            group: needed(group)?,
            shadow: read(shadow)?,
            gshadow: read(gshadow)?,
            subuid: read(subuid)?,
            subgid: read(subgid)?,
        })
    }

    /// Writes what differs; true if anything does.
    ///
    /// The files belong together and are written one after another. Where one cannot be, the run ends, whatever the
    /// plugin would make of the error: its layer is dropped, so that no image has some of them.
    pub(super) fn write_database(&mut self, old: &Database, new: &Database) -> Answer<bool> {
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let texts = |db: &Database| {
            [
                db.passwd.clone(),
                db.group.clone(),
                text(&db.shadow),
                text(&db.gshadow),
                text(&db.subuid),
                text(&db.subgid),
            ]
        };
        let mut changed = false;
        for ((path, old), new) in FILES.iter().zip(texts(old)).zip(texts(new)) {
            if old != new {
                let path = ImagePath::parse(path)?;
                let written = self
                    .attrs_for(&path, None)
                    .and_then(|attrs| Ok(self.bench.rootfs().write(&path, &encode(&new), attrs)?));
                if let Err(error) = written {
                    self.half_done = Some(format!("not all account files could be written: {error}"));
                    return Err(error);
                }
                changed = true;
            }
        }
        Ok(changed)
    }

    /// Returns a home directory with the content of `/etc/skel`, all of it the user's.
    fn make_home(&mut self, user: &User) -> Answer<()> {
        let home = ImagePath::parse(&user.home)?;
        if self.own_entry(&home)?.is_some() {
            return Err(CallError::new(ErrorCode::Exists, format!("`{}` exists already", printable(&user.home))));
        }
        self.make_parents(&home, Attrs { mode: 0o755, uid: 0, gid: 0 })?;
        let mode = self.home_mode()?;
        self.bench.rootfs().make_dir(&home, Attrs { mode, uid: user.uid, gid: user.gid })?;
        let skel = ImagePath::parse(SKEL)?;
        match self.own_entry(&skel)? {
            Some(found) if found.kind == FileKind::Directory => self.copy(&skel, &home, user, 0, &mut 0),
            _ => Ok(()),
        }
    }

    fn copy(&self, from: &ImagePath, to: &ImagePath, user: &User, depth: usize, count: &mut usize) -> Answer<()> {
        let rootfs = self.bench.rootfs();
        for (name, kind) in rootfs.list_dir(from)? {
            *count += 1;
            if depth > MAX_DEPTH || *count > MAX_FILES {
                return Err(CallError::new(ErrorCode::Limit, format!("`{SKEL}` has too much in it")));
            }
            let (source, target) = (from.join(&name)?, to.join(&name)?);
            let Some(metadata) = rootfs.metadata(&source)? else { continue };
            let attrs = Attrs { mode: metadata.attrs.mode & 0o777, uid: user.uid, gid: user.gid };
            match kind {
                FileKind::Directory => {
                    rootfs.make_dir(&target, attrs)?;
                    self.copy(&source, &target, user, depth + 1, count)?;
                }
                FileKind::File => {
                    rootfs.install(&rootfs.open_file(&source)?, &target, attrs)?;
                }
                FileKind::Symlink => rootfs.symlink(&target, metadata.target.as_deref().unwrap_or("."))?,
                FileKind::Other => {}
            }
        }
        Ok(())
    }

    /// Returns `HOME_MODE` of the release; Ubuntu makes home directories private
    /// (<https://man7.org/linux/man-pages/man5/login.defs.5.html>).
    fn home_mode(&self) -> Answer<u32> {
        let text = self.own_text(&ImagePath::parse("/etc/login.defs")?, LIMIT)?.unwrap_or_default();
        let mode = text.lines().find_map(|line| line.strip_prefix("HOME_MODE")).map(str::trim);
        Ok(mode.and_then(|mode| u32::from_str_radix(mode, 8).ok()).unwrap_or(0o755) & 0o777)
    }
}

fn check_name(name: &str) -> Answer<()> {
    let cause = if name == "root" { Err("is not a plugin's to change".to_owned()) } else { check::user_name(name) };
    cause.map_err(|cause| invalid(format!("the name `{name}` {cause}")))
}

fn check_count(count: usize) -> Answer<()> {
    if count > MAX_ITEMS {
        return Err(CallError::new(ErrorCode::Limit, format!("at most {MAX_ITEMS} in one call")));
    }
    Ok(())
}

fn check_home(home: &str, system: bool) -> Answer<()> {
    check_path(home)?;
    let below = HOMES.iter().filter_map(|place| home.strip_prefix(place)).any(|rest| !rest.is_empty());
    if below || (system && home == NO_HOME) {
        return Ok(());
    }
    Err(invalid(format!("`{home}` cannot be a home: it is not below {}", HOMES.join(", "))))
}

/// Returns an absolute path as it stands in the file of users.
fn check_path(path: &str) -> Answer<()> {
    let parsed = ImagePath::parse(path)?;
    let plain = path.chars().all(|c| c.is_ascii_graphic() && !matches!(c, ':' | ','));
    if parsed.as_str() == path && plain && !path.split('/').any(|part| part == "..") {
        return Ok(());
    }
    Err(invalid(format!("`{path}` is not a plain path: no `..`, `//`, `:`, `,` and white space")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn homes_and_shells_are_plain_paths_where_they_belong() {
        for (home, system, cause) in [
            ("/home/ann", false, None),
            ("/srv/app/data", true, None),
            ("/nonexistent", true, None),
            ("/nonexistent", false, Some("not below")),
            ("/home/", false, Some("not a plain path")),
            ("/home", false, Some("not below")),
            ("/etc", false, Some("not below")),
            ("/root", true, Some("not below")),
            ("/home/../etc", false, Some("not a plain path")),
            ("/home//ann", false, Some("not a plain path")),
            ("/home/a:0:0", false, Some("not a plain path")),
            ("/home/a\nroot::0:0::/:/bin/sh", false, Some("not a plain path")),
            ("home", false, Some("not absolute")),
        ] {
            let error = check_home(home, system).err().map(|error| error.message);
            match (&error, cause) {
                (None, None) => {}
                (Some(error), Some(cause)) if error.contains(cause) => {}
                _ => panic!("{home:?}: {error:?}"),
            }
        }
    }
}
