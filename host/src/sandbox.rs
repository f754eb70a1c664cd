//! Processes and the walls around them.
//!
//! [`private`] is the namespace in which the whole build runs, [`command`] a command inside the image in a
//! tighter box of its own, [`proxy`] the network of one that has any, [`worker`] a process for code that nobody trusts, and
//! [`parser`] one for files of strangers, [`tool`] a program of the host, [`confined`] one that reads such files;
//! [`ending`] says how one ended. Nothing else in piimg starts a process.

mod collect;
pub mod command;
pub mod confined;
pub mod disk;
pub mod ending;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub mod host_box;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
pub(crate) mod init;
mod landlock;
mod limits;
#[expect(clippy::disallowed_methods, reason = "it runs in the private namespace, which sees nothing of the host")]
mod mounts;
pub mod names;
pub mod parser;
pub mod private;
pub mod proxy;
mod seccomp;
pub mod shell;
pub mod tool;
pub mod watched;
pub mod worker;
