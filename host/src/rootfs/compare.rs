//! Compares two trees path by path: type, mode, owner, extended attributes, size, links and content; not times.
//!
//! Meant for trees that nothing else changes meanwhile. No link is followed, and nothing but regular files is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::fs::{File, Metadata};
use std::io::Read as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Result};
use crate::ui::{Printable as _, printable};

/// Aspect in which a path differs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Aspect {
    /// Only one of the trees has it.
    Existence,
    /// File, directory, link, device, pipe or socket.
    Type,
    Mode,
    Owner,
    /// Extended attributes, access control lists and capabilities included.
    Attributes,
    /// Number of a file's names.
    Links,
    Size,
    /// Bytes of a file, target of a link, number of a device.
    Content,
    /// When the content was changed; [`compare`] does not look at it.
    Time,
}

impl fmt::Display for Aspect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Existence => "existence",
            Self::Type => "type",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Attributes => "attributes",
            Self::Links => "links",
            Self::Size => "size",
            Self::Content => "content",
            Self::Time => "time",
        })
    }
}

/// A path that is not the same in both trees.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Absolute, as seen in the tree.
    pub path: String,
    pub aspects: BTreeSet<Aspect>,
}

/// Result of a comparison.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// Paths that at least one of the trees has.
    pub paths: usize,
    pub differences: Vec<Difference>,
}

/// Compares everything below `a` and `b`, their roots included.
///
/// # Privileges
/// Must be able to read every file of both.
///
/// # Errors
/// If one cannot be read.
pub fn compare(a: &Path, b: &Path) -> Result<Comparison> {
    let mut comparison = Comparison::default();
    entry(&mut comparison, &Sides { a, b, inside: Path::new("/") })?;
    Ok(comparison)
}

/// One path in both trees.
struct Sides<'a> {
    a: &'a Path,
    b: &'a Path,
    inside: &'a Path,
}

fn entry(comparison: &mut Comparison, sides: &Sides<'_>) -> Result<()> {
    comparison.paths += 1;
    comparison.add(sides.inside, aspects(sides.a, sides.b, is_of_overlayfs)?);
    if is_dir(sides.a)? && is_dir(sides.b)? {
        let names: BTreeSet<OsString> = names(sides.a)?.into_iter().chain(names(sides.b)?).collect();
        for name in names {
            let (a, b, inside) = (sides.a.join(&name), sides.b.join(&name), sides.inside.join(&name));
            entry(comparison, &Sides { a: &a, b: &b, inside: &inside })?;
        }
    }
    Ok(())
}

fn is_dir(path: &Path) -> Result<bool> {
    Ok(metadata(path)?.is_some_and(|metadata| metadata.is_dir()))
}

/// Returns whether overlayfs remembers something by the attribute of that name. A mounted overlay hides its own ones:
/// what it shows under such a name, somebody has set.
fn is_of_overlayfs(name: &[u8]) -> bool {
    name.starts_with(b"user.overlay.") || name.starts_with(b"trusted.overlay.")
}

/// Compares two entries, without their children and without attributes that are `ignored`.
pub(super) fn aspects(path_a: &Path, path_b: &Path, ignored: fn(&[u8]) -> bool) -> Result<BTreeSet<Aspect>> {
    let (Some(a), Some(b)) = (metadata(path_a)?, metadata(path_b)?) else {
        return Ok([Aspect::Existence].into());
    };
    let mut aspects = BTreeSet::new();
    let mut differs = |aspect, is: bool| {
        if is {
            aspects.insert(aspect);
        }
    };
    differs(Aspect::Mode, a.mode() & 0o7777 != b.mode() & 0o7777);
    differs(Aspect::Owner, (a.uid(), a.gid()) != (b.uid(), b.gid()));
    let kept = |path| -> Result<BTreeMap<_, _>> {
        Ok(attributes(path)?.into_iter().filter(|(name, _)| !ignored(name)).collect())
    };
    differs(Aspect::Attributes, kept(path_a)? != kept(path_b)?);
    if a.file_type() != b.file_type() {
        differs(Aspect::Type, true);
    } else if a.is_file() {
        differs(Aspect::Size, a.len() != b.len());
        differs(Aspect::Links, a.nlink() != b.nlink());
        differs(Aspect::Content, a.len() != b.len() || !same_content(path_a, path_b)?);
    } else if a.is_symlink() {
        differs(Aspect::Content, target(path_a)? != target(path_b)?);
    } else if a.file_type().is_char_device() || a.file_type().is_block_device() {
        differs(Aspect::Content, a.rdev() != b.rdev());
    }
    Ok(aspects)
}

impl Comparison {
    fn add(&mut self, path: &Path, aspects: BTreeSet<Aspect>) {
        if !aspects.is_empty() {
            self.differences.push(Difference { path: path.printable(), aspects });
        }
    }
}

fn failed(path: &Path) -> String {
    format!("cannot read `{}`", printable(&path.to_string_lossy()))
}

