//! Records in the image how it was made: which step made a file that no package lists.

use std::collections::BTreeMap;

use super::finalise;
use super::identities::Removed;
use super::{Build, Layers};
use crate::error::{Context, Result};
use crate::recipe::plan::Plan;
use crate::report::{BUILD_INFO, BaseInfo, BuildInfo, Part};
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};

/// Makes the record of the build that is kept in the image.
pub(super) fn build_info(
    build: &Build<'_>,
    layers: &Layers,
    references: &[String],
    boot: Vec<String>,
    removed: &Removed,
) -> BuildInfo {
    let plan = build.plan;
    let boot = boot.into_iter().map(|path| (path, "copied from a package for the boot partition".to_owned()));
    let finalised = finalise::written(&[]).chain([BUILD_INFO.to_owned()]);
    let finalised = finalised.map(|path| (path, "made for this image".to_owned()));
    let units = removed.units.iter().map(|(path, title)| (path.clone(), format!("makes {title} at the first boot")));
    let emptied =
        |(path, title): &(String, String)| (path.clone(), format!("emptied of {title}, which the first boot makes"));
    let renewed = units.chain(removed.paths.iter().cloned()).chain(removed.emptied.iter().map(emptied));
    BuildInfo {
        piimg: env!("CARGO_PKG_VERSION").to_owned(),
        release: plan.release.name.clone(),
        base: build.base.as_ref().map(|base| BaseInfo { name: base.name.clone(), digest: base.digest.clone() }),
        architecture: plan.architecture.clone(),
        hostname: layers.hostname.clone(),
        flavour: plan.flavour.clone(),
        epoch: layers.epoch,
        plugins: layers.stack.iter().filter_map(|layer| layer.plugin.clone()).collect(),
        before: before(build, layers, references),
        // What follows a shell is made whatever was done there.
        steps: by_hand(layers).chain(boot).chain(finalised).chain(archives(plan)).chain(renewed).collect(),
    }
}

fn user_step(build: &Build<'_>) -> String {
    let name = build.plan.user.as_ref().map_or("", |user| user.name.as_str());
    format!("for the user `{name}` of the recipe or the release")
}

/// Returns what somebody changed in a shell.
fn by_hand(layers: &Layers) -> impl Iterator<Item = (String, String)> {
    let paths =
        layers.stack.iter().filter(|layer| layer.by_hand).flat_map(|layer| layer.made.iter().chain(&layer.changed));
    paths.map(|path| (path.clone(), "changed by hand, in `piimg shell --keep`".to_owned()))
}

/// Returns what the steps before all plugins made, and which files of packages they changed.
fn before(build: &Build<'_>, layers: &Layers, references: &[String]) -> BTreeMap<String, Vec<Part>> {
    let plan = build.plan;
    let is_bootstrapped = build.base.is_none();
    let files = if is_bootstrapped { &plan.release.files[..] } else { &[] };
    let release = files.iter().map(|file| (file.path.clone(), format!("a file of {}", plan.release.name)));
    let of_user = |path: &String| (path.clone(), user_step(build));
    let by_piimg = || layers.stack.iter().filter(|layer| !layer.by_hand);
    let user = by_piimg().flat_map(|layer| &layer.made).map(of_user);
    let made = release.chain(settled(build)).chain(user).map(|(path, step)| (path, Part { step, made: true }));
    let groups: &[&str] =
        if is_bootstrapped && !plan.release.groups.is_empty() { &["/etc/group", "/etc/gshadow"] } else { &[] };
    let groups = groups.iter().map(|path| ((*path).to_owned(), format!("groups of {}", plan.release.name)));
    let user = by_piimg().flat_map(|layer| &layer.changed).map(of_user);
    let references = references.iter().map(|path| (path.clone(), "this image's partitions".to_owned()));
    let changed = groups.chain(user).chain(references).map(|(path, step)| (path, Part { step, made: false }));
    let mut before: BTreeMap<String, Vec<Part>> = BTreeMap::new();
    for (path, part) in made.chain(changed) {
        before.entry(path).or_default().push(part);
    }
    before
}

/// Returns what configures the base layer besides packages and the release's own files.
fn settled(build: &Build<'_>) -> Vec<(String, String)> {
    let release = &build.plan.release;
    if build.base.is_some() {
        return Vec::new();
    }
    let mut settled = Vec::new();
    let mut add = |path: String, step: &str| settled.push((path, format!("{step} {}", release.name)));
    for unit in &release.enable {
        add(format!("/etc/systemd/system/multi-user.target.wants/{unit}"), "a unit that is enabled by");
    }
    for unit in &release.mask {
        add(format!("/etc/systemd/system/{unit}"), "a unit that is masked by");
    }
    for directory in &release.directories {
        add(directory.clone(), "a directory of");
    }
    if !release.locales.is_empty() {
        add("/etc/locale.gen".to_owned(), "the locales of");
        add("/usr/lib/locale/locale-archive".to_owned(), "the locales of");
    }
    settled
}

/// Returns the files by which the finished system knows the archives that plugins bring.
fn archives(plan: &Plan) -> impl Iterator<Item = (String, String)> {
    plan.given_keys.iter().flat_map(|(name, given)| {
        let files = [format!("/etc/apt/sources.list.d/{name}.sources"), format!("/etc/apt/keyrings/{name}.gpg")];
        files.map(|path| (path, format!("a file of the archive `{name}`, which the plugin {} brings", given.plugin)))
    })
}

/// Writes it into the image.
///
/// # Errors
/// If the file system refuses.
pub(super) fn write(rootfs: &Rootfs, info: &BuildInfo) -> Result<()> {
    let (tree, path) = (rootfs.exact(), ImagePath::parse(BUILD_INFO)?);
    if let Some(parent) = path.parent() {
        tree.make_dir_all(&parent, Attrs { mode: 0o755, uid: 0, gid: 0 })?;
    }
    let text = serde_json::to_vec_pretty(info).context("cannot describe the build")?;
    // The arguments of commands are not for every user of the Pi.
    Ok(tree.write(&path, &text, Attrs { mode: 0o600, uid: 0, gid: 0 })?)
}
