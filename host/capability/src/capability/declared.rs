//! A scope as a plugin declares it: parsed once, where the plugin is looked at.

use std::fmt;
use std::ops::Deref;

use serde::{Deserialize, Serialize};

use super::{Kind, ScopeError, Template};

/// The text of a scope that a plugin asks for, and what it is. One that this piimg does not offer is kept too: it is shown,
/// and refused where it would count.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub struct Declared {
    text: String,
    template: Result<Template, ScopeError>,
}

impl Declared {
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the capability with its parameters.
    ///
    /// # Errors
    /// If this piimg does not offer it.
    pub fn template(&self) -> Result<&Template, &ScopeError> {
        self.template.as_ref()
    }

    /// Returns the kind by the beginning of the text, whatever follows.
    pub fn kind(&self) -> Option<&'static Kind> {
        Kind::split(&self.text).map(|(kind, _)| kind)
    }
}

impl From<String> for Declared {
    fn from(text: String) -> Self {
        Self { template: Template::parse(&text), text }
    }
}

impl From<&str> for Declared {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

impl From<&Template> for Declared {
    fn from(template: &Template) -> Self {
        Self { text: template.to_string(), template: Ok(template.clone()) }
    }
}

impl From<Declared> for String {
    fn from(scope: Declared) -> Self {
        scope.text
    }
}

impl Deref for Declared {
    type Target = str;

    fn deref(&self) -> &str {
        &self.text
    }
}

impl PartialEq<str> for Declared {
    fn eq(&self, text: &str) -> bool {
        self.text == text
    }
}

impl PartialEq<&str> for Declared {
    fn eq(&self, text: &&str) -> bool {
        self.text == *text
    }
}

impl fmt::Display for Declared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_offered_is_kept_as_text() {
        for (text, is_offered, kind) in [
            ("fs:write:/home/{params.user}/x", true, Some("fs:write")),
            ("fs:write:etc", false, Some("fs:write")),
            ("gpio:17", false, None),
        ] {
            let scope = Declared::from(text);
            assert_eq!((scope.template().is_ok(), scope.kind().map(|kind| kind.name)), (is_offered, kind), "{text}");
            let json = serde_json::to_string(&scope).unwrap();
            assert_eq!(json, format!("{text:?}"));
            assert_eq!(serde_json::from_str::<Declared>(&json).unwrap(), scope);
        }
        let template = Template::parse("exec:sh").unwrap();
        assert_eq!(Declared::from(&template), Declared::from("exec:sh"));
    }
}
