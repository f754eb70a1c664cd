//! Reads the files, and refuses the site's own if it is not root's alone: who can write it could raise the ceiling.

use std::fs::File;
use std::io::Read as _;
use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use piimg_sandbox::error::{Context as _, Failure, Result, with_cause};
use piimg_sandbox::text::Printable as _;

/// Most bytes of a file.
const LIMIT: u64 = 1 << 20;

/// Reads a file that only root can have written; returns `None` if it does not exist.
///
/// # Errors
/// [`Failure::host`] if it is there and others could write to it or put another one in its place.
pub(super) fn trusted(path: &Path) -> Result<Option<String>> {
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else {
        return Err(Failure::bug(format!("`{}` names no file in a directory", path.printable())).into());
    };
    let flags = OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let opened = rustix::fs::openat(CWD, directory, flags | OFlags::PATH | OFlags::DIRECTORY, Mode::empty());
    let Some(directory_fd) = there_is(opened, directory)? else { return Ok(None) };
    check(&directory_fd, directory, FileType::Directory)?;
    // Opening a FIFO must not block.
    let opened = rustix::fs::openat(&directory_fd, name, flags | OFlags::RDONLY | OFlags::NONBLOCK, Mode::empty());
    let Some(file) = there_is(opened, path)? else { return Ok(None) };
    check(&file, path, FileType::RegularFile)?;
    text(file.into(), path).map(Some)
}

/// Reads a file that can only narrow what others allow: whoever may have written it.
///
/// # Errors
/// [`Failure::usage`] if it cannot be read.
pub(super) fn any(path: &Path) -> Result<String> {
    let file = File::open(path).with_context(|| Failure::usage(format!("cannot read `{}`", path.printable())))?;
    text(file, path)
}

fn there_is(opened: rustix::io::Result<OwnedFd>, path: &Path) -> Result<Option<OwnedFd>> {
    let cannot = || Failure::host(format!("cannot read the site's policy `{}`", path.printable()));
    match opened {
        Ok(fd) => Ok(Some(fd)),
        Err(Errno::NOENT) => Ok(None),
        Err(Errno::LOOP) => Err(cannot().hint("replace the symbolic link by what it leads to").into()),
        Err(errno) => {
            let failure = cannot().hint("every user of piimg must be able to read it, or root must remove it");
            Err(with_cause(errno.into(), failure))
        }
    }
}

fn check(fd: &OwnedFd, path: &Path, kind: FileType) -> Result<()> {
    let stat = rustix::fs::fstat(fd).with_context(|| format!("cannot look at `{}`", path.printable()))?;
    match untrusted(&stat, kind) {
        None => Ok(()),
        Some(cause) => {
            Err(Failure::host(format!("the site's policy cannot be trusted: `{}` {cause}", path.printable()))
                .hint(format!("as root: chown root:root '{0}' && chmod go-w '{0}'", path.printable()))
                .into())
        }
    }
}

/// Returns why somebody other than root may have written the file, if that is so.
fn untrusted(stat: &Stat, kind: FileType) -> Option<String> {
    if FileType::from_raw_mode(stat.st_mode) != kind {
        return Some(match kind {
            FileType::Directory => "is not a directory".into(),
            _ => "is not a file".into(),
        });
    }
    if stat.st_uid != 0 {
        return Some(format!("belongs to the user {}, not to root", stat.st_uid));
    }
    // The group's bits are also the mask of an access control list: <https://man7.org/linux/man-pages/man5/acl.5.html>.
    (stat.st_mode & 0o022 != 0).then(|| "can be written to by others than root".into())
}

