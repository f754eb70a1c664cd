//! Makes the last changes before the partitions are written: what must differ per image (host name, `PARTUUID`s), and
//! what must not be in any image (keys, ids, logs, build leftovers).
//!
//! Works on a throw-away overlay above all layers and runs nothing. The tree may be hostile: a plugin that was granted
//! `/tmp` may have put a link there, to a directory that it was not granted. So everything is done through [`Exact`], and
//! afterwards the overlay's upper directory is compared with what finalising may change ([`check`]).
//!
//! A link in place of a *file* that is made for this image is replaced, and what it leads to is not read. A link in place
//! of a *directory* that is to be emptied ends the build, unless it leads into a directory that is emptied itself
//! (`/var/tmp` to `/tmp`, as some read-only systems have it) or to nothing: to follow it would destroy what nobody asked to
//! empty, to leave it would ship the logs and caches that are behind it, and to put a directory in its place would undo
//! in silence what somebody was granted.

use std::ffi::CStr;
use std::path::Path;

use super::identities::{self, Removed};
use crate::error::{Context, Failure, Result};
use crate::report::BUILD_INFO;
use crate::rootfs::boot_config::DIRECTORY as BOOT;
use crate::rootfs::changes::{Change, ChangeKind};
use crate::rootfs::files::{Attrs, Exact, Fate, FileErrorCode, FileKind, ImagePath, Rootfs};
use crate::rootfs::{fstab, text};
use crate::ui::printable;

/// Largest configuration file that is edited here.
const TEXT_LIMIT: u64 = 1 << 20;

const ROOT_FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

/// Names that belong to this image alone.
#[derive(Debug)]
pub struct ImageNames<'a> {
    pub hostname: &'a str,
    /// `PARTUUID`s of the two partitions.
    pub boot_partuuid: &'a str,
    pub root_partuuid: &'a str,
    /// The release's `fstab` entries of the two partitions, with placeholders.
    pub fstab: &'a str,
    /// Files in which the root file system is named, by placeholders.
    pub root_references: &'a [String],
}

