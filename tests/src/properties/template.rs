//! Capabilities with parameters: a value makes a name, never a segment, a wildcard or an argument more.

use std::collections::BTreeMap;

use piimg::plugin::{Capability, Template};

use super::naive::{assert_printable, choices, word, words};

const BEGINNINGS: [&str; 12] = [
    "fs:write:/",
    "fs:read:/home/{params.a}",
    "exec:sh ",
    "exec:sh -c {params.b}",
    "pkg:install:",
    "svc:enable:{params.a}.service",
    "user:keys:",
    "net:https://example.org/",
    "net:https://",
    "boot:config:",
    "asset:",
    "",
];
const PIECES: [&str; 14] = [
    "{params.a}",
    "{params.b}",
    "{params.a}",
    "{params.b}",
    "{params.",
    "}",
    "example.org",
    ":8080",
    ".service",
    "/",
    "*",
    " ",
    "x",
    "é",
];

const VALUES: [&str; 16] =
    ["ann", "x", "1", "8080", "", ".", "..", "/", "a/b", "*", "a b", "{params.a}", "a\n", "\u{202e}", "é", "root"];

pub(super) fn check(data: &[u8]) -> bool {
    choices(data, |input| {
        let values: BTreeMap<String, String> =
            [("a".to_owned(), word(input, &VALUES)?), ("b".to_owned(), word(input, &VALUES)?)].into();
        let text = format!("{}{}", input.choose(&BEGINNINGS)?, words(input, &PIECES, 5)?.concat());
        let Ok(template) = Template::parse(&text) else { return Ok(false) };
        let filled = match template.fill(&values) {
            Ok(filled) => filled,
            Err(error) => {
                assert_printable(&error.to_string());
                return Ok(false);
            }
        };
        // Put in by hand, it is the same capability.
        let by_hand = text.replace("{params.a}", "\0").replace("{params.b}", &values["b"]).replace('\0', &values["a"]);
        assert_eq!(Capability::parse(&by_hand).as_ref(), Ok(&filled), "{text:?} with {values:?}");
        let placed = text.replace("{params.a}", "x").replace("{params.b}", "x");
        let printed = filled.to_string();
        for c in ['/', '*', '{', '}', '\n'] {
            assert_eq!(printed.matches(c).count(), placed.matches(c).count(), "{text:?} with {values:?}: {printed:?}");
        }
        if text.starts_with("exec:") {
            assert_eq!(printed.split(' ').count(), placed.split(' ').count(), "{text:?} with {values:?}: {printed:?}");
        }
        assert!(!printed.split('/').any(|part| part == ".."), "{text:?} with {values:?}: {printed:?}");
        Ok(template.params().next().is_some())
    })
}
