//! Text of a capability: what is read means what it prints, and errors can be shown.

use piimg::plugin::{Capability, Template};

use super::naive::{assert_printable, text};

pub(super) fn check(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let template = Template::parse(text);
    if let Ok(template) = &template {
        assert_eq!(template.as_str(), text);
        assert!(template.includes(template), "{text:?} does not include itself");
    }
    match Capability::parse(text) {
        Ok(capability) => {
            let printed = capability.to_string();
            assert_eq!(Capability::parse(&printed).as_ref(), Ok(&capability), "{text:?} prints {printed:?}");
            assert!(printed.len() <= text.len(), "{text:?} prints {printed:?}");
            assert!(capability.includes(&capability), "{text:?} does not include itself");
            assert!(template.is_ok() || text.contains(['{', '}']), "{text:?} as a template");
            true
        }
        Err(error) => {
            assert_printable(&error.to_string());
            match template {
                Ok(template) => assert!(template.params().next().is_some(), "{text:?}: {error}"),
                Err(error) => assert_printable(&error.to_string()),
            }
            false
        }
    }
}
