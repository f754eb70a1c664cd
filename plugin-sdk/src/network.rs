//! Connections to networks, for whichever of networkd, NetworkManager and netplan the image has:
//! `Connection::new("eth*").address("192.168.42.125/24").write_networkd("10-field")?`.

mod netplan;
mod network_manager;
mod networkd;

use std::net::IpAddr;

use crate::{Error, ErrorCode, fs, text};

/// A connection as it shall be; addresses come from the network (DHCP) unless some are named.
#[derive(Clone, Debug)]
pub struct Connection {
    interface: String,
    addresses: Vec<String>,
    gateway: Option<String>,
    dns: Vec<String>,
    wifi: Option<Wifi>,
}

#[derive(Clone, Debug)]
struct Wifi {
    ssid: String,
    passphrase: Option<String>,
    access_point: bool,
}

impl Connection {
    /// For a network interface, or for those that a name with `*` stands for, such as `eth*`.
    #[must_use]
    pub fn new(interface: &str) -> Self {
        Self { interface: interface.to_owned(), addresses: Vec::new(), gateway: None, dns: Vec::new(), wifi: None }
    }

    /// To the wireless network of this name, with a passphrase if it has one.
    #[must_use]
    pub fn wifi(interface: &str, ssid: &str, passphrase: Option<&str>) -> Self {
        let wifi = Wifi { ssid: ssid.to_owned(), passphrase: passphrase.map(str::to_owned), access_point: false };
        Self { wifi: Some(wifi), ..Self::new(interface) }
    }

    /// A wireless network of its own, whose members get addresses and a way out.
    #[must_use]
    pub fn access_point(interface: &str, ssid: &str, passphrase: Option<&str>) -> Self {
        let wifi = Wifi { ssid: ssid.to_owned(), passphrase: passphrase.map(str::to_owned), access_point: true };
        Self { wifi: Some(wifi), ..Self::new(interface) }
    }

    /// An address that it always has, with the length of the network's part: `192.168.42.125/24`.
    #[must_use]
    pub fn address(mut self, address: &str) -> Self {
        self.addresses.push(address.to_owned());
        self
    }

    /// Where other networks are reached.
    #[must_use]
    pub fn gateway(mut self, address: &str) -> Self {
        self.gateway = Some(address.to_owned());
        self
    }

    /// A server that knows names.
    #[must_use]
    pub fn dns(mut self, address: &str) -> Self {
        self.dns.push(address.to_owned());
        self
    }

    /// Writes `/etc/systemd/network/<name>.network`. Needs `fs:write` of it.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no address, name or passphrase;
    /// [`ErrorCode::Unsupported`] for a wireless network, which networkd does not join by itself.
    pub fn write_networkd(&self, name: &str) -> Result<(), Error> {
        let path = format!("/etc/systemd/network/{}.network", file_name(name)?);
        fs::write(&path, self.networkd()?).mode(0o644).apply()
    }

    /// Writes `/etc/NetworkManager/system-connections/<name>.nmconnection`, for root alone. Needs `fs:write` of it.
    ///
    /// # Errors
    /// [`ErrorCode::Denied`]; [`ErrorCode::Invalid`] for what is no address, name or passphrase.
    pub fn write_network_manager(&self, name: &str) -> Result<(), Error> {
        let path = format!("/etc/NetworkManager/system-connections/{}.nmconnection", file_name(name)?);
        fs::write(&path, self.network_manager(name)?).mode(0o600).apply()
    }

    /// Writes `/etc/netplan/<name>.yaml`, for root alone. Needs `fs:write` of it.
    ///
    /// # Errors
    /// As [`Connection::write_network_manager`]; [`ErrorCode::Unsupported`] for a wireless interface with `*` in its name.
    pub fn write_netplan(&self, name: &str) -> Result<(), Error> {
        let path = format!("/etc/netplan/{}.yaml", file_name(name)?);
        fs::write(&path, self.netplan()?).mode(0o600).apply()
    }

    /// The text that [`Connection::write_networkd`] writes.
    ///
    /// # Errors
    /// As there, without [`ErrorCode::Denied`].
    pub fn networkd(&self) -> Result<String, Error> {
        networkd::text(self)
    }

    /// The text that [`Connection::write_network_manager`] writes.
    ///
    /// # Errors
    /// As there, without [`ErrorCode::Denied`].
    pub fn network_manager(&self, name: &str) -> Result<String, Error> {
        network_manager::text(self, file_name(name)?)
    }

    /// The text that [`Connection::write_netplan`] writes.
    ///
    /// # Errors
    /// As there, without [`ErrorCode::Denied`].
    pub fn netplan(&self) -> Result<String, Error> {
        netplan::text(self)
    }

