//! Lists the files of a commit for the image. Everything is checked before anything is written.

use std::collections::{HashMap, HashSet};
use std::fs::File;

use super::object::{Kind, ObjectId};
use super::pack::Pack;
use super::{Answer, Fault, GitError};

/// Most files, directories and links: the largest sources known have half of it.
const MAX_ENTRIES: usize = 200_000;

/// Most bytes of all files together: the tree of a commit may name one of them a million times.
const MAX_SIZE: u64 = 8 << 30;

/// Longest path within the commit, and longest name in it, in bytes: so that it fits below a directory of the image.
const MAX_PATH: usize = 3500;
const MAX_NAME: usize = 255;

/// A commit's files.
#[derive(Debug)]
pub struct Snapshot {
    entries: Vec<Entry>,
    contents: Contents,
}

/// Contents of the files, by their paths.
#[derive(Debug)]
enum Contents {
    Packed {
        pack: Pack,
        ids: HashMap<String, ObjectId>,
    },
    /// A test made them up.
    Made(HashMap<String, Vec<u8>>),
}

/// A file, directory or link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Relative to the top of the commit.
    pub path: String,
    pub kind: EntryKind,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EntryKind {
    Directory,
    File { executable: bool },
    Symlink { target: String },
}

/// One line of a tree.
struct Line<'a> {
    mode: u32,
    name: &'a str,
    id: ObjectId,
}

fn refused(path: &str, cause: &str) -> GitError {
    GitError::new(Fault::Refused, format!("`{path}` of the commit {cause}"))
}

impl Snapshot {
    /// Reads a pack, and finds in it the commit and all that belongs to it.
    ///
    /// # Errors
    /// [`Fault::Damaged`] if it is no pack, or does not hold the whole commit; [`Fault::Refused`] for submodules,
    /// `.git`, and names that lead elsewhere; [`Fault::Limit`] if it is too much.
    pub fn read(pack: File, commit: &ObjectId) -> Answer<Self> {
        let mut pack = Pack::read(pack, commit.format())?;
        let text = pack.content(commit, Kind::Commit)?;
        let tree = tree_of(&text).filter(|tree| tree.format() == commit.format());
        let tree = tree.ok_or_else(|| GitError::damaged(format!("the commit {commit} names no tree")))?;
        let (entries, ids) = list(&mut pack, tree)?;
        Ok(Self { entries, contents: Contents::Packed { pack, ids } })
    }

    /// Makes one of these entries, in order; the bytes are those of files.
    ///
    /// # Errors
    /// [`Fault::Refused`] for names that no commit has.
    pub fn made_up(made: impl IntoIterator<Item = (Entry, Vec<u8>)>) -> Answer<Self> {
        let (mut entries, mut contents) = (Vec::new(), HashMap::new());
        for (entry, content) in made {
            check_name(entry.path.rsplit('/').next().unwrap_or_default(), &entry.path)?;
            contents.insert(entry.path.clone(), content);
            entries.push(entry);
        }
        Ok(Self { entries, contents: Contents::Made(contents) })
    }

    /// Returns its files, directories and links, each directory before its content.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns the content of a file.
    ///
    /// # Errors
    /// [`Fault::Io`] if it cannot be read again.
    pub fn content(&mut self, entry: &Entry) -> Answer<Vec<u8>> {
        let found = match &mut self.contents {
            Contents::Packed { pack, ids } => ids.get(&entry.path).map(|id| pack.content(id, Kind::Blob)),
            Contents::Made(contents) => contents.get(&entry.path).cloned().map(Ok),
        };
        found.unwrap_or_else(|| Err(GitError::new(Fault::NotFound, format!("the commit has no `{}`", entry.path))))
    }
}

