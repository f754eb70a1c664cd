//! Last changes before the partitions are written: what must differ per image (host name, `PARTUUID`s) and what
//! must not be in any image (keys, ids, logs, build leftovers).
//!
//! Works on a throw-away overlay above all layers, through [`Rootfs`] only; runs nothing.

use std::path::Path;

use crate::error::{Context, Result};
use crate::rootfs::files::{Attrs, FileErrorCode, FileKind, ImagePath, Metadata, Rootfs};

/// Largest configuration file that is edited here.
const TEXT_LIMIT: u64 = 1 << 20;

const ROOT_FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

/// What is particular to this image.
#[derive(Debug)]
pub struct Identity<'a> {
    pub hostname: &'a str,
    /// `PARTUUID`s of the two partitions.
    pub boot_partuuid: &'a str,
    pub root_partuuid: &'a str,
    /// What becomes the image's fstab, with placeholders; none if it has one with placeholders already.
    pub fstab: Option<&'a str>,
    /// Files in which the root file system is named, by placeholders.
    pub root_references: &'a [String],
}

/// Files that belong to one machine or to the build, never to an image.
const REMOVED: [&str; 16] = [
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
    "/etc/resolv.conf",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/subuid-",
    "/etc/subgid-",
    "/etc/.pwd.lock",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/random-seed",
    "/var/lib/systemd/credential.secret",
    "/var/cache/ldconfig/aux-cache",
    "/var/cache/debconf/config.dat-old",
    "/var/cache/debconf/templates.dat-old",
];

/// Directories that are emptied; the directories themselves stay.
const EMPTIED: [&str; 6] =
    ["/var/lib/apt/lists", "/var/cache/apt/archives", "/tmp", "/var/tmp", "/run", "/root/.cache"];

const FSTAB: &str = "/etc/fstab";

/// Logs of the build.
const LOGS: &str = "/var/log";

/// Placeholder in the release's files, replaced by the root partition's `PARTUUID`.
pub const ROOT_PARTUUID: &str = "{root_partuuid}";
/// Placeholder for the boot partition's `PARTUUID`.
pub const BOOT_PARTUUID: &str = "{boot_partuuid}";

/// The files that [`run`] writes.
pub fn written(root_references: &[String]) -> impl Iterator<Item = String> {
    let own = ["/etc/hostname", "/etc/hosts", FSTAB, "/etc/machine-id"].map(str::to_owned);
    own.into_iter().chain(root_references.iter().cloned())
}

/// Whether no image keeps what is at `path`, an absolute one.
pub fn is_dropped(path: &str) -> bool {
    let below = |directory: &&str| path.strip_prefix(*directory).is_some_and(|rest| rest.starts_with('/'));
    REMOVED.contains(&path) || EMPTIED.iter().any(below) || below(&LOGS)
}

/// Whether the directories in there stay in an image although files do not; `inside` is relative to the tree.
pub fn keeps_directories(inside: &Path) -> bool {
    Path::new("/").join(inside).starts_with(LOGS)
}

/// Applies `identity` and removes what must not be shipped.
///
/// # Errors
/// If a file of the image cannot be read or written.
pub fn run(rootfs: &Rootfs, identity: &Identity<'_>) -> Result<()> {
    let hostname = identity.hostname;
    // A bootstrap copies the host's own, and with it whatever mode it has there.
    remove(rootfs, &ImagePath::parse("/etc/hostname")?)?;
    write(rootfs, "/etc/hostname", &format!("{hostname}\n"))?;
    let hosts = read(rootfs, "/etc/hosts")?.unwrap_or_default();
    write(rootfs, "/etc/hosts", &hosts_with(&hosts, hostname))?;
    if let Some(fstab) = identity.fstab {
        write(rootfs, FSTAB, fstab)?;
    }
    for path in identity.root_references.iter().map(String::as_str).chain([FSTAB]) {
        if let Some(text) = read(rootfs, path)? {
            write(rootfs, path, &fill(&text, identity))?;
        }
    }
    // Empty, not missing: systemd fills it at first boot, also where the root file system is still read-only.
    write(rootfs, "/etc/machine-id", "")?;
    for path in REMOVED {
        remove(rootfs, &ImagePath::parse(path)?)?;
    }
    for (name, _) in entries(rootfs, "/etc/ssh")? {
        if name.starts_with("ssh_host_") {
            remove(rootfs, &ImagePath::parse("/etc/ssh")?.join(&name)?)?;
        }
    }
    for directory in EMPTIED {
        for (name, _) in entries(rootfs, directory)? {
            remove(rootfs, &ImagePath::parse(directory)?.join(&name)?)?;
        }
    }
    remove_logs(rootfs, &ImagePath::parse(LOGS)?)
}

