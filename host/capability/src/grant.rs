//! Decides what a plugin may do: what it requested *and* was granted *and* the site allows. Nothing is granted by
//! default. Pure.

mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::capability::{Capability, Need, Template};
use super::info::{PluginInfo, Request};
use super::lock::Lock;
use super::policy::{Ceiling, Limit};
use piimg_sandbox::error::{Context as _, Failure, Result};
use piimg_sandbox::text::{Printable as _, printable, shell_quoted};

pub use standing::forbidden_line;
pub use standing::{Standing, State, check_all, describe, grouped, reason, spelled};

/// Sources of grants, and their limits.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// `piimg.lock`, if there is one.
    pub lock: Option<Lock>,
    /// `--locked`: each plugin must be in the lock file, by its digest.
    pub locked: bool,
    /// `--grant SCOPE`: for every plugin of this build.
    pub scopes: Vec<Template>,
    /// `--grant-requested`: whatever the plugins of this build ask for.
    pub requested: bool,
    /// The site's policy, and the one named with `--policy`.
    pub ceiling: Ceiling,
    /// Options by which the recipe was named, quoted, each with a space before it: they belong into the command that a hint
    /// tells.
    pub recipe: String,
}

impl Granted {
    /// Returns the grants of the lock file to this plugin; `None` if it has no entry.
    fn locked_for(&self, info: &PluginInfo) -> Option<Vec<&Template>> {
        self.lock.as_ref().and_then(|lock| lock.grants(&info.digest, &info.requests))
    }
}

/// Parses the scopes that the user wrote after an option: whether a plugin asks for them or not, they are checked.
///
/// # Errors
/// [`Failure::usage`] if one is no capability.
pub fn scopes_of(option: &str, texts: &[impl AsRef<str>]) -> Result<Vec<Template>> {
    let parse = |text: &_| {
        Template::parse(AsRef::as_ref(text)).with_context(|| Failure::usage(format!("cannot use `{option}`")))
    };
    texts.iter().map(parse).collect()
}

/// Returns the first parameter in a scope that is none of the plugin's.
fn stranger<'a>(scope: &'a Template, info: &PluginInfo) -> Option<&'a str> {
    scope.params().find(|name| info.conf.params.iter().all(|known| known.name != *name))
}

/// Returns a plugin's requests, each with the capability that it is. Parameters in them are not replaced yet.
///
/// # Errors
/// [`Failure::usage`] if it is not offered, or has a parameter that the plugin has not.
pub fn requested(info: &PluginInfo) -> Result<Vec<(&Template, &Request)>> {
    fn read<'a>(info: &PluginInfo, request: &'a Request) -> Result<&'a Template> {
        let scope = request.scope.template().map_err(Clone::clone)?;
        if let Some(name) = stranger(scope, info) {
            anyhow::bail!("`{}`: it has no parameter `{}`", printable(&request.scope), printable(name));
        }
        Ok(scope)
    }
    let refuse =
        || Failure::usage(format!("the plugin `{}` asks for what piimg does not offer", printable(&info.conf.id)));
    info.requests.iter().map(|request| Ok((read(info, request).with_context(refuse)?, request))).collect()
}

/// Returns whether all that a plugin cannot do without was granted before.
fn has_all_needed(requests: &[(&Template, &Request)], had: &[Template]) -> bool {
    let mut needs = requests.iter().filter(|(_, request)| !request.optional);
    needs.all(|(scope, _)| had.iter().any(|had| had.includes(scope)))
}

/// One plugin's rights. Made once, outside, and passed as data to whoever runs the plugin.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct GrantSet {
    id: String,
    path: PathBuf,
    recipe: String,
    values: BTreeMap<String, String>,
    requested: Vec<(Capability, Request)>,
    /// The grants as they were written, sorted: parameters are not replaced.
    scopes: Vec<Template>,
    granted: Vec<Capability>,
    limits: Vec<Limit>,
    /// Another build of the plugin has grants in the lock file, and this one has none.
    stale: bool,
    /// That one was granted all that this one needs.
    same_as_before: bool,
    locked: bool,
    /// It must be in the lock file, and is not.
    unlisted: bool,
}

