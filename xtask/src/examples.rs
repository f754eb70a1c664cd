//! Checks that the SDK shows how each of its public items is used: plugin authors read it on the web, not here.

use std::path::Path;

use anyhow::{Context as _, Result, bail};

use crate::words::sources;

/// Directory of the crate.
const SDK: &str = "plugin-sdk/src";

/// Beginnings of items that need an example. What is written in an `impl` is shown by the example of its type.
const ITEMS: [&str; 5] = ["pub fn ", "pub const fn ", "pub struct ", "pub enum ", "pub trait "];

/// Words that send the reader to the item that has the example.
const REFERENCES: [&str; 4] = ["see [`", "See [`", "As [`", "as [`"];

/// Checks all files of the crate.
pub(crate) fn check() -> Result<()> {
    let mut missing = Vec::new();
    for file in sources(Path::new(SDK))? {
        let text = std::fs::read_to_string(&file).with_context(|| format!("cannot read {}", file.display()))?;
        let items = without_examples(&text);
        missing.extend(items.into_iter().map(|(line, item)| format!("{}:{line}: {item}", file.display())));
    }
    if !missing.is_empty() {
        bail!("items without an example that compiles, or a word where there is one:\n{}", missing.join("\n"));
    }
    Ok(())
}

/// Lists the public items at the top of a module that have neither an example nor a reference to one.
fn without_examples(text: &str) -> Vec<(usize, &str)> {
    let production = text.split("\nmod tests {").next().unwrap_or_default();
    // What the macro and its bindings need is nobody's to call.
    let production = production.split("\npub mod __private {").next().unwrap_or_default();
    let (mut found, mut comment) = (Vec::new(), String::new());
    for (at, line) in production.lines().enumerate() {
        if let Some(words) = line.strip_prefix("///") {
            comment.push_str(words);
            comment.push('\n');
        } else if !line.starts_with("#[") {
            let is_shown = comment.contains("```") || REFERENCES.iter().any(|words| comment.contains(words));
            if let Some(rest) = ITEMS.iter().find_map(|item| line.strip_prefix(item)).filter(|_| !is_shown) {
                found.push((at + 1, rest.split(['(', '<', ' ', ';']).next().unwrap_or(rest)));
            }
            comment.clear();
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_item_is_shown_or_says_where() {
        for (source, expected) in [
            ("/// Makes it.\npub fn make() {}", &["make"][..]),
            ("/// Makes it.\n#[must_use]\npub const fn make<'a>() {}", &["make"]),
            ("/// Makes it.\n///\n/// ```\n/// make();\n/// ```\npub fn make() {}", &[]),
            ("/// A thing; see [`make`].\npub struct Thing;", &[]),
            ("/// A thing.\npub struct Thing;", &["Thing"]),
            ("/// A thing.\nstruct Thing;\nimpl Thing {\n    /// Makes it.\n    pub fn make() {}\n}", &[]),
            ("pub mod __private {\n}\n", &[]),
        ] {
            let names: Vec<&str> = without_examples(source).into_iter().map(|(_, name)| name).collect();
            assert_eq!(names, expected, "{source}");
        }
    }
}
