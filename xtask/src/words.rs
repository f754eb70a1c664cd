//! Checks the words of doc comments, as far as a program can see them.
//!
//! A comment says what an item is or does: <https://rust-lang.github.io/rfcs/1574-more-api-documentation-conventions.html>.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};

/// Directories whose comments are checked.
const CHECKED: [&str; 9] = [
    "host/src",
    "host/capability/src",
    "host/sandbox/src",
    "xtask/src",
    "tests/src",
    "tests/benches",
    "plugins",
    "plugin-sdk/src",
    "plugin-sdk/test-kit",
];

/// Places whose comments on fields are the help of the command line, which may ask what a flag is about.
const HELP: [&str; 2] = ["host/src/cli/", "host/src/recipe/overrides.rs"];

/// Words that begin a riddle instead of a description.
const OPENERS: [&str; 12] =
    ["As", "How", "Likewise", "Of", "What", "Whatever", "Where", "Which", "Who", "Whoever", "Why", "Those"];

/// Phrases that hide `None`, or what is meant, from a search.
const PHRASES: [&str; 3] = ["none if", "is none", "likewise"];

/// A doc comment with the line of code that follows it.
struct Comment<'a> {
    line: usize,
    text: String,
    code: &'a str,
}

/// Checks the whole tree.
pub(crate) fn check() -> Result<()> {
    let mut findings = Vec::new();
    for directory in CHECKED {
        for file in sources(Path::new(directory))? {
            let name = file.to_string_lossy().into_owned();
            let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {name}"))?;
            let is_test = name.ends_with("tests.rs") || name.contains("/tests/");
            let production = if is_test { "" } else { text.split("\nmod tests {").next().unwrap_or_default() };
            let found = comments(production).into_iter().filter_map(|comment| {
                objection(&comment, HELP.iter().any(|place| name.starts_with(place)))
                    .map(|why| format!("{name}:{}: {why}", comment.line))
            });
            findings.extend(found);
        }
    }
    if !findings.is_empty() {
        bail!("comments that a newcomer cannot read (CONTRIBUTING.md, House rules):\n{}", findings.join("\n"));
    }
    Ok(())
}

/// Lists the Rust files below `directory`, sorted.
pub(crate) fn sources(directory: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list {}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        if path.is_dir() {
            files.extend(sources(&path)?);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Splits a source text into its doc comments.
fn comments(text: &str) -> Vec<Comment<'_>> {
    let lines: Vec<&str> = text.lines().map(str::trim_start).collect();
    let marker =
        |line: &str| ["///", "//!"].into_iter().find(|marker| line.starts_with(marker) && !line.starts_with("////"));
    let mut found = Vec::new();
    let mut at = 0;
    while at < lines.len() {
        let Some(kind) = marker(lines[at]) else {
            at += 1;
            continue;
        };
        let end = (at..lines.len()).find(|line| marker(lines[*line]) != Some(kind)).unwrap_or(lines.len());
        let words: Vec<&str> = lines[at..end].iter().map(|line| line[kind.len()..].trim()).collect();
        let code = if kind == "//!" { None } else { lines[end..].iter().find(|line| !line.starts_with("#[")) };
        found.push(Comment { line: at + 1, text: words.join(" "), code: code.copied().unwrap_or_default() });
        at = end;
    }
    found
}

/// Returns what is wrong with a comment, if anything is.
fn objection(comment: &Comment<'_>, is_help: bool) -> Option<String> {
    let first = comment.text.split([' ', ',', '.', ':', ';']).next().unwrap_or_default();
    if first == "#" {
        // Only errors or privileges are told: the name and the types say the rest.
    } else if is_function(comment.code) {
        let is_verb = first.len() > 2
            && first.ends_with('s')
            && first.starts_with(|c: char| c.is_ascii_uppercase())
            && !first.ends_with("'s");
        if !is_verb {
            return Some(format!("begins with `{first}`: a function's comment begins with a verb (\"Returns\")"));
        }
    } else if OPENERS.contains(&first) && !is_help {
        return Some(format!("begins with `{first}`: say what the item is"));
    }
    let lower = comment.text.to_lowercase();
    let phrase = PHRASES.iter().find(|phrase| {
        lower.match_indices(**phrase).any(|(at, found)| {
            let (before, after) = (&lower[..at], &lower[at + found.len()..]);
            // "there is none" and "is none of" are plain English, as is the end of another word before "if".
            !before.ends_with("there ")
                && !before.ends_with('`')
                && !after.starts_with(" of")
                && !after.starts_with('t')
        })
    })?;
    Some(format!("says \"{phrase}\": name `None`, or the case in which it is returned"))
}

/// Returns whether this line begins a function.
fn is_function(code: &str) -> bool {
    let item = match code.strip_prefix("pub(") {
        Some(visibility) => visibility.split_once(')').map_or("", |(_, item)| item),
        None => code.strip_prefix("pub ").unwrap_or(code),
    };
    let mut words = item.split_whitespace();
    words.find(|word| !matches!(*word, "const" | "unsafe" | "async" | "extern" | "\"C\"")) == Some("fn")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn riddles_are_found() {
        for (source, expected) in [
            ("/// Returns it.\nfn a() {}", None),
            ("/// A thing.\nstruct A;", None),
            ("/// What it is.\nstruct A;", Some("begins with `What`")),
            ("//! Where it is.\n", Some("begins with `Where`")),
            ("    /// Likewise.\n    #[must_use]\n    pub(super) fn a() {}", Some("begins with `Likewise`")),
            ("/// The value.\npub fn a() {}", Some("begins with `The`")),
            ("/// Its own; none if it has none.\nstruct A;", Some("says \"none if\"")),
            ("/// Reads it; `None` if it does not exist.\nfn a() {}", None),
            ("/// Reads a line.\n///\n/// # Errors\n/// If it is none.\nfn a() {}", Some("says \"is none\"")),
            ("/// A name, if there is none.\nstruct A;", None),
        ] {
            let found = comments(source);
            let said = found.iter().find_map(|comment| objection(comment, false));
            match expected {
                Some(expected) => {
                    assert!(said.as_ref().is_some_and(|said| said.contains(expected)), "{source}: {said:?}");
                }
                None => assert_eq!(said, None, "{source}"),
            }
        }
    }

    #[test]
    fn functions_are_told_from_other_items() {
        for (code, expected) in [
            ("fn a() {}", true),
            ("pub(in crate::image) fn a() {}", true),
            ("pub const fn a() {}", true),
            ("unsafe extern \"C\" fn a() {}", true),
            ("pub const A: fn() = a;", false),
            ("pub struct A;", false),
            ("", false),
        ] {
            assert_eq!(is_function(code), expected, "{code}");
        }
    }
}
