//! Chooses how the build runs the image's programs: directly, with native tools, or emulated.

use std::cell::OnceCell;
use std::fs;
use std::path::{Path, PathBuf};

use super::archives::Archives;
use super::native_tools;
use crate::emulation::{self, Mode};
use crate::error::{Failure, Result};
use crate::log;
use crate::sandbox::command::bound_addresses;
use crate::store::Store;
use crate::ui::Step;

/// Bytes of addresses that an emulated program may reserve. MariaDB wants 8 TiB, and takes half of it as often as it is
/// refused, down to 128 GiB. qemu-user before 8.0 keeps 16 bytes for each page that a program reserves, which are 768 MiB
/// for all of this.
const ADDRESSES: u64 = 192 << 30;

/// The way in which this build runs the image's programs.
#[derive(Debug)]
pub(super) struct Emulation {
    architecture: String,
    mode: Mode,
    /// Result of [`emulation::is_registered_on_host`] in the outer process.
    registered_on_host: bool,
    method: OnceCell<Method>,
}

/// The method chosen by [`Emulation`].
#[derive(Clone, Debug, PartialEq, Eq)]
enum Method {
    /// The processor itself.
    Native,
    /// Our handler, registered for this build only; the tree of the tools layer.
    Tools(PathBuf),
    /// qemu-user, registered for this build only.
    Private,
    /// qemu-user, as the host has it registered: the kernel is too old for a private registration.
    Host,
}

impl Emulation {
    pub(super) fn new(architecture: &str, mode: Mode, registered_on_host: bool) -> Self {
        Self { architecture: architecture.to_owned(), mode, registered_on_host, method: OnceCell::new() }
    }

    pub(super) fn is_foreign(&self) -> bool {
        self.architecture != emulation::host_architecture()
    }

    /// Makes programs of the image's architecture runnable in this namespace, once, and returns the trees to lay
    /// below the image's layers while commands run.
    ///
    /// # Privileges
    /// Uid 0 of the private namespace.
    ///
    /// # Errors
    /// [`Failure::host`] if the emulator is missing, or if the kernel has no private `binfmt_misc` and the host
    /// has no emulator registered either.
    pub(super) fn prepare(&self, store: &Store, archives: Archives<'_>, step: &Step) -> Result<Vec<PathBuf>> {
        if self.method.get().is_none() {
            let method = self.set_up(store, archives, step)?;
            if method != Method::Native {
                bound_addresses(ADDRESSES);
            }
            log::decision(format_args!("programs of {} run by: {method:?}", self.architecture));
            self.method.set(method).expect("nobody else sets it");
        }
        Ok(match self.method.get() {
            Some(Method::Tools(tree)) => vec![tree.clone()],
            _ => Vec::new(),
        })
    }

    fn set_up(&self, store: &Store, archives: Archives<'_>, step: &Step) -> Result<Method> {
        if !self.is_foreign() {
            return Ok(Method::Native);
        }
        let architecture = self.architecture.as_str();
        // Checked before anything is prepared: the error names the missing emulator.
        emulation::emulator_path(architecture)?;
        let mounted = emulation::mount_private();
        let possible = mounted && native_tools::multiarch().is_some();
        if self.mode == Mode::NativeTools && !possible {
            return Err(Failure::host(
                "native tools need an amd64 host and a kernel with a private binfmt_misc (Linux 6.7)",
            )
            .hint("use --emulation plain")
            .into());
        }
        if !mounted {
            step.line("this kernel has no private binfmt_misc: every program of the image is emulated, which is slow");
            if self.registered_on_host {
                return Ok(Method::Host);
            }
            let text = format!(
                "this kernel has no private binfmt_misc (Linux 6.7 has), and the host runs no {architecture} programs"
            );
            return Err(Failure::host(text)
                .hint("let it: sudo apt-get install qemu-user-static binfmt-support")
                .into());
        }
        if self.mode != Mode::Plain && possible {
            match native_tools::ensure(store, &native_tools::Request { archives, architecture }, step) {
                Ok(tree) => return emulation::register_handler(architecture).map(|()| Method::Tools(tree)),
                Err(error) if self.mode == Mode::NativeTools => return Err(error),
                // A mirror may have packages of the image's architecture only.
                Err(error) => step.warn(&format!(
                    "native tools cannot be prepared, so every program of the image is emulated, which is slow: {error:#}"
                )),
            }
        }
        emulation::register_emulator(architecture).map(|()| Method::Private)
    }

    /// Returns the key of the tools layer that a build of this kind runs with, if it runs with one.
    pub(super) fn tools_key(&self, archives: Archives<'_>) -> Option<String> {
        let request = native_tools::Request { archives, architecture: &self.architecture };
        (self.is_foreign() && self.mode != Mode::Plain).then(|| native_tools::key_of(&request).ok()).flatten()
    }

    /// Checks that a finished layer holds nothing of the tools layer that lay below it.
    ///
    /// # Errors
    /// [`Failure::build`] if a command changed something there.
    pub(super) fn check_layer(&self, layer: &Path) -> Result<()> {
        if fs::symlink_metadata(layer.join(native_tools::PRIVATE)).is_ok() {
            return Err(Failure::build(format!(
                "a command changed `/{}`, which belongs to the build",
                native_tools::PRIVATE
            ))
            .into());
        }
        Ok(())
    }
}
