//! Makes the tree that becomes `/` of the Pi: bootstrap, packages, layers, and the one safe way to its files.
//!
//! Knows nothing of plugins or of partitions.

pub mod accounts;
pub mod boot_config;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod bootstrap;
pub mod change_tracker;
pub mod changes;
pub mod cmdline;
pub mod compare;
pub mod device;
pub mod device_tree;
pub mod files;
pub mod fstab;
pub mod initramfs;
pub mod layers;
pub mod machine_ids;
pub mod members;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod packages;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod policy;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod sources;
pub mod text;
pub mod times;

pub use piimg_capability::{places, units};
