//! Finds the changes of a layer: compares the tree with it and without it. Their authors are in [`super::change_tracker`].
//!
//! Only paths of the upper directory are looked at, for nothing else can differ. Whiteouts and opaque directories need
//! not be understood: what they hide is missing in the one tree and present in the other. No link is followed.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::compare::{self, Aspect};
use super::places::{self, Place, Risk};
use crate::error::Result;

/// A path that a layer changes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Absolute. A name that is no UTF-8 has replacement characters, and [`Change::unreadable`] is set.
    pub path: String,
    pub kind: ChangeKind,
    /// Notable properties.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub notable: BTreeSet<Notable>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub unreadable: bool,
    /// Before or after, it is a directory: what is removed with it has no line of its own.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub directory: bool,
    /// The path in the tree, byte for byte; known only to the build that found the change.
    #[serde(skip)]
    pub place: PathBuf,
}

/// Kind of a change at a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ChangeKind {
    Added,
    Removed,
    /// Something of that name was there already.
    Changed(BTreeSet<Aspect>),
}

impl fmt::Display for ChangeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added => f.write_str("added"),
            Self::Removed => f.write_str("removed"),
            Self::Changed(aspects) => {
                let aspects: Vec<String> = aspects.iter().map(ToString::to_string).collect();
                write!(f, "changed ({})", aspects.join(", "))
            }
        }
    }
}

/// Reason why a path deserves a look whoever changed it: it lends rights, or makes code run without being asked to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(into = "String")]
pub enum Notable {
    SetId,
    FileCapabilities,
    Device,
    /// Everybody may write to it.
    Open,
    /// The path is in a [`Place`] with this `id`.
    At(&'static str),
    /// A directory above such a place, or a link where one was.
    LeadsTo(&'static str),
    /// Told by another version of piimg.
    Unheard,
}

impl Notable {
    const KINDS: [(&'static str, Self); 4] = [
        ("set-id", Self::SetId),
        ("file-capabilities", Self::FileCapabilities),
        ("device", Self::Device),
        ("open", Self::Open),
    ];

    fn place(self) -> Option<&'static Place> {
        match self {
            Self::At(id) | Self::LeadsTo(id) => places::by_id(id),
            Self::SetId | Self::FileCapabilities | Self::Device | Self::Open | Self::Unheard => None,
        }
    }

    /// Returns the risk of such a change.
    pub fn risk(self) -> Risk {
        self.place().map_or(Risk::High, |place| place.risk)
    }

    /// Returns whether packages bring such files all the time.
    pub fn is_usual(self) -> bool {
        self.place().is_some_and(|place| place.is_usual)
    }
}

// A derived implementation would borrow the ids from its input.
impl<'de> Deserialize<'de> for Notable {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::from)
    }
}

impl From<Notable> for String {
    fn from(notable: Notable) -> Self {
        let known = Notable::KINDS.iter().find(|(_, kind)| *kind == notable).map(|(name, _)| *name);
        match notable {
            Notable::At(id) => format!("at:{id}"),
            Notable::LeadsTo(id) => format!("leads-to:{id}"),
            _ => known.unwrap_or("unheard").to_owned(),
        }
    }
}

impl From<String> for Notable {
    fn from(text: String) -> Self {
        let id = |start| text.strip_prefix(start).and_then(places::by_id).map(|place| place.id);
        let kind = || Self::KINDS.iter().find(|(name, _)| *name == text).map(|(_, kind)| *kind);
        id("at:").map(Self::At).or_else(|| id("leads-to:").map(Self::LeadsTo)).or_else(kind).unwrap_or(Self::Unheard)
    }
}

impl fmt::Display for Notable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let does = self.place().map_or("deserves a look", |place| place.does);
        match self {
            Self::SetId => f.write_str("runs with the rights of its owner or group"),
            Self::FileCapabilities => f.write_str("has capabilities of its own"),
            Self::Device => f.write_str("is a device"),
            Self::Open => f.write_str("can be changed by every account"),
            Self::At(_) | Self::Unheard => f.write_str(does),
            Self::LeadsTo(_) => write!(f, "leads to what {does}"),
        }
    }
}