fn text(file: File, path: &Path) -> Result<String> {
    let mut text = String::new();
    file.take(LIMIT + 1)
        .read_to_string(&mut text)
        .with_context(|| Failure::usage(format!("cannot read `{}`", path.printable())))?;
    if u64::try_from(text.len()).is_ok_and(|length| length > LIMIT) {
        return Err(Failure::usage(format!("`{}` is bigger than 1 MiB: it is not a policy", path.printable())).into());
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};
    use std::path::PathBuf;

    use super::*;
    use piimg_sandbox::error::{Kind, report};

    /// A directory that only its owner can write to, with a policy in it.
    fn site() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o755)).unwrap();
        let path = dir.path().join("policy.toml");
        std::fs::write(&path, "content").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        (dir, path)
    }

    fn refusal(path: &Path) -> (Kind, String) {
        let report = report(&trusted(path).unwrap_err());
        (report.kind, report.messages[0].clone())
    }

    #[test]
    fn only_what_root_alone_can_write_is_trusted() {
        let file = libc_mode(FileType::RegularFile);
        let mut stat = rustix::fs::stat("/").unwrap();
        for (mode, uid, kind, expected) in [
            (0o644, 0, FileType::RegularFile, None),
            (0o600, 0, FileType::RegularFile, None),
            (0o664, 0, FileType::RegularFile, Some("can be written to")),
            (0o646, 0, FileType::RegularFile, Some("can be written to")),
            (0o644, 1000, FileType::RegularFile, Some("belongs to the user 1000")),
            (0o644, 0, FileType::Directory, Some("is not a directory")),
        ] {
            stat.st_mode = file | mode;
            stat.st_uid = uid;
            let cause = untrusted(&stat, kind);
            assert_eq!(cause.is_some(), expected.is_some(), "{mode:o} {uid}");
            assert!(cause.unwrap_or_default().contains(expected.unwrap_or_default()), "{mode:o} {uid}");
        }
    }

    fn libc_mode(kind: FileType) -> u32 {
        kind.as_raw_mode()
    }

    #[test]
    fn a_missing_file_is_no_ceiling_and_an_unsafe_one_no_policy() {
        let (dir, path) = site();
        assert_eq!(trusted(&dir.path().join("none/policy.toml")).unwrap(), None);
        assert_eq!(trusted(&dir.path().join("none.toml")).unwrap(), None);
        if dir.path().metadata().unwrap().uid() == 0 {
            assert_eq!(trusted(&path).unwrap().as_deref(), Some("content"));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o666)).unwrap();
            assert_eq!(refusal(&path).0, Kind::Host);
            assert!(refusal(&path).1.ends_with("policy.toml` can be written to by others than root"));
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
            // Who can write to the directory can take the file away.
            std::fs::set_permissions(dir.path(), std::fs::Permissions::from_mode(0o777)).unwrap();
            assert!(refusal(&path).1.ends_with("can be written to by others than root"), "{:?}", refusal(&path));
            std::fs::remove_file(&path).unwrap();
            assert_eq!(refusal(&path).0, Kind::Host, "that it is missing proves nothing there");
        } else {
            assert!(refusal(&path).1.ends_with("not to root"), "{:?}", refusal(&path));
        }
    }

    #[test]
    fn links_fifos_and_directories_are_no_policy() {
        let (dir, path) = site();
        let link = dir.path().join("link.toml");
        symlink(&path, &link).unwrap();
        std::fs::create_dir(dir.path().join("dir.toml")).unwrap();
        let fifo = dir.path().join("fifo.toml");
        rustix::fs::mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        for name in ["link.toml", "dir.toml", "fifo.toml"] {
            let (kind, message) = refusal(&dir.path().join(name));
            assert!(kind == Kind::Host && message.contains("the site's policy"), "{name}: {message}");
        }
        symlink(dir.path(), dir.path().join("aside")).unwrap();
        assert_eq!(refusal(&dir.path().join("aside/policy.toml")).0, Kind::Host);
    }

    #[test]
    fn a_huge_file_is_refused() {
        let (_dir, path) = site();
        File::options().write(true).open(&path).unwrap().set_len(LIMIT + 1).unwrap();
        assert!(any(&path).unwrap_err().to_string().contains("bigger than 1 MiB"));
    }
}
