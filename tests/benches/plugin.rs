//! Cost of doing something in a plugin.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, ensure};
use piimg::plugin::InspectedPlugin;
use piimg::plugin::Limits;
use piimg::plugin::audit_log::Transcript;
use piimg::plugin::grant::{GrantSet, Granted};
use piimg::plugin::inspect::inspect;
use piimg::plugin::run::{Run as PluginRun, execute};
use piimg_tests::bench::{Figure, Plot, Run, Section, Series, Spread, Table, Target, seconds};
use piimg_tests::directory::{Directory, image_in, image_info};
use piimg_tests::{engine, guest};

use crate::measure::{command, here, run};
use crate::place::{Place, remove};

/// Calls that are measured, how often each is made, and how the report calls it.
const CALLS: [(&str, u32, &str); 4] = [
    ("param", 100_000, "call: param"),
    ("log", 50_000, "call: log"),
    ("stat", 100_000, "call: stat of a file"),
    ("write", 10_000, "call: write of 100 bytes"),
];

/// Builds of a round: each is short, and what is looked for is a small part of it.
const BUILDS: usize = 3;

const ASSET_MIB: usize = 256;

const METHOD: [&str; 3] = [
    "The first host call is counted from the start of `piimg build`, with everything but the plugin's layer in the \
     store; the compiled plugin is there too. Each build has another flavour, so that the plugin runs, and there are \
     three of them in a round.",
    "A call is a plugin that makes many, less one that makes none, divided by their number; the image is a directory. \
     Beside them, the same done by a program without piimg, a file being written under another name and renamed.",
    "The asset is a file of 256 MiB that a plugin installs into the image, which never enters the plugin; `cp` copies \
     the same file to the same place.",
];

/// Measures it.
pub(crate) fn measure(place: &Place) -> Result<Section> {
    place.warm_up()?;
    let first = first_calls(place)?;
    let calls = calls(place)?;
    let assets = assets(place)?;
    let mut section = place.section("plugin", "Plugins")?;
    section.method = METHOD.map(str::to_owned).to_vec();
    let figures = [
        Figure::time("start of `piimg build` to the first host call", &first.walls(), Some(Target::AtMost(0.05))),
        Figure::ratio("asset / cp", &assets[0].walls(), &assets[1].walls(), None),
    ];
    section.figures.extend(figures.into_iter().flatten());
    let median =
        |series: &Series| Spread::of(&series.walls()).map_or_else(|| "?".to_owned(), |spread| seconds(spread.median));
    section.says = format!(
        "The first host call comes after {}, and the cheapest of the calls measured costs {}.",
        median(&first),
        calls.first().map_or_else(|| "?".to_owned(), median)
    );
    section.plots = vec![Plot::of_series("A single call", &calls)];
    section.tables = [std::slice::from_ref(&first), &calls, &assets].map(Table::of_series).into();
    section.raw = std::iter::once(first).chain(calls).chain(assets).collect();
    Ok(section)
}

fn first_calls(place: &Place) -> Result<Series> {
    let mut series = Series::new("first host call");
    let plugin = guest("busy");
    let build = |flavour: &str| -> Result<f64> {
        let held = place.held()?;
        let arguments = ["--grant-requested", "--flavour", flavour, "--plugin"];
        let arguments = arguments.iter().map(AsRef::as_ref).chain([plugin.as_os_str()]);
        let built = place.build(&arguments.collect::<Vec<_>>())?;
        place.forget_since(&held)?;
        built.timings.first_call()
    };
    // Compiles the plugin.
    build(&format!("number{}", place.new_number()))?;
    for number in 1..=place.rounds * BUILDS {
        place.say(&format!("build {number} of {}", place.rounds * BUILDS));
        // The processor time of the whole build would say nothing of the time until then.
        series.runs.push(Run { wall: build(&format!("number{}", place.new_number()))?, ..Run::default() });
    }
    Ok(series)
}

