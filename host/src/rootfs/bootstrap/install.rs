//! Runs the half of a bootstrap in which programs of the image run.
//!
//! As mmdebstrap does it: the files of essential packages are laid into the tree, so that there is a dpkg; dpkg installs
//! these packages; apt installs all others. Each program is in a box of its own.

use std::path::Path;

use crate::error::{Context, Failure, Result};
use crate::rootfs::files::{Attrs, FileKind, ImagePath, Rootfs};
use crate::rootfs::packages::{ARCHIVES, Archive, Progress, Resolved, index, offered};
use crate::sandbox::command::{Bind, BoxCommand};
use crate::sandbox::host_box::{HostBox, INPUT, WORK};
use crate::ui::Step;

/// Lays the files of the packages that it is given into the tree. The links of a merged `/usr` stay, which
/// `dpkg-deb --extract` would replace (https://bugs.debian.org/989602); the file in between shows what is not whole.
const EXTRACT: &str = r#"set -e
tree=$1
shift
for package; do
    dpkg-deb --fsys-tarfile "$package" >/tmp/files.tar
    tar -C "$tree" --numeric-owner --keep-directory-symlink --extract --file /tmp/files.tar
done"#;

/// Files that packages leave behind and that depend on the moment of installation.
const LEFTOVERS: [&str; 6] = [
    "/var/log/dpkg.log",
    "/var/log/alternatives.log",
    "/var/log/apt/history.log",
    "/var/log/apt/term.log",
    "/var/cache/ldconfig/aux-cache",
    "/var/lib/dbus/machine-id",
];
const MACHINE_ID: &str = "/etc/machine-id";

/// Parameters of an installation.
#[derive(Debug)]
pub struct Installation<'a> {
    /// The release, for messages.
    pub suite: &'a str,
    /// The tree that was prepared, mounted on [`crate::rootfs::policy`].
    pub root: &'a Path,
    pub archive: &'a Archive,
    pub resolved: &'a Resolved,
    pub packages: &'a [String],
    /// A directory of the build, on the file system of the package cache.
    pub scratch: &'a Path,
}

/// Installs the system and the packages.
///
/// # Privileges
/// Uid 0 of the private namespace.
///
/// # Errors
/// [`Failure::build`] if a package cannot be fetched or installed, with the end of what was said.
pub fn install(it: &Installation<'_>, step: &Step) -> Result<()> {
    let archives = it.scratch.join("archives");
    let files = it.archive.lay_system(it.resolved, &archives, step)?;
    step.note("extracting the essential packages");
    extract(it, &archives, &files, step)?;
    let rootfs = Rootfs::open(it.root, it.archive.epoch)?;
    step.note("installing the essential packages");
    let failed = format!("cannot install the essential packages of `{}`", it.suite);
    let mut progress = Progress::new(step, files.len());
    let output = dpkg(it, &archives, &files).run(None, &mut |stream, line| progress.line(stream, line));
    drop(progress);
    output.with_context(|| Failure::build(&failed))?.check(&format!("{failed}: dpkg"))?;
    step.note("installing all other packages");
    index(&it.archive.apt, it.root, &it.archive.lists, &it.archive.index)?;
    if !it.packages.is_empty() {
        let chosen = it.archive.choose(it.root, it.packages, false)?;
        it.archive.install(it.root, it.scratch, it.packages, false, &chosen, step)?;
    }
    crate::store::remove_tree(&archives)?;
    clean(&rootfs)
}

fn extract(it: &Installation<'_>, archives: &Path, files: &[String], step: &Step) -> Result<()> {
    let jail = it.scratch.join("box");
    {
        let host = HostBox::new(&jail, it.root)?;
        let packages = files.iter().map(|file| format!("{INPUT}/{file}"));
        let start = ["sh", "-c", EXTRACT, "sh", WORK].map(str::to_owned);
        let mut command = host.command(start.into_iter().chain(packages));
        command.binds.push(Bind { source: archives.to_owned(), target: INPUT.into(), writable: false });
        let output = command.run(None, &mut |_, line| step.detail(&format!("extract | {line}")))?;
        output.check(&format!("cannot extract the essential packages of `{}`: tar", it.suite))?;
    }
    crate::store::remove_tree(&jail)
}

/// Makes the dpkg command that installs `files`. dpkg and not apt: base-passwd must make the accounts before other
/// packages ask for them. With `--force-depends`: dpkg does not sort packages by their `Pre-Depends`, apt has done so.
fn dpkg(it: &Installation<'_>, archives: &Path, files: &[String]) -> BoxCommand {
    // A file written in advance wins over the one in the package.
    let options = ["dpkg", "--install", "--force-depends", "--force-confold"].map(str::to_owned);
    let packages = files.iter().map(|file| format!("{ARCHIVES}/{file}"));
    let mut command = BoxCommand::new(it.root, options.into_iter().chain(packages));
    command.env.extend(it.archive.apt.environment.clone());
    command.env.push(("SOURCE_DATE_EPOCH".into(), it.archive.epoch.to_string()));
    command.binds.push(offered(archives));
    command
}

/// Takes out of the tree what would differ from one bootstrap to the next.
fn clean(rootfs: &Rootfs) -> Result<()> {
    for path in LEFTOVERS {
        let path = ImagePath::parse(path)?;
        if rootfs.metadata(&path)?.is_some_and(|metadata| metadata.kind == FileKind::File) {
            rootfs.remove(&path, false)?;
        }
    }
    let id = ImagePath::parse(MACHINE_ID)?;
    if rootfs.metadata(&id)?.is_some() {
        // The first boot makes one (machine-id(5)).
        rootfs.write(&id, b"", Attrs { mode: 0o644, uid: 0, gid: 0 })?;
    }
    Ok(())
}
