//! Mounts what the private root of the build and a box consist of, as small typed operations.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};

use crate::error::{Context, Failure, Result};
use crate::log;
use crate::text::Printable as _;

const NONE: Option<&str> = None;

/// Directories of the host with its programs and their configuration; the build sees them read-only.
pub(super) const HOST_DIRECTORIES: [&str; 9] = ["usr", "etc", "opt", "bin", "sbin", "lib", "lib32", "lib64", "nix"];

/// Devices that every box has.
const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];

/// Bytes of shared memory for programs of the host that a build runs; none of them shares any.
const SHARED_MEMORY: u64 = 64 << 20;

/// Most pieces of shared memory, each of which is a file.
const SHARED_FILES: u64 = 10_000;

/// Mounts, and logs it: the one door to mount(2) (<https://man7.org/linux/man-pages/man2/mount.2.html>).
pub fn mount<S: AsRef<Path> + ?Sized>(
    source: Option<&S>,
    target: &Path,
    kind: Option<&str>,
    flags: MsFlags,
    options: Option<&str>,
) -> nix::Result<()> {
    let shown = source.map(|source| source.as_ref().printable()).unwrap_or_default();
    log::mount(format_args!(
        "`{shown}` on `{}`: {} {flags:?} {}",
        target.printable(),
        kind.unwrap_or("bind"),
        options.unwrap_or("")
    ));
    nix::mount::mount(source.map(AsRef::as_ref), target, kind, flags, options)
}

pub(super) fn bind(source: &Path, target: &Path) -> Result<()> {
    mount(Some(source), target, NONE, MsFlags::MS_BIND | MsFlags::MS_REC, NONE)
        .with_context(|| format!("cannot bind `{}` to `{}`", source.printable(), target.printable()))
}

/// Binds `source` and makes that single mount read-only.
pub(super) fn bind_read_only(source: &Path, target: &Path) -> Result<()> {
    bind(source, target)?;
    remount(target, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NODEV)
}

fn remount(target: &Path, flags: MsFlags) -> Result<()> {
    mount(NONE, target, NONE, MsFlags::MS_REMOUNT | MsFlags::MS_BIND | flags, NONE)
        .with_context(|| format!("cannot change the mount of `{}`", target.printable()))
}

pub(super) fn tmpfs(target: &Path, options: &str) -> Result<()> {
    mount(Some("tmpfs"), target, Some("tmpfs"), MsFlags::MS_NOSUID | MsFlags::MS_NODEV, Some(options))
        .with_context(|| format!("cannot mount a tmpfs on `{}`", target.printable()))
}

pub(super) fn proc(target: &Path) -> Result<()> {
    let flags = MsFlags::MS_NOSUID | MsFlags::MS_NODEV | MsFlags::MS_NOEXEC;
    mount(Some("proc"), target, Some("proc"), flags, NONE)
        .with_context(|| Failure::host(format!("cannot mount proc on `{}`", target.printable())))
}

/// Stops mount events from leaving this mount namespace: <https://docs.kernel.org/filesystems/sharedsubtree.html>.
pub(super) fn make_private() -> Result<()> {
    mount(NONE, Path::new("/"), NONE, MsFlags::MS_REC | MsFlags::MS_PRIVATE, NONE)
        .context("cannot make the mounts private")
}

/// Makes a `/dev` with [`DEVICES`] of the host, its own pseudo terminals and shared memory.
///
/// `root` is the directory that holds the `dev` to fill; `shared` is the limit of shared memory in bytes.
pub(super) fn dev(root: &Path, shared: u64) -> Result<()> {
    let dev = root.join("dev");
    tmpfs(&dev, "mode=755,size=64k,nr_inodes=64")?;
    for device in DEVICES {
        let target = dev.join(device);
        fs::write(&target, "").with_context(|| format!("cannot create `{}`", target.printable()))?;
        bind(&Path::new("/dev").join(device), &target)?;
        // The node is the host's: its times and mode must not change. A read-only mount still lets programs write to
        // the device.
        remount(&target, MsFlags::MS_RDONLY | MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC)?;
    }
    for (link, target) in [
        ("fd", "/proc/self/fd"),
        ("stdin", "/proc/self/fd/0"),
        ("stdout", "/proc/self/fd/1"),
        ("stderr", "/proc/self/fd/2"),
        ("ptmx", "pts/ptmx"),
    ] {
        symlink(target, dev.join(link)).with_context(|| format!("cannot create `/dev/{link}`"))?;
    }
    fs::create_dir(dev.join("pts")).context("cannot create `/dev/pts`")?;
    fs::create_dir(dev.join("shm")).context("cannot create `/dev/shm`")?;
    tmpfs(&dev.join("shm"), &format!("mode=1777,size={shared},nr_inodes={SHARED_FILES}"))?;
    mount(
        Some("devpts"),
        &dev.join("pts"),
        Some("devpts"),
        MsFlags::MS_NOSUID | MsFlags::MS_NOEXEC,
        // The machine has few pseudo terminals: the limit is what any one program needs. See
        // <https://docs.kernel.org/filesystems/devpts.html>.
        Some("newinstance,ptmxmode=0666,mode=620,max=256"),
    )
    .context("cannot mount `/dev/pts`")
}

