//! Reads files of an ext4 file system inside an image, through `debugfs`.

use std::collections::BTreeSet;
use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Failure, Result, with_cause};
use crate::image::descriptor_path;
use crate::image::layout::Bytes;
use crate::sandbox::confined::Confined;
use crate::ui::Printable as _;

/// Directory of dpkg with the file lists of packages.
const LISTS: &str = "/var/lib/dpkg/info";

/// Deepest directory that is looked into, and about how many entries.
const DEEPEST: usize = 16;
const MOST_WALKED: usize = 100_000;

/// Most symbolic links in a path.
const MOST_LINKS: usize = 8;

/// A root partition opened for reading.
#[derive(Debug)]
pub struct Ext4Reader {
    image: File,
    start: Bytes,
}

/// An entry of a directory.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listed {
    pub name: String,
    /// Type and permission bits.
    pub mode: u32,
    pub size: u64,
}

impl Ext4Reader {
    /// Opens the file system that starts at `start` of `image`.
    ///
    /// # Errors
    /// If the descriptor cannot be opened again.
    pub fn open(image: &File, start: Bytes) -> Result<Self> {
        // A descriptor that can only be read: the image is never written to.
        let image = File::open(descriptor_path(image)).context("cannot open the image again")?;
        Ok(Self { image, start })
    }

