//! Parses the output of `debugfs` about directories and inodes. Pure.

use crate::error::{Context as _, Failure, Result};
use crate::ui::printable;

/// Attributes that mean something in an image, by how their names begin; others belong to the machine that it was made on.
const ATTRIBUTES: [&str; 3] = ["security.capability", "system.posix_acl_", "user."];
/// Attributes that mean something to an overlay of this build.
const OVERLAY: &str = "user.overlay.";

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) inode: u32,
    pub(super) is_directory: bool,
    pub(super) name: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Directory,
    File,
    Symlink,
    /// Device, pipe or socket.
    Special,
}

/// Flags of inodes that matter here; <https://docs.kernel.org/filesystems/ext4/inodes.html> has all of them.
pub(super) mod flags {
    pub(in super::super) const IMMUTABLE: u32 = 0x10;
    pub(in super::super) const APPEND_ONLY: u32 = 0x20;
    pub(in super::super) const ENCRYPTED: u32 = 0x800;
    pub(in super::super) const VERITY: u32 = 0x10_0000;
    /// The content is in the inode itself.
    pub(in super::super) const INLINE: u32 = 0x1000_0000;
    pub(in super::super) const IGNORES_CASE: u32 = 0x4000_0000;
}

/// Blocks that lie behind one another, in the file and in the file system.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// First block within the file.
    pub(super) logical: u64,
    /// First block within the file system.
    pub(super) physical: u64,
    pub(super) blocks: u64,
}

/// Metadata of an inode.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Inode {
    pub(super) kind: Kind,
    /// Flags, those of [`flags`] among them.
    pub(super) flags: u32,
    /// Permission bits, the upper three included.
    pub(super) mode: u32,
    pub(super) owner: u32,
    pub(super) group: u32,
    /// Bytes.
    pub(super) size: u64,
    /// Seconds since 1970.
    pub(super) modified: i64,
    /// Names of those that are kept.
    pub(super) attributes: Vec<String>,
    /// Target of a symbolic link that is short enough to be in the inode.
    pub(super) target: Option<Vec<u8>>,
    /// Blocks that were written; all others are zeros.
    pub(super) runs: Vec<Run>,
}

impl Inode {
    pub(super) const fn has(&self, flag: u32) -> bool {
        self.flags & flag != 0
    }
}

/// Reads what `ls -p` printed: lines of `/inode/mode/uid/gid/name/size/`.
///
/// # Errors
/// If a line has another form, which means that a name has a line break in it.
pub(super) fn entries(text: &[u8]) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    // Room without an entry is listed as inode 0.
    let is_entry = |line: &&[u8]| !line.is_empty() && !line.starts_with(b"/0/");
    for line in text.split(|byte| *byte == b'\n').filter(is_entry) {
        let entry = entry(line)
            .with_context(|| Failure::build(format!("`{}` is no entry", printable(&String::from_utf8_lossy(line)))))?;
        if entry.name != b"." && entry.name != b".." {
            entries.push(entry);
        }
    }
    Ok(entries)
}

fn entry(line: &[u8]) -> Option<Entry> {
    let fields: Vec<&[u8]> = line.split(|byte| *byte == b'/').collect();
    let ([b"", inode, mode, _, _, name, _, b""], false) = (&fields[..], fields.len() != 8) else { return None };
    let mode = u32::from_str_radix(std::str::from_utf8(mode).ok()?, 8).ok()?;
    let inode = std::str::from_utf8(inode).ok()?.parse().ok()?;
    if name.is_empty() || name.contains(&0) {
        return None;
    }
    Some(Entry { inode, is_directory: mode & 0o170_000 == 0o040_000, name: name.to_vec() })
}

