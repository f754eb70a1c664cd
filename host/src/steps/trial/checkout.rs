//! Makes a commit of a directory of the host: a trial has no server of git.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use crate::error::{Context as _, Result};
use crate::git::{Entry, EntryKind, Snapshot};
use crate::ui::Printable as _;

/// Data of git's own in a directory that somebody cloned: no commit has it.
const GIT: &str = ".git";

/// Returns a commit with the files of `directory`.
///
/// # Errors
/// If it cannot be read, or has what no commit has.
pub(super) fn commit_of(directory: &Path) -> Result<Snapshot> {
    let mut made = Vec::new();
    let mut open = vec![(directory.to_owned(), String::new())];
    while let Some((place, inside)) = open.pop() {
        let failed = || format!("cannot read `{}`", place.printable());
        let entries = fs::read_dir(&place).with_context(failed)?.collect::<std::io::Result<Vec<_>>>();
        let mut entries = entries.with_context(failed)?;
        entries.sort_by_key(fs::DirEntry::file_name);
        for entry in entries.into_iter().filter(|entry| !(inside.is_empty() && entry.file_name() == GIT)) {
            let path = entry.path();
            let failed = || format!("cannot read `{}`", path.printable());
            let name = entry.file_name();
            let name = name.to_str().context("its name is no text").with_context(failed)?;
            let inside = if inside.is_empty() { name.to_owned() } else { format!("{inside}/{name}") };
            let metadata = entry.metadata().with_context(failed)?;
            let (kind, content) = if metadata.is_dir() {
                open.push((path, inside.clone()));
                (EntryKind::Directory, Vec::new())
            } else if metadata.is_symlink() {
                let target = fs::read_link(&path).with_context(failed)?;
                let target = target.to_str().context("its target is no text").with_context(failed)?.to_owned();
                (EntryKind::Symlink { target }, Vec::new())
            } else {
                let executable = metadata.permissions().mode() & 0o111 != 0;
                (EntryKind::File { executable }, fs::read(&path).with_context(failed)?)
            };
            made.push((Entry { path: inside, kind }, content));
        }
    }
    Ok(Snapshot::made_up(made)?)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_clone_becomes_a_commit_without_gits_own_data() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        for name in [".git/objects", "src/.git-keep"] {
            fs::create_dir_all(path(name)).unwrap();
        }
        fs::write(path("src/run"), "#!/bin/sh\n").unwrap();
        fs::set_permissions(path("src/run"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(path("README"), "x\n").unwrap();
        symlink("README", path("link")).unwrap();
        let mut commit = commit_of(dir.path()).unwrap();
        let entries = commit.entries().to_vec();
        let paths: Vec<&str> = entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["README", "link", "src", "src/.git-keep", "src/run"]);
        assert_eq!(entries[1].kind, EntryKind::Symlink { target: "README".into() });
        assert_eq!(entries[4].kind, EntryKind::File { executable: true });
        assert_eq!(commit.content(&entries[4]).unwrap(), b"#!/bin/sh\n");
        fs::create_dir(path("src/.git")).unwrap();
        let error = commit_of(dir.path()).unwrap_err().to_string();
        assert_eq!(error, "`src/.git` of the commit would be the data of a repository");
    }
}
