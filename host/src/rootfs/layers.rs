//! Mounts overlays: finished layers below, a fresh upper directory on top
//! (<https://docs.kernel.org/filesystems/overlayfs.html>).
//!
//! All of it happens in the build's private mount namespace, so there is nothing to clean up after a kill.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use nix::mount::{MntFlags, MsFlags, umount2};

use crate::error::{Context, Failure, Result};
use crate::sandbox::mounts;
use crate::ui::Printable as _;

/// A mounted rootfs. Unmounted when dropped.
#[derive(Debug)]
pub struct Mounted {
    merged: PathBuf,
}

impl Mounted {
    /// Mounts `lowers` (the lowest first) with `upper` on top at a new place below `/build`.
    ///
    /// `work` must be an empty directory on the file system of `upper`.
    ///
    /// # Privileges
    /// Uid 0 of the private namespace.
    ///
    /// # Errors
    /// [`Failure::host`] if the kernel refuses, naming the usual cause.
    pub fn new(lowers: &[PathBuf], upper: &Path, work: &Path) -> Result<Self> {
        Self::mount(MsFlags::empty(), lowers, Some((upper, work)))
    }

    /// Mounts `lowers` with nothing on top: they can be read and not be written to.
    ///
    /// # Privileges
    /// Uid 0 of the private namespace.
    ///
    /// # Errors
    /// Those of [`Mounted::new`].
    pub fn read_only(lowers: &[PathBuf]) -> Result<Self> {
        let [only] = lowers else { return Self::mount(MsFlags::MS_RDONLY, lowers, None) };
        // overlayfs needs two lower layers.
        let empty = PathBuf::from("/build/empty");
        #[expect(clippy::disallowed_methods, reason = "a directory of the private namespace")]
        fs::create_dir_all(&empty).context("cannot prepare an overlay")?;
        Self::mount(MsFlags::MS_RDONLY, &[empty, only.clone()], None)
    }

    fn mount(flags: MsFlags, lowers: &[PathBuf], top: Option<(&Path, &Path)>) -> Result<Self> {
        let merged = (0..)
            .map(|number| PathBuf::from(format!("/build/{number}")))
            .find(|path| fs::create_dir(path).is_ok())
            .expect("one of the numbers is free");
        // The kernel takes one page of mount options, which the paths of some seventy layers fill. So layers get short
        // names, which are not needed any more once the kernel has resolved them.
        let links = merged.with_extension("lowers");
        let links = Links::new(links, lowers).context("cannot prepare an overlay")?;
        let options = options(&links.names, top);
        mounts::mount(Some("overlay"), &merged, Some("overlay"), flags, Some(options.as_str())).with_context(|| {
            Failure::host("cannot mount an overlay in the store").hint(
                "the store must be on ext4, xfs, btrfs or tmpfs, and not itself on an overlay (as in a container): \
                 choose another place with --store",
            )
        })?;
        Ok(Self { merged })
    }

    pub fn path(&self) -> &Path {
        &self.merged
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // The namespace's end unmounts whatever is left.
        umount2(&self.merged, MntFlags::MNT_DETACH).ok();
        fs::remove_dir(&self.merged).ok();
    }
}

/// Short names of layers, as links. Removed when dropped.
struct Links {
    directory: PathBuf,
    /// Names in the order of the layers.
    names: Vec<PathBuf>,
}

impl Links {
    fn new(directory: PathBuf, lowers: &[PathBuf]) -> std::io::Result<Self> {
        fs::create_dir(&directory)?;
        let mut links = Self { directory, names: Vec::new() };
        for (number, lower) in lowers.iter().enumerate() {
            let name = links.directory.join(number.to_string());
            symlink(lower, &name)?;
            links.names.push(name);
        }
        Ok(links)
    }
}

impl Drop for Links {
    fn drop(&mut self) {
        // Whatever stays goes with the namespace.
        fs::remove_dir_all(&self.directory).ok();
    }
}

/// Returns the mount options of the overlay (<https://docs.kernel.org/filesystems/overlayfs.html>); `top` is its upper
/// and its work directory.
fn options(lowers: &[PathBuf], top: Option<(&Path, &Path)>) -> String {
    let lower: Vec<String> = lowers.iter().rev().map(|path| path.to_string_lossy().into_owned()).collect();
    // userxattr: `trusted.*` attributes are out of reach in a user namespace.
    // volatile: dpkg's many fsyncs cost minutes and protect nothing here; a layer is synced once, when committed.
    // The rest off: a layer must mean the same whatever it is stacked on.
    let top = top.map_or_else(String::new, |(upper, work)| {
        format!(",upperdir={},workdir={},volatile", upper.printable(), work.printable())
    });
    format!("lowerdir={}{top},userxattr,index=off,metacopy=off", lower.join(":"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_topmost_layer_is_named_first() {
        let lowers = ["/a".into(), "/b".into()];
        let text = options(&lowers, Some((Path::new("/u"), Path::new("/w"))));
        assert!(text.starts_with("lowerdir=/b:/a,upperdir=/u,workdir=/w,volatile,userxattr,"), "{text}");
        assert!(options(&lowers, None).starts_with("lowerdir=/b:/a,userxattr,"));
    }

    #[test]
    fn the_layers_of_a_large_build_fit_into_the_options() {
        let dir = tempfile::tempdir().unwrap();
        let lowers: Vec<PathBuf> = (0..200).map(|n| format!("/store/data/layers/{n:032}/fs").into()).collect();
        let links = Links::new(dir.path().join("l"), &lowers).unwrap();
        let followed: Vec<PathBuf> = links.names.iter().map(|name| fs::read_link(name).unwrap()).collect();
        assert_eq!(followed, lowers);
        let place = |text: &str| text.replace(dir.path().to_str().unwrap(), "/build");
        let names: Vec<PathBuf> = links.names.iter().map(|name| place(name.to_str().unwrap()).into()).collect();
        let (upper, work) =
            (Path::new("/store/data/stages/0123456789abcdef/fs"), Path::new("/store/data/stages/x/work"));
        assert!(options(&names, Some((upper, work))).len() < 4096);
        drop(links);
        assert!(!dir.path().join("l").exists());
    }
}
