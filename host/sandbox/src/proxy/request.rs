//! Parses the requests that programs in a box send to the proxy.

use std::net::IpAddr;

/// Longest head of a request: more than any client of a package index sends.
pub const MAX_HEAD: usize = 16 << 10;
const MAX_HEADERS: usize = 64;

/// Headers that concern only the client and the proxy: <https://www.rfc-editor.org/rfc/rfc9110.html#section-7.6.1>.
const HOP_BY_HOP: [&str; 8] =
    ["connection", "keep-alive", "proxy-connection", "proxy-authorization", "te", "trailer", "upgrade", "expect"];

/// A request for one host.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    /// Host in lower case; an IPv6 address without brackets.
    pub host: String,
    pub port: u16,
    pub kind: Kind,
}

/// Kind of a request.
#[derive(Debug, PartialEq, Eq)]
pub enum Kind {
    Tunnel,
    /// Forward one request in the form that the server expects; `length` counts its body.
    Forward {
        head: Vec<u8>,
        body: u64,
    },
}

/// Reason for rejecting a request: a status line and an explanation.
pub type Refusal = (&'static str, &'static str);

const BAD: &str = "400 Bad Request";

/// Parses the head of a request; returns it with its length, or `None` if it is incomplete.
///
/// # Errors
/// A [`Refusal`] if it is no request for one host.
pub fn parse(bytes: &[u8]) -> Result<Option<(Request, usize)>, Refusal> {
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    let length = match request.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => length,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => return Err((BAD, "it has too many headers")),
        Err(_) => return Err((BAD, "it is no HTTP request")),
    };
    let (Some(method), Some(target)) = (request.method, request.path) else {
        return Err((BAD, "it is no HTTP request"));
    };
    let (host, port, path) = if method == "CONNECT" {
        let (host, port) = authority(target).ok_or((BAD, "it names no host and port"))?;
        (host, port.ok_or((BAD, "it names no port"))?, None)
    } else {
        let rest = strip_scheme(target).ok_or((BAD, "it is no request for an http:// address"))?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (name, path) = rest.split_at(end);
        let (host, port) = authority(name).ok_or((BAD, "it names no host"))?;
        let path = path.split('#').next().unwrap_or_default();
        let slash = if path.starts_with('/') { "" } else { "/" };
        (host, port.unwrap_or(80), Some(format!("{slash}{path}")))
    };
    check_host(request.headers, &host, port, path.is_some())?;
    let kind = match path {
        None => Kind::Tunnel,
        Some(path) => Kind::Forward { head: head(method, &path, request.headers), body: body(request.headers)? },
    };
    Ok(Some((Request { host, port, kind }, length)))
}

fn strip_scheme(target: &str) -> Option<&str> {
    let (scheme, rest) = target.split_at_checked("http://".len())?;
    scheme.eq_ignore_ascii_case("http://").then_some(rest)
}

/// Parses `host`, `host:port`, `address:port` or `[address]:port`. Rejects user names and unusual ways to write an
/// address.
fn authority(text: &str) -> Option<(String, Option<u16>)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (address, port) = rest.split_once(']')?;
            let address: std::net::Ipv6Addr = address.parse().ok()?;
            (IpAddr::V6(address).to_string(), if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let host = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_');
            if host.is_empty() || host.len() > 253 || !host.bytes().all(is_name) {
                return None;
            }
            (host, port)
        }
    };
    let is_number = |port: &str| !port.is_empty() && port.bytes().all(|byte| byte.is_ascii_digit());
    let port = match port {
        Some(port) => Some(Some(port).filter(|port| is_number(port))?.parse().ok().filter(|port| *port != 0)?),
        None => None,
    };
    Some((host, port))
}

