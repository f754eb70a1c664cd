//! Parses and writes the packages in `piimg.lock`. Pure.

use toml_edit::{DocumentMut, InlineTable, Item, Table, Value};

use super::{Lock, is_digest};
use crate::locked::{Locked, Packages};
use piimg_sandbox::error::{Context as _, Result};

/// # Errors
/// What is wrong with the first that is.
pub(super) fn check(packages: &Packages) -> Result<()> {
    for (name, package) in packages {
        let (plain, architecture) =
            name.split_once(':').with_context(|| format!("`{name}` is not NAME:ARCHITECTURE"))?;
        let spec = format!("{plain}:{architecture}={}", package.version);
        crate::check::package(&spec)
            .map_err(|rule| anyhow::anyhow!("the package `{name}` with the version `{}` {rule}", package.version))?;
        anyhow::ensure!(
            is_digest(&package.digest),
            "the digest of the package `{name}` is not `sha256:` and 64 lowercase hexadecimal digits"
        );
    }
    Ok(())
}

/// Names of the tables, and what is said of a new one.
const IMAGE: (&str, &str) = ("packages", "\n# What the archive had. `piimg build --update-lock` writes it.\n");
const BUILD: (&str, &str) = ("build-packages", "\n# What plugins are built with, and the image does not have.\n");

/// Puts the packages into the file's text in place of those that it has, or into a new file.
///
/// # Errors
/// If the text is no lock file.
pub fn set_packages(text: Option<&str>, locked: &Locked) -> Result<String> {
    let text = text.unwrap_or(super::edit::NEW);
    Lock::parse(text)?;
    let mut document: DocumentMut = text.parse()?;
    // After the plugins, which a person reads.
    set_table(&mut document, IMAGE, &locked.image, isize::MAX - 1);
    if locked.build.is_empty() {
        document.remove(BUILD.0);
    } else {
        set_table(&mut document, BUILD, &locked.build, isize::MAX);
    }
    let text = document.to_string();
    Lock::parse(&text).context("the changed file would not be understood")?;
    Ok(text)
}

fn set_table(document: &mut DocumentMut, (name, about): (&str, &str), packages: &Packages, position: isize) {
    let mut table = document.remove(name).and_then(|item| item.into_table().ok()).unwrap_or_else(|| {
        let mut table = Table::new();
        table.decor_mut().set_prefix(about);
        table
    });
    table.clear();
    for (package, locked) in packages {
        let mut line = InlineTable::new();
        line.insert("version", locked.version.as_str().into());
        line.insert("digest", locked.digest.as_str().into());
        table.insert(package, Item::Value(Value::InlineTable(line)));
    }
    table.set_position(Some(position));
    document.insert(name, Item::Table(table));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::locked::sample::{digest, packages};

    #[test]
    fn packages_are_written_beside_the_plugins_and_read_again() {
        let own = format!(
            "# ours\nversion = 1\n\n[[plugin]]\nid = \"a/a\" # from the shop\ndigest = \"{}\"\ngrant = []\n",
            digest('a')
        );
        let image = packages(&[("aa:arm64", "1:2.0~1", 'a'), ("b+:all", "1", 'b')]);
        let first = Locked { image, build: packages(&[("cc:arm64", "3", 'c')]) };
        for old in [None, Some(own.as_str())] {
            let text = set_packages(old, &first).unwrap();
            assert!(old.is_none_or(|old| text.starts_with(old)), "{text}");
            assert!(text.contains("\n\"aa:arm64\" = { version = \"1:2.0~1\", digest = \"sha256:aaaa"), "{text}");
            assert!(text.contains("\n[build-packages]\n\"cc:arm64\" = { version = \"3\""), "{text}");
            assert_eq!(Lock::parse(&text).unwrap().packages(), Some(first.clone()));
            assert_eq!(set_packages(Some(&text), &first).unwrap(), text, "nothing changed");
            let fewer = Locked { image: packages(&[("b+:all", "2", 'b')]), ..Locked::default() };
            let text = set_packages(Some(&text), &fewer).unwrap();
            assert!(!text.contains("build-packages"), "{text}");
            assert_eq!(Lock::parse(&text).unwrap().packages(), Some(fewer));
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
            for text in [text.clone(), text.replace("[packages]", "[build-packages]")] {
                let error = format!("{:#}", Lock::parse(&text).unwrap_err());
                assert!(error.contains(cause), "{text}: {error}");
            }
        }
    }
}
