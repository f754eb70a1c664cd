//! The gate: what a plugin may do is what it requested *and* was granted *and* the site allows. Nothing is granted by
//! default. Pure.

mod standing;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use super::capability::{Capability, Need, Template};
use super::inspect::{PluginInfo, Request};
use super::lock::Lock;
use super::policy::{Ceiling, Limit};
use crate::error::{Context as _, Failure, Result};
use crate::ui::{Printable as _, printable, shell_quoted};

pub(super) use standing::forbidden_line;
pub use standing::{Standing, State, describe, reason, spelled};

/// Where grants come from, and what bounds them.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// `piimg.lock`, if there is one.
    pub lock: Option<Lock>,
    /// `--locked`: each plugin must be in the lock file, by its digest.
    pub locked: bool,
    /// `--grant SCOPE`: for every plugin of this build.
    pub scopes: Vec<String>,
    /// `--grant-requested`: whatever the plugins of this build ask for.
    pub requested: bool,
    /// The site's policy, and the one named with `--policy`.
    pub ceiling: Ceiling,
    /// The recipe, if it was named: it belongs into the command that a hint tells.
    pub recipe: Option<PathBuf>,
}

impl Granted {
    /// Checks what the user wrote, also where no plugin asks for it.
    ///
    /// # Errors
    /// [`Failure::usage`] if a granted scope is no capability.
    pub fn check(&self) -> Result<()> {
        for scope in &self.scopes {
            Template::parse(scope).with_context(|| Failure::usage("cannot use `--grant`"))?;
        }
        Ok(())
    }

    /// Everything granted to this plugin, as text.
    pub fn scopes_for(&self, info: &PluginInfo) -> Vec<String> {
        let concerns = |scope: &&String| Template::parse(scope).is_ok_and(|scope| stranger(&scope, info).is_none());
        let mut scopes: Vec<String> = self.scopes.iter().filter(concerns).cloned().collect();
        scopes.extend(self.locked_for(info).into_iter().flatten().map(str::to_owned));
        if self.requested {
            scopes.extend(info.requests.iter().map(|request| request.scope.clone()));
        }
        scopes.sort();
        scopes.dedup();
        scopes
    }

    /// What the lock file grants to this plugin; none if it has no entry there.
    fn locked_for(&self, info: &PluginInfo) -> Option<Vec<&str>> {
        self.lock.as_ref().and_then(|lock| lock.grants(&info.digest, &info.requests))
    }
}

/// The first parameter in a scope that is none of the plugin's.
fn stranger<'a>(scope: &'a Template, info: &PluginInfo) -> Option<&'a str> {
    scope.params().find(|name| info.conf.params.iter().all(|known| known.name != *name))
}

/// What a plugin asks for, read: a capability with its parameters still in it.
///
/// # Errors
/// [`Failure::usage`] if it is not offered, or has a parameter that the plugin has not.
pub fn requested(info: &PluginInfo) -> Result<Vec<(Template, &Request)>> {
    let read = |request: &Request| {
        let scope = Template::parse(&request.scope)?;
        if let Some(name) = stranger(&scope, info) {
            anyhow::bail!("`{}`: it has no parameter `{}`", printable(&request.scope), printable(name));
        }
        Ok(scope)
    };
    let refuse =
        || Failure::usage(format!("the plugin `{}` asks for what piimg does not offer", printable(&info.conf.id)));
    info.requests.iter().map(|request| Ok((read(request).with_context(refuse)?, request))).collect()
}

/// One plugin's rights.
#[derive(Clone, Debug)]
pub struct GrantSet {
    id: String,
    digest: String,
    path: PathBuf,
    recipe: Option<PathBuf>,
    values: BTreeMap<String, String>,
    requested: Vec<(Capability, Request)>,
    granted: Vec<Capability>,
    limits: Vec<Limit>,
    /// Another build of the plugin has grants in the lock file, and this one has none.
    stale: bool,
    locked: bool,
    /// It must be in the lock file, and is not.
    unlisted: bool,
}