/// Makes `new_root` the root directory and forgets the old one.
pub(super) fn pivot(new_root: &Path) -> Result<()> {
    std::env::set_current_dir(new_root).with_context(|| format!("cannot enter `{}`", new_root.printable()))?;
    nix::unistd::pivot_root(".", ".").context("cannot change the root directory")?;
    // The old root covers the new one now; detaching it uncovers the new one (`pivot_root(".", ".")` in
    // <https://man7.org/linux/man-pages/man2/pivot_root.2.html>).
    umount2(".", MntFlags::MNT_DETACH).context("cannot detach the old root directory")?;
    std::env::set_current_dir("/").context("cannot enter the new root directory")
}

/// Makes the build's own root: the host's programs read-only, the store at `/store`, everything else empty and in
/// memory.
///
/// The store must be the current directory; [`super::namespace::run`] says why.
pub(super) fn private_root() -> Result<()> {
    make_private()?;
    // `/tmp` exists everywhere, and is covered in this mount namespace only.
    let resolver = fs::canonicalize("/etc/resolv.conf").ok();
    let resolver_text = fs::read("/etc/resolv.conf").ok();
    let root = PathBuf::from("/tmp");
    let store = std::env::current_dir().context("cannot find the store")?;
    // The tmpfs may cover the store's path, so the store is bound through the working directory.
    tmpfs(&root, "mode=755")?;
    for name in ["proc", "sys", "dev", "run", "tmp", "store", "root", "var", "build"] {
        fs::create_dir(root.join(name)).with_context(|| format!("cannot create `/{name}`"))?;
    }
    bind(Path::new("."), &root.join("store"))
        .with_context(|| format!("cannot bind the store `{}`", store.printable()))?;
    for name in HOST_DIRECTORIES {
        let source = Path::new("/").join(name);
        let target = root.join(name);
        let Ok(metadata) = fs::symlink_metadata(&source) else { continue };
        if metadata.is_symlink() {
            let to =
                fs::read_link(&source).with_context(|| format!("cannot read the link `{}`", source.printable()))?;
            symlink(to, &target).with_context(|| format!("cannot create `/{name}`"))?;
        } else {
            fs::create_dir(&target).with_context(|| format!("cannot create `/{name}`"))?;
            bind_read_only(&source, &target)?;
        }
    }
    dev(&root, SHARED_MEMORY)?;
    proc(&root.join("proc"))?;
    tmpfs(&root.join("tmp"), "mode=1777")?;
    // `/etc/resolv.conf` is often a link into `/run`, which is empty here.
    if let (Some(path), Some(text)) = (resolver, resolver_text)
        && let Ok(inside) = path.strip_prefix("/run")
    {
        let copy = root.join("run").join(inside);
        fs::create_dir_all(copy.parent().unwrap_or(&root)).context("cannot create `/run`")?;
        fs::write(&copy, text).context("cannot copy resolv.conf")?;
    }
    for name in ["var/cache/apt/archives/partial", "var/lib/apt/lists/partial", "var/lib/dpkg", "var/tmp", "var/log"] {
        fs::create_dir_all(root.join(name)).with_context(|| format!("cannot create `/{name}`"))?;
    }
    // Tools of the host ask dpkg for the architecture; an empty status file is enough for that.
    fs::write(root.join("var/lib/dpkg/status"), "").context("cannot create `/var/lib/dpkg/status`")?;
    pivot(&root)
}
