//! Capabilities, which plugins ask for and are granted: their grammar, the table of host functions, grants, the lock file,
//! the site's policy, and the judgement of an audit.
//!
//! A crate of its own, so that the compiler holds the wall: nothing here knows an engine, a component's code, an image's
//! files or a build. In the crate `piimg` these are modules of `plugin`, `recipe`, `rootfs` and `report`.
//!
//! - Grammar: [`capability`], and the rules of the values in it: [`check`], [`debconf`], [`package`], [`pin`], [`units`],
//!   [`url`], [`glob`]; [`places`] ranks paths of an image.
//! - What is known of a plugin before it runs: [`conf`], [`info`], [`functions`].
//! - Decisions: [`grant`], [`grant_prompt`], [`policy`]; [`lock`] keeps them, with [`locked`] packages.
//! - Judgement: [`audit`].

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make what the host or an attacker has"))]

pub mod audit;
pub mod capability;
pub mod check;
pub mod conf;
pub mod debconf;
pub mod functions;
pub mod glob;
pub mod grant;
pub mod grant_prompt;
pub mod info;
pub mod local_package;
pub mod lock;
pub mod locked;
pub mod package;
pub mod pin;
pub mod places;
pub mod policy;
pub mod spelling;
pub mod units;
pub mod url;
