//! `user:<create|group|keys|password>:<name>`: what may be done to an account. In its name `*` is any text, but no
//! capability is one for root.

use std::fmt;

use super::Need;
use super::glob::TextGlob;
use super::kind::{Kind, Risk, Scope};

pub const CREATE: Kind =
    Kind { name: "user:create", verb: "create the users", cannot: Some("create users"), by_command: true };
pub const GROUP: Kind =
    Kind { name: "user:group", verb: "fill the groups", cannot: Some("change groups"), by_command: true };
pub const KEYS: Kind =
    Kind { name: "user:keys", verb: "let keys log in as", cannot: Some("let keys log in"), by_command: true };
pub const PASSWORD: Kind =
    Kind { name: "user:password", verb: "set the password of", cannot: Some("set passwords"), by_command: true };

/// An action on an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UserAction {
    /// Make a user.
    Create,
    /// Make a group, or put a user into it.
    Group,
    /// Let keys log in as a user.
    Keys,
    /// Make a secret the password of a user.
    Password,
}

impl UserAction {
    const ALL: [(&str, Self); 4] =
        [("create", Self::Create), ("group", Self::Group), ("keys", Self::Keys), ("password", Self::Password)];
}

impl fmt::Display for UserAction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(Self::ALL.iter().find(|(_, action)| action == self).map_or("", |(name, _)| name))
    }
}

/// An account, and the action of a call on it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change(UserAction, String);

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.0, self.1)
    }
}

impl Need {
    pub fn user(action: UserAction, name: &str) -> Self {
        Self::User(Change(action, name.to_owned()))
    }
}

/// An action and a glob over names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserPattern {
    action: UserAction,
    name: TextGlob,
}

impl Scope for UserPattern {
    const KINDS: &'static [&'static Kind] = &[&CREATE, &GROUP, &KEYS, &PASSWORD];
    type Need = Change;

    fn parse(scope: &str) -> Result<Self, String> {
        let (action, name) = scope.split_once(':').unwrap_or((scope, ""));
        let Some((_, action)) = UserAction::ALL.into_iter().find(|(word, _)| *word == action) else {
            return Err("after `user:` comes `create`, `group`, `keys` or `password`, then `:` and a name".into());
        };
        if name == "root" {
            return Err("root is not a plugin's to change".into());
        }
        let belongs = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "_-*".contains(c);
        if name.is_empty() || name.len() > 32 || name.contains("**") || !name.chars().all(belongs) {
            return Err("a name has 1 to 32 lowercase letters, digits, `_`, `-`, and `*` for any text".into());
        }
        Ok(Self { action, name: TextGlob::new(name) })
    }

    fn kind(&self) -> &'static Kind {
        match self.action {
            UserAction::Create => &CREATE,
            UserAction::Group => &GROUP,
            UserAction::Keys => &KEYS,
            UserAction::Password => &PASSWORD,
        }
    }

    fn covers(&self, Change(action, name): &Change) -> bool {
        self.action == *action && name != "root" && self.name.matches(name)
    }

    fn includes(&self, other: &Self) -> bool {
        self.action == other.action && self.name.includes(&other.name)
    }

    fn risk(&self, declared: &str) -> Option<(Risk, String)> {
        Some(match self.action {
            UserAction::Create => (Risk::Medium, format!("creates the user `{declared}`")),
            UserAction::Group => (Risk::High, format!("puts users into `{declared}`, which may lend them rights")),
            UserAction::Password => {
                let says = format!("`{declared}` can log in with a password that the plugin chooses among its secrets");
                (Risk::High, says)
            }
            UserAction::Keys => (Risk::High, format!("decides who may log in as `{declared}` from afar")),
        })
    }
}

impl fmt::Display for UserPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.action, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn action_and_name_must_match() {
        use UserAction::{Create, Group, Keys, Password};
        for (pattern, action, name, expected) in [
            ("create:app", Create, "app", true),
            ("create:app", Create, "app2", false),
            ("create:app", Group, "app", false),
            ("create:app", Keys, "app", false),
            ("create:app", Password, "app", false),
            ("password:app", Password, "app", true),
            ("password:app", Create, "app", false),
            ("password:app", Password, "ap", false),
            ("password:*", Password, "root", false),
            ("keys:robot-*", Keys, "robot-1", true),
            ("keys:robot-*", Keys, "robot", false),
            ("keys:*", Keys, "ann", true),
            ("keys:*", Keys, "root", false),
            ("group:ro*", Group, "root", false),
        ] {
            assert_eq!(
                UserPattern::parse(pattern).unwrap().covers(&Change(action, name.to_owned())),
                expected,
                "{pattern} {name}"
            );
        }
        let parse = |text| UserPattern::parse(text).unwrap();
        assert!(parse("keys:*").includes(&parse("keys:ann")) && !parse("keys:ann").includes(&parse("keys:*")));
        assert!(!parse("keys:*").includes(&parse("group:ann")));
        assert!(!parse("keys:*").includes(&parse("password:ann")) && !parse("password:*").includes(&parse("keys:ann")));
    }

    #[test]
    fn malformed_scopes_say_why() {
        for (scope, cause) in [
            ("", "comes `create`"),
            ("delete:ann", "comes `create`"),
            ("passwd:ann", "comes `create`"),
            ("password:root", "root is not"),
            ("password:", "a name has"),
            ("create", "a name has"),
            ("create:", "a name has"),
            ("create:root", "root is not"),
            ("create:Ann", "a name has"),
            ("create:a:b", "a name has"),
            ("create:$(id)", "a name has"),
            ("create:**", "a name has"),
            ("create:a\nb", "a name has"),
        ] {
            let error = UserPattern::parse(scope).unwrap_err();
            assert!(error.contains(cause), "{scope}: {error}");
        }
    }
}
