//! Compiled code of one component, as a file in memory that cannot change. Knows no compiler and no engine.

use std::fs::File;
use std::io::{Read, Write as _};
use std::sync::Arc;

use crate::error::{Context as _, Failure, Result};
use crate::home::Key;
use crate::sealed;

/// Bytes after the code in a kept file: the seal on name and code.
const SEAL: u64 = 32;

/// Native code of one component for one engine: a file in memory that cannot change any more, which the engine maps and
/// the outer process passes on.
#[derive(Clone, Debug, Default)]
pub(super) struct Code {
    pub(super) key: String,
    /// `None` where only the data of a plugin is known.
    file: Option<Arc<File>>,
    /// It came out of a [`CodeCache`].
    pub(super) is_kept: bool,
}

impl Code {
    fn new(key: String, mut code: impl Read) -> Result<Self> {
        let mut file = empty_file()?;
        std::io::copy(&mut code, &mut file).context(NO_MEMORY)?;
        Self::sealed(key, file)
    }

    /// Makes compiled code of a file that nobody else writes to any more.
    pub(super) fn sealed(key: String, file: File) -> Result<Self> {
        sealed::seal(&file)?;
        Ok(Self { key, file: Some(Arc::new(file)), is_kept: false })
    }

    /// Reads what [`Code::write_to`] wrote; `None` if it was for another component or sealed with another key, or is
    /// damaged.
    pub(super) fn read_from(mut file: &File, key: &str, user: &Key) -> Result<Option<Self>> {
        let Some(length) = file.metadata()?.len().checked_sub(SEAL) else { return Ok(None) };
        let code = Self::new(key.to_owned(), file.take(length))?;
        let mut found = Vec::new();
        file.read_to_end(&mut found)?;
        let is_whole = found == code.seal(user)?;
        Ok(is_whole.then_some(Self { is_kept: true, ..code }))
    }

    pub(super) fn write_to(&self, mut file: &File, user: &Key) -> Result<()> {
        std::io::copy(&mut sealed::content(self.file()?), &mut file)?;
        Ok(file.write_all(&self.seal(user)?)?)
    }

    fn seal(&self, user: &Key) -> Result<[u8; 32]> {
        let code = sealed::content(self.file()?);
        Ok(user.seal("compiled plugin").and(&self.key).and("\n").and_content(code)?.finish())
    }

    /// Returns the file for the inner process, which passes it to [`Code::from_file`].
    pub(super) fn file(&self) -> Result<&File> {
        self.file.as_deref().context(Failure::bug("the plugin is not compiled"))
    }

    /// Takes over a descriptor. Callers must pass only one from the outer process of this build.
    pub(super) fn from_file(file: File) -> Result<Self> {
        let wrong = || Failure::bug("what was passed on is no compiled plugin");
        // Only a file in memory has seals: no path leads to it.
        anyhow::ensure!(sealed::is_sealed(&file).with_context(wrong)?, wrong());
        Ok(Self { file: Some(Arc::new(file)), ..Self::default() })
    }
}

const NO_MEMORY: &str = "cannot keep a compiled plugin in memory";

/// Makes an empty file for compiled code.
pub(super) fn empty_file() -> Result<File> {
    sealed::empty_file("plugin")
}
