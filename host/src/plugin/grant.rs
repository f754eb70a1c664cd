//! The gate: what a plugin may do is what it requested *and* was granted. Nothing is granted by default. Pure.

use std::fmt;

use super::capability::{Capability, Need};
use super::inspect::{PluginInfo, Request};
use super::lock::{self, Lock};
use crate::error::{Context as _, Failure, Result};
use crate::ui::{printable, shell_quoted};

/// Where grants come from.
#[derive(Clone, Debug, Default)]
pub struct Granted {
    /// `piimg.lock`, if there is one.
    pub lock: Option<Lock>,
    /// `--grant SCOPE`: for every plugin of this build.
    pub scopes: Vec<String>,
    /// `--grant-requested`: whatever the plugins of this build ask for.
    pub requested: bool,
}

impl Granted {
    /// Checks what the user wrote, also where no plugin asks for it.
    ///
    /// # Errors
    /// [`Failure::usage`] if a granted scope is no capability.
    pub fn check(&self) -> Result<()> {
        for scope in &self.scopes {
            Capability::parse(scope).with_context(|| Failure::usage("cannot use `--grant`"))?;
        }
        Ok(())
    }

    /// Everything granted to this plugin, as text.
    pub fn scopes_for(&self, info: &PluginInfo) -> Vec<String> {
        let locked = self.lock.iter().flat_map(|lock| lock.grants(&info.digest));
        let mut scopes: Vec<String> = self.scopes.iter().map(String::as_str).chain(locked).map(str::to_owned).collect();
        if self.requested {
            scopes.extend(info.requests.iter().map(|request| request.scope.clone()));
        }
        scopes.sort();
        scopes.dedup();
        scopes
    }
}

/// One plugin's rights.
#[derive(Clone, Debug)]
pub struct GrantSet {
    id: String,
    digest: String,
    requested: Vec<(Capability, Request)>,
    granted: Vec<Capability>,
    /// Another build of the plugin has grants in the lock file.
    stale: bool,
}

impl GrantSet {
    /// # Errors
    /// [`Failure::usage`] if the plugin requests or the user grants what is no capability.
    pub fn new(info: &PluginInfo, from: &Granted) -> Result<Self> {
        let mut requested = Vec::new();
        for request in &info.requests {
            let capability = Capability::parse(&request.scope).with_context(|| {
                Failure::usage(format!("the plugin `{}` asks for what piimg does not offer", printable(&info.conf.id)))
            })?;
            requested.push((capability, request.clone()));
        }
        let mut granted = Vec::new();
        for scope in &from.scopes {
            granted.push(Capability::parse(scope).with_context(|| Failure::usage("cannot use `--grant`"))?);
        }
        for scope in from.lock.iter().flat_map(|lock| lock.grants(&info.digest)) {
            granted.push(Capability::parse(scope).with_context(|| Failure::usage("cannot use `piimg.lock`"))?);
        }
        if from.requested {
            granted.extend(requested.iter().map(|(capability, _)| capability.clone()));
        }
        let stale = from.lock.as_ref().is_some_and(|lock| lock.is_stale(&info.conf.id, &info.digest));
        Ok(Self { id: info.conf.id.clone(), digest: info.digest.clone(), requested, granted, stale })
    }

    /// Asks for one call.
    ///
    /// # Errors
    /// A refusal that says what is missing and how to grant it.
    pub fn allows(&self, need: &Need) -> Result<(), Refusal> {
        let requested = self.requested.iter().any(|(capability, _)| capability.covers(need));
        if requested && self.granted.iter().any(|capability| capability.covers(need)) {
            return Ok(());
        }
        Err(Refusal { needed: need.to_string(), requested, id: self.id.clone() })
    }

    /// Whether the whole of a capability was requested and granted.
    pub fn has(&self, scope: &str) -> bool {
        Capability::parse(scope).is_ok_and(|wanted| {
            self.requested.iter().any(|(capability, _)| capability.includes(&wanted)) && self.is_granted(&wanted)
        })
    }

    /// What was requested and granted, as requested.
    pub fn effective(&self) -> Vec<String> {
        let granted = self.requested.iter().filter(|(capability, _)| self.is_granted(capability));
        granted.map(|(_, request)| request.scope.clone()).collect()
    }

    /// Whether a capability was granted for which host functions choose themselves what they write: units, accounts, the
    /// firmware's files.
    pub fn has_settings(&self) -> bool {
        self.requested.iter().any(|(capability, _)| capability.is_setting() && self.is_granted(capability))
    }

    fn is_granted(&self, wanted: &Capability) -> bool {
        self.granted.iter().any(|capability| capability.includes(wanted))
    }

    /// What the plugin cannot do without and nobody granted, in the order of the requests.
    pub fn missing(&self) -> Vec<&Request> {
        let missing =
            self.requested.iter().filter(|(capability, request)| !request.optional && !self.is_granted(capability));
        missing.map(|(_, request)| request).collect()
    }

