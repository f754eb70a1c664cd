//! Addresses: what is compared with a capability is what is asked for, whoever reads it: the client that piimg uses, or a
//! server, proxy or program that reads them as browsers do.

use piimg::download::Url;

use super::naive::{assert_printable, text};

pub(super) fn check(data: &[u8]) -> bool {
    let Some(text) = text(data) else { return false };
    let (address, location) = text.split_once('\n').unwrap_or((text, ""));
    let url = match Url::parse(address) {
        Ok(url) => url,
        Err(error) => {
            assert_printable(&error);
            return false;
        }
    };
    check_read_alike(&url);
    match url.follow(location) {
        Ok(next) => {
            check_read_alike(&next);
            assert!(url.origin.scheme == "http" || next.origin.scheme == "https", "{url} leads to {next}");
            if location.starts_with('/') {
                assert_eq!(next.origin, url.origin, "{url} leads to {next}");
            }
        }
        Err(error) => assert_printable(&piimg::ui::printable(&error)),
    }
    true
}

fn check_read_alike(url: &Url) {
    let printed = url.to_string();
    assert_eq!(Url::parse(&printed).as_ref(), Ok(url), "{printed}");
    assert!(!url.path.split('/').any(|part| matches!(part, "." | "..")), "{printed}");
    let uri: http::Uri = printed.parse().unwrap_or_else(|error| panic!("{printed}: {error}"));
    assert_eq!(uri.scheme_str(), Some(url.origin.scheme.as_str()), "{printed}");
    assert_eq!((uri.host(), uri.port_u16()), (Some(url.origin.host.as_str()), url.origin.port), "{printed}");
    assert_eq!((uri.path(), uri.query()), (url.path.as_str(), url.query.as_deref()), "{printed}");
    let other = match url::Url::parse(&printed) {
        Ok(other) => other,
        // A name that stands for one in another script, and for none there is: nobody finds a host by it.
        Err(error) => return assert!(url.origin.host.contains("xn--"), "{printed}: {error}"),
    };
    assert_eq!(other.host_str(), Some(url.origin.host.as_str()), "{printed}");
    assert_eq!(other.port_or_known_default(), Some(url.origin.real_port()), "{printed}");
    assert_eq!((other.username(), other.password(), other.fragment()), ("", None, None), "{printed}");
    assert_eq!(other.path(), url.path, "{printed}");
}
