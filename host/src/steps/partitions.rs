//! Makes the two partitions: the layers, finalised for this image, as file systems in the store.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::path::{Path, PathBuf};

use nix::mount::{MsFlags, mount as mount_fs};
use serde::{Deserialize, Serialize};

use super::boot_files;
use super::finalise::{self, ImageNames};
use super::layer::mount;
use super::{Build, Layers, identities, image_info, import};
use crate::error::{Context, Failure, Result};
use crate::image::assemble::assemble;
use crate::image::bmap::Bmap;
use crate::image::ext4::{self, Ext4Options};
use crate::image::fat::{self, FatOptions};
use crate::image::layout::{self, BOOT_LENGTH, Bytes, Layout};
use crate::image::mbr::{self, Table};
use crate::image::pass::{Digests, digest, map};
use crate::report::{Effect, Who};
use crate::rootfs::boot_config::DIRECTORY as BOOT;
use crate::rootfs::changes::changes;
use crate::rootfs::files::{ImagePath, Rootfs};
use crate::rootfs::layers::Mounted;
use crate::store::{Damaged, Lock, Stage, Store, key, sealed};
use crate::ui::printable;

/// File with the record of the image, beside its partitions.
const KNOWN: &str = "image.json";

/// Keys and ids of packages that a build names.
const MOST_NAMED: usize = 10;

#[derive(Serialize, Deserialize)]
struct Known {
    /// Another version of piimg may lay the same partitions out in another way.
    table: Table,
    digests: Digests,
}

/// Finished partitions.
#[derive(Debug)]
pub(super) struct Partitions {
    key: String,
    /// Description of the image.
    what: String,
    directory: PathBuf,
    pub(super) identity: layout::DiskIds,
    /// Directory of the partitions until [`Partitions::keep`].
    stage: Option<Stage>,
    /// An earlier build made them.
    are_kept: bool,
    /// They are not dropped while this build uses them.
    lock: Lock,
}

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    /// The image tells it.
    piimg: &'static str,
    flavour: &'a str,
    layers: Vec<&'a str>,
    hostname: &'a str,
    extra_space_mb: u32,
    epoch: u64,
}

impl Partitions {
    /// # Errors
    /// If the store has lost them.
    pub(super) fn open(&self) -> Result<(File, File)> {
        let open = |name: &str| {
            File::open(self.directory.join(name))
                .with_context(|| format!("cannot open the {name} partition in the store"))
        };
        Ok((open("boot")?, open("root")?))
    }

    /// # Errors
    /// If the store has lost them.
    pub(super) fn layout(&self) -> Result<Layout> {
        let (boot, root) = self.open()?;
        let length =
            |file: &File| file.metadata().map(|metadata| Bytes(metadata.len())).context("cannot read the store");
        Layout::new(length(&boot)?, length(&root)?)
    }

    /// Gives new partitions their place in the store.
    ///
    /// This waits until the disk has them. The image can be put together and checked meanwhile: before this, no other
    /// build sees them.
    ///
    /// # Errors
    /// If the store cannot be written to.
    pub(super) fn keep(&mut self, store: &Store) -> Result<()> {
        if let Some(stage) = self.stage.take() {
            self.directory = store.artifact(&self.key);
            stage.commit(&self.directory, &self.what)?;
        }
        store.keep_artifact(&self.key)?;
        self.lock.share()
    }

    /// Returns the known digests of the image of these partitions, if it begins with `table`.
    ///
    /// The partitions determine every byte of it. That they still are what they were is seen by comparing the image with
    /// this.
    pub(super) fn digests(&self, table: &Table) -> Option<Digests> {
        known(&self.directory).filter(|known| known.table == *table).map(|known| known.digests)
    }

    /// Returns whether they are those of an earlier build.
    pub(super) const fn are_kept(&self) -> bool {
        self.are_kept
    }

