//! Defines errors about files of the image: a code for programs, a sentence for people.

use std::fmt;

use rustix::io::Errno;

/// Kinds of failure that a caller, a plugin among them, may want to tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileErrorCode {
    NotFound,
    Exists,
    /// A regular file is needed, and this is something else.
    NotAFile,
    NotADirectory,
    /// The request itself makes no sense, or asks for something refused on principle.
    Invalid,
    /// Too long, too many, too deep.
    Limit,
    /// The system said no.
    Io,
}

/// A failed access to a file of the image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileError {
    pub code: FileErrorCode,
    action: &'static str,
    path: String,
    cause: String,
}

impl FileError {
    /// Makes an error. `action` completes "cannot …"; `path` is the one inside the image.
    pub(super) fn new(
        code: FileErrorCode,
        action: &'static str,
        path: impl fmt::Display,
        cause: impl Into<String>,
    ) -> Self {
        Self { code, action, path: path.to_string(), cause: cause.into() }
    }

    pub(super) fn system(errno: Errno, action: &'static str, path: impl fmt::Display) -> Self {
        let (code, cause) = explain(errno);
        Self::new(code, action, path, cause.map_or_else(|| std::io::Error::from(errno).to_string(), str::to_owned))
    }

    pub(super) fn io(error: &std::io::Error, action: &'static str, path: impl fmt::Display) -> Self {
        match Errno::from_io_error(error) {
            Some(errno) => Self::system(errno, action, path),
            None => Self::new(FileErrorCode::Io, action, path, error.to_string()),
        }
    }

    /// Returns the path inside the image, as the caller wrote it.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Returns the reason alone, without action and path.
    pub fn cause(&self) -> &str {
        &self.cause
    }
}

impl fmt::Display for FileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Names in an image are hostile text: control and invisible characters are shown escaped.
        write!(f, "cannot {} `{}`: {}", self.action, self.path.escape_debug(), self.cause)
    }
}

impl std::error::Error for FileError {}

/// Returns the kernel's answer in the image's terms; none keeps the kernel's own words.
fn explain(errno: Errno) -> (FileErrorCode, Option<&'static str>) {
    match errno {
        Errno::NOENT => (FileErrorCode::NotFound, Some("there is no such file in the image")),
        Errno::EXIST => (FileErrorCode::Exists, Some("it exists already")),
        Errno::NOTEMPTY => (FileErrorCode::Exists, Some("the directory is not empty")),
        Errno::NOTDIR => (FileErrorCode::NotADirectory, Some("a part of the path is not a directory")),
        Errno::ISDIR => (FileErrorCode::NotAFile, Some("it is a directory")),
        Errno::LOOP => (FileErrorCode::Invalid, Some("the path has a loop or too many symbolic links")),
        Errno::XDEV => (FileErrorCode::Invalid, Some("the path leaves the image's own file system")),
        Errno::NAMETOOLONG => (FileErrorCode::Invalid, Some("the path is too long")),
        Errno::INVAL => (FileErrorCode::Invalid, None),
        Errno::TOOBIG => (FileErrorCode::Limit, Some("the directory has more entries than are read")),
        Errno::FBIG | Errno::MLINK | Errno::DQUOT => (FileErrorCode::Limit, None),
        Errno::NOSYS => (FileErrorCode::Io, Some("the kernel has no `openat2`; Linux 5.6 or newer is needed")),
        _ => (FileErrorCode::Io, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sentence_names_action_path_and_cause() {
        let error = FileError::system(Errno::NOENT, "read", "/etc/\u{1b}[2Jmotd");
        assert_eq!(error.code, FileErrorCode::NotFound);
        assert_eq!(error.to_string(), "cannot read `/etc/\\u{1b}[2Jmotd`: there is no such file in the image");
        let error = FileError::system(Errno::NOSYS, "open", "/");
        assert!(error.to_string().ends_with("Linux 5.6 or newer is needed"), "{error}");
    }
}
