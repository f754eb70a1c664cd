//! The tree that becomes `/` of the Pi: bootstrap, packages, layers, and the one safe way to its files.
//!
//! Knows nothing of plugins or of partitions.

pub mod accounts;
pub mod boot_config;
pub mod bootstrap;
pub mod changes;
pub mod cmdline;
pub mod compare;
pub mod files;
pub mod initramfs;
pub mod layers;
pub mod packages;
pub mod places;
pub mod sources;
pub mod tracker;
pub mod units;