/// Removes log files below `directory`; directories stay, because daemons expect theirs.
fn remove_logs(rootfs: &Rootfs, directory: &ImagePath) -> Result<()> {
    for (name, kind) in entries(rootfs, directory.as_str())? {
        let path = directory.join(&name)?;
        match kind {
            FileKind::Directory => remove_logs(rootfs, &path)?,
            // Login records must exist with their owner and mode to be written at all.
            FileKind::File if ["wtmp", "btmp", "lastlog", "faillog"].contains(&name.as_str()) => {
                let metadata = rootfs.metadata(&path)?;
                let attrs = metadata.map_or(ROOT_FILE, |metadata: Metadata| metadata.attrs);
                rootfs.write(&path, b"", attrs)?;
            }
            _ => remove(rootfs, &path)?,
        }
    }
    Ok(())
}

/// `/etc/hosts` with the names of this machine, and whatever else was in it. The second one is what others know it by: it
/// shall find itself by that, too, with no network to ask.
fn hosts_with(old: &str, hostname: &str) -> String {
    let own = format!("127.0.1.1\t{hostname} {hostname}.local");
    let mut lines: Vec<&str> = old.lines().collect();
    let at =
        |lines: &[&str], address: &str| lines.iter().position(|line| line.split_whitespace().next() == Some(address));
    if at(&lines, "127.0.0.1").is_none() {
        lines.insert(0, "127.0.0.1\tlocalhost");
        lines.extend(["::1\tlocalhost ip6-localhost ip6-loopback", "ff02::1\tip6-allnodes", "ff02::2\tip6-allrouters"]);
    }
    match (at(&lines, "127.0.1.1"), at(&lines, "127.0.0.1")) {
        (Some(place), _) => lines[place] = &own,
        (None, local) => lines.insert(local.map_or(0, |local| local + 1), &own),
    }
    lines.join("\n") + "\n"
}

fn fill(text: &str, identity: &Identity<'_>) -> String {
    text.replace(ROOT_PARTUUID, identity.root_partuuid).replace(BOOT_PARTUUID, identity.boot_partuuid)
}

