//! Fetches what a release is made of, installs it, and sees that what the packages left is whole.

use std::path::{Path, PathBuf};

use super::base::{LISTS, ORIGINS, SOURCES, archive, write_files};
use super::{Build, finalise, locked};
use crate::error::{Context, Failure, Result};
use crate::recipe::fetching::Fetching;
use crate::recipe::package::PackageSpec;
use crate::rootfs::bootstrap::{self, Bootstrap, Extent, Fetched, Installation};
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::rootfs::packages::{self, Resolved, Several};
use crate::rootfs::sources::{self, Sources};
use crate::rootfs::times::{self, Wrong};
use crate::sandbox::command::{BoxCommand, HOST_NAME};
use crate::store::{Stage, key};
use crate::ui::Step;

/// Directory for downloaded lists in apt's own layout.
const APT_LISTS: &str = "/var/lib/apt/lists";

/// Variable that keeps the hooks of a kernel from making an initramfs:
/// <https://kernel-team.pages.debian.net/kernel-handbook/ch-update-hooks.html>.
const WITHOUT_INITRAMFS: (&str, &str) = ("INITRD", "No");

/// Downloads for a bootstrap.
#[derive(Debug)]
pub(super) struct Prepared {
    sources: Sources,
    pub(super) resolved: Resolved,
    /// Locked packages that were added to the lists from the store.
    pub(super) added: Several,
}

/// Returns the key under which the base layer with the newest lists of an archive is recorded, whatever else it holds.
pub(super) fn lists_key(build: &Build<'_>) -> String {
    let plan = build.plan;
    let repositories: Vec<_> = plan.release.repositories_for(&plan.architecture).collect();
    key(&("lists", repositories, &plan.release.foreign_architectures, &plan.architecture, &plan.mirrors))
}

/// Returns the apt lists of the last time that the archive was asked.
fn last_lists(build: &Build<'_>) -> Result<PathBuf> {
    let layer = build.store.head::<String>(&lists_key(build)).filter(|layer| build.finished(layer).is_some());
    let layer = layer.with_context(|| {
        Failure::build("the build is offline, and the store has no lists of this archive")
            .hint("build once without --offline, with the same release, architecture and mirrors")
    })?;
    Ok(build.store.layer(&layer).join(LISTS))
}

/// When the initramfs is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Initramfs {
    /// Once, at the end, by the kernel's hooks that would have run in between.
    Once,
    /// Whenever a package asks for it, as without piimg.
    AsPackagesAsk,
}

/// Lays the files that `packages` look at and apt's sources into the tree of the stage, and what apt fetched beside it. No
/// program of the image runs.
pub(super) fn fetch(build: &Build<'_>, stage: &Stage, packages: &[String], step: &Step) -> Result<Prepared> {
    let tree = stage.path().join("fs");
    let Prepared { sources, resolved, added } = ask(build, stage.path(), &tree, Extent::System, packages, step)?;
    if !sources.are_the_images() {
        sources::keep(&tree, &stage.path().join(SOURCES))?;
        sources::withdraw(&tree, &sources, build.plan.keep_mirror)?;
    }
    // The builder's name must not get in; what scripts of packages see is the box's name.
    finalise::name(&Rootfs::open(&tree, 0)?, HOST_NAME)?;
    // Packages make files from these, such as an initramfs, which record their times.
    times::clamp(&tree, Wrong::LaterOrNone, packages::archive_date(&stage.path().join(LISTS))?)?;
    Ok(Prepared { sources, resolved, added })
}

