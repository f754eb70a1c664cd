//! Chooses the ids of user namespaces, and writes their maps.

use std::fs;

use serde::{Deserialize, Serialize};

use super::{container, tool};
use crate::error::{Context, Failure, Result};

/// Number of ids inside the namespace, from 0: what a Debian system uses, `nobody` and `nogroup` included. See
/// <https://www.debian.org/doc/debian-policy/ch-opersys.html#uid-and-gid-classes>.
pub const IDS: u32 = 65536;

/// First host ids, which are id 0 inside; [`IDS`] of each follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct IdMap {
    pub uid_base: u32,
    pub gid_base: u32,
}

impl IdMap {
    /// Chooses the map for this user: any free range for root, the user's own subordinate ids otherwise
    /// (<https://man7.org/linux/man-pages/man5/subuid.5.html>).
    ///
    /// # Errors
    /// [`Failure::host`] if an ordinary user has no 65536 subordinate ids.
    pub fn choose() -> Result<Self> {
        let uid = rustix::process::getuid();
        if uid.is_root() {
            let mapped = Mapped::of_this_process();
            let subuid = fs::read_to_string("/etc/subuid").unwrap_or_default();
            return Self::for_root(&subuid, &mapped)
                .ok_or_else(|| Failure::host(mapped.too_few()).hint(container::TOO_FEW_IDS).into());
        }
        let name = user_name(uid.as_raw());
        Ok(Self {
            uid_base: subordinate_range("/etc/subuid", uid.as_raw(), name.as_deref())?,
            gid_base: subordinate_range("/etc/subgid", uid.as_raw(), name.as_deref())?,
        })
    }

    /// Checks that this user may use these ids: a store records the ids that it was made with.
    ///
    /// # Errors
    /// If they are ids of the host, which the kernel would let root map, or if a container does not have them.
    pub fn check(self) -> Result<()> {
        let is_shifted = |base: u32| base >= IDS && base.checked_add(IDS).is_some();
        let first = self.uid_base.min(self.gid_base);
        anyhow::ensure!(
            is_shifted(self.uid_base) && is_shifted(self.gid_base),
            "its ids, from {first} on, are this machine's own"
        );
        let mapped = Mapped::of_this_process();
        anyhow::ensure!(
            mapped.has(self),
            "its ids, from {first} on, do not exist in this container: it was made outside, or in another one"
        );
        Ok(())
    }

    /// Chooses ids that `/etc/subuid` gives to no user. Returns `None` if a container has too few of one kind.
    fn for_root(subuid: &str, mapped: &Mapped) -> Option<Self> {
        let taken: Vec<(u64, u64)> =
            subuid.lines().filter_map(parse_range).map(|(_, start, count)| (start, count)).collect();
        Some(Self { uid_base: pick(&taken, &mapped.uids)?, gid_base: pick(&taken, &mapped.gids)? })
    }
}

/// Picks the first range from 524288 up that is not `taken`. systemd-nspawn picks from there too:
/// <https://systemd.io/UIDS-GIDS/>. A container may have fewer ids; then a lower range will do.
fn pick(taken: &[(u64, u64)], mapped: &[(u64, u64)]) -> Option<u32> {
    let is_free = |base: &u32| {
        let base = u64::from(*base);
        taken.iter().all(|(start, count)| base + u64::from(IDS) <= *start || *start + *count <= base)
    };
    let starts = mapped.iter().filter_map(|(start, _)| u32::try_from(*start).ok()).filter(|start| *start >= IDS);
    let all: Vec<u32> =
        (8..28_000u32).chain(1..8).map(|index| index * IDS).chain(starts).filter(|base| holds(mapped, *base)).collect();
    // A container may have no range but one that its `/etc/subuid` gives to a user. That one is taken, then.
    all.iter().copied().find(is_free).or_else(|| all.first().copied())
}

/// Returns whether the kernel would map all ids from `base` on: they must be within one of the ranges.
fn holds(ranges: &[(u64, u64)], base: u32) -> bool {
    let (base, end) = (u64::from(base), u64::from(base) + u64::from(IDS));
    ranges.iter().any(|(start, count)| *start <= base && end <= *start + *count)
}