/// Lists what `upper` changes, by path: `before` is the tree without it, `after` the one with it.
///
/// # Privileges
/// Must be able to read every file of both.
///
/// # Errors
/// If one cannot be read.
pub fn changes(upper: &Path, before: &Path, after: &Path) -> Result<Vec<Change>> {
    let mut found = Vec::new();
    let sides = Sides { upper, before, after };
    sides.entry(Path::new(""), true, &mut found)?;
    Ok(found)
}

struct Sides<'a> {
    upper: &'a Path,
    before: &'a Path,
    after: &'a Path,
}

impl Sides<'_> {
    /// Compares one entry. `known`: its directory was a directory before. If it was a link, a path through it leads
    /// elsewhere.
    fn entry(&self, inside: &Path, known: bool, found: &mut Vec<Change>) -> Result<()> {
        let (old, new) = (self.before.join(inside), self.after.join(inside));
        let old_metadata = if known { compare::metadata(&old)? } else { None };
        let new_metadata = compare::metadata(&new)?;
        let kind = match (&old_metadata, &new_metadata) {
            (None, None) => None,
            (None, Some(_)) => Some(ChangeKind::Added),
            (Some(_), None) => Some(ChangeKind::Removed),
            (Some(before), Some(after)) => {
                let mut aspects = compare::aspects(&old, &new, |_| false)?;
                // Copying a file into a layer drops its other names. A file with several names in the layer got them
                // there: whoever may change one may change the others.
                aspects.remove(&Aspect::Links);
                let place = compare::metadata(&self.upper.join(inside))?;
                if place.is_some_and(|place| place.is_file() && place.nlink() > 1) {
                    aspects.insert(Aspect::Links);
                }
                if !after.is_dir() && (before.mtime(), before.mtime_nsec()) != (after.mtime(), after.mtime_nsec()) {
                    aspects.insert(Aspect::Time);
                }
                (!aspects.is_empty()).then_some(ChangeKind::Changed(aspects))
            }
        };
        let is_dir = |metadata: &Option<std::fs::Metadata>| metadata.as_ref().is_some_and(std::fs::Metadata::is_dir);
        if let Some(kind) = kind {
            let path = Path::new("/").join(inside);
            let notable = notable(&path, &new, &kind, is_dir(&old_metadata))?;
            found.push(Change {
                path: path.to_string_lossy().into_owned(),
                kind,
                notable,
                unreadable: path.to_str().is_none(),
                directory: is_dir(&old_metadata) || is_dir(&new_metadata),
                place: inside.to_owned(),
            });
        }
        if !is_dir(&new_metadata) {
            return Ok(());
        }
        let mut names: BTreeSet<OsString> = compare::names(&self.upper.join(inside))?.into_iter().collect();
        let known = is_dir(&old_metadata);
        if known {
            for name in compare::names(&old)? {
                if !names.contains(&name) && compare::metadata(&new.join(&name))?.is_none() {
                    names.insert(name);
                }
            }
        }
        names.iter().try_for_each(|name| self.entry(&inside.join(name), known, found))
    }
}

