//! Measured runs, and what is said of several of them.

use serde::{Deserialize, Serialize};

use super::words;

/// One measured run.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// Seconds by the clock.
    pub wall: f64,
    /// Seconds of processor time of all processes together, where it is known.
    pub cpu: Option<f64>,
    /// Bytes that came out, where they were of interest.
    pub bytes: Option<u64>,
    /// Parts of `wall`, in their order.
    pub parts: Vec<(String, f64)>,
}

/// All runs of one side of a comparison.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub runs: Vec<Run>,
    /// The reason why there are no runs.
    pub failed: Option<String>,
}

impl Series {
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), runs: Vec::new(), failed: None }
    }

    pub fn walls(&self) -> Vec<f64> {
        self.runs.iter().map(|run| run.wall).collect()
    }

    /// Returns the processor times, empty unless all runs know theirs.
    pub fn cpus(&self) -> Vec<f64> {
        self.runs.iter().map(|run| run.cpu).collect::<Option<_>>().unwrap_or_default()
    }

    /// Returns the length of what came out of the last run.
    pub fn bytes(&self) -> Option<u64> {
        self.runs.last()?.bytes
    }

    /// Returns the median of each part, in the order of the first run.
    pub fn parts(&self) -> Vec<(String, f64)> {
        let names = self.runs.first().map(|run| &run.parts).into_iter().flatten().map(|(name, _)| name);
        names
            .filter_map(|name| {
                let of_name = |run: &Run| run.parts.iter().find(|(other, _)| other == name).map(|(_, value)| *value);
                let values: Vec<f64> = self.runs.iter().filter_map(of_name).collect();
                Spread::of(&values).map(|spread| (name.clone(), spread.median))
            })
            .collect()
    }
}

/// The middle of several values, and how far they lie apart.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    pub min: f64,
    pub median: f64,
    pub max: f64,
}

impl Spread {
    /// Returns `None` for no values.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median =
            if sorted.len() % 2 == 1 { sorted[middle] } else { f64::midpoint(sorted[middle - 1], sorted[middle]) };
        Some(Self { min, median, max })
    }
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    Seconds,
    /// The ratio of one thing to another.
    Times,
}

/// The limit that a figure should keep.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    AtMost(f64),
    AtLeast(f64),
}

/// A number that the report points out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Figure {
    pub what: String,
    pub unit: Unit,
    pub spread: Spread,
    pub target: Option<Target>,
}

impl Figure {
    /// Returns how many times `b` is in `a`: of the medians, and round by round; `None` if a side was not measured.
    pub fn ratio(what: impl Into<String>, a: &[f64], b: &[f64], target: Option<Target>) -> Option<Self> {
        let by_round: Vec<f64> = a.iter().zip(b).map(|(a, b)| a / b).collect();
        let Spread { min, max, .. } = Spread::of(&by_round)?;
        let median = Spread::of(a)?.median / Spread::of(b)?.median;
        let spread = Spread { min: min.min(median), median, max: max.max(median) };
        Some(Self { what: what.into(), unit: Unit::Times, spread, target })
    }

    /// Returns a time in seconds; `None` if it was not measured.
    pub fn time(what: impl Into<String>, values: &[f64], target: Option<Target>) -> Option<Self> {
        Some(Self { what: what.into(), unit: Unit::Seconds, spread: Spread::of(values)?, target })
    }

    /// Formats a line of the report.
    pub fn line(&self) -> String {
        let Spread { min, median, max } = self.spread;
        let show = |value: f64| match self.unit {
            Unit::Seconds => words::seconds(value),
            Unit::Times => format!("{}×", words::number(value)),
        };
        let mut line = format!("{}: **{}**", self.what, show(median));
        if min < max {
            line += &format!(" ({} to {})", show(min), show(max));
        }
        let (word, value, met) = match self.target {
            None => return line,
            Some(Target::AtMost(value)) => ("most", value, median <= value),
            Some(Target::AtLeast(value)) => ("least", value, median >= value),
        };
        line + &format!("; target: at {word} {}, {}", show(value), if met { "met" } else { "**missed**" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_in_the_middle_whatever_the_order() {
        for (values, expected) in [
            (&[][..], None),
            (&[2.0], Some((2.0, 2.0, 2.0))),
            (&[3.0, 1.0], Some((1.0, 2.0, 3.0))),
            (&[9.0, 1.0, 2.0], Some((1.0, 2.0, 9.0))),
            (&[4.0, 1.0, 3.0, 2.0], Some((1.0, 2.5, 4.0))),
        ] {
            let found = Spread::of(values).map(|spread| (spread.min, spread.median, spread.max));
            assert_eq!(found, expected, "{values:?}");
        }
    }

    #[test]
    fn a_ratio_is_of_the_medians_and_spreads_by_round() {
        let figure = Figure::ratio("a / b", &[2.0, 4.0, 9.0], &[2.0, 1.0, 3.0], None).unwrap();
        assert_eq!(figure.spread, Spread { min: 1.0, median: 2.0, max: 4.0 });
        assert_eq!(Figure::ratio("a / b", &[], &[1.0], None), None);
        assert_eq!(Figure::ratio("a / b", &[1.0], &[], None), None);
        // Medians that no round has both of.
        let figure = Figure::ratio("a / b", &[1.0, 10.0, 100.0], &[1.0, 50.0, 5.0], None).unwrap();
        assert_eq!(figure.spread, Spread { min: 0.2, median: 2.0, max: 20.0 });
    }

    #[test]
    fn a_line_says_whether_the_target_is_met() {
        for (values, target, expected) in [
            (&[0.5][..], None, "x: **500 ms**"),
            (&[0.5, 1.5], None, "x: **1.00 s** (500 ms to 1.50 s)"),
            (&[10.0], Some(Target::AtMost(10.0)), "x: **10.0 s**; target: at most 10.0 s, met"),
            (&[12.0], Some(Target::AtMost(10.0)), "x: **12.0 s**; target: at most 10.0 s, **missed**"),
        ] {
            assert_eq!(Figure::time("x", values, target).unwrap().line(), expected);
        }
        let line = |a: f64| Figure::ratio("x", &[a], &[2.0], Some(Target::AtLeast(5.0))).unwrap().line();
        assert_eq!(line(10.0), "x: **5.00×**; target: at least 5.00×, met");
        assert_eq!(line(9.0), "x: **4.50×**; target: at least 5.00×, **missed**");
    }

    #[test]
    fn parts_have_the_order_of_the_first_run() {
        let run = |parts: &[(&str, f64)]| Run {
            parts: parts.iter().map(|(name, value)| ((*name).to_owned(), *value)).collect(),
            ..Run::default()
        };
        let mut series = Series::new("s");
        assert_eq!(series.parts(), []);
        series.runs = vec![run(&[("b", 1.0), ("a", 5.0)]), run(&[("a", 7.0), ("b", 3.0), ("late", 1.0)])];
        assert_eq!(series.parts(), [("b".to_owned(), 2.0), ("a".to_owned(), 6.0)]);
    }

    #[test]
    fn processor_time_is_known_of_all_runs_or_of_none() {
        let mut series = Series::new("s");
        series.runs = vec![Run { cpu: Some(1.0), ..Run::default() }, Run { cpu: Some(2.0), ..Run::default() }];
        assert_eq!(series.cpus(), [1.0, 2.0]);
        series.runs.push(Run::default());
        assert!(series.cpus().is_empty());
    }
}
