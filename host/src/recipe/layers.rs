//! Puts a recipe together: a file lies over those that it includes, and a profile over the file. Lists add up, tables are
//! merged, and of anything else what lies above wins. Pure.

use toml::{Table, Value};

use crate::error::{Failure, Result};
use crate::ui::printable;

/// Most files that a recipe may consist of: those that include each other in many ways would never end.
const MOST_FILES: usize = 64;

/// Keys with two names, and the one by which they are merged.
pub(super) const ALIASES: [(&str, &str); 2] = [("arch", "architecture"), ("store", "rootfs")];

const INCLUDE: &str = "include";
const PROFILE: &str = "profile";

/// Reads a file by its name in the directory of the recipe, and checks it by itself.
pub(super) type Read<'a> = dyn FnMut(&str) -> Result<Table> + 'a;

/// Returns the file called `name` over all that it includes, with `profile` over it.
///
/// # Errors
/// Those of `read`, and [`Failure::usage`] if a file includes itself or there is no such profile.
pub(super) fn gather(name: &str, profile: Option<&str>, read: &mut Read<'_>) -> Result<Table> {
    let mut whole = Gathering { read, open: Vec::new(), files: 0 }.file(name)?;
    let profiles = match whole.remove(PROFILE) {
        Some(Value::Table(profiles)) => profiles,
        _ => Table::new(),
    };
    if let Some(profile) = profile {
        lay(chosen(profiles, profile)?, &mut whole);
    }
    Ok(whole)
}

/// Takes one profile out of all.
fn chosen(mut profiles: Table, name: &str) -> Result<Table> {
    if let Some(Value::Table(profile)) = profiles.remove(name) {
        return Ok(profile);
    }
    let failure = Failure::usage(format!("the recipe has no profile `{}`", printable(name)));
    let known: Vec<String> = profiles.keys().map(|name| format!("`{}`", printable(name))).collect();
    Err(match known.is_empty() {
        true => failure.hint(format!("add one to it: [profile.{}]", printable(name))),
        false => failure.hint(format!("it has {}", known.join(", "))),
    }
    .into())
}

struct Gathering<'a, 'b> {
    read: &'a mut Read<'b>,
    /// The files that include the one that is being read.
    open: Vec<String>,
    files: usize,
}

impl Gathering<'_, '_> {
    fn file(&mut self, name: &str) -> Result<Table> {
        if self.open.iter().any(|open| open == name) {
            return Err(Failure::usage(format!("the recipe's file `{}` includes itself", printable(name))).into());
        }
        self.files += 1;
        if self.files > MOST_FILES {
            return Err(Failure::usage(format!("the recipe includes more than {MOST_FILES} files")).into());
        }
        let mut own = with_one_name_each((self.read)(name)?);
        self.open.push(name.to_owned());
        let mut whole = Table::new();
        if let Some(Value::Array(included)) = own.remove(INCLUDE) {
            for name in included.iter().filter_map(Value::as_str) {
                lay(self.file(name)?, &mut whole);
            }
        }
        self.open.pop();
        lay(own, &mut whole);
        Ok(whole)
    }
}

/// Lays a table over another.
fn lay(above: Table, below: &mut Table) {
    for (key, value) in above {
        match (below.get_mut(&key), value) {
            (Some(Value::Table(below)), Value::Table(above)) => lay(above, below),
            (Some(Value::Array(below)), Value::Array(above)) => {
                // What both list is meant once.
                let new: Vec<Value> = above.into_iter().filter(|value| !below.contains(value)).collect();
                below.extend(new);
            }
            (_, value) => drop(below.insert(key, value)),
        }
    }
}

/// Calls each key by one name, in profiles too.
fn with_one_name_each(mut table: Table) -> Table {
    for (alias, name) in ALIASES {
        if let Some(value) = table.remove(alias) {
            table.insert(name.to_owned(), value);
        }
    }
    if let Some(Value::Table(profiles)) = table.get_mut(PROFILE) {
        for (_, profile) in profiles.iter_mut() {
            if let Value::Table(own) = profile {
                *own = with_one_name_each(std::mem::take(own));
            }
        }
    }
    table
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn gathered(files: &[(&str, &str)], profile: Option<&str>) -> Result<String> {
        let files: BTreeMap<&str, &str> = files.iter().copied().collect();
        let mut read = |name: &str| Ok(files[name].parse::<Table>().unwrap());
        gather("main", profile, &mut read).map(|table| table.to_string().replace('\n', " ").trim().to_owned())
    }

    #[test]
    fn what_lies_above_wins_and_lists_add_up() {
        for (main, common, profile, expected) in [
            ("hostname = 'a'", "", None, "hostname = \"a\""),
            ("include = ['c']", "hostname = 'c'", None, "hostname = \"c\""),
            ("include = ['c']\nhostname = 'a'", "hostname = 'c'", None, "hostname = \"a\""),
            (
                "include = ['c']\npackages = ['a', 'b']",
                "packages = ['b', 'c']",
                None,
                "packages = [\"b\", \"c\", \"a\"]",
            ),
            (
                "include = ['c']\n[user]\nname = 'a'",
                "[user]\nname = 'c'\npassword = 'p'",
                None,
                "[user] name = \"a\" password = \"p\"",
            ),
            ("include = ['c']\narch = 'arm64'", "architecture = 'armhf'", None, "architecture = \"arm64\""),
            ("hostname = 'a'\n[profile.dev]\nhostname = 'd'", "", None, "hostname = \"a\""),
            ("hostname = 'a'\n[profile.dev]\nhostname = 'd'", "", Some("dev"), "hostname = \"d\""),
            ("include = ['c']\nstore = 's'", "[profile.dev]\nrootfs = 'd'", Some("dev"), "rootfs = \"d\""),
            (
                "[[repository]]\nname = 'a'\n[[profile.dev.repository]]\nname = 'b'",
                "",
                Some("dev"),
                "[[repository]] name = \"a\"  [[repository]] name = \"b\"",
            ),
        ] {
            assert_eq!(
                gathered(&[("main", main), ("c", common)], profile).unwrap(),
                expected,
                "{main} {common} {profile:?}"
            );
        }
    }

    #[test]
    fn what_has_no_end_or_is_not_there_is_named() {
        let many: Vec<(String, String)> = (0..8)
            .map(|at| (format!("f{at}"), format!("include = ['f{next}', 'f{next}', 'f{next}']", next = at + 1)))
            .chain([("main".to_owned(), "include = ['f0']".to_owned()), ("f8".to_owned(), String::new())])
            .collect();
        let many: Vec<(&str, &str)> = many.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
        for (files, profile, message, hint) in [
            (
                &[("main", "include = ['b']"), ("b", "include = ['main']")][..],
                None,
                "the recipe's file `main` includes itself",
                None,
            ),
            (&many, None, "the recipe includes more than 64 files", None),
            (&[("main", "")], Some("dev"), "the recipe has no profile `dev`", Some("add one to it: [profile.dev]")),
            (
                &[("main", "[profile.test]\n[profile.field]")],
                Some("dev"),
                "the recipe has no profile `dev`",
                Some("it has `field`, `test`"),
            ),
        ] {
            let report = crate::error::report(&gathered(files, profile).unwrap_err());
            assert_eq!((report.messages[0].as_str(), report.hints.first().map(String::as_str)), (message, hint));
        }
    }
}