/// Ids that exist in this user namespace: all of them, unless this is a container that an ordinary user started. See
/// <https://man7.org/linux/man-pages/man7/user_namespaces.7.html>.
#[derive(Debug)]
struct Mapped {
    uids: Vec<(u64, u64)>,
    gids: Vec<(u64, u64)>,
}

impl Mapped {
    fn of_this_process() -> Self {
        let read = |kind: &str| ranges(&fs::read_to_string(format!("/proc/self/{kind}_map")).unwrap_or_default());
        Self { uids: read("uid"), gids: read("gid") }
    }

    fn has(&self, ids: IdMap) -> bool {
        holds(&self.uids, ids.uid_base) && holds(&self.gids, ids.gid_base)
    }

    fn too_few(&self) -> String {
        let count: u64 = self.uids.iter().map(|(_, count)| count).sum();
        format!("there are no {IDS} ids for the image beside the first {IDS}: this container has {count} in all")
    }
}

/// Parses an id map of the kernel, `inside outside count` in each line, into the ranges inside.
fn ranges(map: &str) -> Vec<(u64, u64)> {
    let number = |word: Option<&str>| word.and_then(|word| word.parse().ok());
    let range = |line: &str| {
        let mut words = line.split_whitespace();
        let (start, _outside) = (number(words.next())?, words.next()?);
        Some((start, number(words.next())?))
    };
    map.lines().filter_map(range).collect()
}

