//! The files of netplan, version 2.

use super::{Connection, Wifi};
use crate::{Error, ErrorCode};

pub(super) fn text(connection: &Connection) -> Result<String, Error> {
    connection.check()?;
    let Connection { interface, addresses, gateway, dns, wifi } = connection;
    if wifi.is_some() && interface.contains('*') {
        let message = format!("netplan cannot match wireless interfaces by name: name one instead of `{interface}`");
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    let mut text = "network:\n  version: 2\n".to_owned();
    match wifi {
        // networkd opens no access point.
        Some(wifi) if wifi.access_point => text += "  renderer: NetworkManager\n  wifis:\n",
        Some(_) => text += "  wifis:\n",
        None => text += "  ethernets:\n",
    }
    text += &format!("    {}:\n", quoted(&interface.replace('*', "all")));
    if interface.contains('*') {
        text += &format!("      match:\n        name: {}\n", quoted(interface));
    }
    // A robot without a cable shall not wait for one.
    text += "      optional: true\n";
    let is_point = wifi.as_ref().is_some_and(|wifi| wifi.access_point);
    if addresses.is_empty() && !is_point {
        text += "      dhcp4: true\n";
    }
    if !addresses.is_empty() {
        text += &format!("      addresses: {}\n", list(addresses));
    }
    if let Some(gateway) = gateway {
        // The word `default` is not known to older releases.
        let to = if gateway.contains(':') { "::/0" } else { "0.0.0.0/0" };
        text += &format!("      routes:\n        - to: {}\n          via: {}\n", quoted(to), quoted(gateway));
    }
    if !dns.is_empty() {
        text += &format!("      nameservers:\n        addresses: {}\n", list(dns));
    }
    if let Some(wifi) = wifi {
        text += &access(wifi);
    }
    Ok(text)
}

fn access(wifi: &Wifi) -> String {
    let mut text = format!("      access-points:\n        {}:", quoted(&wifi.ssid));
    if wifi.passphrase.is_none() && !wifi.access_point {
        return text + " {}\n";
    }
    text.push('\n');
    if wifi.access_point {
        text += "          mode: ap\n";
    }
    if let Some(passphrase) = &wifi.passphrase {
        text += &format!("          password: {}\n", quoted(passphrase));
    }
    text
}

fn list(values: &[String]) -> String {
    format!("[{}]", values.iter().map(|value| quoted(value)).collect::<Vec<_>>().join(", "))
}

/// Quotes a text: nothing but a backslash and a quotation mark is special in what [`Connection::check`] lets through.
fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cable_is_an_ethernet() {
        assert_eq!(
            text(&Connection::new("eth*")).unwrap(),
            "network:\n  version: 2\n  ethernets:\n    \"ethall\":\n      match:\n        name: \"eth*\"\n      \
             optional: true\n      dhcp4: true\n"
        );
        let fixed = Connection::new("eth0").address("10.0.0.2/8").gateway("10.0.0.1").dns("9.9.9.9");
        assert_eq!(
            text(&fixed).unwrap(),
            "network:\n  version: 2\n  ethernets:\n    \"eth0\":\n      optional: true\n      addresses: [\"10.0.0.2/8\"]\n      \
             routes:\n        - to: \"0.0.0.0/0\"\n          via: \"10.0.0.1\"\n      nameservers:\n        \
             addresses: [\"9.9.9.9\"]\n"
        );
    }

    #[test]
    fn a_wireless_network_is_named_and_quoted() {
        let wifis = "network:\n  version: 2\n  wifis:\n    \"wlan0\":\n      optional: true\n      dhcp4: true\n";
        assert_eq!(
            text(&Connection::wifi("wlan0", "a \"b\"", Some("12345678"))).unwrap(),
            format!("{wifis}      access-points:\n        \"a \\\"b\\\"\":\n          password: \"12345678\"\n")
        );
        let open = text(&Connection::wifi("wlan0", "open", None)).unwrap();
        assert_eq!(open, format!("{wifis}      access-points:\n        \"open\": {{}}\n"));
        let point = text(&Connection::access_point("wlan0", "box", None)).unwrap();
        assert_eq!(
            point,
            "network:\n  version: 2\n  renderer: NetworkManager\n  wifis:\n    \"wlan0\":\n      optional: true\n      \
             access-points:\n        \"box\":\n          mode: ap\n"
        );
    }

    #[test]
    fn wireless_interfaces_are_not_matched() {
        let error = text(&Connection::wifi("wl*", "field", None)).unwrap_err();
        assert_eq!(error.to_string(), "netplan cannot match wireless interfaces by name: name one instead of `wl*`");
    }
}
