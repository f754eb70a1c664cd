//! Writes the `debugfs` commands that rebuild a tree: sorted, so that equal trees give equal scripts.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs::Metadata;
use std::io::Write as _;
use std::os::unix::ffi::{OsStrExt as _, OsStringExt as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use super::large::{self, LARGE, Large};
use super::size::{BLOCK, ContentSize, entry_size};
use crate::error::{Context as _, Failure, Result};
use crate::ui::Printable as _;

/// Longest line that every `debugfs` reads in one piece.
const LONGEST_LINE: usize = 8000;

/// Attributes that mean something in the image; others belong to the host (`trusted.overlay.*`, SELinux).
const ATTRIBUTES: [&str; 3] = ["security.capability", "system.posix_acl_", "user."];

/// A finished script.
#[derive(Debug, Default)]
pub(super) struct Script {
    pub(super) commands: Vec<u8>,
    /// The files whose blocks the commands only allocate and list, in that order.
    pub(super) large: Vec<Large>,
    /// Space that the tree needs.
    pub(super) content: ContentSize,
    /// Values of extended attributes, which commands can only take from a file.
    values: Vec<NamedTempFile>,
}

/// Further names of files, by directory in the image.
type Links = BTreeMap<PathBuf, Vec<(OsString, PathBuf)>>;

/// State of the walk.
#[derive(Debug)]
struct Walk {
    epoch: u64,
    script: Script,
    /// First name of each file with several, by device and inode: its path in the image and how many names came.
    first: BTreeMap<(u64, u64), (PathBuf, u64)>,
    links: Links,
}

/// Writes the script that copies `tree`; no time is later than `epoch`.
///
/// # Errors
/// If the tree cannot be read or a name cannot be written in a script.
pub(super) fn script(tree: &Path, epoch: u64) -> Result<Script> {
    let tree = tree.canonicalize().with_context(|| format!("cannot read `{}`", tree.printable()))?;
    let mut walk = Walk { epoch, script: Script::default(), first: BTreeMap::new(), links: Links::new() };
    walk.directory(&tree, Path::new("/"))?;
    walk.further_names()?;
    let metadata = std::fs::symlink_metadata(&tree).with_context(|| format!("cannot read `{}`", tree.printable()))?;
    walk.command(&[b"cd", b"/"])?;
    walk.attributes(&tree, OsStr::new("."), &metadata)?;
    Ok(walk.script)
}

impl Walk {
    /// Adds everything below `dir`, which is `inside` in the image.
    fn directory(&mut self, dir: &Path, inside: &Path) -> Result<()> {
        let mut names = Vec::new();
        for entry in std::fs::read_dir(dir).with_context(|| format!("cannot read `{}`", dir.printable()))? {
            names.push(entry.with_context(|| format!("cannot read `{}`", dir.printable()))?.file_name());
        }
        names.sort();
        self.script.content.add_directory(names.iter().map(|name| entry_size(name.len())).sum());
        self.command(&[b"cd", inside.as_os_str().as_bytes()])?;
        let mut below = Vec::new();
        for name in names {
            let (source, path) = (dir.join(&name), inside.join(&name));
            let metadata =
                std::fs::symlink_metadata(&source).with_context(|| format!("cannot read `{}`", source.printable()))?;
            if metadata.is_dir() {
                // `mke2fs` has made this one already.
                if path != Path::new("/lost+found") {
                    self.command(&[b"mkdir", name.as_bytes()])?;
                }
                self.attributes(&source, &name, &metadata)?;
                below.push((source, path));
            } else {
                self.leaf(&source, inside, name, &metadata)?;
            }
        }
        below.iter().try_for_each(|(source, path)| self.directory(source, path))
    }

    fn leaf(&mut self, source: &Path, inside: &Path, name: OsString, metadata: &Metadata) -> Result<()> {
        if metadata.nlink() > 1 {
            if let Some((first, names)) = self.first.get_mut(&(metadata.dev(), metadata.ino())) {
                *names += 1;
                self.links.entry(inside.to_owned()).or_default().push((name, first.clone()));
                return Ok(());
            }
            self.first.insert((metadata.dev(), metadata.ino()), (inside.join(&name), 1));
        }
        if metadata.is_symlink() {
            let target = std::fs::read_link(source).with_context(|| format!("cannot read `{}`", source.printable()))?;
            self.script.content.add_symlink(metadata.len());
            self.command(&[b"symlink", name.as_bytes(), target.as_os_str().as_bytes()])?;
        } else if metadata.is_file() {
            self.file(source, &name, metadata.len())?;
        } else {
            return Err(Failure::build(format!(
                "cannot put `{}` into an image: it is a device, pipe or socket",
                inside.join(&name).to_string_lossy()
            ))
            .into());
        }
        self.attributes(source, &name, metadata)
    }

    fn file(&mut self, source: &Path, name: &OsStr, length: u64) -> Result<()> {
        if length < LARGE {
            self.script.content.add_file(std::slice::from_ref(&(0..length.div_ceil(BLOCK))));
            return self.command(&[b"write", source.as_os_str().as_bytes(), name.as_bytes()]);
        }
        let needed = large::needed(source, length).with_context(|| format!("cannot read `{}`", source.printable()))?;
        self.script.content.add_file(&needed);
        self.command(&[b"write", b"/dev/null", name.as_bytes()])?;
        let name = [b"./", name.as_bytes()].concat();
        for blocks in &needed {
            let [first, last] = [blocks.start, blocks.end - 1].map(|block| block.to_string());
            self.command(&[b"fallocate", &name, first.as_bytes(), last.as_bytes()])?;
        }
        self.command(&[b"sif", &name, b"size", length.to_string().as_bytes()])?;
        if !needed.is_empty() {
            self.command(&[b"dump_extents", b"-l", &name])?;
            self.script.large.push(Large { source: source.to_owned(), length, needed });
        }
        Ok(())
    }

    /// Sets owner, mode, time and extended attributes of the entry `name` of the current directory.
    fn attributes(&mut self, source: &Path, name: &OsStr, metadata: &Metadata) -> Result<()> {
        // A name in `<…>` would mean an inode's number.
        let name = [b"./", name.as_bytes()].concat();
        let modified = u64::try_from(metadata.mtime()).unwrap_or(0).min(self.epoch);
        let mut set = |field: &[u8], value: String| self.command(&[b"sif", &name, field, value.as_bytes()]);
        // `write` takes it over, unless there was nothing to write.
        if metadata.is_dir() || metadata.len() >= LARGE {
            set(b"mode", format!("0{:o}", metadata.mode()))?;
        }
        for (field, id) in [(&b"uid"[..], metadata.uid()), (b"gid", metadata.gid())] {
            if id != 0 {
                set(field, id.to_string())?;
            }
        }
        set(b"mtime", format!("@{modified}"))?;
        if metadata.is_symlink() { Ok(()) } else { self.extended(source, &name) }
    }

    fn extended(&mut self, source: &Path, name: &[u8]) -> Result<()> {
        let failed = || format!("cannot read the extended attributes of `{}`", source.printable());
        let mut list = vec![0; 64 << 10];
        let length = match rustix::fs::llistxattr(source, &mut list[..]) {
            Ok(length) => length,
            Err(rustix::io::Errno::OPNOTSUPP) => 0,
            Err(error) => return Err(error).with_context(failed),
        };
        let mut keys: Vec<&[u8]> = list[..length].split(|byte| *byte == 0).collect();
        keys.retain(|key| ATTRIBUTES.iter().any(|wanted| key.starts_with(wanted.as_bytes())));
        keys.sort_unstable();
        for key in keys {
            let mut value = vec![0; 64 << 10];
            let length = rustix::fs::lgetxattr(source, OsStr::from_bytes(key), &mut value[..]).with_context(failed)?;
            let mut file = NamedTempFile::new().context("cannot make a temporary file")?;
            file.write_all(&value[..length]).context("cannot write a temporary file")?;
            self.command(&[b"ea_set", b"-f", file.path().as_os_str().as_bytes(), name, key])?;
            self.script.values.push(file);
        }
        Ok(())
    }

    /// Gives files their further names, when all first names exist.
    fn further_names(&mut self) -> Result<()> {
        for (inside, links) in std::mem::take(&mut self.links) {
            self.command(&[b"cd", inside.as_os_str().as_bytes()])?;
            // `ln` does not make a directory longer, so room is made for all names first.
            let bytes: u64 = links.iter().map(|(name, _)| entry_size(name.len())).sum();
            for _ in 0..bytes.div_ceil(BLOCK - 12 - entry_size(255)) {
                self.command(&[b"expand_dir", b"."])?;
            }
            for (name, first) in links {
                self.command(&[b"ln", first.as_os_str().as_bytes(), name.as_bytes()])?;
            }
        }
        // Nor does it count names.
        for (path, names) in std::mem::take(&mut self.first).into_values() {
            self.command(&[b"sif", path.as_os_str().as_bytes(), b"links_count", names.to_string().as_bytes()])?;
        }
        Ok(())
    }

    /// Appends one command.
    fn command(&mut self, words: &[&[u8]]) -> Result<()> {
        let start = self.script.commands.len();
        let line = &mut self.script.commands;
        for (i, word) in words.iter().enumerate() {
            if word.contains(&b'\n') || word.contains(&b'\r') {
                let word = OsString::from_vec(word.to_vec());
                return Err(
                    Failure::build(format!("cannot put {word:?} into an image: it contains a line break")).into()
                );
            }
            if i == 0 {
                line.extend_from_slice(word);
                continue;
            }
            line.extend_from_slice(b" \"");
            for byte in *word {
                // Within quotes a quote is written twice; nothing else is special.
                line.extend_from_slice(if *byte == b'"' { b"\"\"" } else { std::slice::from_ref(byte) });
            }
            line.push(b'"');
        }
        line.push(b'\n');
        if line.len() - start > LONGEST_LINE {
            let name = String::from_utf8_lossy(words.last().copied().unwrap_or_default()).into_owned();
            return Err(Failure::build(format!("cannot put `{name}` into an image: its path is too long")).into());
        }
        Ok(())
    }
}