pub(super) fn metadata(path: &Path) -> Result<Option<Metadata>> {
    match std::fs::symlink_metadata(path) {
        Ok(metadata) => Ok(Some(metadata)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| failed(path)),
    }
}

pub(super) fn names(directory: &Path) -> Result<Vec<OsString>> {
    std::fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.file_name())).collect())
        .with_context(|| failed(directory))
}

fn target(path: &Path) -> Result<PathBuf> {
    std::fs::read_link(path).with_context(|| failed(path))
}

/// Reads the extended attributes, by name.
pub(super) fn attributes(path: &Path) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
    // The kernel's own limit for the list and for a value, `XATTR_LIST_MAX` and `XATTR_SIZE_MAX` of linux/limits.h.
    const LIMIT: usize = 64 << 10;
    let mut list = vec![0; LIMIT];
    let length = match rustix::fs::llistxattr(path, &mut list[..]) {
        Ok(length) => length,
        Err(rustix::io::Errno::OPNOTSUPP) => 0,
        Err(error) => return Err(error).with_context(|| failed(path)),
    };
    let mut found = BTreeMap::new();
    for name in list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty()) {
        let mut value = vec![0; LIMIT];
        let length = rustix::fs::lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value[..])
            .with_context(|| failed(path))?;
        value.truncate(length);
        found.insert(name.to_vec(), value);
    }
    Ok(found)
}

/// Returns whether two files of equal length are equal.
fn same_content(a: &Path, b: &Path) -> Result<bool> {
    const CHUNK: usize = 128 << 10;
    let open = |path: &Path| File::open(path).with_context(|| failed(path));
    let (mut file_a, mut file_b) = (open(a)?, open(b)?);
    let (mut buffer_a, mut buffer_b) = (vec![0; CHUNK], vec![0; CHUNK]);
    loop {
        let length = file_a.read(&mut buffer_a).with_context(|| failed(a))?;
        if length == 0 {
            return Ok(true);
        }
        file_b.read_exact(&mut buffer_b[..length]).with_context(|| failed(b))?;
        if buffer_a[..length] != buffer_b[..length] {
            return Ok(false);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    fn pair() -> (tempfile::TempDir, PathBuf, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        for tree in [&a, &b] {
            fs::create_dir_all(tree.join("etc")).unwrap();
            fs::write(tree.join("etc/same"), "same").unwrap();
            symlink("same", tree.join("etc/link")).unwrap();
        }
        (dir, a, b)
    }

    #[test]
    fn equal_trees_have_no_difference() {
        let (_dir, a, b) = pair();
        assert_eq!(compare(&a, &b).unwrap(), Comparison { paths: 4, differences: Vec::new() });
    }

    #[test]
    fn each_aspect_is_found_and_named() {
        type Change = fn(&Path);
        let cases: [(Change, &str, &[Aspect]); 8] = [
            (|tree| fs::write(tree.join("etc/new"), "").unwrap(), "/etc/new", &[Aspect::Existence]),
            (|tree| fs::write(tree.join("etc/same"), "emas").unwrap(), "/etc/same", &[Aspect::Content]),
            (|tree| fs::write(tree.join("etc/same"), "longer").unwrap(), "/etc/same", &[Aspect::Size, Aspect::Content]),
            (
                |tree| fs::set_permissions(tree.join("etc/same"), fs::Permissions::from_mode(0o4755)).unwrap(),
                "/etc/same",
                &[Aspect::Mode],
            ),
            (
                |tree| {
                    fs::remove_file(tree.join("etc/link")).unwrap();
                    symlink("other", tree.join("etc/link")).unwrap();
                },
                "/etc/link",
                &[Aspect::Content],
            ),
            (
                |tree| {
                    fs::remove_file(tree.join("etc/link")).unwrap();
                    fs::create_dir(tree.join("etc/link")).unwrap();
                    fs::set_permissions(tree.join("etc/link"), fs::Permissions::from_mode(0o777)).unwrap();
                },
                "/etc/link",
                &[Aspect::Type],
            ),
            (
                |tree| {
                    let flags = rustix::fs::XattrFlags::empty();
                    rustix::fs::lsetxattr(tree.join("etc/same"), "user.mark", b"x", flags).unwrap();
                },
                "/etc/same",
                &[Aspect::Attributes],
            ),
            (|tree| fs::hard_link(tree.join("etc/same"), tree.join("other")).unwrap(), "/etc/same", &[Aspect::Links]),
        ];
        for (change, path, aspects) in cases {
            let (_dir, a, b) = pair();
            change(&b);
            for (a, b) in [(&a, &b), (&b, &a)] {
                let found = compare(a, b).unwrap().differences;
                let expected = Difference { path: path.into(), aspects: aspects.iter().copied().collect() };
                assert!(found.contains(&expected), "{found:?} lacks {expected:?}");
            }
        }
    }
}
