//! systemd.network(5).

use super::Connection;
use crate::{Error, ErrorCode};

pub(super) fn text(connection: &Connection) -> Result<String, Error> {
    connection.check()?;
    let Connection { interface, addresses, gateway, dns, wifi } = connection;
    if wifi.is_some() {
        let message = "networkd joins no wireless network by itself: use NetworkManager or netplan";
        return Err(Error::new(ErrorCode::Unsupported, message));
    }
    // A robot without a cable shall not wait for one.
    let mut text = format!("[Match]\nName={interface}\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n");
    if addresses.is_empty() {
        text += "DHCP=yes\n";
    }
    let lines = [("Address", addresses.as_slice()), ("Gateway", gateway.as_slice()), ("DNS", dns.as_slice())];
    for (key, values) in lines {
        text.extend(values.iter().map(|value| format!("{key}={value}\n")));
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_come_from_the_network_or_are_fixed() {
        let head = "[Match]\nName=eth*\n\n[Link]\nRequiredForOnline=no\n\n[Network]\n";
        assert_eq!(text(&Connection::new("eth*")).unwrap(), format!("{head}DHCP=yes\n"));
        let fixed = Connection::new("eth*").address("192.168.42.125/24").gateway("192.168.42.1").dns("9.9.9.9");
        assert_eq!(
            text(&fixed).unwrap(),
            format!("{head}Address=192.168.42.125/24\nGateway=192.168.42.1\nDNS=9.9.9.9\n")
        );
    }

    #[test]
    fn a_wireless_network_is_not_for_networkd() {
        let error = text(&Connection::wifi("wlan0", "field", None)).unwrap_err();
        assert_eq!(error.code(), ErrorCode::Unsupported);
        assert_eq!(error.to_string(), "networkd joins no wireless network by itself: use NetworkManager or netplan");
    }
}
