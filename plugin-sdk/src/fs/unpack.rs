//! Archives that are unpacked into a directory.

use super::{filled_owner, raw};
use crate::template::filled;
use crate::{Blob, Error, Need, Needs};

/// A directory into which an archive is unpacked; see [`unpack`].
#[must_use = "nothing happens before `apply`"]
#[derive(Clone, Copy, Debug)]
pub struct Unpack<'a> {
    directory: &'a str,
    owner: Option<(&'a str, &'a str)>,
    strip: u32,
}

/// Describes that a tar archive, compressed with gzip, xz or zstd or not at all, is unpacked into a directory, which is made if its
/// parent is there. Permissions are those of the archive, without the bits that lend rights; all of it belongs to root unless
/// another owner is set.
///
/// ```no_run
/// # use piimg_plugin_sdk::{assets, fs};
/// const APP: fs::Unpack = fs::unpack("/opt/app").without_first(1).owner("ann", "ann");
/// let count = APP.apply(&assets::open("app-1.2.tar.gz")?)?;
/// # Ok::<(), piimg_plugin_sdk::Error>(())
/// ```
pub const fn unpack(directory: &str) -> Unpack<'_> {
    Unpack { directory, owner: None, strip: 0 }
}

impl<'a> Unpack<'a> {
    /// Sets whose all of it is, by name.
    pub const fn owner(self, user: &'a str, group: &'a str) -> Self {
        Self { owner: Some((user, group)), ..self }
    }

    /// Leaves out so many parts of each path: 1 for an archive whose files are all in one directory, such as `app-1.2/`.
    pub const fn without_first(self, parts: u32) -> Self {
        Self { strip: parts, ..self }
    }

    /// Unpacks it, and returns the number of files and links.
    ///
    /// # Errors
    /// [`crate::ErrorCode::Denied`]; [`crate::ErrorCode::Invalid`] for what is no archive, and for one that has devices or paths
    /// that lead elsewhere; [`crate::ErrorCode::Limit`] for too much of it.
    pub fn apply(&self, archive: &Blob) -> Result<u32, Error> {
        let owner = self.owner.map(|(user, group)| filled_owner(user, group)).transpose()?;
        Ok(raw::unpack(&archive.0, &filled(self.directory)?, owner.as_ref(), self.strip)?)
    }
}

impl Needs for Unpack<'_> {
    fn needs(&self) -> Vec<Need> {
        let directory = self.directory.trim_end_matches('/');
        vec![Need::capability(
            format!("fs:write:{directory}/**"),
            format!("unpacks an archive into {}", self.directory),
        )]
    }
}
