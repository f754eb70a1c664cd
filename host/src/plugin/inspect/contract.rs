//! Compares a component's imports and exports with the contract, without compiling or running it.

use wit_component::{DecodedWasm, WitPrinter};
use wit_parser::{InterfaceId, Resolve, WorldId, WorldItem, WorldKey};

use crate::error::Failure;
use crate::plugin::guest::OFFERED;
use crate::plugin::info::ImportedInterface;
use crate::ui::printable;

/// The contract's files, the one that names the package first.
const CONTRACT: [(&str, &str); 17] = [
    ("world.wit", include_str!("../../../../wit/world.wit")),
    ("types.wit", include_str!("../../../../wit/types.wit")),
    ("manifest.wit", include_str!("../../../../wit/manifest.wit")),
    ("log.wit", include_str!("../../../../wit/log.wit")),
    ("context.wit", include_str!("../../../../wit/context.wit")),
    ("blobs.wit", include_str!("../../../../wit/blobs.wit")),
    ("assets.wit", include_str!("../../../../wit/assets.wit")),
    ("fs.wit", include_str!("../../../../wit/fs.wit")),
    ("process.wit", include_str!("../../../../wit/process.wit")),
    ("packages.wit", include_str!("../../../../wit/packages.wit")),
    ("wishes.wit", include_str!("../../../../wit/wishes.wit")),
    ("preparation.wit", include_str!("../../../../wit/preparation.wit")),
    ("boot-config.wit", include_str!("../../../../wit/boot-config.wit")),
    ("services.wit", include_str!("../../../../wit/services.wit")),
    ("users.wit", include_str!("../../../../wit/users.wit")),
    ("net.wit", include_str!("../../../../wit/net.wit")),
    ("git.wit", include_str!("../../../../wit/git.wit")),
];
const CUSTOMIZATION: &str = include_str!("../../../../wit/customization.wit");

/// The export that a component need not have.
const PREPARATION: &str = "preparation";

/// Series of the contract: within it functions are only added.
const SERIES: (u64, u64) = (0, 1);

/// Reason why a file is no plugin for this piimg.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    what: String,
    hint: String,
}

impl Problem {
    fn new(what: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { what: what.into(), hint: hint.into() }
    }

    /// Returns the failure of the file with that name.
    pub fn failure(&self, path: &str) -> Failure {
        Failure::usage(format!("`{}` {}", printable(path), printable(&self.what))).hint(&self.hint)
    }
}

const BUILD: &str = "build the plugin with `cargo build --release --target wasm32-wasip2`, as a `cdylib` that calls `piimg_plugin_sdk::plugin!`";
const NEWER: &str = "use a newer piimg, or build the plugin with the plugin-sdk of this one";
const NO_OTHER: &str = "a plugin reaches the outside only through the functions of the plugin-sdk";

/// Returns the imports, if the component is a plugin. It is read, not compiled and not run.
///
/// # Errors
/// Why it is no plugin for this piimg.
pub fn check(bytes: &[u8]) -> Result<Vec<ImportedInterface>, Problem> {
    match bytes.get(..8) {
        Some([0, b'a', b's', b'm', _, _, 1, 0]) => {}
        Some([0, b'a', b's', b'm', ..]) => {
            return Err(Problem::new("is a core WebAssembly module, not a component", BUILD));
        }
        _ => return Err(Problem::new("is not a WebAssembly file", BUILD)),
    }
    let broken = |error: &dyn std::fmt::Display| Problem::new(format!("is a broken component: {error}"), BUILD);
    let (resolve, world) = match wit_component::decode(bytes).map_err(|error| broken(&error))? {
        DecodedWasm::Component(resolve, world) => (resolve, world),
        DecodedWasm::WitPackage(..) => {
            return Err(Problem::new("is a package of interfaces, not a plugin", BUILD));
        }
    };
    let (ours, our_world) = contract();
    check_exports(&resolve, world)?;
    check_preparation(&resolve, world, &ours)?;
    let mut imports = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else {
            let name = resolve.name_world_key(key);
            return Err(Problem::new(format!("imports `{name}`, which piimg does not offer"), NO_OTHER));
        };
        let import = imported(&resolve, *id);
        check_import(&resolve, key, &import, &ours, our_world)?;
        // Interfaces that only bring types reach nothing.
        if !import.functions.is_empty() {
            imports.push(import);
        }
    }
    Ok(imports)
}

fn contract() -> (Resolve, WorldId) {
    let mut resolve = Resolve::default();
    let mut text: String = CONTRACT.iter().map(|(_, text)| *text).collect::<Vec<_>>().join("\n");
    text.push_str(CUSTOMIZATION);
    let package = resolve.push_str("plugin.wit", &text).expect("the contract's own files are valid");
    let world = resolve.packages[package].worlds["plugin"];
    (resolve, world)
}

