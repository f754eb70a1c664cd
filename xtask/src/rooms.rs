//! The rooms of the host (the modules at the top of `host/src`, and the crates below it) and which of them may use which.
//!
//! The rule is the table of `ARCHITECTURE.md` between the marks below, so that what is read is what is checked. A room
//! uses rooms of later lines alone: the table cannot describe a circle. What tests use does not count.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail, ensure};

const DOCUMENT: &str = "ARCHITECTURE.md";
const SOURCE: &str = "host/src";
/// The fence of the table; a line of it is `room: room room …`.
const BEGIN: &str = "```text rooms\n";
const END: &str = "\n```";
/// Files at the top that are no rooms.
const TOP: [&str; 2] = ["lib.rs", "main.rs"];
/// Beginning of the names of crates that are rooms. Which crate uses which is the compiler's to check.
const CRATE: &str = "piimg_";

/// Checks that the code uses what the table allows, and that the table allows nothing that is not used.
pub(crate) fn check() -> Result<()> {
    let text = fs::read_to_string(DOCUMENT).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let table = Table::parse(&text)?;
    let mut files = Vec::new();
    collect(Path::new(SOURCE), &mut files)?;
    let texts = files.iter().map(|path| {
        let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        Ok((path.strip_prefix(SOURCE).expect("it was found there").to_owned(), text))
    });
    let findings = findings(&table, &texts.collect::<Result<BTreeMap<_, _>>>()?);
    ensure!(findings.is_empty(), "the rooms of {SOURCE} are not as {DOCUMENT} says:\n{}", findings.join("\n"));
    Ok(())
}

