//! Replaces a file whole, whoever else does so at the same time.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// Puts a file with this content at `path`: whoever reads it finds the old one or the new one, whole.
///
/// The file has a name by chance until then. The number of the process would not do: each build is in a namespace of its own, where
/// all of them have the same numbers.
///
/// # Errors
/// If the file system refuses; then nothing is left of it.
pub(crate) fn replace(path: &Path, content: &[u8]) -> io::Result<()> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "it has no name"));
    };
    let mut fresh = tempfile::Builder::new();
    let prefix = format!("{}.", name.to_string_lossy());
    let mut fresh = fresh.prefix(&prefix).permissions(Permissions::from_mode(0o644)).tempfile_in(directory)?;
    fresh.write_all(content)?;
    fresh.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_replace_it_at_once_and_each_version_is_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("head");
        std::thread::scope(|scope| {
            for writer in 0..4_u8 {
                let path = &path;
                scope.spawn(move || (0..200).for_each(|_| replace(path, &[writer; 5000]).unwrap()));
            }
            for _ in 0..200 {
                let Ok(found) = std::fs::read(&path) else { continue };
                assert!(found.len() == 5000 && found.iter().all(|byte| *byte == found[0]));
            }
        });
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o600, 0o600);
        assert!(replace(&dir.path().join("none/head"), b"x").is_err());
    }
}
