//! Implements `fs.unpack`: the members of a tar archive, below one directory. All of it is looked at before the first file is
//! written.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read;

use super::fs::FinalLink;
use super::{Answer, Session, invalid};
use crate::error::Context as _;
use crate::plugin::capability::Need;
use crate::plugin::protocol::{FileAttrs, Owner};
use crate::plugin::workbench::{CallError, ErrorCode};
use crate::rootfs::files::{Attrs, FileKind, ImagePath};
use crate::rootfs::members::{self, Member, MemberKind};
use crate::ui::{bytes, printable};

/// Most files, directories and links, as of a commit of git.
const MAX_MEMBERS: usize = 200_000;

/// Most bytes of all files together: hard links are files of their own here.
const MAX_SIZE: u64 = 8 << 30;

/// Bits that an archive may set: none that lend rights.
const MODE: u32 = 0o1777;

impl Session<'_> {
    /// Unpacks the archive in a blob; returns the number of files and links.
    pub(super) fn unpack(&mut self, blob: u32, dest: &str, owner: Option<&Owner>, strip: u32) -> Answer<u64> {
        let top = self.resolve_authorized(dest, FinalLink::Follow, &[Need::fs_write_tree])?;
        let (user, group) = owner.map_or(("root", "root"), |owner| (&owner.user, &owner.group));
        let owner = self.numbers(&FileAttrs { mode: 0o755, user: user.to_owned(), group: group.to_owned() })?;
        let is_there = match self.bench.rootfs().metadata(&top)?.map(|found| found.kind) {
            None => false,
            Some(FileKind::Directory) => true,
            Some(_) => {
                let message = format!("cannot unpack into `{}`: it is no directory", printable(dest));
                return Err(CallError::new(ErrorCode::NotADirectory, message));
            }
        };
        let compressed = self.blobs.get(blob)?.to_file()?;
        let archive = self.bench.unpacked(&compressed).context("cannot unpack the archive");
        let archive = archive.map_err(|error| from_archive(&error))?;
        let strip = usize::try_from(strip).unwrap_or(usize::MAX);
        check(&archive, strip).map_err(|error| from_archive(&error))?;
        if !is_there {
            self.bench.rootfs().make_dir(&top, owner)?;
        }
        let mut unpacking =
            Unpacking { directories: HashMap::new(), links: Vec::new(), count: 0, session: self, top, owner, strip };
        let result = unpacking.run(&archive);
        let count = unpacking.count;
        result.map_err(|error| from_archive(&error)).inspect_err(|error| {
            // An incomplete archive is not what its author made: the layer is dropped.
            self.half_done = Some(format!("not all of an archive could be written: {error}"));
        })?;
        Ok(count)
    }
}

/// Returns an error of the archive: with its code if it has one, and the whole chain in one line.
fn from_archive(error: &anyhow::Error) -> CallError {
    let known = error.downcast_ref::<CallError>();
    CallError {
        code: known.map_or(ErrorCode::Invalid, |known| known.code),
        message: printable(&format!("{error:#}")),
        needed: known.and_then(|known| known.needed.clone()),
    }
}

/// Returns the path without its first parts; `None` if nothing is left.
fn stripped(path: &str, strip: usize) -> Option<&str> {
    let rest = (0..strip).try_fold(path, |rest, _| rest.split_once('/').map(|(_, rest)| rest))?;
    (!rest.is_empty()).then_some(rest)
}

/// Looks at all members, before any is written.
fn check(archive: &File, strip: usize) -> crate::error::Result<()> {
    let (mut count, mut size) = (0, 0_u64);
    let mut sizes: HashMap<String, u64> = HashMap::new();
    members::each(archive, &mut |Member { path, kind, .. }, _| {
        let Some(path) = stripped(&path, strip) else { return Ok(()) };
        count += 1;
        anyhow::ensure!(count <= MAX_MEMBERS, limit(format!("the archive has more than {MAX_MEMBERS} files")));
        let length = match kind {
            MemberKind::File(length) => length,
            MemberKind::HardLink(target) => {
                let length = stripped(&target, strip).and_then(|target| sizes.get(target).copied());
                length.ok_or_else(|| invalid("it is a link to a file that does not come before it"))?
            }
            MemberKind::Symlink(target) if target.is_empty() || target.len() > 4095 => {
                return Err(invalid("it is a link that leads nowhere").into());
            }
            MemberKind::Special => return Err(invalid("it is a device, a pipe or a socket").into()),
            MemberKind::Directory | MemberKind::Symlink(_) => 0,
        };
        size = size.saturating_add(length);
        anyhow::ensure!(
            size <= MAX_SIZE,
            limit(format!("the files of the archive have more than {}", bytes(MAX_SIZE)))
        );
        sizes.insert(path.to_owned(), length);
        Ok(())
    })
}

