//! `svc:<enable|disable|mask|install>:<unit>`: what may be done to a unit of systemd. In its name `*` is any text.

use std::fmt;

use super::glob::TextGlob;

/// What is done to a unit.
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

/// An action and a glob over units.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePattern {
    action: ServiceAction,
    unit: TextGlob,
}

impl ServicePattern {
    pub(super) fn parse(scope: &str) -> Result<Self, String> {
        let (action, unit) = scope.split_once(':').unwrap_or((scope, ""));
        let Some((_, action)) = ServiceAction::ALL.into_iter().find(|(name, _)| *name == action) else {
            return Err("after `svc:` comes `enable`, `disable`, `mask` or `install`, then `:` and a unit".into());
        };
        if unit.contains("**") {
            return Err("a unit has `*`, not `**`".into());
        }
        // With a wildcard for the suffix nobody can tell what kind of unit is meant.
        crate::rootfs::units::UnitName::parse(&unit.replace('*', "x")).map_err(|cause| cause.to_owned())?;
        if unit.rsplit('.').next().is_some_and(|suffix| suffix.contains('*')) {
            return Err("a unit's suffix, such as `.service`, has no `*`".into());
        }
        Ok(Self { action, unit: TextGlob::new(unit) })
    }

    pub fn action(&self) -> ServiceAction {
        self.action
    }

    pub(super) fn matches(&self, action: ServiceAction, unit: &str) -> bool {
        self.action == action && self.unit.matches(unit)
    }

    pub(super) fn includes(&self, other: &Self) -> bool {
        self.action == other.action && self.unit.includes(&other.unit)
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
            assert_eq!(parse(pattern).matches(action, unit), expected, "{pattern} {action} {unit}");
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
