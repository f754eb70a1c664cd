//! Files in memory whose content cannot change any more: no path leads to them, and whoever is passed one can tell.

use std::fs::File;
use std::io::Write as _;

use rustix::fs::{MemfdFlags, SealFlags};

use crate::error::{Context as _, Result};

const NO_MEMORY: &str = "cannot keep a file in memory";

/// A file for content that is still to be written; `name` is for debuggers.
///
/// # Errors
/// If there is no memory or no descriptor left.
pub(crate) fn empty_file(name: &str) -> Result<File> {
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
    Ok(rustix::fs::memfd_create(name, flags).context(NO_MEMORY)?.into())
}

/// From here on the file's content cannot change.
///
/// # Errors
/// If it is no file of [`empty_file`].
pub(crate) fn seal(file: &File) -> Result<()> {
    rustix::fs::fcntl_add_seals(file, SealFlags::SEAL | seals()).context(NO_MEMORY)
}

/// A file with that content, which cannot change.
///
/// # Errors
/// As [`empty_file`].
pub(crate) fn file(name: &str, content: &[u8]) -> Result<File> {
    let mut file = empty_file(name)?;
    file.write_all(content).context(NO_MEMORY)?;
    seal(&file)?;
    Ok(file)
}

/// Whether that is a file in memory that cannot change.
///
/// # Errors
/// If it is no file in memory.
pub(crate) fn is_sealed(file: &File) -> Result<bool> {
    Ok(rustix::fs::fcntl_get_seals(file)?.contains(seals()))
}

fn seals() -> SealFlags {
    SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE
}
