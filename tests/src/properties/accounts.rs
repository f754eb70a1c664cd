//! The image's account files, which a plugin may have written: a new account is one line more, with the number that was
//! meant, and changes nobody else's.

use piimg::rootfs::accounts::database::{Database, NewUser, PEOPLE, SYSTEM};
use piimg::rootfs::accounts::keys::{self, AuthorizedKey};
use piimg::rootfs::units::{Install, Link, UnitName};

use super::naive::{choices, rest, words};

const LINES: [&str; 22] = [
    "root:x:0:0:root:/root:/bin/bash\n",
    "ann:x:1000:1000::/home/ann:/bin/bash\n",
    "ann:x:1000\n",
    "bob:x:60000:60000::/home/bob:/bin/sh",
    "app:x:999:999::/nonexistent:/bin/false\n",
    "root:x:0:\n",
    "ann:x:1000:\n",
    "video:x:44:ann,bob\n",
    "video:x:44\n",
    "video:x:44:::\n",
    "root:*:20000:0:99999:7:::\n",
    "ann:!:20000\n",
    "ann:100000:65536\n",
    "x:18446744073709551615:18446744073709551615\n",
    "+::::::\n",
    "-ann\n",
    ":::\n",
    "\n",
    "\r\n",
    "\0",
    "é:x:1:1::/:/bin/sh\n",
    "[Install]\nWantedBy=a.target\nAlias=../x.service\nAlso=%i\n",
];

pub(super) fn check(data: &[u8]) -> bool {
    choices(data, |input| {
        let mut file = |most| words(input, &LINES, most).map(|lines| lines.concat());
        let database = Database {
            passwd: file(4)?,
            group: file(4)?,
            shadow: Some(file(3)?),
            gshadow: None,
            subuid: Some(file(2)?),
            subgid: Some(file(2)?),
        };
        let system = input.arbitrary()?;
        let text = rest(input);
        check_key(text);
        check_unit(text);
        Ok(check_user(&database, system) | check_password(&database))
    })
}

fn check_user(old: &Database, system: bool) -> bool {
    let mut new = old.clone();
    let wanted = NewUser { name: "new", uid: None, home: "/home/new", shell: "/bin/sh", system };
    let Ok(user) = new.add_user(&wanted, 20_000) else { return false };
    assert!(if system { SYSTEM } else { PEOPLE }.contains(&user.uid), "{} of {old:?}", user.uid);
    let begins = |new: &str, old: &str, line: &str| {
        let end = if old.is_empty() || old.ends_with('\n') { "" } else { "\n" };
        assert_eq!(new, format!("{old}{end}{line}\n"));
    };
    begins(&new.passwd, &old.passwd, &format!("new:x:{}:{}::/home/new:/bin/sh", user.uid, user.gid));
    if new.group != old.group {
        begins(&new.group, &old.group, &format!("new:x:{}:", user.gid));
    }
    // What has not seven fields, or begins like the entry of a directory service, is no account to anybody.
    let known = |text: &str| {
        text.lines().map(|line| line.split(':').collect::<Vec<_>>()).any(|fields| {
            fields.len() == 7
                && !fields[0].is_empty()
                && !fields[0].starts_with(['+', '-', '#'])
                && fields[2] == user.uid.to_string()
        })
    };
    assert!(!known(&old.passwd), "the number {} is taken in {old:?}", user.uid);
    assert_eq!(new.accounts().user("new").map(|known| known.uid), Some(user.uid), "{new:?}");
    let (subuid, was) = (new.subuid.unwrap_or_default(), old.subuid.clone().unwrap_or_default());
    assert!(subuid.starts_with(&was) && (system || subuid.contains("new:")), "{subuid:?}");
    let mut again = Database { subuid: Some(subuid), ..new };
    assert!(again.add_user(&wanted, 20_000).is_err(), "there are two of them now");
    true
}

fn check_password(old: &Database) -> bool {
    let mut new = old.clone();
    let changed = new.set_password("root", "$6$a$b", 20_001);
    let (Some(before), Some(after)) = (&old.shadow, &new.shadow) else { return false };
    let others = |text: &str| -> Vec<String> {
        let mut lines: Vec<&str> = text.lines().collect();
        if let Some(at) = lines.iter().position(|line| line.split(':').next() == Some("root")) {
            lines.remove(at);
        }
        lines.into_iter().map(str::to_owned).collect()
    };
    assert_eq!(others(after), others(before));
    changed.is_ok()
}

fn check_key(text: &str) {
    let line = text.lines().next().unwrap_or_default();
    if let Ok(key) = AuthorizedKey::parse(line) {
        let (once, added) = keys::add("", std::slice::from_ref(&key));
        assert_eq!((once.as_str(), added), (format!("{line}\n").as_str(), 1));
        assert_eq!(keys::add(&once, &[key]), (once.clone(), 0));
        assert!(!line.contains(|c: char| c.is_control()) && !line.starts_with(|c: char| c.is_ascii_whitespace()));
    }
}

/// Checks where links for a unit would be made.
fn check_unit(text: &str) {
    let is_name = |name: &str| !name.contains(['/', '\0', ' ']) && !name.starts_with('.');
    if let Ok(name) = UnitName::parse(text.lines().next().unwrap_or_default()) {
        assert!(is_name(name.as_str()), "{name:?}");
    }
    let unit = UnitName::parse("app@x.service").expect("it is one");
    let install = Install::parse([text]);
    for link in install.links(&unit).into_iter().flatten() {
        let (Link::In { directory: _, unit } | Link::Alias(unit)) = &link;
        assert!(is_name(unit.as_str()), "{link:?}");
        if let Link::In { directory, .. } = &link {
            assert!(is_name(directory), "{link:?}");
        }
    }
    for unit in install.also(&unit).into_iter().flatten() {
        assert!(is_name(unit.as_str()), "{unit:?}");
    }
}
