//! Putting an image together, against copying it.

use anyhow::{Context as _, Result};
use piimg_tests::bench::{Figure, Plot, Run, Section, Series, Table, bytes};

use crate::builds::CARRIED_MIB;
use crate::measure::{command, run};
use crate::place::{Place, Plugins, remove};

const METHOD: &str = "piimg copies the two partitions from its store into a sparse file, holes left out; `cp` copies the \
                      finished image to the same directory. The time of piimg is that of the step *Assemble the image* \
                      of a build in which nothing else is to be done.";

/// Ways of `cp` to copy a file with holes.
const COPIES: [(&str, &str); 3] = [
    ("cp --sparse=auto", "--sparse=auto"),
    ("cp --sparse=always", "--sparse=always"),
    ("cp --reflink=never", "--reflink=never"),
];

/// Measures it.
pub(crate) fn measure(place: &Place) -> Result<Section> {
    place.warm_up()?;
    let mut plugins = Plugins::carrying(place, CARRIED_MIB)?;
    let image = place.build(&plugins.changed(place))?.image;
    let (kept, copy) = (place.path("image"), place.path("copy"));
    std::fs::rename(&image, &kept).context("cannot keep the image")?;
    let length = std::fs::metadata(&kept).context("cannot look at the image")?.len();
    let mut assembled = Series::new("piimg, Assemble the image");
    let mut copies = COPIES.map(|(name, _)| Series::new(name));
    for round in 1..=place.rounds {
        place.say(&format!("round {round} of {}", place.rounds));
        let built = place.build(&plugins.unchanged())?;
        assembled.runs.push(Run { wall: built.timings.step("Assemble the image")?, ..Run::default() });
        remove(&place.path("images"))?;
        for (series, (_, flag)) in copies.iter_mut().zip(COPIES) {
            series.runs.push(run(command("cp").arg(flag).args([&kept, &copy]))?);
            remove(&copy)?;
        }
    }
    remove(&kept)?;
    let mut section = place.section("assembly", "Assembly of the image")?;
    section.method = vec![METHOD.to_owned(), format!("The image has {}.", bytes(length))];
    let ratio =
        |copy: &Series| Figure::ratio(format!("piimg / {}", copy.name), &assembled.walls(), &copy.walls(), None);
    section.figures = copies.iter().filter_map(ratio).collect();
    let slower = section.figures.iter().filter(|figure| figure.spread.median > 1.0).count();
    section.says = match slower {
        0 => "Putting the image together takes no longer than copying it.".into(),
        _ => format!("Copying the image is faster than putting it together in {slower} of {} ways.", COPIES.len()),
    };
    section.raw = std::iter::once(assembled).chain(copies).collect();
    section.tables = vec![Table::of_series(&section.raw)];
    section.plots = vec![Plot::of_series("An image, put together and copied", &section.raw)];
    Ok(section)
}
