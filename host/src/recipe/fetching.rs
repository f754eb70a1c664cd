//! Configures downloads from archives. None of it changes what is fetched, so it is part of no key.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Default number of retries after a temporary failure: apt's own.
const RETRIES: u32 = 3;
/// Seconds without an answer after which a fetch has failed: apt's own number.
const TIMEOUT_SECONDS: u32 = 30;

/// Before the second try; before each further one it is twice as long.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// No pause is longer.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Settings of downloads from archives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Fetching {
    /// Proxy through which apt asks for http and https addresses; by default that of the environment or the host's apt.
    pub proxy: Option<String>,
    /// Further tries after a temporary failure.
    pub retries: u32,
    /// Seconds without an answer after which a try has failed.
    pub timeout_seconds: u32,
    /// Whether nothing is fetched at all: only what the store holds is used.
    pub offline: bool,
}

impl Default for Fetching {
    fn default() -> Self {
        Self { proxy: None, retries: RETRIES, timeout_seconds: TIMEOUT_SECONDS, offline: false }
    }
}

impl Fetching {
    /// # Errors
    /// What is wrong, in words that name it.
    pub fn check(&self) -> Result<(), String> {
        if self.retries > 100 {
            return Err("`retries` must be at most 100".into());
        }
        if !(1..=3600).contains(&self.timeout_seconds) {
            return Err("`timeout-seconds` must be from 1 to 3600".into());
        }
        Ok(())
    }

    /// Returns the pause before each further try. They grow, so that a busy server gets relief.
    pub fn pauses(&self) -> impl Iterator<Item = Duration> + use<> {
        std::iter::successors(Some(FIRST_PAUSE), |pause| Some(LONGEST_PAUSE.min(*pause * 2)))
            .take(usize::try_from(self.retries).unwrap_or(usize::MAX))
    }

    /// Options of apt, and their values.
    pub fn apt_options(&self) -> Vec<(&'static str, String)> {
        let timeout = self.timeout_seconds.to_string();
        let mut options = vec![
            ("Acquire::Retries", self.retries.to_string()),
            ("Acquire::http::Timeout", timeout.clone()),
            ("Acquire::https::Timeout", timeout),
        ];
        if let Some(proxy) = &self.proxy {
            // Also where the host's own apt is told otherwise.
            options.extend([("Acquire::http::Proxy", proxy.clone()), ("Acquire::https::Proxy", proxy.clone())]);
        }
        options
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_beyond_any_sense_are_refused() {
        assert_eq!(Fetching::default().check(), Ok(()));
        let error = |fetching: Fetching| fetching.check().unwrap_err();
        assert!(error(Fetching { retries: 101, ..Fetching::default() }).contains("at most 100"));
        assert!(error(Fetching { timeout_seconds: 0, ..Fetching::default() }).contains("from 1 to 3600"));
    }

    #[test]
    fn pauses_become_longer_up_to_a_bound() {
        let seconds = |retries| -> Vec<u64> {
            Fetching { retries, ..Fetching::default() }.pauses().map(|pause| pause.as_secs()).collect()
        };
        assert_eq!(seconds(0), [0; 0]);
        assert_eq!(seconds(7), [1, 2, 4, 8, 16, 30, 30]);
    }

    #[test]
    fn apt_is_told_of_a_proxy_only_if_there_is_one() {
        let names =
            |fetching: &Fetching| -> Vec<&str> { fetching.apt_options().into_iter().map(|(name, _)| name).collect() };
        let mut fetching = Fetching::default();
        assert_eq!(names(&fetching), ["Acquire::Retries", "Acquire::http::Timeout", "Acquire::https::Timeout"]);
        fetching.proxy = Some("http://cache:3142".into());
        assert_eq!(names(&fetching)[3..], ["Acquire::http::Proxy", "Acquire::https::Proxy"]);
    }
}
