//! Implements `piimg doctor --compare-emulation`: bootstraps the same packages with native tools and under plain
//! emulation, and compares the two trees.
//!
//! The emulated one is made as it is without piimg, the initramfs included, so that everything by which piimg saves
//! time is compared at once. Neither is kept.

use std::fs::File;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::time::TimeValLike as _;
use serde::{Deserialize, Serialize};

use super::bootstrap::{Initramfs, fetch, install};
use super::layer::{mount, unmount};
use super::{Build, Emulation};
use crate::emulation::{self, Mode};
use crate::error::{Context, Failure, Result};
use crate::home::Home;
use crate::keyring::Rings;
use crate::plugin::capability::glob::matches_path;
use crate::recipe::plan::Plan;
use crate::rootfs::compare::{Aspect, Comparison, Difference, compare};
use crate::rootfs::files::{ImagePath, Rootfs};
use crate::rootfs::initramfs;
use crate::sandbox::namespace::{self, Entry};
use crate::store::{self, Stage, Store};
use crate::ui::{Ui, Verbosity, count, printable, seconds};

const LIST: &str = include_str!("../../../files/emulation/differences.toml");

/// Parameters of a comparison.
#[derive(Debug, Serialize, Deserialize)]
pub struct Job {
    /// Gives release, architecture, mirror and store.
    pub plan: Plan,
    pub rings: Rings,
    /// Packages to install instead of the release's own.
    pub packages: Option<Vec<String>>,
    pub json: bool,
    pub verbosity: Verbosity,
}

/// Runs the comparison in the private namespace and returns the exit code of the inner process, which reports
/// everything.
///
/// # Errors
/// If the namespace cannot be made.
pub fn outside(job: &Job) -> Result<i32> {
    let ids = store::prepare(&job.plan.store, Home::of_user().as_ref())?;
    let entry = Entry { ids, role: "__compare", store: job.plan.store.path(), files: Vec::new(), hidden: Vec::new() };
    namespace::run(&entry, &serde_json::to_vec(job).context("cannot describe the job")?)
}

/// Implements `piimg __compare`.
///
/// # Errors
/// Whatever a bootstrap fails with, and [`Failure::build`] if the trees differ.
pub fn inside(arguments: &[String]) -> Result<()> {
    let job = namespace::enter(arguments)?;
    run(&serde_json::from_slice(&job).context("cannot read the job")?)
}

/// `files/emulation/differences.toml`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct List {
    initramfs: Vec<String>,
    #[serde(rename = "difference")]
    differences: Vec<Expected>,
}

/// A difference that says nothing about emulation.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    path: String,
    aspects: Vec<Aspect>,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Explained {
    #[serde(flatten)]
    difference: Difference,
    reason: String,
}

/// Result of a comparison.
#[derive(Debug, Serialize)]
struct Report {
    release: String,
    architecture: String,
    paths: usize,
    explained: Vec<Explained>,
    unexplained: Vec<Difference>,
    /// Seconds.
    native_tools: f64,
    plain: f64,
    /// Seconds of processor time, of all processes together.
    native_tools_cpu: f64,
    plain_cpu: f64,
}

/// Duration of a bootstrap.
#[derive(Clone, Copy)]
struct Took {
    time: Duration,
    cpu: Duration,
}

