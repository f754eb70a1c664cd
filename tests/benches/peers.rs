//! Other programs that make root file systems, on the same small set of packages.
//!
//! They are not piimg's to install: what is not there is left out, and what fails is quoted.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result};
use piimg::emulation::host_architecture;
use piimg::recipe::release::Releases;
use piimg::sandbox::tool;
use piimg_tests::bench::{Figure, Plot, Run, Section, Series, Spread, Table, scrubbed};

use crate::bootstrap::{self, SMALL};
use crate::measure::{attempt, command, tail};
use crate::place::{Place, RELEASE, remove};

/// Registers the emulator for the program behind it; its head says how.
const REGISTERED: &str = include_str!("registered.sh");

/// Seconds after which a peer has failed.
const PATIENCE: u32 = 3600;

const METHOD: [&str; 3] = [
    "Each makes a tree of the same small set of packages (ca-certificates, openssh-server, sudo) for the release, for arm64 and for this machine's own amd64, \
     with what its users have: for arm64, qemu-user is registered on the host by the file of `qemu-user-static`, as long \
     as the program runs. Package caches are filled where there is one: debos has none and fetches its packages each time. What they make \
     is not the same to the last package, for each has its own idea of a base system, so the times are only of a kind.",
    "piimg is measured by `piimg doctor --compare-emulation`, with native tools and under plain emulation, which is qemu-user for \
     every program; for amd64, it makes nothing.",
    "To have them all: `apt-get install --no-install-recommends arch-test debos mkosi`. A program that is \
     missing is not in the table.",
];

/// A program, and how it makes a tree of [`SMALL`].
struct Peer {
    name: &'static str,
    /// Whether it keeps packages for its next run.
    has_cache: bool,
    command: fn(&Place, &Path, &str) -> Result<Command>,
}

const PEERS: [Peer; 3] = [
    Peer { name: "mmdebstrap", has_cache: true, command: mmdebstrap },
    Peer { name: "debos", has_cache: false, command: debos },
    Peer { name: "mkosi", has_cache: true, command: mkosi },
];

/// Measures it.
pub(crate) fn measure(place: &Place) -> Result<Section> {
    bootstrap::require_amd64()?;
    place.warm_up()?;
    let mut tools = Series::new("piimg, arm64, native tools");
    let mut plain = Series::new("piimg, arm64, plain emulation");
    let present = || PEERS.iter().filter(|peer| tool::find(peer.name).is_some());
    let mut others: Vec<(&Peer, &str, Series)> = ["arm64", "amd64"]
        .into_iter()
        .flat_map(|architecture| present().map(move |peer| (peer, architecture)))
        .map(|(peer, architecture)| (peer, architecture, Series::new(format!("{}, {architecture}", peer.name))))
        .collect();
    for (peer, architecture, series) in others.iter_mut().filter(|(peer, _, _)| peer.has_cache) {
        place.say(&format!("filling the cache of {}", series.name));
        series.failed = one(place, peer, architecture)?.err();
    }
    for round in 1..=place.rounds {
        place.say(&format!("round {round} of {}", place.rounds));
        let compared = bootstrap::compare(place, &SMALL)?;
        tools.runs.push(compared.native_tools());
        plain.runs.push(compared.plain());
        for (peer, architecture, series) in others.iter_mut().filter(|(_, _, series)| series.failed.is_none()) {
            place.say(&series.name);
            match one(place, peer, architecture)? {
                Ok(run) => series.runs.push(run),
                Err(why) => series.failed = Some(why),
            }
        }
    }
    let others: Vec<Series> = others.into_iter().map(|(_, _, series)| series).collect();
    section(place, [tools, plain], others)
}