    /// Refuses what would mean something else in a file: all three kinds of files are lines.
    fn check(&self) -> Result<(), Error> {
        // Names of interfaces have at most 15 bytes: IFNAMSIZ in linux/if.h.
        let named = |it: char| it.is_ascii_alphanumeric() || "_-.*".contains(it);
        let interface = &self.interface;
        if interface.is_empty() || interface.len() > 15 || !interface.chars().all(named) {
            return invalid(format!(
                "`{}` is no network interface, such as `eth0` or `eth*`",
                interface.escape_debug()
            ));
        }
        for address in &self.addresses {
            let split =
                address.split_once('/').and_then(|(ip, bits)| Some((ip.parse().ok()?, bits.parse::<u8>().ok()?)));
            let longest = |ip: IpAddr| if ip.is_ipv4() { 32 } else { 128 };
            if split.is_none_or(|(ip, bits)| bits > longest(ip)) {
                return invalid(format!(
                    "`{}` is no address with its network, such as `192.168.42.125/24`",
                    address.escape_debug()
                ));
            }
        }
        if let Some(odd) = self.gateway.iter().chain(&self.dns).find(|address| address.parse::<IpAddr>().is_err()) {
            return invalid(format!("`{}` is no address, such as `192.168.42.1`", odd.escape_debug()));
        }
        self.wifi.as_ref().map_or(Ok(()), Wifi::check)
    }
}

impl Wifi {
    fn check(&self) -> Result<(), Error> {
        // IEEE 802.11: 32 bytes; WPA: a passphrase has 8 to 63 printable ASCII characters, and 64 hexadecimal digits are the key
        // that is made of one.
        let ssid = &self.ssid;
        if ssid.is_empty() || ssid.len() > 32 || ssid.chars().any(char::is_control) {
            return invalid(format!("`{}` is no wireless network's name: it has 1 to 32 bytes", ssid.escape_debug()));
        }
        let printable = |it: u8| (b' '..=b'~').contains(&it);
        if let Some(passphrase) = &self.passphrase
            && !((8..=63).contains(&passphrase.len()) && passphrase.bytes().all(printable)
                || passphrase.len() == 64 && passphrase.bytes().all(|it| it.is_ascii_hexdigit()))
        {
            // Not shown: it may be a real one with a typing error in it.
            return invalid(format!(
                "the passphrase of the wireless network `{ssid}` does not have 8 to 63 printable ASCII characters, or 64 \
                 hexadecimal digits"
            ));
        }
        Ok(())
    }
}

fn invalid<T>(message: String) -> Result<T, Error> {
    Err(Error::new(ErrorCode::Invalid, message))
}

fn file_name(name: &str) -> Result<&str, Error> {
    if !text::is_plain_name(name) {
        return invalid(format!("`{}` is no name of a connection: letters, digits, `_` and `-`", name.escape_debug()));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_something_else_is_refused() {
        let wired = || Connection::new("eth0");
        for (connection, message) in [
            (
                Connection::new("eth0\n[Network]"),
                "`eth0\\n[Network]` is no network interface, such as `eth0` or `eth*`",
            ),
            (
                Connection::new("a-very-long-name"),
                "`a-very-long-name` is no network interface, such as `eth0` or `eth*`",
            ),
            (wired().address("10.0.0.1"), "`10.0.0.1` is no address with its network, such as `192.168.42.125/24`"),
            (
                wired().address("10.0.0.1/33"),
                "`10.0.0.1/33` is no address with its network, such as `192.168.42.125/24`",
            ),
            (wired().gateway("router"), "`router` is no address, such as `192.168.42.1`"),
            (wired().dns("1.1.1.1\nx"), "`1.1.1.1\\nx` is no address, such as `192.168.42.1`"),
            (Connection::wifi("wlan0", "", None), "`` is no wireless network's name: it has 1 to 32 bytes"),
            (
                Connection::wifi("wlan0", "field", Some("short")),
                "the passphrase of the wireless network `field` does not have 8 to 63 printable ASCII characters, or 64 \
                 hexadecimal digits",
            ),
            (
                Connection::wifi("wlan0", "field", Some(&"g".repeat(64))),
                "the passphrase of the wireless network `field` does not have 8 to 63 printable ASCII characters, or 64 \
                 hexadecimal digits",
            ),
        ] {
            assert_eq!(connection.check().unwrap_err().to_string(), message);
        }
        Connection::wifi("wlan0", "field", Some(&"0aF9".repeat(16))).check().unwrap();
        assert!(wired().address("fd00::1/64").gateway("fd00::2").check().is_ok());
    }

    #[test]
    fn a_file_is_in_its_directory() {
        assert_eq!(file_name("10-eth").unwrap(), "10-eth");
        for odd in ["", "../x", "a.b"] {
            let error = file_name(odd).unwrap_err().to_string();
            assert!(error.ends_with("is no name of a connection: letters, digits, `_` and `-`"), "{error}");
        }
    }
}
