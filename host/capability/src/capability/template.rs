//! Capabilities with parameters, such as `fs:write:/home/{params.user}/.ssh/authorized_keys`.
//!
//! What a plugin asks for may follow from a parameter of its own. The text is what is requested, granted and kept; what
//! is compared with a call is the capability that comes of it when the values are known. A value can make a name, never
//! another segment, wildcard or argument, whoever chose it: a default is the plugin's word.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Capability, MAX_SCOPE, ScopeError};
use piimg_sandbox::text::printable;

const OPENING: &str = "{params.";

/// Values that stand in for unknown ones where only the form is looked at: a name, and a number.
const PLACEHOLDERS: [&str; 2] = ["x", "1"];

/// The text of a capability, in which `{params.NAME}` stands for the value of a parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    text: String,
    pieces: Vec<Piece>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Piece {
    Text(String),
    Param(String),
}

/// The reason why there is no capability yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unfilled {
    /// This parameter has no value.
    NoValue(String),
    /// A sentence about a value that cannot stand where it would.
    Unfit(String),
}

impl fmt::Display for Unfilled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoValue(param) => write!(f, "the parameter `{}` has no value", printable(param)),
            Self::Unfit(cause) => f.write_str(cause),
        }
    }
}

impl std::error::Error for Unfilled {}

impl Template {
    /// # Errors
    /// Names the text and what is wrong with it, whatever the values will be.
    pub fn parse(text: &str) -> Result<Self, ScopeError> {
        let fail = |cause: String| ScopeError { text: text.chars().take(200).collect(), cause };
        if text.len() > MAX_SCOPE {
            return Err(fail(format!("it is longer than {MAX_SCOPE} bytes")));
        }
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, from) = rest.split_at(at);
            let found = from.strip_prefix(OPENING).and_then(|inner| inner.split_once('}'));
            let Some((name, after)) = found.filter(|(name, _)| is_name(name)) else {
                return Err(fail("`{` and `}` are for parameters only, as in `{params.NAME}`".into()));
            };
            pieces.extend([Piece::Text(before.to_owned()), Piece::Param(name.to_owned())]);
            rest = after;
        }
        pieces.push(Piece::Text(rest.to_owned()));
        let template = Self { text: text.to_owned(), pieces };
        if names_a_variable(text) {
            return Err(fail("the name of a variable is written out, whatever the parameters are".into()));
        }
        let [first, second] = PLACEHOLDERS.map(|value| Capability::parse(&template.with(|_| value)));
        first.or_else(|error| second.map_err(|_| fail(error.cause)))?;
        Ok(template)
    }

    /// Returns the text as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the parameters in it.
    pub fn params(&self) -> impl Iterator<Item = &str> {
        self.pieces.iter().filter_map(|piece| match piece {
            Piece::Param(name) => Some(name.as_str()),
            Piece::Text(_) => None,
        })
    }

    /// Returns the capability that it is with these values.
    ///
    /// # Errors
    /// Names the first parameter without a value, or the value, its parameter and this text.
    pub fn fill(&self, values: &BTreeMap<String, String>) -> Result<Capability, Unfilled> {
        let unfit = |param: &str, value: &str, cause: &str| {
            Unfilled::Unfit(format!(
                "the value `{}` of the parameter `{}` cannot stand in `{}`: {cause}",
                printable(value),
                printable(param),
                printable(&self.text)
            ))
        };
        for param in self.params() {
            let value = values.get(param).ok_or_else(|| Unfilled::NoValue(param.to_owned()))?;
            check_value(value, self.text.starts_with("exec:")).map_err(|cause| unfit(param, value, cause))?;
        }
        let filled = self.with(|param| values.get(param).map_or("", String::as_str));
        // The kind has rules of its own, as those for the names of packages.
        Capability::parse(&filled).map_err(|error| {
            let last = self.params().last().unwrap_or_default();
            unfit(last, values.get(last).map_or("", String::as_str), &error.cause)
        })
    }

    /// Returns the widest capability that values could make of it, for a judgement in advance: each parameter is a
    /// wildcard. Where the grammar has none for it, some name stands there.
    pub fn widest(&self) -> Capability {
        let mut text = String::new();
        let mut is_open = false;
        for piece in &self.pieces {
            match piece {
                // Two wildcards side by side would be another one.
                Piece::Param(_) => text.push_str(if text.ends_with('*') { "" } else { "*" }),
                Piece::Text(plain) => text.push_str(if is_open { plain.trim_start_matches('*') } else { plain }),
            }
            is_open = matches!(piece, Piece::Param(_)) || is_open && text.ends_with('*');
        }
        let some = |value| Capability::parse(&self.with(|_| value)).ok();
        let [first, second] = PLACEHOLDERS.map(some);
        Capability::parse(&text).ok().or(first).or(second).expect("a template is a capability with one of these")
    }

    /// Returns whether what `other` allows is allowed by this one too, whatever the values are; errs on the side of no.
    pub fn includes(&self, other: &Self) -> bool {
        let plain = |template: &Self| {
            template.params().next().is_none().then(|| Capability::parse(&template.text).ok()).flatten()
        };
        self.text == other.text || plain(self).zip(plain(other)).is_some_and(|(outer, inner)| outer.includes(&inner))
    }

    /// Compares as [`Template::includes`], with the same value for all parameters: finds slips of the pen and decides
    /// nothing.
    pub fn seems_to_include(&self, other: &Self) -> bool {
        PLACEHOLDERS.iter().any(|value| {
            let filled = |template: &Self| Capability::parse(&template.with(|_| value));
            filled(self).is_ok_and(|outer| filled(other).is_ok_and(|inner| outer.includes(&inner)))
        })
    }

    fn with<'a>(&'a self, value: impl Fn(&'a str) -> &'a str) -> String {
        self.pieces
            .iter()
            .map(|piece| match piece {
                Piece::Text(text) => text.as_str(),
                Piece::Param(name) => value(name),
            })
            .collect()
    }
}

