//! Collects the licences of the crates that the program is linked with: most of them want their text to go with it.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};

/// Beginnings of the names of files that hold a licence, or what it wants to be told.
const NAMES: [&str; 6] = ["license", "licence", "copying", "copyright", "notice", "unlicense"];

/// A crate as `cargo tree` tells it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Crate {
    name: String,
    version: String,
    /// Expression of SPDX.
    licence: String,
}

/// Returns the text with all crates of `tree` and their licences. A line of `tree` is what `cargo tree` says for
/// `{p}`, a tab, and what it says for `{l}`; `cargo_home` has their sources.
///
/// # Errors
/// If the sources of a crate are not there.
pub(super) fn text(tree: &str, cargo_home: &Path) -> Result<String> {
    let crates = crates(tree)?;
    let mut text = String::from("piimg is linked with these crates, each under the licence behind it.\n\n");
    for Crate { name, version, licence } in &crates {
        writeln!(text, "{name} {version}: {licence}").expect("a string takes all");
    }
    text.push_str("\nTheir texts, each once, with the crates whose sources have it:\n");
    let mut texts: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for Crate { name, version, .. } in &crates {
        for text in texts_of(&source(cargo_home, name, version)?)? {
            texts.entry(text).or_default().push(format!("{name} {version}"));
        }
    }
    let mut texts: Vec<(String, Vec<String>)> = texts.into_iter().collect();
    texts.sort_by(|one, other| one.1.cmp(&other.1));
    for (licence, crates) in texts {
        write!(text, "\n{}\n{}\n\n{licence}\n", "-".repeat(72), crates.join(", ")).expect("a string takes all");
    }
    Ok(text)
}

/// Parses what `cargo tree` says, without the repository's own crates: behind them stands a path.
fn crates(tree: &str) -> Result<Vec<Crate>> {
    let mut found = Vec::new();
    for line in tree.lines().filter(|line| !line.contains(" (/")) {
        let (package, licence) = line.split_once('\t').with_context(|| format!("`{line}` is no line of a tree"))?;
        let mut words = package.split(' ');
        let name = words.next().unwrap_or_default();
        let version = words.next().and_then(|word| word.strip_prefix('v'));
        let version = version.with_context(|| format!("`{package}` is no package"))?;
        ensure!(!licence.is_empty(), "{package} says no licence");
        found.push(Crate { name: name.to_owned(), version: version.to_owned(), licence: licence.to_owned() });
    }
    found.sort();
    found.dedup();
    Ok(found)
}

/// Returns the directory with the sources of a crate, below that of whichever registry it came from.
fn source(cargo_home: &Path, name: &str, version: &str) -> Result<PathBuf> {
    let registries = cargo_home.join("registry/src");
    let failed = || format!("cannot list {}", registries.display());
    for registry in fs::read_dir(&registries).with_context(failed)? {
        let directory = registry.with_context(failed)?.path().join(format!("{name}-{version}"));
        if directory.is_dir() {
            return Ok(directory);
        }
    }
    anyhow::bail!("the sources of {name} {version} are not below {}: run `cargo fetch`", registries.display())
}

/// Returns the licences in a directory, without spaces at the ends of lines, by which copies differ.
fn texts_of(directory: &Path) -> Result<Vec<String>> {
    let failed = || format!("cannot read {}", directory.display());
    let mut paths = Vec::new();
    for entry in fs::read_dir(directory).with_context(failed)? {
        let path = entry.with_context(failed)?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
        // Not `licence.rs`.
        if path.is_file() && NAMES.iter().any(|begin| name.starts_with(begin)) && !name.ends_with(".rs") {
            paths.push(path);
        }
    }
    paths.sort();
    let read = |path: &PathBuf| {
        let text = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&text).lines().map(str::trim_end).collect::<Vec<_>>().join("\n");
        Ok(text.trim_matches('\n').to_owned())
    };
    paths.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_crate_is_told_once_and_each_text_too() {
        let home = std::env::temp_dir().join(format!("piimg-licences-{}", std::process::id()));
        for (name, licence) in [("a-1.0.0", "Copyright A  \n"), ("b-2.0.0+x", "Copyright A\n"), ("c-3.0.0", "Other\n")]
        {
            let directory = home.join("registry/src/some-registry").join(name);
            fs::create_dir_all(&directory).unwrap();
            fs::write(directory.join("LICENSE-MIT"), licence).unwrap();
            fs::write(directory.join("license.rs"), "fn x() {}").unwrap();
        }
        let tree = "piimg v0.1.0 (/home/ann/host)\tMIT\npiimg-sandbox v0.1.0 (/home/ann/host/sandbox)\tMIT\nb v2.0.0+x\tMIT\na v1.0.0 (proc-macro)\tISC\nb v2.0.0+x\tMIT\nc v3.0.0\tZlib\n";
        let told = text(tree, &home);
        let missing = text("d v4.0.0\tMIT\n", &home);
        fs::remove_dir_all(&home).unwrap();
        let line = "-".repeat(72);
        let expected = format!(
            "piimg is linked with these crates, each under the licence behind it.\n\na 1.0.0: ISC\nb 2.0.0+x: MIT\nc 3.0.0: Zlib\n\n\
             Their texts, each once, with the crates whose sources have it:\n\n\
             {line}\na 1.0.0, b 2.0.0+x\n\nCopyright A\n\n{line}\nc 3.0.0\n\nOther\n"
        );
        assert_eq!(told.unwrap(), expected);
        assert!(missing.unwrap_err().to_string().starts_with("the sources of d 4.0.0 are not below "));
        assert_eq!(crates("x v1\t\n").unwrap_err().to_string(), "x v1 says no licence");
    }
}
