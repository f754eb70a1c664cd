//! Checks the programs of this machine that a build starts.

use crate::emulation;
use crate::error::{Failure, Result};
use crate::recipe::plan::Plan;
use crate::sandbox::packages::{PACKAGES, Purpose};
use crate::sandbox::tool;

/// Names every program that the build will need and this machine lacks, before anything is started.
pub(super) fn check(plan: &Plan) -> Result<()> {
    missing_programs(&programs(&plan.architecture)?).map_or(Ok(()), |failure| Err(failure.into()))
}

/// Returns the programs of this machine that a build for `architecture` starts.
pub(in crate::cli) fn programs(architecture: &str) -> Result<Vec<&'static str>> {
    let of = |purpose: Purpose| {
        PACKAGES.iter().filter(move |package| package.purpose == purpose).flat_map(|package| package.programs).copied()
    };
    let mut programs: Vec<&str> = of(Purpose::Build).collect();
    if !rustix::process::getuid().is_root() {
        programs.extend(of(Purpose::UserBuild));
    }
    // Of the emulators, only that of the architecture is needed.
    let emulator = emulation::emulator(architecture)?;
    programs.extend(of(Purpose::ForeignBuild).filter(|program| Some(*program) == emulator));
    Ok(programs)
}

/// Returns the failure that names those of `programs` that are not installed, and their packages.
pub(in crate::cli) fn missing_programs(programs: &[&str]) -> Option<Failure> {
    let missing: Vec<&str> = programs.iter().copied().filter(|program| tool::find(program).is_none()).collect();
    if missing.is_empty() {
        return None;
    }
    let mut packages: Vec<&str> = missing.iter().filter_map(|program| tool::package_of(program)).collect();
    packages.sort_unstable();
    packages.dedup();
    let failure = Failure::host(format!("this machine lacks programs that the build needs: {}", missing.join(", ")));
    Some(failure.hint(format!("install them: sudo apt-get install {}", packages.join(" "))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_starts_programs_of_builds_alone() {
        for architecture in ["arm64", "armhf", "amd64"] {
            let programs = programs(architecture).unwrap();
            for program in ["mmdebstrap", "apt-get", "tar", "gpg", "mke2fs", "fsck.fat", "sfdisk"] {
                assert!(programs.contains(&program), "{architecture}: {program}");
            }
            // Who builds for another architecture needs the emulator of that one, and nobody needs that of `piimg boot`.
            let emulators: Vec<&&str> = programs.iter().filter(|program| program.starts_with("qemu-")).collect();
            let emulator = emulation::emulator(architecture).unwrap();
            assert_eq!(emulators, emulator.iter().collect::<Vec<_>>(), "{architecture}");
        }
    }
}
