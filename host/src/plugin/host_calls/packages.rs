//! Implements `packages`: installing and removing. Names are checked, so that none is taken for an option.
//!
//! Nothing is installed or removed while a plugin runs: what is not as it asks for ends the run, which begins anew when the
//! packages below it are so ([`super::super::run::RunEnd`]).

use super::{Answer, Session, from_bench};
use crate::plugin::capability::Need;
use crate::plugin::workbench::{CallError, ErrorCode, InstalledPackage, PackageRequest};
use crate::recipe::package::{self, PackageSpec};
use crate::ui::printable;

/// Most packages, questions or pins in one call.
const MAX_PACKAGES: usize = 1000;

impl Session<'_> {
    pub(super) fn install_packages(&mut self, specs: &[String], recommends: bool) -> Answer<Vec<InstalledPackage>> {
        check_count(specs.len(), "package")?;
        for spec in specs {
            self.gate(&Need::PkgInstall(parse(spec)?.name))?;
        }
        let found = self.bench.install_packages(specs, recommends).map_err(|error| from_bench(&error))?;
        Ok(found.unwrap_or_else(|| {
            self.record.asks = Some(PackageRequest::Install { specs: specs.to_owned(), recommends });
            // The run ends, so this value is never used.
            Vec::new()
        }))
    }

    pub(super) fn remove_packages(&mut self, names: &[String], purge: bool) -> Answer<()> {
        check_count(names.len(), "package")?;
        for name in names {
            check_name(name)?;
            self.gate(&Need::PkgRemove(name.clone()))?;
        }
        self.require(PackageRequest::Remove { names: names.to_owned(), purge })
    }

    pub(super) fn query_package(&mut self, name: &str) -> Answer<Option<InstalledPackage>> {
        check_name(name)?;
        self.bench.query_package(name).map_err(|error| from_bench(&error))
    }
}

pub(super) fn check_count(count: usize, what: &str) -> Answer<()> {
    match count {
        0 => Err(CallError::new(ErrorCode::Invalid, format!("no {what} is named"))),
        count if count > MAX_PACKAGES => {
            Err(CallError::new(ErrorCode::Limit, format!("at most {MAX_PACKAGES} {what}s in one call")))
        }
        _ => Ok(()),
    }
}

/// Parses a package specification by the recipe's grammar. Scopes name packages of the image's own architecture only.
fn parse(spec: &str) -> Answer<PackageSpec> {
    let invalid = |rule: &str| CallError::new(ErrorCode::Invalid, format!("`{}` {rule}", printable(spec)));
    let parsed = PackageSpec::parse(spec).map_err(|rule| invalid(&rule))?;
    if parsed.architecture.is_some() {
        return Err(invalid("names an architecture, which a plugin cannot"));
    }
    Ok(parsed)
}

/// Checks a package name without a version.
fn check_name(name: &str) -> Answer<()> {
    package::check_name(name)
        .map_err(|rule| CallError::new(ErrorCode::Invalid, format!("`{}` {rule}", printable(name))))
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
        assert_eq!(parse("htop=1:2.3-4+deb12u1~rc").unwrap().name, "htop");
        for (spec, said) in [
            ("htop=1 2", "version"),
            ("htop=", "version"),
            ("htop=3.2.2-2-", "version"),
            ("htop:armhf", "architecture"),
        ] {
            let error = parse(spec).unwrap_err();
            assert!(error.code == ErrorCode::Invalid && error.message.contains(said), "{spec}: {error:?}");
        }
    }
}
