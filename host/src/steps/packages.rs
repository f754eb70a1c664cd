//! Layers of packages: the recipe's, those that each plugin lists, and what plugins ask for while they run; with them what
//! else is wanted of package runs, such as answers that debconf has before a package asks.
//!
//! They stand on the base and on one another alone, below the user and everything that a plugin makes: no script of a
//! package, no trigger and no hook of apt or dpkg ever meets a file that a plugin wrote, and a plugin that changes or
//! fails costs no package.

mod objection;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;

use objection::Objection;

use super::choice::{self, Wish};
use super::layer::{self, Content, Place};
use super::{Build, Layer, Layers, PluginJob, answers};
use crate::error::{Context, Failure, Result};
use crate::plugin::workbench::PackageRequest;
use crate::recipe::locked::Packages as Chosen;
use crate::recipe::pin::{Pin, file_of, preferences};
use crate::recipe::plan::PlannedPlugin;
use crate::report::{Effect, Who};
use crate::rootfs::changes::changes;
use crate::rootfs::files::{Attrs, ImagePath, Rootfs};
use crate::rootfs::layers::Mounted;
use crate::rootfs::packages::{self, Package};
use crate::ui::printable;

/// The party that requests a change of the image's packages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Recipe,
    /// The plugin of that place in the plan.
    Plugin(usize),
}

impl Owner {
    /// Returns the plugin's id, or what stands for it.
    fn id(self, plugins: &[PlannedPlugin]) -> &str {
        match self {
            Self::Recipe => "recipe",
            Self::Plugin(index) => &plugins[index].id,
        }
    }
}

/// Result of a request.
#[derive(Clone, Debug)]
pub(super) struct Brought {
    pub(super) owner: Owner,
    pub(super) request: PackageRequest,
    /// Packages that are new, or of another version.
    pub(super) packages: Vec<Package>,
    /// Notable changes, and those that piimg made for the request.
    pub(super) effects: Vec<Effect>,
}

/// The packages of an image as they are below the plugins.
#[derive(Clone, Debug, Default)]
pub(super) struct Packages {
    /// Installed packages by `name:architecture`.
    installed: BTreeMap<String, Package>,
    /// Results of requests, in order.
    pub(super) brought: Vec<Brought>,
}

#[derive(Serialize)]
struct Inputs<'a> {
    step: &'static str,
    below: &'a str,
    request: &'a PackageRequest,
    /// Whose name is in the layer, where one is.
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

impl Packages {
    /// Makes the layers of a build that has only its base layer.
    pub(super) fn of_base(base: &Layer) -> Self {
        let mut packages = Self::default();
        packages.follow(base);
        packages
    }

    fn follow(&mut self, layer: &Layer) {
        let name = |package: &Package| format!("{}:{}", package.name, package.architecture);
        for package in &layer.gone {
            self.installed.remove(&name(package));
        }
        self.installed.extend(layer.packages.iter().map(|package| (name(package), package.clone())));
    }

    /// Returns all installed packages.
    pub(super) fn installed(&self) -> impl Iterator<Item = &Package> {
        self.installed.values()
    }

    /// Returns the packages installed for the `request` of `owner`; `None` if it is not done yet.
    pub(super) fn answer(&self, owner: Owner, request: &PackageRequest) -> Option<Vec<Package>> {
        // A request that was done stays done, also where the name is provided by other packages.
        let mut same = self.brought.iter().filter(|brought| brought.request == *request).peekable();
        if same.peek().is_some() {
            return Some(same.find(|brought| brought.owner == owner).map_or_else(Vec::new, |it| it.packages.clone()));
        }
        let is_done = match request {
            PackageRequest::Install { specs, .. } => specs.iter().all(|spec| self.has(spec)),
            PackageRequest::Remove { names, .. } => !names.iter().any(|name| self.has(name)),
            PackageRequest::Answer { answers } => {
                answers.iter().all(|answer| self.answer_to(answer.question()).is_some_and(|(same, _)| same == answer))
            }
            PackageRequest::Pin { pins } => pins.iter().all(|pin| self.pins_of(owner).any(|there| there == pin)),
        };
        is_done.then(Vec::new)
    }

    /// Returns the pins of one owner, in the order in which they came.
    fn pins_of(&self, owner: Owner) -> impl Iterator<Item = &Pin> {
        let own = self.brought.iter().filter(move |brought| brought.owner == owner);
        own.flat_map(|brought| match &brought.request {
            PackageRequest::Pin { pins } => pins.as_slice(),
            _ => &[],
        })
    }

