//! Makes an `.img` of a finished rootfs: writes partition table, FAT and ext4 in user space, then checks them.
//!
//! Works on ordinary files and descriptors: nothing here mounts, attaches or needs a privilege, and nothing
//! here knows a distribution or a plugin.

pub mod assemble;
pub mod bmap;
pub mod boot;
pub mod command_lines;
pub mod compress;
pub mod ext4;
pub mod fat;
pub mod inspect;
pub mod layout;
pub mod mbr;
pub mod models;
pub mod name;
mod occupied;
pub mod parsing;
pub mod pass;
pub mod root;
pub mod source;
pub mod verify;

use std::fs::File;
use std::os::fd::AsRawFd as _;
use std::path::PathBuf;

/// Returns a path under which a child process can open `file`, also when the file has no name (`O_TMPFILE`, memfd).
///
/// `/proc/self` would mean the child, and our descriptors are closed there.
#[expect(clippy::disallowed_methods, reason = "it names this very process")]
pub fn descriptor_path(file: &File) -> PathBuf {
    PathBuf::from(format!("/proc/{}/fd/{}", std::process::id(), file.as_raw_fd()))
}

/// Returns a directory for temporary files as long as an image, for which memory has no room.
pub(crate) fn temporary_place() -> PathBuf {
    let named = std::env::var_os("TMPDIR").filter(|named| !named.is_empty());
    named.map_or_else(|| PathBuf::from("/var/tmp"), PathBuf::from)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::{Path, PathBuf};

    /// Files below `directory` that are not tests.
    fn sources(directory: &Path) -> Vec<PathBuf> {
        let entries = fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
        let found = entries.flat_map(|path| if path.is_dir() { sources(&path) } else { vec![path] });
        found
            .filter(|path| path.extension().is_some_and(|ending| ending == "rs") && !path.ends_with("tests.rs"))
            .collect()
    }

    /// What parses the bytes of a stranger, and the only files that may have it do so.
    #[test]
    fn files_of_strangers_have_one_door() {
        let crates = Path::new(env!("CARGO_MANIFEST_DIR"));
        let doors: [(&str, &[&str]); 10] = [
            ("FatReader::open(", &["src/image/parsing.rs"]),
            ("source::unpack(", &["src/image/parsing.rs"]),
            ("source::recognise(", &["src/image/parsing.rs"]),
            ("XzDecoder", &["src/image/source.rs", "src/rootfs/packages/package_file.rs"]),
            ("zstd::Decoder", &["src/image/source.rs", "src/rootfs/packages/package_file.rs"]),
            ("packages::control(", &["src/image/parsing.rs"]),
            ("Tool::new(\"sfdisk", &[]),
            ("Tool::new(\"fsck.fat", &[]),
            ("Tool::new(\"e2fsck", &[]),
            ("Tool::new(\"gpg", &[]),
        ];
        for path in
            ["src", "sandbox/src", "capability/src"].iter().flat_map(|directory| sources(&crates.join(directory)))
        {
            let name = path.strip_prefix(crates).unwrap().to_str().unwrap();
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
            for (call, allowed) in doors {
                let is_here = code.contains(call);
                assert!(
                    !is_here || allowed.contains(&name),
                    "`{call}` in {name}: ask a `Parser`, or run it `Confined`"
                );
            }
        }
    }
}
