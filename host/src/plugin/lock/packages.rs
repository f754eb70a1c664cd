//! The packages of an image as `piimg.lock` holds them. Pure.

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use super::{Lock, is_digest};
use crate::error::{Context as _, Result};
use crate::recipe::locked::Packages;

/// # Errors
/// What is wrong with the first that is.
pub(super) fn check(packages: &Packages) -> Result<()> {
    for (name, package) in packages {
        let (plain, architecture) =
            name.split_once(':').with_context(|| format!("`{name}` is not NAME:ARCHITECTURE"))?;
        let spec = format!("{plain}:{architecture}={}", package.version);
        crate::recipe::check::package(&spec)
            .map_err(|rule| anyhow::anyhow!("the package `{name}` with the version `{}` {rule}", package.version))?;
        anyhow::ensure!(
            is_digest(&package.digest),
            "the digest of the package `{name}` is not `sha256:` and 64 lowercase hexadecimal digits"
        );
    }
    Ok(())
}

/// Puts the packages into the file's text in place of those that it has, or into a new file.
///
/// # Errors
/// If the text is no lock file.
pub fn set_packages(text: Option<&str>, packages: &Packages) -> Result<String> {
    let text = text.unwrap_or(super::edit::NEW);
    Lock::parse(text)?;
    let mut document: DocumentMut = text.parse()?;
    let mut table = document.remove("packages").and_then(|item| item.into_table().ok()).unwrap_or_else(|| {
        let mut table = Table::new();
        table.decor_mut().set_prefix("\n# What the archive had. `piimg build --update-lock` writes it.\n");
        table
    });
    table.clear();
    for (name, package) in packages {
        let mut line = InlineTable::new();
        line.insert("version", package.version.as_str().into());
        line.insert("digest", package.digest.as_str().into());
        table.insert(name, Item::Value(Value::InlineTable(line)));
    }
    // Behind the plugins, which a person reads.
    table.set_position(Some(isize::MAX));
    document.insert("packages", Item::Table(table));
    let text = document.to_string();
    Lock::parse(&text).context("the changed file would not be understood")?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recipe::locked::sample::{digest, packages};

    #[test]
    fn packages_are_written_beside_the_plugins_and_read_again() {
        let own = format!(
            "# ours\nversion = 1\n\n[[plugin]]\nid = \"a/a\" # from the shop\ndigest = \"{}\"\ngrant = []\n",
            digest('a')
        );
        let first = packages(&[("aa:arm64", "1:2.0~1", 'a'), ("b+:all", "1", 'b')]);
        for old in [None, Some(own.as_str())] {
            let text = set_packages(old, &first).unwrap();
            assert!(old.is_none_or(|old| text.starts_with(old)), "{text}");
            assert!(text.contains("\n\"aa:arm64\" = { version = \"1:2.0~1\", digest = \"sha256:aaaa"), "{text}");
            assert_eq!(Lock::parse(&text).unwrap().packages, Some(first.clone()));
            assert_eq!(set_packages(Some(&text), &first).unwrap(), text, "nothing changed");
            let fewer = packages(&[("b+:all", "2", 'b')]);
            let text = set_packages(Some(&text), &fewer).unwrap();
            assert_eq!(Lock::parse(&text).unwrap().packages, Some(fewer));
        }
    }

    #[test]
    fn what_is_no_package_is_refused() {
        for (line, cause) in [
            ("\"a\" = { version = \"1\", digest = \"DIGEST\" }", "`a` is not NAME:ARCHITECTURE"),
            ("\"aa:all\" = { version = \"1;x\", digest = \"DIGEST\" }", "must be a version"),
            ("\"aa:all\\nPin: x\" = { version = \"1\", digest = \"DIGEST\" }", "must be an architecture"),
            ("\"aa:all\" = { version = \"1\", digest = \"sha256:1\" }", "64 lowercase"),
            ("\"aa:all\" = { version = \"1\" }", "missing field `digest`"),
        ] {
            let text = format!("version = 1\n[packages]\n{}\n", line.replace("DIGEST", &digest('a')));
            let error = format!("{:#}", Lock::parse(&text).unwrap_err());
            assert!(error.contains(cause), "{line}: {error}");
        }
    }
}