fn run(job: &Job) -> Result<()> {
    let ui = Ui::new(job.verbosity);
    ui.show_commands();
    let store = Store::open()?;
    let architecture = job.plan.architecture.as_str();
    let (fast, native_tools) = tree(job, &store, &ui, Mode::NativeTools, Initramfs::Once)?;
    emulation::unregister(architecture)?;
    let (slow, plain) = tree(job, &store, &ui, Mode::Plain, Initramfs::AsPackagesAsk)?;
    let step = ui.step("Compare the trees");
    let list: List = toml::from_str(LIST).context(Failure::bug("cannot use `files/emulation/differences.toml`"))?;
    let (fast, slow) = (fast.path().join("fs"), slow.path().join("fs"));
    let mut found = compare(&fast, &slow)?;
    unpack(&mut found, &fast, &slow, &list)?;
    step.done_with(&count(found.paths, "path"));
    let (explained, unexplained) = explain(found.differences, &list);
    let report = Report {
        release: job.plan.release.name.clone(),
        architecture: architecture.to_owned(),
        paths: found.paths,
        explained,
        unexplained,
        native_tools: native_tools.time.as_secs_f64(),
        plain: plain.time.as_secs_f64(),
        native_tools_cpu: native_tools.cpu.as_secs_f64(),
        plain_cpu: plain.cpu.as_secs_f64(),
    };
    if job.json {
        ui.json(&report)?;
    } else {
        text(&report, &ui);
    }
    if report.unexplained.is_empty() {
        return Ok(());
    }
    Err(Failure::build(format!(
        "native tools change {} of the tree",
        crate::ui::count(report.unexplained.len(), "path")
    ))
    .hint("take the program that wrote them out of `files/emulation/native.toml`")
    .into())
}

/// Bootstraps one tree and says how long that took, without what native tools need once for a suite.
fn tree(job: &Job, store: &Store, ui: &Ui, mode: Mode, initramfs: Initramfs) -> Result<(Stage, Took)> {
    let build = Build {
        plan: &job.plan,
        base: None,
        rings: &job.rings,
        preferences: None,
        store: store.clone(),
        emulation: Emulation::new(&job.plan.architecture, mode, false),
        authorities: Default::default(),
        codes: Vec::new(),
        assets: Default::default(),
        local_files: Default::default(),
        asset_digests: Default::default(),
        audit: None,
        secrets: Default::default(),
        shell: None,
        refresh: true,
        has_layers: Default::default(),
        ui: ui.clone(),
    };
    let how = if mode == Mode::Plain { "under plain emulation" } else { "with native tools" };
    let step = ui.step(format!("Bootstrap {} ({}) {how}", job.plan.release.name, job.plan.architecture));
    let stage = store.stage()?;
    let below = build.below_packages(&step)?;
    let (start, cpu) = (Instant::now(), children_cpu()?);
    let packages = job.packages.as_ref().unwrap_or(&job.plan.release.packages);
    let prepared = fetch(&build, &stage, packages, &step)?;
    let mounted = mount(&stage, &below)?;
    install(&build, &stage, mounted.path(), &prepared, packages, initramfs, &step)?;
    let took = Took { time: start.elapsed(), cpu: children_cpu()?.saturating_sub(cpu) };
    unmount(&stage, mounted)?;
    build.emulation.check_layer(&stage.path().join("fs"))?;
    step.done();
    Ok((stage, took))
}

/// Returns the processor time of all processes that have ended: this is PID 1, so all were its children.
fn children_cpu() -> Result<Duration> {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).context("cannot ask for the processor time")?;
    let microseconds = usage.user_time().num_microseconds() + usage.system_time().num_microseconds();
    Ok(Duration::from_micros(u64::try_from(microseconds).unwrap_or_default()))
}

/// Replaces a difference between two initramfs files by what differs inside.
fn unpack(found: &mut Comparison, a: &Path, b: &Path, list: &List) -> Result<()> {
    let packed = |difference: &Difference| {
        let inside_only = difference.aspects.iter().all(|aspect| matches!(aspect, Aspect::Content | Aspect::Size));
        inside_only && list.initramfs.iter().any(|pattern| matches_path(pattern, &difference.path))
    };
    let (archives, rest): (Vec<_>, Vec<_>) = std::mem::take(&mut found.differences).into_iter().partition(packed);
    found.differences = rest;
    for archive in archives {
        let file = |tree: &Path| Ok(Rootfs::open(tree, 0)?.open_file(&ImagePath::parse(&archive.path)?)?);
        let both = file(a).and_then(|a: File| Ok((a, file(b)?)));
        let inside = both.and_then(|(a, b)| initramfs::compare(&a, &b));
        let inside = inside.with_context(|| format!("cannot compare `{}`", archive.path))?;
        found.paths += inside.paths;
        found.differences.extend(inside.differences.into_iter().map(|difference| Difference {
            path: format!("{}!/{}", archive.path, difference.path),
            aspects: difference.aspects,
        }));
    }
    Ok(())
}

