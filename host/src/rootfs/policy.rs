//! Keeps maintainer scripts from starting services while packages are installed: nothing may run in an image that is
//! being made.
//!
//! It is a layer of its own below all others, and in no image: a policy that the image has for itself lies above it, and
//! holds in its place.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use crate::error::{Context, Result};

/// The tree of the layer, in the private namespace.
const LAYER: &str = "/run/piimg-policy";

/// Script that invoke-rc.d and deb-systemd-invoke ask
/// (<https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>), and that says no.
const POLICY: &str = "usr/sbin/policy-rc.d";
const REFUSE: &str = "#!/bin/sh\nexit 101\n";

/// Returns the layer, to be the lowest one of a mount in which packages are installed or removed.
///
/// # Privileges
/// Uid 0 of the private namespace.
///
/// # Errors
/// If it cannot be written.
pub fn layer() -> Result<PathBuf> {
    let layer = Path::new(LAYER);
    if !layer.exists() {
        make(layer).context("cannot keep packages from starting services")?;
    }
    Ok(layer.to_owned())
}

fn make(layer: &Path) -> std::io::Result<()> {
    let policy = layer.join(POLICY);
    for directory in policy.ancestors().skip(1).take(3).collect::<Vec<_>>().into_iter().rev() {
        fs::create_dir(directory)?;
        fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    }
    fs::write(&policy, REFUSE)?;
    fs::set_permissions(&policy, fs::Permissions::from_mode(0o755))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_a_tree_with_one_program() {
        let dir = tempfile::tempdir().unwrap();
        let layer = dir.path().join("layer");
        make(&layer).unwrap();
        for path in ["", "usr", "usr/sbin", POLICY] {
            let mode = fs::metadata(layer.join(path)).unwrap().permissions().mode() & 0o7777;
            assert_eq!(mode, 0o755, "{path:?}");
        }
    }
}
