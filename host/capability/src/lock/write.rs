//! Puts `piimg.lock` in its place: whole, or not at all.

use std::path::Path;

use rustix::fs::{Gid, Mode, Uid};

use super::{file_name, open_directory, read_in};
use piimg_sandbox::error::{Context as _, Failure, Result};
use piimg_sandbox::host_files::{Directory, for_user};
use piimg_sandbox::text::Printable as _;

/// Mode of a new file: it holds no secret.
const NEW_MODE: u32 = 0o644;

/// Replaces the file by the result of `edit`, which gets the old text, or `None` without a file. Nothing is written if
/// the result is `None` or the same text. The file keeps its mode and owner. A file that root makes gets the owner of
/// its directory.
///
/// # Errors
/// [`Failure::usage`] if it cannot be read, understood or written, a link among others; the file is then what it was.
pub fn update(path: &Path, edit: impl FnOnce(Option<&str>) -> Result<Option<String>>) -> Result<()> {
    let cannot_write = || Failure::usage(format!("cannot write `{}`", path.printable()));
    let directory = open_directory(path).with_context(cannot_write)?;
    let old = read_in(&directory, path)?;
    let new = edit(old.as_deref()).with_context(|| Failure::usage(format!("cannot use `{}`", path.printable())))?;
    let Some(new) = new.filter(|new| old.as_ref() != Some(new)) else { return Ok(()) };
    replace(&directory, file_name(path), &new).with_context(cannot_write)
}

fn replace(directory: &Directory, name: &str, text: &str) -> Result<()> {
    let (mode, owner) = match directory.find(name)? {
        Some(old) => (Mode::from_raw_mode(old.st_mode & 0o777), old),
        None => (for_user(NEW_MODE), directory.stat()?),
    };
    directory.replace_with(name, text.as_bytes(), mode, |file| {
        if rustix::process::geteuid().is_root() {
            rustix::fs::fchown(file, Some(Uid::from_raw(owner.st_uid)), Some(Gid::from_raw(owner.st_gid)))?;
        }
        Ok(())
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

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
        update(&path, |old| Ok(Some(format!("{} two", old.unwrap())))).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "one two");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o640);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1, "nothing else is left");
    }

    #[test]
    fn a_link_is_neither_read_nor_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (canary, link) = (dir.path().join("canary"), dir.path().join("piimg.lock"));
        for is_there in [true, false] {
            if is_there {
                std::fs::write(&canary, "sings").unwrap();
            } else {
                std::fs::remove_file(&canary).unwrap();
            }
            std::fs::remove_file(&link).ok();
            std::os::unix::fs::symlink(&canary, &link).unwrap();
            let error = format!("{:#}", update(&link, |_| Ok(Some("x".into()))).unwrap_err());
            assert!(error.ends_with("it is a symbolic link, which leads somewhere else"), "{error}");
            assert_eq!(std::fs::read_to_string(&canary).ok().as_deref(), is_there.then_some("sings"));
            assert!(link.is_symlink());
        }
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
