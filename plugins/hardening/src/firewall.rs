//! The firewall: what may come in.

use std::fmt;

/// A port that may be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Port {
    protocol: &'static str,
    number: u16,
}

impl fmt::Display for Port {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} dport {}", self.protocol, self.number)
    }
}

/// Reads `tcp/22 udp/5353`.
pub(crate) fn parse(text: &str) -> Result<Vec<Port>, String> {
    text.split_whitespace().map(port).collect()
}

fn port(word: &str) -> Result<Port, String> {
    let wrong = || format!("`{}` is no port: it is such as `tcp/22` or `udp/5353`", word.escape_debug());
    let (protocol, number) = word.split_once('/').ok_or_else(wrong)?;
    let protocol = ["tcp", "udp"].into_iter().find(|known| *known == protocol).ok_or_else(wrong)?;
    let number = number.parse().ok().filter(|number| *number != 0).ok_or_else(wrong)?;
    Ok(Port { protocol, number })
}

/// Writes the text of `/etc/nftables.conf`. Nothing is said about what is passed on: networks that the machine shares
/// stay so.
pub(crate) fn rules(ports: &[Port]) -> String {
    let open: String = ports.iter().map(|port| format!("\t\t{port} accept\n")).collect();
    format!("{}{open}\t}}\n}}\n", include_str!("nftables.conf"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_have_a_protocol_and_a_number() {
        let ports = parse(" tcp/22  udp/5353").unwrap();
        assert_eq!(ports, [Port { protocol: "tcp", number: 22 }, Port { protocol: "udp", number: 5353 }]);
        assert_eq!(parse("").unwrap(), []);
        for odd in ["22", "tcp/", "tcp/0", "tcp/65536", "icmp/1", "tcp/22;accept"] {
            assert_eq!(parse(odd).unwrap_err(), format!("`{odd}` is no port: it is such as `tcp/22` or `udp/5353`"));
        }
    }

    #[test]
    fn whatever_is_not_named_is_dropped() {
        let text = rules(&parse("tcp/22").unwrap());
        assert!(text.contains("policy drop;"), "{text}");
        assert!(text.ends_with("\t\ttcp dport 22 accept\n\t}\n}\n"), "{text}");
        assert_eq!(text.matches('{').count(), text.matches('}').count());
        // Names of protocols would have to be looked up where nothing may know them.
        assert!(text.contains("\tmeta l4proto { 1, 58 } accept\n"), "{text}");
    }
}
