//! Plugins: what they are, what they may do, and how they run.
//!
//! [`inspect`] looks at a component before anything is decided, [`grant`] decides, [`run`] executes. Between the
//! guest's side (`guest`, `engine`, in a process of its own: `worker`) and the host's side (`interface`) only the plain data
//! of `protocol` travels. The
//! gate sits below the bindings, in `interface`, in one place for every version of the contract. Nothing here knows
//! how the rootfs is made or how a command is run: that is behind [`workbench::Workbench`].

pub(crate) mod about;
pub(crate) mod capability;
mod compiled;
mod engine;
pub mod functions;
pub mod grant;
mod guest;
pub mod inspect;
mod interface;
pub mod lock;
pub mod policy;
pub mod proposal;
pub mod protocol;
pub mod replay;
pub mod run;
pub mod transcript;
pub mod workbench;
mod worker;

pub use capability::{
    Capability, Invocation, Kind, Need, Reach, Risk, ScopeError, ServiceAction, Template, UserAction,
};
pub use compiled::CodeCache;
pub use engine::Limits;
pub use interface::{LogSink, Session, Uses};
pub use protocol::{ImageInfo, Level};
pub(crate) use worker::inside;
pub use worker::{Answer, CompileLimits, Ended, Engine, Returned, Said, engine, wire};