    /// Returns whether what could not be used of them is not their fault: they are new, or every byte can be read.
    pub(super) fn are_sound(&self) -> bool {
        let read = |file: &File| digest(file, None, &mut |_| true).is_ok();
        !self.are_kept || self.open().is_ok_and(|(boot, root)| read(&boot) && read(&root))
    }

    /// Removes partitions of the store that do not give the image that they gave before.
    ///
    /// # Errors
    /// [`Damaged`], or why they cannot be removed.
    pub(super) fn refuse(&self, store: &Store) -> Result<()> {
        store.drop_artifact(&self.key)?;
        Err(Damaged::new(format!("the partitions {} do not give the image that they gave before", self.key)).into())
    }

    /// Keeps what [`Partitions::digests`] returns.
    ///
    /// # Errors
    /// If the store cannot be written to.
    pub(super) fn keep_digests(&self, store: &Store, table: &Table, digests: &Digests) -> Result<()> {
        let known = Known { table: table.clone(), digests: digests.clone() };
        // Two builds may find it missing at the same time; each writes a file of its own.
        let stage = store.stage()?;
        let fresh = stage.path().join(KNOWN);
        let text = sealed::to_text(&known).context("cannot describe the image")?;
        fs::write(&fresh, text)
            .and_then(|()| fs::rename(&fresh, self.directory.join(KNOWN)))
            .context("cannot write to the store")
    }
}

fn known(directory: &Path) -> Option<Known> {
    sealed::from_text(&fs::read(directory.join(KNOWN)).ok()?)
}

/// Returns the key of the partitions that are made of these layers.
pub(super) fn key_of(build: &Build<'_>, layers: &Layers) -> String {
    let plan = build.plan;
    key(&Inputs {
        step: "partitions, of which each machine makes its keys and ids anew",
        piimg: env!("CARGO_PKG_VERSION"),
        flavour: &plan.flavour,
        layers: layers.stack.iter().map(|layer| layer.key.as_str()).collect(),
        hostname: &layers.hostname,
        extra_space_mb: plan.extra_space_mb,
        epoch: layers.epoch,
    })
}

/// Finds or makes the partitions that are kept under `key`.
pub(super) fn ensure(build: &Build<'_>, layers: &Layers, key: String) -> Result<Partitions> {
    let lock = build.store.lock(&key)?;
    let what =
        format!("Partitions of {} {} ({})", build.plan.flavour, build.plan.release.name, build.plan.architecture);
    let directory = build.store.artifact(&key);
    let identity = layout::DiskIds::derive(key.as_bytes());
    // Without the record nobody could tell whether the partitions are intact.
    if directory.exists() && known(&directory).is_none() {
        build.store.drop_artifact(&key)?;
    }
    if directory.exists() {
        build.ui.step("Write the partitions").done_with("unchanged, from the store");
        return Ok(Partitions { key, what, directory, identity, stage: None, are_kept: true, lock });
    }
    let stage = make(build, layers, &identity)?;
    let directory = stage.path().to_owned();
    Ok(Partitions { key, what, directory, identity, stage: Some(stage), are_kept: false, lock })
}

/// Describes the damage to the partitions stored under `key`; `None` if they give the same image as before, or are
/// gone.
///
/// # Errors
/// If the store cannot be written to.
pub(crate) fn damage(store: &Store, key: &str) -> Result<Option<String>> {
    let _lock = store.lock(key)?;
    let directory = store.artifact(key);
    if !directory.exists() {
        return Ok(None);
    }
    let Some(known) = known(&directory) else {
        return Ok(Some("what is known of their image is missing or damaged".to_owned()));
    };
    let stage = store.stage()?;
    let out = stage.path().join("out");
    let image =
        File::options().read(true).write(true).create_new(true).open(&out).context("cannot write to the store")?;
    // Partitions that cannot be read or assembled are damaged.
    let image = read_again(key, &directory, &image);
    Ok(match image {
        Ok((table, map)) if table == known.table && map == known.digests.bmap => None,
        Ok(_) => Some("they do not give the image that they gave before".to_owned()),
        Err(error) => Some(format!("{error:#}")),
    })
}

