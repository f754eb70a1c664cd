//! Implements the few interfaces of WASI that the Rust standard library needs: standard streams that end up in the log,
//! clocks that stand still, seeded random numbers, and an empty environment. No directory, no socket, no waiting.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use wasmtime::component::{HasData, Linker, Resource, ResourceTable};
use wasmtime_wasi::p2::bindings::{cli, clocks, filesystem, random, sync};
use wasmtime_wasi::p2::{DynOutputStream, DynPollable, OutputStream, Pollable, StreamResult};
use wasmtime_wasi::{
    Deterministic, HostMonotonicClock, HostWallClock, WasiCtx, WasiView, cli as wasi_cli, clocks as wasi_clocks,
};
use wasmtime_wasi::{filesystem as wasi_filesystem, random as wasi_random};

use super::{Port, State};
use crate::plugin::protocol::Call;

/// Interfaces of WASI that exist; a component that imports any other one is refused before it runs.
pub(in crate::plugin) const OFFERED: [&str; 19] = [
    "wasi:cli/environment",
    "wasi:cli/exit",
    "wasi:cli/stdin",
    "wasi:cli/stdout",
    "wasi:cli/stderr",
    "wasi:cli/terminal-input",
    "wasi:cli/terminal-output",
    "wasi:cli/terminal-stdin",
    "wasi:cli/terminal-stdout",
    "wasi:cli/terminal-stderr",
    "wasi:clocks/monotonic-clock",
    "wasi:clocks/wall-clock",
    "wasi:filesystem/preopens",
    "wasi:filesystem/types",
    "wasi:io/error",
    "wasi:io/poll",
    "wasi:io/streams",
    "wasi:random/insecure-seed",
    "wasi:random/random",
];

/// Version under which the other interfaces are linked; a guest made for any 0.2.x finds them.
const VERSION: &str = "0.2.12";
/// A line without end is cut into pieces of this size.
const MAX_LINE: usize = 4096;

/// Stands still at a time, and remembers whether anybody looked.
struct FixedClock {
    seconds: u64,
    is_read: Arc<AtomicBool>,
}

impl HostWallClock for FixedClock {
    fn resolution(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn now(&self) -> Duration {
        self.is_read.store(true, Ordering::Relaxed);
        Duration::from_secs(self.seconds)
    }
}

/// Counts nothing.
struct StoppedClock;

impl HostMonotonicClock for StoppedClock {
    fn resolution(&self) -> u64 {
        1
    }

    fn now(&self) -> u64 {
        0
    }
}

/// Makes the WASI context. `is_read` becomes true when the guest asks for the time.
pub(super) fn context(epoch: u64, is_read: Arc<AtomicBool>, seed: &[u8; 32]) -> WasiCtx {
    let number = u128::from_le_bytes(seed[..16].try_into().expect("16 of 32 bytes"));
    let mut builder = WasiCtx::builder();
    builder
        .wall_clock(FixedClock { seconds: epoch, is_read })
        .monotonic_clock(StoppedClock)
        .secure_random(Deterministic::new(seed.to_vec()))
        .insecure_random(Deterministic::new(seed.to_vec()))
        .insecure_random_seed(number)
        .max_random_size(1 << 20)
        .allow_tcp(false)
        .allow_udp(false);
    builder.build()
}

struct Io;

impl HasData for Io {
    type Data<'a> = &'a mut ResourceTable;
}

pub(super) fn add_to_linker(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    let l = linker;
    cli::environment::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    cli::exit::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    cli::stdin::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    cli::terminal_input::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    cli::terminal_output::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    cli::terminal_stdin::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    cli::terminal_stdout::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    cli::terminal_stderr::add_to_linker::<State, wasi_cli::WasiCli>(l, wasi_cli::WasiCliView::cli)?;
    clocks::wall_clock::add_to_linker::<State, wasi_clocks::WasiClocks>(l, wasi_clocks::WasiClocksView::clocks)?;
    clocks::monotonic_clock::add_to_linker::<State, wasi_clocks::WasiClocks>(l, wasi_clocks::WasiClocksView::clocks)?;
    filesystem::preopens::add_to_linker::<State, wasi_filesystem::WasiFilesystem>(
        l,
        wasi_filesystem::WasiFilesystemView::filesystem,
    )?;
    sync::filesystem::types::add_to_linker::<State, wasi_filesystem::WasiFilesystem>(
        l,
        wasi_filesystem::WasiFilesystemView::filesystem,
    )?;
    random::random::add_to_linker::<State, wasi_random::WasiRandom>(l, wasi_random::WasiRandomView::random)?;
    random::insecure_seed::add_to_linker::<State, wasi_random::WasiRandom>(l, wasi_random::WasiRandomView::random)?;
    wasmtime_wasi::p2::bindings::io::error::add_to_linker::<State, Io>(l, |state| state.ctx().table)?;
    sync::io::poll::add_to_linker::<State, Io>(l, |state| state.ctx().table)?;
    sync::io::streams::add_to_linker::<State, Io>(l, |state| state.ctx().table)?;
    output(l, "stdout", false)?;
    output(l, "stderr", true)?;
    no_waiting(l)
}

/// Adds standard streams of piimg's own: those of WASI would pass through a task and lose their last line.
fn output(linker: &mut Linker<State>, name: &'static str, error: bool) -> wasmtime::Result<()> {
    let mut instance = linker.instance(&format!("wasi:cli/{name}@{VERSION}"))?;
    instance.func_wrap(&format!("get-{name}"), move |mut store, ()| -> wasmtime::Result<(Resource<DynOutputStream>,)> {
        let stream = Lines { port: store.data().port.clone(), error, line: Vec::new() };
        Ok((store.data_mut().table.push(Box::new(stream) as DynOutputStream)?,))
    })
}

/// Returns the clock stands still, so waiting would never end; and a guest that sleeps is not stopped by its time
/// limit.
fn no_waiting(linker: &mut Linker<State>) -> wasmtime::Result<()> {
    linker.allow_shadowing(true);
    let mut clock = linker.instance(&format!("wasi:clocks/monotonic-clock@{VERSION}"))?;
    for name in ["subscribe-duration", "subscribe-instant"] {
        clock.func_wrap(name, |_, (_,): (u64,)| -> wasmtime::Result<(Resource<DynPollable>,)> {
            Err(wasmtime::Error::msg("tried to wait, but a plugin's clock stands still"))
        })?;
    }
    linker.allow_shadowing(false);
    Ok(())
}

/// Cuts what is printed into lines.
struct Lines {
    port: Port,
    error: bool,
    line: Vec<u8>,
}

impl Lines {
    fn send(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        self.port.ask(Call::Printed { error: self.error, line });
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.line.is_empty() {
            self.send();
        }
    }
}

#[wasmtime_wasi::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        for byte in bytes {
            if byte != b'\n' {
                self.line.push(byte);
            }
            if byte == b'\n' || self.line.len() == MAX_LINE {
                self.send();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(MAX_LINE)
    }
}
