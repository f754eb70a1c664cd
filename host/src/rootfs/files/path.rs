//! Paths inside the image: text that was checked for length and characters, nothing more.
//!
//! An [`ImagePath`] says nothing about what exists; [`super::Rootfs::resolve`] asks the kernel. `..` is kept,
//! because what it means depends on the symbolic links before it.

use std::fmt;

use super::{FileError, FileErrorCode};

/// Longest path in bytes; the kernel's `PATH_MAX` counts the final NUL too.
const MAX_PATH: usize = 4095;
/// Longest name of one file in bytes, on ext4 and overlayfs alike.
const MAX_NAME: usize = 255;

/// An absolute path inside the image, without empty components, `.` and trailing slash.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImagePath(String);

impl ImagePath {
    /// Returns the image's `/`.
    pub fn root() -> Self {
        Self("/".to_owned())
    }

    /// Checks `text` and normalises repeated slashes and `.`.
    ///
    /// # Errors
    /// [`FileErrorCode::Invalid`] for a relative path, a NUL and a path or name that is too long.
    pub fn parse(text: &str) -> Result<Self, FileError> {
        let invalid = |cause: &str| Err(FileError::new(FileErrorCode::Invalid, "use", text, cause));
        if text.len() > MAX_PATH {
            return invalid(&format!("the path is longer than {MAX_PATH} bytes"));
        }
        if !text.starts_with('/') {
            return invalid("the path is not absolute");
        }
        if text.contains('\0') {
            return invalid("the path contains a NUL character");
        }
        let mut path = String::with_capacity(text.len());
        for component in text.split('/').filter(|component| !component.is_empty() && *component != ".") {
            if component.len() > MAX_NAME {
                return invalid(&format!("a name in it is longer than {MAX_NAME} bytes"));
            }
            path.push('/');
            path.push_str(component);
        }
        if path.is_empty() {
            return Ok(Self::root());
        }
        Ok(Self(path))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn is_root(&self) -> bool {
        self.0 == "/"
    }

    /// Appends `relative` to this path; a leading slash of `relative` has no meaning.
    ///
    /// # Errors
    /// Those of [`ImagePath::parse`].
    pub fn join(&self, relative: &str) -> Result<Self, FileError> {
        Self::parse(&format!("{}/{relative}", self.0))
    }

    /// Returns the directory that holds this path's last component; `None` for `/` and for a path that ends in `..`,
    /// whose directory only [`super::Rootfs::resolve`] can tell.
    pub fn parent(&self) -> Option<Self> {
        self.split().map(|(parent, _)| parent)
    }

    /// Returns the last component; `None` for `/` and for a path that ends in `..`.
    pub fn file_name(&self) -> Option<&str> {
        self.0.rsplit('/').next().filter(|name| !name.is_empty() && *name != "..")
    }

    /// Splits the path into parent and last component.
    pub(super) fn split(&self) -> Option<(Self, &str)> {
        let name = self.file_name()?;
        let parent = &self.0[..self.0.len() - name.len() - 1];
        Some((if parent.is_empty() { Self::root() } else { Self(parent.to_owned()) }, name))
    }

    pub(super) fn components(&self) -> impl Iterator<Item = &str> {
        self.0.split('/').skip(1).filter(|component| !component.is_empty())
    }
}

impl fmt::Display for ImagePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_normalised_but_dot_dot_stays() {
        for (text, path, parent, name) in [
            ("/", "/", None, None),
            ("//.//", "/", None, None),
            ("/etc", "/etc", Some("/"), Some("etc")),
            ("/etc//./passwd/", "/etc/passwd", Some("/etc"), Some("passwd")),
            ("/etc/../root", "/etc/../root", Some("/etc/.."), Some("root")),
            ("/etc/..", "/etc/..", None, None),
            ("/...", "/...", Some("/"), Some("...")),
            ("/a\nb", "/a\nb", Some("/"), Some("a\nb")),
        ] {
            let parsed = ImagePath::parse(text).unwrap();
            assert_eq!(parsed.as_str(), path);
            assert_eq!(parsed.parent().as_ref().map(ImagePath::as_str), parent, "{text}");
            assert_eq!(parsed.file_name(), name, "{text}");
        }
    }

    #[test]
    fn impossible_paths_are_refused_with_the_reason() {
        for (text, cause) in [
            ("", "not absolute"),
            ("etc/passwd", "not absolute"),
            ("/a\0b", "NUL"),
            (&format!("/{}", "n".repeat(256)), "longer than 255 bytes"),
            (&"/n".repeat(2048), "longer than 4095 bytes"),
        ] {
            let error = ImagePath::parse(text).unwrap_err();
            assert_eq!(error.code, FileErrorCode::Invalid);
            assert!(error.to_string().contains(cause), "{error}");
        }
        ImagePath::parse(&format!("/{}", "n".repeat(255))).unwrap();
        ImagePath::parse(&format!("{}/", "/n".repeat(2047))).unwrap();
    }

    #[test]
    fn joining_keeps_the_path_absolute() {
        let etc = ImagePath::parse("/etc").unwrap();
        assert_eq!(etc.join("ssh/sshd_config").unwrap().as_str(), "/etc/ssh/sshd_config");
        assert_eq!(etc.join("/motd").unwrap().as_str(), "/etc/motd");
        assert_eq!(ImagePath::root().join("boot").unwrap().as_str(), "/boot");
    }
}
