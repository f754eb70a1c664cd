//! Implements `git`: the files of a commit. The whole commit is fetched and checked before the first file is written.
//! Links come last, so that nothing is written through one.

use super::{Answer, Session, from_bench, invalid};
use crate::download::Url;
use crate::git::{EntryKind, Fault, GitError, ObjectId, Snapshot};
use crate::plugin::capability::Need;
use crate::plugin::protocol::{Checkout, FileAttrs};
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::rootfs::files::{Attrs, FileKind, ImagePath};
use crate::ui::printable;

use super::fs::FinalLink;

impl From<&GitError> for ErrorCode {
    fn from(error: &GitError) -> Self {
        match error.fault {
            Fault::Network => Self::Network,
            Fault::NotFound => Self::NotFound,
            Fault::Damaged => Self::DigestMismatch,
            Fault::Refused => Self::Invalid,
            Fault::Limit => Self::Limit,
            Fault::Io => Self::Io,
        }
    }
}

impl Session<'_> {
    /// Checks out a commit; returns the number of files and links. `proof` is a user name and the name of the secret
    /// with the password.
    pub(super) fn checkout(&mut self, checkout: &Checkout, proof: Option<(&str, &str)>) -> Answer<u64> {
        let commit = ObjectId::parse(&checkout.commit).ok_or_else(|| {
            let commit = &checkout.commit;
            invalid(format!("`{commit}` is no commit: name it by all of its 40 or 64 hexadecimal digits, in lowercase"))
        })?;
        let url = parse(&checkout.url)?;
        self.gate(&Need::net_tree(url.to_string()))?;
        let header = match proof {
            Some((user, secret)) => Some(self.secret(secret)?.authorization_of(user).map_err(invalid)?),
            None => None,
        };
        let place = self.resolve_authorized(&checkout.path, FinalLink::Keep, &[Need::fs_write_tree])?;
        let (user, group) = checkout.owner.clone().unwrap_or_else(|| ("root".into(), "root".into()));
        let owner = self.numbers(&FileAttrs { mode: 0o644, user, group })?;
        let is_there = self.is_empty_directory(&place)?;
        let failed =
            |error: &GitError| CallError::new(error.into(), format!("cannot check out {commit} of `{url}`: {error}"));
        let mut snapshot = self
            .bench
            .fetch_commit(&url, &commit, header.as_ref())
            .map_err(|error| error.downcast_ref::<GitError>().map_or_else(|| from_bench(&error), failed))?;
        if !is_there {
            self.bench.rootfs().make_dir(&place, Attrs { mode: 0o755, ..owner })?;
        }
        self.write_all(&mut snapshot, &place, owner).inspect_err(|error| {
            // An incomplete commit is not what its author made: the layer is dropped.
            self.half_done = Some(format!("not all files of a commit could be written: {error}"));
        })
    }

    /// Returns whether there is an empty directory; `false` if there is nothing.
    fn is_empty_directory(&self, place: &ImagePath) -> Answer<bool> {
        let rootfs = self.bench.rootfs();
        match rootfs.metadata(place)? {
            None => Ok(false),
            Some(found) if found.kind == FileKind::Directory && rootfs.list_dir(place)?.is_empty() => Ok(true),
            Some(_) => {
                let message = format!("`{}` is there already, and is no empty directory", printable(place.as_str()));
                Err(CallError::new(ErrorCode::Exists, message))
            }
        }
    }

    fn write_all(&self, snapshot: &mut Snapshot, place: &ImagePath, owner: Attrs) -> Answer<u64> {
        let rootfs = self.bench.rootfs();
        let (mut links, mut count) = (Vec::new(), 0);
        for entry in snapshot.entries().to_vec() {
            let path = place.join(&entry.path)?;
            match &entry.kind {
                EntryKind::Directory => rootfs.make_dir(&path, Attrs { mode: 0o755, ..owner })?,
                EntryKind::File { executable } => {
                    let content =
                        snapshot.content(&entry).map_err(|error| CallError::new((&error).into(), error.to_string()))?;
                    let mode = if *executable { 0o755 } else { 0o644 };
                    rootfs.write(&path, &content, Attrs { mode, ..owner })?;
                    count += 1;
                }
                EntryKind::Symlink { target } => links.push((path, target.clone())),
            }
        }
        for (path, target) in links {
            rootfs.symlink(&path, &target)?;
            count += 1;
        }
        Ok(count)
    }
}

/// Returns the address of a repository: it can have no query, for others are made of it.
fn parse(text: &str) -> Answer<Url> {
    let refused = |cause: &str| invalid(format!("`{text}` is no repository: {cause}"));
    let url = Url::parse(text).map_err(|cause| refused(&cause))?;
    if url.origin.scheme != "https" {
        return Err(refused("its address must begin with `https://`"));
    }
    if url.query.is_some() {
        return Err(refused("its address has a query"));
    }
    if url.path.ends_with('/') {
        return Err(refused("its address ends in `/`"));
    }
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_plain_address_of_https() {
        assert_eq!(
            parse("https://git.example.org:443/ann/app.git").unwrap().to_string(),
            "https://git.example.org/ann/app.git"
        );
        for (text, cause) in [
            ("git.example.org/app", "does not begin with"),
            ("git://git.example.org/app", "does not begin with"),
            ("ssh://git@git.example.org/app", "does not begin with"),
            ("http://git.example.org/app", "must begin with `https://`"),
            ("https://ann:pw@git.example.org/app", "user or password"),
            ("https://git.example.org/app?x", "has a query"),
            ("https://git.example.org/app/", "ends in `/`"),
            ("https://git.example.org", "ends in `/`"),
            ("https://git.example.org/a/../b", "`..`"),
            ("--upload-pack=touch /tmp/x", "does not begin with"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.message.contains(cause) && error.message.contains("is no repository"), "{text}: {error}");
        }
    }
}
