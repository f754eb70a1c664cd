//! Remembers how long steps took on this machine, so that it can be said how long they will.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Time below which a step is not worth a word: what comes from the store takes less.
const SHORTEST: Duration = Duration::from_secs(1);

/// Most titles that are remembered.
const MOST: usize = 1000;

/// Milliseconds that steps took, by their titles. All clones are one.
#[derive(Clone, Debug, Default)]
pub struct StepTimes(Arc<Mutex<BTreeMap<String, u64>>>);

impl StepTimes {
    /// Begins with what [`StepTimes::all`] returned once.
    pub fn new(known: BTreeMap<String, u64>) -> Self {
        Self(Arc::new(Mutex::new(known)))
    }

    /// Returns all that is known, to be kept.
    pub fn all(&self) -> BTreeMap<String, u64> {
        self.lock().clone()
    }

    /// Returns how long the step took the last time.
    pub(super) fn expected(&self, title: &str) -> Option<Duration> {
        self.lock().get(title).copied().map(Duration::from_millis)
    }

    /// Remembers how long the step took.
    pub(super) fn took(&self, title: &str, time: Duration) {
        if time < SHORTEST {
            return;
        }
        let mut times = self.lock();
        if times.len() >= MOST && !times.contains_key(title) {
            times.clear();
        }
        times.insert(title.to_owned(), u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, u64>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_time_counts_unless_it_came_from_the_store() {
        let times = StepTimes::new(BTreeMap::from([("Bootstrap".to_owned(), 90_000)]));
        assert_eq!(times.expected("Bootstrap"), Some(Duration::from_secs(90)));
        times.clone().took("Bootstrap", Duration::from_secs(80));
        times.took("Bootstrap", Duration::from_millis(1));
        times.took("Write", Duration::from_millis(999));
        assert_eq!(times.all(), BTreeMap::from([("Bootstrap".to_owned(), 80_000)]));
        assert_eq!(times.expected("Write"), None);
        for number in 0..MOST {
            times.took(&number.to_string(), Duration::from_secs(2));
        }
        assert!(times.all().len() <= MOST && times.expected("999").is_some());
    }
}
