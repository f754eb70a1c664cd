//! Changes of the account files, as text. Pure.
//!
//! The files are edited here rather than by `useradd` in the box: what changes is known line by line and is the same
//! for every release, and no program of the image, which an earlier plugin may have replaced, is handed a hash. Numbers
//! are chosen as `useradd` does with the values that Debian and Ubuntu ship.

use super::{Accounts, User, fields};

/// Numbers of people's accounts, as `UID_MIN` and `UID_MAX`.
pub const PEOPLE: std::ops::RangeInclusive<u32> = 1000..=60000;
/// Numbers of accounts of services, as `SYS_UID_MIN` and `SYS_UID_MAX`.
pub const SYSTEM: std::ops::RangeInclusive<u32> = 100..=999;

/// First subordinate id, and how many each user gets.
const SUB_MIN: u64 = 100_000;
const SUB_COUNT: u64 = 65_536;

/// The files; the last four need not exist.
pub const FILES: [&str; 6] = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow", "/etc/subuid", "/etc/subgid"];

/// The six files' texts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Database {
    pub passwd: String,
    pub group: String,
    pub shadow: Option<String>,
    pub gshadow: Option<String>,
    pub subuid: Option<String>,
    pub subgid: Option<String>,
}

/// A user to be made. Texts were checked: none has `:` or a line end.
#[derive(Clone, Debug)]
pub struct NewUser<'a> {
    pub name: &'a str,
    pub uid: Option<u32>,
    pub home: &'a str,
    pub shell: &'a str,
    pub system: bool,
}

impl Database {
    pub fn accounts(&self) -> Accounts {
        Accounts::parse(&self.passwd, &self.group)
    }

    /// Adds a group and returns its number.
    ///
    /// # Errors
    /// If name or number are taken, or the number is of another kind.
    pub fn add_group(&mut self, name: &str, gid: Option<u32>, system: bool) -> Result<u32, String> {
        let accounts = self.accounts();
        if accounts.gid(name).is_some() {
            return Err(format!("the group `{name}` exists already"));
        }
        let gid = choose(gid, system, &|id| accounts.group_name(id).is_some())?;
        append(&mut self.group, &format!("{name}:x:{gid}:"));
        if let Some(gshadow) = &mut self.gshadow {
            append(gshadow, &format!("{name}:!::"));
        }
        Ok(gid)
    }

    /// Adds a user without password, with a group of its own name, and returns it. `day` counts from 1970.
    ///
    /// # Errors
    /// If name, number or home directory are taken, or the number is of another kind.
    pub fn add_user(&mut self, user: &NewUser<'_>, day: u64) -> Result<User, String> {
        let NewUser { name, uid, home, shell, system } = *user;
        let accounts = self.accounts();
        if accounts.uid(name).is_some() {
            return Err(format!("the user `{name}` exists already"));
        }
        if let Some(other) = accounts.users.iter().find(|other| other.home == home && home != "/nonexistent") {
            return Err(format!("`{home}` is the home of `{}`", other.name));
        }
        let taken = |id| accounts.user_name(id).is_some();
        // One number for user and group, unless the group's is taken.
        let both = |id| taken(id) || accounts.group_name(id).is_some();
        let uid = choose(uid, system, if uid.is_some() { &taken } else { &both })?;
        let gid = match accounts.gid(name) {
            Some(gid) => gid,
            None => {
                let free = accounts.group_name(uid).is_none();
                self.add_group(name, free.then_some(uid), system)?
            }
        };
        append(&mut self.passwd, &format!("{name}:x:{uid}:{gid}::{home}:{shell}"));
        if let Some(shadow) = &mut self.shadow {
            // People's passwords get the ages of `login.defs`.
            let ages = if system { "::" } else { "0:99999:7" };
            append(shadow, &format!("{name}:!:{day}:{ages}:::"));
        }
        if !system {
            for file in [&mut self.subuid, &mut self.subgid].into_iter().flatten() {
                add_range(file, name);
            }
        }
        Ok(User { name: name.into(), uid, gid, home: home.into(), shell: shell.into(), groups: Vec::new() })
    }

