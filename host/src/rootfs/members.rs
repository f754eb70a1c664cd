//! Reads the members of a tar archive: <https://www.gnu.org/software/tar/manual/html_node/Standard.html>.
//!
//! The archive may be anybody's. It is read by code that has no way to leave its memory, one member after the other, and no
//! path of a member leads elsewhere.

use std::fs::File;
use std::io::{BufReader, Read, Seek as _};

use crate::error::{Context as _, Result};
use crate::ui::Printable as _;

/// Kind of a member.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MemberKind {
    /// A file of this length.
    File(u64),
    Directory,
    /// A link that says this.
    Symlink(String),
    /// Another name of the member at this path.
    HardLink(String),
    /// A device, pipe or socket.
    Special,
}

/// A member of an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Path from the top of the archive, without `.` and `..`; empty for the top itself.
    pub path: String,
    pub kind: MemberKind,
    /// Permission bits with set-user-id, set-group-id and sticky.
    pub mode: u32,
    pub uid: u64,
    pub gid: u64,
}

/// Hands each member and its content to `take`, in the order of the archive, which is not compressed.
///
/// # Errors
/// If the archive is damaged, or a member has a name that no image can have; those of `take`, with the member.
pub fn each(archive: &File, take: &mut dyn FnMut(Member, &mut dyn Read) -> Result<()>) -> Result<()> {
    let mut file = archive;
    file.rewind().context("cannot read the archive")?;
    let mut archive = tar::Archive::new(BufReader::new(file));
    for entry in archive.entries().context("cannot read the archive")? {
        let mut entry = entry.context("cannot read the archive")?;
        let path = entry.path().context("cannot read the archive")?.into_owned();
        let failed = || format!("cannot unpack `{}`", path.printable());
        let member = member(&entry, path.to_str().context("its name is no text").with_context(failed)?);
        take(member.with_context(failed)?, &mut entry).with_context(failed)?;
    }
    Ok(())
}

fn member(entry: &tar::Entry<'_, impl Read>, path: &str) -> Result<Member> {
    let target = || -> Result<String> {
        let target = entry.link_name()?.context("it has no target")?;
        Ok(target.to_str().context("its target is no text")?.to_owned())
    };
    let header = entry.header();
    let kind = header.entry_type();
    let kind = if kind.is_dir() {
        MemberKind::Directory
    } else if kind.is_file() || kind.is_contiguous() || kind.is_gnu_sparse() {
        MemberKind::File(entry.size())
    } else if kind.is_symlink() {
        MemberKind::Symlink(target()?)
    } else if kind.is_hard_link() {
        MemberKind::HardLink(inside(&target()?)?)
    } else {
        MemberKind::Special
    };
    Ok(Member { path: inside(path)?, kind, mode: header.mode()? & 0o7777, uid: header.uid()?, gid: header.gid()? })
}

/// Returns a path from the top of the archive.
fn inside(path: &str) -> Result<String> {
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    anyhow::ensure!(!parts.contains(&".."), "it leads out of the archive");
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_stays_below_the_top() {
        for (path, expected) in [("a/b", "a/b"), ("./a//b/", "a/b"), ("/etc/x", "etc/x"), ("./", ""), ("a/./b", "a/b")]
        {
            assert_eq!(inside(path).unwrap(), expected);
        }
        for path in ["..", "a/../b", "/../x"] {
            assert_eq!(inside(path).unwrap_err().to_string(), "it leads out of the archive", "{path}");
        }
    }

    #[test]
    fn members_come_as_they_are_and_damage_is_an_error() {
        let mut builder = tar::Builder::new(tempfile::tempfile().unwrap());
        let mut add = |kind: tar::EntryType, path: &str, target: Option<&str>, data: &[u8]| {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(kind);
            header.set_size(data.len() as u64);
            header.set_mode(0o4755);
            header.set_uid(5);
            header.set_gid(6);
            match target {
                Some(target) => builder.append_link(&mut header, path, target).unwrap(),
                None => builder.append_data(&mut header, path, data).unwrap(),
            }
        };
        add(tar::EntryType::Directory, "d/", None, b"");
        add(tar::EntryType::Regular, "d/file", None, b"content");
        add(tar::EntryType::Symlink, "link", Some("/etc/passwd"), b"");
        add(tar::EntryType::Link, "hard", Some("./d/file"), b"");
        add(tar::EntryType::Fifo, "pipe", None, b"");
        let file = builder.into_inner().unwrap();
        let mut found = Vec::new();
        each(&file, &mut |member, content| {
            let mut text = String::new();
            content.read_to_string(&mut text)?;
            assert_eq!((member.mode, member.uid, member.gid), (0o4755, 5, 6));
            found.push((member.path, member.kind, text));
            Ok(())
        })
        .unwrap();
        let expected = [
            ("d", MemberKind::Directory, ""),
            ("d/file", MemberKind::File(7), "content"),
            ("link", MemberKind::Symlink("/etc/passwd".into()), ""),
            ("hard", MemberKind::HardLink("d/file".into()), ""),
            ("pipe", MemberKind::Special, ""),
        ];
        assert_eq!(found, expected.map(|(path, kind, text)| (path.to_owned(), kind, text.to_owned())));
        file.set_len(700).unwrap();
        let error = each(&file, &mut |_, content| {
            std::io::copy(content, &mut std::io::sink())?;
            Ok(())
        });
        let error = error.unwrap_err();
        assert!(format!("{error:#}").starts_with("cannot read the archive"), "{error:#}");
    }
}