/// Assembles the image of stored partitions, and returns its table and block map.
fn read_again(key: &str, directory: &Path, image: &File) -> Result<(Table, Bmap)> {
    let open =
        |name: &str| File::open(directory.join(name)).with_context(|| format!("cannot open the {name} partition"));
    let (boot, root) = (open("boot")?, open("root")?);
    let length = |file: &File| file.metadata().map(|metadata| Bytes(metadata.len())).context("cannot read the store");
    let layout = Layout::new(length(&boot)?, length(&root)?)?;
    assemble(image, &layout, layout::DiskIds::derive(key.as_bytes()).disk_signature, &boot, &root)?;
    Ok((mbr::read(image)?, map(image, &mut |_| true)?))
}

/// Compares with their lists whatever goes into the image and was not made or compared in this build.
fn check(build: &Build<'_>, layers: &Layers) -> Result<()> {
    let keys: Vec<&str> = layers.stack.iter().map(|layer| layer.key.as_str()).collect();
    if build.store.has_checked(&keys) {
        return Ok(());
    }
    let step = build.ui.step("Check the layers");
    build.store.check_layers(&keys)?;
    step.done();
    Ok(())
}

/// Mounts the layers in `stage`, finalised for the image of that identity.
pub(super) fn finalised(
    build: &Build<'_>,
    layers: &Layers,
    stage: &Stage,
    identity: &layout::DiskIds,
) -> Result<(Mounted, Rootfs)> {
    let plan = build.plan;
    check(build, layers)?;
    let trees = build.trees(&layers.stack);
    let mounted = mount(stage, &trees)?;
    let step = build.ui.step("Finalise the root file system");
    let rootfs = Rootfs::open(mounted.path(), layers.epoch)?;
    let references = match build.base {
        None => plan.release.root_references.clone(),
        Some(_) => import::references(&rootfs, &plan.release)?,
    };
    let names = ImageNames {
        hostname: &layers.hostname,
        boot_partuuid: &identity.boot_partuuid(),
        root_partuuid: &identity.root_partuuid(),
        fstab: &plan.release.fstab,
        root_references: &references,
    };
    let boot = match build.base {
        None => boot_files::copy(&rootfs, &plan.release.boot_files)?,
        // An imported base has its own.
        Some(_) => Vec::new(),
    };
    let written = written_on_purpose(layers);
    let removed = finalise::run(&rootfs, &names, &|path| written.contains(path))?;
    warn_of_what_is_the_same(build, layers, &rootfs)?;
    image_info::write(&rootfs, &image_info::build_info(build, layers, &references, boot.clone(), &removed))?;
    compare_with_list(stage, &trees, &mounted, &references, &boot)?;
    step.done();
    Ok((mounted, rootfs))
}

/// Returns the files that plugins wrote on purpose for this image.
fn written_on_purpose(layers: &Layers) -> BTreeSet<&str> {
    let effects = layers.stack.iter().filter_map(|layer| layer.plugin.as_ref()).flat_map(|plugin| &plugin.effects);
    let by_call = |effect: &&Effect| effect.by.iter().any(|who| matches!(who, Who::Call(..)));
    effects.filter(by_call).map(|effect| effect.change.path.as_str()).collect()
}

/// Names what scripts of packages made and every card of the image has, if it looks as if each should have its own.
fn warn_of_what_is_the_same(build: &Build<'_>, layers: &Layers, rootfs: &Rootfs) -> Result<()> {
    let plugins = || layers.stack.iter().filter_map(|layer| layer.plugin.as_ref());
    let paths: BTreeSet<&str> =
        plugins().flat_map(|plugin| &plugin.effects).map(|effect| effect.change.path.as_str()).collect();
    let is_of_plugin = |path: &str| {
        let below = |directory: &String| path.starts_with(directory.as_str());
        paths.contains(path) || plugins().any(|plugin| plugin.unlisted.keys().any(below))
    };
    let found = identities::find_unknown(rootfs, &is_of_plugin)?;
    for (path, what) in found.iter().take(MOST_NAMED) {
        build.ui.warn(&format!(
            "`{}` looks like {what} that a package's script made: it is the same on every card of this image",
            printable(path)
        ));
    }
    if found.len() > MOST_NAMED {
        build.ui.warn(&format!("{} more files look like that; `piimg verify` names them", found.len() - MOST_NAMED));
    }
    Ok(())
}