fn section(place: &Place, piimg: [Series; 2], others: Vec<Series>) -> Result<Section> {
    let mut section = place.section("peers", "Other programs")?;
    section.method = METHOD.map(str::to_owned).to_vec();
    let tools = piimg[0].walls();
    let ratio =
        |series: &Series| Figure::ratio(format!("{} / {}", series.name, piimg[0].name), &series.walls(), &tools, None);
    section.figures =
        bootstrap::cost_of_emulation(&piimg[1], &piimg[0]).chain(others.iter().filter_map(ratio)).collect();
    let quote = |series: &Series| Some((format!("{} fails:", series.name), series.failed.clone()?));
    section.quotes = others.iter().filter_map(quote).collect();
    let quickest = |which: &str| {
        let medians = others.iter().filter(|series| series.name.ends_with(which));
        let medians = medians.filter_map(|series| Some((Spread::of(&series.walls())?.median, &series.name)));
        medians.min_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, name)| name.clone())
    };
    let foreign = match quickest("arm64") {
        Some(name) => format!("{name} is the quickest of the others for arm64"),
        None => "none of the others makes a tree for arm64".into(),
    };
    let native = quickest("amd64").map_or_else(String::new, |name| format!("; for amd64, {name} is the quickest"));
    section.says = format!("Here, {foreign}{native}.");
    section.raw = piimg.into_iter().chain(others).collect();
    section.tables = vec![Table::of_series(&section.raw)];
    section.plots = vec![Plot::of_series("A small set of packages", &section.raw)];
    Ok(section)
}

/// Makes a tree; the inner error is what the program said when it failed.
fn one(place: &Place, peer: &Peer, architecture: &str) -> Result<Result<Run, String>> {
    let dir = place.fresh("peer")?;
    let (run, output) = attempt(&mut (peer.command)(place, &dir, architecture)?)?;
    remove(&dir)?;
    Ok(if output.status.success() { Ok(run) } else { Err(scrubbed(&tail(&output), &place.name())) })
}

/// Returns what whatever comes behind it is started by: a shell that registers the emulator for a foreign architecture.
fn started(dir: &Path, architecture: &str) -> Command {
    let mut command = command("timeout");
    command.arg(PATIENCE.to_string()).current_dir(dir);
    // What it mounts goes with it, when it is killed too.
    command.args(["unshare", "--mount"]);
    if architecture != host_architecture() {
        command.args(["sh", "-c", REGISTERED, "sh"]);
    }
    command
}

fn mmdebstrap(place: &Place, dir: &Path, architecture: &str) -> Result<Command> {
    let releases = Releases::builtin()?;
    let release = releases.get(RELEASE).context("piimg does not know the release")?;
    let alone = bootstrap::mmdebstrap(place, &dir.join("tree"), release, architecture, &SMALL)?;
    let mut command = started(dir, architecture);
    command.arg(alone.get_program()).args(alone.get_args());
    Ok(command)
}

fn debos(_place: &Place, dir: &Path, architecture: &str) -> Result<Command> {
    let recipe = format!(
        "architecture: {architecture}
actions:
  - action: debootstrap
    suite: {RELEASE}
    components: [main, non-free-firmware]
    variant: minbase
  - action: apt
    recommends: false
    packages: [{}]
",
        SMALL.join(", ")
    );
    fs::write(dir.join("recipe.yaml"), recipe).context("cannot write a recipe")?;
    let mut command = started(dir, architecture);
    // Without its virtual machine, which would need a kernel of Debian's.
    command.args(["debos", "--disable-fakemachine", "recipe.yaml"]);
    Ok(command)
}

fn mkosi(place: &Place, dir: &Path, architecture: &str) -> Result<Command> {
    let cache = place.path(&format!("mkosi-{architecture}"));
    fs::create_dir_all(&cache).context("cannot make a package cache")?;
    let machine = if architecture == "arm64" { "aarch64" } else { "x86_64" };
    let mut command = started(dir, architecture);
    command.args(["mkosi", "--distribution", "debian", "--release", RELEASE, "--architecture", machine]);
    command.args(["--format", "directory", "--output", "tree", "--bootable", "no", "--nspawn-keep-unit", "yes"]);
    // Its own choices are another file system and the caller's directory.
    command.arg("--workspace-dir").arg(dir).arg("--output-dir").arg(dir);
    command.arg("--package").arg(SMALL.join(",")).arg("--cache").arg(cache).arg("build");
    Ok(command)
}
