//! Releases whose archives are not at hand: each is bootstrapped with its own description from a small signed archive
//! that the test makes, and every file that matters is looked at in the image.
//!
//! What makes the tree work (libc, dpkg, apt, systemd, initramfs-tools) is Debian's; kernel, firmware and all other
//! packages are made up, with the names, files and dependencies of the release's own. Needs user namespaces, the network,
//! and what `cargo xtask setup` installs; without them a test fails and says so.

#![expect(clippy::unwrap_used, reason = "the helpers of a test may panic like the test itself")]
#![expect(clippy::disallowed_methods, reason = "tests start piimg and look at images with other tools")]

mod archive;
mod checks;
mod hostile;
mod image;
#[cfg(feature = "long")]
mod lasting;
mod raspios;
mod steps;
mod ubuntu;

/// Device trees of the boards that run a 64-bit kernel.
const BOARDS: [&str; 12] = [
    "bcm2710-rpi-3-b",
    "bcm2710-rpi-3-b-plus",
    "bcm2710-rpi-cm3",
    "bcm2710-rpi-zero-2-w",
    "bcm2711-rpi-4-b",
    "bcm2711-rpi-400",
    "bcm2711-rpi-cm4",
    "bcm2711-rpi-cm4s",
    "bcm2712-rpi-5-b",
    "bcm2712-rpi-500",
    "bcm2712-rpi-cm5-cm5io",
    "bcm2712-rpi-cm5l-cm5io",
];