    /// Returns whether `name` or `name=version` is installed.
    fn has(&self, spec: &str) -> bool {
        let (name, version) = spec.split_once('=').map_or((spec, None), |(name, version)| (name, Some(version)));
        self.installed().any(|package| package.name == name && version.is_none_or(|version| package.version == version))
    }

    /// Names that somebody wants to be there, and who.
    pub(super) fn wanted(&self) -> impl Iterator<Item = (&str, Owner)> {
        self.brought.iter().flat_map(|Brought { owner, request, .. }| match request {
            PackageRequest::Install { specs, .. } => {
                specs.iter().map(|spec| (name_of(spec), *owner)).collect::<Vec<_>>()
            }
            PackageRequest::Remove { .. } | PackageRequest::Answer { .. } | PackageRequest::Pin { .. } => Vec::new(),
        })
    }

    /// Returns what the plugin at that place in the plan brought.
    pub(super) fn of_plugin(&self, index: usize) -> impl Iterator<Item = &Brought> {
        self.brought.iter().filter(move |brought| brought.owner == Owner::Plugin(index))
    }
}

/// Returns the package name without a version, release or architecture.
fn name_of(spec: &str) -> &str {
    spec.split(['=', '/', ':']).next().unwrap_or(spec)
}

/// Lays what the recipe and the plugins list on the base.
///
/// # Errors
/// Those of [`add`].
pub(super) fn lay(build: &Build<'_>, layers: &mut Layers, jobs: &[PluginJob]) -> Result<()> {
    for request in install(&build.plan.packages).into_iter().chain(remove(&build.plan.removals)) {
        add(build, layers, Owner::Recipe, request)?;
    }
    for (index, plugin) in build.plan.plugins.iter().enumerate().take(jobs.len()) {
        for request in prepared(plugin) {
            add(build, layers, Owner::Plugin(index), request)
                .with_context(|| format!("cannot do what `{}` asks for in conf()", printable(&plugin.id)))?;
        }
    }
    Ok(())
}

/// Returns the requests of a plugin that must be done before it runs, in order.
fn prepared(plugin: &PlannedPlugin) -> impl Iterator<Item = PackageRequest> {
    let pins = (!plugin.pins.is_empty()).then(|| PackageRequest::Pin { pins: plugin.pins.clone() });
    let answers = (!plugin.answers.is_empty()).then(|| PackageRequest::Answer { answers: plugin.answers.clone() });
    pins.into_iter().chain(answers).chain(install(&plugin.packages)).chain(remove(&plugin.removals))
}

fn install(specs: &[String]) -> Option<PackageRequest> {
    (!specs.is_empty()).then(|| PackageRequest::Install { specs: specs.to_owned(), recommends: false })
}

fn remove(names: &[String]) -> Option<PackageRequest> {
    (!names.is_empty()).then(|| PackageRequest::Remove { names: names.to_owned(), purge: true })
}

/// Lays one more layer on those of packages, which must be all that there are.
///
/// # Errors
/// [`Failure::build`] if the packages cannot be installed or removed, or if others that somebody wants go with it.
pub(super) fn add(build: &Build<'_>, layers: &mut Layers, owner: Owner, request: PackageRequest) -> Result<()> {
    let refuse = |objection: Objection| Failure::build(printable(&objection.told(&build.plan.plugins)));
    if let Some(objection) = layers.packages.objection(owner, &request) {
        return Err(refuse(objection).into());
    }
    let wish = key_of(build, layers, owner, &request);
    let _lock = build.store.lock(&wish)?;
    let step = build.ui.step(printable(&request.to_string()));
    let chosen = match &request {
        PackageRequest::Install { specs, recommends } => {
            choice::make(build, layers, &Wish { key: &wish, specs, recommends: *recommends }, &step)?
        }
        _ => Chosen::new(),
    };
    let layer = layer::ensure(build, layers, &choice::layer_key(&wish, &chosen), step, |place| {
        let before = packages::installed(&Rootfs::open(place.root, 0)?)?;
        fulfil(build, layers, owner, &request, &chosen, place)?;
        let rootfs = Rootfs::open(place.root, 0)?;
        packages::check(&rootfs, &still_wanted(&layers.packages, &request)).with_context(|| {
            Failure::build("these packages cannot be in one image with what else is wanted of it")
                .hint("somebody lists a package that another one removes: the recipe, or a plugin")
        })?;
        let after = packages::installed(&rootfs)?;
        let notable = effects(&request, &place.stage.path().join("fs"), place.lowers, place.root)?;
        Ok(Content {
            packages: missing_in(&before, &after),
            gone: missing_in(&after, &before),
            notable,
            ..Content::default()
        })
    })?;
    // The layer may have been made for a build without this one's conflicting requests.
    if let Some(objection) = layers.packages.back(owner, &layer) {
        return Err(refuse(objection).into());
    }
    push(layers, owner, request, layer, chosen);
    Ok(())
}

