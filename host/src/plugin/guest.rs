//! Runs the component, and passes each of its calls on as a [`Call`]. It decides nothing, and lives in a worker
//! ([`super::worker`]).

mod convert;
mod imports;
pub(super) mod preparation;
mod stdio;

use std::fmt;
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use wasmtime::component::{Component, HasSelf, Linker};
use wasmtime::{Engine, Store, UpdateDeadline};
use wasmtime_wasi::{ResourceTable, WasiCtx, WasiCtxView, WasiView};

use super::engine::{HOSTCALL_FUEL, LimitHit, Limits, Memory, TICK};
use super::protocol::{Call, Reply};

/// The contract's types and functions, as Rust.
pub(super) mod bindings {
    /// Stands for a blob in the table of resources: its number is the host's.
    #[expect(unreachable_pub, reason = "the generated code re-exports it")]
    #[derive(Debug)]
    pub struct BlobHandle;

    wasmtime::component::bindgen!({
        path: "../wit",
        world: "plugin",
        imports: { default: trappable },
        with: { "piimg:plugin/blobs.blob": BlobHandle },
    });
}

pub(super) use bindings::Plugin;
pub(super) use stdio::OFFERED;

/// Way to the host's side: one reply for each call.
pub(super) type Ask = dyn FnMut(Call) -> Reply + Send;

/// Shared with the standard streams.
#[derive(Clone)]
pub(super) struct Port(Arc<Mutex<PortInner>>);

struct PortInner {
    ask: Box<Ask>,
    /// Time spent in host functions, which is not the guest's.
    waited: Duration,
}

impl Port {
    pub(super) fn new(ask: Box<Ask>) -> Self {
        Self(Arc::new(Mutex::new(PortInner { ask, waited: Duration::ZERO })))
    }

    pub(super) fn ask(&self, call: Call) -> Reply {
        let mut inner = self.0.lock().expect("no call panics");
        let start = Instant::now();
        let reply = (inner.ask)(call);
        inner.waited += start.elapsed();
        reply
    }

    fn waited(&self) -> Duration {
        self.0.lock().expect("no call panics").waited
    }
}

impl fmt::Debug for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Port")
    }
}

/// Data of a store.
pub(super) struct State {
    memory: Memory,
    pub(super) port: Port,
    wasi: WasiCtx,
    table: ResourceTable,
    /// Whether the guest has asked for the time.
    pub(super) clock_is_read: Arc<AtomicBool>,
}

impl WasiView for State {
    fn ctx(&mut self) -> WasiCtxView<'_> {
        WasiCtxView { ctx: &mut self.wasi, table: &mut self.table }
    }
}

/// Returns a store with its limits; `epoch` is the only time its clocks show, `seed` the source of its random numbers.
pub(super) fn store(
    engine: &Engine,
    port: Port,
    limits: Limits,
    epoch: u64,
    seed: &[u8; 32],
) -> wasmtime::Result<Store<State>> {
    let mut table = ResourceTable::new();
    table.set_max_capacity(1000);
    let clock_is_read = Arc::new(AtomicBool::new(false));
    let wasi = stdio::context(epoch, Arc::clone(&clock_is_read), seed);
    let state = State { memory: Memory::new(limits.memory), port: port.clone(), wasi, table, clock_is_read };
    let mut store = Store::new(engine, state);
    store.limiter(|state| &mut state.memory);
    store.set_fuel(limits.fuel)?;
    store.set_hostcall_fuel(HOSTCALL_FUEL);
    store.set_epoch_deadline(1);
    let start = Instant::now();
    store.epoch_deadline_callback(move |_| {
        let used = start.elapsed().saturating_sub(port.waited());
        if used > limits.time + TICK {
            return Err(wasmtime::Error::new(LimitHit::Time(limits.time)));
        }
        Ok(UpdateDeadline::Continue(1))
    });
    Ok(store)
}

/// Makes the linker with everything that `execute()` may import.
pub(super) fn linker(engine: &Engine) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    Plugin::add_to_linker::<_, HasSelf<_>>(&mut linker, |state| state)?;
    stdio::add_to_linker(&mut linker)?;
    Ok(linker)
}

/// Makes the linker for `conf()`, in which every import traps. Keeps a panic's message, which the trap does not have.
pub(super) fn pure_linker(engine: &Engine, component: &Component) -> wasmtime::Result<Linker<State>> {
    let mut linker = Linker::new(engine);
    linker.instance("piimg:plugin/log@0.1.0")?.func_wrap(
        "panicked",
        |_, (message, location): (String, String)| -> wasmtime::Result<()> {
            Err(wasmtime::Error::msg(format!("panicked: {message} ({location})")))
        },
    )?;
    linker.define_unknown_imports_as_traps(component)?;
    Ok(linker)
}
