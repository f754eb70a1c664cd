//! Configures the engine: deterministic, bounded, with only the WebAssembly features that plugins need. Explains traps.

use std::fmt;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use wasmtime::{Config, Engine, ResourceLimiter, Trap, WasmBacktrace, WasmBacktraceDetails};

use crate::error::{Failure, Result};
use crate::ui::printable;

/// Time between two checks of a running guest.
pub(super) const TICK: Duration = Duration::from_millis(50);

/// Bytes that one call may carry from the guest to the host.
pub(super) const HOSTCALL_FUEL: usize = 8 << 20;

/// Limits of a guest.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of all its memories together.
    pub memory: usize,
    /// Instructions, roughly; the same for the same plugin and input on every machine.
    pub fuel: u64,
    /// Its own running time, without host functions.
    pub time: Duration,
}

impl Limits {
    /// Limits of `conf()`.
    pub const CONF: Self = Self { memory: 64 << 20, fuel: 50_000_000, time: Duration::from_secs(10) };
    /// Limits of `execute()`.
    pub const EXECUTE: Self = Self { memory: 256 << 20, fuel: 100_000_000_000, time: Duration::from_secs(300) };
}

/// Makes an engine. One is enough for a process.
///
/// # Errors
/// [`Failure::host`] if this machine cannot run one.
pub(super) fn with_settings() -> Result<Engine> {
    let mut config = Config::new();
    config
        .consume_fuel(true)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .cranelift_nan_canonicalization(true)
        .relaxed_simd_deterministic(true)
        .wasm_relaxed_simd(false)
        .wasm_memory64(false)
        .wasm_backtrace_details(WasmBacktraceDetails::Enable);
    Engine::new(&config).map_err(|error| Failure::host(format!("cannot start the plugin engine: {error}")).into())
}

/// Advances the engine's epoch while `work` is done, so that a guest that never calls anything is looked at too.
pub(super) fn with_ticks<T>(engine: &Engine, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = mpsc::channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // Hanging up the channel ends the wait at once.
            while is_done.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                engine.increment_epoch();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

/// A limit that a guest ran into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LimitHit {
    Memory(usize),
    Time(Duration),
    Table,
}

impl fmt::Display for LimitHit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(limit) => {
                write!(f, "used more than {} of memory", crate::ui::bytes(u64::try_from(*limit).unwrap_or(u64::MAX)))
            }
            Self::Time(limit) => write!(f, "ran for longer than {}", crate::ui::seconds(*limit)),
            Self::Table => f.write_str("used more table entries than any plugin needs"),
        }
    }
}

impl std::error::Error for LimitHit {}

/// Counts the memory of a whole store: the engine's own limits are per memory.
#[derive(Debug)]
pub(super) struct Memory {
    limit: usize,
    used: usize,
}

impl Memory {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, used: 0 }
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(&mut self, current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        let used = self.used.saturating_add(desired.saturating_sub(current));
        if used > self.limit {
            // An error here traps at the place of the allocation, which tells more than a failed allocation.
            return Err(wasmtime::Error::new(LimitHit::Memory(self.limit)));
        }
        self.used = used;
        Ok(true)
    }

    fn table_growing(&mut self, _current: usize, desired: usize, _maximum: Option<usize>) -> wasmtime::Result<bool> {
        if desired > 100_000 { Err(wasmtime::Error::new(LimitHit::Table)) } else { Ok(true) }
    }
}

/// Explains the end of a guest in words that follow "the plugin": the cause, and the place in the plugin's source if it
/// is known.
pub(super) fn explain(error: &wasmtime::Error, limits: Limits) -> String {
    let cause = if let Some(limit) = error.downcast_ref::<LimitHit>() {
        limit.to_string()
    } else {
        match error.downcast_ref::<Trap>() {
            Some(Trap::OutOfFuel) => format!("used more than {} instructions", limits.fuel),
            Some(Trap::Interrupt) => LimitHit::Time(limits.time).to_string(),
            Some(Trap::StackOverflow) => "used up its stack".to_owned(),
            Some(Trap::UnreachableCodeReached) => "stopped itself, without a message".to_owned(),
            Some(trap) => format!("trapped: {trap}"),
            None => other(error),
        }
    };
    match error.downcast_ref::<WasmBacktrace>().and_then(location) {
        Some(place) => format!("{cause} {place}"),
        None => cause,
    }
}

fn other(error: &wasmtime::Error) -> String {
    let text = printable(&error.root_cause().to_string());
    if let Some(name) = text.strip_prefix("unknown import: `").and_then(|rest| rest.split('`').next()) {
        return format!("called `{name}`");
    }
    if text.contains("fuel allocated for hostcalls") {
        return format!("passed more than {HOSTCALL_FUEL} bytes in one call");
    }
    text
}

/// Returns the innermost frame of the plugin's own source: those of the standard library and the SDK tell its author
/// nothing.
fn location(backtrace: &WasmBacktrace) -> Option<String> {
    for frame in backtrace.frames() {
        for symbol in frame.symbols() {
            let Some(file) = symbol.file().filter(|file| is_own_source(file)) else {
                continue;
            };
            let function = symbol.name().or(frame.func_name()).unwrap_or("an unnamed function");
            let line = symbol.line().map(|line| format!(":{line}")).unwrap_or_default();
            return Some(format!("in `{}` ({}{line})", printable(function), printable(file)));
        }
    }
    None
}

fn is_own_source(file: &str) -> bool {
    const FOREIGN: [&str; 8] = [
        "wasisdk://",
        "/rustc/",
        "/library/",
        "/.cargo/registry/",
        "/.rustup/",
        "plugin-sdk/",
        "piimg-plugin-sdk",
        "wit-bindgen",
    ];
    !FOREIGN.iter().any(|part| file.contains(part)) && !file.starts_with("library/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_plugins_own_source_is_told() {
        for (file, own) in [
            ("/home/me/plug/src/lib.rs", true),
            ("src/lib.rs", true),
            ("/rustc/abc/library/core/src/panicking.rs", false),
            ("library/std/src/panicking.rs", false),
            ("wasisdk://v30.0/src/wasi-libc/sources/sbrk.c", false),
            ("/home/me/piimg/plugin-sdk/src/lib.rs", false),
            ("/home/me/.cargo/registry/src/x/serde-1/src/lib.rs", false),
        ] {
            assert_eq!(is_own_source(file), own, "{file}");
        }
    }

    #[test]
    fn memory_is_counted_over_all_memories() {
        let mut memory = Memory::new(100);
        assert!(memory.memory_growing(0, 60, None).unwrap());
        let error = memory.memory_growing(0, 60, None).unwrap_err();
        assert_eq!(error.downcast_ref::<LimitHit>(), Some(&LimitHit::Memory(100)));
        assert!(memory.memory_growing(60, 100, None).unwrap());
    }
}
