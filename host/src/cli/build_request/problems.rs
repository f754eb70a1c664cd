//! Collects the problems of a build from several checks, so that nobody has to start again for the second.

use crate::error::{Failure, Kind, Result, report};

/// Collects the errors of checks.
#[derive(Debug, Default)]
pub(super) struct Problems(Vec<anyhow::Error>);

impl Problems {
    /// Returns the result of a check; `None` if it is an error, which is kept.
    pub(super) fn take<T>(&mut self, result: Result<T>) -> Option<T> {
        result.map_err(|error| self.0.push(error)).ok()
    }

    pub(super) fn add(&mut self, failure: Failure) {
        self.0.push(failure.into());
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns all of it as one error: what the user did comes first, and says the kind.
    pub(super) fn all(mut self) -> anyhow::Error {
        if self.0.len() == 1 {
            return self.0.remove(0);
        }
        let mut reports: Vec<_> = self.0.iter().map(report).collect();
        reports.sort_by_key(|report| order(report.kind));
        let Some(kind) = reports.first().map(|report| report.kind) else {
            return Failure::bug("an order was not made, and nothing was wrong with it").into();
        };
        let texts: Vec<String> = reports.iter().map(|report| report.messages.join(": ")).collect();
        let findings: Vec<String> = texts.iter().flat_map(|text| items(text)).collect();
        let text = format!("{} things are wrong with this build:\n  - {}", findings.len(), findings.join("\n  - "));
        let hints = reports.into_iter().flat_map(|report| report.hints);
        hints.fold(Failure::new(kind, text), Failure::hint).into()
    }
}

/// Returns the findings of one message: a line that is not indented begins another one.
fn items(text: &str) -> Vec<String> {
    let mut items: Vec<String> = Vec::new();
    for line in text.lines() {
        match items.last_mut() {
            Some(last) if line.starts_with(' ') => *last += &format!("\n  {line}"),
            _ => items.push(line.to_owned()),
        }
    }
    items
}

/// Returns the rank of a kind of problem: first what a word can fix, then what needs a machine, then what needs
/// consent.
fn order(kind: Kind) -> u8 {
    match kind {
        Kind::Usage => 0,
        Kind::Host => 1,
        Kind::Grant => 2,
        _ => 3,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::with_cause;

    #[test]
    fn all_problems_are_one_error() {
        let mut problems = Problems::default();
        assert_eq!(problems.take(Ok(7)), Some(7));
        assert!(problems.is_empty());
        let none: Option<()> = problems.take(Err(Failure::grant("it needs:\n  a\n  b").hint("grant it").into()));
        assert_eq!(none, None);
        problems.take::<()>(Err(Failure::usage("one\nanother").hint("correct it").into()));
        problems.take::<()>(Err(with_cause(anyhow::anyhow!("cause"), Failure::host("no room"))));
        let report = report(&problems.all());
        assert_eq!(report.kind, Kind::Usage);
        let expected = "4 things are wrong with this build:\n  - one\n  - another\n  - no room: cause\n  - it needs:\n    a\n    b";
        assert_eq!(
            (report.messages, report.hints),
            (vec![expected.to_owned()], vec!["correct it".into(), "grant it".into()])
        );
    }

    #[test]
    fn a_single_problem_stays_as_it_is() {
        let mut problems = Problems::default();
        problems.take::<()>(Err(with_cause(anyhow::anyhow!("cause"), Failure::host("no room"))));
        assert_eq!(report(&problems.all()).messages, ["no room", "cause"]);
    }
}