/// Lists what is in a tree and below it, with the ids of the contents.
fn list(pack: &mut Pack, top: ObjectId) -> Answer<(Vec<Entry>, HashMap<String, ObjectId>)> {
    let (mut entries, mut ids) = (Vec::new(), HashMap::new());
    let mut size = 0_u64;
    let mut open = vec![(String::new(), top)];
    while let Some((directory, tree)) = open.pop() {
        let text = pack.content(&tree, Kind::Tree)?;
        let mut names = HashSet::new();
        let mut rest = text.as_slice();
        while !rest.is_empty() {
            let line = line(&mut rest, &tree, &directory)?;
            let path = if directory.is_empty() { line.name.to_owned() } else { format!("{directory}/{}", line.name) };
            check_name(line.name, &path)?;
            if !names.insert(line.name.to_owned()) {
                return Err(refused(&path, "is there twice"));
            }
            if entries.len() >= MAX_ENTRIES {
                return Err(GitError::new(Fault::Limit, format!("the commit has more than {MAX_ENTRIES} files")));
            }
            let kind = kind(pack, &line, &path)?;
            match kind {
                EntryKind::Directory => open.push((path.clone(), line.id.clone())),
                EntryKind::File { .. } => size = size.saturating_add(pack.size(&line.id, Kind::Blob)?),
                EntryKind::Symlink { .. } => {}
            }
            if size > MAX_SIZE {
                let most = crate::ui::bytes(MAX_SIZE);
                return Err(GitError::new(Fault::Limit, format!("the commit's files have more than {most}")));
            }
            ids.insert(path.clone(), line.id);
            entries.push(Entry { path, kind });
        }
    }
    Ok((entries, ids))
}

/// Tells what a line of a tree is.
fn kind(pack: &mut Pack, line: &Line<'_>, path: &str) -> Answer<EntryKind> {
    match line.mode {
        0o40_000 => Ok(EntryKind::Directory),
        // What may be executed is told; old programs of git wrote down other bits as well.
        mode @ (0o100_644 | 0o100_664 | 0o100_755) => Ok(EntryKind::File { executable: mode == 0o100_755 }),
        0o120_000 => {
            let target = pack.content(&line.id, Kind::Blob)?;
            let fits = !target.is_empty() && target.len() <= 4095 && !target.contains(&0);
            let target = String::from_utf8(target).ok().filter(|_| fits);
            let target = target.ok_or_else(|| refused(path, "is a link that leads nowhere"))?;
            Ok(EntryKind::Symlink { target })
        }
        0o160_000 => Err(refused(path, "is a submodule, which is another repository: check it out by its own address")),
        mode => Err(refused(path, &format!("has the mode {mode:o}, which is none of git's"))),
    }
}

/// Returns the tree that a commit names first.
fn tree_of(commit: &[u8]) -> Option<ObjectId> {
    let line = commit.split(|byte| *byte == b'\n').next()?;
    ObjectId::parse(std::str::from_utf8(line.strip_prefix(b"tree ")?).ok()?)
}

/// Takes the first line off a tree: `mode name`, NUL, and the bytes of an id.
fn line<'a>(rest: &mut &'a [u8], tree: &ObjectId, directory: &str) -> Answer<Line<'a>> {
    let format = tree.format();
    let read = |text: &'a [u8]| -> Option<(u32, &'a [u8], ObjectId, &'a [u8])> {
        let (mode, text) = text.split_at(text.iter().position(|byte| *byte == b' ')?);
        let mode = std::str::from_utf8(mode).ok().filter(|mode| mode.bytes().all(|byte| byte.is_ascii_digit()))?;
        let (name, text) = text[1..].split_at(text[1..].iter().position(|byte| *byte == 0)?);
        let (id, text) = text[1..].split_at_checked(format.length())?;
        Some((u32::from_str_radix(mode, 8).ok()?, name, ObjectId::from_bytes(id, format)?, text))
    };
    let (mode, name, id, after) =
        read(rest).ok_or_else(|| GitError::damaged(format!("the tree {tree} of the commit cannot be read")))?;
    *rest = after;
    let name = std::str::from_utf8(name).map_err(|_| {
        let shown = String::from_utf8_lossy(name);
        refused(&format!("{directory}/{shown}"), "has a name that is not UTF-8")
    })?;
    Ok(Line { mode, name, id })
}

fn check_name(name: &str, path: &str) -> Answer<()> {
    let cause = if name.is_empty() {
        "has a file without a name"
    } else if matches!(name, "." | "..") || name.contains('/') {
        "leads elsewhere"
    } else if name.eq_ignore_ascii_case(".git") {
        "would be the data of a repository"
    } else if name.len() > MAX_NAME || path.len() > MAX_PATH {
        "is too long"
    } else {
        return Ok(());
    };
    Err(refused(path, cause))
}
