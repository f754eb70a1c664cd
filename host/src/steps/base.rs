//! Makes the base layer: the release's packages and files, or somebody's image. It depends on the release, the archives
//! and the architecture only, and its one time is the archive's. All images of a release share it.
//!
//! Of a lock it depends on what is locked of its own packages. A base that was made before serves a lock that names no
//! other version of them, and all other packages of which are in the base's lists.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::bootstrap::{Initramfs, Prepared, fetch, fetch_lists, install, lists_key};
use super::choice::Choices;
use super::layer::{LayerDraft, UnmountedDraft};
use super::packages::Packages as Below;
use super::{Build, Layer, Layers, finalise, import, locked, native_tools};
use crate::error::{Context, Failure, Result};
use crate::recipe::check;
use crate::recipe::locked::Packages;
use crate::recipe::plan::DEFAULT_HOSTNAME;
use crate::recipe::release::Release;
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::rootfs::packages::{self, Apt, Archive};
use crate::rootfs::times::Wrong;
use crate::sandbox::command::BoxCommand;
use crate::store::{Lock, Stage, key};
use crate::ui::Step;

/// After this time a base layer is reused only with a warning: the archive has had security updates since.
const STALE_DAYS: u64 = 7;

/// Files beside the tree of the base layer: apt's lists, their origins, and apt's index of them.
pub(super) const LISTS: &str = "lists";
pub(super) const ORIGINS: &str = "origins.json";
pub(super) const INDEX: &str = "index";
/// The sources that its lists are from, where the image has others.
pub(super) const SOURCES: &str = "sources";

const ROOT_DIRECTORY: Attrs = Attrs { mode: 0o755, uid: 0, gid: 0 };
const ROOT_FILE: Attrs = Attrs { mode: 0o644, uid: 0, gid: 0 };

/// A base layer that was made for a set of inputs.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Head {
    key: String,
    /// Seconds since 1970.
    made: u64,
    epoch: u64,
    /// Packages that were chosen from the archives.
    chosen: Packages,
}

/// The same layer is the same base, whenever it was made.
impl PartialEq for Head {
    fn eq(&self, other: &Self) -> bool {
        self.key == other.key
    }
}

/// All inputs of the base layer except the state of the archive and the chosen packages.
#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    /// Digest of the file that it is taken from, if it is not bootstrapped.
    #[serde(skip_serializing_if = "Option::is_none")]
    import: Option<&'a str>,
    release: &'a Release,
    architecture: &'a str,
    mirrors: &'a BTreeMap<String, String>,
    keep_mirror: bool,
    /// Name and digest of those that may be written into the image.
    rings: Vec<(&'a str, String)>,
    files: Vec<(&'a str, String)>,
}

/// Finds or makes the base layer.
pub(super) fn ensure(build: &Build<'_>) -> Result<Layers> {
    let inputs = inputs_key(build);
    let lock = build.store.lock(&inputs)?;
    let mut heads = build.store.head::<Choices<Head>>(&inputs).unwrap_or_default();
    let step = build.ui.step(title(build));
    if !build.refresh
        && let Some((head, layer)) = serving(build, &heads)?
    {
        let days = now().saturating_sub(head.made) / 86_400;
        if days > STALE_DAYS && !build.plan.fetching.offline && build.plan.locked.is_none() {
            step.warn(&format!("the base layer is {days} days old; `--refresh` makes it anew with today's packages"));
        }
        locked::check_named(build, &build.store.layer(&head.key).join(LISTS))?;
        step.done_with("unchanged, from the store");
        return layers(build, layer, head.clone());
    }
    let (head, layer, result) = make(build, (&inputs, &lock), &step)?;
    build.store.set_head(&lists_key(build), &layer.key)?;
    heads.remember(build.plan.locked.as_ref(), head.clone());
    build.store.set_head(&inputs, &heads)?;
    step.done_with(&result);
    layers(build, layer, head)
}

/// Returns the first of the bases that is whole and that this build can stand on.
fn serving<'a>(build: &Build<'_>, heads: &'a Choices<Head>) -> Result<Option<(&'a Head, Layer)>> {
    let lock = locked::of_archives(build);
    let lock = lock.as_ref();
    for head in heads.candidates(lock) {
        let Some(layer) = build.finished(&head.key) else { continue };
        let serves = match lock {
            None => true,
            Some(lock) => {
                let lists = build.store.layer(&head.key).join(LISTS);
                lock.refuses(&head.chosen).is_empty() && locked::have(&lists, lock, &head.chosen)?
            }
        };
        if serves {
            return Ok(Some((head, layer)));
        }
    }
    Ok(None)
}