impl fmt::Display for Template {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl PartialEq<str> for Template {
    fn eq(&self, text: &str) -> bool {
        self.text == text
    }
}

impl PartialEq<&str> for Template {
    fn eq(&self, text: &&str) -> bool {
        self.text == *text
    }
}

/// Travels as its text, and is parsed once where it arrives.
impl Serialize for Template {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text)
    }
}

impl<'de> Deserialize<'de> for Template {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Self::parse(&text).map_err(serde::de::Error::custom)
    }
}

fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_-".contains(&byte))
}

/// Returns whether a parameter has a part in the name of a variable of a command.
fn names_a_variable(text: &str) -> bool {
    let words = text.strip_prefix("exec:").into_iter().flat_map(|scope| scope.split(' '));
    // What has no `=` is the program, and arguments follow.
    let mut assigned = words.map_while(|word| word.split_once('='));
    assigned.any(|(name, _)| !name.starts_with('/') && name.contains('{'))
}

/// Checks that a value is no more than a name, or a part of one.
fn check_value(value: &str, in_command: bool) -> Result<(), &'static str> {
    if value.is_empty() {
        return Err("it is empty");
    }
    if matches!(value, "." | "..") {
        return Err("it is no name");
    }
    if value.contains('/') {
        return Err("it has `/` in it, with which another segment begins");
    }
    if value.contains('*') {
        return Err("it has the wildcard `*` in it");
    }
    if value.contains(['{', '}']) {
        return Err("it has `{` or `}` in it, which are for parameters");
    }
    if printable(value) != value {
        return Err("it has control or invisible characters in it");
    }
    if in_command && value.contains('=') {
        return Err("it has `=` in it, with which a word becomes a variable");
    }
    if in_command && value.contains(char::is_whitespace) {
        return Err("it has white space in it, with which another argument begins");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(values: &[(&str, &str)]) -> BTreeMap<String, String> {
        values.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn values_are_filled_in() {
        let values = values(&[("user", "ann"), ("n", "7"), ("spaced", "a b"), ("umlaut", "jürgen")]);
        for (text, filled) in [
            ("fs:write:/home/{params.user}/.ssh/authorized_keys", "fs:write:/home/ann/.ssh/authorized_keys"),
            ("fs:read:/etc/{params.user}-{params.n}.conf", "fs:read:/etc/ann-7.conf"),
            ("fs:read:/home/{params.user}/**", "fs:read:/home/ann/**"),
            ("fs:read:/{params.spaced}", "fs:read:/a b"),
            ("fs:read:/{params.umlaut}", "fs:read:/jürgen"),
            ("exec:adduser {params.user} *", "exec:adduser ann *"),
            ("pkg:install:python3-{params.user}", "pkg:install:python3-ann"),
            ("asset:{params.user}", "asset:ann"),
            ("exec:GREETING={params.user} hello --to={params.user}", "exec:GREETING=ann hello --to=ann"),
            ("fs:read:/etc/x", "fs:read:/etc/x"),
        ] {
            let template = Template::parse(text).unwrap();
            assert_eq!(template.fill(&values).unwrap().to_string(), filled);
            assert_eq!(template.to_string(), text);
        }
    }

    #[test]
    fn a_value_is_never_more_than_a_name() {
        let (path, command, package) =
            ("fs:write:/home/{params.p}/x", "exec:chown {params.p} /x", "pkg:install:{params.p}");
        for (text, value, cause) in [
            (path, "", "it is empty"),
            (path, ".", "it is no name"),
            (path, "..", "it is no name"),
            (path, "a/b", "another segment"),
            (path, "/", "another segment"),
            (path, "../../etc", "another segment"),
            (path, "*", "wildcard"),
            (path, "a*", "wildcard"),
            (path, "**", "wildcard"),
            (path, "{params.p}", "for parameters"),
            (path, "}", "for parameters"),
            (path, "a\nb", "control or invisible"),
            (path, "a\u{0}", "control or invisible"),
            (path, "a\u{202e}b", "control or invisible"),
            (path, "a\u{200b}", "control or invisible"),
            (command, "a b", "another argument"),
            (command, " ", "another argument"),
            (command, "a\u{a0}b", "control or invisible"),
            (command, "a\tb", "control or invisible"),
            (command, "LD_PRELOAD=x", "becomes a variable"),
            (package, "a b", "white space"),
            (package, "a=1", "`=`"),
            (package, "a:armhf", "`:`"),
        ] {
            let error = Template::parse(text).unwrap().fill(&values(&[("p", value)])).unwrap_err().to_string();
            let start = format!("the value `{}` of the parameter `p` cannot stand in `{text}`: ", printable(value));
            assert!(error.starts_with(&start) && error.contains(cause), "{value:?}: {error}");
        }
        // Nor together with what stands beside it.
        for (text, value) in [("fs:write:/home/{params.a}{params.a}/x", "."), ("fs:write:/home/.{params.a}/x", ".")] {
            let error = Template::parse(text).unwrap().fill(&values(&[("a", value)])).unwrap_err().to_string();
            assert!(error.contains("it is no name"), "{error}");
        }
    }

    #[test]
    fn the_widest_that_it_could_be_has_wildcards() {
        for (text, widest) in [
            ("fs:write:/home/{params.user}/x", "fs:write:/home/*/x"),
            ("fs:write:/home/{params.a}{params.b}/x", "fs:write:/home/*/x"),
            ("fs:write:/home/{params.a}*/x", "fs:write:/home/*/x"),
            ("fs:write:/home/a*{params.a}/**", "fs:write:/home/a*/**"),
            ("fs:write:/etc/x", "fs:write:/etc/x"),
            ("svc:enable:{params.a}.service", "svc:enable:*.service"),
            ("user:keys:{params.a}", "user:keys:*"),
            // No wildcard can stand there.
            ("secret:{params.a}", "secret:x"),
            ("exec:{params.a} **", "exec:x **"),
        ] {
            assert_eq!(Template::parse(text).unwrap().widest().to_string(), widest);
        }
    }

    #[test]
    fn a_parameter_without_a_value_is_named() {
        let template = Template::parse("fs:write:/{params.a}/{params.b}").unwrap();
        assert_eq!(template.params().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(template.fill(&values(&[("a", "x")])), Err(Unfilled::NoValue("b".into())));
    }

    #[test]
    fn braces_are_read_strictly() {
        for text in [
            "fs:write:/{user}",
            "fs:write:/{params}",
            "fs:write:/{params.}",
            "fs:write:/{params.a",
            "fs:write:/params.a}",
            "fs:write:/{{params.a}}",
            "fs:write:/{params.{params.a}}",
            "fs:write:/{params.a b}",
            "fs:write:/{params.a/b}",
            "fs:write:/{ params.a }",
            "fs:write:/{Params.a}",
            "fs:write:/{}",
            "exec:find {}",
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains("as in `{params.NAME}`"), "{text}: {error}");
        }
    }

    #[test]
    fn the_rest_of_the_text_must_be_a_capability() {
        for (text, cause) in [
            ("{params.kind}:/etc/x", "its kind is not offered"),
            ("fs:{params.kind}:/etc/x", "its kind is not offered"),
            ("fs:wri{params.kind}:/etc/x", "its kind is not offered"),
            ("fs:write:{params.path}", "not absolute"),
            ("fs:write:/{params.a}/", "ends in `/`"),
            ("fs:write:/{params.a}/../x", "`..`"),
            ("fs:write:/{params.a}**", "whole segment"),
            ("exec:bin/{params.a}", "bare name"),
            ("exec:{params.a}=1 sh", "written out"),
            ("exec:A=1 LD_{params.a}=x sh", "written out"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(
                error.starts_with(&format!("`{text}` is no capability")) && error.contains(cause),
                "{text}: {error}"
            );
        }
        assert!(Template::parse(&format!("fs:write:/{}", "x".repeat(9000))).unwrap_err().to_string().contains("8192"));
    }

    #[test]
    fn inclusion_knows_nothing_of_values() {
        for (outer, inner, surely, seemingly) in [
            ("fs:write:/a/{params.u}", "fs:write:/a/{params.u}", true, true),
            ("fs:write:/a/**", "fs:write:/a/b", true, true),
            ("fs:write:/a/**", "fs:write:/a/{params.u}", false, true),
            ("fs:write:/a/{params.u}/**", "fs:write:/a/{params.u}/b", false, true),
            ("fs:write:/a/{params.u}", "fs:write:/a/ann", false, false),
            ("fs:write:/a/b", "fs:write:/a/**", false, false),
            ("fs:write:/a/**", "fs:read:/a/{params.u}", false, false),
        ] {
            let parse = |text| Template::parse(text).unwrap();
            assert_eq!(parse(outer).includes(&parse(inner)), surely, "{outer} {inner}");
            assert_eq!(parse(outer).seems_to_include(&parse(inner)), seemingly, "{outer} {inner}");
        }
    }
}
