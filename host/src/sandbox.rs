//! Starts processes, and confines them.
//!
//! [`process`] is what all of it stands on: starting piimg again, descriptors, ids. [`namespace`] is the namespace in which
//! the whole build runs. [`command`] runs a command of the image in a tighter box of its own, and [`proxy`] is the network
//! of a box that has one. [`worker`] is a process for untrusted code, [`parser`] one that parses untrusted files. [`terminal`] gives a command a terminal. [`tool`] runs a program of the host, [`confined`] one that reads
//! untrusted files. [`ending`] explains an exit status. Nothing else in piimg starts a process.

mod collect;
pub mod command;
pub mod confined;
mod container;
pub mod ending;
pub mod free_space;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod host_box;
pub mod id_map;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub(crate) mod init;
mod landlock;
mod limits;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub(crate) mod mounts;
pub mod namespace;
pub mod numeric_ids;
pub mod packages;
pub mod parser;
pub mod process;
pub mod proxy;
mod seccomp;
pub mod shell;
pub mod terminal;
pub mod tool;
pub mod watched;
pub mod worker;
