//! The programs of this machine that a build starts.

use crate::emulation;
use crate::error::{Failure, Result};
use crate::recipe::output::OutputKind;
use crate::recipe::plan::Plan;
use crate::sandbox::tool;

/// Names every program that the build will need and this machine lacks, before anything is started.
pub(super) fn check(plan: &Plan) -> Result<()> {
    let mut programs = programs(&plan.architecture)?;
    let unpacks = plan.outputs.contains(&OutputKind::Tar) || plan.outputs.contains(&OutputKind::Directory);
    programs.extend((plan.base.is_some() || unpacks).then_some("tar"));
    missing_programs(&programs).map_or(Ok(()), |failure| Err(failure.into()))
}

/// The programs of this machine that a build for `architecture` starts.
pub(in crate::cli) fn programs(architecture: &str) -> Result<Vec<&'static str>> {
    let mut programs = vec!["mmdebstrap", "gpg", "mke2fs", "e2fsck", "debugfs", "dumpe2fs", "fsck.fat", "sfdisk"];
    programs.extend(emulation::emulator(architecture)?);
    if !rustix::process::getuid().is_root() {
        programs.extend(["newuidmap", "newgidmap"]);
    }
    Ok(programs)
}

/// The failure that names those of `programs` that are not installed, and their packages.
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
