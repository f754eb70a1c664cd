//! Writes a customization plugin for piimg.
//!
//! A plugin describes itself in [`Plugin::conf`], which must be pure: it cannot call the host. It does its work in
//! [`Plugin::execute`] through [`fs`], [`process`], [`packages`] and [`assets`]; each call is compared with the
//! capabilities that `conf` asked for and the person who builds the image granted.
//!
//! ```
//! use piimg_plugin_sdk::{Plugin, PluginConf, Result, fs};
//!
//! const NOTE: &str = "/etc/breadcrumb";
//!
//! struct Breadcrumb;
//! impl Plugin for Breadcrumb {
//!     fn conf() -> PluginConf {
//!         PluginConf::new("example/breadcrumb", "0.1.0", "Breadcrumb").needs_because(fs::writing(NOTE), "the note itself")
//!     }
//!     fn execute() -> Result { Ok(fs::write(NOTE, "was here\n").apply()?) }
//! }
//! piimg_plugin_sdk::plugin!(Breadcrumb);
//! ```
//!
//! Built with `cargo build --release --target wasm32-wasip2` as a `cdylib`. Natively, in `cargo test`, the functions of
//! the host do not exist and panic: test what the plugin decides, in functions of its own.
//!
//! **What changes the image and has more to it than a name is a value, and `apply` does it.** Such a value says itself
//! what it takes: `conf()` hands it to [`PluginConf::needs`], so that no scope is written twice. In the words of these
//! values (names, paths, addresses) `{params.NAME}` stands for a parameter, as it does in scopes; see [`Needs`].
//!
//! `println!` and `eprintln!` end up in the build's log. The clock stands still at the build's fixed time, random
//! numbers are the same in every build, and there are no threads, sockets or files but those of the image.

#![warn(missing_docs)]

pub mod apt;
pub mod assets;
mod blob;
pub mod boot_config;
mod conf;
pub mod context;
pub mod debconf;
mod error;
pub mod fs;
pub mod git;
pub mod log;
pub mod login;
mod need;
pub mod net;
pub mod network;
pub mod node;
pub mod packages;
pub mod process;
pub mod python;
pub mod region;
pub mod services;
pub mod sudo;
mod template;
pub mod text;
pub mod users;

pub use blob::Blob;
pub use conf::{Capability, Image, Kind, Param, PluginConf};
pub use error::{Error, ErrorCode};
pub use need::{Need, Needs};

/// The result of `execute`: any error will do, [`Error`] among them.
pub type Result<T = (), E = Box<dyn std::error::Error>> = std::result::Result<T, E>;

/// A customization.
///
/// ```
/// use piimg_plugin_sdk::{Plugin, PluginConf, Result, log};
///
/// struct Hello;
///
/// impl Plugin for Hello {
///     fn conf() -> PluginConf { PluginConf::new("example/hello", "0.1.0", "Hello") }
///     fn execute() -> Result {
///         log::info!("hello");
///         Ok(())
///     }
/// }
///
/// piimg_plugin_sdk::plugin!(Hello);
/// ```
pub trait Plugin {
    /// Describes the plugin. It runs before anything is decided and cannot call the host; the answer must always be
    /// the same.
    fn conf() -> PluginConf;

    /// Does the work.
    ///
    /// # Errors
    /// Any error fails the build and drops what the plugin did; its message and causes are shown.
    fn execute() -> Result;
}

/// Makes the given type, which implements [`Plugin`], the plugin of this crate. Once per crate.
#[macro_export]
macro_rules! plugin {
    ($plugin:ty) => {
        // Natively there is nothing to export to: `cargo test` builds the plugin as an ordinary library, of which this
        // is the one use.
        #[cfg(not(target_arch = "wasm32"))]
        const _: (fn() -> $crate::PluginConf, fn() -> $crate::Result) =
            (<$plugin as $crate::Plugin>::conf, <$plugin as $crate::Plugin>::execute);

        #[cfg(target_arch = "wasm32")]
        const _: () = {
            type Exported = $crate::__private::Shim<$plugin>;
    $crate::__private::bindings::export_customization!(Exported with_types_in $crate::__private::bindings);
        };
    };
}

/// The plugin that the read-me shows compiles.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
mod readme {}

/// The code to which [`plugin!`] expands; not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub mod bindings {
        wit_bindgen::generate!({
            path: "wit",
            world: "prepared-plugin",
            pub_export_macro: true,
            export_macro_name: "export_customization",
            default_bindings_module: "piimg_plugin_sdk::__private::bindings",
            runtime_path: "wit_bindgen::rt",
            generate_all,
        });
    }

    use bindings::exports::piimg::plugin::customization::{Failure, Guest};
    use bindings::exports::piimg::plugin::preparation;
    use bindings::piimg::plugin::{manifest, wishes};

    /// Carries a [`Plugin`](crate::Plugin) over to the generated trait.
    #[derive(Debug)]
    pub struct Shim<P>(std::marker::PhantomData<P>);

    impl<P: crate::Plugin> Guest for Shim<P> {
        fn conf() -> manifest::PluginConf {
            report_panics();
            P::conf().into_raw().0
        }

        fn execute() -> Result<(), Failure> {
            report_panics();
            P::execute().map_err(|error| crate::error::failure(&*error))
        }
    }

    impl<P: crate::Plugin> preparation::Guest for Shim<P> {
        fn answers() -> Vec<wishes::Answer> {
            report_panics();
            P::conf().into_raw().1.answers
        }

        fn repositories() -> Vec<preparation::Repository> {
            report_panics();
            P::conf().into_raw().1.repositories
        }

        fn pins() -> Vec<wishes::Pin> {
            report_panics();
            P::conf().into_raw().1.pins
        }

        fn removals() -> Vec<String> {
            report_panics();
            P::conf().into_raw().1.removals
        }
    }

    /// Sends the message of a panic to the host, for a trap carries no text.
    fn report_panics() {
        std::panic::set_hook(Box::new(|info| {
            let message = info.payload_as_str().unwrap_or("a panic without a message");
            let location = info.location().map(ToString::to_string).unwrap_or_default();
            bindings::piimg::plugin::log::panicked(message, &location);
        }));
    }
}