    /// Puts a user into a group; true if it was not in it.
    ///
    /// # Errors
    /// If there is no such group.
    pub fn join(&mut self, user: &str, group: &str) -> Result<bool, String> {
        let missing = || format!("the image has no group `{group}`");
        let added = join(&mut self.group, group, user).ok_or_else(missing)?;
        if let Some(gshadow) = &mut self.gshadow {
            // A group may be missing here: it then has no password.
            join(gshadow, group, user);
        }
        Ok(added)
    }

    /// Sets the hash of a password that is valid from `day` on; true if it was another.
    ///
    /// # Errors
    /// If the user has no line in the file of passwords.
    pub fn set_password(&mut self, user: &str, hash: &str, day: u64) -> Result<bool, String> {
        let missing = || format!("the user `{user}` has no line in `/etc/shadow`");
        let shadow = self.shadow.as_mut().ok_or_else(missing)?;
        let line = line_of(shadow, user).ok_or_else(missing)?;
        let old: [&str; 9] = fields(line).ok_or_else(missing)?;
        if old[1] == hash {
            return Ok(false);
        }
        let day = day.to_string();
        let mut new = old;
        (new[1], new[2]) = (hash, &day);
        let new = new.join(":");
        replace_line(shadow, user, &new);
        Ok(true)
    }
}

/// Returns the number asked for, or the next free one: upwards behind the highest for people, downwards for services.
fn choose(wanted: Option<u32>, system: bool, taken: &dyn Fn(u32) -> bool) -> Result<u32, String> {
    let range = if system { SYSTEM } else { PEOPLE };
    if let Some(id) = wanted {
        if !range.contains(&id) {
            let (low, high) = range.into_inner();
            return Err(format!("the number {id} is not between {low} and {high}"));
        }
        return if taken(id) { Err(format!("the number {id} is taken")) } else { Ok(id) };
    }
    let free = |id: &u32| !taken(*id);
    let found = if system {
        range.rev().find(free)
    } else {
        let behind = range.clone().rev().find(|id| taken(*id)).map_or(*range.start(), |id| id + 1);
        (behind..=*range.end()).find(free).or_else(|| range.clone().find(free))
    };
    found.ok_or_else(|| "no number is left".into())
}

fn append(text: &mut String, line: &str) {
    if !text.is_empty() && !text.ends_with('\n') {
        text.push('\n');
    }
    text.push_str(line);
    text.push('\n');
}

/// Returns the first line of that name.
fn line_of<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    text.lines().find(|line| line.split(':').next() == Some(name))
}

fn replace_line(text: &mut String, name: &str, new: &str) {
    if let Some(old) = line_of(text, name) {
        let at = old.as_ptr() as usize - text.as_ptr() as usize;
        let length = old.len();
        text.replace_range(at..at + length, new);
    }
}

/// Adds a member to the last field of a line; `None` if there is no such line.
fn join(text: &mut String, group: &str, user: &str) -> Option<bool> {
    let line = line_of(text, group)?;
    let (start, members) = line.rsplit_once(':')?;
    let mut members: Vec<&str> = members.split(',').filter(|member| !member.is_empty()).collect();
    if members.contains(&user) {
        return Some(false);
    }
    members.push(user);
    let new = format!("{start}:{}", members.join(","));
    replace_line(text, group, &new);
    Some(true)
}