/// Lists all Rust files of a directory.
fn collect(directory: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(directory).with_context(|| format!("cannot list {}", directory.display()))?;
    for entry in entries {
        let path = entry.context("cannot list the sources")?.path();
        if path.is_dir() {
            collect(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// Table of rooms, each with those that it may use.
#[derive(Debug)]
struct Table {
    rooms: BTreeMap<String, BTreeSet<String>>,
}

impl Table {
    /// Reads the table of the document.
    fn parse(document: &str) -> Result<Self> {
        let (_, rest) = document.split_once(BEGIN).with_context(|| format!("{DOCUMENT} has no table of rooms"))?;
        let (table, _) = rest.split_once(END).with_context(|| format!("the table of {DOCUMENT} has no end"))?;
        let mut rooms = BTreeMap::new();
        let mut order = Vec::new();
        for line in table.lines().filter(|line| !line.trim().is_empty()) {
            let (room, used) =
                line.split_once(':').with_context(|| format!("no `room: rooms` in {DOCUMENT}: {line}"))?;
            let used = used.split_whitespace().map(str::to_owned).collect::<BTreeSet<_>>();
            ensure!(rooms.insert(room.trim().to_owned(), used).is_none(), "{DOCUMENT} has two lines for `{room}`");
            order.push(room.trim().to_owned());
        }
        for (line, room) in order.iter().enumerate() {
            let Some(wrong) = rooms[room].iter().find(|used| !order[line + 1..].contains(used)) else { continue };
            bail!("{DOCUMENT}: `{room}` may use only rooms of the lines below its own, and `{wrong}` is none of them");
        }
        Ok(Self { rooms })
    }
}

/// Compares the sources, by their paths below `host/src`, with the table.
fn findings(table: &Table, sources: &BTreeMap<PathBuf, String>) -> Vec<String> {
    let tests = test_files(sources);
    let mut findings = Vec::new();
    let mut used: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let own = sources.keys().filter_map(|path| room_of(path));
    let present: BTreeSet<String> =
        own.chain(sources.get(Path::new(TOP[0])).map(|lib| of_crates(lib)).unwrap_or_default()).collect();
    for room in present.iter().filter(|room| !table.rooms.contains_key(*room)) {
        findings.push(format!("{DOCUMENT}: the room `{room}` is missing in the table"));
    }
    for (path, text) in sources.iter().filter(|(path, _)| !tests.contains(*path)) {
        let Some((room, allowed)) = room_of(path).and_then(|room| table.rooms.get_key_value(&room)) else { continue };
        for (line, target) in uses(text, depth(path)) {
            if target == *room || !present.contains(&target) {
                continue;
            }
            if !allowed.contains(&target) {
                let mut finding = format!("{SOURCE}/{}:{line}: `{room}` must not use `{target}`; ", path.display());
                match allowed.iter().map(String::as_str).collect::<Vec<_>>().join(", ").as_str() {
                    "" => finding.push_str("it may use no other room"),
                    allowed => write!(finding, "it may use {allowed}").expect("text takes text"),
                }
                findings.push(finding);
            }
            used.entry(room).or_default().insert(target);
        }
    }
    for (room, allowed) in &table.rooms {
        if !present.contains(room) {
            findings.push(format!("{DOCUMENT}: there is no room `{room}`"));
        }
        for target in
            allowed.iter().filter(|target| !used.get(room.as_str()).is_some_and(|used| used.contains(*target)))
        {
            findings.push(format!("{DOCUMENT}: `{room}` does not use `{target}`: take it out of the table"));
        }
    }
    findings
}

/// Returns the room that a file belongs to; `None` for those of [`TOP`].
fn room_of(path: &Path) -> Option<String> {
    let first = path.iter().next()?.to_str()?;
    (!TOP.contains(&first)).then(|| first.trim_end_matches(".rs").to_owned())
}

/// Returns the rooms that are crates, and what the root of the host takes out of them to be rooms beside them.
fn of_crates(lib: &str) -> Vec<String> {
    let text = production(lib);
    let mut found = Vec::new();
    for (_, at) in ends(&text, CRATE) {
        found.extend(first_names(&text[at..]));
        let Some((_, taken)) = text[at..].split_once("::") else { continue };
        found.extend(first_names(taken).into_iter().filter(|name| name != "self"));
    }
    found
}

/// Returns how many modules a file is below the crate's root.
fn depth(path: &Path) -> usize {
    path.iter().count()
}

/// Files of modules that are declared for tests alone, and all below them.
fn test_files(sources: &BTreeMap<PathBuf, String>) -> BTreeSet<PathBuf> {
    let mut modules = Vec::new();
    for (path, text) in sources {
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        let home = if TOP.iter().any(|top| Path::new(top) == path) { PathBuf::new() } else { path.with_extension("") };
        for (at, line) in lines.iter().enumerate() {
            let Some(name) = line.strip_suffix(';').and_then(|line| line.split_once("mod ")) else { continue };
            let mut attributes = lines[..at].iter().rev().take_while(|line| line.starts_with("#["));
            if attributes.any(|line| *line == "#[cfg(test)]") {
                modules.push(home.join(name.1));
            }
        }
    }
    let is_test = |path: &&PathBuf| modules.iter().any(|module| path.with_extension("").starts_with(module));
    sources.keys().filter(is_test).cloned().collect()
}

/// Lists what of the crate's root a text names: by `crate::…`, or by enough `super::` from a module of that depth. Comments,
/// literals and what follows `#[cfg(test)]` on an inline module do not count.
fn uses(text: &str, depth: usize) -> Vec<(usize, String)> {
    let text = production(text);
    let root = "super::".repeat(depth);
    let mut found: Vec<_> = ends(&text, CRATE).map(|(line, at)| (line, first_names(&text[at..]).concat())).collect();
    for (line, at) in ["crate::", root.as_str()].iter().flat_map(|prefix| ends(&text, prefix)) {
        found.extend(first_names(&text[at..]).into_iter().map(|name| (line, name)));
    }
    found.sort();
    found.dedup();
    found
}

/// Returns where each path that begins with `prefix` goes on, with the number of its line.
fn ends<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = (usize, usize)> + 'a {
    let is_part = |character: char| character.is_alphanumeric() || character == '_' || character == ':';
    text.match_indices(prefix).filter(move |(at, _)| !text[..*at].ends_with(is_part)).map(move |(at, _)| {
        let line = text[..at].matches('\n').count() + 1;
        (line, at + prefix.len())
    })
}

/// Returns the name at the beginning of a path, or those of a group in braces.
fn first_names(path: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let Some(group) = path.strip_prefix('{') else { return vec![name(path)] };
    let mut names = Vec::new();
    let (mut level, mut is_first) = (0_usize, true);
    for (at, character) in group.char_indices() {
        match character {
            '{' => level += 1,
            '}' if level == 0 => break,
            '}' => level -= 1,
            ',' if level == 0 => is_first = true,
            _ if is_first && !character.is_whitespace() => {
                names.push(name(&group[at..]));
                is_first = false;
            }
            _ => {}
        }
    }
    names
}

/// Blanks what is no production code, and keeps the lines.
fn production(text: &str) -> String {
    let mut result = String::new();
    let mut is_test = false;
    for line in text.lines() {
        // rustfmt puts an inline module's end into the first column.
        is_test = is_test || line == "#[cfg(test)]";
        if !is_test {
            result.push_str(&without_literals(line));
        }
        if line == "}" || line.ends_with(';') && !line.starts_with(' ') {
            is_test = false;
        }
        result.push('\n');
    }
    result
}

/// Returns a line without its comment and without what is between quotation marks.
fn without_literals(line: &str) -> String {
    let mut result = String::new();
    let line = line.replace(r#"'"'"#, "");
    let mut characters = line.chars().peekable();
    let mut is_quoted = false;
    while let Some(character) = characters.next() {
        match character {
            '\\' if is_quoted => drop(characters.next()),
            '"' => is_quoted = !is_quoted,
            '/' if !is_quoted && characters.peek() == Some(&'/') => break,
            _ if !is_quoted => result.push(character),
            _ => {}
        }
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;

    const TABLE: &str = "# Rooms\n\n```text rooms\ncli: build ui\nbuild: ui\nui:\n```\n";

    fn found(sources: &[(&str, &str)]) -> Vec<String> {
        let rest = [("cli.rs", "use crate::{build, ui};"), ("build.rs", "use crate::ui;"), ("ui.rs", "")];
        let all = rest.iter().filter(|(path, _)| !sources.iter().any(|(other, _)| other == path)).chain(sources);
        let all = all.map(|(path, text)| (PathBuf::from(path), (*text).to_owned()));
        findings(&Table::parse(TABLE).unwrap(), &all.collect())
    }

    #[test]
    fn what_the_table_allows_passes() {
        assert_eq!(found(&[]), [""; 0]);
        let allowed = [
            ("cli/a.rs", "use crate::ui::{Ui, printable};"),
            ("ui/a.rs", "use crate::ui::b;"),
            ("ui/b.rs", "/// See [`crate::cli`].\nfn a() {} // crate::cli"),
            ("ui/c.rs", "const A: &str = \"crate::cli\";"),
            ("ui/d.rs", "#[cfg(test)]\nmod tests {\n    use crate::cli;\n}"),
            ("ui/e.rs", "#[cfg(test)]\nmod fixture;"),
            ("ui/e/fixture.rs", "use crate::cli;"),
            ("ui/e/fixture/more.rs", "use crate::cli;"),
            ("ui/f.rs", "pub(in crate::ui) use super::b;"),
        ];
        for source in allowed {
            let fixture = ("ui/e.rs", "#[cfg(test)]\nmod fixture;");
            assert_eq!(found(&[source, fixture]), [""; 0], "{source:?}");
        }
    }

    #[test]
    fn what_it_does_not_allow_is_named_with_its_line() {
        let refused = "host/src/ui/a.rs:2: `ui` must not use `cli`; it may use no other room";
        let cases = [
            ("use crate::cli;", refused),
            ("use crate::cli::{A, B};", refused),
            ("use crate::{cli::A, ui::B};", refused),
            ("use crate::{\n    ui::{A, B},\n    cli,\n};", refused),
            ("fn a() { crate::cli::run() }", refused),
            ("use super::super::cli;", refused),
            ("pub use crate::cli as other;", refused),
            ("#[cfg(test)]\nuse crate::build;\nuse crate::cli;", &refused.replace(":2:", ":4:")),
        ];
        for (text, expected) in cases {
            assert_eq!(found(&[("ui/a.rs", &format!("\n{text}"))]), [expected], "{text}");
        }
        let up = found(&[("build.rs", "use crate::ui;\nuse super::cli;")]);
        assert_eq!(up, ["host/src/build.rs:2: `build` must not use `cli`; it may use ui"]);
    }

    #[test]
    fn a_table_that_is_not_the_code_is_found() {
        let cases = [
            (("build.rs", "fn a() {}"), "ARCHITECTURE.md: `build` does not use `ui`: take it out of the table"),
            (("new.rs", "fn a() {}"), "ARCHITECTURE.md: the room `new` is missing in the table"),
        ];
        for (source, expected) in cases {
            assert_eq!(found(&[source]), [expected]);
        }
    }

    #[test]
    fn crates_are_rooms_and_so_is_what_the_root_takes_out_of_them() {
        let lib = ("lib.rs", "pub use piimg_box::{self as box_, error};\nuse piimg_scope::glob;");
        let text = "```text rooms\nui: box error glob scope\nbox:\nerror:\nglob:\nscope:\n```";
        let of = |ui: &str| {
            let all = [lib, ("ui.rs", ui)].map(|(path, text)| (PathBuf::from(path), text.to_owned()));
            findings(&Table::parse(text).unwrap(), &all.into())
        };
        assert_eq!(of("use crate::{error, glob};\nuse piimg_scope::a;\nfn a() { piimg_box::b() }"), [""; 0]);
        let left = of("use crate::{error, glob};\nuse piimg_box::b;");
        assert_eq!(left, ["ARCHITECTURE.md: `ui` does not use `scope`: take it out of the table"]);
    }

    #[test]
    fn a_table_describes_no_circle() {
        let cases = [
            ("a: b\nb: a", "`b` may use only rooms of the lines below its own, and `a` is none of them"),
            ("a: c\nb:", "`a` may use only rooms of the lines below its own, and `c` is none of them"),
            ("a: a", "`a` may use only rooms of the lines below its own, and `a` is none of them"),
            ("a:\na:", "has two lines for `a`"),
            ("a b", "no `room: rooms`"),
        ];
        for (table, expected) in cases {
            let error = Table::parse(&format!("```text rooms\n{table}\n```")).unwrap_err().to_string();
            assert!(error.contains(expected), "{table}: {error}");
        }
        assert!(Table::parse("nothing").unwrap_err().to_string().contains("no table of rooms"));
    }
}
