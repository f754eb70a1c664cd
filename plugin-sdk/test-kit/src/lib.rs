//! Tests a piimg plugin against a small image.
//!
//! ```no_run
//! use piimg_plugin_test::Trial;
//!
//! let ran = Trial::new(env!("CARGO_MANIFEST_DIR"))
//!     .param("greeting", "hello")
//!     .command("systemctl", ["daemon-reload"])
//!     .run();
//! assert_eq!(ran.read("/etc/motd"), "hello\n");
//! assert_eq!(ran.entry("/etc/motd").mode, 0o644);
//! ```
//!
//! The installed program `piimg` runs the component (the variable `PIIMG` names another one): the gate, the host functions
//! and the path safety are those of a build, and nothing of them is here. That keeps the dependency small and a test fast:
//! the compiled component is kept in the user's cache. Files are real, in a copy that is gone after the test; owners and modes
//! are what the plugin set, although the test is no root's. Commands, packages and downloads are what the test says.
//!
//! Each method panics with one plain sentence where a test is wrong, as an assertion does.

mod component;
mod ran;
mod trial;

pub use ran::{Call, Entry, Failed, LogLine, Ran, Refused};
pub use trial::{Stub, Trial};
