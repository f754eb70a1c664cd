//! Makes `docs/host-functions.md`, the reference of the contract, from the comments in `wit/`.
//!
//! It reads the files line by line, as they are written here: a comment, attributes, then one item
//! (<https://component-model.bytecodealliance.org/design/wit.html>). Whether they are valid WIT is checked by the build.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};

/// Beginning of the page.
const HEAD: &str = "\
# Host functions

Made from `wit/` by `cargo xtask docs`; do not edit. A plugin written with the SDK calls these through its modules of the
same names ([plugins/README.md](../plugins/README.md)). Each function fails with an error code and, where a grant is
missing, with the narrowest capability that would have allowed the call.
";

/// An item of an interface: its comment, and its text without comments.
#[derive(Debug, PartialEq, Eq)]
struct Item {
    comment: String,
    text: String,
}

impl Item {
    /// Returns whether this is a function of the interface itself, and no resource with functions of its own.
    fn is_function(&self) -> bool {
        self.text.lines().next().is_some_and(|line| line.contains(": func("))
    }
}

/// Makes the page of the interfaces in `directory`, in the order of their names.
pub(crate) fn page(directory: &Path) -> Result<String> {
    let failed = || format!("cannot list {}", directory.display());
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory).with_context(failed)? {
        files.push(entry.with_context(failed)?.path());
    }
    files.sort();
    let mut page = HEAD.to_owned();
    for file in files.iter().filter(|file| file.extension().is_some_and(|extension| extension == "wit")) {
        let text = std::fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
        page.push_str(&interfaces(&text));
    }
    Ok(page)
}

/// Makes the sections of all interfaces in a file.
fn interfaces(text: &str) -> String {
    let mut out = String::new();
    let mut lines = text.lines();
    let mut comment = Vec::new();
    while let Some(line) = lines.next() {
        if let Some(name) = line.strip_prefix("interface ").and_then(|rest| rest.strip_suffix(" {")) {
            let body: Vec<&str> = lines.by_ref().take_while(|line| *line != "}").collect();
            out.push_str(&section(name, &paragraphs(&comment), &items(&body)));
        }
        match line.strip_prefix("///") {
            Some(text) => comment.push(text.trim()),
            None if line.starts_with('@') => (),
            None => comment.clear(),
        }
    }
    out
}

/// Makes the section of an interface: its functions, then its types.
fn section(name: &str, comment: &str, items: &[Item]) -> String {
    let mut out = format!("\n## `{name}`\n\n{comment}\n");
    let (functions, types): (Vec<&Item>, Vec<&Item>) = items.iter().partition(|item| item.is_function());
    for Item { comment, text } in functions {
        let function = text.split(':').next().unwrap_or_default();
        writeln!(out, "\n### `{name}.{function}`\n\n```wit\n{text}\n```\n\n{comment}").expect("a string takes all");
    }
    for Item { comment, text } in types {
        let kind = text.split([' ', '{', ';']).take(2).collect::<Vec<_>>().join(" ");
        writeln!(out, "\n### {kind}\n\n{comment}\n\n```wit\n{text}\n```").expect("a string takes all");
    }
    out
}

/// Splits the body of an interface into its items. Comments inside of a type stay in its text.
fn items(body: &[&str]) -> Vec<Item> {
    let mut found = Vec::new();
    let (mut comment, mut text) = (Vec::new(), Vec::<&str>::new());
    for line in body.iter().map(|line| line.strip_prefix("  ").unwrap_or(line)) {
        let is_open = !text.is_empty();
        match line.strip_prefix("///") {
            Some(words) if !is_open => comment.push(words.trim()),
            _ if !is_open && (line.is_empty() || line.starts_with('@') || line.starts_with("use ")) => (),
            _ => text.push(line),
        }
        let ends = text.last().is_some_and(|last| *last == "}" || last.ends_with(';') && !last.starts_with("  "));
        if ends {
            found.push(Item { comment: paragraphs(&comment), text: text.join("\n") });
            (comment, text) = (Vec::new(), Vec::new());
        }
    }
    found
}

/// Joins the lines of a comment to paragraphs; keeps lists.
fn paragraphs(lines: &[&str]) -> String {
    let mut out = String::new();
    for line in lines {
        match *line {
            "" => out.push_str("\n\n"),
            line if line.starts_with("- ") => {
                out.push('\n');
                out.push_str(line);
            }
            line => {
                if !out.is_empty() && !out.ends_with('\n') {
                    out.push(' ');
                }
                out.push_str(line);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interface_becomes_a_section() {
        let text = "/// Things.\n///\n/// More of it\n/// here.\n@since(version = 0.1.0)\ninterface things {\n  use types.{error};\n\n\
                    \x20 /// A thing.\n  record thing {\n    /// Its name.\n    name: string,\n  }\n\n  /// Makes it.\n  \
                    @since(version = 0.1.0)\n  make: func(\n    name: string,\n  ) -> result<_, error>;\n}\n";
        let expected = "\n## `things`\n\nThings.\n\nMore of it here.\n\n### `things.make`\n\n```wit\nmake: func(\n  name: string,\n\
                        ) -> result<_, error>;\n```\n\nMakes it.\n\n### record thing\n\nA thing.\n\n```wit\nrecord thing {\n  \
                        /// Its name.\n  name: string,\n}\n```\n";
        assert_eq!(interfaces(text), expected);
    }

    #[test]
    fn the_page_has_every_function() {
        let contract = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("wit");
        let made = page(&contract).unwrap();
        let mut functions = 0;
        for file in std::fs::read_dir(contract).unwrap() {
            functions += std::fs::read_to_string(file.unwrap().path()).unwrap().matches(": func(").count();
        }
        // Those of a world are what a plugin exports.
        assert!(functions > 50 && made.matches(": func(").count() == functions, "{functions}");
    }
}