/// Installs what was fetched into the tree of the stage, mounted at `root`, in which no program has run yet. Returns whether
/// apt of the image has an index of the sources that the layers above use.
pub(super) fn install(
    build: &Build<'_>,
    stage: &Stage,
    root: &Path,
    prepared: &Prepared,
    packages: &[String],
    initramfs: Initramfs,
    step: &Step,
) -> Result<bool> {
    let (plan, beside) = (build.plan, stage.path());
    // Not the image's time: this layer serves images of every time.
    let epoch = packages::archive_date(&beside.join(LISTS))?;
    let mut archive = archive(build, beside, epoch);
    if initramfs == Initramfs::Once {
        let (name, value) = WITHOUT_INITRAMFS;
        archive.apt.environment.insert(name.into(), value.into());
    }
    let own = plan.release.own_repository(&plan.architecture)?;
    let installation = Installation {
        suite: &own.suites[0],
        root,
        archive: &archive,
        resolved: &prepared.resolved,
        packages,
        scratch: beside,
    };
    bootstrap::install(&installation, step)?;
    check_architecture(build, root)?;
    packages::check(&Rootfs::open(root, 0)?, packages)?;
    if initramfs == Initramfs::Once {
        kernel_hooks(build, root, epoch, step)?;
    }
    write_image_sources(build, root, &beside.join(SOURCES), &prepared.sources)
}

/// Gives the image the sources that its release says; those of the bootstrap stay in `kept` if they are others. Returns
/// whether the layers above use the same as the bootstrap.
fn write_image_sources(build: &Build<'_>, root: &Path, kept: &Path, used: &Sources) -> Result<bool> {
    if used.are_the_images() {
        return Ok(true);
    }
    let (plan, archives) = (build.plan, build.archives());
    let rootfs = Rootfs::open(root, 0)?;
    sources::add(&rootfs, &archives.image_files(&plan.architecture)?)?;
    archives.add_key_rings(&rootfs, &plan.architecture)?;
    if plan.mirrors.is_empty() {
        // Both sources name the same archives: apt takes the image's.
        crate::store::remove_tree(kept)?;
    }
    Ok(!plan.mirrors.is_empty())
}

/// Fetches the lists of the release's archives beside the tree of the stage, which somebody else made: the tree's own are
/// taken out of it. Sources are kept too. Returns what is locked and came into the lists from the store.
pub(super) fn fetch_lists(build: &Build<'_>, stage: &Stage, step: &Step) -> Result<Several> {
    let scratch = stage.path().join("scratch");
    let added = ask(build, stage.path(), &scratch, Extent::Lists, &[], step)?.added;
    sources::keep(&scratch, &stage.path().join(SOURCES))?;
    crate::store::remove_tree(&scratch)?;
    let rootfs = Rootfs::open(&stage.path().join("fs"), packages::archive_date(&stage.path().join(LISTS))?)?;
    // The tree is somebody else's: no link in it is followed.
    let (tree, lists) = (rootfs.exact(), ImagePath::parse(APT_LISTS)?);
    tree.remove(&lists)?;
    tree.make_dir_all(&lists, Attrs { mode: 0o755, uid: 0, gid: 0 })?;
    Ok(added)
}

/// Prepares the tree `target` and fetches lists into the directory `beside`. Returns where they came from, and what is to be
/// installed. What is wrong with a name or a lock is known then, before anything is installed.
fn ask(
    build: &Build<'_>,
    beside: &Path,
    target: &Path,
    extent: Extent,
    packages: &[String],
    step: &Step,
) -> Result<Prepared> {
    let plan = build.plan;
    let known = if plan.fetching.offline { Some(last_lists(build)?) } else { None };
    let own = plan.release.own_repository(&plan.architecture)?;
    let sources = build.archives().of_image(&plan.architecture)?;
    let mut bootstrap = Bootstrap {
        extent,
        suite: &own.suites[0],
        architectures: &plan.release.architectures_of(&plan.architecture),
        components: &own.components,
        packages,
        sources: &sources,
        are_old: plan.snapshot.is_some(),
        fetching: &plan.fetching,
        lists: known.as_deref(),
        preferences: build.preferences.as_deref(),
        merge_usr: extent == Extent::System && plan.release.merge_usr,
    };
    let fetched = Fetched { lists: &beside.join(LISTS), origins: &beside.join(ORIGINS) };
    lay_early(build, target, extent)?;
    let mut resolved = bootstrap::fetch(&bootstrap, target, fetched, step)?;
    let added = locked::complete(build, beside)?;
    if !added.is_empty() && extent == Extent::System {
        // apt has chosen without these packages in its lists.
        let completed = beside.join("completed");
        std::fs::rename(fetched.lists, &completed).context("cannot use the package lists")?;
        crate::store::remove_tree(target)?;
        lay_early(build, target, extent)?;
        let offline = Fetching { offline: true, ..plan.fetching.clone() };
        bootstrap = Bootstrap { lists: Some(&completed), fetching: &offline, ..bootstrap };
        resolved = bootstrap::fetch(&bootstrap, target, fetched, step)?;
        crate::store::remove_tree(&completed)?;
    }
    packages::check_listed(fetched.lists, &later(build))?;
    locked::check_named(build, fetched.lists)?;
    Ok(Prepared { sources, resolved, added })
}

