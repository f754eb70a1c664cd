//! Has `mmdebstrap` install a release, or fetch the lists of its archives, and sees that what it left is whole.

use std::fs;
use std::path::{Path, PathBuf};

use super::Build;
use super::base::write_files;
use crate::error::{Context, Failure, Result};
use crate::rootfs::bootstrap::{self, Bootstrap, Extent};
use crate::rootfs::files::{ImagePath, Rootfs};
use crate::rootfs::packages;
use crate::rootfs::sources::{self, Sources};
use crate::sandbox::command::BoxCommand;
use crate::store::key;
use crate::ui::Step;

/// Where apt keeps what it fetched of archives.
pub(super) const LISTS: &str = "var/lib/apt/lists";

/// The time that programs of a bootstrap are told, which that of the archive is not known to yet: accounts that packages
/// make have it as the day of their last change. 2000-01-01; a day of 0 would mean that a password has to be changed.
const EPOCH: u64 = 946_684_800;

/// Which of the base layers has the newest lists of an archive: what else they hold does not matter.
pub(super) fn lists_key(build: &Build<'_>) -> String {
    let plan = build.plan;
    let repositories: Vec<_> = plan.release.repositories_for(&plan.architecture).collect();
    key(&("lists", repositories, &plan.release.foreign_architectures, &plan.architecture, &plan.mirrors))
}

/// apt's lists as they were when the archive was last asked.
fn last_lists(build: &Build<'_>) -> Result<PathBuf> {
    let layer = build.store.head::<String>(&lists_key(build)).filter(|layer| build.finished(layer).is_some());
    let layer = layer.with_context(|| {
        Failure::build("the build is offline, and the store has no lists of this archive")
            .hint("build once without --offline, with the same release, architecture and mirrors")
    })?;
    Ok(build.store.layer(&layer).join("lists"))
}

/// When the initramfs is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Initramfs {
    /// At the end, by the same hooks of the kernel that would have made it on the way.
    Once,
    /// Whenever a package asks for it, as without piimg.
    AsPackagesAsk,
}

/// Bootstraps the release into the empty rootfs at `root`, with `packages` and the files that they look at. Returns where
/// they came from.
pub(super) fn install(
    build: &Build<'_>,
    root: &Path,
    packages: &[String],
    initramfs: Initramfs,
    step: &Step,
) -> Result<Sources> {
    write_files(build, root, true)?;
    let sources = bootstrap(build, root, Extent::System, packages, initramfs, step)?;
    check_architecture(build, root)?;
    packages::check(&Rootfs::open(root, 0)?, packages)?;
    if initramfs == Initramfs::Once {
        kernel_hooks(build, root, step)?;
    }
    Ok(sources)
}

/// Fetches the lists of the release's archives into the tree at `tree`, which nobody else looks at yet; `scratch` is a
/// directory of its file system that does not exist. Their sources are kept in `kept`.
pub(super) fn fetch_lists(build: &Build<'_>, tree: &Path, scratch: &Path, kept: &Path, step: &Step) -> Result<()> {
    let failed = "cannot keep the package lists";
    fs::create_dir(scratch).context(failed)?;
    bootstrap(build, scratch, Extent::Lists, &[], Initramfs::AsPackagesAsk, step)?;
    sources::keep(scratch, kept)?;
    let lists = tree.join(LISTS);
    crate::store::remove_tree(&lists)?;
    fs::create_dir_all(lists.parent().unwrap_or(tree)).context(failed)?;
    fs::rename(scratch.join(LISTS), &lists).context(failed)?;
    crate::store::remove_tree(scratch)
}

fn bootstrap(
    build: &Build<'_>,
    root: &Path,
    extent: Extent,
    packages: &[String],
    initramfs: Initramfs,
    step: &Step,
) -> Result<Sources> {
    let plan = build.plan;
    let lists = if plan.fetching.offline { Some(last_lists(build)?) } else { None };
    let own = plan.release.own_repository(&plan.architecture)?;
    let sources = build.archives().of_image(&plan.architecture)?;
    let bootstrap = Bootstrap {
        extent,
        suite: &own.suites[0],
        architectures: &plan.release.architectures_of(&plan.architecture),
        components: &own.components,
        packages,
        later: &if extent == Extent::System { later(build) } else { Vec::new() },
        sources: &sources,
        are_old: plan.snapshot.is_some(),
        fetching: &plan.fetching,
        lists: lists.as_deref(),
        preferences: build.preferences.as_deref(),
        merge_usr: extent == Extent::System && plan.release.merge_usr,
        environment: &plan.release.environment,
        epoch: Some(EPOCH),
        emulated: build.emulation.is_foreign(),
        without_initramfs: initramfs == Initramfs::Once,
    };
    // apt locks its archives, and would fail where another build waits.
    let _archives = build.store.lock("archives")?;
    bootstrap::run(&bootstrap, root, &build.store.archives(), step)?;
    Ok(sources)
}

/// What the recipe and the plugins list.
fn later(build: &Build<'_>) -> Vec<String> {
    let listed = build.plan.plugins.iter().flat_map(|plugin| &plugin.packages);
    build.plan.packages.iter().chain(listed).cloned().collect()
}

/// Runs the hooks that were held back, for each kernel that has no initramfs.
///
/// They see the build's time: the initramfs would have that of the clock in it otherwise.
fn kernel_hooks(build: &Build<'_>, root: &Path, step: &Step) -> Result<()> {
    const HOOKS: &str = "/etc/kernel/postinst.d";
    /// Keeps `/vmlinuz` and `/initrd.img`.
    const LINKS: &str = "/usr/bin/linux-update-symlinks";
    let rootfs = Rootfs::open(root, 0)?;
    if rootfs.metadata(&ImagePath::parse(HOOKS)?)?.is_none() {
        return Ok(());
    }
    let epoch = packages::archive_date(&root.join(LISTS))?;
    for (kernel, _) in rootfs.list_dir(&ImagePath::parse("/boot")?)? {
        let Some(version) = kernel.strip_prefix("vmlinuz-") else { continue };
        if rootfs.metadata(&ImagePath::parse(&format!("/boot/initrd.img-{version}"))?)?.is_some() {
            continue;
        }
        step.note("making the initramfs");
        let image = format!("/boot/{kernel}");
        if rootfs.metadata(&ImagePath::parse(LINKS)?)?.is_some() {
            // It looked at INITRD too, and made no links to the initramfs.
            BoxCommand::new(root, [LINKS, "upgrade", version, &image])
                .check(&mut |_, line| step.detail(&format!("kernel | {line}")))?;
        }
        let (version, image) = (format!("--arg={version}"), format!("--arg={image}"));
        let mut hooks = BoxCommand::new(root, ["run-parts", "--report", "--exit-on-error", &version, &image, HOOKS]);
        // As the kernel's package calls them when it is configured.
        hooks.env.extend(build.plan.release.environment.clone());
        hooks.env.push(("DEB_MAINT_PARAMS".into(), "configure".into()));
        hooks.env.push(("SOURCE_DATE_EPOCH".into(), epoch.to_string()));
        hooks.check(&mut |_, line| step.detail(&format!("kernel | {line}")))?;
    }
    Ok(())
}

/// dpkg may be a native one that was told the image's architecture: it must have understood.
fn check_architecture(build: &Build<'_>, root: &Path) -> Result<()> {
    let output = BoxCommand::new(root, ["dpkg", "--print-architecture"]).check(&mut |_, _| {})?;
    let answer = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    if answer == build.plan.architecture {
        return Ok(());
    }
    Err(Failure::bug(format!("dpkg says `{answer}` in an image for {}", build.plan.architecture)).into())
}