/// Parses a line `name:start:count` of `/etc/subuid`.
fn parse_range(line: &str) -> Option<(&str, u64, u64)> {
    let mut parts = line.trim().splitn(3, ':');
    Some((parts.next()?, parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

fn user_name(uid: u32) -> Option<String> {
    nix::unistd::User::from_uid(uid.into()).ok().flatten().map(|user| user.name)
}

fn subordinate_range(file: &str, uid: u32, name: Option<&str>) -> Result<u32> {
    let text = fs::read_to_string(file).unwrap_or_default();
    let id = uid.to_string();
    text.lines()
        .filter_map(parse_range)
        .filter(|(owner, _, count)| (*owner == id || Some(*owner) == name) && *count >= u64::from(IDS))
        .find_map(|(_, start, _)| u32::try_from(start).ok())
        .ok_or_else(|| {
            let user = name.unwrap_or(&id);
            Failure::host(format!("the user `{user}` has no 65536 subordinate ids in {file}"))
                .hint(format!(
                    "give them once: sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
                ))
                .hint("or run piimg with sudo")
                .into()
        })
}

/// Ids that a new user namespace gets.
#[derive(Clone, Copy)]
pub(super) enum Mapping {
    /// Inner id 0 is the first shifted id.
    Shifted(IdMap),
    /// Inner id 0 is the calling user, inner id 1 the first shifted id: for changing a file's owner.
    SelfAndShifted(IdMap),
}

/// Writes the id maps of process `pid`: directly as root, through `newuidmap` and `newgidmap` otherwise.
pub(super) fn write_maps(pid: u32, mapping: Mapping) -> Result<()> {
    let lines = |own: u32, base: u32| match mapping {
        Mapping::Shifted(_) => vec![[0, base, IDS]],
        Mapping::SelfAndShifted(_) => vec![[0, own, 1], [1, base, 1]],
    };
    let (Mapping::Shifted(ids) | Mapping::SelfAndShifted(ids)) = mapping;
    let uid = rustix::process::getuid();
    let uids = lines(uid.as_raw(), ids.uid_base);
    let gids = lines(rustix::process::getgid().as_raw(), ids.gid_base);
    for (kind, lines) in [("uid", uids), ("gid", gids)] {
        if uid.is_root() {
            write_map(pid, kind, &lines).with_context(|| {
                Failure::host(format!("cannot write the {kind} map of the user namespace"))
                    .hint("in a container, keep the capabilities SETUID and SETGID, which an engine gives by default")
            })?;
        } else {
            let program = format!("new{kind}map");
            let tool = tool::Tool::new(&program).arg(pid.to_string());
            tool.args(lines.iter().flatten().map(u32::to_string)).run().with_context(|| {
                Failure::host(format!("cannot have the {kind} map of the user namespace written"))
                    .hint("in a container, run piimg as its root: few containers let another user map ids")
            })?;
        }
    }
    Ok(())
}

/// Writes the id maps of process `pid` in which each id of this namespace is the same one.
pub(super) fn write_same_maps(pid: u32) -> Result<()> {
    for kind in ["uid", "gid"] {
        write_map(pid, kind, &[[0, 0, IDS]]).with_context(|| format!("cannot write the {kind} map of the box"))?;
    }
    Ok(())
}

/// Writes one map, of lines with inner id, outer id and number.
#[expect(clippy::disallowed_methods, reason = "a file of the kernel, of the process with that number")]
fn write_map(pid: u32, kind: &str, lines: &[[u32; 3]]) -> std::io::Result<()> {
    let text: String = lines.iter().map(|[inner, outer, count]| format!("{inner} {outer} {count}\n")).collect();
    fs::write(format!("/proc/{pid}/{kind}_map"), text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn root_takes_the_first_range_nobody_owns() {
        for (subuid, base) in [
            ("", 524_288),
            ("ann:100000:65536\n", 524_288),
            ("ann:524288:65536\n", 589_824),
            ("ann:500000:100000\nbob:600000:65536\n", 720_896),
            ("garbage\nann:x:y\n", 524_288),
        ] {
            let all = Mapped { uids: ranges("0 0 4294967295\n"), gids: ranges("0 0 4294967295\n") };
            assert_eq!(IdMap::for_root(subuid, &all).map(|ids| ids.uid_base), Some(base), "{subuid:?}");
        }
    }

    #[test]
    fn root_of_a_container_takes_what_the_container_has() {
        for (uids, gids, base) in [
            ("0 0 4294967295", "0 0 4294967295", Some(524_288)),
            ("0 1001 1\n1 100000 131072\n", "0 1001 1\n1 100000 131072\n", Some(65_536)),
            ("0 1001 1\n1 100000 65536\n", "0 1001 1\n1 100000 65536\n", None),
            ("0 1001 1\n1 100000 131072\n", "0 1001 1\n1 100000 65536\n", None),
            // The kernel maps no range that is in two pieces outside.
            ("0 1001 1\n1 100000 100000\n100001 300000 65000\n", "0 0 4294967295", None),
            (
                "0 1001 1\n1 100000 65536\n65537 200000 65536\n",
                "0 1001 1\n1 100000 65536\n65537 200000 65536\n",
                Some(65_537),
            ),
            ("0 100000 1048576", "0 100000 1048576", Some(524_288)),
            ("", "", None),
        ] {
            let mapped = Mapped { uids: ranges(uids), gids: ranges(gids) };
            let found = IdMap::for_root("ann:100000:65536\n", &mapped);
            assert_eq!(found.map(|ids| (ids.uid_base, ids.gid_base)), base.map(|base| (base, base)), "{uids:?}");
        }
    }

    #[test]
    fn ids_that_a_container_lacks_are_counted() {
        let mapped = Mapped { uids: ranges("0 1001 1\n1 100000 65536\n"), gids: Vec::new() };
        let expected = "there are no 65536 ids for the image beside the first 65536: this container has 65537 in all";
        assert_eq!(mapped.too_few(), expected);
    }

    #[test]
    fn a_user_without_subordinate_ids_is_told_how_to_get_them() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("subuid");
        fs::write(&file, "ann:100000:65536\n1001:300000:65536\nbob:400000:1000\n").unwrap();
        let file = file.to_str().unwrap();
        assert_eq!(subordinate_range(file, 7, Some("ann")).unwrap(), 100_000);
        assert_eq!(subordinate_range(file, 1001, None).unwrap(), 300_000);
        let report = crate::error::report(&subordinate_range(file, 8, Some("bob")).unwrap_err());
        assert!(report.messages[0].contains("`bob` has no 65536 subordinate ids"), "{report:?}");
        assert!(report.hints[0].contains("usermod --add-subuids"), "{report:?}");
    }
}
