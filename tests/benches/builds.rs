//! Whole builds: from nothing, after a change of a plugin, and without any change.

use anyhow::Result;
use piimg_tests::bench::{Figure, Plot, Run, Section, Series, Spread, Stack, Table, Target, seconds};

use crate::changes::{self, Change};
use crate::place::{Place, Plugins, remove};

/// Noise that the first plugin adds to the release's packages, so that the root has about 1.5 GB.
pub(crate) const CARRIED_MIB: u32 = 600;

const METHOD: [&str; 3] = [
    "An image with two plugins: the first one adds 600 MiB of noise to the release's packages, the second one writes a \
     small file. *From nothing* is with a store that holds package files and compiled plugins alone; with `--full` no \
     package files either, so that the archive and the network are measured too. *Changed plugin* gives the second plugin another parameter: its \
     layer and all that stands on it are made anew. *Unchanged* builds the same image again where it lies; *written \
     again* does so after the image was removed.",
    "The parts of a build are its steps. Of steps that run at the same time, the later one is counted from the end of \
     the earlier one.",
    changes::METHOD,
];

/// Measures it.
pub(crate) fn measure(place: &Place) -> Result<Section> {
    place.warm_up()?;
    let mut plugins = Plugins::carrying(place, CARRIED_MIB)?;
    let mut series = ["from nothing", "changed plugin", "unchanged", "written again"].map(Series::new);
    let [cold, changed, unchanged, written] = &mut series;
    for round in 1..=place.rounds {
        place.say(&format!("round {round} of {}", place.rounds));
        empty_store(place)?;
        cold.runs.push(as_users_see_it(place.build(&plugins.changed(place))?));
        let held = place.held()?;
        changed.runs.push(as_users_see_it(place.build(&plugins.changed(place))?));
        unchanged.runs.push(as_users_see_it(place.build_again(&plugins.unchanged())?));
        written.runs.push(as_users_see_it(place.build(&plugins.unchanged())?));
        place.forget_since(&held)?;
    }
    let mut section = section(place, series)?;
    add_changes(&mut section, changes::measure(place)?);
    Ok(section)
}

fn add_changes(section: &mut Section, changes: Vec<Change>) {
    section.figures.extend(changes.iter().filter_map(Change::figure));
    section.tables.push(changes::table(&changes));
    section.raw.extend(changes.into_iter().map(Change::into_series));
}

/// Takes piimg's own time, which its parts add up to; the process takes hardly longer.
fn as_users_see_it(built: crate::place::Built) -> Run {
    Run { wall: built.timings.done(), ..built.run }
}

fn section(place: &Place, series: [Series; 4]) -> Result<Section> {
    let [cold, changed, unchanged, written] = &series;
    let mut section = place.section("builds", "Builds")?;
    section.method = METHOD.map(str::to_owned).to_vec();
    let figures = [
        Figure::time("from nothing", &cold.walls(), None),
        Figure::time("changed plugin", &changed.walls(), Some(Target::AtMost(10.0))),
        Figure::time("unchanged", &unchanged.walls(), Some(Target::AtMost(1.0))),
        Figure::time("written again", &written.walls(), None),
    ];
    section.figures.extend(figures.into_iter().flatten());
    let median =
        |series: &Series| Spread::of(&series.walls()).map_or_else(|| "?".to_owned(), |spread| seconds(spread.median));
    section.says = format!(
        "A changed plugin costs {}, an unchanged build {} ({} if the image is gone), and the first build {}.",
        median(changed),
        median(unchanged),
        median(written),
        median(cold)
    );
    let stack = |series: &Series| Stack { name: series.name.clone(), parts: series.parts() };
    let stacks: Vec<Stack> = series.iter().map(stack).collect();
    section.plots = vec![
        Plot::Stacks { title: "Builds, by step".into(), stacks: stacks.clone() },
        Plot::Stacks { title: "Builds with a base layer from the store, by step".into(), stacks: stacks[1..].to_vec() },
    ];
    section.tables = vec![Table::of_series(&series), parts(&stacks)];
    section.raw = series.into();
    Ok(section)
}

/// Tabulates what each step took in each kind of build.
fn parts(stacks: &[Stack]) -> Table {
    let mut names: Vec<&String> = Vec::new();
    for (name, _) in stacks.iter().flat_map(|stack| &stack.parts) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let head = std::iter::once("step".to_owned()).chain(stacks.iter().map(|stack| stack.name.clone())).collect();
    let cell = |stack: &Stack, name: &String| {
        let part = stack.parts.iter().find(|(other, _)| other == name);
        part.map_or_else(String::new, |(_, value)| seconds(*value))
    };
    let row = |name: &String| {
        std::iter::once(name.clone()).chain(stacks.iter().map(|stack| cell(stack, name))).collect::<Vec<_>>()
    };
    Table { head, rows: names.into_iter().map(row).collect() }
}

fn empty_store(place: &Place) -> Result<()> {
    place.forget_since(&Default::default())?;
    if place.full { remove(&place.path("store/data/archives")) } else { Ok(()) }
}
