//! Looks at a plugin before anything is decided: digest, imports and exports without running it, then `conf()` in an
//! instance whose every import traps.

mod contract;

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

#[cfg(test)]
pub(crate) use contract::functions as contract_functions;
pub use contract::{ImportedInterface, check};

use super::compiled::{self, Code, CodeCache};
use super::worker::Engine;
use crate::error::{Context as _, Failure, Result};
use crate::home::Home;
use crate::recipe::conf::{PluginConf, Wishes};
use crate::recipe::host::HostPath;
use crate::ui::{Printable as _, printable};

/// Biggest component that is read.
const MAX_SIZE: u64 = 256 << 20;

/// What is known of a plugin before it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PluginInfo {
    pub path: PathBuf,
    /// `sha256:` and 64 hexadecimal digits: the plugin's identity.
    pub digest: String,
    /// Everything it could call: what is not here it cannot do.
    pub imports: Vec<ImportedInterface>,
    pub conf: PluginConf,
    /// Capabilities it asks for, those of its packages included.
    pub requests: Vec<Request>,
    #[serde(skip)]
    pub(super) code: Code,
}

impl PluginInfo {
    /// The compiled component, to be passed on beside the data.
    ///
    /// # Errors
    /// [`Failure::bug`] if only the data is known.
    pub fn code_file(&self) -> Result<&File> {
        self.code.file()
    }

    /// Gives back to what was known of a plugin the file of [`PluginInfo::code_file`] that the outer process of this
    /// build passed on: it is run as it is.
    ///
    /// # Errors
    /// [`Failure::bug`] if it is not such a file.
    pub(crate) fn with_code(self, file: File) -> Result<Self> {
        Ok(Self { code: Code::from_file(file)?, ..self })
    }
}

/// Keeps what the plugins were compiled to in the user's own cache, where [`CodeCache`] finds it.
///
/// # Errors
/// If others can write to the cache, or this user cannot.
pub fn keep_code<'a>(home: &Home, plugins: impl Iterator<Item = &'a PluginInfo>) -> Result<()> {
    compiled::keep(home, plugins.map(|plugin| &plugin.code))
        .with_context(|| format!("cannot keep compiled plugins in `{}`", home.compiled().printable()))
}

/// A capability that a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub scope: String,
    /// The author's words, unless it is `listed`.
    pub reason: String,
    pub optional: bool,
    /// It is a package of `conf()`'s list, or a wish of it, and the reason piimg's.
    #[serde(default)]
    pub listed: bool,
}

/// Inspects the component in a file; compiles it only if `cache` does not have it.
///
/// # Errors
/// [`Failure::usage`] if it is no plugin for this piimg, [`Failure::plugin`] if its `conf()` fails.
pub fn inspect(engine: &Engine, path: &Path, cache: Option<&CodeCache>) -> Result<PluginInfo> {
    inspect_at(engine, &HostPath::named(path), cache)
}

/// The same for a file that the user or a recipe named.
///
/// # Errors
/// As [`inspect`].
pub fn inspect_at(engine: &Engine, path: &HostPath, cache: Option<&CodeCache>) -> Result<PluginInfo> {
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
    Ok(PluginInfo { path: path.shown().to_owned(), digest, imports, conf, requests, code })
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

/// What `conf()` asks for, and the packages it wants installed.
pub fn requests(conf: &PluginConf) -> Vec<Request> {
    let packages = conf.image.apt_get_packages.iter().map(|spec| {
        let name = spec.split(['=', ':']).next().unwrap_or_default();
        let reason = "listed in apt_get_packages".to_owned();
        Request { scope: format!("pkg:install:{name}"), reason, optional: false, listed: true }
    });
    let own = conf.capabilities.iter().map(|request| Request {
        scope: request.scope.clone(),
        reason: request.reason.clone(),
        optional: request.optional,
        listed: false,
    });
    packages.chain(wished(&conf.wishes)).chain(own).collect()
}

/// What it wants of the package runs is asked for by wanting it: whoever grants it sees what it is.
fn wished(wishes: &Wishes) -> impl Iterator<Item = Request> {
    let request = |scope: String, reason: String| Request { scope, reason, optional: false, listed: true };
    let answers = wishes.answers.iter().map(move |answer| {
        // Quoted, so that no value looks like more than a value.
        let reason = format!("answered with {} {:?}", answer.kind.as_str(), answer.value);
        request(format!("debconf:{}", answer.question), reason)
    });
    let repositories = wishes.repositories.iter().map(move |repository| {
        let keys = repository.fingerprints.join(", ");
        let reason = format!("an archive of packages, signed with {keys}, suite {:?}", repository.suite);
        request(format!("pkg:repo:{}", repository.url), reason)
    });
    let removals =
        wishes.removals.iter().map(move |name| request(format!("pkg:remove:{name}"), "to be removed".into()));
    let pins = wishes.pins.iter().map(move |pin| {
        request(
            format!("pkg:pin:{}", pin.package),
            format!("pinned to {:?} at {}", pin.target.to_string(), pin.priority),
        )
    });
    repositories.chain(pins).chain(answers).chain(removals)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packages_are_requests_too() {
        let mut conf = PluginConf::default();
        conf.image.apt_get_packages = vec!["htop=3.2".into()];
        assert_eq!(requests(&conf)[0].scope, "pkg:install:htop");
    }
}