/// Returns the contract with a world `plugin` that has only the functions that `is_kept` says, by `interface.function`, as
/// WIT. Types stay, for functions that are left may use them.
///
/// # Panics
/// If the contract cannot be written as WIT, which each test run tries.
pub(crate) fn narrowed(is_kept: impl Fn(&str) -> bool) -> String {
    let (mut resolve, world) = contract();
    let mut unused = Vec::new();
    for (key, item) in &resolve.worlds[world].imports {
        let WorldItem::Interface { id, .. } = item else { continue };
        let interface = &mut resolve.interfaces[*id];
        let name = interface.name.clone().unwrap_or_default();
        let had = interface.functions.len();
        interface.functions.retain(|function, _| {
            let plain = function.rsplit_once('.').map_or(function.as_str(), |(_, method)| method);
            is_kept(&format!("{name}.{plain}"))
        });
        if had > 0 && interface.functions.is_empty() {
            unused.push(key.clone());
        }
    }
    for key in &unused {
        resolve.worlds[world].imports.shift_remove(key);
    }
    let package = resolve.worlds[world].package.expect("the world is in the contract's package");
    let mut printer = WitPrinter::default();
    printer.print(&resolve, package, &[]).expect("the contract can be written");
    printer.output.to_string()
}

/// Returns all functions that a plugin may import, as `interface.function`.
#[cfg(test)]
pub(crate) fn functions() -> std::collections::BTreeSet<String> {
    let (resolve, world) = contract();
    let interfaces = resolve.worlds[world].imports.values().filter_map(|item| match item {
        WorldItem::Interface { id, .. } => Some(imported(&resolve, *id)),
        _ => None,
    });
    let named = |interface: ImportedInterface| {
        let name = interface.name.strip_prefix("piimg:plugin/").unwrap_or_default().to_owned();
        interface.functions.into_iter().map(move |function| format!("{name}.{function}"))
    };
    interfaces.flat_map(named).collect()
}

fn check_exports(resolve: &Resolve, world: WorldId) -> Result<(), Problem> {
    let mut command = false;
    for key in resolve.worlds[world].exports.keys() {
        let name = resolve.name_world_key(key);
        let (plain, version) = split(&name);
        command |= plain == "wasi:cli/run";
        if plain == "piimg:plugin/customization" {
            return check_version(version).map_err(|version| {
                let what = format!(
                    "is a plugin for version {version} of the contract; this piimg has {}.{}",
                    SERIES.0, SERIES.1
                );
                Problem::new(what, NEWER)
            });
        }
    }
    let what = if command {
        "is a command-line program, not a plugin"
    } else {
        "is a component, but not a plugin: it does not export `piimg:plugin/customization`"
    };
    Err(Problem::new(what, BUILD))
}

/// Refuses wishes before `execute` that this piimg does not know: they would be ignored silently.
fn check_preparation(resolve: &Resolve, world: WorldId, ours: &Resolve) -> Result<(), Problem> {
    for (key, item) in &resolve.worlds[world].exports {
        let (WorldItem::Interface { id, .. }, name) = (item, resolve.name_world_key(key)) else { continue };
        let (plain, version) = split(&name);
        let Some(interface) = plain.strip_prefix("piimg:plugin/").filter(|name| *name != "customization") else {
            continue;
        };
        check_version(version)
            .map_err(|version| Problem::new(format!("exports `{plain}` of version {version}"), NEWER))?;
        let known =
            ours.interfaces.iter().map(|(_, known)| known).find(|known| known.name.as_deref() == Some(interface));
        let known = known.filter(|_| interface == PREPARATION);
        let Some(known) = known else {
            return Err(Problem::new(format!("exports `{plain}`, of which this piimg knows nothing"), NEWER));
        };
        if let Some(function) =
            resolve.interfaces[*id].functions.keys().find(|name| !known.functions.contains_key(*name))
        {
            let what = format!("says by `{function}` of `{plain}` what it wants, of which this piimg knows nothing");
            return Err(Problem::new(what, NEWER));
        }
    }
    Ok(())
}

fn check_import(
    resolve: &Resolve,
    key: &WorldKey,
    import: &ImportedInterface,
    ours: &Resolve,
    our_world: WorldId,
) -> Result<(), Problem> {
    let full = resolve.name_world_key(key);
    let (plain, version) = split(&full);
    if OFFERED.contains(&plain) {
        return Ok(());
    }
    if plain.starts_with("wasi:sockets/") || plain.starts_with("wasi:http/") {
        return Err(Problem::new(format!("imports `{plain}`, but a plugin has no network"), NO_OTHER));
    }
    let Some(name) = plain.strip_prefix("piimg:plugin/") else {
        return Err(Problem::new(format!("imports `{plain}`, which piimg does not offer"), NO_OTHER));
    };
    check_version(version).map_err(|version| Problem::new(format!("imports `{plain}` of version {version}"), NEWER))?;
    let known = ours.worlds[our_world].imports.values().find_map(|item| match item {
        WorldItem::Interface { id, .. } if ours.interfaces[*id].name.as_deref() == Some(name) => Some(*id),
        _ => None,
    });
    let Some(known) = known else {
        return Err(Problem::new(format!("imports `{plain}`, which this piimg does not offer yet"), NEWER));
    };
    let offered = imported(ours, known).functions;
    match import.functions.iter().find(|function| !offered.contains(function)) {
        Some(function) => {
            Err(Problem::new(format!("calls `{function}` of `{plain}`, which this piimg does not offer yet"), NEWER))
        }
        None => Ok(()),
    }
}

