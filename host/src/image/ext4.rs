//! Makes the root partition: an ext4 file system from a tree of the host, without mounting it. The format is described
//! in <https://docs.kernel.org/filesystems/ext4/index.html>.
//!
//! `mke2fs` makes the empty file system and one run of `debugfs` fills it from a script. `mke2fs -d` would do
//! both, but it takes names in the order in which the host's file system lists them and copies the tree's change
//! and access times, so that equal trees give different bytes. The script is sorted, the clock of both programs
//! is the build's, and the order of the script is the order of inodes and blocks.

#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod extract;
mod large;
mod occupied;
mod reader;
mod script;
mod size;
mod superblock;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

pub(in crate::image) use occupied::occupied;
pub use reader::{Ext4Reader, Listed, device_in};
pub use size::ContentSize;
pub use superblock::Superblock;

use super::descriptor_path;
use super::layout::{Bytes, DiskIds};
use crate::error::{Context as _, Failure, Result, with_cause};
use crate::sandbox::ending::{self, Bounds};
use crate::sandbox::tool::Tool;
use size::{BLOCK, INODE_RATIO, inode_count, journal_mib, partition_size};

/// The features of a new file system: what every kernel since 4.19 and every `e2fsprogs` since 1.43 knows.
///
/// The list stands here and not in the host's `/etc/mke2fs.conf`, whose newer versions add `orphan_file` and
/// `metadata_csum_seed`, which the file-system checker inside an older release refuses. `huge_file` is left out:
/// it only serves files of more than 2 TiB and 32-bit kernels may be built without it.
const FEATURES: &str = "has_journal,ext_attr,resize_inode,dir_index,filetype,extent,64bit,flex_bg,\
                        sparse_super,large_file,dir_nlink,extra_isize,metadata_csum";

/// Names of a root file system.
#[derive(Clone, Debug)]
pub struct Ext4Options<'a> {
    pub identity: &'a DiskIds,
    /// Label of at most 16 bytes.
    pub label: &'a str,
}

/// A tree that is to become a root file system, read once: what is written, and how much room it takes.
#[derive(Debug)]
pub struct Tree {
    script: script::Script,
    epoch: u64,
}

impl Tree {
    /// Reads the tree at `path`, which must not change until it is written. `epoch` is the time of the build, seconds since
    /// 1970: no file is dated later, and every change time is this.
    ///
    /// Owners are taken as this process sees them: run it where the tree's root is user 0.
    ///
    /// # Errors
    /// [`Failure::build`] if it cannot be read, or holds a name that cannot be stored.
    pub fn read(path: &Path, epoch: u64) -> Result<Self> {
        Ok(Self { script: script::script(path, epoch)?, epoch })
    }

    /// Returns the length of a file system that holds it and has at least `extra` free. Holes of files take nothing.
    pub fn partition_size(&self, extra: Bytes) -> Bytes {
        partition_size(&self.script.content, extra)
    }

    /// Writes it as an ext4 file system of length `size` into `out`; returns what its superblock says.
    ///
    /// # Errors
    /// [`Failure::host`] if `e2fsprogs` is missing, [`Failure::build`] if it does not fit.
    pub fn write(&self, out: &File, size: Bytes, options: &Ext4Options<'_>) -> Result<Superblock> {
        if options.label.len() > 16 {
            return Err(Failure::usage(format!(
                "`{}` cannot be the label of the root partition: 16 bytes are allowed",
                options.label
            ))
            .into());
        }
        out.set_len(0).and_then(|()| out.set_len(size.0)).context("cannot make the root partition's file")?;
        make(out, size, &self.script.content, self.epoch, options)?;
        fill(out, &self.script, self.epoch)?;
        Superblock::read(out, Bytes(0))
    }
}

/// Makes the empty file system.
fn make(out: &File, size: Bytes, content: &ContentSize, epoch: u64, options: &Ext4Options<'_>) -> Result<()> {
    let config = config()?;
    Tool::new("mke2fs")
        .without_sync()
        .env("MKE2FS_CONFIG", config.path())
        .env("E2FSPROGS_FAKE_TIME", epoch.to_string())
        .args(["-q", "-F", "-t", "ext4", "-m", "0", "-b", &BLOCK.to_string(), "-I", "256"])
        .args(["-N", &inode_count(size, content.inodes).to_string()])
        .args(["-J", &format!("size={}", journal_mib(size))])
        .args(["-L", options.label, "-U", &options.identity.root_uuid])
        .arg("-E")
        .arg(format!(
            "hash_seed={},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=0,nodiscard",
            options.identity.root_hash_seed
        ))
        .arg(descriptor_path(out))
        .arg((size.0 / BLOCK).to_string())
        .run()
        .context("cannot make the root file system")?;
    Ok(())
}

/// Writes the configuration for `mke2fs` to a temporary file, in place of the host's.
fn config() -> Result<tempfile::NamedTempFile> {
    let text = format!(
        "[defaults]\n\tbase_features = {FEATURES}\n\tdefault_mntopts = acl,user_xattr\n\tenable_periodic_fsck = 0\n\
         \tblocksize = {BLOCK}\n\tinode_size = 256\n\tinode_ratio = {INODE_RATIO}\n\
         [fs_types]\n\text4 = {{\n\t\tfeatures = {FEATURES}\n\t}}\n"
    );
    let mut file = tempfile::NamedTempFile::new().context("cannot make a temporary file")?;
    file.write_all(text.as_bytes()).context("cannot write a temporary file")?;
    Ok(file)
}

/// Fills the file system by `script`.
fn fill(out: &File, script: &script::Script, epoch: u64) -> Result<()> {
    let output = debugfs(out, epoch, script.commands.clone())?;
    let placed = large::placed(&output);
    debugfs(out, epoch, large::commands(&placed))?;
    large::copy(&script.large, &placed, out)
}

/// Has `debugfs` change the file system by `commands`; returns what it printed.
fn debugfs(out: &File, epoch: u64, commands: impl Into<Vec<u8>>) -> Result<String> {
    let output = Tool::new("debugfs")
        .without_sync()
        .env("E2FSPROGS_FAKE_TIME", epoch.to_string())
        .env("DEBUGFS_PAGER", "__none__")
        .args(["-w", "-f", "-"])
        .arg(descriptor_path(out))
        .stdin(commands)
        .output()?;
    // The status stays 0 when a command fails; what it says on standard error does not stay quiet.
    let complaints: Vec<&str> = std::str::from_utf8(&output.stderr)
        .unwrap_or("unreadable output")
        .lines()
        .filter(|line| !line.starts_with("debugfs 1.") && !line.trim().is_empty())
        .collect();
    if output.status == 0 && complaints.is_empty() {
        return Ok(output.stdout_text());
    }
    let cause = anyhow::anyhow!("{}", complaints.iter().take(5).copied().collect::<Vec<_>>().join("\n"));
    let full = complaints.iter().any(|line| line.contains("ould not allocate") || line.contains("No free space"));
    let failure = if full {
        Failure::build("the root partition is too small for its files")
            .hint("raise the extra space of the root file system")
    } else {
        ending::failure("cannot fill the root file system: `debugfs`", output.status, Bounds::default())
    };
    Err(with_cause(cause, failure))
}
