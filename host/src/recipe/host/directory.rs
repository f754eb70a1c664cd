//! Resolves paths of a recipe from the directory that it lies in.

use std::ffi::OsString;
use std::io;
use std::path::{Component, Path, PathBuf};

use super::HostPath;

/// Most links on the way of a path that does not exist, as the kernel's own limit.
const MOST_LINKS: usize = 40;

/// The directory that a recipe lies in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecipeDirectory {
    /// Path as the user named it.
    pub(super) shown: PathBuf,
    /// Absolute, without links.
    pub(super) place: PathBuf,
}

impl RecipeDirectory {
    /// # Errors
    /// If it is not there.
    pub fn open(shown: &Path) -> io::Result<Self> {
        let named = if shown == Path::new("") { Path::new(".") } else { shown };
        Ok(Self { shown: shown.to_owned(), place: named.canonicalize()? })
    }

    /// Returns the absolute path, without links.
    pub fn place(&self) -> &Path {
        &self.place
    }

    /// Returns the recipe itself, whose file is called `name`; `None` if it is a link that leads out of the directory.
    pub(in crate::recipe) fn recipe(&self, name: &Path) -> Option<HostPath> {
        let place = find(&self.place.join(name))?;
        self.holds(&place).then(|| HostPath::admitted(self.shown.join(name), place, true))
    }

    /// Returns whether a path, absolute and without links, is in it. What git keeps there is not the recipe's: the
    /// configuration may hold the token by which it was cloned.
    pub(super) fn holds(&self, place: &Path) -> bool {
        let Ok(inside) = place.strip_prefix(&self.place) else { return false };
        let is_gits = inside.components().any(|part| part.as_os_str().eq_ignore_ascii_case(".git"));
        self.place.is_absolute() && self.place != Path::new("/") && !is_gits
    }
}

/// Resolves a path to an absolute one without links. Missing components are appended to those that exist. Returns
/// `None` if it cannot be resolved.
pub(super) fn find(path: &Path) -> Option<PathBuf> {
    let mut path = path.to_owned();
    // What is not there, the last name first.
    let mut missing = Vec::new();
    let mut links = 0;
    loop {
        match path.canonicalize() {
            Ok(found) => {
                return Some(missing.into_iter().rev().fold(found, |path: PathBuf, name: OsString| path.join(name)));
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            // What no file can be called, is below a file, or cannot be looked at.
            Err(_) => return None,
        }
        if let Ok(target) = path.read_link() {
            // To what is not there: whoever writes there would make it.
            links += 1;
            path = path.parent().unwrap_or(Path::new("/")).join(target);
        } else if let Some(Component::Normal(name)) = path.components().next_back() {
            missing.push(name.to_owned());
            path.pop();
        } else {
            // The parent of what is not there.
            return None;
        }
        if links > MOST_LINKS {
            return None;
        }
    }
}
