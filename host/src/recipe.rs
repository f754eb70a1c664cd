//! From what the user and the plugins say to what will be built: pure, and all findings at once.
//!
//! [`file`] is `piimg.toml`, [`host`] the door for what it names of the host, [`overrides`] the command line, [`conf`] what the plugins return, [`release`] what piimg
//! knows of distributions; [`plan`] merges and validates them.

pub mod check;
pub mod conf;
pub mod config;
pub mod debconf;
pub mod fetching;
pub mod file;
pub mod host;
pub mod limits;
pub mod locked;
pub mod output;
pub mod overrides;
pub mod package;
pub mod password;
pub mod pin;
pub mod plan;
pub mod release;
pub mod repository;
pub mod store_limit;
pub mod trust;
