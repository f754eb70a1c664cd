//! Words in which `{params.NAME}` stands for a parameter, as it does in scopes.

use std::borrow::Cow;

use crate::{Error, ErrorCode};

const OPENING: &str = "{params.";

/// Fills in the values of the plugin's parameters, each once: a value is never looked into.
pub(crate) fn filled(text: &str) -> Result<Cow<'_, str>, Error> {
    filled_with(text, crate::context::param)
}

/// Fills in all of them.
pub(crate) fn all_filled(texts: &[&str]) -> Result<Vec<String>, Error> {
    texts.iter().map(|text| filled(text).map(Cow::into_owned)).collect()
}

fn filled_with(text: &str, value: impl Fn(&str) -> Option<String>) -> Result<Cow<'_, str>, Error> {
    let (mut done, mut rest) = (String::new(), text);
    while let Some((before, from)) = rest.split_once(OPENING) {
        let Some((name, after)) = from.split_once('}') else { break };
        let Some(value) = value(name) else {
            let name = name.escape_debug();
            return Err(Error::new(ErrorCode::Invalid, format!("the plugin has no parameter `{name}` with a value")));
        };
        done += before;
        done += &value;
        rest = after;
    }
    Ok(if done.is_empty() && rest.len() == text.len() { Cow::Borrowed(text) } else { Cow::Owned(done + rest) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_filled_in_once() {
        let value = |name: &str| match name {
            "user" => Some("ann".to_owned()),
            "odd" => Some("{params.user}".to_owned()),
            "none" => Some(String::new()),
            _ => None,
        };
        for (text, expected) in [
            ("/etc/motd", "/etc/motd"),
            ("/home/{params.user}/.x", "/home/ann/.x"),
            ("{params.user}-{params.user}", "ann-ann"),
            ("{params.odd}", "{params.user}"),
            ("{params.none}", ""),
            ("{user} {params.user", "{user} {params.user"),
        ] {
            assert_eq!(filled_with(text, value).unwrap(), expected, "{text}");
        }
        let error = filled_with("{params.usr}", value).unwrap_err();
        assert_eq!(error.to_string(), "the plugin has no parameter `usr` with a value");
    }
}