fn explain(differences: Vec<Difference>, list: &List) -> (Vec<Explained>, Vec<Difference>) {
    let (mut explained, mut unexplained) = (Vec::new(), Vec::new());
    for difference in differences {
        let expected = list.differences.iter().find(|expected| {
            matches_path(&expected.path, &difference.path)
                && difference.aspects.iter().all(|aspect| expected.aspects.contains(aspect))
        });
        match expected {
            Some(expected) => explained.push(Explained { difference, reason: expected.reason.clone() }),
            None => unexplained.push(difference),
        }
    }
    (explained, unexplained)
}

fn text(report: &Report, ui: &Ui) {
    let time = |seconds_: f64| seconds(Duration::from_secs_f64(seconds_));
    ui.data(&format!(
        "{} {}: {} compared; native tools {}, plain emulation {}",
        report.release,
        report.architecture,
        count(report.paths, "path"),
        time(report.native_tools),
        time(report.plain)
    ));
    let line = |difference: &Difference| {
        let aspects: Vec<String> = difference.aspects.iter().map(ToString::to_string).collect();
        format!("{} ({})", printable(&difference.path), aspects.join(", "))
    };
    for explained in &report.explained {
        ui.data(&format!("  expected: {}: {}", line(&explained.difference), explained.reason));
    }
    for difference in &report.unexplained {
        ui.data(&format!("  DIFFERS:  {}", line(difference)));
    }
    if report.unexplained.is_empty() {
        ui.data("the trees are the same");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn difference(path: &str, aspects: &[Aspect]) -> Difference {
        Difference { path: path.into(), aspects: aspects.iter().copied().collect() }
    }

    #[test]
    fn only_what_the_list_names_is_expected() {
        let list: List = toml::from_str(LIST).unwrap();
        assert!(list.differences.iter().all(|expected| expected.reason.len() > 10));
        for (path, aspects, expected) in [
            ("/var/log/dpkg.log", vec![Aspect::Content], true),
            ("/var/log/apt/term.log", vec![Aspect::Content, Aspect::Size], true),
            ("/var/log/dpkg.log", vec![Aspect::Mode], false),
            ("/var/log/dpkg.log", vec![Aspect::Content, Aspect::Owner], false),
            ("/var/logs", vec![Aspect::Content], false),
            ("/etc/ssh/ssh_host_ed25519_key.pub", vec![Aspect::Content], true),
            ("/etc/ssh/sshd_config", vec![Aspect::Content], false),
        ] {
            let (explained, unexplained) = explain(vec![difference(path, &aspects)], &list);
            assert_eq!(
                (explained.len(), unexplained.len()),
                if expected { (1, 0) } else { (0, 1) },
                "{path} {aspects:?}"
            );
        }
    }

    #[test]
    fn an_initramfs_that_is_only_packed_differently_is_the_same() {
        let list: List = toml::from_str(LIST).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        let mut archive = Vec::new();
        cpio::newc::trailer(&mut archive).unwrap();
        for (tree, level) in [(&a, 1), (&b, 9)] {
            std::fs::create_dir_all(tree.join("boot")).unwrap();
            std::fs::write(tree.join("boot/initrd.img-6"), zstd::stream::encode_all(&archive[..], level).unwrap())
                .unwrap();
        }
        let packed = difference("/boot/initrd.img-6", &[Aspect::Content]);
        let mut found = Comparison { paths: 1, differences: vec![packed] };
        unpack(&mut found, &a, &b, &list).unwrap();
        assert_eq!(found.differences, []);
        let with_mode = difference("/boot/initrd.img-6", &[Aspect::Content, Aspect::Mode]);
        let mut found = Comparison { paths: 1, differences: vec![with_mode.clone()] };
        unpack(&mut found, &a, &b, &list).unwrap();
        assert_eq!(found.differences, [with_mode]);
    }
}
