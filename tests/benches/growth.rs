//! Growth of a build's time with the root and with the number of plugins.

use anyhow::Result;
use piimg_tests::bench::{Line, Plot, Section, Series, Spread, Table, seconds};

use crate::place::{Place, Plugins};

/// Noise that is added to the release's packages.
const CARRIED_MIB: [u32; 4] = [0, 500, 1000, 2000];

const PLUGINS: [usize; 4] = [1, 2, 4, 8];

const METHOD: [&str; 2] = [
    "Builds after a change of a plugin that writes a small file, with everything else in the store. For the size of the \
     root, a plugin below it adds so much noise to the release's packages, which alone have about 900 MiB.",
    "For the number of plugins, each writes a small file. If the first one is changed, all of their layers are made \
     anew; if the last one is changed, only its own.",
];

/// Measures it.
pub(crate) fn measure(place: &Place) -> Result<Section> {
    // The layers of all sizes, and of the largest one partitions and image too.
    place.require_space(14 << 30)?;
    place.warm_up()?;
    let sizes = sizes(place)?;
    let (first, last) = numbers(place)?;
    let mut section = place.section("growth", "Growth")?;
    section.method = METHOD.map(str::to_owned).to_vec();
    section.says = format!(
        "{} more in the root add {}; a plugin whose layer is made anew adds {}, and one that is unchanged {}.",
        "1000 MiB",
        slope(&sizes, &CARRIED_MIB.map(f64::from), 1000.0),
        slope(&first, &PLUGINS.map(|number| number as f64), 1.0),
        slope(&last, &PLUGINS.map(|number| number as f64), 1.0),
    );
    section.plots = vec![
        Plot::Lines {
            title: "Build after a change, by size of the root".into(),
            x: "MiB beside the release's packages".into(),
            lines: vec![line("a plugin changed", &sizes, &CARRIED_MIB.map(f64::from))],
        },
        Plot::Lines {
            title: "Build after a change, by number of plugins".into(),
            x: "plugins".into(),
            lines: vec![
                line("the first one changed", &first, &PLUGINS.map(|number| number as f64)),
                line("the last one changed", &last, &PLUGINS.map(|number| number as f64)),
            ],
        },
    ];
    section.raw = sizes.into_iter().chain(first).chain(last).collect();
    section.tables = vec![Table::of_series(&section.raw)];
    Ok(section)
}

fn sizes(place: &Place) -> Result<Vec<Series>> {
    let mut sides = Vec::new();
    for mib in CARRIED_MIB {
        place.say(&format!("a root with {mib} MiB more"));
        let mut plugins = Plugins::carrying(place, mib)?;
        let held = place.held()?;
        place.build(&plugins.changed(place))?;
        // The layer with the noise stays, which is all that a changed plugin stands on.
        place.forget_artifacts_since(&held)?;
        sides.push((Series::new(format!("{mib} MiB more")), plugins));
    }
    rounds(place, sides)
}

/// Series for each number of plugins: with the first one changed, and with the last one changed.
fn numbers(place: &Place) -> Result<(Vec<Series>, Vec<Series>)> {
    let mut sides = Vec::new();
    for (which, is_first) in [("first", true), ("last", false)] {
        for number in PLUGINS {
            let mut plugins = Plugins::several(place, number, is_first)?;
            let held = place.held()?;
            place.build(&plugins.changed(place))?;
            place.forget_artifacts_since(&held)?;
            sides.push((Series::new(format!("{number} plugins, the {which} one changed")), plugins));
        }
    }
    let mut first = rounds(place, sides)?;
    let last = first.split_off(PLUGINS.len());
    Ok((first, last))
}

/// Builds all sides in turn, each with a change.
fn rounds(place: &Place, mut sides: Vec<(Series, Plugins)>) -> Result<Vec<Series>> {
    for round in 1..=place.rounds {
        place.say(&format!("round {round} of {}", place.rounds));
        for (series, plugins) in &mut sides {
            let held = place.held()?;
            series.runs.push(place.build(&plugins.changed(place))?.run);
            place.forget_since(&held)?;
        }
    }
    Ok(sides.into_iter().map(|(series, _)| series).collect())
}

fn line(name: &str, series: &[Series], x: &[f64]) -> Line {
    let point = |(x, series): (&f64, &Series)| Spread::of(&series.walls()).map(|spread| (*x, spread));
    Line { name: name.into(), points: x.iter().zip(series).filter_map(point).collect() }
}

/// Formats what `step` more of `x` cost, from the first value to the last.
fn slope(series: &[Series], x: &[f64], step: f64) -> String {
    let ends = |values: &[f64]| values.first().copied().zip(values.last().copied());
    let medians: Vec<f64> =
        series.iter().filter_map(|series| Spread::of(&series.walls())).map(|spread| spread.median).collect();
    match (ends(&medians), ends(x)) {
        (Some((from, to)), Some((low, high))) => seconds(((to - from) / (high - low) * step).max(0.0)),
        _ => "?".into(),
    }
}
