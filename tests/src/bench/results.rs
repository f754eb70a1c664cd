//! All that is kept of the benchmarks, raw numbers included: the report can be made again without measuring.

use serde::{Deserialize, Serialize};

use super::sample::{Figure, Series, Spread};
use super::words;

/// `results.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Results {
    pub machine: Machine,
    pub sections: Vec<Section>,
}

/// The machine and the programs that were measured with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Machine {
    pub cpu: String,
    pub cores: usize,
    pub memory: String,
    pub kernel: String,
    /// Names of programs, and what they say they are.
    pub versions: Vec<(String, String)>,
}

/// One benchmark on one file system.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Section {
    /// The benchmark's name on the command line.
    pub name: String,
    pub title: String,
    pub file_system: String,
    pub date: String,
    /// The commit of the repository, where it is known.
    pub commit: Option<String>,
    pub rounds: usize,
    pub full: bool,
    /// The method, a paragraph each.
    pub method: Vec<String>,
    /// Words of programs, each with a caption.
    pub quotes: Vec<(String, String)>,
    pub tables: Vec<Table>,
    pub figures: Vec<Figure>,
    pub plots: Vec<Plot>,
    /// The conclusion, in one sentence.
    pub says: String,
    pub raw: Vec<Series>,
}

/// A table of the report.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub head: Vec<String>,
    pub rows: Vec<Vec<String>>,
}

