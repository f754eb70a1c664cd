//! Makes components of customizations that are written in Python: the script, the SDK's package and Python itself, frozen
//! into one file by `componentize-py`.
//!
//! A script is read in three steps. Its `conf` is evaluated by the host's Python in a confined process, which sees nothing
//! but the sources. From what it asks for follows the world: a function that needs something else is left out of the
//! component, so that what an audit says it cannot do is a proof. Then the component is made, and inspected as each plugin
//! is: what it asks for must be what the world was made for.
//!
//! Nothing is written but the user's own cache ([`Home::python`]) and the output.

mod conf;
mod sources;
mod tools;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::error::{Context as _, Failure, Result};
use crate::home::Home;
use crate::host_files::{Directory, Links};
use crate::plugin::InspectedPlugin;
use crate::plugin::inspect::{inspect, keep_code, narrowed};
use crate::plugin::{CodeCache, Engine, Kind, functions};
use crate::ui::{Printable as _, Ui};
use sources::Sources;
use tools::Componentizer;

/// The module of the component that calls the script.
const ENTRY: &str = "piimg_component";
/// Components that are kept, so that the same sources are not frozen again: the newest ones.
const KEPT: usize = 8;
/// Longest component.
const LONGEST: u64 = 256 << 20;

/// Builds the component of a script, writes it to `output` (beside the script if there is none), and returns its path and
/// what is known of it.
///
/// # Errors
/// [`Failure::usage`] if the script is no customization; [`Failure::host`] if Python, pip or `componentize-py` cannot be had.
pub fn build(
    engine: &Engine,
    home: &Home,
    script: &Path,
    output: Option<&Path>,
    ui: &Ui,
) -> Result<(PathBuf, InspectedPlugin)> {
    let sources = Sources::read(script)?;
    let asked = conf::read(&sources)?;
    let world = narrowed(|function| can_be_used(function, &asked));
    let output = output.map_or_else(|| script.with_extension("wasm"), Path::to_owned);
    let cache = Directory::create_below(&home.python(), Links::Followed, 0o700)
        .with_context(|| format!("cannot use `{}`", home.python().printable()))?;
    crate::home::check_own(&cache.stat()?).with_context(|| format!("cannot use `{}`", home.python().printable()))?;
    let built = cache.subdirectory("built", 0o700).context("cannot keep components")?;
    let name = format!("{}.wasm", key(&sources, &world));
    let bytes = match built.read(&name, LONGEST).context("cannot read a component that was kept")? {
        Some(bytes) => bytes,
        None => {
            let componentizer = Componentizer::find_or_install(home, &cache, ui)?;
            let bytes = freeze(&componentizer, &cache, &sources, &world, ui)?;
            built.replace(&name, &bytes, 0o600).context("cannot keep the component")?;
            forget_old(&built, &name).context("cannot remove components that were kept")?;
            bytes
        }
    };
    write(&output, &bytes)?;
    let info = look(engine, home, &output, ui)?;
    if kinds(&info) != asked {
        let what =
            format!("`conf` of `{}` asks for something else in the component than on this machine", script.printable());
        return Err(Failure::usage(what).hint("let it depend on nothing but the script itself").into());
    }
    Ok((output, info))
}

/// Returns whether a function is of use to a plugin that asks for these kinds of capabilities.
fn can_be_used(function: &str, asked: &BTreeSet<&'static str>) -> bool {
    functions::by_name(function).is_some_and(|function| function.can_be_called(|kind| asked.contains(kind.name)))
}

/// Returns the kinds of all that a plugin asks for.
fn kinds(info: &InspectedPlugin) -> BTreeSet<&'static str> {
    info.requests.iter().filter_map(|request| request.scope.kind()).map(|kind| kind.name).collect()
}

/// Returns the name of the kind of a scope, if there is such a kind.
fn kind_of(scope: &str) -> Option<&'static str> {
    Kind::split(scope).map(|(kind, _)| kind.name)
}

/// Returns what the component follows from.
fn key(sources: &Sources, world: &str) -> String {
    let mut digest = Sha256::new();
    for part in [tools::REQUIREMENTS, world, sources.name()] {
        digest.update(u64::try_from(part.len()).unwrap_or_default().to_le_bytes());
        digest.update(part);
    }
    digest.update(sources.digest());
    hex::encode(digest.finalize())
}

