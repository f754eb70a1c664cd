//! Runs in the worker: everything that touches a guest's code.

use std::fs::File;
use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};

use wasmtime::Engine;
use wasmtime::component::Component;

use super::wire::{hear, say};
use super::{Answer, Ended, Job, Returned, Said};
use crate::error::{Context as _, Result};
use crate::plugin::engine::{self, Limits};
use crate::plugin::guest::{self, Plugin, Port};
use crate::plugin::protocol::Reply;
use crate::recipe::conf::PluginConf;
use crate::sandbox::worker::{Entered, enter};
use crate::sealed;

/// Implements `piimg __worker`: does one job of its host.
///
/// # Errors
/// If it was not started by a host, or the host is gone.
pub(crate) fn main(arguments: &[String]) -> Result<i32> {
    let mut entered = enter(arguments)?;
    if let Err(error) = entered.confine() {
        say(&mut entered.socket, &Said::NotConfined(format!("{error:#}"))).context("the host is gone")?;
        return Ok(1);
    }
    let Entered { mut socket, files, .. } = entered;
    let job = hear(&mut socket).context("the host is gone")?;
    let socket = Arc::new(Mutex::new(socket));
    let ended = work(&socket, &job, &files)?;
    say(&mut lock(&socket), &Said::Ended(Box::new(ended))).context("the host is gone")?;
    Ok(0)
}

fn lock(socket: &Mutex<UnixStream>) -> MutexGuard<'_, UnixStream> {
    socket.lock().expect("no call panics")
}

fn work(socket: &Arc<Mutex<UnixStream>>, job: &Job, files: &[File]) -> Result<Ended> {
    let engine = engine::with_settings()?;
    let mut files = files.iter();
    let mut next = || files.next().context("the host gave too few files");
    Ok(match job {
        Job::Compile => Ended::without_time(compile(&engine, next()?, next()?)),
        Job::Conf => Ended::without_time(load(&engine, next()?).and_then(|code| conf(&engine, &code))),
        Job::Execute { limits, epoch, seed } => match load(&engine, next()?) {
            Ok(code) => execute(&engine, &code, Arc::clone(socket), *limits, *epoch, seed),
            Err(cause) => Ended::without_time(Err(cause)),
        },
    })
}

fn read(file: &File) -> std::result::Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    sealed::content(file).read_to_end(&mut bytes).map_err(|error| format!("cannot be read: {error}"))?;
    Ok(bytes)
}

fn compile(engine: &Engine, component: &File, mut code: &File) -> std::result::Result<Answer, String> {
    let native = engine.precompile_component(&read(component)?).map_err(|error| format!("{error:#}"))?;
    code.write_all(&native).map_err(|error| format!("its code cannot be written: {error}"))?;
    Ok(Answer::Compiled)
}

#[expect(unsafe_code, reason = "the engine cannot know where native code comes from")]
fn load(engine: &Engine, code: &File) -> std::result::Result<Component, String> {
    // SAFETY: these bytes may be anything, but this process is confined. They can do no more than a guest that has
    // broken out of the engine, which is what the process is made for.
    unsafe { Component::deserialize(engine, read(code)?) }.map_err(|error| format!("cannot be loaded: {error:#}"))
}

fn conf(engine: &Engine, component: &Component) -> std::result::Result<Answer, String> {
    let explain = |error: wasmtime::Error| engine::explain(&error, Limits::CONF);
    let linker = guest::pure_linker(engine, component).map_err(explain)?;
    let run = || -> wasmtime::Result<PluginConf> {
        // No function that would ask is linked, so no answer is needed.
        let port = Port::new(Box::new(|_| Reply::Done));
        let mut store = guest::store(engine, port, Limits::CONF, 0, &[0; 32])?;
        let instance = linker.instantiate(&mut store, component)?;
        let plugin = Plugin::new(&mut store, &instance)?;
        let conf: PluginConf = plugin.piimg_plugin_customization().call_conf(&mut store)?.into();
        Ok(PluginConf { wishes: guest::preparation::wishes(&mut store, &instance)?, ..conf })
    };
    let (first, second) = engine::with_ticks(engine, || (run(), run()));
    Ok(Answer::Conf(Box::new([first.map_err(explain)?, second.map_err(explain)?])))
}

fn execute(
    engine: &Engine,
    component: &Component,
    socket: Arc<Mutex<UnixStream>>,
    limits: Limits,
    epoch: u64,
    seed: &[u8; 32],
) -> Ended {
    let ask = move |call| {
        let mut socket = lock(&socket);
        let answer = say(&mut socket, &Said::Call(call)).and_then(|()| hear(&mut socket));
        // A worker that has lost its host is about to be killed.
        answer.unwrap_or_else(|_| Reply::Stop("lost the host".into()))
    };
    let (mut fuel, mut read_clock) = (0, false);
    let result = engine::with_ticks(engine, || -> std::result::Result<_, String> {
        let explain = |error: wasmtime::Error| engine::explain(&error, limits);
        let linker = guest::linker(engine).map_err(explain)?;
        let mut store = guest::store(engine, Port::new(Box::new(ask)), limits, epoch, seed).map_err(explain)?;
        let result = Plugin::instantiate(&mut store, component, &linker)
            .and_then(|plugin| plugin.piimg_plugin_customization().call_execute(&mut store));
        fuel = limits.fuel.saturating_sub(store.get_fuel().unwrap_or_default());
        read_clock = store.data().clock_is_read.load(Ordering::Relaxed);
        result.map_err(explain)
    });
    let returned = |failure: guest::bindings::exports::piimg::plugin::customization::Failure| Returned {
        message: failure.message,
        causes: failure.causes,
        needed: failure.error.and_then(|error| error.needed),
    };
    Ended { result: result.map(|result| Answer::Executed(result.map_err(returned))), fuel, read_clock }
}