/// A picture of the report; values are seconds unless it says something else.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Plot {
    /// Values beside each other, with their spread.
    Bars { title: String, bars: Vec<Bar> },
    /// Values made of parts.
    Stacks { title: String, stacks: Vec<Stack> },
    /// Values that follow from another.
    Lines { title: String, x: String, lines: Vec<Line> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Bar {
    pub name: String,
    pub spread: Spread,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stack {
    pub name: String,
    pub parts: Vec<(String, f64)>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Line {
    pub name: String,
    pub points: Vec<(f64, Spread)>,
}

impl Results {
    /// Takes over the sections of `older` that were not measured again, if they are of the same machine.
    #[must_use]
    pub fn over(mut self, older: Self) -> Self {
        if older.machine == self.machine {
            let is_new = |old: &Section| {
                !self.sections.iter().any(|new| (&new.name, &new.file_system) == (&old.name, &old.file_system))
            };
            let kept: Vec<Section> = older.sections.into_iter().filter(is_new).collect();
            self.sections.extend(kept);
        }
        self
    }

    /// Sections in the order of `names`.
    pub fn sort(&mut self, names: &[&str]) {
        self.sections.sort_by_key(|section| names.iter().position(|name| *name == section.name));
    }
}

impl Section {
    /// Returns the name of the file with the plot of this number, counted from 0.
    pub fn plot_file(&self, number: usize) -> String {
        let number = if number == 0 { String::new() } else { format!("-{}", number + 1) };
        format!("{}-{}{number}.svg", self.name, self.file_system)
    }
}

impl Table {
    /// Tabulates time, processor time and length of what came out, as far as they are known.
    pub fn of_series(series: &[Series]) -> Self {
        let has_cpu = series.iter().any(|series| !series.cpus().is_empty());
        let has_bytes = series.iter().any(|series| series.bytes().is_some());
        let mut head = vec![String::new(), "time".into(), "spread".into()];
        if has_cpu {
            head.extend(["processor time".into(), "spread".into()]);
        }
        if has_bytes {
            head.push("length".into());
        }
        let row = |series: &Series| {
            let mut row = vec![series.name.clone()];
            if series.failed.is_some() {
                row.push("fails".into());
            } else {
                row.extend(cells(&series.walls()));
                row.extend(has_cpu.then(|| cells(&series.cpus())).into_iter().flatten());
                row.extend(has_bytes.then(|| series.bytes().map_or_else(String::new, words::bytes)));
            }
            row.resize(head.len(), String::new());
            row
        };
        Self { rows: series.iter().map(row).collect(), head: head.clone() }
    }
}

/// Returns the median, and the two ends.
fn cells(values: &[f64]) -> [String; 2] {
    Spread::of(values).map_or_else(Default::default, |Spread { min, median, max }| {
        [words::seconds(median), format!("{} – {}", words::seconds(min), words::seconds(max))]
    })
}

impl Plot {
    /// Draws a bar for the time of each series that was measured.
    pub fn of_series(title: impl Into<String>, series: &[Series]) -> Self {
        let bar = |series: &Series| Spread::of(&series.walls()).map(|spread| Bar { name: series.name.clone(), spread });
        Self::Bars { title: title.into(), bars: series.iter().filter_map(bar).collect() }
    }

    pub fn title(&self) -> &str {
        match self {
            Self::Bars { title, .. } | Self::Stacks { title, .. } | Self::Lines { title, .. } => title,
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::super::sample::Run;
    use super::*;

    pub(crate) fn section(name: &str, file_system: &str) -> Section {
        Section {
            name: name.into(),
            title: format!("About {name}"),
            file_system: file_system.into(),
            date: "2026-11-24".into(),
            commit: Some("0123abcd".into()),
            rounds: 3,
            full: false,
            method: vec!["As usual.".into()],
            quotes: vec![("It said:".into(), "no\nwhy".into())],
            tables: vec![Table { head: vec!["a".into()], rows: vec![vec!["1 | 2".into()]] }],
            figures: Figure::time("x", &[1.0], None).into_iter().collect(),
            plots: vec![Plot::Bars { title: "Bars".into(), bars: Vec::new() }],
            says: "It is fast.".into(),
            raw: Vec::new(),
        }
    }

    #[test]
    fn older_sections_stay_if_the_machine_is_the_same() {
        let of = |sections: Vec<Section>, cores| Results { machine: Machine { cores, ..Machine::default() }, sections };
        let old = Section { says: "Old.".into(), ..section("a", "ext4") };
        let old = of(vec![old, section("a", "tmpfs"), section("b", "ext4")], 2);
        let mut merged = of(vec![section("a", "ext4"), section("c", "ext4")], 2).over(old.clone());
        merged.sort(&["a", "b", "c"]);
        let found: Vec<_> =
            merged.sections.iter().map(|s| (s.name.as_str(), s.file_system.as_str(), s.says.as_str())).collect();
        assert_eq!(
            found,
            [
                ("a", "ext4", "It is fast."),
                ("a", "tmpfs", "It is fast."),
                ("b", "ext4", "It is fast."),
                ("c", "ext4", "It is fast."),
            ]
        );
        let other = of(vec![section("c", "ext4")], 4).over(old);
        assert_eq!(other.sections.len(), 1);
    }

    #[test]
    fn a_table_has_the_columns_that_something_is_known_for() {
        let run = |wall, cpu| Run { wall, cpu, ..Run::default() };
        let mut a = Series::new("a");
        a.runs = vec![run(1.0, None), run(3.0, None)];
        assert_eq!(Table::of_series(&[a.clone()]).head, ["", "time", "spread"]);
        let mut b = Series::new("b");
        b.runs = vec![Run { bytes: Some(1 << 20), ..run(5.0, Some(6.0)) }];
        let c = Series { failed: Some("why".into()), ..Series::new("c") };
        let table = Table::of_series(&[a, b, c]);
        assert_eq!(table.head, ["", "time", "spread", "processor time", "spread", "length"]);
        assert_eq!(
            table.rows,
            [
                ["a", "2.00 s", "1.00 s – 3.00 s", "", "", ""],
                ["b", "5.00 s", "5.00 s – 5.00 s", "6.00 s", "6.00 s – 6.00 s", "1 MiB"],
                ["c", "fails", "", "", "", ""],
            ]
        );
    }
}