impl GrantSet {
    /// Makes the set of grants. `values` are the plugin's parameters, validated and complete.
    ///
    /// # Errors
    /// [`Failure::usage`] if the plugin requests or the user grants what is no capability, or with these values none.
    pub fn new(info: &PluginInfo, values: &BTreeMap<String, String>, from: &Granted) -> Result<Self> {
        let id = printable(&info.conf.id);
        let (mut wanted, mut scopes, mut granted) = (Vec::new(), Vec::new(), Vec::new());
        let requests = requested(info)?;
        for (scope, request) in &requests {
            let unfit = || Failure::usage(format!("the plugin `{id}` cannot ask for `{}`", printable(&request.scope)));
            wanted.push((scope.fill(values).with_context(unfit)?, (*request).clone()));
        }
        for scope in from.scopes.iter().filter(|scope| stranger(scope, info).is_none()) {
            granted.push(scope.fill(values).with_context(|| Failure::usage("cannot use `--grant`"))?);
            scopes.push(scope.clone());
        }
        let locked = from.locked_for(info);
        for scope in locked.iter().flatten() {
            let unusable = || Failure::usage(format!("cannot use the grants of `{id}` in the lock file"));
            granted.push(scope.fill(values).with_context(unusable)?);
            scopes.push((*scope).clone());
        }
        if from.requested {
            granted.extend(wanted.iter().map(|(capability, _)| capability.clone()));
            scopes.extend(requests.iter().map(|(scope, _)| (*scope).clone()));
        }
        scopes.sort_by(|one, other| one.as_str().cmp(other.as_str()));
        scopes.dedup();
        let another = from.lock.as_ref().and_then(|lock| lock.another_build(&info.conf.id, &info.digest));
        let stale = locked.is_none() && another.is_some();
        let same_as_before = stale && another.is_some_and(|entry| has_all_needed(&requests, &entry.grant));
        Ok(Self {
            id: info.conf.id.clone(),
            path: info.path.clone(),
            recipe: from.recipe.clone(),
            values: values.clone(),
            requested: wanted,
            scopes,
            granted,
            limits: from.ceiling.limits(&info.conf.id, &info.digest),
            stale,
            same_as_before,
            locked: from.locked,
            unlisted: from.locked && locked.is_none(),
        })
    }

    /// Returns what was granted, as it was written and sorted, whether the plugin asks for it or not.
    pub fn scopes(&self) -> &[Template] {
        &self.scopes
    }

    /// Returns the limits of the site's policies.
    pub fn limits(&self) -> &[Limit] {
        &self.limits
    }

    /// Asks for one call.
    ///
    /// # Errors
    /// A refusal that says what is missing and how to grant it.
    pub fn allows(&self, need: &Need) -> Result<(), Refusal> {
        let requested = self.requested.iter().any(|(capability, _)| capability.covers(need));
        let granted = self.granted.iter().any(|capability| capability.covers(need));
        let forbidden_by = self.limits.iter().find(|limit| !limit.covers(need)).map(|limit| limit.file.clone());
        if requested && granted && forbidden_by.is_none() {
            return Ok(());
        }
        Err(Refusal { needed: need.to_string(), requested, granted, forbidden_by, id: self.id.clone() })
    }

    /// Returns whether the whole of a capability was requested, granted and allowed by the site. It may have the
    /// plugin's parameters in it.
    pub fn has(&self, scope: &str) -> bool {
        let wanted = Template::parse(scope).ok().and_then(|scope| scope.fill(&self.values).ok());
        wanted.is_some_and(|wanted| {
            self.requested.iter().any(|(capability, _)| capability.includes(&wanted))
                && self.state(&wanted) == State::Granted
        })
    }

    /// Returns each capability that was requested, granted and allowed by the site, with its request.
    pub fn held(&self) -> impl Iterator<Item = (&Capability, &Request)> {
        let held = self.requested.iter().filter(|(capability, _)| self.state(capability) == State::Granted);
        held.map(|(capability, request)| (capability, request))
    }

