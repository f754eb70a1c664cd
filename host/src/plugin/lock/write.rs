//! Puts `piimg.lock` in its place: whole, or not at all.

use std::io::Write as _;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Failure, Result};

/// What a new file may be used for, and by whom: it holds no secret.
const NEW_MODE: u32 = 0o644;

/// Changes the file to what `edit` makes of its text, which is none if there is no file yet. Nothing is written if that
/// is none or the same. The file keeps its mode and owner; where root makes one, it belongs to whom the
/// directory belongs to.
///
/// # Errors
/// [`Failure::usage`] if it cannot be read, understood or written; the file is then what it was.
pub fn update(path: &Path, edit: impl FnOnce(Option<&str>) -> Result<Option<String>>) -> Result<()> {
    // A link stays, and what it leads to is changed.
    let target = std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
    let old = super::read(&target)?;
    let new = edit(old.as_deref()).with_context(|| Failure::usage(format!("cannot use `{}`", path.display())))?;
    let Some(new) = new.filter(|new| old.as_ref() != Some(new)) else { return Ok(()) };
    replace(&target, &new).with_context(|| Failure::usage(format!("cannot write `{}`", path.display())))
}

fn replace(path: &Path, text: &str) -> Result<()> {
    let directory = match path.parent() {
        Some(parent) if parent != Path::new("") => parent.to_owned(),
        _ => PathBuf::from("."),
    };
    let (mode, owner) = match std::fs::metadata(path) {
        Ok(old) => (old.mode() & 0o777, old),
        Err(_) => (NEW_MODE, std::fs::metadata(&directory)?),
    };
    let mut file = tempfile::NamedTempFile::new_in(&directory)?;
    file.write_all(text.as_bytes())?;
    file.as_file().set_permissions(std::fs::Permissions::from_mode(mode))?;
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::fchown(file.as_file(), Some(owner.uid()), Some(owner.gid()))?;
    }
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_made_and_then_replaced() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("piimg.lock");
        update(&path, |old| {
            assert_eq!(old, None);
            Ok(Some("one".into()))
        })
        .unwrap();
        assert_eq!(path.metadata().unwrap().mode() & 0o777, NEW_MODE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        let link = dir.path().join("link");
        std::os::unix::fs::symlink("piimg.lock", &link).unwrap();
        update(&link, |old| Ok(Some(format!("{} two", old.unwrap())))).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one two");
        assert!(link.is_symlink() && path.metadata().unwrap().mode() & 0o777 == 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 2, "nothing else is left");
    }

    #[test]
    fn what_is_not_changed_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("piimg.lock");
        std::fs::write(&path, "text").unwrap();
        let before = path.metadata().unwrap().ino();
        update(&path, |old| Ok(old.map(str::to_owned))).unwrap();
        update(&path, |_| Ok(None)).unwrap();
        assert_eq!(path.metadata().unwrap().ino(), before);
        let error = update(&path, |_| anyhow::bail!("no")).unwrap_err();
        assert!(error.to_string().starts_with("cannot use `"), "{error}");
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "text");
    }

    #[test]
    fn what_cannot_be_written_is_named() {
        let error = update(Path::new("/nowhere/piimg.lock"), |_| Ok(Some("x".into()))).unwrap_err();
        assert_eq!(error.to_string(), "cannot write `/nowhere/piimg.lock`");
    }
}
