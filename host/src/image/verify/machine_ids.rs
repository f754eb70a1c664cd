//! Keys and ids that scripts of packages made: in an image, they are those of all of its cards.

use std::collections::BTreeSet;

use crate::error::Result;
use crate::image::ext4::Ext4Reader;
use crate::rootfs::machine_ids::{LEFT_OUT, LONGEST, TOPS, what_is_own};

/// Returns those that are in no package's list, but for what was written `on_purpose`.
///
/// # Errors
/// If the file system cannot be read.
pub(super) fn find(root: &Ext4Reader, on_purpose: &BTreeSet<String>) -> Result<Vec<String>> {
    let listed = root.listed()?;
    let is_on_purpose =
        |path: &str| on_purpose.iter().any(|one| path == one || one.ends_with('/') && path.starts_with(one.as_str()));
    let mut files = root.walk(&TOPS, &LEFT_OUT)?;
    files.retain(|(path, entry)| {
        entry.mode & 0o170_000 == 0o100_000
            && entry.size <= LONGEST
            && !listed.contains(path)
            && !is_on_purpose(path)
            && !is_checked_elsewhere(path)
    });
    let paths: Vec<String> = files.iter().map(|(path, _)| path.clone()).collect();
    let modes: std::collections::BTreeMap<String, u32> =
        files.into_iter().map(|(path, entry)| (path, entry.mode)).collect();
    let mut found = Vec::new();
    for (path, content) in root.contents(&paths)? {
        let mode = modes.get(&path).copied().unwrap_or_default();
        if let Some(what) = what_is_own(&path, mode, &content) {
            found.push(format!("`{path}` looks like {what}, and is the same on every card of this image"));
        }
    }
    Ok(found)
}

/// Returns whether another check, which nothing passes, is about that file.
fn is_checked_elsewhere(path: &str) -> bool {
    path == "/etc/machine-id" || path.starts_with("/etc/ssh/ssh_host_")
}