    /// Names of the packages that are to be there while it runs, sorted.
    pub fn build_packages(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.held().filter_map(|(capability, _)| capability.build_package()).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// Returns the secrets among what it holds, by name, and whether it can do without.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, bool)> {
        self.held().filter_map(|(capability, request)| Some((capability.secret()?, request.optional)))
    }

    /// Returns whether the plugin asks for the secret of that name.
    pub fn wants_secret(&self, name: &str) -> bool {
        self.requested.iter().any(|(capability, _)| capability.secret() == Some(name))
    }

    /// Returns one message for each asset that the plugin needs and `given` does not name.
    pub fn missing_assets(&self, given: &[&str]) -> Vec<String> {
        let needs = self.requested.iter().filter(|(_, request)| !request.optional);
        let missing = needs
            .filter(|(capability, _)| is_asset(capability) && !given.iter().any(|name| covers_asset(capability, name)));
        let told = |(capability, request): &(Capability, Request)| {
            let capability = capability.to_string();
            let name = capability.trim_start_matches("asset:");
            format!(
                "the plugin `{}` needs the asset `{}`, and nobody gave it: --asset {}  ({})",
                printable(&self.id),
                printable(name),
                shell_quoted(&format!("{name}=PATH")),
                reason(request)
            )
        };
        missing.map(told).collect()
    }

    /// Returns whether the plugin asks for the asset of that name.
    pub fn wants_asset(&self, name: &str) -> bool {
        self.requested.iter().any(|(capability, _)| covers_asset(capability, name))
    }

    /// Returns whether it holds it, too.
    pub fn takes_asset(&self, name: &str) -> bool {
        self.held().any(|(capability, _)| covers_asset(capability, name))
    }

    /// Returns whether a command of the plugin may connect to that host and port.
    pub fn reaches(&self, host: &str, port: u16) -> bool {
        self.held().any(|(capability, _)| capability.reaches(host, port))
    }

    fn state(&self, wanted: &Capability) -> State {
        match self.limits.iter().find(|limit| !limit.includes(wanted)) {
            Some(limit) => State::Forbidden(limit.file.clone()),
            None if self.granted.iter().any(|capability| capability.includes(wanted)) => State::Granted,
            None => State::Missing,
        }
    }
}

/// Returns whether it is one asset; a glob may stand for none.
fn is_asset(capability: &Capability) -> bool {
    matches!(capability, Capability::Asset(name) if !name.to_string().contains('*'))
}

fn covers_asset(capability: &Capability, name: &str) -> bool {
    capability.covers(&Need::Asset(name.to_owned()))
}

/// Reason for refusing a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The narrowest capability that would have allowed it.
    pub needed: String,
    /// `conf()` asked for it.
    pub requested: bool,
    pub granted: bool,
    /// The policy that does not allow it, whoever asks and grants.
    pub forbidden_by: Option<PathBuf>,
    id: String,
}

impl Refusal {
    /// Returns the next step, and who can take it.
    pub fn hint(&self) -> String {
        match &self.forbidden_by {
            _ if !self.requested => {
                format!("it is for the author of `{}` to request it in conf()", printable(&self.id))
            }
            Some(file) => format!("only a change of `{}` could allow it", file.printable()),
            // The path may contain characters that no scope can have.
            None if Template::parse(&self.needed).is_err() => {
                "to allow it: --grant a scope that covers it with `*`".into()
            }
            None => format!("to allow it: --grant {}", shell_quoted(&self.needed)),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let had = match (self.requested, self.granted) {
            (false, _) => "was not requested",
            (true, false) => "was requested, but not granted",
            (true, true) => "was requested and granted",
        };
        write!(f, "`{}` {had}", printable(&self.needed))?;
        match &self.forbidden_by {
            Some(file) if self.requested => {
                let but = if self.granted { ", but" } else { ", and" };
                write!(f, "{but} `{}` does not allow it", file.printable())
            }
            _ => Ok(()),
        }
    }
}
