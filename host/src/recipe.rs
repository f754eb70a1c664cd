//! Turns what the user and the plugins say into a plan: pure, and all findings at once.
//!
//! [`file`] is `piimg.toml` with what it includes, [`host`] the door for what it names of the host, [`overrides`] the command line, [`conf`] what the plugins return, [`release`] what piimg
//! knows of distributions; [`plan`] merges and validates them.

pub mod check;
pub mod compression;
pub mod conf;
pub mod config;
pub mod debconf;
pub mod fetching;
pub mod file;
pub mod host;
mod layers;
pub mod limits;
pub mod local_package;
pub mod locked;
pub mod model;
pub mod output;
pub mod overrides;
pub mod package;
pub mod password;
pub mod pin;
pub mod plan;
pub mod release;
pub mod repository;
pub mod schema;
pub(crate) mod spelling;
pub mod store_limit;
pub mod trust;
