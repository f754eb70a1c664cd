//! Limits the time that a plugin keeps the build busy. Its own instructions are counted elsewhere; this counts host
//! functions.

use std::time::Duration;

/// Total for calls that run no program and use no network: copying and hashing the content of an image.
const OWN: Duration = Duration::from_secs(30 * 60);
/// Total for all calls, with those that have a limit of their own.
const ALL: Duration = Duration::from_secs(8 * 3600);

/// Time spent on the calls of one run.
#[derive(Debug, Default)]
pub(in crate::plugin) struct Spent {
    own: Duration,
    all: Duration,
}

impl Spent {
    pub(super) fn add(&mut self, time: Duration, is_own: bool) {
        self.all += time;
        if is_own {
            self.own += time;
        }
    }

    /// Returns the time limit that was exceeded, if one was.
    pub(super) fn exceeded(&self) -> Option<Duration> {
        [(self.own, OWN), (self.all, ALL)].into_iter().find_map(|(spent, limit)| (spent > limit).then_some(limit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn programs_have_longer_than_piimg_itself() {
        let minutes = |minutes: u64| Duration::from_secs(60 * minutes);
        for (own, programs, exceeded) in [
            (0, 0, None),
            (30, 450, None),
            (31, 0, Some(OWN)),
            (0, 31, None),
            (0, 481, Some(ALL)),
            (30, 451, Some(ALL)),
        ] {
            let mut spent = Spent::default();
            spent.add(minutes(own), true);
            spent.add(minutes(programs), false);
            assert_eq!(spent.exceeded(), exceeded, "{own} {programs}");
        }
    }
}