/// Makes the component in a directory of its own, which is removed whatever happens.
fn freeze(tool: &Componentizer, cache: &Directory, sources: &Sources, world: &str, ui: &Ui) -> Result<Vec<u8>> {
    let step = ui.step("Freezing the script with Python into a component");
    let place =
        tempfile::Builder::new().prefix("stage-").tempdir_in(cache.path()).context("cannot make a directory")?;
    let stage = Directory::open(place.path(), Links::Followed).context("cannot open a new directory")?;
    let (app, wit) = (stage.subdirectory("app", 0o700)?, stage.subdirectory("wit", 0o700)?);
    sources.write_to(&app).context("cannot copy the script")?;
    app.replace(&format!("{ENTRY}.py"), sources.entry().as_bytes(), 0o600).context("cannot write a module")?;
    wit.replace("plugin.wit", world.as_bytes(), 0o600).context("cannot write the world")?;
    let component = tool.run(stage.path(), ENTRY)?;
    step.done();
    Ok(component)
}

/// Removes the oldest of too many.
fn forget_old(built: &Directory, newest: &str) -> std::io::Result<()> {
    let mut all: Vec<(i64, String)> = Vec::new();
    for name in built.names()? {
        if let Some(stat) = built.find(&name)? {
            all.push((stat.st_mtime, name));
        }
    }
    all.sort();
    let surplus = all.len().saturating_sub(KEPT);
    all.iter().filter(|(_, name)| name != newest).take(surplus).try_for_each(|(_, name)| built.remove(name))
}

fn write(output: &Path, bytes: &[u8]) -> Result<()> {
    let failed = || Failure::host(format!("cannot write `{}`", output.printable()));
    let above = output.parent().filter(|above| !above.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let name = output.file_name().and_then(|name| name.to_str()).with_context(failed)?;
    let directory = Directory::open(above, Links::Followed).with_context(failed)?;
    directory.replace(name, bytes, 0o666).with_context(failed)
}

/// Inspects the component as every command does, and keeps what it was compiled to: no build waits for that again.
fn look(engine: &Engine, home: &Home, output: &Path, ui: &Ui) -> Result<InspectedPlugin> {
    let step = ui.step("Compiling the component");
    let cache = CodeCache::open(home);
    let info = inspect(engine, output, cache.as_ref())?;
    keep_code(home, std::iter::once(&info))?;
    step.done();
    Ok(info)
}

/// Returns the length of a file, for a message.
pub fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |metadata| metadata.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn functions_of(asked: &[&str]) -> Vec<&'static str> {
        let asked = Kind::all().map(|kind| kind.name).filter(|name| asked.contains(name)).collect();
        let needs_some = functions::FUNCTIONS.iter().filter(|function| !function.needs.is_empty());
        needs_some.map(|function| function.name).filter(|name| can_be_used(name, &asked)).collect()
    }

    #[test]
    fn only_functions_whose_needs_are_asked_for_are_left() {
        assert_eq!(functions_of(&[]), [""; 0]);
        assert_eq!(functions_of(&["fs:read"]), ["fs.stat", "fs.read-text", "fs.read", "fs.list-dir"]);
        let writing = functions_of(&["fs:write"]);
        assert!(writing.contains(&"fs.write") && !writing.contains(&"fs.rename"), "{writing:?}");
        assert_eq!(functions_of(&["exec"]), ["process.run"]);
        assert_eq!(functions_of(&["svc:mask"]), ["services.set-state"]);
        assert_eq!(functions_of(&["user:create"]), ["users.ensure-user"]);
        assert_eq!(functions_of(&["user:group"]), ["users.ensure-group"]);
        assert_eq!(functions_of(&["net"]), ["net.fetch"]);
    }

    #[test]
    fn the_narrowed_world_has_what_is_left_and_nothing_else() {
        let asked = ["fs:write", "exec"].into();
        let world = narrowed(|function| can_be_used(function, &asked));
        let mut resolve = wit_parser::Resolve::default();
        let package = resolve.push_str("narrowed.wit", &world).unwrap();
        let world = &resolve.worlds[resolve.packages[package].worlds["plugin"]];
        let names: Vec<String> = world.imports.keys().map(|key| resolve.name_world_key(key)).collect();
        let has = |name: &str| names.contains(&format!("piimg:plugin/{name}@0.1.0"));
        assert!(has("fs") && has("process") && has("log") && !has("net") && !has("users"), "{names:?}");
        let fs = resolve.packages[package].interfaces["fs"];
        let functions: Vec<&str> = resolve.interfaces[fs].functions.keys().map(String::as_str).collect();
        assert!(functions.contains(&"write") && !functions.contains(&"read"), "{functions:?}");
        assert_eq!(world.exports.len(), 1);
    }

    #[test]
    fn scopes_have_kinds() {
        for (scope, kind) in [
            ("fs:read:/etc/**", Some("fs:read")),
            ("exec:htop --version", Some("exec")),
            ("net:https://example.org/x", Some("net")),
            ("secret:token", Some("secret")),
            ("fs:reads:/x", None),
            ("", None),
        ] {
            assert_eq!(kind_of(scope), kind, "{scope}");
        }
    }
}