/// Compares what finalising changed with what it may change. The throw-away layer in `stage` holds nothing else.
fn compare_with_list(
    stage: &Stage,
    trees: &[PathBuf],
    mounted: &Mounted,
    references: &[String],
    boot: &[String],
) -> Result<()> {
    // An overlay needs at least two lower layers.
    let lowers = [&[stage.path().join("empty")], trees].concat();
    let before = Mounted::read_only(&lowers)?;
    let changes = changes(&stage.path().join("fs"), before.path(), mounted.path())?;
    finalise::check(&changes, references, boot)
}

/// Returns the directory that becomes the boot partition, which must be a directory of the image: through a link any
/// other one would be published on a file system where everybody may read.
fn boot_directory(rootfs: &Rootfs) -> Result<OwnedFd> {
    let unusable = || Failure::build(format!("cannot make the boot partition from `{BOOT}` of the image"));
    let directory = rootfs.exact().directory(&ImagePath::parse(BOOT)?).with_context(unusable)?;
    directory.context("the image has no such directory").with_context(unusable)
}

/// Shows an empty directory in place of the one behind the descriptor, and of no other that its path may lead to.
fn cover(directory: &OwnedFd) -> Result<()> {
    let place = format!("/proc/self/fd/{}", directory.as_raw_fd());
    mount_fs(Some("tmpfs"), place.as_str(), Some("tmpfs"), MsFlags::MS_RDONLY, Some("mode=755"))
        .context("cannot cover the boot directory")
}

/// Makes both partitions in a stage of the store.
fn make(build: &Build<'_>, layers: &Layers, identity: &layout::DiskIds) -> Result<Stage> {
    let plan = build.plan;
    let stage = build.store.stage()?;
    let (mounted, rootfs) = finalised(build, layers, &stage, identity)?;
    let root = mounted.path();
    let boot = boot_directory(&rootfs)?;
    let out = stage.path().join("out");
    fs::create_dir(&out).context("cannot prepare the partitions")?;
    let create = |name: &str| {
        File::options()
            .read(true)
            .write(true)
            .create_new(true)
            .open(out.join(name))
            .with_context(|| format!("cannot create the {name} partition"))
    };
    let step = build.ui.step("Write the boot partition");
    let options = FatOptions { volume_id: identity.boot_volume_id, label: "BOOT".into(), epoch: layers.epoch };
    let free = fat::write_fat(&rootfs, &ImagePath::parse(BOOT)?, &create("boot")?, BOOT_LENGTH, &options)?;
    step.done_with(&format!("{}, of which {} are free", crate::ui::bytes(BOOT_LENGTH.0), crate::ui::bytes(free.0)));
    // In the root partition, the mount point of the boot partition is an empty directory.
    cover(&boot)?;
    drop(boot);
    let step = build.ui.step("Write the root partition");
    let tree = ext4::Tree::read(root, layers.epoch)?;
    let size = tree.partition_size(Bytes::mib(u64::from(plan.extra_space_mb)));
    tree.write(&create("root")?, size, &Ext4Options { identity, label: "ROOT" })?;
    step.done_with(&crate::ui::bytes(size.0));
    drop(mounted);
    // Only `out` is kept; the temporary layer is done.
    for name in ["fs", "work", "empty"] {
        crate::store::remove_tree(&stage.path().join(name))?;
    }
    for name in ["boot", "root"] {
        fs::rename(out.join(name), stage.path().join(name)).context("cannot keep the partitions")?;
    }
    fs::remove_dir(&out).context("cannot keep the partitions")?;
    Ok(stage)
}
