//! Parses web addresses of one strict form, so that the address compared with a capability is the one requested. Pure.

use std::fmt;

/// Longest address in bytes.
const MAX_LENGTH: usize = 2000;

/// Scheme, host and port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    pub scheme: String,
    /// A name in lowercase or an IPv4 address.
    pub host: String,
    /// `None` for the scheme's own.
    pub port: Option<u16>,
}

fn usual_port(scheme: &str) -> u16 {
    if scheme == "https" { 443 } else { 80 }
}

/// An address of http or https, without user, password and fragment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Url {
    pub origin: Origin,
    /// Path from `/` on, without the query.
    pub path: String,
    pub query: Option<String>,
}

impl Origin {
    /// Returns the port that is connected to.
    pub fn real_port(&self) -> u16 {
        self.port.unwrap_or_else(|| usual_port(&self.scheme))
    }

    /// Reads `scheme://host[:port]`, and returns what follows; `is_host` says what a host is.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn split<'t>(text: &'t str, is_host: &dyn Fn(&str) -> bool) -> Result<(Self, &'t str), String> {
        let (scheme, rest) = text.split_once("://").ok_or("it does not begin with `https://` or `http://`")?;
        if !matches!(scheme, "https" | "http") {
            return Err("it does not begin with `https://` or `http://`".into());
        }
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, rest) = rest.split_at(end);
        if authority.contains('@') {
            return Err("it has a user or password in it".into());
        }
        let (host, port) = authority.split_once(':').map_or((authority, None), |(host, port)| (host, Some(port)));
        if !is_host(host) {
            return Err("its host is no name in lowercase and no IPv4 address".into());
        }
        let port = match port {
            None => None,
            Some(text) => {
                let digits =
                    !text.is_empty() && !text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit());
                Some(text.parse::<u16>().ok().filter(|_| digits).ok_or("its port is no number from 1 to 65535")?)
            }
        };
        let usual = usual_port(scheme);
        Ok((Self { scheme: scheme.into(), host: host.into(), port: port.filter(|port| *port != usual) }, rest))
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}", self.scheme, self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl Url {
    /// # Errors
    /// What is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text.len() > MAX_LENGTH {
            return Err(format!("it is longer than {MAX_LENGTH} bytes"));
        }
        let (origin, rest) = Origin::split(text, &is_host)?;
        if rest.contains('#') {
            return Err("it has a fragment, which servers never see".into());
        }
        let (path, query) = rest.split_once('?').map_or((rest, None), |(path, query)| (path, Some(query)));
        let path = if path.is_empty() { "/" } else { path };
        check_path(path)?;
        let plain = |c: char| is_path_character(c) || c == '?' || c == '%';
        if query.is_some_and(|query| !query.chars().all(plain)) {
            return Err("its query has a character that must be written as `%` and two digits".into());
        }
        Ok(Self { origin, path: path.to_owned(), query: query.map(str::to_owned) })
    }

    /// Resolves the target of a redirection: <https://www.rfc-editor.org/rfc/rfc9110.html#section-15.4>.
    ///
    /// # Errors
    /// If that is no address, or one without the encryption that this one has.
    pub fn follow(&self, location: &str) -> Result<Self, String> {
        let next = if location.starts_with('/') && !location.starts_with("//") {
            Self::parse(&format!("{}{location}", self.origin))
        } else {
            Self::parse(location)
        };
        let next = next.map_err(|cause| format!("it leads to an address that is refused: {cause}"))?;
        if self.origin.scheme == "https" && next.origin.scheme != "https" {
            return Err("it leads from https to http".into());
        }
        Ok(next)
    }
}

impl fmt::Display for Url {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.origin, self.path)?;
        self.query.as_ref().map_or(Ok(()), |query| write!(f, "?{query}"))
    }
}

/// Returns whether this is a host's name in lowercase or an IPv4 address.
pub fn is_host(host: &str) -> bool {
    let label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
    };
    // Numbers alone have several readings, such as 127.1 and 2130706433, of which only the usual one is taken.
    let last = host.rsplit('.').next().unwrap_or_default();
    let numeric = last.bytes().all(|byte| byte.is_ascii_digit()) || last.starts_with("0x");
    host.len() <= 253 && host.split('.').all(label) && (!numeric || host.parse::<std::net::Ipv4Addr>().is_ok())
}