fn calls(place: &Place) -> Result<Vec<Series>> {
    let plugin = look("busy")?;
    let mut calls = CALLS.map(|(_, _, name)| Series::new(name));
    let mut native = ["without piimg: stat of a file", "without piimg: write of 100 bytes"].map(Series::new);
    for round in 1..=place.rounds {
        place.say(&format!("calls, round {round} of {}", place.rounds));
        for (series, (kind, count, _)) in calls.iter_mut().zip(CALLS) {
            let run = |count: &str| {
                execute_in(place, &plugin, &[("kind", kind), ("count", count), ("bytes", "100")], BTreeMap::new())
            };
            let (some, none) = (run(&count.to_string())?, run("0")?);
            series.runs.push(each(&some, &none, count));
        }
        let dir = place.fresh("native-calls")?;
        let (file, other) = (dir.join("busy"), dir.join("busy.new"));
        let [stat, write] = &mut native;
        write.runs.push(repeated(10_000, || fs::write(&other, [b'x'; 100]).and_then(|()| fs::rename(&other, &file)))?);
        stat.runs.push(repeated(100_000, || fs::symlink_metadata(&file).map(drop))?);
        remove(&dir)?;
    }
    Ok(calls.into_iter().chain(native).collect())
}

/// Returns the time of one of `count` calls.
fn each(all: &Run, none: &Run, count: u32) -> Run {
    let one = |all: f64, none: f64| (all - none).max(0.0) / f64::from(count);
    let cpu = all.cpu.zip(none.cpu).map(|(all, none)| one(all, none));
    Run { wall: one(all.wall, none.wall), cpu, ..Run::default() }
}

fn repeated(count: u32, work: impl Fn() -> std::io::Result<()>) -> Result<Run> {
    let (run, ()) = here(|| (0..count).try_for_each(|_| work()).context("cannot work in the directory"))?;
    Ok(each(&run, &Run { cpu: Some(0.0), ..Run::default() }, count))
}

/// Measures an asset and `cp` of the same file.
fn assets(place: &Place) -> Result<[Series; 2]> {
    let plugin = look("carries")?;
    let (file, copy) = (place.path("load"), place.path("load.copy"));
    // Not zeros: they could become a hole.
    fs::write(&file, vec![b'x'; ASSET_MIB << 20]).context("cannot write the asset")?;
    let mut series = [format!("asset of {ASSET_MIB} MiB"), format!("cp of {ASSET_MIB} MiB")].map(Series::new);
    let [installed, copied] = &mut series;
    for round in 1..=place.rounds {
        place.say(&format!("asset, round {round} of {}", place.rounds));
        let asset = File::open(&file).context("cannot open the asset")?;
        installed.runs.push(execute_in(place, &plugin, &[("mib", "0")], [("load".to_owned(), asset)].into())?);
        copied.runs.push(run(command("cp").args([&file, &copy]))?);
        remove(&copy)?;
    }
    remove(&file)?;
    Ok(series)
}

fn look(name: &str) -> Result<InspectedPlugin> {
    inspect(&engine(), &guest(name), None)
}

/// Runs a plugin in a directory of its own.
fn execute_in(
    place: &Place,
    plugin: &InspectedPlugin,
    params: &[(&str, &str)],
    assets: BTreeMap<String, File>,
) -> Result<Run> {
    let parent: &Path = &place.path("");
    let root = image_in(parent);
    let mut directory = Directory::open(root.path());
    let params = params.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let grants = GrantSet::new(plugin, &params, &Granted { requested: true, ..Granted::default() })?;
    let has_asset = !assets.is_empty();
    let run = PluginRun {
        plugin,
        grants: &grants,
        image: image_info(),
        params,
        assets,
        secrets: BTreeMap::new(),
        limits: Limits::EXECUTE,
    };
    let engine = engine();
    // Logged, as in a build.
    let log = Transcript::new(vec![tempfile::tempfile().context("cannot make a temporary file")?]);
    let (measured, _) = here(|| execute(&engine, &run, &mut directory, &mut |_, _, _| {}, Some(log)))?;
    let is_there =
        fs::metadata(root.path().join("opt/carries/load")).is_ok_and(|file| file.len() >> 20 == ASSET_MIB as u64);
    ensure!(is_there == has_asset, "the plugin did not install the asset");
    Ok(measured)
}
