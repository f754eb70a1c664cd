//! Builds Raspberry Pi images from distribution packages and sandboxed customization plugins.
//!
//! `ARCHITECTURE.md` is the map; [`steps`] is the way of a build and the place to start reading.
//!
//! - What is wanted: [`recipe`] (files, flags and plugins → a validated plan).
//! - How it is built: [`steps`], [`rootfs`] (the tree), [`image`] (the disk), [`plugin`] (customizations).
//! - Below them: [`sandbox`] (processes and namespaces), [`keyring`], [`download`], [`emulation`] (foreign architectures), [`store`] (what is kept).
//! - Afterwards: [`report`] (what each plugin did, and who put a file there).
//! - Around them: [`cli`], [`ui`] (the only printer), [`error`].

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make what the host, an image or an attacker has"))]

pub mod cli;
pub mod download;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod emulation;
pub mod git;
pub mod home;
pub mod image;
pub mod kernel_probe;
pub mod keyring;
pub mod plugin;
pub mod python;
pub mod recipe;
pub mod report;
pub mod rootfs;
pub mod secret;
mod sparse;
pub mod steps;
#[expect(clippy::disallowed_methods, reason = "all but `prepare` runs in the private namespace")]
pub mod store;
pub mod store_maintenance;
pub mod supervisor;
pub mod ui;

use piimg_capability::glob;
use piimg_sandbox::sealed;
pub use piimg_sandbox::{self as sandbox, error, host_files, log};