    /// Returns the entries of the directory `path` sorted by name; `None` if it does not exist.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn list(&self, path: &str) -> Result<Option<Vec<Listed>>> {
        let Some(output) = self.request("ls -p", path)? else {
            return Ok(None);
        };
        let mut entries: Vec<Listed> = String::from_utf8_lossy(&output).lines().filter_map(parse_entry).collect();
        entries.retain(|entry| entry.name != "." && entry.name != "..");
        entries.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(Some(entries))
    }

    /// Returns the content of the file `path`; `None` if it does not exist. A final symbolic link is followed inside
    /// the image.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn read(&self, path: &str) -> Result<Option<Vec<u8>>> {
        let mut path = path.to_owned();
        for _ in 0..MOST_LINKS {
            let Some((parent, name)) = path.rsplit_once('/') else {
                return Ok(None);
            };
            let parent = if parent.is_empty() { "/" } else { parent }.to_owned();
            let Some(entry) = self.list(&parent)?.unwrap_or_default().into_iter().find(|entry| entry.name == name)
            else {
                return Ok(None);
            };
            match entry.mode & 0o170_000 {
                0o100_000 => return self.request("cat", &path),
                0o120_000 => {
                    let Some(target) = self.link(&path)? else {
                        return Ok(None);
                    };
                    path = if target.starts_with('/') { target } else { format!("{parent}/{target}") };
                }
                _ => return Ok(None),
            }
        }
        Ok(None)
    }

    /// Returns the text of the file `path`, if it exists.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// Returns the packages whose lists of files name one of `paths`, by the package manager's own database.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn packages_of(&self, paths: &[String]) -> Result<Vec<String>> {
        let lists = self.list(LISTS)?.unwrap_or_default();
        // One run for all of them; the image may have hundreds.
        let commands: String = lists
            .iter()
            .filter(|entry| entry.name.ends_with(".list") && !entry.name.contains(['"', '\n', '\r']))
            .map(|entry| format!("cat \"{LISTS}/{}\"\n", entry.name))
            .collect();
        let output = self.debugfs(&["-f", "-"])?.stdin(commands).run()?;
        Ok(named_in(&output.stdout_text(), paths))
    }

    /// Returns the paths that packages list, by the package manager's own database.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn listed(&self) -> Result<BTreeSet<String>> {
        let lists = self.list(LISTS)?.unwrap_or_default().into_iter().filter(|entry| entry.name.ends_with(".list"));
        let lists: Vec<String> = lists.map(|entry| format!("{LISTS}/{}", entry.name)).collect();
        let contents = self.contents(&lists)?;
        let lines = contents.iter().flat_map(|(_, list)| list.split(|byte| *byte == b'\n'));
        Ok(lines.map(|line| String::from_utf8_lossy(line).into_owned()).collect())
    }

    /// Lists everything below the directories `tops`, except for what is below `left_out`, with paths.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn walk(&self, tops: &[&str], left_out: &[&str]) -> Result<Vec<(String, Listed)>> {
        let mut found = Vec::new();
        let mut level: Vec<String> = tops.iter().map(|&top| top.to_owned()).collect();
        for _ in 0..DEEPEST {
            let mut next = Vec::new();
            for (directory, listing) in self.answers("ls -p", &level)? {
                let entries = listing.split(|byte| *byte == b'\n').map(String::from_utf8_lossy);
                let entries = entries.filter_map(|line| parse_entry(&line));
                for entry in entries.filter(|entry| !matches!(entry.name.as_str(), "." | "..")) {
                    let path = format!("{directory}/{}", entry.name);
                    if entry.mode & 0o170_000 == 0o040_000 && !left_out.contains(&path.as_str()) {
                        next.push(path.clone());
                    }
                    found.push((path, entry));
                }
            }
            if next.is_empty() || found.len() > MOST_WALKED {
                break;
            }
            level = next;
        }
        Ok(found)
    }

    /// Returns the contents of the files `paths`, as far as they are there.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn contents(&self, paths: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
        self.answers("cat", paths)
    }

    /// Runs `debugfs` once with `command` for each of `paths`, and returns its answers. Leaves out paths that its
    /// syntax cannot express.
    fn answers(&self, command: &str, paths: &[String]) -> Result<Vec<(String, Vec<u8>)>> {
        let can_be_told = |path: &&String| !path.contains(['"', '\n', '\r']);
        let asked: Vec<(String, String)> =
            paths.iter().filter(can_be_told).map(|path| (path.clone(), format!("{command} \"{path}\""))).collect();
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let commands: String = asked.iter().map(|(_, command)| format!("{command}\n")).collect();
        let output = self.debugfs(&["-f", "-"])?.stdin(commands).run()?.stdout;
        Ok(split_answers(&output, asked))
    }

    /// Resolves the links on the way to `path`, but not a final one; returns the resulting path and the entry there.
    /// The entry is `None` if it does not exist; the path is then as far as it could be resolved.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn resolve(&self, path: &str) -> Result<(String, Option<Listed>)> {
        let mut rest: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let (mut at, mut found) = (Vec::<String>::new(), None);
        let mut links = 0;
        let joined = |at: &[String]| format!("/{}", at.join("/"));
        while let Some(name) = rest.pop() {
            match name.as_str() {
                "" | "." => continue,
                ".." => {
                    at.pop();
                    found = None;
                    continue;
                }
                _ => {}
            }
            let entries = self.list(&joined(&at))?.unwrap_or_default();
            let entry = entries.into_iter().find(|entry| entry.name == name);
            at.push(name);
            let kind = entry.as_ref().map_or(0, |entry| entry.mode & 0o170_000);
            let has_more = rest.iter().any(|name| !matches!(name.as_str(), "" | "."));
            let Some(entry) = entry.filter(|_| !has_more || matches!(kind, 0o040_000 | 0o120_000)) else {
                at.extend(rest.into_iter().rev().filter(|name| !name.is_empty()));
                return Ok((joined(&at), None));
            };
            if kind == 0o120_000 && has_more && links < MOST_LINKS {
                links += 1;
                let target = self.link(&joined(&at))?.unwrap_or_default();
                at.pop();
                if target.starts_with('/') {
                    at.clear();
                }
                rest.extend(target.split('/').rev().map(str::to_owned));
            }
            found = Some(entry);
        }
        let here = joined(&at);
        if found.is_none() {
            // The path ended in `..`, or is the root.
            let parent = here.rsplit_once('/').map_or("/", |(parent, _)| if parent.is_empty() { "/" } else { parent });
            let name = at.last().map_or(".", String::as_str);
            found = self.list(parent)?.unwrap_or_default().into_iter().find(|entry| entry.name == name);
            found = found.or_else(|| at.is_empty().then(|| Listed { name: "/".to_owned(), mode: 0o040_755, size: 0 }));
        }
        Ok((here, found))
    }

    /// Reads the target of the symbolic link `path`.
    fn link(&self, path: &str) -> Result<Option<String>> {
        let Some(output) = self.request("stat", path)? else {
            return Ok(None);
        };
        let text = String::from_utf8_lossy(&output);
        let fast = text.lines().find_map(|line| line.strip_prefix("Fast link dest: \""));
        match fast.and_then(|rest| rest.strip_suffix('"')) {
            Some(target) => Ok(Some(target.to_owned())),
            None => Ok(self.request("cat", path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned())),
        }
    }

    fn debugfs(&self, arguments: &[&str]) -> Result<Confined> {
        let program = Confined::new("debugfs", &[&self.image])?.without_sync().env("DEBUGFS_PAGER", "__none__");
        let device = device_in(&program.place(0), self.start);
        Ok(program.args(arguments).arg(device))
    }

    fn request(&self, command: &str, path: &str) -> Result<Option<Vec<u8>>> {
        if path.contains(['"', '\n', '\r']) {
            return Err(Failure::build(format!("cannot ask for {path:?} in the root file system")).into());
        }
        let output = self.debugfs(&["-R", &format!("{command} \"{path}\"")])?.output()?;
        let errors = String::from_utf8_lossy(&output.stderr);
        let mut complaints = errors.lines().filter(|line| !line.starts_with("debugfs 1.") && !line.trim().is_empty());
        match complaints.next() {
            None => Ok(Some(output.stdout)),
            Some(line) if line.contains("File not found") => Ok(None),
            Some(line) => Err(with_cause(
                anyhow::anyhow!("{line}"),
                Failure::build(format!("cannot read `{path}` in the root file system")),
            )),
        }
    }
}

