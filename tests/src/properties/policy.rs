//! The site's policy: read or refused, and the same after it was passed on to the build.

use std::path::Path;

use piimg::plugin::policy::Ceiling;

use super::naive::text;

pub(super) fn check(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let Ok(ceiling) = Ceiling::parse(&[(Path::new("policy.toml"), text.to_owned())]) else { return false };
    let passed = serde_json::to_vec(&ceiling).expect("it is plain data");
    let again: Ceiling = serde_json::from_slice(&passed).unwrap_or_else(|error| panic!("{error} after {text:?}"));
    assert_eq!(again, ceiling, "{text:?}");
    let limits = ceiling.limits("a/b", &format!("sha256:{}", "a".repeat(64)));
    assert_eq!(limits.len(), 1, "one file bounds every plugin");
    true
}