fn limit(message: String) -> CallError {
    CallError::new(ErrorCode::Limit, message)
}

/// The writing of an archive.
struct Unpacking<'a, 'b> {
    session: &'a mut Session<'b>,
    top: ImagePath,
    owner: Attrs,
    strip: usize,
    /// Real places of the archive's directories: links of the image may be on the way.
    directories: HashMap<String, ImagePath>,
    /// They are made last, so that none is on the way of a member.
    links: Vec<(ImagePath, String)>,
    count: u64,
}

impl Unpacking<'_, '_> {
    fn run(&mut self, archive: &File) -> crate::error::Result<()> {
        members::each(archive, &mut |member, content| Ok(self.take(&member, content)?))?;
        for (place, target) in std::mem::take(&mut self.links) {
            self.make_way(&place)?;
            self.session.bench.rootfs().symlink(&place, &target)?;
            self.count += 1;
        }
        Ok(())
    }

    fn take(&mut self, member: &Member, content: &mut dyn Read) -> Answer<()> {
        let Some(path) = stripped(&member.path, self.strip) else { return Ok(()) };
        let attrs = Attrs { mode: member.mode & MODE, ..self.owner };
        if member.kind == MemberKind::Directory {
            return self.directory(path, attrs).map(drop);
        }
        let place = self.place(path)?;
        match &member.kind {
            MemberKind::File(length) => {
                self.make_way(&place)?;
                self.session.bench.rootfs().write_from(content, *length, &place, attrs)?;
            }
            MemberKind::HardLink(target) => {
                // Found by `check`, and written before.
                let target = self.place(stripped(target, self.strip).unwrap_or_default())?;
                let source = self.session.bench.rootfs().open_file(&target)?;
                self.make_way(&place)?;
                self.session.bench.rootfs().install(&source, &place, attrs)?;
            }
            MemberKind::Symlink(target) => {
                self.links.push((place, target.clone()));
                return Ok(());
            }
            MemberKind::Directory | MemberKind::Special => return Ok(()),
        }
        self.count += 1;
        Ok(())
    }

    /// Returns where a member really goes, if that is allowed.
    fn place(&mut self, path: &str) -> Answer<ImagePath> {
        let (parent, name) = path.rsplit_once('/').unwrap_or(("", path));
        let parent = self.directory(parent, Attrs { mode: 0o755, ..self.owner })?;
        let place = parent.join(name)?;
        self.authorize(&place)?;
        Ok(place)
    }

    /// Returns where a directory of the archive really is, and makes it if it is not there.
    fn directory(&mut self, path: &str, attrs: Attrs) -> Answer<ImagePath> {
        if path.is_empty() {
            return Ok(self.top.clone());
        }
        if let Some(known) = self.directories.get(path) {
            return Ok(known.clone());
        }
        let (above, name) = path.rsplit_once('/').unwrap_or(("", path));
        let place = self.directory(above, Attrs { mode: 0o755, ..self.owner })?.join(name)?;
        let rootfs = self.session.bench.rootfs();
        let place = match rootfs.resolve(&place) {
            Ok(resolved) if rootfs.metadata(&resolved)?.is_some_and(|found| found.kind == FileKind::Directory) => {
                resolved
            }
            _ => {
                self.authorize(&place)?;
                self.session.bench.rootfs().make_dir(&place, attrs)?;
                place
            }
        };
        self.directories.insert(path.to_owned(), place.clone());
        Ok(place)
    }

    /// Asks the gate for what a link of the image leads out of the directory: that was allowed as a whole.
    fn authorize(&mut self, place: &ImagePath) -> Answer<()> {
        let top = self.top.as_str().trim_end_matches('/');
        match place.as_str().strip_prefix(top).is_some_and(|rest| rest.starts_with('/')) {
            true => Ok(()),
            false => self.session.gate(&Need::fs_write(place.as_str().to_owned())),
        }
    }

    /// Removes a link that is there: what is written takes its place, and not that of what it leads to.
    fn make_way(&self, place: &ImagePath) -> Answer<()> {
        let rootfs = self.session.bench.rootfs();
        let found = rootfs.metadata(place)?.map(|found| found.kind);
        match found {
            Some(FileKind::Symlink) => Ok(rootfs.remove(place, false)?),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_parts_of_a_path_are_left_out() {
        for (path, strip, expected) in [
            ("app-1.2/bin/x", 0, Some("app-1.2/bin/x")),
            ("app-1.2/bin/x", 1, Some("bin/x")),
            ("app-1.2/bin/x", 2, Some("x")),
            ("app-1.2/bin/x", 3, None),
            ("app-1.2", 1, None),
            ("", 0, None),
        ] {
            assert_eq!(stripped(path, strip), expected, "{path} {strip}");
        }
    }
}
