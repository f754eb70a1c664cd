//! Inspects plugins, limits what they may do, and runs them.
//!
//! [`inspect`] looks at a component before anything is decided, [`grant`] decides, [`run`] executes. What may be asked for
//! and was granted is the crate `piimg-capability`. Between the guest's side (`guest`, `engine`, in a process of its own:
//! `worker`) and the host's side (`host_calls`) only the plain data of `protocol` travels. The gate sits below the bindings, in
//! `host_calls`, in one place for every version of the contract. Nothing here knows how the rootfs is made or how a command is
//! run: that is behind [`workbench::Workbench`].

pub(crate) mod about;
pub mod audit_log;
mod code;
mod code_cache;
mod engine;
mod guest;
mod host_calls;
pub mod inspect;
mod inspected;
pub mod protocol;
pub mod replay;
pub mod run;
pub mod workbench;
mod worker;

pub use piimg_capability::{capability, functions, grant, grant_prompt, info, lock, policy};

pub use capability::{
    Capability, Declared, Invocation, Kind, Need, Reach, Risk, ScopeError, ServiceAction, Template, UserAction,
};
pub use code_cache::CodeCache;
pub use engine::Limits;
pub use host_calls::{LogSink, Session, Uses};
pub use inspected::InspectedPlugin;
pub use protocol::{ImageInfo, Level};
pub(crate) use worker::inside;
pub use worker::{Answer, CompileLimits, Ended, Engine, Returned, Said, engine, wire};