/// Lays what packages look at into a tree that is to be a system.
fn lay_early(build: &Build<'_>, tree: &Path, extent: Extent) -> Result<()> {
    if extent == Extent::Lists {
        return Ok(());
    }
    std::fs::create_dir_all(tree).context("cannot prepare a layer")?;
    write_files(build, tree, true)
}

/// Returns the packages for layers above the base that the archives must have: those of the recipe, of plugins and of their
/// builds.
fn later(build: &Build<'_>) -> Vec<String> {
    let plan = build.plan;
    let listed = plan.plugins.iter().flat_map(|plugin| plugin.packages.iter().chain(&plugin.build_packages));
    let name = |spec: &str| PackageSpec::parse(spec).map(|spec| spec.name).unwrap_or_default();
    let is_local = |spec: &&String| plan.local_packages.iter().any(|package| package.name == name(spec));
    plan.packages.iter().chain(listed).filter(|spec| !is_local(spec)).cloned().collect()
}

/// Runs the hooks that were held back, for each kernel that has no initramfs.
///
/// They see the build's time: the initramfs would have that of the clock in it otherwise.
fn kernel_hooks(build: &Build<'_>, root: &Path, epoch: u64, step: &Step) -> Result<()> {
    const HOOKS: &str = "/etc/kernel/postinst.d";
    /// Keeps `/vmlinuz` and `/initrd.img`.
    const LINKS: &str = "/usr/bin/linux-update-symlinks";
    let rootfs = Rootfs::open(root, 0)?;
    if rootfs.metadata(&ImagePath::parse(HOOKS)?)?.is_none() {
        return Ok(());
    }
    for (kernel, _) in rootfs.list_dir(&ImagePath::parse("/boot")?)? {
        let Some(version) = kernel.strip_prefix("vmlinuz-") else { continue };
        if rootfs.metadata(&ImagePath::parse(&format!("/boot/initrd.img-{version}"))?)?.is_some() {
            continue;
        }
        step.note("making the initramfs");
        let image = format!("/boot/{kernel}");
        if rootfs.metadata(&ImagePath::parse(LINKS)?)?.is_some() {
            // This hook obeyed INITRD too, and made no links to the initramfs.
            BoxCommand::new(root, [LINKS, "upgrade", version, &image])
                .check(&mut |_, line| step.detail(&format!("kernel | {line}")))?;
        }
        let (version, image) = (format!("--arg={version}"), format!("--arg={image}"));
        let mut hooks = BoxCommand::new(root, ["run-parts", "--report", "--exit-on-error", &version, &image, HOOKS]);
        // The environment with which the kernel's package calls its hooks.
        hooks.env.extend(build.plan.release.environment.clone());
        hooks.env.push(("DEB_MAINT_PARAMS".into(), "configure".into()));
        hooks.env.push(("SOURCE_DATE_EPOCH".into(), epoch.to_string()));
        hooks.check(&mut |_, line| step.detail(&format!("kernel | {line}")))?;
    }
    Ok(())
}

/// Checks that dpkg uses the image's architecture: it may be a native one that was told to.
fn check_architecture(build: &Build<'_>, root: &Path) -> Result<()> {
    let output = BoxCommand::new(root, ["dpkg", "--print-architecture"]).check(&mut |_, _| {})?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if answer == build.plan.architecture {
        return Ok(());
    }
    Err(Failure::bug(format!("dpkg says `{answer}` in an image for {}", build.plan.architecture)).into())
}
