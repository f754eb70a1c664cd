//! Looks at a plugin before anything is decided: digest, imports and exports without running it, then `conf()` in an
//! instance whose every import traps.

mod contract;

use std::io::Read as _;
use std::path::Path;

use sha2::{Digest as _, Sha256};

pub use contract::check;
pub(crate) use contract::narrowed;

use super::InspectedPlugin;
use super::code::Code;
use super::code_cache::{self, CodeCache};
use super::info::{PluginInfo, requests};
use super::worker::Engine;
use crate::error::{Context as _, Failure, Result};
use crate::home::Home;
use crate::recipe::conf::PluginConf;
use crate::recipe::host::HostPath;
use crate::ui::{Printable as _, printable};

/// Biggest component that is read.
const MAX_SIZE: u64 = 256 << 20;

/// Keeps what the plugins were compiled to in the user's own cache, where [`CodeCache`] finds it.
///
/// # Errors
/// If others can write to the cache, or this user cannot.
pub fn keep_code<'a>(home: &Home, plugins: impl Iterator<Item = &'a InspectedPlugin>) -> Result<()> {
    code_cache::keep(home, plugins.map(|plugin| &plugin.code))
        .with_context(|| format!("cannot keep compiled plugins in `{}`", home.compiled().printable()))
}

/// Inspects the component in a file; compiles it only if `cache` does not have it.
///
/// # Errors
/// [`Failure::usage`] if it is no plugin for this piimg, [`Failure::plugin`] if its `conf()` fails.
pub fn inspect(engine: &Engine, path: &Path, cache: Option<&CodeCache>) -> Result<InspectedPlugin> {
    inspect_at(engine, &HostPath::named(path), cache)
}

/// Inspects a plugin at a path that the user or a recipe named.
///
/// # Errors
/// Those of [`inspect`].
pub fn inspect_at(engine: &Engine, path: &HostPath, cache: Option<&CodeCache>) -> Result<InspectedPlugin> {
    let name = path.shown().printable();
    let cannot_read = || Failure::usage(format!("cannot read the plugin `{}`", printable(&name)));
    let file = path.open().with_context(cannot_read)?;
    let expected = file.metadata().map_or(0, |metadata| metadata.len().min(MAX_SIZE));
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or_default());
    // Counted while reading: the length that a device or pipe reports means nothing.
    let length = file.take(MAX_SIZE + 1).read_to_end(&mut bytes).with_context(cannot_read)?;
    if u64::try_from(length).is_ok_and(|length| length > MAX_SIZE) {
        let limit = crate::ui::bytes(MAX_SIZE);
        return Err(
            Failure::usage(format!("the plugin `{}` is too big; at most {limit} are read", printable(&name))).into()
        );
    }
    let imports = contract::check(&bytes).map_err(|problem| problem.failure(&name))?;
    let digest = format!("sha256:{:x}", Sha256::digest(&bytes));
    let code = engine.code(cache, &name, &digest, &bytes)?;
    let conf = conf(engine, &name, &code)?;
    let requests = requests(&conf);
    let info = PluginInfo { path: path.shown().to_owned(), digest, imports, conf, requests };
    Ok(InspectedPlugin { info, code })
}

/// Runs `conf()` twice, each time in a new instance: the answer must not depend on anything.
fn conf(engine: &Engine, name: &str, code: &Code) -> Result<PluginConf> {
    let [first, second] = engine.conf(code)?.map_err(|cause| {
        let cause = printable(&cause);
        let failure = Failure::plugin(format!("conf() of the plugin `{}` failed: it {cause}", printable(name)));
        if cause.starts_with("called `") {
            return failure
                .hint("conf() runs before anything is decided and cannot call the host; move the call to execute()");
        }
        failure
    })?;
    if first != second {
        return Err(
            Failure::plugin(format!("conf() of the plugin `{}` gave two different answers", printable(name))).into()
        );
    }
    Ok(first)
}
