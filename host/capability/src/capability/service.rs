//! `svc:<enable|disable|mask|install>:<unit>`: what may be done to a unit of systemd. In its name `*` is any text.

use std::fmt;

use super::Need;
use super::glob::TextGlob;
use super::kind::{Kind, Risk, Scope};

pub const INSTALL: Kind =
    Kind { name: "svc:install", verb: "write the units", cannot: Some("write units"), by_command: true };
pub const ENABLE: Kind =
    Kind { name: "svc:enable", verb: "enable the units", cannot: Some("enable units"), by_command: true };
pub const DISABLE: Kind =
    Kind { name: "svc:disable", verb: "disable the units", cannot: Some("disable units"), by_command: true };
pub const MASK: Kind = Kind { name: "svc:mask", verb: "mask the units", cannot: Some("mask units"), by_command: true };

/// Suffixes of units that have no command in them: systemd.timer(5), systemd.path(5), systemd.target(5), systemd.slice(5).
const RUN_NOTHING: [&str; 4] = [".timer", ".path", ".target", ".slice"];

/// Returns whether a unit of that name has no command in it, whatever is written into it.
pub fn runs_nothing(unit: &str) -> bool {
    RUN_NOTHING.iter().any(|suffix| unit.ends_with(suffix))
}

/// An action on a unit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServiceAction {
    Enable,
    Disable,
    /// And unmask.
    Mask,
    /// Write it, or a drop-in for it.
    Install,
}

impl ServiceAction {
    const ALL: [(&str, Self); 4] =
        [("enable", Self::Enable), ("disable", Self::Disable), ("mask", Self::Mask), ("install", Self::Install)];
}

impl fmt::Display for ServiceAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = Self::ALL.iter().find(|(_, action)| action == self).map_or("", |(name, _)| name);
        f.write_str(name)
    }
}

/// A unit, and the action of a call on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change(ServiceAction, String);

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl Need {
    pub fn service(action: ServiceAction, unit: &str) -> Self {
        Self::Service(Change(action, unit.to_owned()))
    }
}

/// An action and a glob over units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePattern {
    action: ServiceAction,
    unit: TextGlob,
}

impl Scope for ServicePattern {
    const KINDS: &'static [&'static Kind] = &[&INSTALL, &ENABLE, &DISABLE, &MASK];
    type Need = Change;

    fn parse(scope: &str) -> Result<Self, String> {
        let (action, unit) = scope.split_once(':').unwrap_or((scope, ""));
        let Some((_, action)) = ServiceAction::ALL.into_iter().find(|(name, _)| *name == action) else {
            return Err("after `svc:` comes `enable`, `disable`, `mask` or `install`, then `:` and a unit".into());
        };
        if unit.contains("**") {
            return Err("a unit has `*`, not `**`".into());
        }
        // With a wildcard for the suffix nobody can tell what kind of unit is meant.
        crate::units::UnitName::parse(&unit.replace('*', "x")).map_err(|cause| cause.to_owned())?;
        if unit.rsplit('.').next().is_some_and(|suffix| suffix.contains('*')) {
            return Err("a unit's suffix, such as `.service`, has no `*`".into());
        }
        Ok(Self { action, unit: TextGlob::new(unit) })
    }

    fn kind(&self) -> &'static Kind {
        match self.action {
            ServiceAction::Install => &INSTALL,
            ServiceAction::Enable => &ENABLE,
            ServiceAction::Disable => &DISABLE,
            ServiceAction::Mask => &MASK,
        }
    }

    fn covers(&self, Change(action, unit): &Change) -> bool {
        self.action == *action && self.unit.matches(unit)
    }

    fn includes(&self, other: &Self) -> bool {
        self.action == other.action && self.unit.includes(&other.unit)
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(match self.action {
            ServiceAction::Install if runs_nothing(declared) => {
                (Risk::Medium, format!("`{declared}` says what starts, and when"))
            }
            ServiceAction::Install => {
                (Risk::High, format!("`{declared}` runs what the plugin writes into it, at boot if enabled"))
            }
            ServiceAction::Enable => (Risk::Medium, format!("`{declared}` starts at boot")),
            ServiceAction::Disable | ServiceAction::Mask => (Risk::Medium, format!("`{declared}` no longer starts")),
        })
    }
}

impl fmt::Display for ServicePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.action, self.unit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(scope: &str) -> ServicePattern {
        ServicePattern::parse(scope).unwrap()
    }

    #[test]
    fn action_and_unit_must_match() {
        use ServiceAction::{Disable, Enable, Install, Mask};
        for (pattern, action, unit, expected) in [
            ("enable:app.service", Enable, "app.service", true),
            ("enable:app.service", Disable, "app.service", false),
            ("enable:app.service", Install, "app.service", false),
            ("enable:app.service", Enable, "app.socket", false),
            ("enable:app.service", Enable, "app2.service", false),
            ("enable:app.service", Enable, "app@.service", false),
            ("mask:app-*.timer", Mask, "app-clean.timer", true),
            ("mask:app-*.timer", Mask, "app-clean.service", false),
            ("install:app@*.service", Install, "app@.service", true),
            ("enable:app@*.service", Enable, "app@tty1.service", true),
            ("enable:app@.service", Enable, "app@tty1.service", false),
        ] {
            assert_eq!(parse(pattern).covers(&Change(action, unit.to_owned())), expected, "{pattern} {action} {unit}");
        }
    }

    #[test]
    fn malformed_scopes_say_why() {
        for (scope, cause) in [
            ("", "comes `enable`"),
            ("start:app.service", "comes `enable`"),
            ("enable", "suffix"),
            ("enable:", "suffix"),
            ("enable:app", "suffix"),
            ("enable:*", "suffix"),
            ("enable:app.*", "suffix"),
            ("enable:**.service", "`**`"),
            ("enable:../x.service", "letters"),
            ("enable:a b.service", "letters"),
            ("Enable:app.service", "comes `enable`"),
        ] {
            let error = ServicePattern::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }

    #[test]
    fn inclusion_never_widens() {
        for (outer, inner, expected) in [
            ("enable:*.service", "enable:app.service", true),
            ("enable:app.service", "enable:*.service", false),
            ("enable:*.service", "mask:app.service", false),
        ] {
            assert_eq!(parse(outer).includes(&parse(inner)), expected, "{outer} {inner}");
        }
    }
}