fn fulfil(
    build: &Build<'_>,
    layers: &Layers,
    owner: Owner,
    request: &PackageRequest,
    chosen: &Chosen,
    place: &Place<'_>,
) -> Result<()> {
    let (archive, stage) = (&layers.archive, place.stage.path());
    match request {
        PackageRequest::Install { specs, recommends } => {
            archive.install(place.root, stage, specs, *recommends, chosen, place.step).map(drop)
        }
        PackageRequest::Remove { names, purge } => archive.remove(place.root, names, *purge, place.step),
        PackageRequest::Answer { answers } => answers::give(place.root, answers, place.step),
        PackageRequest::Pin { pins } => {
            let all = layers.packages.pins_of(owner).chain(pins);
            write_pins(place.root, &file_of(owner.id(&build.plan.plugins)), &preferences(all))
        }
    }
}

/// Writes what apt prefers into the image that is mounted at `root`.
fn write_pins(root: &Path, path: &str, text: &str) -> Result<()> {
    let (rootfs, path) = (Rootfs::open(root, 0)?, ImagePath::parse(path)?);
    let tree = rootfs.exact();
    if let Some(parent) = path.parent() {
        tree.make_dir_all(&parent, Attrs { mode: 0o755, uid: 0, gid: 0 })?;
    }
    Ok(tree.write(&path, text.as_bytes(), Attrs { mode: 0o644, uid: 0, gid: 0 })?)
}

/// Chooses and fetches the packages that a plugin is built with, which is where an error of a name or of the network shows.
/// What is there already is not among them.
///
/// # Errors
/// Those of [`add`].
pub(super) fn choose_to_build_with(build: &Build<'_>, packages: &Layers, names: &[String]) -> Result<Chosen> {
    let wish = key_to_build_with(packages, names);
    if let Some(chosen) = choice::known(build, &wish) {
        return Ok(chosen);
    }
    let _lock = build.store.lock(&wish)?;
    let step = build.ui.step(printable(&format!("Fetch to build with: {}", names.join(", "))));
    let chosen = choice::make(build, packages, &Wish { key: &wish, specs: names, recommends: false }, &step)?;
    packages.archive.fetch(&chosen, &build.store.stage()?.path().join("archives"), &step)?;
    step.done_with(&crate::ui::count(chosen.len(), "package"));
    Ok(chosen)
}

/// Returns the layer of the packages that a plugin is built with: it lies on those of packages while the plugin runs,
/// and no image has it.
///
/// # Errors
/// Those of [`add`].
pub(super) fn to_build_with(build: &Build<'_>, packages: &Layers, names: &[String], chosen: &Chosen) -> Result<Layer> {
    let step = build.ui.step(printable(&format!("Install to build with: {}", names.join(", "))));
    layer::ensure(build, packages, &key_of_tools(packages, names, chosen), step, |place| {
        let stage = place.stage.path();
        let new = packages.archive.install(place.root, stage, names, false, chosen, place.step)?;
        let mut wanted = still_wanted(&packages.packages, &PackageRequest::Remove { names: Vec::new(), purge: false });
        wanted.extend(names.iter().cloned());
        packages::check(&Rootfs::open(place.root, 0)?, &wanted)?;
        Ok(Content { packages: new, ..Content::default() })
    })
}

/// Returns the key of that layer.
pub(super) fn key_of_tools(packages: &Layers, names: &[String], chosen: &Chosen) -> String {
    choice::layer_key(&key_to_build_with(packages, names), chosen)
}

/// Returns the key of the wish for what is in it.
fn key_to_build_with(packages: &Layers, names: &[String]) -> String {
    crate::store::key(&("packages to build with", packages.top(), names))
}

/// Returns the key of the wish that [`add`] fulfils.
fn key_of(build: &Build<'_>, layers: &Layers, owner: Owner, request: &PackageRequest) -> String {
    let name = matches!(request, PackageRequest::Pin { .. }).then(|| owner.id(&build.plan.plugins));
    crate::store::key(&Inputs { step: "packages on packages", below: layers.top(), request, name })
}