fn values<'a>(headers: &'a [httparse::Header<'_>], name: &str) -> impl Iterator<Item = &'a [u8]> {
    headers.iter().filter(move |header| header.name.eq_ignore_ascii_case(name)).map(|header| header.value)
}

/// Checks that the `Host` header names the requested host: the server goes by the header, the grant by the request.
fn check_host(headers: &[httparse::Header<'_>], host: &str, port: u16, is_http: bool) -> Result<(), Refusal> {
    let mut found = values(headers, "host");
    let Some(value) = found.next() else {
        return if is_http { Err((BAD, "it has no Host header")) } else { Ok(()) };
    };
    let named = std::str::from_utf8(value).ok().and_then(|value| authority(value.trim()));
    let is_same = named.is_some_and(|(name, number)| {
        // Programs leave out the port of https too.
        name == host && number.is_none_or(|number| number == port)
    });
    if is_same && found.next().is_none() { Ok(()) } else { Err((BAD, "its Host header names another host")) }
}

/// Returns the length of the body, after which forwarding stops: a second request behind it could name another host.
/// See <https://www.rfc-editor.org/rfc/rfc9112.html#section-6>.
fn body(headers: &[httparse::Header<'_>]) -> Result<u64, Refusal> {
    if values(headers, "transfer-encoding").next().is_some() {
        return Err(("411 Length Required", "its body has no length"));
    }
    let mut lengths = values(headers, "content-length");
    let Some(length) = lengths.next() else { return Ok(0) };
    let is_number = !length.is_empty() && length.iter().all(u8::is_ascii_digit);
    let length = std::str::from_utf8(length).ok().filter(|_| is_number).and_then(|length| length.parse().ok());
    match (length, lengths.next()) {
        (Some(length), None) => Ok(length),
        _ => Err((BAD, "its body has no clear length")),
    }
}

fn head(method: &str, path: &str, headers: &[httparse::Header<'_>]) -> Vec<u8> {
    let mut head = format!("{method} {path} HTTP/1.1\r\n").into_bytes();
    for header in headers {
        if HOP_BY_HOP.iter().any(|name| header.name.eq_ignore_ascii_case(name)) {
            continue;
        }
        head.extend_from_slice(header.name.as_bytes());
        head.extend_from_slice(b": ");
        head.extend_from_slice(header.value);
        head.extend_from_slice(b"\r\n");
    }
    head.extend_from_slice(b"Connection: close\r\n\r\n");
    head
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(text: &str) -> Result<Request, Refusal> {
        let text = text.replace('\n', "\r\n");
        let (request, length) = parse(text.as_bytes())?.expect("the head is complete");
        assert_eq!(length, text.len());
        Ok(request)
    }

    #[test]
    fn a_tunnel_names_host_and_port() {
        for (text, host, port) in [
            ("CONNECT deb.example:443 HTTP/1.1\nHost: deb.example:443\n\n", "deb.example", 443),
            ("CONNECT Deb.Example.:443 HTTP/1.1\nHost: deb.example\n\n", "deb.example", 443),
            ("CONNECT [::1]:8080 HTTP/1.1\n\n", "::1", 8080),
            ("CONNECT 127.0.0.1:22 HTTP/1.0\n\n", "127.0.0.1", 22),
        ] {
            assert_eq!(ask(text), Ok(Request { host: host.into(), port, kind: Kind::Tunnel }), "{text}");
        }
    }

    #[test]
    fn a_request_is_passed_on_as_the_server_expects_it() {
        let request = ask(
            "POST HTTP://Host.Example:81/a?b#c HTTP/1.1\nhost: host.example:81\nProxy-Connection: keep-alive\nX: y\n\
             Content-Length: 12\n\n",
        )
        .unwrap();
        assert_eq!((request.host.as_str(), request.port), ("host.example", 81));
        let Kind::Forward { head, body } = request.kind else { panic!("no tunnel was asked for") };
        assert_eq!(body, 12);
        assert_eq!(
            String::from_utf8(head).unwrap(),
            "POST /a?b HTTP/1.1\r\nhost: host.example:81\r\nX: y\r\nContent-Length: 12\r\nConnection: close\r\n\r\n"
        );
        let request = ask("GET http://h?q HTTP/1.1\nHost: h\n\n").unwrap();
        assert!(matches!(request.kind, Kind::Forward { head, body: 0 } if head.starts_with(b"GET /?q HTTP/1.1\r\n")));
    }

    #[test]
    fn what_is_not_clear_is_refused() {
        for (text, why) in [
            ("GET / HTTP/1.1\nHost: h\n\n", "it is no request for an http:// address"),
            ("GET https://h/ HTTP/1.1\nHost: h\n\n", "it is no request for an http:// address"),
            ("GET file:///etc/passwd HTTP/1.1\nHost: h\n\n", "it is no request for an http:// address"),
            ("GET ftp://h/ HTTP/1.1\nHost: h\n\n", "it is no request for an http:// address"),
            ("GET http://h/ HTTP/1.1\n\n", "it has no Host header"),
            ("GET http://h/ HTTP/1.1\nHost: other\n\n", "its Host header names another host"),
            ("GET http://h/ HTTP/1.1\nHost: h:81\n\n", "its Host header names another host"),
            ("GET http://h/ HTTP/1.1\nHost: h\nHost: h\n\n", "its Host header names another host"),
            ("CONNECT h:443 HTTP/1.1\nHost: other\n\n", "its Host header names another host"),
            ("CONNECT h HTTP/1.1\nHost: h\n\n", "it names no port"),
            ("CONNECT h:0 HTTP/1.1\n\n", "it names no host and port"),
            ("CONNECT h:99999 HTTP/1.1\n\n", "it names no host and port"),
            ("CONNECT h:+80 HTTP/1.1\n\n", "it names no host and port"),
            ("CONNECT user@h:443 HTTP/1.1\n\n", "it names no host and port"),
            ("CONNECT [fe80::1%eth0]:443 HTTP/1.1\n\n", "it names no host and port"),
            ("GET http://user:pass@h/ HTTP/1.1\nHost: h\n\n", "it names no host"),
            ("GET http:///x HTTP/1.1\nHost: h\n\n", "it names no host"),
            (
                "GET http://h/ HTTP/1.1\nHost: h\nContent-Length: 1\nContent-Length: 2\n\n",
                "its body has no clear length",
            ),
            ("GET http://h/ HTTP/1.1\nHost: h\nContent-Length: -1\n\n", "its body has no clear length"),
            ("GET http://h/ HTTP/1.1\nHost: h\nTransfer-Encoding: chunked\n\n", "its body has no length"),
            ("\u{1}\u{2}\u{3}\n\n", "it is no HTTP request"),
        ] {
            assert_eq!(ask(text).map_err(|(_, why)| why), Err(why), "{text}");
        }
        let many = format!("GET http://h/ HTTP/1.1\n{}\n", "X: y\n".repeat(70));
        assert_eq!(ask(&many).map_err(|(_, why)| why), Err("it has too many headers"));
        assert_eq!(parse(b"CONNECT h:443 HTTP/1.1\r\nHost"), Ok(None));
    }
}