    /// One failure for all that is missing; none if nothing is.
    pub fn check(&self) -> Option<Failure> {
        let missing = self.missing();
        if missing.is_empty() {
            return None;
        }
        let mut text = format!("the plugin `{}` needs capabilities that nobody granted:", printable(&self.id));
        for request in &missing {
            text = format!("{text}\n  {}  (it says: {})", printable(&request.scope), printable(&request.reason));
        }
        if self.stale {
            text.push_str("\nthe grants in `piimg.lock` are for another build of it and do not count");
        }
        let flags: Vec<String> =
            missing.iter().map(|request| format!("--grant {}", shell_quoted(&request.scope))).collect();
        let scopes = missing.iter().map(|request| request.scope.as_str());
        Some(Failure::grant(text).hint(format!("for this build: {}", flags.join(" "))).hint(format!(
            "for good, in `piimg.lock` (a new file begins with `version = 1`):\n{}",
            lock::lines(&self.id, &self.digest, scopes)
        )))
    }
}

/// Why a call was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The narrowest capability that would have allowed it.
    pub needed: String,
    /// `conf()` asked for it, so that a grant is all that is missing.
    pub requested: bool,
    id: String,
}

impl Refusal {
    /// What to do about it, and who can.
    pub fn hint(&self) -> String {
        if self.requested {
            format!("to allow it: --grant {}", shell_quoted(&self.needed))
        } else {
            format!("it is for the author of `{}` to request it in conf()", printable(&self.id))
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let why = if self.requested { "was requested, but not granted" } else { "was not requested" };
        write!(f, "`{}` {why}", printable(&self.needed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Kind, report};

    fn info(requests: &[(&str, bool)]) -> PluginInfo {
        let requests = requests
            .iter()
            .map(|(scope, optional)| Request { scope: (*scope).into(), reason: "because".into(), optional: *optional })
            .collect();
        let mut info = PluginInfo { digest: format!("sha256:{}", "a".repeat(64)), requests, ..PluginInfo::default() };
        info.conf.id = "a/b".into();
        info
    }

    fn grant(scopes: &[&str]) -> Granted {
        Granted { scopes: scopes.iter().map(ToString::to_string).collect(), ..Granted::default() }
    }

    #[test]
    fn a_call_needs_request_and_grant() {
        let need = Need::FsWrite("/etc/x".into());
        for (requested, granted, expected) in [
            ("fs:write:/etc/x", "fs:write:/etc/x", None),
            ("fs:write:/etc/**", "fs:write:/etc/x", None),
            ("fs:write:/etc/x", "fs:write:/etc/**", None),
            ("fs:write:/etc/x", "fs:write:/etc/y", Some("`fs:write:/etc/x` was requested, but not granted")),
            ("fs:write:/etc/y", "fs:write:/**", Some("`fs:write:/etc/x` was not requested")),
        ] {
            let set = GrantSet::new(&info(&[(requested, false)]), &grant(&[granted])).unwrap();
            assert_eq!(set.allows(&need).err().map(|refusal| refusal.to_string()).as_deref(), expected);
        }
    }

    #[test]
    fn nothing_is_granted_by_default_and_the_fix_is_told() {
        let set = GrantSet::new(&info(&[("fs:write:/etc/x", false), ("exec:sh", true)]), &Granted::default()).unwrap();
        let report = report(&set.check().unwrap().into());
        assert_eq!(report.kind, Kind::Grant);
        assert!(report.messages[0].ends_with("nobody granted:\n  fs:write:/etc/x  (it says: because)"), "{report:?}");
        assert_eq!(report.hints[0], "for this build: --grant 'fs:write:/etc/x'");
        assert!(
            report.hints[1].contains("\"fs:write:/etc/x\"") && report.hints[1].contains(&"a".repeat(64)),
            "{report:?}"
        );
        assert!(!set.has("exec:sh"));
    }

    #[test]
    fn all_requests_can_be_granted_at_once() {
        let from = Granted { requested: true, ..Granted::default() };
        let set = GrantSet::new(&info(&[("fs:write:/etc/**", false), ("exec:sh", true)]), &from).unwrap();
        assert!(set.check().is_none());
        assert!(set.has("fs:write:/etc/x") && set.has("exec:sh") && !set.has("fs:write:/**") && !set.has("nonsense"));
    }

    #[test]
    fn grants_for_another_build_do_not_count() {
        let text =
            format!("version = 1\n{}", lock::lines("a/b", &format!("sha256:{}", "b".repeat(64)), ["fs:write:/etc/x"]));
        let from = Granted { lock: Some(Lock::parse(&text).unwrap()), ..Granted::default() };
        let failure = GrantSet::new(&info(&[("fs:write:/etc/x", false)]), &from).unwrap().check().unwrap();
        assert!(failure.to_string().contains("are for another build of it"), "{failure}");
    }

    #[test]
    fn what_is_not_offered_cannot_be_requested() {
        let error = GrantSet::new(&info(&[("net:https://example.org/**", false)]), &Granted::default()).unwrap_err();
        let report = report(&error);
        assert_eq!(report.kind, Kind::Usage);
        assert!(report.messages[1].contains("its kind is not offered"), "{report:?}");
    }
}
