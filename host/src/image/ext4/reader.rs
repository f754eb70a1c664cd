//! Reading files of an ext4 file system inside an image, through `debugfs`.

use std::fs::File;
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Failure, Result};
use crate::image::descriptor_path;
use crate::image::layout::Bytes;
use crate::sandbox::confined::Confined;
use crate::ui::Printable as _;

/// How many symbolic links a path may have.
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

    /// The entries of the directory `path` sorted by name; none if it does not exist.
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

    /// The content of the file `path`; none if it does not exist. A final symbolic link is followed inside the image.
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

    /// The text of the file `path`, if it exists.
    ///
    /// # Errors
    /// See [`Self::read`].
    pub fn read_text(&self, path: &str) -> Result<Option<String>> {
        Ok(self.read(path)?.map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    /// The packages whose lists of files name one of `paths`, by the package manager's own database.
    ///
    /// # Errors
    /// If `debugfs` is missing or the file system cannot be read.
    pub fn packages_of(&self, paths: &[String]) -> Result<Vec<String>> {
        const LISTS: &str = "/var/lib/dpkg/info";
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

    /// Where the symbolic link `path` points.
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
            Some(line) => Err(anyhow::anyhow!("{line}")
                .context(Failure::build(format!("cannot read `{path}` in the root file system")))),
        }
    }
}

/// How the e2fsprogs are told of a file system that does not start with its file.
pub fn device_in(image: &Path, start: Bytes) -> PathBuf {
    if start.0 == 0 { image.to_owned() } else { PathBuf::from(format!("{}?offset={}", image.printable(), start.0)) }
}

/// Finds, in what `debugfs` printed of lists, those that name one of `paths`.
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
