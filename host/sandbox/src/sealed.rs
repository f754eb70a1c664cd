//! Files in memory whose content cannot change any more: no path leads to them, and whoever is passed one can tell.

use std::fs::File;
use std::io::{Read, Seek as _, Write as _};
use std::os::unix::fs::FileExt as _;

use rustix::fs::{MemfdFlags, SealFlags};

use crate::error::{Context as _, Result};

const NO_MEMORY: &str = "cannot keep a file in memory";

/// Returns a file for content that is still to be written; `name` is for debuggers.
///
/// # Errors
/// If there is no memory or no descriptor left.
pub fn empty_file(name: &str) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(rustix::fs::memfd_create(name, flags).context(NO_MEMORY)?.into())
}

/// Seals the file: from here on its content cannot change (`F_ADD_SEALS`,
/// <https://man7.org/linux/man-pages/man2/memfd_create.2.html>).
///
/// # Errors
/// If it is no file of [`empty_file`].
pub fn seal(file: &File) -> Result<()> {
    rustix::fs::fcntl_add_seals(file, SealFlags::SEAL | seals()).context(NO_MEMORY)
}

/// Returns a file with that content, which cannot change, at its beginning.
///
/// # Errors
/// Those of [`empty_file`].
pub fn file(name: &str, content: &[u8]) -> Result<File> {
    let mut file = empty_file(name)?;
    file.write_all(content).and_then(|()| file.rewind()).context(NO_MEMORY)?;
    seal(&file)?;
    Ok(file)
}

/// Returns the file's content from its beginning. Processes that were passed the same descriptor share its offset, which is
/// neither read nor moved.
pub fn content(file: &File) -> impl Read {
    Content { file, at: 0 }
}

struct Content<'a> {
    file: &'a File,
    at: u64,
}

impl Read for Content<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let length = self.file.read_at(buffer, self.at)?;
        self.at += length as u64;
        Ok(length)
    }
}

/// Returns whether that is a file in memory that cannot change.
///
/// # Errors
/// If it is no file in memory.
pub fn is_sealed(file: &File) -> Result<bool> {
    Ok(rustix::fs::fcntl_get_seals(file)?.contains(seals()))
}

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_reader_begins_at_the_beginning() {
        let mut shared = file("test", b"content").unwrap();
        shared.seek(std::io::SeekFrom::End(0)).unwrap();
        let (mut one, mut other) = (content(&shared), content(&shared));
        let mut part = [0; 3];
        one.read_exact(&mut part).unwrap();
        assert_eq!(std::io::read_to_string(&mut other).unwrap(), "content");
        assert_eq!(std::io::read_to_string(&mut one).unwrap(), "tent");
    }
}
