//! Knowledge of a plugin before it runs, as data. Pure: whoever inspects the component finds it out.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::capability::Declared;
use crate::conf::{PluginConf, Wishes};

/// Facts about a plugin, known before it runs.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct PluginInfo {
    pub path: PathBuf,
    /// `sha256:` and 64 hexadecimal digits: the plugin's identity.
    pub digest: String,
    /// Everything that it can call; the rest is impossible.
    pub imports: Vec<ImportedInterface>,
    pub conf: PluginConf,
    /// Capabilities it asks for, those of its packages included.
    pub requests: Vec<Request>,
}

/// An interface that a component imports, with the functions of it that it can call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImportedInterface {
    /// `package:name/interface`, without version.
    pub name: String,
    /// Methods by their own names.
    pub functions: Vec<String>,
}

/// A capability that a plugin asks for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    pub scope: Declared,
    /// The author's words, unless it is `listed`.
    pub reason: String,
    pub optional: bool,
    /// It is a package of `conf()`'s list, or a wish of it, and the reason piimg's.
    #[serde(default)]
    pub listed: bool,
}

/// Returns the requests of `conf()`, packages to install included.
pub fn requests(conf: &PluginConf) -> Vec<Request> {
    let packages = conf.image.apt_get_packages.iter().map(|spec| {
        let name = spec.split(['=', ':']).next().unwrap_or_default();
        let reason = "listed in apt_get_packages".to_owned();
        Request { scope: format!("pkg:install:{name}").into(), reason, optional: false, listed: true }
    });
    let own = conf.capabilities.iter().map(|request| Request {
        scope: request.scope.as_str().into(),
        reason: request.reason.clone(),
        optional: request.optional,
        listed: false,
    });
    packages.chain(wished(&conf.wishes)).chain(own).collect()
}

/// Returns the requests that follow from wishes for package runs: wishing is asking, so that whoever grants it sees it.
fn wished(wishes: &Wishes) -> impl Iterator<Item = Request> {
    let request =
        |scope: String, reason: String| Request { scope: scope.into(), reason, optional: false, listed: true };
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