/// Adds the layer as [`add`] does, if the store has it and nothing objects.
pub(super) fn add_finished(build: &Build<'_>, layers: &mut Layers, owner: Owner, request: PackageRequest) -> bool {
    let wish = key_of(build, layers, owner, &request);
    let chosen = match &request {
        PackageRequest::Install { .. } => choice::known(build, &wish),
        _ => Some(Chosen::new()),
    };
    let layer = chosen.and_then(|chosen| Some((build.finished(&choice::layer_key(&wish, &chosen))?, chosen)));
    let Some((layer, chosen)) = layer else { return false };
    let packages = &layers.packages;
    if packages.objection(owner, &request).is_some() || packages.back(owner, &layer).is_some() {
        return false;
    }
    push(layers, owner, request, layer, chosen);
    true
}

fn push(layers: &mut Layers, owner: Owner, request: PackageRequest, layer: Layer, chosen: Chosen) {
    layers.chosen.extend(chosen);
    layers.packages.follow(&layer);
    let (packages, effects) = (layer.packages.clone(), layer.notable.clone());
    layers.packages.brought.push(Brought { owner, request, packages, effects });
    layers.stack.push(layer);
}

/// Returns the packages that must be there afterwards.
fn still_wanted(packages: &Packages, request: &PackageRequest) -> Vec<String> {
    let mut wanted: Vec<String> = packages.wanted().map(|(name, _)| name.to_owned()).collect();
    if let PackageRequest::Install { specs, .. } = request {
        wanted.extend(specs.iter().map(|spec| name_of(spec).to_owned()));
    }
    wanted.sort();
    wanted.dedup();
    wanted
}

/// Returns the packages of `now` that `then` lacks, or has in another version.
fn missing_in(then: &BTreeMap<String, Package>, now: &BTreeMap<String, Package>) -> Vec<Package> {
    now.iter().filter(|(name, package)| then.get(*name) != Some(package)).map(|(_, package)| package.clone()).collect()
}