fn imported(resolve: &Resolve, id: InterfaceId) -> ImportedInterface {
    let name = resolve.id_of(id).unwrap_or_default();
    // `[method]blob.size`: the interface has one resource.
    let plain = |name: &String| name.rsplit_once('.').map_or(name.as_str(), |(_, method)| method).to_owned();
    let functions = resolve.interfaces[id].functions.keys().map(plain).collect();
    ImportedInterface { name: split(&name).0.to_owned(), functions }
}

/// Splits `a:b/c@1.2.3` into name and version.
fn split(name: &str) -> (&str, &str) {
    name.split_once('@').unwrap_or((name, ""))
}

/// # Errors
/// The version itself, if it is of another series.
fn check_version(version: &str) -> Result<(), String> {
    let mut parts = version.split('.').map(|part| part.parse::<u64>().ok());
    if parts.next().flatten() == Some(SERIES.0) && parts.next().flatten() == Some(SERIES.1) {
        Ok(())
    } else {
        Err(version.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::plugin::functions::FUNCTIONS;

    /// A function that has no row would need nothing, and what it can do be told as proved to be impossible.
    #[test]
    fn each_function_of_the_contract_has_one_row() {
        let contract = functions();
        assert!(contract.contains("fs.write") && contract.contains("blobs.size"), "{contract:?}");
        let rows: BTreeSet<String> = FUNCTIONS.iter().map(|function| function.name.to_owned()).collect();
        assert_eq!(rows.len(), FUNCTIONS.len(), "a name stands there twice");
        // What the engine offers: plugins print, and drop what they hold.
        let engine = ["stdio.write", "blobs.drop"].map(str::to_owned).into();
        assert_eq!(rows, &contract | &engine);
    }

    #[test]
    fn what_is_no_component_is_told() {
        for (bytes, what) in [
            (&b""[..], "is not a WebAssembly file"),
            (b"#!/bin/sh\necho", "is not a WebAssembly file"),
            (b"\0asm\x01\0\0\0", "is a core WebAssembly module, not a component"),
            (b"\0asm\x0d\0\x01\0", "is a component, but not a plugin: it does not export `piimg:plugin/customization`"),
        ] {
            assert_eq!(check(bytes).unwrap_err().what, what);
        }
        let problem = check(b"\0asm\x0d\0\x01\0\xff").unwrap_err();
        assert!(problem.what.starts_with("is a broken component"), "{problem:?}");
    }

    #[test]
    fn only_this_series_is_accepted() {
        for (version, good) in [("0.1.0", true), ("0.1.9", true), ("0.2.0", false), ("1.1.0", false), ("", false)] {
            assert_eq!(check_version(version).is_ok(), good, "{version}");
        }
    }

    #[test]
    fn a_wish_that_nobody_would_hear_is_refused() {
        let (ours, _) = contract();
        let checked = |version: &str, interface: &str, functions: &str| {
            let mut resolve = Resolve::default();
            let text = format!(
                "package piimg:plugin@{version};\ninterface {interface} {{ {functions} }}\nworld w {{ export {interface}; }}"
            );
            let package = resolve.push_str("w.wit", &text).unwrap();
            let world = resolve.packages[package].worlds["w"];
            check_preparation(&resolve, world, &ours).map_err(|problem| problem.what)
        };
        assert_eq!(checked("0.1.0", "preparation", "removals: func() -> list<string>;"), Ok(()));
        assert_eq!(checked("0.1.7", "customization", "later: func();"), Ok(()));
        for (version, interface, function, what) in [
            ("0.1.0", "preparation", "later", "says by `later` of `piimg:plugin/preparation` what it wants"),
            ("0.2.0", "preparation", "removals", "exports `piimg:plugin/preparation` of version 0.2.0"),
            ("0.1.0", "packages", "install", "exports `piimg:plugin/packages`, of which this piimg knows nothing"),
        ] {
            let found = checked(version, interface, &format!("{function}: func();")).unwrap_err();
            assert!(found.starts_with(what), "{found}");
        }
    }

    #[test]
    fn the_contract_is_complete() {
        let (resolve, world) = contract();
        let world = &resolve.worlds[world];
        assert!(world.imports.len() >= 7 && world.exports.len() == 1, "{world:?}");
    }
}
