//! Turns what the user and the plugins say into a plan: pure, and all findings at once.
//!
//! [`file`] is `piimg.toml` with what it includes, [`host`] the door for what it names of the host, [`overrides`] the command line, [`conf`] what the plugins return, [`release`] what piimg
//! knows of distributions; [`plan`] merges and validates them.

pub mod compression;
pub mod config;
pub mod fetching;
pub mod file;
pub mod host;
mod layers;
pub mod limits;
pub mod model;
pub mod output;
pub mod overrides;
pub mod password;
pub mod plan;
pub mod release;
pub mod repository;
pub mod schema;
pub mod store_limit;
pub mod trust;

// What a plugin may ask for, and how values of it are checked.
pub(crate) use piimg_capability::spelling;
pub use piimg_capability::{check, conf, debconf, local_package, locked, package, pin};
