//! Cost of a change of a finished image, where nothing below it has to be made anew: a plugin with many packages that
//! changed in one character, a package more, another time.

use std::ffi::OsString;
use std::fs;

use anyhow::{Context as _, Result};
use piimg_tests::bench::{Figure, Run, Series, Spread, Table, Target, seconds};
use piimg_tests::guest;
use piimg_tests::repository::{Key, Package, Repository, Server, Suite};

use crate::place::{Built, Place, replaced};

/// Number of packages that the guest lists.
const PACKAGES: usize = 300;

/// Text that the guest writes, of which the last six characters are the number of the change.
const MARK: &[u8] = b"change 000000";

/// Seconds that a change may cost beyond its own work.
const OVERHEAD: f64 = 10.0;

/// The method, for the report.
pub(crate) const METHOD: &str = "*A plugin with 300 packages* lists them in `conf()`, small ones of a made-up archive, and is \
     changed in one character. *A package more* is added to the recipe of that image without the plugin, whose packages lie \
     above the recipe's. *Another time* is another `SOURCE_DATE_EPOCH` for the image with the plugin. What each of them has to \
     do itself, the run of the plugin or the installation of the package, is told apart from all the rest: finding the \
     layers, and writing, checking and naming the image.";

/// One kind of change, and what it took.
pub(crate) struct Change {
    series: Series,
    /// The beginning of the title of the step that is the change itself; `None` if it asks for nothing to be made.
    own: Option<&'static str>,
    own_work: Vec<f64>,
}

impl Change {
    fn new(name: &str, own: Option<&'static str>) -> Self {
        Self { series: Series::new(name), own, own_work: Vec::new() }
    }

    fn add(&mut self, built: Built) -> Result<()> {
        let own = self.own.map_or(Ok(0.0), |title| built.timings.step(title))?;
        self.own_work.push(own);
        self.series.runs.push(Run { wall: built.timings.done(), ..built.run });
        Ok(())
    }

    /// Returns what is not the change's own work, round by round.
    fn overhead(&self) -> Vec<f64> {
        self.series.walls().iter().zip(&self.own_work).map(|(wall, own)| wall - own).collect()
    }

    /// Returns the overhead, as the report points it out.
    pub(crate) fn figure(&self) -> Option<Figure> {
        let what = format!("{}, beyond its own work", self.series.name);
        Figure::time(what, &self.overhead(), Some(Target::AtMost(OVERHEAD)))
    }

    pub(crate) fn into_series(self) -> Series {
        self.series
    }
}

/// Tabulates the changes side by side.
pub(crate) fn table(changes: &[Change]) -> Table {
    let median = |values: &[f64]| Spread::of(values).map_or_else(String::new, |spread| seconds(spread.median));
    let row = |change: &Change| {
        let walls = change.series.walls();
        vec![change.series.name.clone(), median(&walls), median(&change.own_work), median(&change.overhead())]
    };
    Table {
        head: ["change", "whole", "its own work", "the rest"].map(str::to_owned).to_vec(),
        rows: changes.iter().map(row).collect(),
    }
}

/// Measures them.
pub(crate) fn measure(place: &Place) -> Result<Vec<Change>> {
    let archive = Archive::new(place)?;
    let mut plugin = Change::new("a plugin with 300 packages", Some("Run the plugin test/lists"));
    let mut package = Change::new("a package more", Some("Install made-up-more"));
    let mut time = Change::new("another time", None);
    place.say("installing 300 packages");
    place.build_at(new_time(place), &archive.with_plugin(place)?)?;
    place.build_at(new_time(place), &archive.arguments)?;
    let held = place.held()?;
    for round in 1..=place.rounds {
        place.say(&format!("changes, round {round} of {}", place.rounds));
        let epoch = new_time(place);
        let with_plugin = archive.with_plugin(place)?;
        plugin.add(place.build_at(epoch, &with_plugin)?)?;
        time.add(place.build_at(new_time(place), &with_plugin)?)?;
        let more = ["--package".into(), "made-up-more".into()];
        package.add(place.build_at(epoch, &[&archive.arguments[..], &more].concat())?)?;
        place.forget_since(&held)?;
    }
    Ok(vec![plugin, package, time])
}

/// A recipe's own archive of small packages.
struct Archive {
    arguments: Vec<OsString>,
    _repository: Repository,
    _server: Server,
}

impl Archive {
    fn new(place: &Place) -> Result<Self> {
        let (key, mut repository) = (Key::new(), Repository::new());
        let names = (0..PACKAGES).map(|number| format!("made-up-{number:03}")).chain(["made-up-more".to_owned()]);
        let package =
            |name: String| Package::new(&name, "1.0", "all").file(&format!("/usr/share/{name}/about"), "made up\n");
        let suite = Suite::new("stable", &["arm64"]).component("main", names.map(package).collect());
        repository.publish(&suite, Some(&key));
        let server = Server::new(repository.path());
        let recipe = format!(
            "[[repository]]\nname = \"made-up\"\nurl = \"{}\"\nsuite = \"stable\"\ncomponents = [\"main\"]\n\
             keyring = \"made-up.gpg\"\n",
            server.url()
        );
        let directory = place.fresh("changes")?;
        fs::write(directory.join("made-up.gpg"), key.ring()).context("cannot write a key ring")?;
        fs::write(directory.join("piimg.toml"), recipe).context("cannot write a recipe")?;
        let arguments = vec!["--recipe".into(), directory.join("piimg.toml").into()];
        Ok(Self { arguments, _repository: repository, _server: server })
    }

    /// Arguments of a build with the plugin, in which it is another than in all builds before.
    fn with_plugin(&self, place: &Place) -> Result<Vec<OsString>> {
        let component = fs::read(guest("lists")).context("cannot read a guest")?;
        let mark = format!("change {:06}", place.new_number());
        let path = place.path("changes/lists.wasm");
        fs::write(&path, replaced(&component, MARK, mark.as_bytes())?).context("cannot write a guest")?;
        let more = ["--grant-requested".into(), "--plugin".into(), path.into()];
        Ok([&self.arguments[..], &more].concat())
    }
}

/// Returns a time that no image in the store has.
fn new_time(place: &Place) -> u64 {
    1_700_000_000 + u64::from(place.new_number())
}