/// A text of the tree, if it is there.
///
/// # Errors
/// If it cannot be read, or is no text.
pub(super) fn read(rootfs: &Rootfs, path: &str) -> Result<Option<String>> {
    match rootfs.read(&ImagePath::parse(path)?, TEXT_LIMIT) {
        Ok(data) => Ok(Some(String::from_utf8(data).with_context(|| format!("`{path}` of the image is not text"))?)),
        Err(error) if error.code == FileErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a text, in place of one or with the usual attributes.
///
/// # Errors
/// If the file system refuses.
pub(super) fn write(rootfs: &Rootfs, path: &str, text: &str) -> Result<()> {
    let path = ImagePath::parse(path)?;
    let attrs = match rootfs.metadata(&path)? {
        // A link from `/etc/hostname` and the like is replaced: the file is this image's own.
        Some(metadata) if metadata.kind == FileKind::Symlink => {
            rootfs.remove(&path, false)?;
            ROOT_FILE
        }
        Some(metadata) => metadata.attrs,
        None => ROOT_FILE,
    };
    Ok(rootfs.write(&path, text.as_bytes(), attrs)?)
}

fn entries(rootfs: &Rootfs, directory: &str) -> Result<Vec<(String, FileKind)>> {
    match rootfs.list_dir(&ImagePath::parse(directory)?) {
        Ok(entries) => Ok(entries),
        Err(error) if matches!(error.code, FileErrorCode::NotFound | FileErrorCode::NotADirectory) => Ok(Vec::new()),
        Err(error) => Err(error.into()),
    }
}

fn remove(rootfs: &Rootfs, path: &ImagePath) -> Result<()> {
    match rootfs.remove(path, true) {
        Err(error) if error.code != FileErrorCode::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_no_image_keeps_is_dropped() {
        for (path, expected) in [
            ("/etc/passwd-", true),
            ("/etc/passwd", false),
            ("/var/log/app/x.log", true),
            ("/var/log", false),
            ("/var/logs/x", false),
            ("/root/.cache/pip/x", true),
            ("/root/.cached", false),
        ] {
            assert_eq!(is_dropped(path), expected, "{path}");
        }
    }

    #[test]
    fn hosts_keep_what_was_there_and_name_the_machine_once() {
        let old = "127.0.0.1\tlocalhost\n127.0.1.1\told\n10.0.0.1\tserver\n";
        assert_eq!(hosts_with(old, "pi"), "127.0.0.1\tlocalhost\n127.0.1.1\tpi pi.local\n10.0.0.1\tserver\n");
        let fresh = hosts_with("", "pi");
        assert_eq!(hosts_with(&fresh, "pi"), fresh);
        assert!(hosts_with("", "pi").starts_with("127.0.0.1\tlocalhost\n127.0.1.1\tpi pi.local\n::1\tlocalhost"));
    }

    #[test]
    fn a_tree_is_cleaned_and_named() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path();
        for directory in ["etc/ssh", "var/log/apt", "var/lib/apt/lists", "var/lib/dbus", "boot/firmware"] {
            std::fs::create_dir_all(root.join(directory)).unwrap();
        }
        for file in [
            "etc/ssh/ssh_host_rsa_key",
            "etc/ssh/sshd_config",
            "etc/machine-id",
            "var/log/apt/term.log",
            "var/log/dpkg.log",
            "var/lib/apt/lists/x_Packages",
            "etc/shadow-",
        ] {
            std::fs::write(root.join(file), "secret").unwrap();
        }
        std::fs::write(root.join("boot/firmware/cmdline.txt"), "root=PARTUUID={root_partuuid} rw\n").unwrap();
        let rootfs = Rootfs::open(root, 1_700_000_000).unwrap();
        let identity = Identity {
            hostname: "pi",
            boot_partuuid: "aa-01",
            root_partuuid: "aa-02",
            fstab: Some(
                "PARTUUID={root_partuuid} / ext4 defaults 0 1\nPARTUUID={boot_partuuid} /boot/firmware vfat defaults 0 2\n",
            ),
            root_references: &["/boot/firmware/cmdline.txt".into(), "/etc/default/missing".into()],
        };
        run(&rootfs, &identity).unwrap();
        let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(text("etc/hostname"), "pi\n");
        assert_eq!(text("etc/machine-id"), "");
        assert_eq!(text("boot/firmware/cmdline.txt"), "root=PARTUUID=aa-02 rw\n");
        assert!(text("etc/fstab").contains("PARTUUID=aa-01 /boot/firmware"));
        assert!(root.join("etc/ssh/sshd_config").exists());
        for gone in [
            "etc/ssh/ssh_host_rsa_key",
            "var/log/apt/term.log",
            "var/log/dpkg.log",
            "var/lib/apt/lists/x_Packages",
            "etc/shadow-",
        ] {
            assert!(!root.join(gone).exists(), "{gone}");
        }
        assert!(root.join("var/log/apt").is_dir());
    }
}
