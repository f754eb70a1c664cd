//! The pass over a finished image, against the programs that do the same one by one.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Context as _, Result, anyhow};
use piimg::image::compress::Compression;
use piimg::image::pass::pass;
use piimg_tests::bench::{Figure, Plot, Run, Section, Series, Table, bytes};

use crate::measure::{command, here, run};
use crate::place::{Place, remove};

/// Compressions that piimg is asked for, and whether each is measured without `--full`.
const COMPRESSIONS: [(&str, bool); 6] =
    [("zstd:1", true), ("zstd:3", true), ("zstd:10", true), ("zstd:19", false), ("xz:1", true), ("xz:6", false)];

const METHOD: &str = "An image of the release alone. piimg reads it once, for its checksum, its block map and the \
                      compressed file with the checksum of that; `zstd`, `xz` and `sha256sum` do the one thing that they \
                      are named for. All of them use all cores where they can.";

/// Measures it.
pub(crate) fn measure(place: &Place) -> Result<Section> {
    let built = place.warm_up()?;
    let (image, out) = (place.path("image"), place.path("compressed"));
    fs::rename(&built.image, &image).context("cannot keep the image")?;
    let mut pairs = vec![(None, Series::new("piimg, checksums and block map"), Series::new("sha256sum"))];
    for (text, is_quick) in COMPRESSIONS {
        if is_quick || place.full {
            let compression = Compression::parse(text).map_err(|rule| anyhow!("`{text}` {rule}"))?;
            let compression = compression.context("`none` does not compress")?;
            pairs.push((Some(compression), Series::new(format!("piimg, {text}")), Series::new(program(compression).0)));
        }
    }
    for round in 1..=place.rounds {
        for (compression, piimg, other) in &mut pairs {
            place.say(&format!("round {round} of {}: {}", place.rounds, other.name));
            piimg.runs.push(by_piimg(&image, &out, *compression)?);
            other.runs.push(by_program(&image, &out, *compression)?);
        }
    }
    let length = fs::metadata(&image).context("cannot look at the image")?.len();
    remove(&image)?;
    let mut section = place.section("compression", "Compression")?;
    section.method = vec![METHOD.to_owned(), format!("The image has {}.", bytes(length))];
    let ratio = |(_, piimg, other): &(_, Series, Series)| {
        Figure::ratio(format!("{} / {}", piimg.name, other.name), &piimg.walls(), &other.walls(), None)
    };
    section.figures = pairs.iter().filter_map(ratio).collect();
    let faster = section.figures.iter().filter(|figure| figure.spread.median <= 1.0).count();
    section.says = format!(
        "One pass of piimg takes no longer than the program that does a part of it in {faster} of {} cases.",
        section.figures.len()
    );
    section.raw = pairs.into_iter().flat_map(|(_, piimg, other)| [piimg, other]).collect();
    section.tables = vec![Table::of_series(&section.raw)];
    section.plots = vec![Plot::of_series("An image, read and compressed", &section.raw)];
    Ok(section)
}

/// Returns the command line that does the same, and the flags of it.
fn program(compression: Compression) -> (String, &'static str, [String; 3]) {
    let (program, level) = match compression {
        Compression::Zstd(level) => ("zstd", level),
        Compression::Xz(level) => ("xz", level),
    };
    (format!("{program} -T0 -{level}"), program, ["-T0".into(), format!("-{level}"), "--stdout".into()])
}

fn by_piimg(image: &Path, out: &Path, compression: Option<Compression>) -> Result<Run> {
    let image = File::open(image).context("cannot open the image")?;
    let file = File::create(out).context("cannot create the compressed image")?;
    let (run, _) = here(|| pass(&image, compression.map(|compression| (compression, &file)), &mut |_| true))?;
    finish(run, out, compression)
}

fn by_program(image: &Path, out: &Path, compression: Option<Compression>) -> Result<Run> {
    let file = File::create(out).context("cannot create the compressed image")?;
    let run = match compression {
        None => run(command("sha256sum").arg(image))?,
        Some(compression) => {
            let (_, program, flags) = program(compression);
            run(command(program).args(flags).arg(image).stdout(file))?
        }
    };
    finish(run, out, compression)
}

/// Adds the length of what came out.
fn finish(run: Run, out: &Path, compression: Option<Compression>) -> Result<Run> {
    let length = fs::metadata(out).context("there is no compressed image")?.len();
    remove(out)?;
    Ok(Run { bytes: compression.map(|_| length), ..run })
}
