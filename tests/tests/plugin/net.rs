//! The interface `net`; the server is made up.

use super::*;

#[test]
fn downloads_are_made_from_granted_addresses_only() {
    let (ran, told) = settings(image(), "net", &all());
    let expected = [
        "install: ()",
        "moved: 6",
        "away: needs net:https://evil.org/x",
        "down: cannot download `https://example.org/pub/down`: it leads from https to http",
        "round: `https://example.org/pub/round` is the end of more than 5 redirections",
        "changed: `https://example.org/pub/changed` has the digest sha256:d67e2e944994496c8d8ec76eed0cf9f09679448d584b532bebf941852a37f5ed, not sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03",
        "dots: cannot download `https://example.org/pub/../secret`: its path has `.`, `..` or `//` in it",
        "coded dots: cannot download `https://example.org/pub/%2e%2e/secret`: its path has `%2e`, which servers read differently",
        "user: cannot download `https://example.org@evil.org/pub/hello`: it has a user or password in it",
        "unencrypted: needs net:http://example.org/pub/hello",
        "unpinned: `` is no digest: `sha256:` and 64 hexadecimal digits in lowercase",
    ];
    assert_eq!(told, expected);
    assert_eq!(ran.read("opt/file").as_deref(), Some("hello\n"));
    assert!(ran.requests.iter().all(|url| url.starts_with("https://") && !url.contains("evil")), "{:?}", ran.requests);
    assert!(ran.requests.contains(&"https://a.files.example.org/x?signed=1".to_owned()));
}

#[test]
fn without_grant_nothing_is_downloaded() {
    let (ran, told) = settings(image(), "net", &Granted::default());
    assert_eq!(told[0], "install: needs net:https://example.org/pub/hello");
    assert_eq!((ran.requests.len(), ran.read("opt/file")), (0, None));
}