/// Returns what is notable about the entry `path`, which lies at `place` in the tree after the change.
pub(crate) fn notable(path: &Path, place: &Path, kind: &ChangeKind, was_directory: bool) -> Result<BTreeSet<Notable>> {
    let text = path.to_string_lossy();
    let at = |text: &str| places::of_file(text).map(|place| Notable::At(place.id));
    let leads = || places::of_directory(&text).map(|place| Notable::LeadsTo(place.id));
    let Some(metadata) = compare::metadata(place)? else {
        // Removing a directory removes its content.
        let gone = at(&text).or_else(|| if was_directory { leads() } else { None });
        return Ok(gone.into_iter().collect());
    };
    let mut found = BTreeSet::new();
    let (mode, file_type) = (metadata.mode(), metadata.file_type());
    if metadata.is_file() && mode & 0o6000 != 0 {
        found.insert(Notable::SetId);
    }
    if file_type.is_char_device() || file_type.is_block_device() {
        found.insert(Notable::Device);
    }
    if compare::attributes(place)?.contains_key(&b"security.capability"[..]) {
        found.insert(Notable::FileCapabilities);
    }
    // In a directory with the sticky bit, users may change only their own files.
    if mode & 0o002 != 0 && (metadata.is_file() || metadata.is_dir() && mode & 0o1000 == 0) {
        found.insert(Notable::Open);
    }
    if !metadata.is_dir() {
        // A link in place of a directory shows the files of another directory.
        found.extend(at(&text).or_else(leads));
    } else if let ChangeKind::Changed(aspects) = kind
        && [Aspect::Mode, Aspect::Owner, Aspect::Attributes, Aspect::Type].iter().any(|it| aspects.contains(it))
    {
        found.extend(leads());
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    /// Two trees, and an upper directory that names what may differ; nothing in it is looked into.
    struct Trees {
        _dir: tempfile::TempDir,
        upper: PathBuf,
        before: PathBuf,
        after: PathBuf,
    }

    fn trees() -> Trees {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        let trees = Trees { upper: at("upper"), before: at("before"), after: at("after"), _dir: dir };
        for tree in [&trees.before, &trees.after] {
            fs::create_dir_all(tree.join("etc/old")).unwrap();
            for name in ["etc/same", "etc/edited", "etc/gone", "etc/old/a"] {
                fs::write(tree.join(name), "text").unwrap();
                let file = fs::File::options().write(true).open(tree.join(name)).unwrap();
                file.set_modified(std::time::UNIX_EPOCH).unwrap();
            }
        }
        fs::create_dir_all(trees.upper.join("etc")).unwrap();
        trees
    }

    fn touch(trees: &Trees, name: &str) {
        fs::create_dir_all(trees.upper.join(name).parent().unwrap()).unwrap();
        fs::write(trees.upper.join(name), "").unwrap();
    }

    fn found(trees: &Trees) -> Vec<(String, String)> {
        let changes = changes(&trees.upper, &trees.before, &trees.after).unwrap();
        changes.into_iter().map(|change| (change.path, change.kind.to_string())).collect()
    }

    #[test]
    fn each_kind_of_change_is_found_and_copies_are_not() {
        let trees = trees();
        fs::write(trees.after.join("etc/edited"), "other").unwrap();
        fs::remove_file(trees.after.join("etc/gone")).unwrap();
        fs::write(trees.after.join("etc/new"), "").unwrap();
        for name in ["etc/same", "etc/edited", "etc/gone", "etc/new"] {
            touch(&trees, name);
        }
        let expected =
            [("/etc/edited", "changed (size, content, time)"), ("/etc/gone", "removed"), ("/etc/new", "added")];
        assert_eq!(found(&trees), expected.map(|(path, kind)| (path.to_owned(), kind.to_owned())));
    }

    #[test]
    fn what_an_opaque_directory_hides_is_removed() {
        let trees = trees();
        fs::remove_file(trees.after.join("etc/old/a")).unwrap();
        fs::create_dir_all(trees.upper.join("etc/old")).unwrap();
        assert_eq!(found(&trees), [("/etc/old/a".to_owned(), "removed".to_owned())]);
    }

    #[test]
    fn a_new_time_is_a_change() {
        let trees = trees();
        let file = fs::File::options().write(true).open(trees.after.join("etc/same")).unwrap();
        file.set_modified(std::time::UNIX_EPOCH + std::time::Duration::from_secs(1)).unwrap();
        touch(&trees, "etc/same");
        assert_eq!(found(&trees), [("/etc/same".to_owned(), "changed (time)".to_owned())]);
    }

    #[test]
    fn a_second_name_and_an_attribute_that_overlayfs_might_use_are_changes() {
        let trees = trees();
        // As overlayfs does it: the file is copied into the layer, and linked there.
        touch(&trees, "etc/same");
        fs::create_dir_all(trees.upper.join("opt")).unwrap();
        fs::hard_link(trees.upper.join("etc/same"), trees.upper.join("opt/mine")).unwrap();
        assert_eq!(found(&trees), [("/etc/same".to_owned(), "changed (links)".to_owned())]);
        let trees = self::trees();
        touch(&trees, "etc/same");
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::lsetxattr(trees.after.join("etc/same"), "user.overlay.redirect", b"x", flags).unwrap();
        assert_eq!(found(&trees), [("/etc/same".to_owned(), "changed (attributes)".to_owned())]);
    }

    #[test]
    fn what_deserves_a_look_is_named() {
        let trees = trees();
        let cases = [
            ("usr/share/app/su", Some(Notable::SetId)),
            ("usr/share/app/open", Some(Notable::Open)),
            ("usr/share/app/plain", None),
            ("etc/systemd/system/multi-user.target.wants/x.service", Some(Notable::At("enabled-unit"))),
            ("etc/systemd/system/x.service", Some(Notable::At("units"))),
            ("etc/sudoers.d/x", Some(Notable::At("sudoers"))),
            ("etc/sudoers2", None),
            ("srv/ann/.ssh/authorized_keys2", Some(Notable::At("authorized-keys"))),
            ("etc/cron.d/x", Some(Notable::At("cron"))),
            ("etc/ld.so.preload", Some(Notable::At("preload"))),
            // A link where a directory belongs.
            ("etc/polkit-1", Some(Notable::At("polkit"))),
        ];
        for (name, _) in cases {
            let place = trees.after.join(name);
            fs::create_dir_all(place.parent().unwrap()).unwrap();
            if name.ends_with(".wants/x.service") || name.ends_with("-1") {
                symlink("../x.service", place).unwrap();
            } else {
                fs::write(&place, "").unwrap();
            }
            touch(&trees, name);
        }
        let allow = |name: &str, mode| {
            fs::set_permissions(trees.after.join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        allow("usr/share/app/su", 0o4755);
        allow("usr/share/app/open", 0o666);
        let changes = changes(&trees.upper, &trees.before, &trees.after).unwrap();
        for (name, expected) in cases {
            let change = changes.iter().find(|change| change.path == format!("/{name}")).unwrap();
            assert_eq!(change.notable.iter().copied().collect::<Vec<_>>(), Vec::from_iter(expected), "{name}");
        }
    }

    #[test]
    fn a_directory_is_named_for_its_owner_and_mode_and_for_what_goes_with_it() {
        let trees = trees();
        for tree in [&trees.before, &trees.after] {
            for name in ["etc/cron.d", "etc/pam.d", "etc/skel", "srv/app"] {
                fs::create_dir_all(tree.join(name)).unwrap();
            }
        }
        let allow = |name: &str| {
            fs::set_permissions(trees.after.join(name), fs::Permissions::from_mode(0o700)).unwrap();
        };
        allow("etc/cron.d");
        allow("etc");
        allow("srv/app");
        fs::remove_dir(trees.after.join("etc/pam.d")).unwrap();
        fs::create_dir_all(trees.after.join("etc/dbus-1")).unwrap();
        for name in ["etc/cron.d/x", "etc/pam.d", "etc/dbus-1/x", "srv/app/x"] {
            touch(&trees, name);
        }
        let changes = changes(&trees.upper, &trees.before, &trees.after).unwrap();
        for (path, expected) in [
            ("/etc/cron.d", Some(Notable::LeadsTo("cron"))),
            ("/etc", Some(Notable::LeadsTo("sudoers"))),
            ("/etc/pam.d", Some(Notable::At("pam"))),
            ("/etc/dbus-1", None),
            ("/srv/app", None),
        ] {
            let change = changes.iter().find(|change| change.path == path).unwrap_or_else(|| panic!("{path}"));
            assert_eq!(change.notable.iter().copied().collect::<Vec<_>>(), Vec::from_iter(expected), "{path}");
        }
    }

    #[test]
    fn what_is_notable_is_written_and_read() {
        for (notable, text) in [
            (Notable::SetId, "set-id"),
            (Notable::Open, "open"),
            (Notable::At("cron"), "at:cron"),
            (Notable::LeadsTo("sudoers"), "leads-to:sudoers"),
        ] {
            assert_eq!(serde_json::to_string(&notable).unwrap(), format!("\"{text}\""));
            assert_eq!(serde_json::from_str::<Notable>(&format!("\"{text}\"")).unwrap(), notable);
        }
        // Of another version.
        for text in ["runs-by-itself", "at:nowhere", ""] {
            assert_eq!(serde_json::from_str::<Notable>(&format!("\"{text}\"")).unwrap(), Notable::Unheard);
        }
        assert_eq!(Notable::LeadsTo("sudoers").to_string(), "leads to what says who may become root");
    }
}