/// Reads what `stat` printed.
///
/// # Errors
/// If something is missing or cannot be taken over.
pub(super) fn parse(text: &[u8]) -> Result<Inode> {
    let shown = String::from_utf8_lossy(text);
    let after = |name: &str| shown.lines().find_map(|line| line.split_once(name)).map(|(_, rest)| rest.trim_start());
    let word = |name: &str| after(name).and_then(|rest| rest.split_whitespace().next());
    let missing = |name: &str| Failure::build(format!("`debugfs` says nothing of `{name}`"));
    let number =
        |name: &str| -> Result<u64> { word(name).and_then(|word| word.parse().ok()).with_context(|| missing(name)) };
    // The upper half of them is printed as negative numbers.
    let id = |name: &str| -> Result<u32> {
        let id = word(name).and_then(|word| word.parse::<i64>().ok()).with_context(|| missing(name))?;
        u32::try_from(id).or_else(|_| i32::try_from(id).map(i32::cast_unsigned)).with_context(|| missing(name))
    };
    let kind = match after("Type: ").unwrap_or_default() {
        text if text.starts_with("directory") => Kind::Directory,
        text if text.starts_with("regular") => Kind::File,
        text if text.starts_with("symlink") => Kind::Symlink,
        text if ["character special", "block special", "FIFO", "socket"].iter().any(|kind| text.starts_with(kind)) => {
            Kind::Special
        }
        text => return Err(Failure::build(format!("an inode is of the unknown type `{}`", printable(text))).into()),
    };
    let mode = word("Mode: ").and_then(|mode| u32::from_str_radix(mode, 8).ok()).with_context(|| missing("Mode"))?;
    let flags = word("Flags: ").and_then(|flags| u32::from_str_radix(flags.trim_start_matches("0x"), 16).ok());
    Ok(Inode {
        kind,
        flags: flags.with_context(|| missing("Flags"))?,
        mode: mode & 0o7777,
        owner: id("User: ")?,
        group: id("Group: ")?,
        size: number("Size: ")?,
        modified: word("mtime: ").and_then(time).with_context(|| missing("mtime"))?,
        attributes: attributes(&shown)?,
        target: target(text),
        runs: runs(&shown)?,
    })
}

/// Understands `(0-2):100-102, (3[u]):103, (ETB0):104`, in one line behind `EXTENTS:`, or `BLOCKS:` of an older file system.
fn runs(text: &str) -> Result<Vec<Run>> {
    let Some(at) = text.lines().position(|line| matches!(line, "EXTENTS:" | "BLOCKS:")) else { return Ok(Vec::new()) };
    let list = text.lines().nth(at + 1).unwrap_or_default();
    let mut runs = Vec::new();
    for item in list.split(", ").filter(|item| !item.is_empty()) {
        let unknown = || Failure::build(format!("`debugfs` says of blocks `{}`", printable(item)));
        let (logical, physical) =
            item.strip_prefix('(').and_then(|rest| rest.split_once("):")).with_context(unknown)?;
        // Blocks of the list itself, and those that were set aside and never written.
        if logical.starts_with(char::is_alphabetic) || logical.ends_with("[u]") {
            continue;
        }
        let range = |text: &str| -> Option<(u64, u64)> {
            let (first, last) = text.split_once('-').unwrap_or((text, text));
            let (first, last) = (first.parse().ok()?, last.parse::<u64>().ok()?);
            Some((first, last.checked_sub(first)?.checked_add(1)?))
        };
        let ((logical, blocks), (physical, there)) = range(logical).zip(range(physical)).with_context(unknown)?;
        anyhow::ensure!(blocks == there, unknown());
        runs.push(Run { logical, physical, blocks });
    }
    Ok(runs)
}

/// Seconds of `0x6b080bee:00000000`: the lower two bits of the second number are bits 32 and 33 of them.
fn time(text: &str) -> Option<i64> {
    let mut parts = text.split(':').map(|part| u32::from_str_radix(part.trim_start_matches("0x"), 16).ok());
    let low = parts.next()??.cast_signed();
    let extra = parts.next().map_or(Some(0), |extra| extra)?;
    Some(i64::from(low) + (i64::from(extra & 3) << 32))
}

fn attributes(text: &str) -> Result<Vec<String>> {
    let listed = text.lines().skip_while(|line| *line != "Extended attributes:").skip(1);
    let names = listed.map_while(|line| line.strip_prefix("  ")?.split_once(" (")).map(|(name, _)| name);
    names
        .filter(|name| ATTRIBUTES.iter().any(|kept| name.starts_with(kept)) && !name.starts_with(OVERLAY))
        .map(|name| {
            let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\".contains(&byte);
            if name.bytes().all(is_plain) {
                return Ok(name.to_owned());
            }
            Err(Failure::build(format!("the extended attribute `{}` cannot be taken over", printable(name))).into())
        })
        .collect()
}