/// Changes of the layer that are told: all that piimg itself made for a wish; of those that packages made what deserves a
/// look.
fn effects(request: &PackageRequest, upper: &Path, lowers: &[PathBuf], after: &Path) -> Result<Vec<Effect>> {
    let before = Mounted::read_only(lowers)?;
    let changes = changes(upper, before.path(), after)?.into_iter();
    let by = |who: Who| move |change| Effect { change, by: [who.clone()].into() };
    Ok(match request {
        PackageRequest::Answer { .. } | PackageRequest::Pin { .. } => {
            let files = changes.filter(|change| !change.directory);
            files.map(by(Who::Wish(request.to_string()))).collect()
        }
        PackageRequest::Install { .. } | PackageRequest::Remove { .. } => {
            changes.filter(|change| !change.notable.is_empty()).map(by(Who::Packages)).collect()
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::debconf::{Answer, AnswerKind, Unchecked};

    fn package(name: &str, version: &str) -> Package {
        Package { name: name.into(), version: version.into(), architecture: "arm64".into() }
    }

    pub(super) fn layer(packages: &[(&str, &str)], gone: &[(&str, &str)]) -> Layer {
        let list = |list: &[(&str, &str)]| list.iter().map(|(name, version)| package(name, version)).collect();
        Layer { packages: list(packages), gone: list(gone), ..Layer::default() }
    }

    pub(super) fn install(specs: &[&str]) -> PackageRequest {
        PackageRequest::Install { specs: specs.iter().map(|it| (*it).to_owned()).collect(), recommends: false }
    }

    pub(super) fn remove(names: &[&str]) -> PackageRequest {
        PackageRequest::Remove { names: names.iter().map(|it| (*it).to_owned()).collect(), purge: true }
    }

    pub(super) fn answer(answers: &[(&str, &str)]) -> PackageRequest {
        let answer = |(question, value): &(&str, &str)| {
            let unchecked =
                Unchecked { question: (*question).into(), kind: AnswerKind::String, value: (*value).into() };
            Answer::check(&unchecked).unwrap()
        };
        PackageRequest::Answer { answers: answers.iter().map(answer).collect() }
    }

    pub(super) fn pin(package: &str, priority: i16) -> PackageRequest {
        let target = crate::recipe::pin::Target::Version("1".into());
        let unchecked = crate::recipe::pin::Unchecked { package: package.into(), target, priority };
        PackageRequest::Pin { pins: vec![Pin::check(&unchecked).unwrap()] }
    }

    #[test]
    fn a_pin_is_there_for_whoever_has_it_in_a_file_of_its_own() {
        let mut packages = Packages::default();
        for (owner, name) in [(Owner::Plugin(1), "aa"), (Owner::Plugin(0), "bb"), (Owner::Plugin(1), "cc")] {
            let brought = Brought { owner, request: pin(name, 9), packages: Vec::new(), effects: Vec::new() };
            packages.brought.push(brought);
        }
        assert!(packages.answer(Owner::Plugin(1), &pin("aa", 9)).is_some());
        assert!(packages.answer(Owner::Plugin(1), &pin("aa", 8)).is_none());
        let names: Vec<&str> = packages.pins_of(Owner::Plugin(1)).map(Pin::package).collect();
        assert_eq!(names, ["aa", "cc"]);
    }

    /// A plugin that wants nothing.
    pub(super) fn planned(id: &str) -> PlannedPlugin {
        PlannedPlugin {
            id: id.into(),
            path: "a.wasm".into(),
            digest: String::new(),
            packages: Vec::new(),
            build_packages: Vec::new(),
            pins: Vec::new(),
            answers: Vec::new(),
            removals: Vec::new(),
            params: BTreeMap::new(),
        }
    }

    #[test]
    fn a_plugin_has_its_answers_first_and_its_removals_last() {
        let texts = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        let PackageRequest::Answer { answers } = answer(&[("aa/q", "1")]) else { unreachable!() };
        let plugin = PlannedPlugin { answers, packages: texts(&["aa"]), removals: texts(&["bb"]), ..planned("x/a") };
        let done: Vec<PackageRequest> = prepared(&plugin).collect();
        assert_eq!(done, [answer(&[("aa/q", "1")]), install(&["aa"]), remove(&["bb"])]);
        assert_eq!(prepared(&planned("x/a")).count(), 0);
    }

    #[test]
    fn what_is_answered_is_answered_whoever_asks() {
        let mut packages = Packages::default();
        let request = answer(&[("aa/q", "1"), ("aa/r", "2")]);
        let brought = |request| Brought { owner: Owner::Plugin(1), request, packages: Vec::new(), effects: Vec::new() };
        packages.brought.push(brought(request));
        for (asked, expected) in [(&[("aa/r", "2")][..], true), (&[("aa/r", "1")], false), (&[("aa/s", "1")], false)] {
            assert_eq!(packages.answer(Owner::Plugin(0), &answer(asked)).is_some(), expected, "{asked:?}");
        }
    }

    #[test]
    fn what_is_there_is_answered_and_the_rest_is_asked_for() {
        let mut packages = Packages::of_base(&layer(&[("apt", "1"), ("nano", "7")], &[]));
        let me = Owner::Plugin(0);
        for (request, expected) in [
            (install(&["apt"]), true),
            (install(&["apt", "nano=7"]), true),
            (install(&["nano=8"]), false),
            (install(&["apt", "tree"]), false),
            (remove(&["tree"]), true),
            (remove(&["tree", "nano"]), false),
        ] {
            assert_eq!(packages.answer(me, &request).is_some(), expected, "{request}");
        }
        // Its own new packages are told to whoever asked for them, and to nobody else.
        packages.follow(&layer(&[("tree", "2"), ("nano", "8")], &[("nano", "7")]));
        let request = install(&["mail-reader"]);
        let brought = vec![package("tree", "2")];
        packages.brought.push(Brought {
            owner: me,
            request: request.clone(),
            packages: brought.clone(),
            effects: Vec::new(),
        });
        assert_eq!(packages.answer(me, &request), Some(brought));
        assert_eq!(packages.answer(Owner::Plugin(1), &request), Some(Vec::new()));
        assert_eq!(packages.answer(me, &install(&["nano=8", "tree"])), Some(Vec::new()));
        assert_eq!(packages.answer(me, &install(&["nano=7"])), None);
        packages.follow(&layer(&[], &[("nano", "8")]));
        assert_eq!(packages.answer(me, &remove(&["nano"])), Some(Vec::new()));
    }

    #[test]
    fn what_somebody_wants_must_stay() {
        let mut packages = Packages::default();
        for (owner, request) in [(Owner::Recipe, install(&["aa=1", "bb"])), (Owner::Plugin(1), remove(&["cc"]))] {
            packages.brought.push(Brought { owner, request, packages: Vec::new(), effects: Vec::new() });
        }
        assert_eq!(still_wanted(&packages, &install(&["bb/stable", "dd:arm64"])), ["aa", "bb", "dd"]);
        assert_eq!(still_wanted(&packages, &remove(&["dd"])), ["aa", "bb"]);
        assert_eq!(packages.wanted().collect::<Vec<_>>(), [("aa", Owner::Recipe), ("bb", Owner::Recipe)]);
    }
}