/// Returns the device name by which e2fsprogs find a file system at an offset of a file: `FILE?offset=BYTES`.
pub fn device_in(image: &Path, start: Bytes) -> PathBuf {
    if start.0 == 0 { image.to_owned() } else { PathBuf::from(format!("{}?offset={}", image.printable(), start.0)) }
}

/// Takes apart what `debugfs` printed: each command is repeated before its answer, which may end without a line end. `asked`
/// are what the commands are about, and the commands.
fn split_answers(output: &[u8], asked: Vec<(String, String)>) -> Vec<(String, Vec<u8>)> {
    let mut rest = output;
    let mut answers: Vec<(String, Vec<u8>)> = Vec::new();
    for (about, command) in asked {
        let mark = format!("debugfs: {command}\n").into_bytes();
        let Some(at) = rest.windows(mark.len()).position(|window| window == mark) else { continue };
        if let Some((_, answer)) = answers.last_mut() {
            answer.extend_from_slice(&rest[..at]);
        }
        answers.push((about, Vec::new()));
        rest = &rest[at + mark.len()..];
    }
    if let Some((_, answer)) = answers.last_mut() {
        answer.extend_from_slice(rest);
    }
    answers
}

/// Returns the packages whose file lists, as printed by `debugfs`, name one of `paths`.
fn named_in(output: &str, paths: &[String]) -> Vec<String> {
    let mut found = Vec::new();
    let mut current = "";
    // Each command is repeated before its answer; the lines of a list begin with `/`.
    for line in output.lines() {
        if let Some(command) = line.strip_prefix("debugfs: ") {
            let name = command.rsplit_once('/').map_or("", |(_, name)| name.trim_end().trim_end_matches('"'));
            current = name.strip_suffix(".list").unwrap_or("");
        } else if paths.iter().any(|path| path == line) && !current.is_empty() {
            found.push(current.to_owned());
        }
    }
    found
}

/// Parses `/inode/mode/uid/gid/name/size/`.
fn parse_entry(line: &str) -> Option<Listed> {
    let mut fields = line.strip_prefix('/')?.splitn(5, '/');
    // Room without an entry is listed as inode 0.
    let (_inode, mode) = (fields.next().filter(|inode| *inode != "0")?, fields.next()?);
    let (_uid, _gid) = (fields.next()?, fields.next()?);
    let (name, size) = fields.next()?.strip_suffix('/')?.rsplit_once('/')?;
    Some(Listed { name: name.to_owned(), mode: u32::from_str_radix(mode, 8).ok()?, size: size.parse().unwrap_or(0) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_found_by_their_lists() {
        let output = "debugfs: cat \"/var/lib/dpkg/info/base-files.list\"\n/.\n/etc/motd\n\
                      debugfs: cat \"/var/lib/dpkg/info/libc6:arm64.list\"\n/lib/ld.so\n/etc/motd2\n";
        for (path, expected) in [("/etc/motd", Some("base-files")), ("/lib/ld.so", Some("libc6:arm64")), ("/etc", None)]
        {
            assert_eq!(named_in(output, &[path.to_owned()]), Vec::from_iter(expected), "{path}");
        }
    }

    #[test]
    fn answers_are_told_apart() {
        let asked = |paths: &[&str]| -> Vec<(String, String)> {
            paths.iter().map(|&path| (path.to_owned(), format!("cat \"{path}\""))).collect()
        };
        // The first one has no line end, and the last one says what debugfs says.
        let output = b"debugfs: cat \"/a\"\none\0debugfs: cat \"/b\"\ndebugfs: cat \"/c\"\ndebugfs: cat \"/a\"\n";
        let answers = split_answers(output, asked(&["/a", "/b", "/c"]));
        let expected: [(&str, &[u8]); 3] = [("/a", b"one\0"), ("/b", b""), ("/c", b"debugfs: cat \"/a\"\n")];
        assert_eq!(answers, expected.map(|(path, answer)| (path.to_owned(), answer.to_vec())));
        assert_eq!(split_answers(b"", asked(&["/a"])), []);
    }

    #[test]
    fn listings_are_parsed() {
        for (line, expected) in [
            ("/12/100644/0/0/passwd/1234/", Some(("passwd", 0o100_644, 1234))),
            ("/2/040755/0/0/..//", Some(("..", 0o040_755, 0))),
            ("/0/000000/0/0///", None),
            ("", None),
            ("/x", None),
        ] {
            let expected = expected.map(|(name, mode, size)| Listed { name: name.to_owned(), mode, size });
            assert_eq!(parse_entry(line), expected, "{line}");
        }
    }
}
