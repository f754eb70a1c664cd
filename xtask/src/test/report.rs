//! Reports where the time of a test run went, for people who decide what to make faster. Nothing is asserted.

use std::collections::BTreeMap;
use std::fmt::{Display, Formatter};
use std::time::{Duration, Instant};

use super::minutes;

/// A test that takes longer is listed by name.
const LONG: Duration = Duration::from_secs(20);

/// Times of the phases of a run, and of each test.
#[derive(Default)]
pub(super) struct Report {
    phases: Vec<(&'static str, Duration)>,
    /// Name of the test program and of the test → time.
    tests: BTreeMap<(String, String), Duration>,
}

impl Report {
    /// Runs `phase` and keeps the time that it took, failed or not.
    pub(super) fn time<T>(&mut self, name: &'static str, phase: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let result = phase();
        self.add(name, start.elapsed());
        result
    }

    /// Adds a phase.
    pub(super) fn add(&mut self, name: &'static str, time: Duration) {
        self.phases.push((name, time));
    }

    /// Takes the time of a test from a line of cargo-nextest; other lines mean nothing.
    pub(super) fn read(&mut self, line: &str) {
        if let Some((program, test, time)) = parse(line) {
            // What failed is said again at the end.
            self.tests.entry((program.to_owned(), test.to_owned())).or_insert(time);
        }
    }
}

/// Understands `PASS [   1.234s] ( 1/20) program test`, whatever the outcome.
fn parse(line: &str) -> Option<(&str, &str, Duration)> {
    let (outcome, rest) = line.trim_start().split_once(" [")?;
    if !["PASS", "FAIL", "LEAK", "ABORT", "SIGKILL", "SIGABRT", "SIGSEGV", "LEAK-FAIL"].contains(&outcome) {
        return None;
    }
    let (seconds, rest) = rest.split_once("s] ")?;
    let time = Duration::try_from_secs_f64(seconds.trim().parse().ok()?).ok()?;
    // The number of the test, in newer versions.
    let rest = rest.strip_prefix('(').and_then(|rest| Some(rest.split_once(") ")?.1)).unwrap_or(rest);
    let (program, test) = rest.trim_start().split_once(' ')?;
    Some((program, test, time))
}

impl Display for Report {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "where the time went")?;
        for (name, time) in &self.phases {
            writeln!(f, "  {:>12}  {name}", minutes(*time))?;
        }
        let mut programs: BTreeMap<&str, (usize, Duration)> = BTreeMap::new();
        for ((program, _), time) in &self.tests {
            let (count, sum) = programs.entry(program).or_default();
            *count += 1;
            *sum += *time;
        }
        let mut programs: Vec<_> = programs.into_iter().collect();
        programs.sort_by_key(|(_, (_, sum))| std::cmp::Reverse(*sum));
        writeln!(f, "\ntest programs; their tests' times added up, though several ran at once")?;
        for (program, (count, sum)) in programs {
            writeln!(f, "  {:>12}  {count:>4}  {program}", minutes(sum))?;
        }
        let mut long: Vec<_> = self.tests.iter().filter(|(_, time)| **time > LONG).collect();
        long.sort_by_key(|(_, time)| std::cmp::Reverse(**time));
        writeln!(f, "\ntests over {}", minutes(LONG))?;
        for ((program, test), time) in long {
            writeln!(f, "  {:>12}  {program} {test}", minutes(*time))?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_the_runner_are_understood() {
        let seconds = |text| Some(("piimg-tests::system", text, Duration::from_millis(61_500)));
        for (line, expected) in [
            ("        PASS [  61.500s] ( 12/460) piimg-tests::system it_boots", seconds("it_boots")),
            ("        PASS [  61.500s] piimg-tests::system it_boots", seconds("it_boots")),
            ("        FAIL [  61.500s] (  1/460) piimg-tests::system a::b", seconds("a::b")),
            ("        SLOW [> 60.000s] (───────) piimg-tests::system it_boots", None),
            ("    Starting 460 tests across 13 binaries", None),
            ("PASS [what a test prints] by itself", None),
        ] {
            assert_eq!(parse(line), expected, "{line}");
        }
    }

    #[test]
    fn what_takes_long_comes_first() {
        let mut report = Report::default();
        report.add("run the tests", Duration::from_secs(90));
        for line in [
            "PASS [ 21.0s] (1/4) b slow",
            "PASS [ 0.5s] (2/4) a quick",
            "FAIL [ 30.0s] (3/4) b slower",
            "FAIL [ 31.0s] (3/4) b slower",
        ] {
            report.read(line);
        }
        let text = report.to_string();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        assert_eq!(
            lines,
            [
                "where the time went",
                "90.0 s  run the tests",
                "",
                "test programs; their tests' times added up, though several ran at once",
                "51.0 s     2  b",
                "0.5 s     1  a",
                "",
                "tests over 20.0 s",
                "30.0 s  b slower",
                "21.0 s  b slow",
            ]
        );
    }
}
