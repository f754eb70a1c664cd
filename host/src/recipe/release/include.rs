//! Includes descriptions in others, so that what releases share is written once.

use toml::{Table, Value};

use crate::error::{Context, Result};

/// The key that names the included files, below `files/`.
const KEY: &str = "include";

/// Included files may include others; a circle ends here.
const DEEPEST: usize = 4;

/// Reads a description with all that it includes.
///
/// Tables are joined key by key, a list is appended to the included one, and any other value replaces it.
///
/// # Errors
/// If a file is missing, malformed, or includes itself.
pub(super) fn read<'a>(text: &str, source: &impl Fn(&str) -> Option<&'a str>) -> Result<Table> {
    read_at(text, source, 0)
}

fn read_at<'a>(text: &str, source: &impl Fn(&str) -> Option<&'a str>, depth: usize) -> Result<Table> {
    anyhow::ensure!(depth <= DEEPEST, "files include each other more than {DEEPEST} deep");
    let mut own: Table = text.parse()?;
    let names = match own.remove(KEY) {
        Some(names) => names.try_into::<Vec<String>>().context("`include` must be a list of files")?,
        None => Vec::new(),
    };
    let mut all = Table::new();
    for name in names {
        let included = source(&name).with_context(|| format!("there is no file `{name}` to include"))?;
        let included = read_at(included, source, depth + 1).with_context(|| format!("cannot include `{name}`"))?;
        merge(&mut all, included);
    }
    merge(&mut all, own);
    Ok(all)
}

fn merge(all: &mut Table, more: Table) {
    for (key, value) in more {
        match (all.get_mut(&key), value) {
            (Some(Value::Table(all)), Value::Table(more)) => merge(all, more),
            (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
            (_, value) => {
                all.insert(key, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(name: &str) -> Option<&'static str> {
        Some(match name {
            "a" => "title = 'a'\npackages = ['x']\n[user]\nname = 'u'\ngroups = ['g']\n",
            "b" => "include = ['a']\npackages = ['y']\n[[file]]\npath = '/b'\n",
            "circle" => "include = ['circle']",
            "bad" => "include = 'a'",
            _ => return None,
        })
    }

    #[test]
    fn tables_are_joined_lists_appended_and_values_replaced() {
        let text = "include = ['b']\ntitle = 'c'\npackages = ['z']\n[[file]]\npath = '/c'\n[user]\ngroups = ['h']\n";
        let expected = "title = 'c'\npackages = ['x', 'y', 'z']\n[[file]]\npath = '/b'\n[[file]]\npath = '/c'\n\
                        [user]\nname = 'u'\ngroups = ['g', 'h']\n";
        assert_eq!(read(text, &files).unwrap(), expected.parse::<Table>().unwrap());
    }

    #[test]
    fn what_cannot_be_included_is_named() {
        for (text, expected) in [
            ("include = ['gone']", "there is no file `gone` to include"),
            ("include = ['circle']", "files include each other more than 4 deep"),
            ("include = ['bad']", "`include` must be a list of files"),
            ("include = [", "TOML parse error"),
        ] {
            let error = format!("{:#}", read(text, &files).unwrap_err());
            assert!(error.contains(expected), "{text}: {error}");
        }
    }
}
