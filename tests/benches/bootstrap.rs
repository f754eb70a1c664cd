//! A release's packages for a foreign architecture, against the same packages for this machine's own.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use piimg::emulation::host_architecture;
use piimg::recipe::release::{Release, Releases};
use piimg_tests::bench::{Figure, Plot, Run, Section, Series, Spread, Table, Target, number};
use serde::Deserialize;

use crate::measure::{attempt, command, run, tail};
use crate::place::{Place, RELEASE, remove};

/// Few enough to be installed under plain emulation in a few minutes, and with maintainer scripts that do something.
pub(crate) const SMALL: [&str; 3] = ["ca-certificates", "openssh-server", "sudo"];

/// Options with which `host/src/rootfs/bootstrap.rs` calls mmdebstrap, but for the architecture and what belongs to
/// emulation.
const OPTIONS: [&str; 7] = [
    "--mode=root",
    "--variant=apt",
    "--format=directory",
    "--skip=check/empty,download/empty,essential/unlink,cleanup/apt/lists,cleanup/apt/cache",
    "--aptopt=Acquire::Languages \"none\"",
    "--aptopt=APT::Install-Recommends \"false\"",
    "--dpkgopt=force-confold",
];

/// Makes the initramfs once and at the end, as piimg does.
const INITRAMFS: &str = "for kernel in \"$1\"/boot/vmlinuz-*; do
    version=${kernel##*/vmlinuz-}
    DEB_MAINT_PARAMS=configure chroot \"$1\" env --unset=INITRD run-parts --report --exit-on-error \
        --arg=\"$version\" --arg=\"/boot/vmlinuz-$version\" /etc/kernel/postinst.d
done";

/// Binds the package cache where nobody else sees it, and becomes the rest of the command line.
const WITH_CACHE: &str = "mount --bind \"$1\" \"$2\" && shift 2 && exec \"$@\"";

const METHOD: [&str; 3] = [
    "The packages of a release for arm64 with native tools, against mmdebstrap with the same packages for amd64, where \
     every program runs by itself. In the native one, `linux-image-amd64` stands for `linux-image-arm64`; all other \
     packages have the same names, and the files and directories that they look at are there beforehand. Both find the \
     packages in a cache and fetch only the lists; both make the initramfs once, at the end.",
    "The time of piimg is that of its step *Bootstrap*; its processor time is that of the whole command, which also \
     assembles and verifies an image.",
    "Plain emulation, that is qemu-user for every program, is compared with `--full`, by `piimg doctor \
     --compare-emulation`, which makes both trees in one run; of a small set of packages, beside other programs below.",
];

/// Fails where arm64 is not foreign, or amd64 is.
pub(crate) fn require_amd64() -> Result<()> {
    let host = host_architecture();
    ensure!(host == "amd64", "arm64 is compared with amd64, which must be this machine's own architecture, not {host}");
    Ok(())
}

/// Measures it.
pub(crate) fn measure(place: &Place) -> Result<Section> {
    require_amd64()?;
    let releases = Releases::builtin()?;
    let release = releases.get(RELEASE).context("piimg does not know the release")?;
    place.warm_up()?;
    place.say("filling the package cache of the native bootstrap");
    native(place, release)?;
    let mut foreign_series = Series::new("arm64, native tools");
    let mut native_series = Series::new("amd64, native");
    let mut tools = Series::new("arm64, native tools (doctor)");
    let mut plain = Series::new("arm64, plain emulation");
    for round in 1..=place.rounds {
        place.say(&format!("round {round} of {}", place.rounds));
        foreign_series.runs.push(foreign(place)?);
        native_series.runs.push(native(place, release)?);
    }
    if place.full {
        place.say("the release under plain emulation");
        let compared = compare(place, &[])?;
        tools.runs.push(compared.native_tools());
        plain.runs.push(compared.plain());
    }
    section(place, [foreign_series, native_series], [tools, plain])
}

fn section(place: &Place, [foreign, native]: [Series; 2], [tools, plain]: [Series; 2]) -> Result<Section> {
    let mut section = place.section("bootstrap", "Bootstrap of a foreign architecture")?;
    section.method = METHOD.map(str::to_owned).to_vec();
    let near = Some(Target::AtMost(1.5));
    let figures = [
        Figure::ratio("native tools / native, time", &foreign.walls(), &native.walls(), near),
        Figure::ratio("native tools / native, processor time", &foreign.cpus(), &native.cpus(), near),
    ];
    section.figures = figures.into_iter().flatten().chain(cost_of_emulation(&plain, &tools)).collect();
    let median = |series: &Series| Spread::of(&series.walls()).map(|spread| spread.median);
    let factor = median(&foreign)
        .zip(median(&native))
        .map_or_else(|| "?".to_owned(), |(foreign, native)| number(foreign / native));
    section.says = format!("A foreign bootstrap takes {factor} times as long as a native one.");
    section.raw = [foreign, native, tools, plain].into_iter().filter(|series| !series.runs.is_empty()).collect();
    section.tables = vec![Table::of_series(&section.raw)];
    section.plots = vec![Plot::of_series("Bootstrap of bookworm", &section.raw)];
    Ok(section)
}

/// Returns how much longer plain emulation takes than native tools.
pub(crate) fn cost_of_emulation(plain: &Series, tools: &Series) -> impl Iterator<Item = Figure> {
    let far = Some(Target::AtLeast(5.0));
    let figures = [
        Figure::ratio("plain emulation / native tools, time", &plain.walls(), &tools.walls(), far),
        Figure::ratio("plain emulation / native tools, processor time", &plain.cpus(), &tools.cpus(), far),
    ];
    figures.into_iter().flatten()
}

/// Runs `piimg build` with a new base layer.
fn foreign(place: &Place) -> Result<Run> {
    let built = place.build(&["--refresh", "--emulation", "native-tools"])?;
    Ok(Run { wall: built.timings.step("Bootstrap")?, ..built.run })
}

fn native(place: &Place, release: &Release) -> Result<Run> {
    let target = place.fresh("native")?;
    prepare(&target, release)?;
    let packages: Vec<&str> = release
        .packages
        .iter()
        .map(|package| if package == "linux-image-arm64" { "linux-image-amd64" } else { package })
        .collect();
    let mut command = mmdebstrap(place, &target, release, "amd64", &packages)?;
    let run = run(command.env("INITRD", "No"))?;
    remove(&target)?;
    Ok(run)
}

/// Prepares mmdebstrap, with a package cache of its own.
pub(crate) fn mmdebstrap(
    place: &Place,
    target: &Path,
    release: &Release,
    architecture: &str,
    packages: &[&str],
) -> Result<Command> {
    let (archives, cache) = (place.path("archives"), target.join("var/cache/apt/archives"));
    for path in [&archives.join("partial"), &cache] {
        fs::create_dir_all(path).with_context(|| format!("cannot create {}", path.display()))?;
    }
    let own = release.own_repository(architecture)?;
    let mut command = command("unshare");
    command.args(["--mount", "sh", "-c", WITH_CACHE, "sh"]).arg(&archives).arg(&cache).arg("mmdebstrap").args(OPTIONS);
    command.arg(format!("--architectures={architecture}")).arg(format!("--components={}", own.components.join(",")));
    command.arg(format!("--include={}", packages.join(",")));
    if packages.iter().any(|package| package.starts_with("linux-image")) {
        command.arg(format!("--customize-hook={INITRAMFS}"));
    }
    let keyring = &release.keyrings[&own.signed_by];
    command.args(keyring.host.iter().take(1).map(|keyring| format!("--keyring={keyring}")));
    command.arg(&own.suites[0]).arg(target);
    Ok(command)
}

/// Writes what packages look at when they are configured.
fn prepare(target: &Path, release: &Release) -> Result<()> {
    let inside = |path: &str| target.join(path.trim_start_matches('/'));
    for directory in &release.directories {
        fs::create_dir_all(inside(directory)).with_context(|| format!("cannot create {directory}"))?;
    }
    for file in release.files.iter().filter(|file| file.early) {
        let path = inside(&file.path);
        fs::create_dir_all(path.parent().context("a file has a directory")?)
            .and_then(|()| fs::write(&path, &file.content))
            .with_context(|| format!("cannot write {}", file.path))?;
    }
    Ok(())
}

/// The output of `piimg doctor --compare-emulation --json`, as far as it is of interest.
#[derive(Deserialize)]
pub(crate) struct Compared {
    native_tools: f64,
    native_tools_cpu: f64,
    plain: f64,
    plain_cpu: f64,
}

impl Compared {
    pub(crate) fn native_tools(&self) -> Run {
        Run { wall: self.native_tools, cpu: Some(self.native_tools_cpu), ..Run::default() }
    }

    pub(crate) fn plain(&self) -> Run {
        Run { wall: self.plain, cpu: Some(self.plain_cpu), ..Run::default() }
    }
}

/// Bootstraps `packages`, or the release's own, with native tools and under plain emulation.
pub(crate) fn compare(place: &Place, packages: &[&str]) -> Result<Compared> {
    let mut command = place.piimg("doctor");
    command.args(["--compare-emulation", "--json"]).args(packages.iter().flat_map(|package| ["--package", package]));
    let (_, output) = attempt(&mut command)?;
    // Trees that differ fail the comparison, which has measured all the same.
    match serde_json::from_slice(&output.stdout) {
        Ok(compared) => Ok(compared),
        Err(_) => bail!("`piimg doctor` failed with {}:\n{}", output.status, tail(&output)),
    }
}
