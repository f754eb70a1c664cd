//! nm-settings-keyfile(5).

use super::{Connection, Wifi};
use crate::Error;

pub(super) fn text(connection: &Connection, name: &str) -> Result<String, Error> {
    connection.check()?;
    let Connection { interface, wifi, .. } = connection;
    let kind = if wifi.is_some() { "wifi" } else { "ethernet" };
    let mut text = format!("[connection]\nid={name}\ntype={kind}\n");
    // Without a number of its own NetworkManager makes one of the file's name.
    text += &match interface.contains('*') {
        true => format!("\n[match]\ninterface-name={interface};\n"),
        false => format!("interface-name={interface}\n"),
    };
    if let Some(wifi) = wifi {
        text += &wireless(wifi);
    }
    let shared = wifi.as_ref().is_some_and(|wifi| wifi.access_point);
    text += &family(connection, "ipv4", if shared { "shared" } else { "auto" }, |address| !address.contains(':'));
    text += &family(connection, "ipv6", if shared { "ignore" } else { "auto" }, |address| address.contains(':'));
    Ok(text)
}

fn wireless(wifi: &Wifi) -> String {
    let mode = if wifi.access_point { "ap\nband=bg" } else { "infrastructure" };
    let mut text = format!("\n[wifi]\nmode={mode}\nssid={}\n", ssid(&wifi.ssid));
    if let Some(passphrase) = &wifi.passphrase {
        text += &format!("\n[wifi-security]\nkey-mgmt=wpa-psk\npsk={}\n", escaped(passphrase));
    }
    text
}

fn family(connection: &Connection, name: &str, automatic: &str, is_of_it: impl Fn(&str) -> bool) -> String {
    let of_it = |all: &[String]| all.iter().filter(|it| is_of_it(it)).cloned().collect::<Vec<_>>();
    let addresses = of_it(&connection.addresses);
    // A connection shared with others keeps being so with an address of its own.
    let method = if addresses.is_empty() || automatic == "shared" { automatic } else { "manual" };
    let mut text = format!("\n[{name}]\nmethod={method}\n");
    text.extend((1..).zip(&addresses).map(|(number, address)| format!("address{number}={address}\n")));
    text.extend(of_it(connection.gateway.as_slice()).iter().map(|gateway| format!("gateway={gateway}\n")));
    let dns = of_it(&connection.dns);
    if !dns.is_empty() {
        text += &format!("dns={};\n", dns.join(";"));
    }
    text
}

/// Writes a name as text, or as numbers where text could mean something else.
fn ssid(name: &str) -> String {
    let plain = |it: char| it.is_ascii_graphic() && it != ';' && it != '\\' || it == ' ';
    if name.chars().all(plain) && name.trim() == name {
        return name.to_owned();
    }
    name.bytes().map(|byte| format!("{byte};")).collect()
}

/// Backslashes, and spaces at the ends, are written as GLib's key files have them.
fn escaped(text: &str) -> String {
    let text = text.replace('\\', "\\\\");
    let inner = text.trim_matches(' ');
    let (front, back) =
        (text.len() - text.trim_start_matches(' ').len(), text.len() - text.trim_end_matches(' ').len());
    if inner.is_empty() {
        return "\\s".repeat(text.len());
    }
    format!("{}{inner}{}", "\\s".repeat(front), "\\s".repeat(back))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cable_is_an_ethernet_connection() {
        assert_eq!(
            text(&Connection::new("eth*"), "cable").unwrap(),
            "[connection]\nid=cable\ntype=ethernet\n\n[match]\ninterface-name=eth*;\n\n[ipv4]\nmethod=auto\n\n\
             [ipv6]\nmethod=auto\n"
        );
        let fixed = Connection::new("eth0").address("10.0.0.2/8").gateway("10.0.0.1").dns("9.9.9.9").dns("fd00::1");
        assert_eq!(
            text(&fixed, "cable").unwrap(),
            "[connection]\nid=cable\ntype=ethernet\ninterface-name=eth0\n\n[ipv4]\nmethod=manual\naddress1=10.0.0.2/8\n\
             gateway=10.0.0.1\ndns=9.9.9.9;\n\n[ipv6]\nmethod=auto\ndns=fd00::1;\n"
        );
    }

    #[test]
    fn an_access_point_shares_its_connection() {
        let point = Connection::access_point("wlan0", "box", Some("robotseverywhere")).address("10.42.0.1/24");
        assert_eq!(
            text(&point, "box").unwrap(),
            "[connection]\nid=box\ntype=wifi\ninterface-name=wlan0\n\n[wifi]\nmode=ap\nband=bg\nssid=box\n\n\
             [wifi-security]\nkey-mgmt=wpa-psk\npsk=robotseverywhere\n\n[ipv4]\nmethod=shared\naddress1=10.42.0.1/24\n\n\
             [ipv6]\nmethod=ignore\n"
        );
    }

    #[test]
    fn odd_names_and_passphrases_stay_what_they_are() {
        assert_eq!(ssid("the field"), "the field");
        // Read as text it would be a list of numbers.
        assert_eq!(ssid("1;2"), "49;59;50;");
        assert_eq!(ssid("é "), "195;169;32;");
        assert_eq!(escaped(" a\\b  "), "\\sa\\\\b\\s\\s");
        assert_eq!(escaped("        "), "\\s".repeat(8));
    }
}