fn inputs_key(build: &Build<'_>) -> String {
    let plan = build.plan;
    key(&Inputs {
        step: match build.base {
            None => "base of the release alone, its packages chosen first and installed in a box of a known name",
            Some(_) => "base of somebody else's, with an index for preferences of each build",
        },
        import: build.base.as_ref().map(|base| base.digest.as_str()),
        release: &plan.release,
        architecture: &plan.architecture,
        mirrors: &plan.mirrors,
        keep_mirror: plan.keep_mirror,
        rings: rings(build),
        files: plan.release.files.iter().map(|file| (file.path.as_str(), file.digest())).collect(),
    })
}

/// Returns a key ring of Debian's own packages is no input: the image has the package's.
fn rings<'a>(build: &'a Build<'_>) -> Vec<(&'a str, String)> {
    let release = &build.plan.release;
    let written = |name: &String| {
        build.plan.keep_mirror
            || release
                .repositories
                .iter()
                .any(|repository| repository.signed_by == *name && !repository.uris.is_empty())
    };
    let rings = build.rings.iter().filter(|(name, _)| written(name));
    rings.map(|(name, ring)| (name.as_str(), hex::encode(Sha256::digest(&ring.keys)))).collect()
}

fn title(build: &Build<'_>) -> String {
    let (release, architecture) = (&build.plan.release.name, &build.plan.architecture);
    match &build.base {
        None => format!("Bootstrap {release} ({architecture})"),
        Some(base) => format!("Import {} as {release} ({architecture})", base.name),
    }
}

fn layers(build: &Build<'_>, layer: Layer, head: Head) -> Result<Layers> {
    let archive = archive(build, &build.store.layer(&layer.key), head.epoch);
    let epoch = build.plan.epoch.unwrap_or(archive.epoch);
    let hostname = match &build.plan.hostname {
        Some(hostname) => hostname.clone(),
        None => own_hostname(&build.store.layer(&layer.key).join("fs"))?,
    };
    let packages = Below::of_base(&layer);
    let (chosen, built_with) = (head.chosen, Packages::new());
    Ok(Layers { packages, stack: vec![layer], archive, epoch, hostname, chosen, built_with, tools: BTreeSet::new() })
}

/// Returns the name that the base in the tree has, or the usual one if it has none that a host may have.
fn own_hostname(tree: &Path) -> Result<String> {
    let text = finalise::read(&Rootfs::open(tree, 0)?, "/etc/hostname")?.unwrap_or_default();
    let name = text.trim();
    Ok(if check::hostname(name).is_ok() { name } else { DEFAULT_HOSTNAME }.to_owned())
}

/// Returns the archives of the base layer in `directory`, for it and the layers above it.
pub(super) fn archive(build: &Build<'_>, directory: &Path, epoch: u64) -> Archive {
    Archive {
        lists: directory.join(LISTS),
        origins: directory.join(ORIGINS),
        index: directory.join(INDEX),
        cache: build.store.archives(),
        apt: apt(build, directory),
        fetching: build.plan.fetching.clone(),
        epoch,
    }
}

/// Returns an apt that works on the layer in `directory` and the ones above it.
fn apt(build: &Build<'_>, directory: &Path) -> Apt {
    Apt {
        native: native_tools::APT,
        architecture: build.plan.architecture.clone(),
        sources: Some(directory.join(SOURCES)).filter(|sources| sources.exists()),
        preferences: build.preferences.clone(),
        environment: build.plan.release.environment.clone(),
    }
}

/// Asks the archives, and installs what is chosen of them, unless a base of just that is there. Returns how it went, too.
fn make(build: &Build<'_>, (inputs, lock): (&str, &Lock), step: &Step) -> Result<(Head, Layer, String)> {
    let draft = LayerDraft::begin(build, lock)?;
    let stage = draft.stage();
    let lists = stage.path().join(LISTS);
    let (prepared, added) = prepare(build, stage, step)?;
    let epoch = packages::archive_date(&lists)?;
    let archive = archive(build, stage.path(), epoch);
    let chosen = prepared.as_ref().map(|prepared| archive.chosen(&prepared.resolved)).transpose()?.unwrap_or_default();
    locked::refuse(build, &chosen)?;
    // The archive's state is part of the layer's name, so that layers above depend on it.
    let state = packages::archive_state(&lists)?;
    let key = if added.is_empty() { key(&(inputs, state, &chosen)) } else { key(&(inputs, state, &chosen, &added)) };
    let head = Head { key, made: now(), epoch, chosen };
    if !build.refresh
        && let Some(layer) = build.finished(&head.key)
    {
        return Ok((head, layer, "unchanged, from the store".to_owned()));
    }
    let (draft, packages) = fill(build, draft, prepared.as_ref(), step)?;
    let layer = Layer { key: head.key.clone(), packages, ..Layer::default() };
    if build.finished(&layer.key).is_none() {
        // An image that is imported may have files of no time.
        let wrong = if build.base.is_none() { Wrong::LaterOrNone } else { Wrong::Later };
        draft.commit(build, &layer, (wrong, epoch), &title(build))?;
    }
    let count = crate::ui::count(layer.packages.len(), "package");
    Ok((head, layer, count))
}

