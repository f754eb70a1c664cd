//! `packages`: what to install and remove. Names are checked for form, so that none is taken for an option.
//!
//! Nothing is installed or removed while a plugin runs: what is not as it asks for ends the run, which begins anew when the
//! packages below it are so ([`super::super::run::RunEnd`]).

use super::{Answer, Session, from_bench};
use crate::plugin::capability::Need;
use crate::plugin::workbench::{CallError, ErrorCode, InstalledPackage, PackageRequest};
use crate::ui::printable;

/// Most packages in one call.
const MAX_PACKAGES: usize = 1000;

impl Session<'_> {
    pub(super) fn install_packages(&mut self, specs: &[String], recommends: bool) -> Answer<Vec<InstalledPackage>> {
        check_count(specs)?;
        for spec in specs {
            let (name, version) =
                spec.split_once('=').map_or((spec.as_str(), None), |(name, version)| (name, Some(version)));
            check_name(name)?;
            version.map_or(Ok(()), check_version)?;
            self.gate(&Need::PkgInstall(name.to_owned()))?;
        }
        let found = self.bench.install_packages(specs, recommends).map_err(|error| from_bench(&error))?;
        Ok(found.unwrap_or_else(|| {
            self.record.asks = Some(PackageRequest::Install { specs: specs.to_owned(), recommends });
            // Nobody gets it.
            Vec::new()
        }))
    }

    pub(super) fn remove_packages(&mut self, names: &[String], purge: bool) -> Answer<()> {
        check_count(names)?;
        for name in names {
            check_name(name)?;
            self.gate(&Need::PkgRemove(name.clone()))?;
        }
        if !self.bench.remove_packages(names, purge).map_err(|error| from_bench(&error))? {
            self.record.asks = Some(PackageRequest::Remove { names: names.to_owned(), purge });
        }
        Ok(())
    }

    pub(super) fn query_package(&mut self, name: &str) -> Answer<Option<InstalledPackage>> {
        check_name(name)?;
        self.bench.query_package(name).map_err(|error| from_bench(&error))
    }
}

fn check_count(names: &[String]) -> Answer<()> {
    match names.len() {
        0 => Err(CallError::new(ErrorCode::Invalid, "no package is named")),
        count if count > MAX_PACKAGES => {
            Err(CallError::new(ErrorCode::Limit, format!("at most {MAX_PACKAGES} packages in one call")))
        }
        _ => Ok(()),
    }
}

/// Debian's rule: at least two of lowercase letters, digits and `+-.`, the first a letter or digit.
fn check_name(name: &str) -> Answer<()> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    // `name-` and `name+` at the end mean remove and install to apt.
    let good = (2..=200).contains(&name.len())
        && name.starts_with(plain)
        && name.chars().all(|c| plain(c) || matches!(c, '+' | '-' | '.'))
        && !name.ends_with('-');
    if good {
        Ok(())
    } else {
        Err(CallError::new(ErrorCode::Invalid, format!("`{}` is no name of a package", printable(name))))
    }
}

fn check_version(version: &str) -> Answer<()> {
    let good = (1..=200).contains(&version.len())
        && version.starts_with(|c: char| c.is_ascii_alphanumeric())
        && version.chars().all(|c| c.is_ascii_alphanumeric() || ".+-~:".contains(c));
    if good {
        Ok(())
    } else {
        Err(CallError::new(ErrorCode::Invalid, format!("`{}` is no version of a package", printable(version))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_are_names() {
        for (name, good) in [
            ("htop", true),
            ("libstdc++6", true),
            ("python3.11", true),
            ("-y", false),
            ("h", false),
            ("htop-", false),
            ("Htop", false),
            ("./x.deb", false),
            ("a b", false),
        ] {
            assert_eq!(check_name(name).is_ok(), good, "{name}");
        }
        assert!(check_version("1:2.3-4+deb12u1~rc").is_ok());
        assert!(check_version("1 2").is_err() && check_version("").is_err());
    }
}
