//! Users and groups of the image, read as data from its own `/etc/passwd` and `/etc/group`.
//!
//! The host's accounts are never asked. A line that is not well-formed is skipped, as the C library does: it
//! gives nobody a name or a number.

pub mod database;
pub mod keys;

use super::files::{FileError, FileErrorCode, ImagePath, Rootfs};

/// Most bytes of either file; a real one has a few kilobytes.
const LIMIT: u64 = 4 << 20;

/// The accounts of an image, as they were when they were read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Accounts {
    /// Users in the order of the file. If several lines have one name or number, the first counts.
    users: Vec<User>,
    groups: Vec<Group>,
}

/// A user of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub uid: u32,
    /// Number of the primary group.
    pub gid: u32,
    pub home: String,
    pub shell: String,
    /// Numbers of the further groups that list the user, without the primary one.
    pub groups: Vec<u32>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Group {
    name: String,
    gid: u32,
    members: Vec<String>,
}

impl Accounts {
    /// Reads both files; a missing one has no entries.
    ///
    /// # Errors
    /// [`FileErrorCode::Limit`] if one is too big to be real, [`FileErrorCode::NotAFile`] if it is no file.
    pub fn read(rootfs: &Rootfs) -> Result<Self, FileError> {
        let text = |path: &str| match rootfs.read(&ImagePath::parse(path)?, LIMIT) {
            Ok(data) => Ok(String::from_utf8_lossy(&data).into_owned()),
            Err(error) if error.code == FileErrorCode::NotFound => Ok(String::new()),
            Err(error) => Err(error),
        };
        Ok(Self::parse(&text("/etc/passwd")?, &text("/etc/group")?))
    }

    fn parse(passwd: &str, group: &str) -> Self {
        Self {
            users: passwd.lines().filter_map(parse_user).collect(),
            groups: group.lines().filter_map(parse_group).collect(),
        }
    }

    /// Returns the number of the user called `name`.
    pub fn uid(&self, name: &str) -> Option<u32> {
        self.entry(name).map(|user| user.uid)
    }

    /// Returns the number of the group called `name`.
    pub fn gid(&self, name: &str) -> Option<u32> {
        self.groups.iter().find(|group| group.name == name).map(|group| group.gid)
    }

    pub fn user_name(&self, uid: u32) -> Option<&str> {
        self.users.iter().find(|user| user.uid == uid).map(|user| user.name.as_str())
    }

    pub fn group_name(&self, gid: u32) -> Option<&str> {
        self.groups.iter().find(|group| group.gid == gid).map(|group| group.name.as_str())
    }

    /// Returns the user called `name`, with the groups it is in.
    pub fn user(&self, name: &str) -> Option<User> {
        let user = self.entry(name)?;
        let lists = |group: &&Group| group.gid != user.gid && group.members.iter().any(|member| member == name);
        let groups = self.groups.iter().filter(lists).map(|group| group.gid).collect();
        Some(User { groups, ..user.clone() })
    }

    fn entry(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }
}

fn parse_user(line: &str) -> Option<User> {
    let [name, _password, uid, gid, _comment, home, shell] = fields(line)?;
    Some(User {
        name: name.to_owned(),
        uid: number(uid)?,
        gid: number(gid)?,
        home: home.to_owned(),
        shell: shell.to_owned(),
        groups: Vec::new(),
    })
}

fn parse_group(line: &str) -> Option<Group> {
    let [name, _password, gid, members] = fields(line)?;
    let members = members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect();
    Some(Group { name: name.to_owned(), gid: number(gid)?, members })
}

/// Splits a line into exactly `N` fields, the first of which is a name. See
/// <https://man7.org/linux/man-pages/man5/passwd.5.html>.
fn fields<const N: usize>(line: &str) -> Option<[&str; N]> {
    let fields: [&str; N] = line.split(':').collect::<Vec<_>>().try_into().ok()?;
    // `+` and `-` would include the accounts of a directory service.
    (!fields[0].is_empty() && !fields[0].starts_with(['+', '-', '#'])).then_some(fields)
}

/// Returns a user or group number. The highest one means "unchanged" to `chown` and names nobody.
fn number(text: &str) -> Option<u32> {
    // `parse` would accept a sign.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number != u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\n\
        daemon:x:1:1::/usr/sbin:/usr/sbin/nologin\n\
        ann:x:1000:1000:Ann,,,:/home/ann:/bin/sh\n\
        ann:x:0:0::/root:/bin/sh\n\
        shadowed:x:1000:7::/:/bin/sh\n\
        short:x:5:5\n\
        :x:6:6::/:/bin/sh\n\
        plus:x:+7:7::/:/bin/sh\n\
        minus:x:-1:7::/:/bin/sh\n\
        huge:x:4294967296:7::/:/bin/sh\n\
        nobody-at-all:x:4294967295:7::/:/bin/sh\n\
        +::::::\n\
        #ghost:x:8:8::/:/bin/sh\n";
    const GROUP: &str = "root:x:0:\nsudo:x:27:ann,bob\nann:x:1000:ann\nvideo:x:44:bob,,ann\nbad:x:zz:\nextra:x:9:a:b\n";

    #[test]
    fn names_and_numbers_are_found_both_ways() {
        let accounts = Accounts::parse(PASSWD, GROUP);
        for (name, uid) in [
            ("root", Some(0)),
            ("ann", Some(1000)),
            ("short", None),
            ("", None),
            ("plus", None),
            ("minus", None),
            ("huge", None),
            ("nobody-at-all", None),
            ("+", None),
            ("#ghost", None),
            ("bob", None),
        ] {
            assert_eq!(accounts.uid(name), uid, "{name}");
        }
        for (name, gid) in [("sudo", Some(27)), ("bad", None), ("extra", None), ("none", None)] {
            assert_eq!(accounts.gid(name), gid, "{name}");
        }
        assert_eq!([accounts.user_name(1000), accounts.user_name(5)], [Some("ann"), None]);
        assert_eq!([accounts.group_name(44), accounts.group_name(9)], [Some("video"), None]);
    }

    #[test]
    fn a_user_knows_its_further_groups() {
        let ann = Accounts::parse(PASSWD, GROUP).user("ann").unwrap();
        assert_eq!((ann.uid, ann.gid, ann.home.as_str(), ann.shell.as_str()), (1000, 1000, "/home/ann", "/bin/sh"));
        assert_eq!(ann.groups, [27, 44]);
        assert_eq!(Accounts::parse("", "").user("ann"), None);
    }

    #[test]
    fn files_are_read_from_the_image_within_a_limit() {
        let dir = tempfile::tempdir().unwrap();
        let rootfs = Rootfs::open(dir.path(), 0).unwrap();
        assert_eq!(Accounts::read(&rootfs).unwrap(), Accounts::default());
        std::fs::create_dir(dir.path().join("etc")).unwrap();
        std::fs::write(dir.path().join("etc/passwd"), PASSWD).unwrap();
        assert_eq!(Accounts::read(&rootfs).unwrap().uid("ann"), Some(1000));
        // Sparse: a length alone must not cost memory.
        std::fs::File::create(dir.path().join("etc/group")).unwrap().set_len(1 << 40).unwrap();
        let error = Accounts::read(&rootfs).unwrap_err();
        assert_eq!(error.code, FileErrorCode::Limit, "{error}");
    }
}
