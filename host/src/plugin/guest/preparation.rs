//! Calls the optional export `preparation`: a component's wishes for the package manager before `execute`.

use wasmtime::Store;
use wasmtime::component::{ComponentExportIndex, ComponentNamedList, ComponentType, Instance, Lift};

use super::State;
use super::bindings::piimg::plugin::wishes::{Answer, Pin};
use crate::recipe::conf::{self, Wishes};

const INTERFACE: &str = "piimg:plugin/preparation@0.1.0";

/// Asks for all that it wants; nothing if it does not say.
pub(in crate::plugin) fn wishes(store: &mut Store<State>, instance: &Instance) -> wasmtime::Result<Wishes> {
    let Some((_, interface)) = instance.get_export(&mut *store, None, INTERFACE) else {
        return Ok(Wishes::default());
    };
    let answers: Vec<Answer> = ask(store, instance, &interface, "answers")?;
    Ok(Wishes {
        answers: answers.into_iter().map(Into::into).collect(),
        pins: ask::<Pin>(store, instance, &interface, "pins")?.into_iter().map(Into::into).collect(),
        repositories: ask::<Repository>(store, instance, &interface, "repositories")?
            .into_iter()
            .map(Into::into)
            .collect(),
        removals: ask(store, instance, &interface, "removals")?,
    })
}

/// The contract's type, declared here: the bindings cover only what every component exports.
#[derive(ComponentType, Lift)]
#[component(record)]
struct Repository {
    name: String,
    url: String,
    suite: String,
    components: Vec<String>,
    fingerprints: Vec<String>,
    key: Vec<u8>,
}

impl From<Repository> for conf::Repository {
    fn from(raw: Repository) -> Self {
        let Repository { name, url, suite, components, fingerprints, key } = raw;
        Self { name, url, suite, components, fingerprints, key }
    }
}

/// Calls one of its functions. One that an older component does not have yet wants nothing.
fn ask<T>(
    store: &mut Store<State>,
    instance: &Instance,
    interface: &ComponentExportIndex,
    name: &str,
) -> wasmtime::Result<Vec<T>>
where
    T: Lift + Send + Sync + 'static,
    (Vec<T>,): ComponentNamedList + Lift,
{
    let Some((_, function)) = instance.get_export(&mut *store, Some(interface), name) else { return Ok(Vec::new()) };
    let function = instance.get_typed_func::<(), (Vec<T>,)>(&mut *store, function)?;
    Ok(function.call(store, ())?.0)
}