/// Gives a user the range of subordinate ids behind all others.
fn add_range(text: &mut String, name: &str) {
    let end = |line: &str| -> Option<u64> {
        let [_, start, count] = fields(line)?;
        Some(start.parse::<u64>().ok()?.saturating_add(count.parse().ok()?))
    };
    if line_of(text, name).is_none() {
        let start = text.lines().filter_map(end).max().unwrap_or_default().max(SUB_MIN);
        append(text, &format!("{name}:{start}:{SUB_COUNT}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> Database {
        Database {
            passwd: "root:x:0:0:root:/root:/bin/bash\nann:x:1000:1000::/home/ann:/bin/bash\n".into(),
            group: "root:x:0:\nsudo:x:27:ann\nann:x:1000:\n".into(),
            shadow: Some("root:*:20000:0:99999:7:::\nann:$6$a$b:20000:0:99999:7:::\n".into()),
            gshadow: Some("root:*::\nsudo:*::ann\nann:!::".into()),
            subuid: Some("ann:100000:65536\n".into()),
            subgid: Some(String::new()),
        }
    }

    fn new<'a>(name: &'a str, uid: Option<u32>, home: &'a str, system: bool) -> NewUser<'a> {
        NewUser { name, uid, home, shell: "/bin/sh", system }
    }

    #[test]
    fn a_user_is_added_to_all_files() {
        let mut db = database();
        let user = db.add_user(&new("bob", None, "/home/bob", false), 19_675).unwrap();
        assert_eq!((user.uid, user.gid), (1001, 1001));
        assert!(db.join("bob", "sudo").unwrap());
        assert!(!db.join("bob", "sudo").unwrap());
        assert_eq!(db.passwd.lines().last(), Some("bob:x:1001:1001::/home/bob:/bin/sh"));
        assert_eq!(db.group, "root:x:0:\nsudo:x:27:ann,bob\nann:x:1000:\nbob:x:1001:\n");
        assert_eq!(db.shadow.as_ref().unwrap().lines().last(), Some("bob:!:19675:0:99999:7:::"));
        assert_eq!(db.gshadow.as_deref(), Some("root:*::\nsudo:*::ann,bob\nann:!::\nbob:!::\n"));
        assert_eq!(db.subuid.as_deref(), Some("ann:100000:65536\nbob:165536:65536\n"));
        assert_eq!(db.subgid.as_deref(), Some("bob:100000:65536\n"));
    }

    #[test]
    fn a_service_gets_a_number_from_the_top_and_no_subordinate_ids() {
        let mut db = database();
        assert_eq!(db.add_user(&new("app", None, "/nonexistent", true), 1).unwrap().uid, 999);
        assert_eq!(db.add_user(&new("web", None, "/nonexistent", true), 1).unwrap().uid, 998);
        assert_eq!(db.shadow.as_ref().unwrap().lines().last(), Some("web:!:1::::::"));
        assert_eq!(db.subuid, database().subuid);
        assert_eq!(db.add_group("extra", None, true).unwrap(), 997);
        assert_eq!(db.add_group("people", None, false).unwrap(), 1001);
    }

    #[test]
    fn what_is_taken_is_refused_and_changes_nothing() {
        for (user, cause) in [
            (new("ann", None, "/home/x", false), "`ann` exists already"),
            (new("bob", Some(1000), "/home/x", false), "1000 is taken"),
            (new("bob", Some(0), "/home/x", false), "0 is not between 1000 and 60000"),
            (new("bob", Some(0), "/home/x", true), "0 is not between 100 and 999"),
            (new("bob", Some(1001), "/home/x", true), "1001 is not between"),
            (new("bob", None, "/home/ann", false), "is the home of `ann`"),
        ] {
            let mut db = database();
            let error = db.add_user(&user, 1).unwrap_err();
            assert!(error.contains(cause), "{error}");
            assert_eq!(db, database());
        }
        assert!(database().join("ann", "none").unwrap_err().contains("no group `none`"));
        assert!(database().add_group("sudo", None, true).unwrap_err().contains("exists already"));
    }

    #[test]
    fn a_password_is_replaced_in_its_line_only() {
        let mut db = database();
        assert!(db.set_password("ann", "$6$c$d", 5).unwrap());
        assert!(!db.set_password("ann", "$6$c$d", 6).unwrap());
        assert_eq!(db.shadow.as_deref(), Some("root:*:20000:0:99999:7:::\nann:$6$c$d:5:0:99999:7:::\n"));
        assert!(db.set_password("an", "x", 5).unwrap_err().contains("no line in `/etc/shadow`"));
    }
}