/// Files that belong to one machine or to the build, never to an image.
const REMOVED: [&str; 15] = [
    "/var/cache/apt/pkgcache.bin",
    "/var/cache/apt/srcpkgcache.bin",
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
const HOSTS: &str = "/etc/hosts";
const MACHINE_ID: &str = "/etc/machine-id";

/// Logs of the build.
const LOGS: &str = "/var/log";

/// Returns the files that [`run`] writes.
pub fn written(root_references: &[String]) -> impl Iterator<Item = String> {
    let own = ["/etc/hostname", HOSTS, FSTAB, MACHINE_ID].map(str::to_owned);
    own.into_iter().chain(root_references.iter().cloned())
}

/// Returns whether no image keeps what is at `path`, an absolute one.
pub fn is_dropped(path: &str) -> bool {
    REMOVED.contains(&path) || EMPTIED.iter().chain([&LOGS]).any(|directory| is_below(path, directory))
}

/// Returns whether the directories in there stay in an image although files do not; `inside` is relative to the tree.
pub fn keeps_directories(inside: &Path) -> bool {
    Path::new("/").join(inside).starts_with(LOGS)
}

/// Login records must exist with their owner and mode to be written at all.
const LOGIN_RECORDS: [&str; 4] = ["wtmp", "btmp", "lastlog", "faillog"];

/// Applies `identity` and removes what must not be shipped, but for what `is_wanted`; returns what each machine makes anew.
///
/// # Errors
/// If a file of the image cannot be read or written; [`Failure::build`] if a link is where a directory is to be emptied.
pub fn run(rootfs: &Rootfs, identity: &ImageNames<'_>, is_wanted: &dyn Fn(&str) -> bool) -> Result<Removed> {
    let tree = rootfs.exact();
    name(rootfs, identity.hostname)?;
    let fstab = if is_file(tree, FSTAB)? { read(rootfs, FSTAB)? } else { None };
    write(rootfs, FSTAB, &fstab::with_placeholders(&fstab.unwrap_or_default(), identity.fstab))?;
    for path in identity.root_references.iter().map(String::as_str).chain([FSTAB]) {
        if let Some(text) = read(rootfs, path)? {
            write(rootfs, path, &fill(&text, identity))?;
        }
    }
    // Empty, not missing: systemd fills it at first boot, also on a root file system that is still read-only. See
    // <https://www.freedesktop.org/software/systemd/man/latest/machine-id.html>.
    write(rootfs, MACHINE_ID, "")?;
    for path in REMOVED {
        tree.remove(&ImagePath::parse(path)?)?;
    }
    let removed = identities::renew(rootfs, is_wanted)?;
    for directory in EMPTIED {
        clear(tree, directory, &|_| Fate::Remove)?;
    }
    // Directories stay: daemons expect theirs.
    let is_login_record = |name: &CStr| LOGIN_RECORDS.iter().any(|record| record.as_bytes() == name.to_bytes());
    clear(tree, LOGS, &|name| if is_login_record(name) { Fate::Empty } else { Fate::Enter })?;
    Ok(removed)
}

/// Gives the image its host name, where it does not have it already.
///
/// # Errors
/// If the file system refuses.
pub(super) fn name(rootfs: &Rootfs, hostname: &str) -> Result<()> {
    const HOSTNAME: &str = "/etc/hostname";
    let tree = rootfs.exact();
    let old = if is_file(tree, HOSTNAME)? { read(rootfs, HOSTNAME)? } else { None };
    if old.is_none_or(|old| old.trim() != hostname) {
        // An existing file may have another mode.
        tree.remove(&ImagePath::parse(HOSTNAME)?)?;
        write(rootfs, HOSTNAME, &format!("{hostname}\n"))?;
    }
    let hosts = if is_file(tree, HOSTS)? { read(rootfs, HOSTS)?.unwrap_or_default() } else { String::new() };
    let names_it =
        |line: &str| line.split('#').next().unwrap_or_default().split_whitespace().skip(1).any(|it| it == hostname);
    if hosts.lines().any(names_it) { Ok(()) } else { write(rootfs, HOSTS, &hosts_with(&hosts, hostname)) }
}

/// Returns whether a regular file is there. Anything else is replaced; the image must not reveal a link's target.
fn is_file(tree: Exact<'_>, path: &str) -> Result<bool> {
    Ok(tree.metadata(&ImagePath::parse(path)?)?.is_some_and(|metadata| metadata.kind == FileKind::File))
}

/// Empties a directory, which must be that very directory.
fn clear(tree: Exact<'_>, directory: &str, fate: &dyn Fn(&CStr) -> Fate) -> Result<()> {
    let path = ImagePath::parse(directory)?;
    let found = tree.metadata(&path).with_context(|| no_directory(directory))?;
    match found {
        Some(metadata) if metadata.kind == FileKind::Symlink && is_harmless_link(tree.rootfs(), &path)? => Ok(()),
        _ => tree.clear(&path, fate).map(drop).with_context(|| no_directory(directory)),
    }
}

fn no_directory(directory: &str) -> Failure {
    Failure::build(format!("cannot empty `{directory}` of the image, as is done for every image")).hint(
        "it must be a directory itself, and so must those above it: which plugin or package made it another thing?",
    )
}

/// Returns whether a link leads to nothing, or to where everything is removed anyway.
fn is_harmless_link(rootfs: &Rootfs, link: &ImagePath) -> Result<bool> {
    let target = match rootfs.resolve(link) {
        Ok(target) => target,
        Err(error) if error.code == FileErrorCode::NotFound => return Ok(true),
        // A loop of links is no directory; opening it reports the error.
        Err(_) => return Ok(false),
    };
    Ok(rootfs.exact().metadata(&target)?.is_none() || EMPTIED.contains(&target.as_str()) || is_dropped(target.as_str()))
}

/// Sees that finalising has changed nothing but what it may; `boot_files` are the paths that were copied to the boot
/// partition.
///
/// # Errors
/// [`Failure::bug`] naming the path.
pub fn check(changes: &[Change], root_references: &[String], boot_files: &[String]) -> Result<()> {
    let written: Vec<String> =
        written(root_references).chain(boot_files.iter().cloned()).chain([BUILD_INFO.to_owned()]).collect();
    let Some(change) = changes.iter().find(|change| !may_change(change, &written)) else { return Ok(()) };
    let (path, kind) = (printable(&change.path), &change.kind);
    Err(Failure::bug(format!("finalising changed what it must not: `{path}` {kind}")).into())
}

/// Returns whether it is finalising's to make that change, where it writes the files `written`.
fn may_change(change: &Change, written: &[String]) -> bool {
    let path = change.path.as_str();
    let is_written = written.iter().any(|file| file == path);
    match &change.kind {
        // A parent directory that was missing for one of the files.
        ChangeKind::Added => {
            let is_above = |file: &str| change.directory && is_below(file, path);
            is_written || written.iter().any(|file| is_above(file)) || path == BOOT || identities::may_write(path)
        }
        ChangeKind::Changed(_) => {
            let name = path.rsplit('/').next().unwrap_or_default();
            is_written || is_below(path, LOGS) && LOGIN_RECORDS.contains(&name) || identities::may_empty(path)
        }
        ChangeKind::Removed => {
            is_dropped(path) || identities::may_remove(path) || REMOVED.iter().any(|removed| is_below(path, removed))
        }
    }
}

fn is_below(path: &str, directory: &str) -> bool {
    path.strip_prefix(directory).is_some_and(|rest| rest.starts_with('/'))
}

/// Returns `/etc/hosts` with the machine's names, and the other lines of `old`. Debian gives the host name the address
/// 127.0.1.1, so that it resolves without a network:
/// <https://www.debian.org/doc/manuals/debian-reference/ch05.en.html#_the_hostname_resolution>.
fn hosts_with(old: &str, hostname: &str) -> String {
    let own = match hostname.split_once('.') {
        Some((short, _)) => format!("127.0.1.1\t{hostname} {short}"),
        None => format!("127.0.1.1\t{hostname} {hostname}.local"),
    };
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

fn fill(text: &str, identity: &ImageNames<'_>) -> String {
    text.replace(fstab::ROOT_PARTUUID, identity.root_partuuid).replace(fstab::BOOT_PARTUUID, identity.boot_partuuid)
}

/// Returns a text of the tree, if it is there: at its very place, for a link may lead to what is nobody's to publish.
/// What is no UTF-8 in it stays ([`text`]).
///
/// # Errors
/// If it cannot be read.
pub(super) fn read(rootfs: &Rootfs, path: &str) -> Result<Option<String>> {
    Ok(rootfs.exact().read(&ImagePath::parse(path)?, TEXT_LIMIT)?.map(|data| text::decode(&data)))
}

/// Reads a file that may be a link within the image, as packages install some. Callers must not write the text
/// elsewhere.
///
/// # Errors
/// Those of [`read`].
pub(super) fn read_linked(rootfs: &Rootfs, path: &str) -> Result<Option<String>> {
    match rootfs.read(&ImagePath::parse(path)?, TEXT_LIMIT) {
        Ok(data) => Ok(Some(text::decode(&data))),
        Err(error) if error.code == FileErrorCode::NotFound => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Writes a text, with the attributes of the file that it replaces or with the usual ones. What is no file is replaced too:
/// it is this image's own.
///
/// # Errors
/// If the file system refuses.
pub(super) fn write(rootfs: &Rootfs, path: &str, text: &str) -> Result<()> {
    let (tree, path) = (rootfs.exact(), ImagePath::parse(path)?);
    let old = tree.metadata(&path)?.filter(|metadata| metadata.kind == FileKind::File);
    Ok(tree.write(&path, &text::encode(text), old.map_or(ROOT_FILE, |metadata| metadata.attrs))?)
}

#[cfg(test)]
mod hostile;

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
        assert!(hosts_with("", "robot.local").contains("\n127.0.1.1\trobot.local robot\n"));
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
        std::fs::write(root.join("etc/fstab"), "tmpfs /scratch tmpfs size=1m 0 0\n").unwrap();
        std::fs::write(root.join("boot/firmware/cmdline.txt"), "root=PARTUUID={root_partuuid} rw\n").unwrap();
        let rootfs = Rootfs::open(root, 1_700_000_000).unwrap();
        let identity = ImageNames {
            hostname: "pi",
            boot_partuuid: "aa-01",
            root_partuuid: "aa-02",
            fstab: "PARTUUID={root_partuuid} / ext4 defaults 0 1\nPARTUUID={boot_partuuid} /boot/firmware vfat defaults 0 2\n",
            root_references: &["/boot/firmware/cmdline.txt".into(), "/etc/default/missing".into()],
        };
        run(&rootfs, &identity, &|_| false).unwrap();
        let text = |path: &str| std::fs::read_to_string(root.join(path)).unwrap();
        assert_eq!(text("etc/hostname"), "pi\n");
        assert_eq!(text("etc/machine-id"), "");
        assert_eq!(text("boot/firmware/cmdline.txt"), "root=PARTUUID=aa-02 rw\n");
        let fstab = "tmpfs /scratch tmpfs size=1m 0 0\nPARTUUID=aa-02 / ext4 defaults 0 1\n\
                     PARTUUID=aa-01 /boot/firmware vfat defaults 0 2\n";
        assert_eq!(text("etc/fstab"), fstab);
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
