//! Starts processes of piimg, and confines them; with what each of them needs: errors, a log, files of the host, text for people.
//!
//! A crate of its own, so that the compiler holds the wall: nothing here knows images, recipes or plugins. In the crate
//! `piimg` it is the module `sandbox`, and [`error`], [`log`], [`host_files`] and [`sealed`] are modules beside it.
//!
//! [`process`] is what all of it stands on: starting piimg again, descriptors, ids. [`namespace`] is the namespace in which
//! the whole build runs. [`command`] runs a command of the image in a tighter box of its own, and [`proxy`] is the network
//! of a box that has one. [`worker`] is a process for untrusted code, [`parser`] one that parses untrusted files. [`terminal`] gives a command a terminal. [`tool`] runs a program of the host, [`confined`] one that reads
//! untrusted files. [`ending`] explains an exit status. Nothing else in piimg starts a process.

#![cfg_attr(test, expect(clippy::disallowed_methods, reason = "tests make what the host or an attacker has"))]

mod collect;
pub mod command;
pub mod confined;
mod container;
pub mod ending;
pub mod error;
pub mod free_space;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod host_box;
pub mod host_files;
pub mod id_map;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod init;
mod landlock;
mod limits;
pub mod log;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod mounts;
pub mod namespace;
pub mod numeric_ids;
pub mod packages;
pub mod parser;
pub mod process;
pub mod proxy;
pub mod sealed;
mod seccomp;
pub mod shell;
pub mod terminal;
pub mod text;
pub mod tool;
pub mod watched;
pub mod worker;