/// # Errors
/// What is wrong with a path from `/` on. A server must not read another path in it.
pub fn check_path(path: &str) -> Result<(), String> {
    if !path.starts_with('/') {
        return Err("its path does not begin with `/`".into());
    }
    let mut rest = path;
    while let Some(at) = rest.find('%') {
        let digits = rest.get(at + 1..at + 3).unwrap_or_default();
        let byte = u8::from_str_radix(digits, 16).ok().filter(|_| digits.bytes().all(|b| b.is_ascii_hexdigit()));
        match byte {
            None => return Err("its path has a `%` without two hexadecimal digits".into()),
            Some(byte) if byte < 0x20 || byte == 0x7f || b"./\\%".contains(&byte) => {
                return Err(format!("its path has `%{digits}`, which servers read differently"));
            }
            Some(_) => rest = &rest[at + 3..],
        }
    }
    if !path.chars().all(|c| is_path_character(c) || c == '%') {
        return Err("its path has a character that must be written as `%` and two digits".into());
    }
    let segments: Vec<&str> = path[1..].split('/').collect();
    let last = segments.len() - 1;
    if segments.iter().enumerate().any(|(at, part)| matches!(*part, "." | "..") || (part.is_empty() && at != last)) {
        return Err("its path has `.`, `..` or `//` in it".into());
    }
    Ok(())
}

/// Returns whether a URL's path may hold `c`: <https://www.rfc-editor.org/rfc/rfc3986.html#section-3.3>, without `*`,
/// the wildcard of capabilities.
fn is_path_character(c: char) -> bool {
    c.is_ascii_alphanumeric() || "-._~!$&'()+,;=:@/".contains(c)
}

/// Checks the address of an archive that a plugin names: capabilities are compared with it, so that it has one form.
///
/// # Errors
/// The rule it breaks.
pub fn check_address(url: &str) -> Result<(), String> {
    let plain = |cause| format!("must be a plain address of http or https: {cause}");
    let (origin, path) = Origin::split(url, &is_host).map_err(plain)?;
    if path.contains(['?', '#']) {
        return Err("must be without query and fragment".into());
    }
    if path.ends_with('/') {
        return Err("must have no `/` at its end".into());
    }
    if !path.is_empty() {
        check_path(path).map_err(plain)?;
    }
    let one = format!("{origin}{path}");
    if one == url { Ok(()) } else { Err(format!("must be written as `{one}`")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_have_one_form() {
        for (text, expected) in [
            ("https://example.org", "https://example.org/"),
            ("https://example.org:443/a", "https://example.org/a"),
            ("http://127.0.0.1:8080/a/?b=c/d", "http://127.0.0.1:8080/a/?b=c/d"),
            ("https://a-b.example.org/x%20y", "https://a-b.example.org/x%20y"),
        ] {
            assert_eq!(Url::parse(text).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn what_can_be_read_in_two_ways_is_refused() {
        for (text, cause) in [
            ("", "does not begin"),
            ("example.org/x", "does not begin"),
            ("ftp://example.org/x", "does not begin"),
            ("file:///etc/passwd", "does not begin"),
            ("HTTPS://example.org/", "does not begin"),
            ("https://user:pw@example.org/", "user or password"),
            ("https://example.org@evil.org/", "user or password"),
            ("https:///x", "its host"),
            ("https://Example.org/", "its host"),
            ("https://[::1]/", "its host"),
            ("https://127.1/", "its host"),
            ("https://0x7f000001/", "its host"),
            ("https://2130706433/", "its host"),
            ("https://example.org./", "its host"),
            ("https://*.example.org/", "its host"),
            ("https://example.org\\@evil.org/", "user or password"),
            ("https://example.org:0/", "its port"),
            ("https://example.org:/", "its port"),
            ("https://example.org:99999/", "its port"),
            ("https://example.org/#x", "fragment"),
            ("https://example.org/a/../b", "`..`"),
            ("https://example.org/a//b", "`//`"),
            ("https://example.org/%2e%2e/b", "`%2e`"),
            ("https://example.org/a%2Fb", "`%2F`"),
            ("https://example.org/a%", "two hexadecimal"),
            ("https://example.org/a b", "must be written"),
            ("https://example.org/ä", "must be written"),
            ("https://example.org/*", "must be written"),
            ("https://example.org/a\r\nHost: x", "must be written"),
            ("https://example.org/a?b\nc", "its query"),
        ] {
            let error = Url::parse(text).unwrap_err();
            assert!(error.contains(cause), "{text:?}: {error}");
        }
    }

    #[test]
    fn redirections_stay_encrypted() {
        let url = Url::parse("https://example.org/a").unwrap();
        for (location, expected) in [
            ("/b?c", Ok("https://example.org/b?c")),
            ("https://cdn.example.org/b", Ok("https://cdn.example.org/b")),
            ("http://example.org/b", Err("from https to http")),
            ("//evil.org/b", Err("does not begin")),
            ("b", Err("does not begin")),
        ] {
            match (url.follow(location), expected) {
                (Ok(next), Ok(expected)) => assert_eq!(next.to_string(), expected),
                (Err(error), Err(cause)) => assert!(error.contains(cause), "{error}"),
                (result, _) => panic!("{location}: {result:?}"),
            }
        }
    }
}