/// Fetches what a bootstrap is made of, or takes the tree of somebody else's image and fetches the lists alone. Returns what of
/// the lock came into the lists from the store, too.
fn prepare(build: &Build<'_>, stage: &Stage, step: &Step) -> Result<(Option<Prepared>, packages::Several)> {
    let Some(base) = &build.base else {
        let prepared = fetch(build, stage, &build.plan.release.packages, step)?;
        let added = prepared.added.clone();
        return Ok((Some(prepared), added));
    };
    import::fill(build, base, stage, step)?;
    Ok((None, fetch_lists(build, stage, step)?))
}

/// Makes the tree and apt's index of what was prepared. Returns what is installed.
fn fill<'a>(
    build: &Build<'_>,
    draft: LayerDraft<'a>,
    prepared: Option<&Prepared>,
    step: &Step,
) -> Result<(UnmountedDraft<'a>, Vec<packages::Package>)> {
    let plan = build.plan;
    let draft = draft.mount(&build.below_packages(step)?)?;
    let (stage, root) = (draft.stage(), draft.root());
    let mut is_indexed = false;
    if let Some(prepared) = prepared {
        is_indexed = install(build, stage, root, prepared, &plan.release.packages, Initramfs::Once, step)?;
        configure_release(build, root, step)?;
    }
    let packages = packages::installed(&Rootfs::open(root, 0)?)?.into_values().collect();
    if !is_indexed {
        let beside = stage.path();
        packages::index(&apt(build, beside), root, &beside.join(LISTS), &beside.join(INDEX))?;
    }
    Ok((draft.unmount()?, packages))
}

/// Applies what the release adds to its packages: groups, files, locales, states of units.
fn configure_release(build: &Build<'_>, root: &Path, step: &Step) -> Result<()> {
    let release = &build.plan.release;
    let run = |argv: &[&str]| BoxCommand::new(root, argv.iter().copied()).check(&mut |_, line| step.detail(line));
    for group in &release.groups {
        run(&["groupadd", "--force", "--system", group])?;
    }
    write_files(build, root, false)?;
    if !release.locales.is_empty() {
        let list: String = release.locales.iter().map(|locale| format!("{locale} UTF-8\n")).collect();
        let rootfs = Rootfs::open(root, 0)?;
        rootfs.write(&ImagePath::parse("/etc/locale.gen")?, list.as_bytes(), ROOT_FILE)?;
        step.note("generating locales");
        run(&["locale-gen"])?;
    }
    for (verb, units) in [("enable", &release.enable), ("disable", &release.disable), ("mask", &release.mask)] {
        for unit in units {
            run(&["systemctl", verb, unit])?;
        }
    }
    Ok(())
}

/// Copies the release's files: those that packages look at when they are configured first, the others afterwards. They have
/// no time until that of the archive is known.
pub(super) fn write_files(build: &Build<'_>, root: &Path, early: bool) -> Result<()> {
    let rootfs = Rootfs::open(root, 0)?;
    for file in build.plan.release.files.iter().filter(|file| file.early == early) {
        let path = ImagePath::parse(&file.path)?;
        if let Some(parent) = path.parent() {
            rootfs.make_dir_all(&parent, ROOT_DIRECTORY)?;
        }
        let attrs = Attrs { mode: file.mode, uid: 0, gid: 0 };
        rootfs
            .write(&path, file.content.as_bytes(), attrs)
            .with_context(|| Failure::build(format!("cannot write `{path}`")))?;
    }
    if early {
        // Plugins that add a line find the file there.
        rootfs.write(&ImagePath::parse("/etc/fstab")?, build.plan.release.fstab.as_bytes(), ROOT_FILE)?;
        for directory in &build.plan.release.directories {
            rootfs.make_dir_all(&ImagePath::parse(directory)?, ROOT_DIRECTORY)?;
        }
    }
    Ok(())
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, |time| time.as_secs())
}