/// Parses the target of a link from the last line, which no file name can imitate.
fn target(text: &[u8]) -> Option<Vec<u8>> {
    const BEFORE: &[u8] = b"\nFast link dest: \"";
    let start = text.windows(BEFORE.len()).position(|window| window == BEFORE)? + BEFORE.len();
    Some(text[start..].trim_ascii_end().strip_suffix(b"\"")?.to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn directories_are_read_entry_by_entry() {
        let text = b"/2/040755/0/0/.//\n/2/040755/0/0/..//\n/12/100644/0/0/a b/3/\n/13/040755/0/0/d//\n/0/000000/0/0//0/\n/20/100644/0/0/\xff/1/\n\n";
        let entries = entries(text).unwrap();
        let found: Vec<(u32, bool, &[u8])> =
            entries.iter().map(|entry| (entry.inode, entry.is_directory, entry.name.as_slice())).collect();
        assert_eq!(found, [(12, false, &b"a b"[..]), (13, true, b"d"), (20, false, b"\xff")]);
        let error = super::entries(b"/15/100644/0/0/new\nline/1/\n").unwrap_err();
        assert!(format!("{error:#}").contains("`/15/100644/0/0/new` is no entry"), "{error:#}");
    }

    #[test]
    fn inodes_are_read() {
        let text = "Inode: 12   Type: regular    Mode:  04755   Flags: 0x80000\nGeneration: 0    Version: 0x0:0\n\
                    User:    -2   Group:    70000   Project:     0   Size: 3\nFile ACL: 0\nLinks: 2   Blockcount: 2\n \
                    ctime: 0x6b080bee:00000000 -- x\n mtime: 0x00000010:00000001 -- x\nExtended attributes:\n  \
                    user.x (6) = 00 01\n  user.overlay.opaque (1) = \"y\"\n  security.selinux (3) = \"abc\"\n  user.big (900)\nInode checksum: 0x1\nEXTENTS:\n(0):1\n";
        let inode = parse(text.as_bytes()).unwrap();
        assert_eq!((inode.kind, inode.mode, inode.owner, inode.group), (Kind::File, 0o4755, u32::MAX - 1, 70000));
        assert_eq!((inode.size, inode.modified), (3, 0x1_0000_0010));
        assert_eq!(inode.attributes, ["user.x", "user.big"]);
        assert_eq!(inode.target, None);
        assert_eq!(inode.runs, [Run { logical: 0, physical: 1, blocks: 1 }]);
        assert!(inode.has(0x80000) && !inode.has(flags::INLINE));
    }

    #[test]
    fn blocks_are_read_from_both_kinds_of_lists() {
        let run = |logical, physical, blocks| Run { logical, physical, blocks };
        for (text, expected) in [
            ("Size of inline data: 60\n", Some(vec![])),
            ("EXTENTS:\n\n", Some(vec![])),
            (
                "EXTENTS:\n(ETB0):33, (0-2):100-102, (5-900[u]):200-1095, (1000):7\n",
                Some(vec![run(0, 100, 3), run(1000, 7, 1)]),
            ),
            (
                "BLOCKS:\n(0-1):9-10, (IND):11, (12):12, (TIND):13, (DIND):14\nTOTAL: 7\n",
                Some(vec![run(0, 9, 2), run(12, 12, 1)]),
            ),
            ("EXTENTS:\n(0-2):100-101\n", None),
            ("EXTENTS:\n(2-1):101-100\n", None),
            ("EXTENTS:\n(0):18446744073709551616\n", None),
            ("EXTENTS:\n0:1\n", None),
        ] {
            assert_eq!(runs(text).ok(), expected, "{text}");
        }
    }

    #[test]
    fn short_links_are_in_the_inode() {
        assert_eq!(target(b"x\nFast link dest: \"a\"b\"\n\n").as_deref(), Some(&b"a\"b"[..]));
        assert_eq!(target(b"x\nBLOCKS:\n"), None);
    }
}
