//! Requests to the proxy of a box: the host that is decided on is the one that the server is asked for, and what is passed
//! on is one request, whatever was sent.

use piimg::sandbox::proxy::request::{Kind, parse};

use super::naive::assert_printable;

pub(super) fn check(data: &[u8]) -> bool {
    let (request, length) = match parse(data) {
        Ok(Some(found)) => found,
        Ok(None) => return false,
        Err((status, cause)) => {
            assert_printable(status);
            assert_printable(cause);
            return false;
        }
    };
    assert!(length <= data.len());
    // It comes in pieces: no part of it is another request, and what follows does not change it.
    for end in [0, length / 2, length.saturating_sub(1)] {
        assert!(!matches!(parse(&data[..end]), Ok(Some(_))), "its first {end} bytes are a request");
    }
    assert_eq!(parse(&data[..length]), Ok(Some((parse_again(data), length))));
    let host = &request.host;
    let is_address = host.parse::<std::net::IpAddr>().is_ok();
    let plain = host.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-._".contains(&b));
    assert!(!host.is_empty() && (plain || is_address), "{host:?}");
    assert_ne!(request.port, 0);
    if let Kind::Forward { head, .. } = &request.kind {
        check_head(head, host, request.port);
    }
    true
}

fn parse_again(data: &[u8]) -> piimg::sandbox::proxy::request::Request {
    parse(data).expect("it was one").expect("it was one").0
}

/// Reads what the server gets, in the plainest way.
fn check_head(head: &[u8], host: &str, port: u16) {
    let shown = String::from_utf8_lossy(head);
    let inner = head.strip_suffix(b"\r\n\r\n").unwrap_or_else(|| panic!("{shown:?} has no end"));
    let lines: Vec<&[u8]> = inner.split(|byte| *byte == b'\n').collect();
    let ends: Vec<&[u8]> = lines.iter().map(|line| line.strip_suffix(b"\r").unwrap_or(line)).collect();
    assert!(ends.iter().all(|line| !line.is_empty() && !line.contains(&b'\r')), "{shown:?} has more than one end");
    assert!(lines[..lines.len() - 1].iter().all(|line| line.ends_with(b"\r")), "{shown:?} has odd line ends");
    let first = String::from_utf8_lossy(ends[0]);
    let words: Vec<&str> = first.split(' ').collect();
    let [_, path, "HTTP/1.1"] = words.as_slice() else { panic!("{first:?} is no line of a request") };
    assert!(path.starts_with('/'), "{first:?}");
    let named = |name: &str| -> Vec<String> {
        let fields = ends[1..].iter().filter_map(|line| {
            let text = String::from_utf8_lossy(line);
            text.split_once(':').map(|(name, value)| (name.to_lowercase(), value.trim().to_lowercase()))
        });
        fields.filter(|(known, _)| known == name).map(|(_, value)| value).collect()
    };
    let [value] = named("host").try_into().unwrap_or_else(|hosts| panic!("{hosts:?} in {shown:?}"));
    let bare = value.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches(':').trim_end_matches('.');
    let same_address = value.trim_start_matches('[').split(']').next().and_then(|text| text.parse().ok())
        == host.parse::<std::net::Ipv6Addr>().ok();
    let is_host = value.trim_end_matches('.') == host || bare == host || (host.contains(':') && same_address);
    assert!(is_host, "{value:?} is not {host:?} in {shown:?}");
    if let Some(number) = value.strip_prefix(host).and_then(|rest| rest.strip_prefix(':')) {
        assert_eq!(number.parse(), Ok(port), "{shown:?}");
    }
    assert_eq!(named("transfer-encoding"), Vec::<String>::new(), "{shown:?}");
    assert_eq!(named("connection"), ["close"], "{shown:?}");
    assert!(named("content-length").len() <= 1, "{shown:?}");
}