impl GrantSet {
    /// `values` are those of the plugin's parameters, validated and complete.
    ///
    /// # Errors
    /// [`Failure::usage`] if the plugin requests or the user grants what is no capability, or with these values none.
    pub fn new(info: &PluginInfo, values: &BTreeMap<String, String>, from: &Granted) -> Result<Self> {
        let id = printable(&info.conf.id);
        let mut wanted = Vec::new();
        for (scope, request) in requested(info)? {
            let unfit = || Failure::usage(format!("the plugin `{id}` cannot ask for `{}`", printable(&request.scope)));
            wanted.push((scope.fill(values).with_context(unfit)?, request.clone()));
        }
        let mut granted = Vec::new();
        for scope in &from.scopes {
            let unusable = || Failure::usage("cannot use `--grant`");
            let scope = Template::parse(scope).with_context(unusable)?;
            if stranger(&scope, info).is_none() {
                granted.push(scope.fill(values).with_context(unusable)?);
            }
        }
        let locked = from.locked_for(info);
        for scope in locked.iter().flatten() {
            let unusable = || Failure::usage(format!("cannot use the grants of `{id}` in `piimg.lock`"));
            granted.push(Template::parse(scope).with_context(unusable)?.fill(values).with_context(unusable)?);
        }
        if from.requested {
            granted.extend(wanted.iter().map(|(capability, _)| capability.clone()));
        }
        let known = |lock: &Lock| lock.another_build(&info.conf.id, &info.digest).is_some();
        Ok(Self {
            id: info.conf.id.clone(),
            digest: info.digest.clone(),
            path: info.path.clone(),
            recipe: from.recipe.clone(),
            values: values.clone(),
            requested: wanted,
            granted,
            limits: from.ceiling.limits(&info.conf.id, &info.digest),
            stale: locked.is_none() && from.lock.as_ref().is_some_and(known),
            locked: from.locked,
            unlisted: from.locked && locked.is_none(),
        })
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

    /// Whether the whole of a capability was requested, granted and allowed by the site. It may have the plugin's
    /// parameters in it.
    pub fn has(&self, scope: &str) -> bool {
        let wanted = Template::parse(scope).ok().and_then(|scope| scope.fill(&self.values).ok());
        wanted.is_some_and(|wanted| {
            self.requested.iter().any(|(capability, _)| capability.includes(&wanted))
                && self.state(&wanted) == State::Granted
        })
    }

    /// What was requested, granted and allowed by the site: each capability, and how it was requested.
    pub fn held(&self) -> impl Iterator<Item = (&Capability, &Request)> {
        let held = self.requested.iter().filter(|(capability, _)| self.state(capability) == State::Granted);
        held.map(|(capability, request)| (capability, request))
    }

    /// Names of the packages that are to be there while it runs, sorted.
    pub fn build_packages(&self) -> Vec<String> {
        let names: BTreeSet<&str> = self.held().filter_map(|(capability, _)| capability.build_package()).collect();
        names.into_iter().map(str::to_owned).collect()
    }

    /// The secrets among what it holds, by name, and whether it can do without.
    pub fn secrets(&self) -> impl Iterator<Item = (&str, bool)> {
        self.held().filter_map(|(capability, request)| Some((capability.secret()?, request.optional)))
    }

    /// Whether the plugin asks for the secret of that name.
    pub fn wants_secret(&self, name: &str) -> bool {
        self.requested.iter().any(|(capability, _)| capability.secret() == Some(name))
    }

    /// What it needs of assets and nobody gave, each in words of its own; `given` are the names of those that are given.
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

    /// Whether the plugin asks for the asset of that name.
    pub fn wants_asset(&self, name: &str) -> bool {
        self.requested.iter().any(|(capability, _)| covers_asset(capability, name))
    }

    /// Whether it holds it, too.
    pub fn takes_asset(&self, name: &str) -> bool {
        self.held().any(|(capability, _)| covers_asset(capability, name))
    }

    /// Whether a command of the plugin may connect to that host and port.
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

/// Whether it is one asset; a glob may stand for none.
fn is_asset(capability: &Capability) -> bool {
    matches!(capability, Capability::Asset(name) if !name.to_string().contains('*'))
}

fn covers_asset(capability: &Capability, name: &str) -> bool {
    capability.covers(&Need::Asset(name.to_owned()))
}

/// Why a call was refused.
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
    /// What to do about it, and who can.
    pub fn hint(&self) -> String {
        match &self.forbidden_by {
            _ if !self.requested => {
                format!("it is for the author of `{}` to request it in conf()", printable(&self.id))
            }
            Some(file) => format!("only a change of `{}` could allow it", file.printable()),
            // The text of a path may be none that a scope can have.
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
